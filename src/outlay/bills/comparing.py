"""A ledger's statements against its calls: what to charge, what to adjust, what to tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from outlay.analytics.allocate import allocated
from outlay.analytics.reconcile import (
    Billed,
    Called,
    Difference,
    Proposal,
    difference_of,
    proposals_of,
    summed,
)
from outlay.bills import kept
from outlay.bills.charges import amounts_by_day, charge, dropped_days, reverse, standing_charges
from outlay.bills.groups import BilledGroup, pico_of
from outlay.bills.kept import KeptStatement
from outlay.bills.matching import Match, matches
from outlay.bills.posting import Posted, adjustment, post, standing_adjustments
from outlay.clock import Instant, date_to_day, day_to_date, local_day, local_midnight
from outlay.errors import NotFound
from outlay.ledger.store import LedgerStore, Statement
from outlay.model import Basis, CostQuery, Entry
from outlay.money import format_pico, pico_to_decimal

CALLED: Final = tuple(basis.value for basis in Basis if basis not in (Basis.BILLED, Basis.ADJUSTED))
"""What calls rest on, where bills and adjustments do not."""

NOTE: Final = "reconciliation"
"""The kind of note that a drift rule reads."""

RECORDED: Final = "recorded call by call"
_SCAN_LIMIT: Final = 50_000_000
_WHY_MAX: Final = 3


class ReconciledSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One service in one span of days (ISO dates, `day_to` exclusive): both sides and why they differ."""

    provider: str
    service: str
    day_from: str
    day_to: str
    difference: Difference


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """A service whose bill says something else than its calls, beyond the threshold; amounts as decimal text.

    This is the body of a note `reconciliation`, which a rule of the kind drift reads. `difference` is billed less
    charged; `causes` are its parts.
    """

    period: str
    provider: str
    service: str
    charged: str
    billed: str
    difference: str
    currency: str
    causes: dict[str, str]


