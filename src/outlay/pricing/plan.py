"""How events of one kind are priced: which rate each meter takes, and what is taken out of it first.

A plan serves all events of one (provider, service, conditions, meters). Dates, hours of day and context
lengths at which a rate changes cut it into segments; each segment holds the precomputed operations.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from math import gcd
from typing import Final

import msgspec

from outlay.clock import MICROSECONDS_PER_SECOND, Instant
from outlay.meters import METERS, ancestors, meter_named
from outlay.model import ExchangeRate, PricedLine, Quantity, Rate, Unrated
from outlay.money import EXACT, PICO_PER_UNIT
from outlay.pricing.book import PriceBook, Resolution
from outlay.pricing.conditions import ALWAYS_MATERIAL
from outlay.pricing.leaves import leaf_form, overlaps, sum_form

Usage = Mapping[str, Quantity]
_NEVER: Final = (1, 0, None)
_BEGINNING: Final = -(2**63)
_END: Final = 2**63


class Operation(msgspec.Struct, frozen=True):
    """One line to be: quantity of `meter`, less `minus`, plus `plus`, times n / d picounits.

    `rate` is None where the meter has no rate and `reason` says why. `native` is the ratio in the rate's own
    currency, with `exchange`, where that is not the book's. `once` is the quantity of a meter nobody reports.
    """

    meter: str
    minus: tuple[str, ...] = ()
    plus: tuple[str, ...] = ()
    numerator: int = 0
    denominator: int = 1
    rate: Rate | None = None
    note: str = ""
    reason: str = ""
    native: tuple[int, int] | None = None
    exchange: ExchangeRate | None = None
    once: int = 0

    @property
    def plain(self) -> bool:
        """Whether the quick loop of `rate` can do it."""
        if self.rate is None or self.plus or self.native is not None or self.once:
            return False
        return self.rate.minimum is None and self.rate.increment is None


Quick = tuple[tuple[str, tuple[str, ...], int, int, Rate | None, str], ...]


class Segment(msgspec.Struct, frozen=True):
    """What holds within one stretch of time, hours and context.

    `caveats` are conditions without a rate; `replaced` lines for meters that another one measures; `inside` pairs
    of (part, whole) that have no line of their own but must fit.
    """

    operations: tuple[Operation, ...]
    caveats: tuple[Unrated, ...]
    replaced: tuple[PricedLine, ...]
    inside: tuple[tuple[str, str], ...]
    quick: Quick | None


class Choice(msgspec.Struct, frozen=True):
    """The rate of a meter and what is to be said of it, or the reason why there is none."""

    rate: Rate | None
    notes: tuple[str, ...] = ()
    reason: str = ""


class Plan:
    """The precomputed pricing of one kind of event. `now` is (since, until, quick operations) of the last used."""

    __slots__ = (
        "_book",
        "_conditions",
        "_contexts",
        "_dates",
        "_given",
        "_hours",
        "_input_form",
        "_segments",
        "exclusive",
        "match",
        "meters",
        "now",
        "resolution",
    )

    now: tuple[Instant, Instant, Quick | None]

    def __init__(
        self,
        book: PriceBook,
        resolution: Resolution,
        conditions: dict[str, str],
        given: dict[str, str],
        meters: tuple[str, ...],
    ) -> None:
        """`conditions` are the normalised ones, `given` those as written (lower case), which discounts ask."""
        for meter in meters:
            meter_named(meter)
        self._book = book
        self._conditions = conditions
        self._given = given
        self.resolution = resolution
        self.match = resolution.rule or f"any service of {resolution.provider}"
        self.meters = meters
        rates = [rate for rate in resolution.rates if self._conditions_hold(rate)]
        dated = [*resolution.rates, *resolution.discounts]
        starts = {at for rate in dated for at in (rate.valid_from, rate.valid_to) if at is not None}
        for currency in {rate.currency for rate in resolution.rates} - {book.currency}:
            starts.update(book.exchange_starts(currency))
        self._dates = sorted(starts)
        self._hours = sorted(
            {at for rate in resolution.rates for at in (rate.hours_from, rate.hours_to) if at is not None}
        )
        self._contexts = sorted({rate.context_over for rate in rates if rate.context_over})
        self._input_form = sum_form([meter for meter in meters if _is_input(meter)]) if self._contexts else ()
        self._segments: dict[tuple[int, int, int], Segment] = {}
        self.exclusive = any(rate.unless for rate in resolution.rates)
        self.now = _NEVER

    def segment(self, at: Instant, usage: Usage) -> Segment:
        """The segment that holds an event of this time and usage."""
        second = at // MICROSECONDS_PER_SECOND % 86_400
        context: Quantity = 0
        for meter, factor in self._input_form:
            context += usage[meter] * factor
        day = bisect_right(self._dates, at)
        key = (day, bisect_right(self._hours, second), bisect_left(self._contexts, context))
        found = self._segments.get(key)
        if found is None:
            found = self._segments[key] = self._build(at, second, context)
        if not self._hours and not self._contexts:
            since = self._dates[day - 1] if day else _BEGINNING
            until = self._dates[day] if day < len(self._dates) else _END
            self.now = (since, until, found.quick)
        return found

    def _build(self, at: Instant, second: int, context: Quantity) -> Segment:
        moment = _Moment(at, second, context)
        wanted = dict.fromkeys(self.meters)
        for meter in self.meters:
            wanted.update(dict.fromkeys(ancestors(meter)))
        choices = {meter: self._choose(meter, moment) for meter in wanted}
        replaced, present = self._without_replaced(choices)
        own, inside = self._shares(choices, present)
        operations = [self._operation(meter, own, choices, inside, moment) for meter in own]
        operations.extend(self._implied(moment, choices))
        usable = all(operation.plain for operation in operations) and not replaced and not inside
        caveats = self._caveats([operation.rate for operation in operations if operation.rate], moment)
        quick = None
        if usable and operations and not caveats:
            quick = tuple((op.meter, op.minus, op.numerator, op.denominator, op.rate, op.note) for op in operations)
        return Segment(tuple(operations), caveats, replaced, tuple(inside.items()), quick)

    def _without_replaced(self, choices: Mapping[str, Choice]) -> tuple[tuple[PricedLine, ...], list[str]]:
        """Lines of nothing for meters whose work another reported and rated meter measures; the others."""
        replaced: list[PricedLine] = []
        present: list[str] = []
        for meter in self.meters:
            rate = choices[meter].rate
            by = [] if rate is None else [other for other in rate.unless if other in self.meters]
            by = [other for other in by if _nearest(other, choices) is not None]
            if by:
                note = f"the same work is charged by {' and '.join(by)}"
                replaced.append(PricedLine(meter, 0, 0, rate, note))
            else:
                present.append(meter)
        return tuple(replaced), present

    def _shares(
        self, choices: Mapping[str, Choice], present: list[str]
    ) -> tuple[dict[str, str | None], dict[str, str]]:
        """(meter -> the meter whose rate it takes, or None; part -> whole, for parts without a line of their own)."""
        own: dict[str, str | None] = {}
        inside: dict[str, str] = {}
        for meter in present:
            rated = _nearest(meter, choices)
            if rated is not None and rated != meter and rated in present and overlaps(meter, present):
                inside[meter] = rated
            else:
                own[meter] = rated
        return own, inside

    def _operation(
        self,
        meter: str,
        own: Mapping[str, str | None],
        choices: Mapping[str, Choice],
        inside: Mapping[str, str],
        moment: _Moment,
    ) -> Operation:
        minus, plus = leaf_form(meter, tuple(own))
        rated = own[meter]
        choice = choices[rated or meter]
        if choice.rate is None:
            return Operation(meter, minus, plus, reason=choice.reason)
        notes = [] if rated == meter else [f"rate of {rated}, no own rate"]
        notes.extend(choice.notes)
        parts = [part for part, whole in inside.items() if whole == meter]
        if parts:
            notes.append(f"includes {' and '.join(parts)}, without a rate of their own")
        return self._priced(Operation(meter, minus, plus), choice.rate, notes, moment)

    def _priced(self, operation: Operation, rate: Rate, notes: list[str], moment: _Moment) -> Operation:
        ratio = pico_ratio(rate)
        native: tuple[int, int] | None = None
        exchange: ExchangeRate | None = None
        if rate.currency != self._book.currency:
            exchange = self._book.exchange_at(rate.currency, moment.at)
            if exchange is None:
                pair = f"{rate.currency} to {self._book.currency}"
                reason = f"no exchange rate of {pair} on or before the event's day; add one to your price file"
                return msgspec.structs.replace(operation, reason=reason)
            native = ratio
            up, down = exchange.price.as_integer_ratio()
            ratio = _reduced(ratio[0] * up, ratio[1] * down)
        return msgspec.structs.replace(
            operation,
            numerator=ratio[0],
            denominator=ratio[1],
            rate=rate,
            note="; ".join(notes),
            native=native,
            exchange=exchange,
        )

    def _implied(self, moment: _Moment, choices: Mapping[str, Choice]) -> Iterable[Operation]:
        for meter in dict.fromkeys(rate.meter for rate in self.resolution.rates if rate.implied):
            if meter in self.meters:
                continue
            choice = choices.get(meter) or self._choose(meter, moment)
            if choice.rate is not None:
                notes = [*choice.notes, "counted once a call"]
                yield self._priced(Operation(meter, once=1), choice.rate, notes, moment)

    def attempts(self, at: Instant) -> tuple[Operation, ...]:
        """What a failed call that reports no usage is charged: one of each meter whose rate charges attempts."""
        moment = _Moment(at, at // MICROSECONDS_PER_SECOND % 86_400, 0)
        found: list[Operation] = []
        for meter in dict.fromkeys(rate.meter for rate in self.resolution.rates if rate.attempts):
            choice = self._choose(meter, moment)
            if choice.rate is not None and choice.rate.attempts:
                notes = [*choice.notes, "failed attempts are charged"]
                found.append(self._priced(Operation(meter, once=1), choice.rate, notes, moment))
        return tuple(found)

    def _conditions_hold(self, rate: Rate) -> bool:
        return all(self._conditions.get(key.lower()) == value.lower() for key, value in rate.conditions.items())

    def _choose(self, meter: str, moment: _Moment) -> Choice:
        timely = [
            (index, rate)
            for index, rate in enumerate(self.resolution.rates)
            if rate.meter == meter and moment.within(rate)
        ]
        holding = [(index, rate) for index, rate in timely if self._conditions_hold(rate)]
        if not timely:
            return Choice(None, reason=self._no_rate(meter))
        if not holding:
            return self._without_condition(meter, [rate for _, rate in timely], moment)
        rate = min(holding, key=_precedence)[1]
        if rate.price_high is not None:
            text = f"{rate.price:f} to {rate.price_high:f} {rate.currency}"
            return Choice(None, reason=f"{meter} has a range of prices, {text}, used in estimates; add your own rate")
        return self._discounted(rate, self._notes(rate), moment)

    def _without_condition(self, meter: str, rates: list[Rate], moment: _Moment) -> Choice:
        """No rate's conditions hold: take the price if it is the same whatever the missing condition says."""
        asked = [
            (frozenset(key for key in rate.conditions if key.lower() not in self._conditions), rate)
            for rate in rates
            if rate.price_high is None and not self._contradicts(rate)
        ]
        # What asks for more than another does is a special case of it, and nobody said that it applies.
        nearest = [(keys, rate) for keys, rate in asked if not any(fewer < keys for fewer, _ in asked)]
        keys = sorted({key for keys, _ in nearest for key in keys})
        if nearest and not ALWAYS_MATERIAL.intersection(keys):
            best = min(enumerate(rate for _, rate in nearest), key=_precedence)[1]
            if all(_same_price(best, rate) for _, rate in nearest):
                note = f"{' and '.join(keys)} not given: all listed prices are the same"
                return self._discounted(best, (note, *self._notes(best)), moment)
        wanted = sorted({f"{key}={value}" for rate in rates for key, value in rate.conditions.items()})
        shown = ", ".join(wanted[:8]) + (", …" if len(wanted) > 8 else "")
        return Choice(None, reason=f"the price of {meter} depends on conditions; give one of {shown}")

    def _contradicts(self, rate: Rate) -> bool:
        lowered = {key.lower(): value.lower() for key, value in rate.conditions.items()}
        return any(self._conditions.get(key, value) != value for key, value in lowered.items())

    def _notes(self, rate: Rate) -> tuple[str, ...]:
        notes = []
        if rate.price == 0:
            notes.append("listed free")
        known = {key.lower() for key in rate.conditions}
        used = self._keys_of({rate.meter})
        missing = [
            f"{key}={value}"
            for key, value in self._conditions.items()
            if key in used and key not in known and value in self.resolution.offered.get(key, ())
        ]
        if missing:
            notes.append(f"no own rate for {' and '.join(missing)}: the base rate")
        return tuple(notes)

    def _discounted(self, rate: Rate, notes: tuple[str, ...], moment: _Moment) -> Choice:
        if rate.origin != "catalogue":
            return Choice(rate, notes)
        rules = [
            (index, rule)
            for index, rule in enumerate(self.resolution.discounts)
            if rule.meter in (rate.meter, "*")
            and moment.within(rule)
            and all(self._given.get(key.lower()) == value.lower() for key, value in rule.conditions.items())
        ]
        if not rules:
            return Choice(rate, notes)
        lowered, said = _lowered(rate, min(rules, key=_discount_precedence)[1])
        return Choice(lowered, (*notes, said))

    def _no_rate(self, meter: str) -> str:
        if self.resolution.reason:
            return self.resolution.reason
        rated = list(dict.fromkeys(rate.meter for rate in self.resolution.rates))
        listed = f"it has rates for {', '.join(rated[:6])}" if rated else "the catalogue lists no price for it"
        service = f"{self.resolution.service} of {self.resolution.provider}"
        return f"{service} has no rate for {meter} at this time; {listed}"

    def _keys_of(self, meters: Iterable[str]) -> set[str]:
        """The conditions on which the price of these meters depends."""
        keys = {key.lower() for rate in self.resolution.rates if rate.meter in meters for key in rate.conditions}
        return keys | ALWAYS_MATERIAL

    def _caveats(self, rates: Sequence[Rate], moment: _Moment) -> tuple[Unrated, ...]:
        """Conditions whose value no rate in force knows, or knows only together with others that this call has
        otherwise (a reserved price of another region): the lines then stand at the base rate, incomplete.
        """
        used = self._keys_of({rate.meter for rate in rates}) if rates else set()
        found = []
        for key, value in self._conditions.items():
            known = self._values_in_force(key, moment)
            if key not in used or (value in known and not self._known_elsewhere(rates, key, value, moment)):
                continue
            listed = f"known are {', '.join(sorted(known))}" if known else "it has none at this time"
            if value in known:
                listed = "but under other conditions than these"
            reason = (
                f"{self.resolution.service} has no rate for {key}={value}, {listed}; lines stand at the base rate"
            )
            found.append(Unrated(key, 0, reason))
        return tuple(found)

    def _known_elsewhere(self, rates: Sequence[Rate], key: str, value: str, moment: _Moment) -> bool:
        """Whether a listed rate without the condition was chosen, while the meter's rates with it hold elsewhere.

        The user's own rate without the condition is meant for all of its values.
        """
        listed = [rate for rate in rates if rate.origin == "catalogue"]
        left_out = {rate.meter for rate in listed if all(each.lower() != key for each in rate.conditions)}
        return any(
            rate.meter in left_out and moment.within(rate) and self._contradicts(rate)
            for rate in self.resolution.rates
            if (key, value) in {(name.lower(), each.lower()) for name, each in rate.conditions.items()}
        )

    def _values_in_force(self, key: str, moment: _Moment) -> set[str]:
        return {
            value.lower()
            for rate in self.resolution.rates
            if moment.within(rate)
            for rate_key, value in rate.conditions.items()
            if rate_key.lower() == key
        }


