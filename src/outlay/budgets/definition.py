"""Budgets as people write them, in `outlay.toml` or as keyword arguments, read into values and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar, get_args

from msgspec.structs import replace

from outlay.budgets.terms import (
    Budget,
    BudgetChange,
    Choice,
    Raise,
    Tier,
    UnboundedPolicy,
    UnpricedPolicy,
    WindowLimit,
)
from outlay.clock import Instant, WindowName, isoformat, zone_info
from outlay.errors import InvalidInput
from outlay.meters import meter_named
from outlay.model import ATTRIBUTIONS, CALLS, BudgetAction, Mark, Quantity
from outlay.money import decimal_to_pico, parse_decimal, pico_to_decimal, whole_or_decimal

DIMENSIONS: Final = ("provider", "service", "operation", *ATTRIBUTIONS)
WINDOWS: Final[tuple[WindowName, ...]] = get_args(WindowName)
FIELDS: Final = frozenset(
    (
        *("limit", "window", "limits", "tiers", "where", "each", "zone", "meter", "marks", "action", "unbounded"),
        *("unpriced", "assumed", "fail_open", "wait_s", "grace", "downgrade_to"),
    )
)
WAIT_SECONDS_MAX: Final = 3600
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")
_MARK: Final = re.compile(r"(?P<forecast>forecast\s*)?(?P<above>>\s*)?(?P<percent>\d{1,4}(?:\.\d{1,4})?)\s*%?$")
_Choice = TypeVar("_Choice", bound=StrEnum)


def read_budgets(tables: Mapping[str, Any]) -> tuple[Budget, ...]:
    """The budgets of a file's `[budgets.<name>]` tables, by name. Raises InvalidInput as `read_budget`."""
    return tuple(read_budget(name, tables[name]) for name in sorted(tables))