class Restated(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that changed what earlier ones had said: by how much (picounits), of which days."""

    source: str
    recorded_at: Instant
    amount: int
    groups: int
    day_from: str
    day_to: str


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """What reconciling found and did. Amounts are picounits of `currency`; days ISO dates, `day_to` exclusive.

    `billed` is the sum of the statements in force, `unmetered` the part of it that no calls are recorded of, and
    `not_billed` what was called on days that no statement speaks of yet. With `posted` None nothing was written.
    """

    providers: tuple[str, ...]
    day_from: str
    day_to: str
    currency: str
    billed: int
    unmetered: int
    not_billed: int
    spans: tuple[ReconciledSpan, ...]
    proposals: tuple[Proposal, ...]
    drifts: tuple[Drift, ...]
    restated: tuple[Restated, ...]
    posted: Posted | None = None

    @property
    def total(self) -> Difference:
        """All metered services together."""
        return summed(span.difference for span in self.spans)

    def by_service(self) -> list[tuple[str, str, Difference]]:
        """(provider, service, difference) over all days, the largest difference first."""
        grouped: dict[tuple[str, str], list[Difference]] = {}
        for span in self.spans:
            grouped.setdefault((span.provider, span.service), []).append(span.difference)
        found = [(provider, service, summed(each)) for (provider, service), each in grouped.items()]
        return sorted(found, key=lambda item: (-abs(item[2].amount), item[0], item[1]))


class Comparing:
    """One reconciliation: what the statements of some providers and days say, against what was called."""

    def __init__(
        self, store: LedgerStore, now: Instant, statements: Sequence[KeptStatement], providers: Sequence[str]
    ) -> None:
        self.store = store
        self.now = now
        self.providers = tuple(providers)
        self.statements = statements
        self.restated: list[Restated] = []
        self.spans: list[ReconciledSpan] = []
        self.wanted: list[Entry] = []
        self.proposals: list[Proposal] = []
        self.not_billed = 0
        self.zones: dict[str, str] = {}

    def groups(self, first: int, after: int) -> list[BilledGroup]:
        """The parts of bills in force within some days."""
        standing: dict[bytes, BilledGroup] = {}
        for statement in self.statements:
            before = standing
            standing = kept.replaced(self.store, standing, statement)
            self._note_restated(statement, before, standing)
        return [
            group
            for group in standing.values()
            if group.provider in self.providers and first <= group.day and group.day_to <= after
        ]

    def _note_restated(
        self, statement: KeptStatement, before: dict[bytes, BilledGroup], standing: dict[bytes, BilledGroup]
    ) -> None:
        changed = [
            (standing[key].amount if key in standing else 0) - group.amount
            for key, group in before.items()
            if key not in standing or standing[key].cost != group.cost
        ]
        if statement.whole:
            spoken = {(group.provider, group.day) for group in before.values()}
            changed += [
                group.amount
                for key, group in standing.items()
                if key not in before and (group.provider, group.day) in spoken
            ]
        if changed:
            self.restated.append(
                Restated(
                    source=statement.source,
                    recorded_at=statement.recorded_at,
                    amount=sum(changed),
                    groups=len(changed),
                    day_from=day_to_date(statement.day_from).isoformat(),
                    day_to=day_to_date(statement.day_to).isoformat(),
                )
            )

    def compare(self, groups: Sequence[BilledGroup], first: int, after: int) -> tuple[list[BilledGroup], set[str]]:
        """Compare both sides, provider by provider in the zone of its bills; the parts that no call was recorded of,
        and the keys of the others."""
        unmetered: list[BilledGroup] = []
        metered: set[str] = set()
        for provider in self.providers:
            own = [group for group in groups if group.provider == provider]
            zone = self.zones[provider] = _zone_of(own)
            called = _called(self.store, (provider,), first, after, zone)
            services = sorted({service for _, service, _ in called})
            found, rest = matches(own, {provider: services})
            unmetered += rest
            for match in found:
                self._compare_match(match, called, zone)
                metered.update(group.name for group in match.groups)
            self.not_billed += sum(line.amount for lines in called.values() for line in lines)
        return unmetered, metered

    def _compare_match(self, match: Match, called: dict[tuple[str, str, int], list[Called]], zone: str) -> None:
        differences = []
        for first, after in match.spans():
            days = {
                day: [line for service in match.called for line in called.pop((match.provider, service, day), ())]
                for day in range(first, after)
            }
            parts = [_billed(group) for group in match.groups if first <= group.day and group.day_to <= after]
            difference = difference_of(parts, [line for lines in days.values() for line in lines])
            differences.append(difference)
            self.spans.append(
                ReconciledSpan(
                    provider=match.provider,
                    service=match.label,
                    day_from=day_to_date(first).isoformat(),
                    day_to=day_to_date(after).isoformat(),
                    difference=difference,
                )
            )
            self.wanted += self._adjustments(match, difference, days, zone)
        self.proposals += proposals_of(match.provider, match.label, differences)

    def _adjustments(
        self, match: Match, difference: Difference, days: dict[int, list[Called]], zone: str
    ) -> Iterable[Entry]:
        """One entry a day; a difference of several days is spread over them as their calls were."""
        weights = {str(day): abs(sum(line.amount for line in lines)) for day, lines in days.items()}
        if not any(weights.values()):
            weights = dict.fromkeys(weights, 1)
        why = why_of(difference, self.store.currency)
        for day, amount in allocated(difference.amount, weights).items():
            yield adjustment(match.provider, match.label, int(day), zone, amount, why, self.store.currency, self.now)


def _zone_of(groups: Sequence[BilledGroup]) -> str:
    """Whose days the parts of a bill are; where bills of several zones meet, those of most parts."""
    zones = Counter(group.zone for group in groups)
    return zones.most_common(1)[0][0] if zones else "UTC"


def _called(
    store: LedgerStore, providers: Sequence[str], first: int, after: int, zone: str
) -> dict[tuple[str, str, int], list[Called]]:
    """What was called, by (provider, service, day)."""
    asked = CostQuery(
        by=("day", "provider", "service", "meter"),
        where={"provider": tuple(providers), "basis": CALLED},
        since=local_midnight(first, zone),
        until=local_midnight(after, zone),
        zone=zone,
        quantities=True,
        scan_limit=_SCAN_LIMIT,
    )
    found: dict[tuple[str, str, int], list[Called]] = {}
    for row in store.costs(asked).rows:
        label, provider, service, meter = row.keys
        used = (row.quantities or {}).get(meter or "", 0)
        line = Called(
            meter=None if meter in ("reported_cost", "billed_cost") else meter,
            quantity=Fraction(Decimal(used)),
            amount=row.amount,
            calls=row.events,
            unpriced=row.unpriced,
        )
        found.setdefault((str(provider), str(service), _day_of(str(label))), []).append(line)
    return found


def _day_of(label: str) -> int:
    return date_to_day(date.fromisoformat(label))


def _billed(group: BilledGroup) -> Billed:
    quantity = group.of_meter()
    return Billed(
        meter=group.meter,
        quantity=None if quantity is None else Fraction(quantity),
        amount=group.amount,
        category=group.category.value,
        rows=group.rows,
        decimals=group.decimals,
        repeated=pico_of(group.repeated, group.exchange),
        listed=None if group.listed is None else pico_of(group.listed, group.exchange),
    )


def why_of(difference: Difference, currency: str) -> str:
    """The largest parts of a difference in words."""
    parts = sorted(difference.causes.items(), key=lambda item: -abs(item[1]))[:_WHY_MAX]
    return ", ".join(f"{cause.value} {format_pico(amount, currency)}" for cause, amount in parts) or "no difference"


def drift_of(provider: str, service: str, difference: Difference, period: str, currency: str) -> Drift:
    """A difference as the body of its note."""
    return Drift(
        period=period,
        provider=provider,
        service=service,
        charged=_text(difference.called),
        billed=_text(difference.billed),
        difference=_text(difference.amount),
        currency=currency,
        causes={cause.value: _text(amount) for cause, amount in difference.causes.items()},
    )


def _text(pico: int) -> str:
    return f"{pico_to_decimal(pico):f}"


def chosen_statements(
    store: LedgerStore, statement: str | None, provider: str | None
) -> tuple[list[KeptStatement], list[str], tuple[int, int]]:
    """All statements that may speak of what is asked, the providers asked for, and the days of the statements.

    Raises NotFound `no_such_statement`.
    """
    every = kept.statements(store)
    asked = [
        each
        for each in every
        if (statement is None or each.id.startswith(statement) or each.source == statement)
        and (provider is None or provider in each.providers)
    ]
    if not asked:
        named = statement or (f"of {provider}" if provider else "at all")
        raise NotFound(f"no statement {named} was imported; outlay import takes bills in", code="no_such_statement")
    providers = [provider] if provider else sorted({name for each in asked for name in each.providers})
    speaking = [each for each in every if not set(each.providers).isdisjoint(providers)]
    return speaking, providers, (min(each.day_from for each in asked), max(each.day_to for each in asked))


def reconcile(
    store: LedgerStore,
    now: Instant,
    *,
    statement: str | None,
    provider: str | None,
    days: tuple[int | None, int | None],
    share_max: Fraction,
    dry_run: bool,
) -> Reconciliation:
    """See `LedgerBills.reconcile`."""
    speaking, providers, (first, after) = chosen_statements(store, statement, provider)
    first = first if days[0] is None else days[0]
    after = after if days[1] is None else days[1]
    work = Comparing(store, now, speaking, providers)
    groups = work.groups(first, after)
    unmetered, metered = work.compare(groups, first, after)
    posted = None if dry_run else _write(work, speaking[-1], unmetered, metered, (first, after))
    period = f"{day_to_date(first).isoformat()}/{day_to_date(after).isoformat()}"
    found = Reconciliation(
        providers=tuple(providers),
        day_from=day_to_date(first).isoformat(),
        day_to=day_to_date(after).isoformat(),
        currency=store.currency,
        billed=sum(group.amount for group in groups),
        unmetered=sum(group.amount for group in unmetered),
        not_billed=work.not_billed,
        spans=tuple(sorted(work.spans, key=lambda span: (span.day_from, span.provider, span.service))),
        proposals=tuple(work.proposals),
        drifts=(),
        restated=tuple(work.restated),
        posted=posted,
    )
    drifts = _drifts(store, found, period, share_max, now, dry_run=dry_run)
    return msgspec.structs.replace(found, drifts=tuple(drifts))


def _write(
    work: Comparing, last: KeptStatement, unmetered: Sequence[BilledGroup], metered: set[str], days: tuple[int, int]
) -> Posted:
    """Charge what no call was recorded of, take back charges of what was, and post the adjustments.

    Days of which retention dropped entries stay as they are: what was posted there is not to be seen any more.
    """
    store, now, zone = work.store, work.now, last.zone
    # A day more on each side: the bills of a provider may be of another zone than the last one.
    span = (days[0] - 1, days[1] + 1)
    since, until = (local_midnight(day, zone) for day in span)
    standing = standing_charges(store, work.providers, since, until)
    seen = amounts_by_day(((each.day_from, each.amount) for each in standing.values()), zone)
    dropped = dropped_days(store, work.providers, Basis.BILLED, span, zone, seen)
    posted = standing_adjustments(store, work.providers, since, until)
    seen = amounts_by_day(((each.event.occurred_from, each.rating.amount) for each in posted.values()), zone)
    dropped |= dropped_days(store, work.providers, Basis.ADJUSTED, span, zone, seen)

    def left(instant: Instant) -> bool:
        return local_day(instant, zone) not in dropped

    bill = Statement(
        id=last.id,
        provider=",".join(last.providers)[:200],
        source=last.source,
        period_from=local_midnight(last.day_from, zone),
        period_to=local_midnight(last.day_to, zone),
        currency=store.currency,
        recorded_at=last.recorded_at,
    )
    charging = [group for group in unmetered if left(group.occurred_from)]
    charged = charge(store, bill, charging, standing, now, by_amount=True)
    known_now = [each for key, each in standing.items() if key in metered and left(each.day_from)]
    reverse(store, known_now, now, RECORDED, charged)
    reachable = {key: entry for key, entry in posted.items() if left(entry.event.occurred_from)}
    ours = {key for key, entry in reachable.items() if _within(entry, days, work.zones[entry.event.provider])}
    done = post(store, [entry for entry in work.wanted if left(entry.event.occurred_from)], reachable, ours, now)
    done.created += charged.created
    done.changed += charged.restated
    done.cancelled += charged.reversed
    done.amount += charged.amount
    done.dropped_days = len(dropped)
    return done


def _within(entry: Entry, days: tuple[int, int], zone: str) -> bool:
    return local_midnight(days[0], zone) <= entry.event.occurred_from < local_midnight(days[1], zone)


def _drifts(
    store: LedgerStore, found: Reconciliation, period: str, share_max: Fraction, now: Instant, *, dry_run: bool
) -> list[Drift]:
    """What differs by more than the share, noted for the rules that tell; an earlier note is put right."""
    drifts = []
    for provider, service, difference in found.by_service():
        drift = drift_of(provider, service, difference, period, store.currency)
        beyond = abs(difference.amount) > share_max * max(abs(difference.billed), abs(difference.called))
        if beyond:
            drifts.append(drift)
        id = f"{provider} {service} {period}"
        before = store.note(NOTE, id)
        if not dry_run and (beyond or before is not None):
            body = msgspec.json.encode(drift)
            while before != body and not store.put_note(NOTE, id, body, expects=before, at=now, live=beyond):
                before = store.note(NOTE, id)
    return drifts
