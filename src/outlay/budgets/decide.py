"""Whether a call fits: the decision about all limits that cover it, given the accounts. Pure.

The store checks the same in its transaction, `committed <= limit.committed_max` for every hard limit; it takes all
or none and hands back the accounts it read, from which `decide` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from outlay.budgets.terms import Choice, Decision
from outlay.clock import Instant, isoformat, to_datetime
from outlay.errors import BudgetExceeded
from outlay.model import CALLS, Account, AccountKey, BudgetAction, Limit, Refusal
from outlay.money import PICO_PER_UNIT, Money, whole_or_decimal

ALLOTMENT_MIN: Final = 1024
P99_FACTOR: Final = 4
WARMING: Final = "budget_warming"
"""Why a limit is barred whose account does not know yet what was spent before its budget was made."""

_PASSING: Final = ("budget_reserved", WARMING)
_NOTHING: Final = Account()
_STRICTEST: Final = (BudgetAction.REFUSE, BudgetAction.DOWNGRADE, BudgetAction.THROTTLE, BudgetAction.NOTIFY)

Accounts = Mapping[AccountKey, Account]
"""The accounts by key; one that is not there has spent nothing yet."""


def fits(limit: Limit, account: Account) -> bool:
    """Whether a call may take what it asks of this limit: the one check of money, right side given."""
    return not limit.barred and (not limit.hard or account.committed <= limit.committed_max)


def decide(limits: Sequence[Limit], accounts: Accounts, now: Instant) -> Decision:
    """All limits are taken or none. Where one refuses, what to do: refuse, take a cheaper service, or wait."""
    refusals = [
        refusal(limit, account) for limit in limits if not fits(limit, account := accounts.get(limit.key, _NOTHING))
    ]
    if not refusals:
        return Decision(granted=True)
    refusals.sort(key=_weight)
    waits = all(one.code in _PASSING for one in refusals)
    action = min((_action(one) for one in refusals), key=_STRICTEST.index)
    opens = max((one.opens_at for one in refusals if one.opens_at is not None), default=now)
    return Decision(
        granted=False,
        refusals=tuple(refusals),
        action=action,
        waits=waits,
        wait_s=min(one.limit.wait_s for one in refusals) if waits else Decimal(0),
        delay_us=opens - now if action is BudgetAction.THROTTLE else 0,
    )


def refusal(limit: Limit, account: Account) -> Refusal:
    """Why this limit refuses: what is asked can never fit in this window, or others' reservations are in its way."""
    never = limit.asked > limit.ceiling
    code = limit.barred
    if not code:
        code = "budget_spent" if account.spent > limit.committed_max else "budget_reserved"
    return Refusal(
        code=code,
        limit=limit,
        spent=account.spent,
        reserved=account.committed - account.spent,
        opens_at=None if never or limit.barred else limit.window.end,
    )


def _weight(one: Refusal) -> tuple[bool, bool, int, AccountKey]:
    """What no waiting helps comes first, then what opens last."""
    return (one.code in _PASSING, one.opens_at is not None, -(one.opens_at or 0), one.limit.key)


def _action(one: Refusal) -> BudgetAction:
    """A throttled call that no later window lets through is refused; so is a call that may not go at all."""
    hopeless = one.opens_at is None and one.limit.action is not BudgetAction.DOWNGRADE
    return BudgetAction.REFUSE if hopeless else one.limit.action


def fails_open(limits: Iterable[Limit]) -> bool:
    """Whether a call may go when the ledger cannot be asked: every hard limit that covers it says so."""
    return all(limit.fail_open for limit in limits if limit.hard)


def room(limits: Iterable[Limit], accounts: Accounts, meter: str | None = None) -> int | None:
    """What the hard limits of this meter (None: money) still let one call take; None where there is no such limit."""
    left = [
        limit.ceiling - accounts.get(limit.key, _NOTHING).committed
        for limit in limits
        if limit.hard and limit.meter == meter
    ]
    return min(left) if left else None


