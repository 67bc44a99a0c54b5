"""What AWS is to be told, as people write it in `[aws]` of outlay.toml, read and checked.

    [aws]
    name = "visualneurons"
    region = "us-east-1"
    preset = "ai"
    emails = ["ops@example.com"]

A preset brings metrics and alarms; `[aws.metrics.…]` and `[aws.alarms.…]` change them or add to them by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from outlay.errors import InvalidInput
from outlay.faces.aws.presets import PRESETS
from outlay.instrument.emf import DIMENSIONS
from outlay.money import parse_decimal

BILLING_REGION: Final = "us-east-1"
"""Where AWS keeps its billing metrics, whatever the region of the rest."""

DIMENSIONS_MAX: Final = 30
NEVER: Final = "never"
RETENTION_DAYS: Final = frozenset(
    (
        *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922),
        *(3288, 3653),
    )
)
"""What CloudWatch Logs takes (PutRetentionPolicy)."""

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}$")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+$")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)$")


class MetricOf(StrEnum):
    """What a metric measures: one call's cost, one request's, a service's share of it, the day so far, or tokens."""

    CALL = "call"
    REQUEST = "request"
    SERVICE = "service"
    DAY = "day"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


COSTS: Final = (MetricOf.CALL, MetricOf.REQUEST, MetricOf.SERVICE)
"""What adds up to all that is spent."""


class _Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table of the file may hold."""


class Metric(_Told, frozen=True, kw_only=True):
    """A metric: its namespace, what it measures, and by which sets of dimensions each value is published."""

    namespace: str
    of: MetricOf = MetricOf.CALL
    dimensions: tuple[tuple[str, ...], ...] = ((),)
    unit: str = "None"


class AlarmOf(_Told, frozen=True, kw_only=True):
    """An alarm on a metric: more than `above` by `statistic` in `period_s` seconds."""

    metric: str
    above: str
    statistic: str = "Sum"
    period_s: int = 3600
    where: dict[str, str] = {}
    description: str = ""


class BudgetOf(_Told, frozen=True, kw_only=True):
    """An AWS budget of the bill: told at `percent` of what is spent and at `forecast` percent of what will be."""

    limit: str
    window: str = "month"
    percent: tuple[int, ...] = (50, 80, 100)
    forecast: tuple[int, ...] = (100,)
    tags: dict[str, str] = {}
    services: tuple[str, ...] = ()
    cost_types: dict[str, bool] = {}


class AnomalyOf(_Told, frozen=True, kw_only=True):
    """Cost Anomaly Detection: alert on an impact of `above`, or of `percent` of what was expected."""

    above: str | None = "5"
    percent: str | None = "20"
    both: bool = False
    tags: dict[str, str] = {}
    frequency: str = "DAILY"


class BillingOf(_Told, frozen=True, kw_only=True):
    """Alarms on AWS' own estimate of the bill: `month` on the month so far, `day` on what a day added to it."""

    month: str | None = None
    day: str | None = None


class Expiry(_Told, frozen=True, kw_only=True):
    """A bucket's prefixes and after how many days what is under them goes; `never` guards one."""

    bucket: str
    environment: str | None = None
    days: dict[str, int | str] = {}


class OffHours(_Told, frozen=True, kw_only=True):
    """An ECS service that runs from `start` to `stop` only, on `days`, with `tasks` tasks."""

    cluster: str
    service: str
    start: str = "08:00"
    stop: str = "20:00"
    zone: str = "UTC"
    days: str = "MON-FRI"
    tasks: int = 1