class _Moment:
    """When, at which second of the UTC day, and with how many input tokens a rate is asked for."""

    __slots__ = ("at", "context", "second")

    def __init__(self, at: Instant, second: int, context: Quantity) -> None:
        self.at = at
        self.second = second
        self.context = context

    def within(self, rate: Rate) -> bool:
        """Whether the rate is in force: by date, time of day and context length."""
        if rate.valid_from is not None and self.at < rate.valid_from:
            return False
        if rate.valid_to is not None and self.at >= rate.valid_to:
            return False
        if rate.context_over and self.context <= rate.context_over:
            return False
        if rate.hours_from is None or rate.hours_to is None:
            return True
        if rate.hours_from <= rate.hours_to:
            return rate.hours_from <= self.second < rate.hours_to
        return self.second >= rate.hours_from or self.second < rate.hours_to


def _precedence(indexed: tuple[int, Rate]) -> tuple[int, ...]:
    """Least first: the user's, of this very service, most conditions, exact, highest context, newest, latest told."""
    index, rate = indexed
    own = rate.origin != "catalogue"
    return (
        0 if own else 1,
        1 if rate.service == "*" else 0,
        -len(rate.conditions),
        0 if rate.price_high is None else 1,
        -rate.context_over,
        -(rate.valid_from if rate.valid_from is not None else _BEGINNING) if own else 0,
        -rate.recorded_at if own else 0,
        -index if own else index,
    )


