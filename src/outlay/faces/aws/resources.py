"""What the definition makes: each thing with its body as AWS' API takes it, for plan, template and check.

`${topic:NAME}` stands for the ARN of the SNS topic of the same region, `${monitor:NAME}` for an anomaly monitor's:
they are known only when they are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from outlay.budgets.alert_rules import AlertRule, RuleKind
from outlay.budgets.terms import Budget
from outlay.faces.aws.dashboard import dashboard_text
from outlay.faces.aws.definition import (
    BILLING_REGION,
    COSTS,
    NEVER,
    AlarmOf,
    AnomalyOf,
    BudgetOf,
    Definition,
    Expiry,
    MetricOf,
    OffHours,
)
from outlay.faces.aws.presets import EXPIRY_DAYS
from outlay.model import ATTRIBUTIONS, Mark
from outlay.money import pico_to_decimal

TOPIC: Final = "${topic:"
_WINDOW_S: Final = {"hour": 3_600, "day": 86_400}
_TIME_UNITS: Final = {"day": "DAILY", "month": "MONTHLY", "quarter": "QUARTERLY", "year": "ANNUALLY"}
_DIMENSIONS: Final = {
    "provider": "Provider",
    "service": "Model",
    "operation": "Operation",
    **{name: name.capitalize() for name in ATTRIBUTIONS if name not in ("request", "trace")},
}
"""What a ledger's filter looks at, as a dimension."""

COST_TYPES: Final = {
    "IncludeTax": True,
    "IncludeSubscription": True,
    "UseBlended": False,
    "IncludeRefund": False,
    "IncludeCredit": False,
    "IncludeUpfront": True,
    "IncludeRecurring": True,
    "IncludeOtherSubscription": True,
    "IncludeSupport": False,
    "IncludeDiscount": True,
    "UseAmortized": False,
}
"""What a budget counts where `cost_types` does not say: what is owed for use, before refunds and credits."""


class Kind(StrEnum):
    """The kinds of things, in the order in which they are made: later ones name earlier ones."""

    TOPIC = "topic"
    ALARM = "alarm"
    DASHBOARD = "dashboard"
    BUDGET = "budget"
    MONITOR = "anomaly monitor"
    SUBSCRIPTION = "anomaly subscription"
    LIFECYCLE = "bucket lifecycle"
    SCHEDULE = "schedule"
    RETENTION = "log retention"


class Resource(msgspec.Struct, frozen=True):
    """One thing that AWS is to have: by kind, name and region; `body` is what its API takes."""

    kind: Kind
    name: str
    region: str
    body: dict[str, Any]

    @property
    def id(self) -> str:
        """How it is named to people."""
        return f"{self.kind.value} {self.name}"


class Untold(msgspec.Struct, frozen=True):
    """A budget or rule of the ledger that AWS has no means for, and why; Outlay itself keeps it."""

    name: str
    reason: str


def resources_of(definition: Definition) -> list[Resource]:
    """Everything, in the order in which it is made."""
    found = [
        *_topics(definition),
        *(_alarm(definition, name, alarm) for name, alarm in definition.alarms.items()),
        *_billing_alarms(definition),
        *_dashboards(definition),
        *(_budget(definition, name, budget) for name, budget in definition.budgets.items()),
        *_anomalies(definition),
        *(_lifecycle(definition, name, bucket) for name, bucket in definition.buckets.items()),
        *(each for name, schedule in definition.schedules.items() for each in _schedule(definition, name, schedule)),
        *(_retention(definition, group, days) for group, days in definition.logs.items()),
    ]
    order = list(Kind)
    return sorted(found, key=lambda each: order.index(each.kind))


