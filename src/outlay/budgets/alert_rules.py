"""Alert rules as people write them, in `outlay.toml` or as keyword arguments, read into values and checked. Pure.

A rule about what is spent in a window, or by one request, *is* a budget that only tells: its account is counted in
the transaction that writes the entry, and so is the mark that it crosses. The other kinds are found by who watches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from outlay.budgets.definition import WINDOWS, read_budget, read_where
from outlay.budgets.terms import Budget
from outlay.clock import MICROSECONDS_PER_SECOND, WindowName, zone_info
from outlay.errors import InvalidInput
from outlay.model import Quantity
from outlay.money import decimal_to_pico, parse_decimal, pico_to_decimal, whole_or_decimal

PREFIX: Final = "alert:"
"""What the name of a rule's budget begins with."""

MINUTES_MAX: Final = 7 * 24 * 60
RATE_MINUTES: Final = 15
SILENCE_MINUTES: Final = 60
FULL_PERCENT: Final = 100
PERCENT_MAX: Final = 1_000_000
SERVICE_NAMES: Final = frozenset(("provider", "service"))
"""What a rule about bills or prices may be filtered by: a bill's line and a price have no more."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$")


class RuleKind(StrEnum):
    """What a rule looks at.

    `spend` is all in a calendar window, `request` all calls of one request, `event` one call. `rate` is the spend of
    the last minutes, an hour's worth; `rise` the last whole days against as many before; `failed` what failed calls
    of a window cost; `unpriced` is usage without a price; `silence` that nothing comes any more; `anomaly` an episode
    of unusual spend; `drift` a bill that says something else than the ledger; `price` that a catalogue's price of
    something in use has changed.
    """

    SPEND = "spend"
    REQUEST = "request"
    EVENT = "event"
    RATE = "rate"
    FAILED = "failed"
    UNPRICED = "unpriced"
    SILENCE = "silence"
    RISE = "rise"
    ANOMALY = "anomaly"
    DRIFT = "drift"
    PRICE = "price"


class Severity(StrEnum):
    """How bad it is, the mildest first."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


ACCOUNTED: Final = (RuleKind.SPEND, RuleKind.REQUEST)
"""The kinds that are accounts with marks."""

PRICED: Final = (RuleKind.SPEND, RuleKind.REQUEST, RuleKind.EVENT, RuleKind.RATE, RuleKind.FAILED)
"""The kinds that have an amount."""

THRESHOLDS: Final[dict[RuleKind, tuple[str, int]]] = {
    RuleKind.ANOMALY: ("5", 20),
    RuleKind.RISE: ("0", 20),
    RuleKind.DRIFT: ("1", 2),
}
"""The kinds with an amount and a percentage, and what they are where nothing is said."""

RISE_WINDOWS: Final[dict[str, int]] = {"day": 1, "week": 7, "month": 30}
"""How many days a rise looks at, by its window."""

FIELDS: Final = frozenset(
    (
        *("kind", "above", "at", "window", "where", "each", "zone", "marks", "forecast", "minutes", "severity"),
        *("percent", "need", "channels", "owner"),
    )
)


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """When to alert. `amount` is in picounits, crossed at it or, `strictly`, above it.

    `marks` are shares of it in percent, told one by one, and `forecast` those that the window's forecast is told at.
    `minutes` is how far `rate` and `silence` look back. `percent` stands beside the amount where a rule has
    THRESHOLDS: `need` says whether both must be reached. Without `channels` an alert goes to all of them.
    """

    name: str
    kind: RuleKind
    amount: int = 0
    strictly: bool = True
    window: WindowName = "day"
    where: dict[str, tuple[str | None, ...]] = {}
    each: str | None = None
    zone: str = "UTC"
    marks: tuple[Quantity, ...] = (FULL_PERCENT,)
    forecast: tuple[Quantity, ...] = ()
    minutes: int = 0
    percent: int = 0
    need: str = "both"
    severity: Severity = Severity.ERROR
    channels: tuple[str, ...] = ()
    owner: str = ""

    @property
    def span(self) -> int:
        """How far back it looks, in microseconds."""
        return self.minutes * 60 * MICROSECONDS_PER_SECOND

    def passes(self, amount: int) -> bool:
        """Whether an amount crosses the rule's."""
        return amount > self.amount if self.strictly else amount >= self.amount

    def departs(self, actual: int, usual: int) -> bool:
        """Whether `actual` lies above `usual` by the amount, by the percentage, or by both, as the rule needs."""
        rise = actual - usual
        if rise <= 0:
            return False
        share = 100 * rise - self.percent * usual
        found = (self.passes(rise), share > 0 if self.strictly else share >= 0)
        return all(found) if self.need == "both" else any(found)