def _discount_precedence(indexed: tuple[int, Rate]) -> tuple[int, ...]:
    index, rule = indexed
    return (
        1 if rule.provider == "*" else 0,
        1 if rule.service == "*" else 0,
        1 if rule.meter == "*" else 0,
        -len(rule.conditions),
        -(rule.valid_from if rule.valid_from is not None else _BEGINNING),
        -rule.recorded_at,
        -index,
    )


def _lowered(rate: Rate, rule: Rate) -> tuple[Rate, str]:
    """The rate after a discount, and the words that say so."""
    factor = Decimal(1) if rule.discount is None else rule.discount
    lowered = msgspec.structs.replace(
        rate,
        price=EXACT.multiply(rate.price, factor).normalize(EXACT),
        list_price=rate.price,
        discount=factor,
        note="; ".join(part for part in (rate.note, rule.note) if part),
    )
    percent = EXACT.multiply(EXACT.subtract(Decimal(1), factor), Decimal(100)).normalize(EXACT)
    by = f" by {rule.source}" if rule.source else ""
    return lowered, f"{percent:f} % off the list price {rate.price:f}{by}"


def _same_price(one: Rate, other: Rate) -> bool:
    return (EXACT.multiply(one.price, other.per), one.currency, one.minimum, one.increment) == (
        EXACT.multiply(other.price, one.per),
        other.currency,
        other.minimum,
        other.increment,
    )


def pico_ratio(rate: Rate) -> tuple[int, int]:
    """Picounits of the rate's currency for one of its meter, as a reduced ratio."""
    up, down = rate.price.as_integer_ratio()
    return _reduced(up * PICO_PER_UNIT, down * rate.per)


def _reduced(up: int, down: int) -> tuple[int, int]:
    common = gcd(up, down)
    return up // common, down // common


def _nearest(meter: str, choices: Mapping[str, Choice]) -> str | None:
    return next((each for each in (meter, *ancestors(meter)) if choices[each].rate is not None), None)


def _is_input(meter: str) -> bool:
    described = METERS[meter]
    return described.family == "tokens" and ("direction", "input") in described.dimensions
