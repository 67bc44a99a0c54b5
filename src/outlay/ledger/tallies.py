"""From entries or rollup cells to a CostTable: filters, groups, measures and their order. Pure.

A `Tally` holds the measures of one group. A `Scan` adds whole entries to tallies; a store that answers
from a rollup adds its cells to the same tallies, so that both give the same table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from outlay.clock import QUARTER_HOUR_MICROSECONDS, Instant, WindowName, window_of, zone_info
from outlay.errors import InvalidInput, LedgerError
from outlay.ledger.rules import nano_of, quantity_of
from outlay.model import (
    ATTRIBUTIONS,
    CostQuery,
    CostRow,
    CostTable,
    Entry,
    PricingStatus,
    Quantity,
    Status,
)
from outlay.money import add_exactly, round_half_even, times_exactly

TIME_KEYS: Final[tuple[WindowName, ...]] = ("hour", "day", "week", "month", "quarter", "year")
DIMENSIONS: Final = ("provider", "service", "operation", "meter", "status", "basis", "step", *ATTRIBUTIONS)
TAG_PREFIX: Final = "tag."

GroupKey = tuple[str | int | None, ...]
"""One part per name of `by`: a value, None for no value, or the start of a window."""


class Calendar:
    """The windows of one zone, remembered by quarter hour: zones have changed by no less since 1972."""

    def __init__(self, zone: str) -> None:
        """Raises InvalidInput `unknown_zone`."""
        zone_info(zone)
        self.zone = zone
        self._starts: dict[tuple[WindowName, int], Instant] = {}
        self._labels: dict[tuple[WindowName, Instant], str] = {}

    def start(self, window: WindowName, instant: Instant) -> Instant:
        """The first instant of the window that holds `instant`."""
        key = (window, instant // QUARTER_HOUR_MICROSECONDS)
        start = self._starts.get(key)
        if start is None:
            found = window_of(instant, window, self.zone)
            start = self._starts[key] = found.start
            self._labels[(window, start)] = found.label
        return start

    def label(self, window: WindowName, start: Instant) -> str:
        """The label of a window that `start` gave."""
        return self._labels[(window, start)]


class Tally:
    """The measures of one group. Counts are of calls, reversals count negatively."""

    __slots__ = (
        "amount",
        "basis",
        "events",
        "failed",
        "first_at",
        "incomplete",
        "last_at",
        "prices",
        "quantities",
        "unpriced",
    )

    def __init__(self) -> None:
        self.events = self.failed = self.unpriced = self.incomplete = self.amount = 0
        self.basis: dict[str, int] = {}
        self.quantities: dict[str, Quantity] = {}
        self.prices: dict[int, int] = {}
        self.first_at: Instant | None = None
        self.last_at: Instant | None = None

    def add(self, events: int, failed: int, unpriced: int, incomplete: int, amount: int, basis: str) -> None:
        """Add the measures of one entry or cell."""
        self.events += events
        self.failed += failed
        self.unpriced += unpriced
        self.incomplete += incomplete
        self.amount += amount
        self.basis[basis] = self.basis.get(basis, 0) + amount

    def add_quantity(self, meter: str | None, quantity: Quantity) -> None:
        """Add a meter's quantity; an event without meters has none."""
        if meter is not None:
            self.quantities[meter] = add_exactly(self.quantities.get(meter, 0), quantity)

    def add_price(self, amount: int, calls: int) -> None:
        """Note that `calls` more calls (fewer, if negative) cost `amount` each."""
        self.prices[amount] = self.prices.get(amount, 0) + calls

    def span(self, first: Instant, last: Instant) -> None:
        """Widen the time that the group spans."""
        self.first_at = first if self.first_at is None or first < self.first_at else self.first_at
        self.last_at = last if self.last_at is None or last > self.last_at else self.last_at

    @property
    def empty(self) -> bool:
        """Whether nothing is left, as after a cancelled event."""
        return not (self.events or self.amount or self.failed or self.unpriced or self.incomplete)