def with_ledger(
    definition: Definition, budgets: Iterable[Budget], rules: Iterable[AlertRule]
) -> tuple[Definition, list[Untold]]:
    """The definition with the ledger's own budgets and spend rules too, where AWS can hold them.

    What is spent in an hour or a day on everything is an alarm; a month's budget of AWS itself is an AWS budget.
    A name that `[aws]` gives stands.
    """
    if not definition.from_ledger:
        return definition, []
    alarms, limits, untold = dict(definition.alarms), dict(definition.budgets), []
    for name, window, amount, where, marks, told in _spends(budgets, rules):
        plain = name.replace(":", "-").replace(".", "-")
        if told:
            untold.append(Untold(name, told))
        elif where == {"provider": ("aws",)} and window in _TIME_UNITS and not definition.emails:
            untold.append(Untold(name, "an AWS budget tells by e-mail, and aws.emails has none"))
        elif where == {"provider": ("aws",)} and window in _TIME_UNITS:
            limits.setdefault(plain, _as_budget(amount, window, marks))
        elif window not in _WINDOW_S:
            untold.append(Untold(name, f"an alarm looks back a day at most, not a {window}"))
        else:
            alarm = _as_alarm(definition, amount, _WINDOW_S[window], where)
            if alarm is None:
                untold.append(Untold(name, "no metric of cost is published by just what it looks at"))
            else:
                alarms.setdefault(plain, alarm)
    return msgspec.structs.replace(definition, alarms=alarms, budgets=limits), untold


def _as_alarm(
    definition: Definition, amount: int, period_s: int, where: dict[str, tuple[str | None, ...]]
) -> AlarmOf | None:
    """An alarm on a metric of calls or requests that is published by just the dimensions of a filter of one value."""
    chosen: dict[str, str] = {}
    for name, values in where.items():
        if name not in _DIMENSIONS or len(values) != 1 or values[0] is None:
            return None
        chosen[_DIMENSIONS[name]] = values[0]
    for kind in COSTS:
        metric = definition.first(kind)
        # The operation of a request is its feature, and of a service's share the service's own.
        if chosen and kind is not MetricOf.CALL:
            return None
        if metric is not None and frozenset(chosen) in definition.published(metric):
            above = f"{pico_to_decimal(amount):f}"
            return AlarmOf(metric=metric, above=above, period_s=period_s, where=chosen)
    return None


Spend = tuple[str, str, int, dict[str, tuple[str | None, ...]], tuple[Mark, ...], str]


def _spends(budgets: Iterable[Budget], rules: Iterable[AlertRule]) -> Iterator[Spend]:
    for budget in budgets:
        told = ""
        if budget.each is not None or budget.meter is not None:
            told = "it counts by subject, or no money"
        for limit in budget.tiers[0].limits:
            amount = limit.amount
            yield f"{budget.name}-{limit.window}", limit.window, amount, budget.where, budget.marks, told
    for rule in rules:
        told = ""
        if rule.kind is not RuleKind.SPEND or rule.each is not None:
            told = f"a rule of kind {rule.kind.value}" + ("" if rule.each is None else " for each subject")
        yield f"rule-{rule.name}", rule.window, rule.amount, rule.where, (), told


def _as_budget(amount: int, window: str, marks: tuple[Mark, ...]) -> BudgetOf:
    spent = tuple(int(mark.percent) for mark in marks if not mark.forecast)
    ahead = tuple(int(mark.percent) for mark in marks if mark.forecast)
    return BudgetOf(limit=f"{pico_to_decimal(amount):f}", window=window, percent=spent or (100,), forecast=ahead)


def _name(definition: Definition, name: str) -> str:
    return f"{definition.name}-{name}"


def _topics(definition: Definition) -> Iterator[Resource]:
    """A topic in each region that has alarms: CloudWatch tells a topic of its own region only."""
    regions = [definition.region] if definition.alarms else []
    if definition.billing is not None and BILLING_REGION not in regions:
        regions.append(BILLING_REGION)
    for region in regions:
        yield Resource(Kind.TOPIC, _name(definition, "cost-alerts"), region, {"emails": list(definition.emails)})


