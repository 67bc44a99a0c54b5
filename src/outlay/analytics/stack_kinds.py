"""What a resource of each kind uses in a month: a database its hours and storage, a bucket its steady state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from outlay.analytics.stack import HOURS_A_MONTH, Use
from outlay.errors import InvalidInput
from outlay.meters import METERS, meter_named
from outlay.model import Quantity
from outlay.money import EXACT

DAYS_A_MONTH: Final = Fraction(HOURS_A_MONTH, 24)
SIGNS_MAX: Final = 60
PLACES_MAX: Final = 30
QUANTITY_MAX: Final = 10**15
_NANO: Final = Decimal("0.000000001")


class Fields:
    """One table of a stack file, read field by field; what nobody read is an error.

    Raises InvalidInput `bad_stack`, naming the table and the field.
    """

    def __init__(self, where: str, table: object, region: str = "") -> None:
        """`where` is the table's name in messages."""
        if not isinstance(table, Mapping):
            raise InvalidInput(f"[{where}] is no table", code="bad_stack", field=where)
        self.where = where
        self.region = region
        self._table = table
        self._read: set[str] = set()

    def error(self, name: str, message: str) -> InvalidInput:
        """What is wrong with a field."""
        return InvalidInput(f"[{self.where}] {name} {message}", code="bad_stack", field=f"{self.where}.{name}")

    def raw(self, name: str, default: Any = None) -> Any:
        """A field as it stands."""
        self._read.add(name)
        return self._table.get(name, default)

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not empty; without a default it must be there."""
        value = self.raw(name, default)
        if not isinstance(value, str) or (not value and default is None):
            raise self.error(name, "is missing or no text")
        return value

    def number(self, name: str, default: int | str | None = None, *, above_zero: bool = False) -> Fraction:
        """A number from 0, as a number or a text."""
        value = self.raw(name, default)
        if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
            raise self.error(name, "is missing or no number")
        try:
            number = _fraction(str(value).strip())
        except (ArithmeticError, ValueError) as error:
            raise self.error(name, f"{str(value)[:40]!r} is no number") from error
        if number < 0 or (above_zero and not number):
            raise self.error(name, f"{str(value)[:40]} must be above 0" if above_zero else "must not be negative")
        return number

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number from 0."""
        number = self.number(name, default)
        if number.denominator != 1:
            raise self.error(name, "is no whole number")
        return int(number)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.raw(name, default)
        if not isinstance(value, bool):
            raise self.error(name, "is true or false")
        return value

    def tables(self, name: str) -> Iterator[Fields]:
        """The tables within a table, by name."""
        value = self.raw(name, {})
        if not isinstance(value, Mapping):
            raise self.error(name, "is no table")
        for inner, table in value.items():
            yield Fields(f"{self.where}.{name}.{inner}".removeprefix("."), table, self.region)

    def usage(self, name: str = "usage") -> dict[str, Quantity]:
        """Meters and their quantities. Raises InvalidInput `unknown_meter` too."""
        value = self.raw(name)
        if not isinstance(value, Mapping) or not value:
            raise self.error(name, "is missing: { meter = quantity }")
        inner = Fields(f"{self.where}.{name}", value)
        return {meter_named(str(meter)).name: _quantity(inner.number(str(meter)), str(meter)) for meter in value}

    def conditions(self) -> dict[str, str]:
        """Conditions as texts."""
        value = self.raw("conditions", {})
        if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
            raise self.error("conditions", 'is { name = "value" }')
        return {str(name): one for name, one in value.items()}

    def finish(self) -> None:
        """All fields are read: what is left is a mistake."""
        unknown = sorted(set(self._table) - self._read)
        if unknown:
            raise self.error(unknown[0], f"is not known here; known are {', '.join(sorted(self._read))}")


def _fraction(text: str) -> Fraction:
    """A number of at most 60 signs and 30 places: a power of ten beyond takes all memory there is."""
    if len(text) > SIGNS_MAX or ("e" in text.lower() and abs(Decimal(text).adjusted()) > PLACES_MAX):
        raise ValueError("no stack has such a number")
    return Fraction(text)


def _quantity(number: Fraction, meter: str) -> Quantity:
    """A quantity of at most 9 places."""
    if number.denominator == 1:
        return int(number)
    exact = EXACT.divide(number.numerator, number.denominator)
    if METERS[meter].whole:
        raise InvalidInput(f"{meter} counts whole things; {float(number):g} is none", code="fractional_quantity")
    if number >= QUANTITY_MAX:
        raise InvalidInput(f"nobody uses {float(number):g} of {meter}", code="bad_stack", field=meter)
    return exact.quantize(_NANO, context=EXACT).normalize(EXACT)