class Scan:
    """Groups entries as a query asks. The plain reading of every rule: other ways must agree with it."""

    def __init__(self, query: CostQuery, zone: str) -> None:
        """Raises InvalidInput `unknown_dimension`, `unknown_zone` or `bad_range`."""
        check_query(query)
        self.query = query
        self.calendar = Calendar(query.zone or zone)
        self.groups: dict[GroupKey, Tally] = {}
        self.total = Tally()
        self._by_meter = "meter" in query.by or "meter" in query.where or query.quantities
        self._where = {name: values for name, values in query.where.items() if name != "meter"}
        self._spans = "job" in query.by or query.percentiles

    def group(self, key: GroupKey) -> Tally:
        """The tally of a group, made when it is new."""
        tally = self.groups.get(key)
        if tally is None:
            tally = self.groups[key] = Tally()
        return tally

    def covers(self, entry: Entry) -> bool:
        """Whether an entry lies in the query's times and `where` (its meters aside)."""
        query = self.query
        at = entry.event.occurred_from
        if query.since is not None and at < query.since:
            return False
        if query.until is not None and at >= query.until:
            return False
        if query.as_of is not None and entry.recorded_at > query.as_of:
            return False
        return matches(entry, self._where)

    def add(self, entry: Entry) -> None:
        """Count an entry, if the query covers it."""
        if not self.covers(entry):
            return
        if not self._by_meter:
            self._count(self.group(self._key(entry, None)), entry, entry.rating.amount)
            self._count(self.total, entry, entry.rating.amount)
            return
        self._add_by_meter(entry)

    def _add_by_meter(self, entry: Entry) -> None:
        wanted = self.query.where.get("meter")
        shares = {meter: share for meter, share in meter_shares(entry).items() if wanted is None or meter in wanted}
        grouped: dict[GroupKey, int] = {}
        for meter, (amount, _) in shares.items():
            key = self._key(entry, meter)
            grouped[key] = grouped.get(key, 0) + amount
        for key, amount in grouped.items():
            self._count(self.group(key), entry, amount)
        if shares:
            self._count(self.total, entry, sum(amount for amount, _ in shares.values()))
        if self.query.quantities:
            for meter, (_, quantity) in shares.items():
                signed = times_exactly(quantity, entry.sign)
                self.group(self._key(entry, meter)).add_quantity(meter, signed)
                self.total.add_quantity(meter, signed)

    def _key(self, entry: Entry, meter: str | None) -> GroupKey:
        return tuple(self._part(entry, name, meter) for name in self.query.by)

    def _part(self, entry: Entry, name: str, meter: str | None) -> str | int | None:
        if name == "meter":
            return meter
        if name in TIME_KEYS:
            return self.calendar.start(name, entry.event.occurred_from)
        return dimension_value(entry, name)

    def _count(self, tally: Tally, entry: Entry, amount: int) -> None:
        calls = entry.sign * entry.event.count
        status = entry.rating.status
        tally.add(
            calls,
            calls if entry.event.status is Status.FAILED else 0,
            calls if status is PricingStatus.UNPRICED else 0,
            calls if status is PricingStatus.INCOMPLETE else 0,
            entry.sign * amount,
            entry.basis.value,
        )
        if self.query.percentiles:
            tally.add_price(round_half_even(amount, entry.event.count), calls)
        if self._spans:
            tally.span(entry.event.occurred_from, entry.event.occurred_to)

    def table(self, currency: str, answered_by: str) -> CostTable:
        """The groups as rows: in order of time, then dearest first."""
        query = self.query
        times = [index for index, name in enumerate(query.by) if name in TIME_KEYS]
        names = [index for index, name in enumerate(query.by) if name not in TIME_KEYS]
        kept = [(key, tally) for key, tally in self.groups.items() if not tally.empty]
        kept.sort(key=lambda item: _order(item[0], item[1], times, names))
        del kept[len(kept) if query.top is None else query.top :]
        return CostTable(
            by=query.by,
            rows=tuple([self._row(self._labels(key), tally, currency) for key, tally in kept]),
            total=self._row((), self.total, currency),
            currency=currency,
            zone=self.calendar.zone,
            answered_by=answered_by,
        )

    def _labels(self, key: GroupKey) -> tuple[str | None, ...]:
        label = self.calendar.label
        return tuple(
            [
                label(name, part) if isinstance(part, int) else part  # type: ignore[arg-type]  # ints are starts
                for name, part in zip(self.query.by, key, strict=True)
            ]
        )

    def _row(self, keys: tuple[str | None, ...], tally: Tally, currency: str) -> CostRow:
        p50, p95, largest = percentiles(tally.prices) if self.query.percentiles else (None, None, None)
        return CostRow(
            keys=keys,
            amount=tally.amount,
            events=tally.events,
            failed=tally.failed,
            unpriced=tally.unpriced,
            incomplete=tally.incomplete,
            quantities=_present(tally.quantities) if self.query.quantities else None,
            basis=_sorted_amounts(tally.basis),
            amount_p50=p50,
            amount_p95=p95,
            amount_max=largest,
            first_at=tally.first_at,
            last_at=tally.last_at,
            currency=currency,
        )


