"""Which limits cover a call: budgets compiled into an index whose cost does not grow with those that do not cover it.

Budgets that filter by the same dimensions share one hash table from the values of these dimensions to the budgets, so
a call costs one look-up for each such *shape*, however many budgets have it. A shape that asks for a tag is looked at
only for calls that bear the tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from itertools import chain, product
from math import prod
from typing import Any, Final

import msgspec

from outlay.budgets.terms import Asking, Budget, UnboundedPolicy, UnpricedPolicy
from outlay.clock import Instant, Window, WindowName, window_of
from outlay.meters import ancestors, descendants
from outlay.model import ATTRIBUTIONS, CALLS, AccountKey, Limit, Mark, Quantity, Share, UsageEvent
from outlay.money import PICO_PER_UNIT, sum_exactly

Dimensions = Mapping[str, str | None]
"""A call's values by dimension and `tag.<name>`; a missing one is None."""

TierOf = Callable[[str, str], str | None]
"""The tier of a subject: ("user", "u42") gives "premium", or None for one that nobody told."""

KEYS_PER_BUDGET_MAX: Final = 1024
_SCOPE_BYTES: Final = 6


class _EventDimensions(Mapping[str, str | None]):
    """The dimensions of an event, read where they are asked for: few budgets ask for more than one or two."""

    __slots__ = ("_event",)

    def __init__(self, event: UsageEvent) -> None:
        self._event = event

    def __getitem__(self, name: str) -> str | None:
        if name in _EVERY:
            value: str | None = getattr(self._event, name)
            return value
        if name.startswith(_TAG):
            return self._event.tags[name[len(_TAG) :]]
        raise KeyError(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a dimension or tag."""
        if name in _EVERY:
            return getattr(self._event, name)
        return self._event.tags.get(name[len(_TAG) :], default) if name.startswith(_TAG) else default

    def __iter__(self) -> Iterator[str]:
        yield from _EVERY
        for name in self._event.tags:
            yield _TAG + name

    def __len__(self) -> int:
        return len(_EVERY) + len(self._event.tags)


_TAG: Final = "tag."
_EVERY: Final = dict.fromkeys(("provider", "service", "operation", *ATTRIBUTIONS))


def dimensions_of(event: UsageEvent) -> Dimensions:
    """The dimensions of an event, as budgets filter by them."""
    return _EventDimensions(event)


class _Rung(msgspec.Struct, frozen=True, eq=False):
    """One limit of a tier while no raise is in force."""

    window: WindowName
    amount: int
    ceiling: int
    marks: tuple[Mark, ...]


class _Compiled(msgspec.Struct, frozen=True, eq=False):
    """A budget, its scope's digest, and its tiers by name, the first (`usual`) for names that are none.

    `windows` are those that any tier limits: what was used counts in each, since a subject's tier may change.
    """

    budget: Budget
    scope: str
    usual: str
    tiers: dict[str, tuple[_Rung, ...]]
    windows: tuple[WindowName, ...]
    residual: tuple[tuple[str, frozenset[str | None]], ...]


class _Shape(msgspec.Struct, eq=False):
    """The budgets that filter by the same dimensions, by the values they filter for."""

    dimensions: tuple[str, ...]
    budgets: dict[tuple[str | None, ...], list[_Compiled]] = {}


class BudgetIndex:
    """Budgets, looked up by call. Safe to share between threads; made anew when a budget changes."""

    def __init__(self, budgets: Iterable[Budget]) -> None:
        """The order of `budgets` does not matter; limits come in the order of their account keys."""
        self.budgets = {budget.name: budget for budget in budgets}
        self._shapes: list[_Shape] = []
        self._tagged: dict[str, list[_Shape]] = {}
        self._windows: dict[tuple[WindowName, str], Window] = {}
        values: dict[str, set[str | None]] = {}
        for budget in self.budgets.values():
            for dimension, chosen in budget.where.items():
                values.setdefault(dimension, set()).update(chosen)
        shapes: dict[tuple[str, ...], _Shape] = {}
        for budget in self.budgets.values():
            dimensions = _keyed(budget, values)
            shape = shapes.get(dimensions)
            if shape is None:
                shape = shapes[dimensions] = _Shape(dimensions)
            compiled = _compiled(budget, dimensions)
            for key in product(*(budget.where[dimension] for dimension in dimensions)):
                shape.budgets.setdefault(key, []).append(compiled)
        for shape in shapes.values():
            lead = _lead(shape)
            (self._tagged.setdefault(lead, []) if lead else self._shapes).append(shape)

    def limits(
        self, dimensions: Dimensions, now: Instant, asking: Asking, tier_of: TierOf | None = None
    ) -> tuple[Limit, ...]:
        """The limits that cover a call at `now` by the ledger's clock, each with what the call asks of it.

        An `each` budget covers the calls that bear its dimension. They come sorted by account key: the order in which
        accounts are locked. `tier_of` tells a subject's tier; every subject is of the first one without it.
        """
        found: list[Limit] = []
        for compiled, subject in self._covering(dimensions):
            found += self._limits_of(compiled, subject, now, asking, tier_of)
        if len(found) > 1:
            found.sort(key=_by_key)
        return tuple(found)

    def covering(self, dimensions: Dimensions) -> list[Budget]:
        """The budgets that cover a call, by name."""
        return sorted((one.budget for one, _ in self._covering(dimensions)), key=lambda budget: budget.name)

    def shares(self, dimensions: Dimensions, at: Instant, told: Asking) -> list[tuple[AccountKey, int]]:
        """The accounts in which what was used counts, and what it counts there: for settling, warming and audit.

        `told` is what happened: a call without a price counts no money, whatever the policy. `at` is the entry's
        `counted_at`.
        """
        found = []
        for compiled, subject in self._covering(dimensions):
            budget = compiled.budget
            amount = amount_of(budget.meter, told)
            for name in compiled.windows:
                label = self._window(name, budget.zone, at).label
                found.append((AccountKey(budget.name, compiled.scope, subject, label), amount))
        return found

    def standing(self, budget: Budget, subject: str, now: Instant, tier_of: TierOf | None = None) -> list[Limit]:
        """The limits of one account holder at `now`, of which nothing is asked."""
        nothing = Asking(amount=0, calls=0)
        return self._limits_of(_compiled(budget, ()), subject, now, nothing, tier_of)

    def counted(
        self, dimensions: Dimensions, at: Instant, told: Asking, tier_of: TierOf | None = None
    ) -> list[Share]:
        """As `shares`, with the windows and with the marks of the limit that stands over each account."""
        found = []
        for compiled, subject in self._covering(dimensions):
            budget = compiled.budget
            _, rungs = _rungs_of(compiled, subject, at, tier_of)
            marks = {rung.window: rung.marks for rung in rungs}
            amount = amount_of(budget.meter, told)
            for name in compiled.windows:
                start, end, label = self._window(name, budget.zone, at)
                key = AccountKey(budget.name, compiled.scope, subject, label)
                found.append(Share(key, name, start, end, budget.meter, amount, marks.get(name, ())))
        return found

    def _covering(self, dimensions: Dimensions) -> list[tuple[_Compiled, str]]:
        shapes = self._shapes
        if self._tagged:
            # By the call's tags, of which there are few, and not by those that budgets ask for.
            tagged = [self._tagged[name] for name in dimensions if name in self._tagged]
            shapes = [*shapes, *chain.from_iterable(tagged)]
        found = []
        for shape in shapes:
            key = tuple([dimensions.get(name) for name in shape.dimensions])
            for compiled in shape.budgets.get(key, ()):
                if compiled.residual and not _within(dimensions, compiled.residual):
                    continue
                each = compiled.budget.each
                subject = "" if each is None else dimensions.get(each)
                if subject is not None:
                    found.append((compiled, subject))
        return found

    def _limits_of(
        self, compiled: _Compiled, subject: str, now: Instant, asking: Asking, tier_of: TierOf | None
    ) -> list[Limit]:
        budget = compiled.budget
        tier, rungs = _rungs_of(compiled, subject, now, tier_of)
        asked, barred = _asked(budget, asking)
        found = []
        for rung in rungs:
            window = self._window(rung.window, budget.zone, now)
            limit = Limit(
                key=AccountKey(budget.name, compiled.scope, subject, window.label),
                window_name=rung.window,
                window=window,
                amount=rung.amount,
                ceiling=rung.ceiling,
                asked=asked,
                meter=budget.meter,
                tier=tier,
                marks=rung.marks,
                action=budget.action,
                wait_s=budget.wait_s,
                fail_open=budget.fail_open,
                barred=barred,
            )
            found.append(limit)
        return found

    def _window(self, name: WindowName, zone: str, now: Instant) -> Window:
        """The window of `now`; the last one is remembered, since nearly every call falls into it."""
        window = self._windows.get((name, zone))
        if window is None or not window.start <= now < window.end:
            window = self._windows[name, zone] = window_of(now, name, zone)
        return window


def _within(dimensions: Dimensions, residual: Iterable[tuple[str, frozenset[str | None]]]) -> bool:
    return all(dimensions.get(name) in chosen for name, chosen in residual)


def _rungs_of(
    compiled: _Compiled, subject: str, now: Instant, tier_of: TierOf | None
) -> tuple[str, tuple[_Rung, ...]]:
    """A subject's tier and its limits at `now`, raises included."""
    budget, tier = compiled.budget, compiled.usual
    if tier_of is not None and budget.each is not None and len(compiled.tiers) > 1:
        told = tier_of(budget.each, subject)
        tier = told if told in compiled.tiers else tier
    rungs = compiled.tiers[tier]
    if not budget.raises:
        return tier, rungs
    raised = [(rung, raised_by(budget, rung.window, subject, now)) for rung in rungs]
    return tier, tuple([_rung(budget, rung.window, rung.amount + more) if more else rung for rung, more in raised])


def _by_key(limit: Limit) -> AccountKey:
    return limit.key


def _keyed(budget: Budget, values: Mapping[str, set[str | None]]) -> tuple[str, ...]:
    """The dimensions that make up a budget's keys, the most selective first, as long as the keys are few."""
    chosen: list[str] = []
    for dimension in sorted(budget.where, key=lambda name: (-len(values[name]), name)):
        keys = prod(len(budget.where[name]) for name in (*chosen, dimension))
        if keys <= KEYS_PER_BUDGET_MAX or not chosen:
            chosen.append(dimension)
    return tuple(sorted(chosen))


def _lead(shape: _Shape) -> str:
    """The tag without which no budget of this shape covers a call, or "" where there is none."""
    for place, name in enumerate(shape.dimensions):
        if name.startswith("tag.") and all(key[place] is not None for key in shape.budgets):
            return name
    return ""


def _compiled(budget: Budget, keyed: tuple[str, ...]) -> _Compiled:
    return _Compiled(
        budget,
        scope_of(budget),
        budget.tiers[0].name,
        {tier.name: tuple(_rung(budget, one.window, one.amount) for one in tier.limits) for tier in budget.tiers},
        tuple(dict.fromkeys(one.window for tier in budget.tiers for one in tier.limits)),
        tuple((name, frozenset(chosen)) for name, chosen in budget.where.items() if name not in keyed),
    )


def _rung(budget: Budget, window: WindowName, amount: int) -> _Rung:
    ceiling = amount + _grace(amount, budget.grace_percent)
    return _Rung(window, amount, ceiling, marks_of(budget.marks, amount))


def scope_of(budget: Budget) -> str:
    """A digest of what a budget's accounts count: where, each, meter and zone."""
    told = repr((sorted(budget.where.items()), budget.each, budget.meter, budget.zone))
    return blake2b(told.encode(), digest_size=_SCOPE_BYTES).hexdigest()


def raised_by(budget: Budget, window: WindowName, subject: str, now: Instant) -> int:
    """What the raises in force at `now` add to a limit."""
    return sum(
        more.amount
        for more in budget.raises
        if more.window == window and more.since <= now < more.until and more.subject in (None, subject)
    )


def _grace(amount: int, percent: Quantity) -> int:
    numerator, denominator = percent.as_integer_ratio()
    return amount * numerator // (100 * denominator)


def marks_of(marks: Iterable[Mark], amount: int) -> tuple[Mark, ...]:
    """The marks of a limit, each with the least amount that crosses it."""
    return tuple([Mark(mark.percent, mark.forecast, mark.above, _threshold(mark, amount)) for mark in marks])


def _threshold(mark: Mark, amount: int) -> int:
    numerator, denominator = mark.percent.as_integer_ratio()
    share, rest = divmod(amount * numerator, 100 * denominator)
    return max(share + 1 if mark.above or rest else share, 1)


def _asked(budget: Budget, asking: Asking) -> tuple[int, str]:
    """What a call asks of a budget, or why it may not go: (0, the refusal's code)."""
    if budget.meter == CALLS:
        return asking.calls * PICO_PER_UNIT, ""
    whole = asking.unbounded and budget.unbounded is UnboundedPolicy.CONTEXT_WINDOW
    if asking.unbounded and budget.unbounded is UnboundedPolicy.REFUSE:
        return 0, "unbounded_usage"
    if budget.meter is not None:
        return _counted(budget.meter, asking.window_usage if whole else asking.usage), ""
    amount = asking.window_amount if whole else asking.amount
    if amount is not None:
        return amount, ""
    if budget.unpriced is UnpricedPolicy.REFUSE:
        return 0, "unpriced_usage"
    return (budget.assumed * asking.calls if budget.unpriced is UnpricedPolicy.ASSUME else 0), ""


def amount_of(meter: str | None, told: Asking) -> int:
    """What a call that happened counts in an account of this meter, in 10⁻¹² of its unit."""
    if meter is None:
        return told.amount or 0
    return told.calls * PICO_PER_UNIT if meter == CALLS else _counted(meter, told.usage)


def _counted(meter: str, usage: Mapping[str, Quantity]) -> int:
    """How much of a meter a usage holds at most: its own figure, else that of what contains it, else its parts'."""
    quantity = usage.get(meter)
    if quantity is None:
        quantity = next((usage[outer] for outer in ancestors(meter) if outer in usage), None)
    if quantity is None:
        inner = descendants(meter)
        quantity = sum_exactly(amount for name, amount in usage.items() if name in inner)
    numerator, denominator = quantity.as_integer_ratio()
    return numerator * PICO_PER_UNIT // denominator


def uncovered(budgets: Iterable[Budget]) -> list[str]:
    """The names of refusing `each` budgets that no total covers: whoever makes up new subjects may spend for ever.

    A total is a refusing budget without `each` in the same unit, whose filter is no narrower.
    """
    several = list(budgets)
    totals = [budget for budget in several if budget.each is None and budget.action != "notify"]
    return sorted(
        budget.name
        for budget in several
        if budget.each is not None
        and budget.action != "notify"
        and not any(total.meter == budget.meter and _no_narrower(total, budget) for total in totals)
    )


def _no_narrower(total: Budget, budget: Budget) -> bool:
    return all(
        set(budget.where.get(name, ())) <= set(chosen) and name in budget.where
        for name, chosen in total.where.items()
    )