def _use(fields: Fields, service: str, label: str, usage: Mapping[str, Fraction], **conditions: str) -> Use:
    given = {name: value for name, value in {"region": fields.region, **conditions}.items() if value}
    quantities = {meter: _quantity(number, meter) for meter, number in usage.items() if number}
    return Use(provider="aws", service=service, usage=quantities, conditions=given, label=label)


def hours_of(fields: Fields, purchase: str = "") -> Fraction:
    """Hours a month that a thing runs. What is reserved is paid for every hour, whether it runs or not."""
    a_day = fields.number("hours_a_day", 24)
    a_week = fields.number("days_a_week", 7)
    if a_day > 24 or a_week > 7:
        raise fields.error("hours_a_day", "is at most 24, days_a_week at most 7")
    if purchase.startswith("reserved"):
        return Fraction(HOURS_A_MONTH)
    return HOURS_A_MONTH * a_day / 24 * a_week / 7


def _rds(fields: Fields) -> Iterator[Use]:
    purchase = fields.text("purchase", "")
    count, storage = fields.number("count", 1), fields.number("storage_gb", 0)
    hours = hours_of(fields, purchase) * count
    instance, engine = fields.text("instance"), fields.text("engine", "postgresql")
    yield _use(
        fields, "rds", instance, {"instance_hours": hours}, instance=instance, engine=engine, purchase=purchase
    )
    backup = fields.number("backup_gb", 0)
    # Backups up to the size of the database are free.
    free = min(backup, storage * count)
    if storage:
        kind = fields.text("storage_type", "gp3")
        label = f"{kind} storage" + (f"; {_shown(free)} GB of backups free within it" if free else "")
        yield _use(fields, "rds", label, {"gb_months": storage * count}, storage_type=kind)
    if backup > free:
        yield _use(fields, "rds", "backups beyond it", {"gb_months": backup - free}, storage_type="backup")


def _aurora(fields: Fields) -> Iterator[Use]:
    yield _use(fields, "aurora", "Serverless v2", {"acu_hours": fields.number("acu") * hours_of(fields)})
    if storage := fields.number("storage_gb", 0):
        yield _use(fields, "aurora", "storage", {"gb_months": storage})


def _elasticache(fields: Fields) -> Iterator[Use]:
    purchase, node = fields.text("purchase", ""), fields.text("instance")
    hours = hours_of(fields, purchase) * fields.number("count", 1)
    engine = fields.text("engine", "")
    yield _use(
        fields, "elasticache", node, {"instance_hours": hours}, instance=node, engine=engine, purchase=purchase
    )


def _fargate(fields: Fields) -> Iterator[Use]:
    purchase = fields.text("purchase", "")
    hours = hours_of(fields, purchase) * fields.number("tasks", 1)
    vcpu, memory = fields.number("vcpu", above_zero=True), fields.number("memory_gb", above_zero=True)
    label = f"{_shown(vcpu)} vCPU, {_shown(memory)} GB"
    usage = {"vcpu_hours": vcpu * hours, "gb_hours": memory * hours}
    architecture = fields.text("architecture", "")
    yield _use(fields, "fargate", label, usage, architecture=architecture, purchase=purchase)


def _s3(fields: Fields) -> Iterator[Use]:
    storage_class = fields.text("storage_class", "")
    for prefix in fields.tables("prefix"):
        stored = _steady(prefix)
        kind = prefix.text("storage_class", storage_class)
        prefix.finish()
        name = prefix.where.rpartition(".")[2]
        yield _use(fields, "s3", name, {"gb_months": stored}, storage_class=kind)
    if stored := fields.number("gb", 0):
        yield _use(fields, "s3", "storage", {"gb_months": stored}, storage_class=storage_class)
    requests = {name: fields.number(name, 0) for name in ("put_requests", "get_requests", "delete_requests")}
    if any(requests.values()):
        yield _use(fields, "s3", "requests", requests)
    if objects := fields.number("monitored_objects", 0):
        label = "Intelligent-Tiering"
        yield _use(fields, "s3", label, {"object_months": objects}, storage_class="intelligent_tiering")


def _steady(prefix: Fields) -> Fraction:
    """How many GB lie there once as much expires as comes: what comes in a day times the days it is kept.

    `gb` at `measured_days` of keeping tells what comes in a day; `gb_a_day` says it outright.
    """
    expires = prefix.number("expires_days", 0)
    a_day = prefix.number("gb_a_day", 0)
    if a_day:
        if not expires:
            raise prefix.error("expires_days", "is missing: what is never deleted has no steady state; give gb")
        return a_day * expires
    stored = prefix.number("gb")
    measured = prefix.number("measured_days", 0)
    return stored * expires / measured if expires and measured else stored