def check_query(query: CostQuery) -> None:
    """Raises InvalidInput `unknown_dimension` (with near names) or `bad_range`."""
    for name in query.by:
        if name not in TIME_KEYS:
            check_dimension(name)
    for name in query.where:
        check_dimension(name)
    if query.since is not None and query.until is not None and query.until < query.since:
        raise InvalidInput("the range ends before it begins; swap since and until", code="bad_range")


def check_dimension(name: str) -> None:
    """Raises InvalidInput `unknown_dimension`, with near names, for what costs are not kept by."""
    if name in DIMENSIONS or (name.startswith(TAG_PREFIX) and name != TAG_PREFIX):
        return
    near = difflib.get_close_matches(name, (*DIMENSIONS, *TIME_KEYS), n=2)
    known = f"use one of {', '.join(DIMENSIONS)} or tag.<name>"
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; {known}"
    raise InvalidInput(f"{name[:60]!r} is not something costs are kept by{hint}", code="unknown_dimension")


def check_entry_filter(where: Mapping[str, tuple[str | None, ...]]) -> None:
    """Raises InvalidInput `unknown_dimension`; an entry as a whole has no meter."""
    for name in where:
        if name == "meter":
            raise InvalidInput("an entry has many meters; ask costs for one", code="unknown_dimension")
        check_dimension(name)


def scan_too_large(examined: str, limit: int) -> LedgerError:
    """The refusal of a question that no rollup answers and that would read too many entries."""
    return LedgerError(
        f"no rollup answers this and a scan would read {examined} entries (limit {limit:,}); "
        "narrow since and until, group by fewer names, or name one job or request",
        code="scan_too_large",
    )


def matches(entry: Entry, where: Mapping[str, tuple[str | None, ...]]) -> bool:
    """Whether each named dimension has one of the values asked for."""
    return all(dimension_value(entry, name) in values for name, values in where.items())


def dimension_value(entry: Entry, name: str) -> str | None:
    """An entry's value of a dimension (not meter), `tag.<name>` too; None where it has none."""
    if name.startswith(TAG_PREFIX):
        return entry.event.tags.get(name[len(TAG_PREFIX) :])
    if name == "basis":
        return entry.basis.value
    if name == "status":
        return entry.event.status.value
    value: str | None = getattr(entry.event, name)
    return value


def meter_shares(entry: Entry) -> dict[str | None, tuple[int, Quantity]]:
    """Each meter's amount and quantity, for all calls, unsigned; {None: …} for an event without meters.

    Quantities are leaves, so no token is in two meters; what could not be priced is there with amount 0.
    """
    count = entry.event.count
    shares: dict[str | None, tuple[int, Quantity]] = {}
    for line in entry.rating.lines:
        amount, quantity = shares.get(line.meter, (0, 0))
        shares[line.meter] = (amount + line.amount, add_exactly(quantity, times_exactly(line.quantity, count)))
    for unrated in entry.rating.unrated:
        amount, quantity = shares.get(unrated.meter, (0, 0))
        shares[unrated.meter] = (amount, add_exactly(quantity, times_exactly(unrated.quantity, count)))
    return shares or {None: (entry.rating.amount, 0)}


def percentiles(prices: Mapping[int, int]) -> tuple[int | None, int | None, int | None]:
    """(p50, p95, largest) by nearest rank of amounts, each weighted by its calls; None without calls."""
    ranked = sorted((amount, calls) for amount, calls in prices.items() if calls > 0)
    calls = sum(weight for _, weight in ranked)
    if not calls:
        return None, None, None
    return _at_rank(ranked, -(-calls // 2)), _at_rank(ranked, -(-calls * 95 // 100)), ranked[-1][0]


def _at_rank(ranked: Iterable[tuple[int, int]], rank: int) -> int:
    seen = 0
    found = 0
    for amount, calls in ranked:
        found = amount
        seen += calls
        if seen >= rank:
            break
    return found


def _present(quantities: Mapping[str, Quantity]) -> dict[str, Quantity]:
    # Halves add up to 3.0 in one way of counting and to 3 in another: one form, whatever was added in which order.
    return {meter: quantity_of(*nano_of(quantity)) for meter, quantity in sorted(quantities.items()) if quantity}


def _sorted_amounts(basis: Mapping[str, int]) -> dict[str, int]:
    if len(basis) == 1:  # Most groups rest on one thing.
        return {name: amount for name, amount in basis.items() if amount}
    return dict(sorted((name, amount) for name, amount in basis.items() if amount))


def _order(key: GroupKey, tally: Tally, times: Sequence[int], names: Sequence[int]) -> tuple[object, ...]:
    return [key[index] for index in times], -tally.amount, [(key[index] is None, key[index] or "") for index in names]
