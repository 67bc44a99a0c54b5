"""How a budget stands: what is left, at which pace it goes, which marks were crossed, and what to warn of. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from outlay.budgets.decide import plain, said
from outlay.budgets.definition import WINDOWS, mark_said
from outlay.budgets.terms import BudgetStatus
from outlay.clock import Instant, WindowName
from outlay.model import Account, Limit, Mark
from outlay.money import EXACT, pico_to_decimal, round_half_even

ADVERBS: Final[dict[WindowName, str]] = {
    "5 minutes": "5-minute",
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "quarter": "quarterly",
    "year": "yearly",
}
_HUNDREDTHS: Final = 100


def status(limit: Limit, account: Account, now: Instant, currency: str = "USD") -> BudgetStatus:
    """How the account of a limit stands at `now`, which lies in its window or after it."""
    start, end, _ = limit.window
    elapsed = min(max(now - start, 0), end - start)
    projected = round_half_even(account.spent * (end - start), elapsed) if elapsed else account.spent
    reached = tuple(mark for mark in limit.marks if (projected if mark.forecast else account.spent) >= mark.amount)
    return BudgetStatus(
        key=limit.key,
        window_name=limit.window_name,
        window=limit.window,
        meter=limit.meter,
        tier=limit.tier,
        action=limit.action,
        limit=limit.amount,
        ceiling=limit.ceiling,
        spent=account.spent,
        reserved=account.committed - account.spent,
        remaining=max(limit.ceiling - account.committed, 0),
        refusals=account.refusals,
        percent=_ratio(account.spent * 100, limit.amount),
        pace=_ratio(account.spent * (end - start), limit.amount * elapsed),
        projected=projected,
        spent_at=_spent_at(limit, account.spent, elapsed),
        marks=reached,
        warning=_warning(limit, account.spent, projected, reached, currency),
        warming=account.warming,
    )


def _ratio(numerator: int, denominator: int) -> Decimal | None:
    """A ratio to two decimals, None where there is nothing to compare with."""
    if denominator <= 0:
        return None
    return Decimal(round_half_even(numerator * _HUNDREDTHS, denominator)).scaleb(-2, EXACT)


def _spent_at(limit: Limit, spent: int, elapsed: int) -> Instant | None:
    """When the limit is reached at this pace, None if not within the window."""
    if spent <= 0:
        return None
    reached_at = limit.window.start + -(-elapsed * limit.amount // spent)
    return reached_at if reached_at < limit.window.end else None


def _warning(limit: Limit, spent: int, projected: int, reached: Iterable[Mark], currency: str) -> str:
    """The highest mark crossed by what was spent; else by the forecast."""
    marks = sorted(reached, key=lambda mark: (not mark.forecast, mark.amount))
    if not marks:
        return ""
    mark = marks[-1]
    amount, verb = (projected, "will be used at this pace") if mark.forecast else (spent, "is used")
    whole = said(limit.amount, limit.meter, currency)
    part = said(amount, limit.meter, currency)
    return f"{mark_said(mark)} of the {ADVERBS[limit.window_name]} limit is crossed: {part} of {whole} {verb}"


def crossed(limit: Limit, before: int, after: int) -> tuple[Mark, ...]:
    """The marks that spending crossed on its way from `before` to `after`, the lowest first; never a forecast's.

    A mark is told once an account if `before` is the most that the account had ever spent, since a correction may
    lower it again. The store does as much by keeping (account, percent) unique.
    """
    return tuple(
        sorted(
            (mark for mark in limit.marks if not mark.forecast and before < mark.amount <= after),
            key=lambda mark: mark.amount,
        )
    )


def usage_block(statuses: Iterable[BudgetStatus]) -> dict[str, object]:
    """What to put into an answer for a user: {daily_used, daily_limit, monthly_used, …, warning}.

    Counts are whole numbers, money Decimals. Of several budgets with the same window the one nearest to its limit is
    told, and of several warnings that of the narrowest window.
    """
    nearest: dict[WindowName, BudgetStatus] = {}
    for one in statuses:
        known = nearest.get(one.window_name)
        if known is None or (one.percent or 0) > (known.percent or 0):
            nearest[one.window_name] = one
    block: dict[str, object] = {}
    for window in WINDOWS:
        if window in nearest:
            one = nearest[window]
            read = pico_to_decimal if one.meter is None else plain
            name = ADVERBS[window].replace("-", "_")
            block[f"{name}_used"] = read(one.spent)
            block[f"{name}_limit"] = read(one.limit)
    warnings = [nearest[window].warning for window in WINDOWS if window in nearest and nearest[window].warning]
    if warnings:
        block["warning"] = warnings[0]
    return block