def affordable(limits_at: Callable[[int], Iterable[Limit]], accounts: Accounts, most: int) -> int | None:
    """The most output tokens up to `most` with which a call fits, or None where it does not fit even without any.

    `limits_at` gives the limits with what the call asks at so many tokens; more tokens never ask less.
    """

    def fitting(tokens: int) -> bool:
        return all(fits(limit, accounts.get(limit.key, _NOTHING)) for limit in limits_at(tokens))

    if fitting(most):
        return most
    if not fitting(0):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fitting(middle) else (low, middle)
    return low


def allotment(output_max: int | None, p99: int | None) -> int:
    """The most output tokens that a call without a maximum is allotted, before what it can afford is looked at.

    min(model maximum, max(1,024, 4 × the p99 of its service and feature so far)).
    """
    wished = max(ALLOTMENT_MIN, P99_FACTOR * (p99 or 0))
    return wished if output_max is None else min(output_max, wished)


def choose(
    choices: Iterable[Choice], left: int | None, traits: Mapping[str, str], asked_of: Callable[[str], int | None]
) -> str | None:
    """The first service of a list that may be taken: enough `left` for it, for a call of these traits, and fitting.

    `left` is the room in money (None: no limit), `asked_of` the worst case with a service, None without a price.
    """
    for choice in choices:
        if any(traits.get(name) != value for name, value in choice.when.items()):
            continue
        if left is not None and (left < choice.room or (choice.above and left == choice.room)):
            continue
        asked = asked_of(choice.service)
        if asked is not None and (left is None or asked <= left):
            return choice.service
    return None


def exceeded(decision: Decision, currency: str) -> BudgetExceeded:
    """The error that tells a caller everything needed to act. The decision is one that refused."""
    first, *rest = [_told(one, currency) for one in decision.refusals]
    first.others = tuple(rest)
    return first


def _told(one: Refusal, currency: str) -> BudgetExceeded:
    limit = one.limit
    return BudgetExceeded(
        sentence(one, currency),
        code=one.code,
        budget=limit.key.budget,
        subject=limit.key.subject,
        window=limit.key.window,
        unit=limit.meter or currency,
        spent=Money(one.spent).amount,
        reserved=Money(one.reserved).amount,
        limit=Money(limit.ceiling).amount,
        asked=Money(limit.asked).amount,
        opens_at=None if one.opens_at is None else to_datetime(one.opens_at),
        others=(),
    )


def sentence(one: Refusal, currency: str) -> str:
    """A refusal in words that say what to do."""
    limit, key = one.limit, one.limit.key
    whose = f"budget {key.budget}" + (f" of {key.subject}" if key.subject else "")
    if one.code == "unbounded_usage":
        return f"{whose} refuses a call with a part that has no bound; take it out, or set unbounded on the budget"
    if one.code == WARMING:
        return f"{whose} still counts what was spent before it was made; try again in a moment, or set fail_open"
    if one.code == "unpriced_usage":
        return f"{whose} refuses a call that has no price; add a rate, or set unpriced on the budget"
    cap = f"{said(limit.ceiling, limit.meter, currency)} for {key.window}"
    asked = f"this call may take {said(limit.asked, limit.meter, currency)}"
    if one.opens_at is None:
        return f"{whose} has {cap} and {asked}: it fits in no window; ask for less or raise the limit"
    state = f"{said(one.spent, limit.meter, currency)} spent"
    if one.code == "budget_reserved":
        held = f"{said(one.reserved, limit.meter, currency)} reserved by calls in flight"
        return f"{whose} has {cap}: {state}, {held}, {asked}; try again when they settle"
    return f"{whose} has {cap}: {state}, {asked}; it opens again at {isoformat(one.opens_at)}"


def said(amount: int, meter: str | None, currency: str) -> str:
    """An amount with its unit, for people: `$0.50`, `50 calls`, `12.5 audio_seconds`."""
    if meter is None:
        return str(Money(amount, currency))
    return "1 call" if meter == CALLS and amount == PICO_PER_UNIT else f"{plain(amount)} {meter}"


def plain(amount: int) -> int | Decimal:
    """A count as a whole number where it is one, else a Decimal without trailing zeros."""
    return whole_or_decimal(Money(amount).amount)