def read_rule(name: str, fields: Mapping[str, Any]) -> AlertRule:
    """A rule from what a person wrote.

    `kind` (spend by default) with `above`, or `at` for at-and-above; `window`, `where`, `each`, `zone`, `marks`,
    `forecast`, `minutes`, `percent`, `need`, `severity`, `channels`, `owner`. Money is a string, a Decimal or a whole
    number.

    Raises InvalidInput naming the rule and the field: `bad_rule_name`, `unknown_field`, `bad_rule`, `missing_limit`,
    and those of `read_budget`.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise _wrong("bad_rule_name", "name", f"alert rule {str(name)[:60]!r}: use up to 50 of A-Z a-z 0-9 _ . -")
    if not isinstance(fields, Mapping):
        raise _wrong("unknown_field", name, f"alert rule {name} is no table of fields; give it above and window")
    unknown = sorted(set(fields) - FIELDS)
    if unknown:
        known = ", ".join(sorted(FIELDS))
        raise _wrong("unknown_field", unknown[0], f"alert rule {name} has no field {unknown[0]!r}; use {known}")
    try:
        rule = _rule(name, {key: value for key, value in fields.items() if value is not None})
        if rule.kind in ACCOUNTED:
            budget_of(rule)
    except InvalidInput as error:
        raise InvalidInput(f"alert rule {name}: {error.message}", code=error.code, field=error.field) from error
    return rule


def _rule(name: str, fields: Mapping[str, Any]) -> AlertRule:
    kind = _one_of(RuleKind, fields.get("kind", "spend"), "kind")
    zone = fields.get("zone", "UTC")
    zone_info(zone)
    amount, strictly = _amount(kind, fields)
    default_minutes = {RuleKind.RATE: RATE_MINUTES, RuleKind.SILENCE: SILENCE_MINUTES}.get(kind, 0)
    _only(fields, "each", kind is RuleKind.SPEND, kind)
    _only(fields, "marks", kind is RuleKind.SPEND, kind)
    _only(fields, "minutes", bool(default_minutes), kind)
    _only(fields, "forecast", kind is RuleKind.SPEND, kind)
    _only(fields, "window", kind in (RuleKind.SPEND, RuleKind.FAILED, RuleKind.UNPRICED, RuleKind.RISE), kind)
    for field in ("percent", "need"):
        _only(fields, field, kind in THRESHOLDS, kind)
    window = _window(fields.get("window", "week" if kind is RuleKind.RISE else "day"))
    if kind is RuleKind.RISE and window not in RISE_WINDOWS:
        raise _wrong("bad_rule", "window", f"a rise looks at a {', '.join(RISE_WINDOWS)}, not at a {window}")
    where = read_where(fields.get("where", {}))
    if kind in (RuleKind.DRIFT, RuleKind.PRICE) and not set(where) <= SERVICE_NAMES:
        raise _wrong("bad_rule", "where", f"a rule of kind {kind} is filtered by provider and service only")
    return AlertRule(
        name=name,
        kind=kind,
        amount=amount,
        strictly=strictly,
        window=window,
        where=where,
        each="request" if kind is RuleKind.REQUEST else fields.get("each"),
        zone=zone,
        marks=_marks(fields.get("marks", FULL_PERCENT)),
        forecast=_marks(fields["forecast"], "forecast") if "forecast" in fields else (),
        percent=_percent(fields.get("percent", THRESHOLDS[kind][1])) if kind in THRESHOLDS else 0,
        need=_need(fields.get("need", "both")),
        minutes=_minutes(fields.get("minutes", default_minutes), bool(default_minutes)),
        severity=_one_of(Severity, fields.get("severity", "error"), "severity"),
        channels=_names(fields.get("channels", ())),
        owner=str(fields.get("owner", "")),
    )


def budget_of(rule: AlertRule) -> Budget:
    """The budget that a spend rule is. It tells and never refuses."""
    return read_budget(PREFIX + rule.name, budget_fields(rule))


def budget_fields(rule: AlertRule) -> dict[str, Any]:
    """The fields of a spend rule's budget, as `read_budget` takes them."""
    sign = ">" if rule.strictly else ""
    return {
        "limit": pico_to_decimal(rule.amount),
        "window": rule.window,
        "where": {name: list(values) for name, values in rule.where.items()},
        "each": rule.each,
        "zone": rule.zone,
        "marks": [
            *(f"{sign}{percent}%" for percent in rule.marks),
            *(f"forecast {sign}{percent}%" for percent in rule.forecast),
        ],
        "action": "notify",
    }