def read_budget(name: str, fields: Mapping[str, Any]) -> Budget:
    """A budget from what a person wrote.

    `limit` and `window`; or `limits`, an amount for each of several windows; or `tiers`, such limits for each tier of
    an `each` budget, the first of which is for subjects without one. Money is a string, a Decimal or a whole number.

    Raises InvalidInput naming the budget and the field: `bad_budget_name`, `unknown_field`, `missing_limit`,
    `unknown_window`, `negative_limit`, `float_money`, `unknown_dimension`, `unknown_zone`, `unknown_meter`,
    `bad_mark`, `bad_action`, `bad_policy`, `bad_wait`, `bad_grace`, `missing_assumed`, `missing_downgrade`,
    `missing_each`, `bad_choice`, `bad_filter`.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise _wrong(
            "bad_budget_name", "name", f"budget name {str(name)[:70]!r}: use up to 64 of A-Z a-z 0-9 _ . : -"
        )
    if not isinstance(fields, Mapping):
        raise _wrong("unknown_field", name, f"budget {name} is no table of fields; give it limit and window")
    unknown = sorted(set(fields) - FIELDS)
    if unknown:
        raise _wrong(
            "unknown_field", unknown[0], f"budget {name} has no field {unknown[0]!r}; use {', '.join(sorted(FIELDS))}"
        )
    try:
        return _budget(name, {key: value for key, value in fields.items() if value is not None})
    except InvalidInput as error:
        raise InvalidInput(f"budget {name}: {error.message}", code=error.code, field=error.field) from error


def _budget(name: str, fields: Mapping[str, Any]) -> Budget:
    meter = _meter(fields.get("meter"))
    each = fields.get("each")
    zone = fields.get("zone", "UTC")
    zone_info(zone)
    action = _one_of(BudgetAction, fields.get("action", "notify"), "action", "bad_action")
    hard = action is not BudgetAction.NOTIFY
    unbounded = UnboundedPolicy.REFUSE if hard else UnboundedPolicy.CONTEXT_WINDOW
    unpriced = UnpricedPolicy.REFUSE if hard else UnpricedPolicy.ALLOW
    budget = Budget(
        name=name,
        tiers=_tiers(fields, meter),
        where=read_where(fields.get("where", {})),
        each=None if each is None else _dimension(each, "each"),
        zone=zone,
        meter=meter,
        marks=_marks(fields["marks"]) if "marks" in fields else Budget.__struct_defaults__[4],
        action=action,
        unbounded=_one_of(UnboundedPolicy, fields.get("unbounded", unbounded), "unbounded", "bad_policy"),
        unpriced=_one_of(UnpricedPolicy, fields.get("unpriced", unpriced), "unpriced", "bad_policy"),
        assumed=_amount(fields.get("assumed", 0), None, "assumed"),
        fail_open=_switch(fields.get("fail_open", False)),
        wait_s=_between(fields.get("wait_s", 0), "wait_s", "bad_wait", WAIT_SECONDS_MAX),
        grace_percent=_grace(fields.get("grace", 0)),
        downgrade_to=_choices(fields.get("downgrade_to", ())),
    )
    _check(budget)
    return budget


def _check(budget: Budget) -> None:
    if budget.unpriced is UnpricedPolicy.ASSUME and not budget.assumed:
        raise _wrong("missing_assumed", "assumed", "unpriced = assume needs `assumed`, what a call is taken to cost")
    if budget.action is BudgetAction.DOWNGRADE and not budget.downgrade_to:
        raise _wrong(
            "missing_downgrade", "downgrade_to", "action = downgrade needs `downgrade_to`, a list of services"
        )
    if budget.each is None and (len(budget.tiers) > 1 or budget.tiers[0].name):
        raise _wrong("missing_each", "each", "tiers are kept by subject: say which with `each`, such as each = user")


def _tiers(fields: Mapping[str, Any], meter: str | None) -> tuple[Tier, ...]:
    given = [key for key in ("limit", "limits", "tiers") if key in fields]
    if len(given) != 1 or ("limit" in fields) is not ("window" in fields):
        raise _wrong("missing_limit", "limit", "give limit and window, or limits, or tiers (one of them)")
    if "tiers" in fields:
        tiers = _mapping(fields["tiers"], "tiers")
        return tuple(Tier(str(name), _limits(limits, meter)) for name, limits in tiers.items())
    if "limits" in fields:
        return (Tier("", _limits(fields["limits"], meter)),)
    return (Tier("", _limits({fields["window"]: fields["limit"]}, meter)),)


def _limits(value: object, meter: str | None) -> tuple[WindowLimit, ...]:
    amounts = {
        _window(window): _amount(amount, meter, "limit") for window, amount in _mapping(value, "limits").items()
    }
    return tuple(WindowLimit(window, amounts[window]) for window in WINDOWS if window in amounts)


def _window(value: object) -> WindowName:
    for window in WINDOWS:
        if value == window:
            return window
    raise _wrong("unknown_window", "window", f"window {str(value)[:40]!r} is none of {', '.join(WINDOWS)}")


def _mapping(value: object, field: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping) or not value:
        raise _wrong("missing_limit", field, f'{field} is a table of amounts by window, such as {{day = "0.50"}}')
    return value


def _amount(value: object, meter: str | None, field: str) -> int:
    """Money or a count as an int of 10⁻¹² of its unit."""
    amount = decimal_to_pico(value)
    if amount < 0:
        raise _wrong("negative_limit", field, f"{field} {value} is negative; use 0 to let nothing through")
    if meter == CALLS and amount % 10**12:
        raise _wrong("negative_limit", field, f"{field} {value} is no whole number of calls")
    return amount


def _meter(value: object) -> str | None:
    if value is None or value == CALLS:
        return CALLS if value else None
    return meter_named(str(value)).name


def read_where(value: object) -> dict[str, tuple[str | None, ...]]:
    """A filter: a dimension or `tag.<name>` to a value, a list of values, or None for calls without one.

    Raises InvalidInput `unknown_dimension`, `bad_filter`.
    """
    if not isinstance(value, Mapping):
        raise _wrong("bad_filter", "where", 'where is a table such as {provider = "replicate"}')
    return {_dimension(name, "where"): _values(name, values) for name, values in sorted(value.items())}


def _values(name: str, value: object) -> tuple[str | None, ...]:
    several: Sequence[Any] = value if isinstance(value, list | tuple) else (value,)
    if not several or not all(one is None or (isinstance(one, str) and one) for one in several):
        raise _wrong("bad_filter", "where", f"where.{name} takes a name or a list of names")
    return ordered_values(several)


def ordered_values(values: Iterable[str | None]) -> tuple[str | None, ...]:
    """The values of a filter, each once and in the order in which a budget keeps them."""
    return tuple(sorted(set(values), key=lambda one: (one is not None, one or "")))


def _dimension(value: object, field: str) -> str:
    if isinstance(value, str) and (value in DIMENSIONS or (value.startswith("tag.") and len(value) > 4)):
        return value
    known = ", ".join(DIMENSIONS)
    raise _wrong("unknown_dimension", field, f"{field} {str(value)[:40]!r} is none of {known} and no tag.<name>")


def _marks(value: object) -> tuple[Mark, ...]:
    several: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
    return tuple(sorted({_mark(one) for one in several}))


def _mark(value: object) -> Mark:
    if isinstance(value, Mark):
        return replace(value, amount=0)
    found = _MARK.match(str(value).strip()) if not isinstance(value, bool) else None
    if found is None or Decimal(found["percent"]) == 0:
        raise _wrong("bad_mark", "marks", f"mark {str(value)[:30]!r}: write 80, '80%', '>80%' or 'forecast 100%'")
    return Mark(
        whole_or_decimal(Decimal(found["percent"])), found["forecast"] is not None, found["above"] is not None
    )


def _grace(value: object) -> Quantity:
    return whole_or_decimal(_between(str(value).strip().removesuffix("%"), "grace", "bad_grace", 1000))


def _between(value: object, field: str, code: str, most: int) -> Decimal:
    number = parse_decimal(str(value), field)
    if isinstance(value, bool) or not 0 <= number <= most:
        raise _wrong(code, field, f"{field} is {value}; use 0 to {most}")
    return number


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong("bad_policy", "fail_open", "fail_open is true or false")
    return value


def _choices(value: object) -> tuple[Choice, ...]:
    several: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
    return tuple(map(_choice, several))


def _choice(value: object) -> Choice:
    if isinstance(value, Choice):
        return value
    if isinstance(value, str) and value:
        return Choice(value)
    if isinstance(value, Mapping) and value.get("service") and not set(value) - {"service", "room", "above", "when"}:
        when = {str(key): str(text) for key, text in value.get("when", {}).items()}
        room = value["above"] if "above" in value else value.get("room", 0)
        return Choice(str(value["service"]), _amount(room, None, "room"), "above" in value, when)
    raise _wrong(
        "bad_choice", "downgrade_to", 'list services, or tables such as {service = "gpt-4o", above = "0.05"}'
    )


def _one_of(kind: type[_Choice], value: object, field: str, code: str) -> _Choice:
    try:
        return kind(str(value))
    except ValueError:
        words = ", ".join(kind)
        raise _wrong(code, field, f"{field} is {str(value)[:40]!r}; use one of {words}") from None


def raised(
    budget: Budget,
    amount: object,
    *,
    since: Instant,
    until: Instant,
    reason: str,
    who: str,
    window: WindowName | None = None,
    subject: str | None = None,
) -> Budget:
    """The budget with `amount` more in [since, until), and that in its history.

    Raises InvalidInput: `empty_span`, `missing_reason`, `unknown_window` (also where there are several windows and
    none is named), `negative_limit`.
    """
    windows = {limit.window for tier in budget.tiers for limit in tier.limits}
    if window is None and len(windows) == 1:
        window = next(iter(windows))
    if window not in windows or window is None:
        known = ", ".join(name for name in WINDOWS if name in windows)
        raise _wrong(
            "unknown_window", "window", f"budget {budget.name} has the windows {known}: name the one to raise"
        )
    if since >= until:
        raise _wrong("empty_span", "until", f"the raise of {budget.name} ends before it begins")
    if not reason.strip():
        raise _wrong("missing_reason", "reason", f"say why {budget.name} is raised: its history keeps it")
    more = Raise(
        window=window,
        amount=_amount(amount, budget.meter, "amount"),
        since=since,
        until=until,
        reason=reason,
        subject=subject,
    )
    what = f"{window} limit +{pico_to_decimal(more.amount)} until {isoformat(until)}"
    entry = BudgetChange(since, who, what if subject is None else f"{what} for {subject}", reason)
    return replace(budget, raises=(*budget.raises, more), history=(*budget.history, entry))


def changed(before: Budget | None, after: Budget, *, at: Instant, who: str, why: str) -> Budget:
    """`after` with the raises and history of `before`, and a history entry that names what differs."""
    if before is None:
        return replace(after, history=(BudgetChange(at, who, "created", why),))
    names = [name for name in after.__struct_fields__ if name not in ("raises", "history")]
    differing = [name for name in names if getattr(before, name) != getattr(after, name)]
    if not differing:
        return before
    what = "; ".join(f"{name}: {_said(getattr(before, name))} -> {_said(getattr(after, name))}" for name in differing)
    return replace(after, raises=before.raises, history=(*before.history, BudgetChange(at, who, what, why)))


def _said(value: object) -> str:
    """A field's value in a history, short and for people."""
    if isinstance(value, tuple) and value and isinstance(value[0], Tier):
        return ", ".join(f"{f'{tier.name} ' if tier.name else ''}{_said_limits(tier)}" for tier in value)
    if isinstance(value, tuple) and value and isinstance(value[0], Mark):
        return ", ".join(mark_said(mark) for mark in value)
    if isinstance(value, tuple) and value and isinstance(value[0], Choice):
        return ", ".join(choice.service for choice in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {'|'.join(str(one) for one in values)}" for name, values in value.items()) or "all"
    return "none" if value in (None, ()) else str(value)


def _said_limits(tier: Tier) -> str:
    return " ".join(f"{pico_to_decimal(limit.amount)} a {limit.window}" for limit in tier.limits)


def mark_said(mark: Mark) -> str:
    """A mark as it is written: `80%`, `>80%`, `forecast 100%`."""
    return f"{'forecast ' if mark.forecast else ''}{'>' if mark.above else ''}{mark.percent}%"


def _wrong(code: str, field: str, message: str) -> InvalidInput:
    return InvalidInput(message, code=code, field=field)