class Definition(_Told, frozen=True, kw_only=True):
    """All that AWS is told. Names of what is made begin with `name`."""

    name: str = "outlay"
    region: str = BILLING_REGION
    namespace: str | None = None
    environment: str = "prod"
    preset: str = "outlay"
    emails: tuple[str, ...] = ()
    percentiles: bool = False
    from_ledger: bool = True
    metrics: dict[str, Metric] = {}
    alarms: dict[str, AlarmOf] = {}
    budgets: dict[str, BudgetOf] = {}
    anomalies: dict[str, AnomalyOf] = {}
    billing: BillingOf | None = None
    buckets: dict[str, Expiry] = {}
    schedules: dict[str, OffHours] = {}
    logs: dict[str, int] = {}

    def published(self, metric: str) -> set[frozenset[str]]:
        """The sets of dimensions that a metric is published by; none for one that is not."""
        found = self.metrics.get(metric)
        return set() if found is None else {frozenset(names) for names in found.dimensions}

    def first(self, *kinds: MetricOf) -> str | None:
        """The first metric that measures one of these."""
        return next((name for kind in kinds for name, metric in self.metrics.items() if metric.of is kind), None)


def read_definition(table: Mapping[str, Any]) -> Definition:
    """The definition of an `[aws]` table, over its preset.

    Raises InvalidInput naming the field: `bad_aws`, `unknown_preset`, `unknown_dimension`, those of amounts, and
    `unpublished_series` for an alarm that would look at what nobody publishes.
    """
    preset = str(table.get("preset", "outlay"))
    environment = str(table.get("environment", "prod"))
    if preset not in PRESETS:
        raise _wrong("preset", f"preset {preset!r} is none of {', '.join(PRESETS)}", code="unknown_preset")
    base = PRESETS[preset](environment)
    if "namespace" in table:
        base["metrics"] = {name: {**told, "namespace": table["namespace"]} for name, told in base["metrics"].items()}
    merged = {**table}
    for name in ("metrics", "alarms"):
        own = table.get(name, {})
        if not isinstance(own, Mapping):
            raise _wrong(name, f"aws.{name} is a table of tables by name")
        merged[name] = _merged(base.get(name, {}), own)
    try:
        definition = msgspec.convert(merged, Definition)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"[aws]: {error}", code="bad_aws") from error
    _check(definition)
    return definition


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A preset's tables with a person's over them; one that is false is left out."""
    names = dict.fromkeys((*base, *own))
    found = {}
    for name in names:
        if own.get(name, True) is False:
            continue
        mine = own.get(name, {})
        found[name] = {**base.get(name, {}), **mine} if isinstance(mine, Mapping) else mine
    return found


def _check(definition: Definition) -> None:
    if not _NAME.match(definition.name):
        raise _wrong("name", "aws.name begins with a letter, then letters, digits, _ and -, 64 in all")
    for email in definition.emails:
        if not _EMAIL.match(email):
            raise _wrong("emails", f"aws.emails: {email[:60]!r} is no address")
    for name, metric in definition.metrics.items():
        _check_metric(name, metric)
    for name, alarm in definition.alarms.items():
        _check_alarm(definition, name, alarm)
    _check_money(definition)
    _check_keeping(definition)


def _check_metric(name: str, metric: Metric) -> None:
    if not metric.dimensions:
        raise _wrong("metrics", f"aws.metrics.{name} has no set of dimensions; [[]] is the one without any")
    if len({frozenset(names) for names in metric.dimensions}) != len(metric.dimensions):
        raise _wrong("metrics", f"aws.metrics.{name} names a set of dimensions twice, which would count twice")
    for names in metric.dimensions:
        unknown = [each for each in names if each not in DIMENSIONS]
        if unknown or len(names) > DIMENSIONS_MAX or len(set(names)) != len(names):
            raise _wrong(
                "metrics",
                f"aws.metrics.{name}: dimensions are some of {', '.join(DIMENSIONS)}, each once, not {list(names)}",
                code="unknown_dimension",
            )
    if metric.of is MetricOf.DAY and any(metric.dimensions):
        raise _wrong("metrics", f"aws.metrics.{name} is the sum of the day, which has no dimensions: [[]]")


def _check_alarm(definition: Definition, name: str, alarm: AlarmOf) -> None:
    amount_of(alarm.above, f"aws.alarms.{name}.above")
    if alarm.statistic not in ("Sum", "Maximum", "Minimum", "Average", "SampleCount"):
        raise _wrong("alarms", f"aws.alarms.{name}.statistic is Sum, Maximum, Minimum, Average or SampleCount")
    if alarm.period_s % 60 or not 60 <= alarm.period_s <= 86_400:
        raise _wrong("alarms", f"aws.alarms.{name}.period_s is a multiple of 60 up to 86400")
    if alarm.metric not in definition.metrics:
        raise _wrong("alarms", f"aws.alarms.{name} looks at {alarm.metric!r}, which is no metric of aws.metrics")
    if frozenset(alarm.where) not in definition.published(alarm.metric):
        wanted = sorted(alarm.where)
        raise _wrong(
            "alarms",
            f"aws.alarms.{name} looks at {alarm.metric} by {wanted}, a series that is not published: CloudWatch does "
            f"not add up dimensions. Add {wanted} to aws.metrics.{alarm.metric}.dimensions",
            code="unpublished_series",
        )


def _check_money(definition: Definition) -> None:
    if (definition.budgets or definition.anomalies) and not definition.emails:
        raise _wrong("emails", "AWS Budgets and anomalies tell by e-mail: give aws.emails")
    for name, budget in definition.budgets.items():
        amount_of(budget.limit, f"aws.budgets.{name}.limit")
        if budget.window not in ("day", "month", "quarter", "year"):
            raise _wrong("budgets", f"aws.budgets.{name}.window is day, month, quarter or year")
        if not 1 <= len(budget.percent) + len(budget.forecast) <= 10:
            raise _wrong("budgets", f"aws.budgets.{name} tells at 1 to 10 marks: AWS takes no more")
        if len(definition.emails) > 10:
            raise _wrong("emails", "AWS Budgets tell at most 10 addresses")
    for name, anomaly in definition.anomalies.items():
        for field in ("above", "percent"):
            if getattr(anomaly, field) is not None:
                amount_of(getattr(anomaly, field), f"aws.anomalies.{name}.{field}")
        if anomaly.above is None and anomaly.percent is None:
            raise _wrong("anomalies", f"aws.anomalies.{name} needs above, percent, or both")
        if anomaly.frequency not in ("DAILY", "WEEKLY"):
            raise _wrong("anomalies", f"aws.anomalies.{name}.frequency is DAILY or WEEKLY, which go by e-mail")
    for field in ("month", "day"):
        value = None if definition.billing is None else getattr(definition.billing, field)
        if value is not None:
            amount_of(value, f"aws.billing.{field}")


def _check_keeping(definition: Definition) -> None:
    for name, bucket in definition.buckets.items():
        for prefix, days in bucket.days.items():
            if days != NEVER and (not isinstance(days, int) or not 1 <= days <= 36_500):
                raise _wrong("buckets", f"aws.buckets.{name}.days: {prefix!r} goes after 1 or more days, or never")
    for name, schedule in definition.schedules.items():
        if not (_TIME.match(schedule.start) and _TIME.match(schedule.stop)) or schedule.tasks < 1:
            raise _wrong("schedules", f"aws.schedules.{name}: start and stop are like 08:00, tasks at least 1")
    for group, days in definition.logs.items():
        if days not in RETENTION_DAYS:
            raise _wrong("logs", f"aws.logs: {group} keeps {days} days; AWS takes {sorted(RETENTION_DAYS)}")


def amount_of(text: str, what: str) -> Decimal:
    """An amount as told, above zero. Raises InvalidInput `not_a_number` or `bad_aws`."""
    value = parse_decimal(text, what)
    if value <= 0:
        raise _wrong(what, f"{what} is above zero, not {text}")
    return value


def _wrong(field: str, message: str, *, code: str = "bad_aws") -> InvalidInput:
    return InvalidInput(message, code=code, field=field)