def severity_of(rule_severity: Severity, percent: Quantity) -> Severity:
    """A mark below the whole amount only warns."""
    if percent >= FULL_PERCENT or rule_severity is Severity.INFO:
        return rule_severity
    return Severity.WARNING


def _amount(kind: RuleKind, fields: Mapping[str, Any]) -> tuple[int, bool]:
    given = [name for name in ("above", "at") if name in fields]
    if kind in THRESHOLDS and not given:
        # The documents' own words: at least $5 or 20 %, more than 20 % higher.
        return decimal_to_pico(THRESHOLDS[kind][0]), kind is RuleKind.RISE
    if kind not in PRICED and kind not in THRESHOLDS:
        if given:
            raise _wrong("bad_rule", given[0], f"a rule of kind {kind} has no amount; leave {given[0]} out")
        return 0, True
    if len(given) != 1:
        raise _wrong("missing_limit", "above", 'give above = "50", or at = "50" for at-and-above (one of them)')
    amount = decimal_to_pico(fields[given[0]])
    if amount < 0 or (amount == 0 and given[0] == "at"):
        raise _wrong("negative_limit", given[0], f"{given[0]} is {fields[given[0]]}; use an amount of money over 0")
    return amount, given[0] == "above"


def _only(fields: Mapping[str, Any], field: str, allowed: bool, kind: RuleKind) -> None:
    if field in fields and not allowed:
        raise _wrong("bad_rule", field, f"a rule of kind {kind} has no {field}; leave it out")


def _window(value: object) -> WindowName:
    for window in WINDOWS:
        if value == window:
            return window
    raise _wrong("unknown_window", "window", f"window {str(value)[:40]!r} is none of {', '.join(WINDOWS)}")


def _marks(value: object, field: str = "marks") -> tuple[Quantity, ...]:
    several = value if isinstance(value, list | tuple) else (value,)
    found = sorted({parse_decimal(str(one).strip().removesuffix("%"), field) for one in several})
    if not found or found[0] <= 0 or found[-1] > FULL_PERCENT * 100:
        raise _wrong("bad_mark", field, f"{field} are percents of the amount over 0, such as [80, 100]")
    return tuple(map(whole_or_decimal, found))


def _minutes(value: object, needed: bool) -> int:
    if not needed:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MINUTES_MAX:
        raise _wrong("bad_rule", "minutes", f"minutes is {str(value)[:20]}; use 1 to {MINUTES_MAX}")
    return value


def _percent(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= PERCENT_MAX:
        raise _wrong("bad_rule", "percent", f"percent is {str(value)[:20]}; use a whole number from 0")
    return value


def _need(value: object) -> str:
    if value not in ("both", "either"):
        raise _wrong("bad_rule", "need", f"need is {str(value)[:20]!r}; use both or either of the thresholds")
    return str(value)


def _names(value: object) -> tuple[str, ...]:
    several = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(one, str) and one for one in several):
        raise _wrong("bad_rule", "channels", "channels is the name of a channel or a list of names")
    return tuple(several)


def _one_of(kind: Any, value: object, field: str) -> Any:
    try:
        return kind(str(value))
    except ValueError:
        raise _wrong("bad_rule", field, f"{field} is {str(value)[:40]!r}; use one of {', '.join(kind)}") from None


def _wrong(code: str, field: str, message: str) -> InvalidInput:
    return InvalidInput(message, code=code, field=field)
