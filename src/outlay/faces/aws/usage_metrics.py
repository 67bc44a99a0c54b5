"""How busy what runs in AWS was: CPU and memory, hourly average and maximum of two weeks, from CloudWatch.

A stack's file says what its resources are called: `[resource.backend]` with `metrics = { cluster = "…", service =
"…" }` for ECS, `database` for RDS (with `memory_gb`, as RDS tells free bytes), `node` for ElastiCache, `function` for
Lambda (with Lambda Insights). Reading costs nothing beyond CloudWatch's own price of an API request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from outlay.analytics.advise_stack import Utilisation
from outlay.errors import InvalidInput
from outlay.faces.aws.clients import Clients
from outlay.money import EXACT, rounding_to

DAYS: Final = 14
HOUR_S: Final = 3_600
_BYTES_A_GB: Final = 1024**3
_DIGITS: Final = rounding_to(28)


class Series(NamedTuple):
    """One metric: where it is published, and of what it is a percentage (0: it is one already)."""

    metric: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    whole: int = 0


def series_of(where: str, names: Mapping[str, Any]) -> tuple[Series, ...]:
    """The series that tell a resource's CPU and memory. Raises InvalidInput `bad_stack` for names that tell none."""
    given = {key: str(value) for key, value in names.items()}
    if {"cluster", "service"} <= given.keys():
        task = (("ClusterName", given["cluster"]), ("ServiceName", given["service"]))
        return (
            Series("cpu", "AWS/ECS", "CPUUtilization", task),
            Series("memory", "AWS/ECS", "MemoryUtilization", task),
        )
    if {"database", "memory_gb"} <= given.keys():
        database = (("DBInstanceIdentifier", given["database"]),)
        whole = int(EXACT.multiply(Decimal(given["memory_gb"]), _BYTES_A_GB))
        return (
            Series("cpu", "AWS/RDS", "CPUUtilization", database),
            Series("memory", "AWS/RDS", "FreeableMemory", database, whole),
        )
    if "node" in given:
        node = (("CacheClusterId", given["node"]),)
        return (
            Series("cpu", "AWS/ElastiCache", "CPUUtilization", node),
            Series("memory", "AWS/ElastiCache", "DatabaseMemoryUsagePercentage", node),
        )
    if "function" in given:
        function = (("function_name", given["function"]),)
        return (Series("memory", "LambdaInsights", "memory_utilization", function),)
    raise InvalidInput(
        f"[{where}] metrics name cluster and service, database and memory_gb, node, or function", code="bad_stack"
    )


def read_utilisation(
    clients: Clients, region: str, tables: Mapping[str, Any], now: datetime
) -> Iterator[Utilisation]:
    """The utilisation of every resource of a stack that names its metrics. Raises CloudFailure."""
    for name, table in tables.get("resource", {}).items():
        if isinstance(table, Mapping) and table.get("metrics"):
            for series in series_of(f"resource.{name}", table["metrics"]):
                hours = _hours(clients, region, series, now)
                if hours:
                    yield Utilisation(resource=str(name), metric=series.metric, hours=hours)


def read_lifecycle(clients: Clients, region: str, tables: Mapping[str, Any]) -> tuple[bool, str] | None:
    """Whether every bucket that a stack names (`bucket = "…"`) deletes by a rule; None where it names none."""
    buckets = [
        str(table["bucket"])
        for table in tables.get("resource", {}).values()
        if isinstance(table, Mapping) and table.get("bucket")
    ]
    without = [bucket for bucket in buckets if not _expires(clients, region, bucket)]
    if not buckets:
        return None
    return not without, f"no active rule in {', '.join(without)}" if without else f"active in {', '.join(buckets)}"


def _expires(clients: Clients, region: str, bucket: str) -> bool:
    answer = clients.call(
        "s3",
        region,
        "get_bucket_lifecycle_configuration",
        missing=("NoSuchLifecycleConfiguration",),
        Bucket=bucket,
    )
    rules = (answer or {}).get("Rules", [])
    return any(rule["Status"] == "Enabled" and rule.get("Expiration") for rule in rules)


def _hours(clients: Clients, region: str, series: Series, now: datetime) -> tuple[tuple[Decimal, Decimal], ...]:
    end = now.replace(minute=0, second=0, microsecond=0)
    answer = clients.call(
        "cloudwatch",
        region,
        "get_metric_statistics",
        Namespace=series.namespace,
        MetricName=series.name,
        Dimensions=[{"Name": name, "Value": value} for name, value in series.dimensions],
        StartTime=end - timedelta(days=DAYS),
        EndTime=end,
        Period=HOUR_S,
        Statistics=["Average", "Maximum", "Minimum"],
    )
    points = sorted((answer or {}).get("Datapoints", []), key=lambda point: point["Timestamp"])
    return tuple(_percent(point, series.whole) for point in points)


def _percent(point: Mapping[str, Any], whole: int) -> tuple[Decimal, Decimal]:
    """(average, maximum) in percent. Of free bytes the least is the maximum of what was used."""
    average = Decimal(repr(point["Average"]))
    if not whole:
        return average, Decimal(repr(point["Maximum"]))
    least = Decimal(repr(point["Minimum"]))
    return _used(average, whole), _used(least, whole)


def _used(free: Decimal, whole: int) -> Decimal:
    return _DIGITS.subtract(Decimal(100), _DIGITS.divide(_DIGITS.multiply(free, 100), whole))