def _alarm(definition: Definition, name: str, alarm: AlarmOf) -> Resource:
    metric = definition.metrics[alarm.metric]
    body: dict[str, Any] = {
        "AlarmName": _name(definition, name),
        "AlarmDescription": alarm.description or f"{alarm.metric} above {alarm.above}",
        "Namespace": metric.namespace,
        "MetricName": alarm.metric,
        "Dimensions": [{"Name": each, "Value": value} for each, value in sorted(alarm.where.items())],
        "Statistic": alarm.statistic,
        "Period": alarm.period_s,
        "Unit": metric.unit,
        **_above(definition, alarm.above),
    }
    return Resource(Kind.ALARM, body["AlarmName"], definition.region, body)


def _above(definition: Definition, amount: str) -> dict[str, Any]:
    return {
        "EvaluationPeriods": 1,
        # CloudWatch compares doubles; what the ledger itself decides by stays exact.
        "Threshold": float(Decimal(amount)),
        "ComparisonOperator": "GreaterThanThreshold",
        # Where nothing is spent nothing is published, and that is well.
        "TreatMissingData": "notBreaching",
        "ActionsEnabled": True,
        "AlarmActions": [f"{TOPIC}{_name(definition, 'cost-alerts')}}}"],
    }


def _billing_alarms(definition: Definition) -> Iterator[Resource]:
    """EstimatedCharges is the month so far, by Currency: a day's cost is what the month has grown by since."""
    billing = definition.billing
    if billing is None:
        return
    estimated = {
        "Namespace": "AWS/Billing",
        "MetricName": "EstimatedCharges",
        "Dimensions": [{"Name": "Currency", "Value": "USD"}],
    }
    if billing.month is not None:
        name = _name(definition, "aws-month")
        body: dict[str, Any] = {
            "AlarmName": name,
            "AlarmDescription": "AWS' estimate of the month so far",
            **estimated,
            "Statistic": "Maximum",
            "Period": 21_600,
            **_above(definition, billing.month),
        }
        yield Resource(Kind.ALARM, name, BILLING_REGION, body)
    if billing.day is not None:
        name = _name(definition, "aws-day")
        month = {"Metric": estimated, "Period": 86_400, "Stat": "Maximum"}
        grown = "IF(DIFF(month) < 0, month, DIFF(month))"
        body = {
            "AlarmName": name,
            "AlarmDescription": "What a day added to AWS' estimate; on the first of a month all of it",
            "Metrics": [
                {"Id": "month", "MetricStat": month, "ReturnData": False},
                {"Id": "day", "Expression": grown, "Label": "a day's cost", "ReturnData": True},
            ],
            **_above(definition, billing.day),
        }
        yield Resource(Kind.ALARM, name, BILLING_REGION, body)


def _dashboards(definition: Definition) -> Iterator[Resource]:
    if definition.metrics:
        name = _name(definition, "costs")
        yield Resource(Kind.DASHBOARD, name, definition.region, {"DashboardBody": dashboard_text(definition)})


def _budget(definition: Definition, name: str, budget: BudgetOf) -> Resource:
    filters: dict[str, list[str]] = {}
    if budget.tags:
        # A tag that a user made is `user:Key$Value` here.
        filters["TagKeyValue"] = [f"user:{key}${value}" for key, value in sorted(budget.tags.items())]
    if budget.services:
        filters["Service"] = list(budget.services)
    body: dict[str, Any] = {
        "BudgetName": _name(definition, name),
        "BudgetLimit": {"Amount": budget.limit, "Unit": "USD"},
        "TimeUnit": _TIME_UNITS[budget.window],
        "BudgetType": "COST",
        "CostFilters": filters,
        "CostTypes": {**COST_TYPES, **budget.cost_types},
        "Notifications": [
            {
                "NotificationType": kind,
                "ComparisonOperator": "GREATER_THAN",
                "Threshold": float(percent),
                "ThresholdType": "PERCENTAGE",
            }
            for kind, marks in (("ACTUAL", budget.percent), ("FORECASTED", budget.forecast))
            for percent in marks
        ],
        "Emails": sorted(definition.emails),
    }
    return Resource(Kind.BUDGET, body["BudgetName"], BILLING_REGION, body)