def _logs(fields: Fields) -> Iterator[Use]:
    ingested = fields.number("gb_ingested")
    yield _use(fields, "cloudwatch", "ingestion", {"gb_ingested": ingested})
    if days := fields.number("retention_days", 0):
        kept = ingested * days / DAYS_A_MONTH * fields.number("compressed_share", 1)
        yield _use(fields, "cloudwatch", f"kept {_shown(days)} days", {"gb_months": kept})


def _simple(
    service: str, meters: Mapping[str, str], *, hourly: str = "", conditions: tuple[str, ...] = ()
) -> Callable[[Fields], Iterator[Use]]:
    """A kind whose fields are its meters; `hourly` is one that counts running hours, by `count`."""

    def uses(fields: Fields) -> Iterator[Use]:
        usage = {meter: fields.number(name, 0) for name, meter in meters.items()}
        if hourly:
            usage[hourly] = hours_of(fields) * fields.number("count", 1)
        given = {name: fields.text(name, "") for name in conditions}
        yield _use(fields, service, "", usage, **given)

    return uses


def _lambda(fields: Fields) -> Iterator[Use]:
    requests, seconds = fields.number("requests"), fields.number("seconds_each")
    memory = fields.number("memory_mb") / 1024
    usage = {"requests": requests, "gb_seconds": requests * seconds * memory}
    label = f"{_shown(memory * 1024)} MB"
    yield _use(fields, "lambda", label, usage, architecture=fields.text("architecture", ""))


def _usage(fields: Fields) -> Iterator[Use]:
    conditions = fields.conditions()
    provider = fields.text("provider")
    if provider == "aws" and fields.region:
        conditions = {"region": fields.region, **conditions}
    yield Use(
        provider=provider,
        service=fields.text("service"),
        usage=fields.usage(),
        conditions=conditions,
        operation=fields.text("operation", "") or None,
    )


KINDS: Final[Mapping[str, tuple[Callable[[Fields], Iterator[Use]], tuple[str, ...]]]] = {
    "rds": (_rds, ("rds", "amazonrds", "amazon rds", "amazon relational database service")),
    "aurora": (_aurora, ("rds", "aurora", "amazonrds", "amazon relational database service")),
    "elasticache": (_elasticache, ("elasticache", "amazonelasticache", "amazon elasticache")),
    "fargate": (_fargate, ("ecs", "fargate", "amazonecs", "amazon elastic container service")),
    "s3": (_s3, ("s3", "amazons3", "amazon simple storage service")),
    "ecr": (_simple("ecr", {"gb": "gb_months"}), ("ecr", "amazonecr", "amazon ec2 container registry (ecr)")),
    "logs": (_logs, ("cloudwatch", "amazoncloudwatch")),
    "alarms": (
        _simple(
            "cloudwatch", {"alarms": "alarm_months", "dashboards": "dashboard_months", "metrics": "metric_months"}
        ),
        ("cloudwatch-alarms",),
    ),
    "transfer": (_simple("data-transfer", {"gb_out": "gb_transferred_out"}), ("data-transfer", "awsdatatransfer")),
    "cloudfront": (
        _simple("cloudfront", {"gb_out": "gb_transferred_out", "requests": "requests"}, conditions=("edge",)),
        ("cloudfront", "amazoncloudfront", "amazon cloudfront"),
    ),
    "nat": (_simple("nat-gateway", {"gb": "gb"}, hourly="hours"), ("nat gateway", "nat-gateway")),
    "alb": (
        _simple("alb", {"lcu_hours": "lcu_hours"}, hourly="hours"),
        ("alb", "awselb", "elastic load balancing"),
    ),
    "secrets": (
        _simple("secrets-manager", {"secrets": "secret_months", "requests": "requests"}),
        ("secrets-manager", "awssecretsmanager", "aws secrets manager"),
    ),
    "route53": (
        _simple("route53", {"zones": "zone_months", "queries": "queries"}),
        ("route53", "amazonroute53", "amazon route 53"),
    ),
    "lambda": (_lambda, ("lambda", "awslambda", "aws lambda")),
    "dynamodb": (
        _simple("dynamodb", {"reads": "read_request_units", "writes": "write_request_units", "gb": "gb_months"}),
        ("dynamodb", "amazondynamodb", "amazon dynamodb"),
    ),
    "api-gateway": (
        _simple("api-gateway", {"requests": "requests"}, conditions=("api",)),
        ("api-gateway", "amazonapigateway", "amazon api gateway"),
    ),
    "usage": (_usage, ()),
}
"""Each kind: what it uses, and the services under which a bill may name it."""


def _shown(number: Fraction) -> str:
    return f"{int(number):,}" if number.denominator == 1 else f"{float(number):g}"
