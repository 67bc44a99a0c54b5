"""Advice on a stack: each measure is a change of some of its fields, priced like a scenario. Pure.

What utilisation says comes in as values: the hourly average and maximum of two weeks. Where the ledger holds what a
row really costs, the share that a change saves is taken of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from typing import Any, Final

import msgspec

from outlay.analytics.advice import Advice, Effort, advice_id, share_of
from outlay.analytics.stack import MONTHS_A_YEAR, StackEstimate, StackRow
from outlay.money import EXACT, format_pico

Changes = Mapping[str, Any]
Priced = Callable[[Changes], StackEstimate]
"""The stack's estimate with some fields changed."""

HOURS_MIN: Final = 14 * 24
BUSY_PERCENT: Final = 50
IDLE_PERCENT: Final = 2
CDN_GB_MIN: Final = 50
LAMBDA_MB_MIN: Final = 128
SIZES: Final = ("micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge")
DEVELOPMENT: Final = frozenset({"dev", "development", "test", "staging"})
DEVELOPMENT_DAYS: Final = {"temp": 1, "generations": 7, "compositions": 14}
"""The seeds' retention for development."""
_TENTH: Final = Decimal("0.1")


class Utilisation(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a resource of the stack was: (average, maximum) in percent for each hour, of `cpu` or `memory`."""

    resource: str
    metric: str
    hours: tuple[tuple[Decimal, Decimal], ...]

    @property
    def busiest(self) -> Decimal:
        """The highest maximum of an hour."""
        return max((maximum for _, maximum in self.hours), default=Decimal(0))

    @property
    def mean(self) -> Decimal:
        """The mean of the averages."""
        return EXACT.divide(
            reduce(EXACT.add, (average for average, _ in self.hours), Decimal(0)), max(1, len(self.hours))
        )


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One measure as changes of fields: what saves `most`, and what saves `least` (half of it, where not given)."""

    rule: str
    title: str
    most: Changes
    least: Changes | None = None
    exactly: bool = False
    effort: Effort
    how: tuple[str, ...]
    assumptions: tuple[str, ...] = ()
    evidence: tuple[tuple[str, str], ...] = ()
    alternative: str = ""
    commits: bool = False


class StackScene(msgspec.Struct, frozen=True, kw_only=True):
    """The stack's tables and everything that is known about it.

    `actual` is what a row of that name cost a month by the ledger, `services` by which filter.
    """

    tables: Mapping[str, Any]
    price: Priced
    environment: str = ""
    utilisation: Sequence[Utilisation] = ()
    actual: Mapping[str, int] = {}
    services: Mapping[str, dict[str, tuple[str, ...]]] = {}

    def resources(self, *kinds: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """(path, table) of the resources of these kinds that cost something."""
        for name, table in self.tables.get("resource", {}).items():
            if table.get("kind") in kinds and not table.get("none"):
                yield f"resource.{name}", table

    def of(self, path: str) -> dict[str, Utilisation]:
        """What is known of a resource's utilisation over two weeks, by metric."""
        name = path.rpartition(".")[2]
        return {one.metric: one for one in self.utilisation if one.resource == name and len(one.hours) >= HOURS_MIN}


def advise_stack(scene: StackScene) -> Iterator[Advice]:
    """Every measure that saves something on the stack as it is, row by row that it touches."""
    base = scene.price({})
    for rule in RULES:
        for change in rule(scene):
            yield from _measured(scene, base, change)


def _measured(scene: StackScene, base: StackEstimate, change: Change) -> Iterator[Advice]:
    most = scene.price(change.most)
    least = most if change.exactly else None if change.least is None else scene.price(change.least)
    for place, (row, after) in enumerate(zip(base.rows, most.rows, strict=True)):
        if after.month == row.month or len(after.unrated) > len(row.unrated):
            continue
        share = share_of(row.month.low - after.month.low, row.month.low)
        low = share // 2
        if least is not None:
            low = share_of(row.month.low - least.rows[place].month.low, row.month.low)
        cost = scene.actual.get(row.name, row.month.low)
        known = "by the ledger" if row.name in scene.actual else "by the estimate"
        made = Advice(
            id=advice_id(change.rule, f"stack/{row.name}"),
            rule=change.rule,
            title=change.title,
            target=f"stack/{row.name}",
            cost=cost,
            share=(min(low, share), share),
            effort=change.effort,
            how=change.how,
            assumptions=change.assumptions,
            evidence=(
                (f"cost a month, {known}", format_pico(cost, base.currency)),
                *change.evidence,
                *_break_even(row, after, change, base.currency),
            ),
            alternative=change.alternative,
            commits=change.commits,
            where=scene.services.get(row.name, {}),
        )
        if made.saving.high > 0:
            yield made


def _break_even(row: StackRow, after: StackRow, change: Change, currency: str) -> Iterator[tuple[str, str]]:
    """After how many months what is paid upfront is back, or above which share of the hours a fixed price pays."""
    if not change.rule.startswith("reserved"):
        return
    now, then = (_instance(one) for one in (row, after))
    if not now:
        return
    if "all_upfront" in change.rule:
        months = Fraction(then * MONTHS_A_YEAR, now)
        yield "paid upfront", format_pico(then * MONTHS_A_YEAR, currency)
        yield "break-even", f"{float(months):.2f} months"
    else:
        yield "pays above", f"{float(Fraction(100 * then, now)):.2f} % of the hours"


def _instance(row: StackRow) -> int:
    return sum(line.amounts.low for line in row.lines if line.low.meter == "instance_hours")


# Rules


RESERVED: Final = (
    ("reserved_1y_no_upfront", "nothing"),
    ("reserved_1y_partial_upfront", "a part"),
    ("reserved_1y_all_upfront", "all"),
)
"""How a year is reserved, and what is paid upfront; a way that has no price is not proposed."""


def _reserved(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("rds", "elasticache"):
        if table.get("purchase") or _development(scene, table):
            continue
        for purchase, said in RESERVED:
            yield Change(
                rule=purchase,
                title=f"Reserve {_title(path, table)} for a year, {said} upfront",
                most={f"{path}.purchase": purchase},
                exactly=True,
                effort=Effort.EASY,
                how=(f"buy a reserved {table.get('instance')} for one year, {said} upfront, after a month of use",),
                assumptions=("it runs all year, at this size",),
                alternative="purchase",
                commits=True,
            )


def _compute(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("fargate"):
        if table.get("purchase"):
            continue
        title = _title(path, table)
        yield Change(
            rule="savings_plan",
            title=f"Cover {title} by a Compute Savings Plan of a year",
            most={f"{path}.purchase": "compute_savings_1y"},
            exactly=True,
            effort=Effort.EASY,
            how=("commit to the hourly cost of what always runs, after right-sizing it",),
            assumptions=("what is committed is used every hour; the rest is charged all the same",),
            alternative="purchase",
            commits=True,
        )
        yield Change(
            rule="spot",
            title=f"Run {title} on Fargate Spot",
            most={f"{path}.purchase": "spot"},
            effort=Effort.MEDIUM,
            how=("add FARGATE_SPOT to the service's capacity providers; handle the two minutes' notice",),
            assumptions=("a task may be interrupted and started again",),
            alternative="purchase",
        )


def _schedule(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("fargate"):
        always = Fraction(str(table.get("hours_a_day", 24))) == 24 and table.get("days_a_week", 7) == 7
        if _development(scene, table) and always:
            yield Change(
                rule="schedule",
                title=f"Stop {_title(path, table)} at night",
                most={f"{path}.hours_a_day": 12, f"{path}.days_a_week": 5},
                least={f"{path}.hours_a_day": 12},
                effort=Effort.EASY,
                how=(
                    "[aws.schedules] of outlay.toml, then outlay aws plan; or --desired-count 0 by a schedule",
                    "with weekends off it saves the most",
                ),
                assumptions=("nobody develops at night; databases and caches stay as they are",),
            )


def _percent(value: Decimal) -> Decimal:
    return value.quantize(_TENTH, context=EXACT)


def _rightsizing(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("fargate", "rds", "elasticache", "lambda"):
        found = scene.of(path)
        # A function has as much CPU as memory: only memory is told of it.
        if "memory" not in found or ("cpu" not in found and table["kind"] != "lambda"):
            continue
        evidence = tuple(
            (f"{name}, {HOURS_MIN // 24} days", f"mean {_percent(one.mean)} %, at most {_percent(one.busiest)} %")
            for name, one in sorted(found.items())
        )
        title = _title(path, table)
        if "cpu" in found and found["cpu"].busiest < IDLE_PERCENT:
            yield Change(
                rule="idle",
                title=f"Stop {title}: nothing uses it",
                most={f"{path}.none": "idle"},
                exactly=True,
                effort=Effort.EASY,
                how=("stop it for a week before it is deleted; keep a snapshot",),
                assumptions=("nobody needs it",),
                evidence=evidence,
            )
        elif all(one.busiest < BUSY_PERCENT for one in found.values()):
            changes = _smaller(path, table)
            if changes:
                yield Change(
                    rule="rightsizing",
                    title=f"Take a smaller {title}",
                    most=changes,
                    exactly=True,
                    effort=Effort.MEDIUM,
                    how=("change it, and watch CPU and memory for two weeks more",),
                    assumptions=(f"no hour of 14 days went above {BUSY_PERCENT} %: half of it is enough",),
                    evidence=evidence,
                )


def _smaller(path: str, table: Mapping[str, Any]) -> Changes:
    if table["kind"] == "fargate":
        vcpu, memory = (Fraction(str(table[name])) for name in ("vcpu", "memory_gb"))
        if vcpu <= Fraction(1, 4) or memory <= Fraction(1, 2):
            return {}
        return {f"{path}.vcpu": str(vcpu / 2), f"{path}.memory_gb": str(memory / 2)}
    if table["kind"] == "lambda":
        halved = int(Fraction(str(table["memory_mb"])) / 2)
        return {f"{path}.memory_mb": halved} if halved >= LAMBDA_MB_MIN else {}
    family, _, size = str(table.get("instance", "")).rpartition(".")
    if size not in SIZES[1:]:
        return {}
    return {f"{path}.instance": f"{family}.{SIZES[SIZES.index(size) - 1]}"}


def _logs(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("logs"):
        ingested = Fraction(str(table.get("gb_ingested", 0)))
        if ingested:
            yield Change(
                rule="logs",
                title=f"Log less in {_title(path, table)}",
                most={f"{path}.gb_ingested": str(ingested * 3 / 10)},
                least={f"{path}.gb_ingested": str(ingested / 2)},
                effort=Effort.EASY,
                how=("LOG_LEVEL=WARNING where INFO is not read; keep INFO in production if it is",),
                assumptions=("50 to 70 % of the lines are INFO or DEBUG",),
                evidence=(("ingested a month", f"{float(ingested):g} GB"),),
            )


def _lifecycle(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("s3"):
        prefixes: Mapping[str, Any] = table.get("prefix", {})
        shorter = {
            f"{path}.prefix.{name}.expires_days": days
            for name, days in DEVELOPMENT_DAYS.items()
            if name in prefixes and Fraction(str(prefixes[name].get("expires_days", 0))) > days
        }
        if shorter and _development(scene, table):
            yield Change(
                rule="lifecycle",
                title=f"Delete earlier in {_title(path, table)}: temp 1, generations 7, compositions 14 days",
                most=shorter,
                effort=Effort.EASY,
                how=("[aws.buckets] of outlay.toml, then outlay aws plan; or the bucket's lifecycle rules",),
                assumptions=("development's files are not needed for longer",),
            )
        kept = {
            f"{path}.prefix.{name}.storage_class": "standard_ia"
            for name, one in prefixes.items()
            if "expires_days" not in one and not one.get("storage_class")
        }
        if kept:
            yield Change(
                rule="storage_class",
                title=f"Move what stays in {_title(path, table)} to Standard-IA",
                most=kept,
                effort=Effort.EASY,
                how=("a lifecycle rule: transition to STANDARD_IA after 30 days",),
                assumptions=("half of it, or all, is older than 30 days, over 128 KB and rarely read",),
            )


def _cdn(scene: StackScene) -> Iterator[Change]:
    for path, table in scene.resources("transfer"):
        sent = Fraction(str(table.get("gb_out", 0)))
        if sent > CDN_GB_MIN:
            region = str(table.get("region", scene.tables.get("stack", {}).get("region", "")))
            edge = "eu" if region.startswith("eu") else "us"
            name = table.get("name", path.rpartition(".")[2])
            yield Change(
                rule="cdn",
                title=f"Send {_title(path, table)} through CloudFront",
                most={path: {"kind": "cloudfront", "name": name, "gb_out": str(sent), "edge": edge}},
                exactly=True,
                effort=Effort.MEDIUM,
                how=("a distribution before the bucket; presigned URLs become signed URLs of CloudFront",),
                assumptions=("everything is sent through it; requests are not counted here",),
                evidence=(("sent a month", f"{float(sent):g} GB, above {CDN_GB_MIN}"),),
            )


def _bitrate(scene: StackScene) -> Iterator[Change]:
    if not scene.tables.get("work"):
        return
    changes: list[dict[str, Any]] = [{}, {}]
    for at, left in enumerate((Fraction(6, 10), Fraction(7, 10))):
        for path, table in scene.resources("transfer", "cloudfront"):
            changes[at][f"{path}.gb_out"] = str(Fraction(str(table.get("gb_out", 0))) * left)
        for path, table in scene.resources("s3"):
            for name, one in table.get("prefix", {}).items():
                if "gb" in one and "expires_days" in one:
                    changes[at][f"{path}.prefix.{name}.gb"] = str(Fraction(str(one["gb"])) * left)
    if changes[0]:
        yield Change(
            rule="bitrate",
            title="Encode videos at 2 Mbit/s instead of 3",
            most=changes[0],
            least=changes[1],
            effort=Effort.EASY,
            how=("OUTPUT_VIDEO_BITRATE=2M; look at the quality first (a faster preset does not make files smaller)",),
            assumptions=("30 to 40 % smaller files; what is stored for good and uploads stay as they are",),
        )


RULES: Final = (_reserved, _compute, _schedule, _rightsizing, _logs, _lifecycle, _cdn, _bitrate)


def _title(path: str, table: Mapping[str, Any]) -> str:
    return str(table.get("name", path.rpartition(".")[2]))


def _development(scene: StackScene, table: Mapping[str, Any]) -> bool:
    return str(table.get("environment", scene.environment)).lower() in DEVELOPMENT