def _anomalies(definition: Definition) -> Iterator[Resource]:
    for name, anomaly in definition.anomalies.items():
        full = _name(definition, name)
        yield Resource(Kind.MONITOR, full, BILLING_REGION, _monitor(full, anomaly))
        body = {
            "SubscriptionName": full,
            "MonitorArnList": [f"${{monitor:{full}}}"],
            "Frequency": anomaly.frequency,
            "Subscribers": [{"Type": "EMAIL", "Address": email} for email in sorted(definition.emails)],
            "ThresholdExpression": _threshold(anomaly),
        }
        yield Resource(Kind.SUBSCRIPTION, full, BILLING_REGION, body)


def _monitor(name: str, anomaly: AnomalyOf) -> dict[str, Any]:
    """By service; by tag it is a custom monitor, for one by service takes no filter."""
    if not anomaly.tags:
        return {"MonitorName": name, "MonitorType": "DIMENSIONAL", "MonitorDimension": "SERVICE"}
    each = [{"Tags": {"Key": key, "Values": [value]}} for key, value in sorted(anomaly.tags.items())]
    specification = each[0] if len(each) == 1 else {"And": each}
    return {"MonitorName": name, "MonitorType": "CUSTOM", "MonitorSpecification": specification}


def _threshold(anomaly: AnomalyOf) -> dict[str, Any]:
    given = (("ANOMALY_TOTAL_IMPACT_ABSOLUTE", anomaly.above), ("ANOMALY_TOTAL_IMPACT_PERCENTAGE", anomaly.percent))
    each = [
        {"Dimensions": {"Key": key, "MatchOptions": ["GREATER_THAN_OR_EQUAL"], "Values": [value]}}
        for key, value in given
        if value is not None
    ]
    return each[0] if len(each) == 1 else {"And" if anomaly.both else "Or": each}


def _lifecycle(definition: Definition, name: str, bucket: Expiry) -> Resource:
    """Our own rules of a bucket, and the prefixes that no rule may empty; other people's rules stay."""
    environment = bucket.environment or definition.environment
    days = bucket.days or EXPIRY_DAYS.get(environment, EXPIRY_DAYS["prod"])
    rules = [
        {
            "ID": f"outlay-{prefix.strip('/') or 'all'}",
            "Filter": {"Prefix": prefix},
            "Status": "Enabled",
            "Expiration": {"Days": count},
        }
        for prefix, count in sorted(days.items())
        if count != NEVER
    ]
    guarded = sorted(prefix for prefix, count in days.items() if count == NEVER)
    return Resource(Kind.LIFECYCLE, bucket.bucket, definition.region, {"Rules": rules, "Never": guarded})


def _schedule(definition: Definition, name: str, schedule: OffHours) -> Iterator[Resource]:
    target = f"service/{schedule.cluster}/{schedule.service}"
    for what, at, tasks in (("start", schedule.start, schedule.tasks), ("stop", schedule.stop, 0)):
        hour, minute = at.split(":")
        action = f"{_name(definition, name)}-{what}"
        body = {
            "ServiceNamespace": "ecs",
            "ScheduledActionName": action,
            "ResourceId": target,
            "ScalableDimension": "ecs:service:DesiredCount",
            "Schedule": f"cron({int(minute)} {int(hour)} ? * {schedule.days} *)",
            "Timezone": schedule.zone,
            "ScalableTargetAction": {"MinCapacity": tasks, "MaxCapacity": tasks},
        }
        yield Resource(Kind.SCHEDULE, action, definition.region, body)


def _retention(definition: Definition, group: str, days: int) -> Resource:
    return Resource(Kind.RETENTION, group, definition.region, {"logGroupName": group, "retentionInDays": days})
