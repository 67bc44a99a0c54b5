"""A provider's bill as CSV, `Date,Service,Resource,Cost,Usage,Unit`, made rows of a statement.

Costs and quantities stay the decimal text that was received; nothing is computed here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from outlay.capture.lines import (
    STATEMENT_COLUMNS,
    BadLine,
    Contents,
    FileKind,
    Row,
    delimiter_of,
    rows_of,
)
from outlay.errors import InvalidInput
from outlay.money import parse_decimal

UNIT_METERS: Final = {
    "hour": "hours",
    "hours": "hours",
    "hrs": "hours",
    "instance-hours": "instance_hours",
    "vcpu-hours": "vcpu_hours",
    "gb-hours": "gb_hours",
    "gb-seconds": "gb_seconds",
    "gb-month": "gb_months",
    "gb-months": "gb_months",
    "gb-mo": "gb_months",
    "gb": "gb",
    "gb-ingested": "gb_ingested",
    "gb-out": "gb_transferred_out",
    "gb-transferred": "gb_transferred_out",
    "acu-hours": "acu_hours",
    "lcu-hours": "lcu_hours",
    "alarm-months": "alarm_months",
    "alarms": "alarm_months",
    "runs": "runs",
    "run": "runs",
    "requests": "requests",
    "images": "images",
    "characters": "characters",
    "pages": "pages",
    "seconds": "audio_seconds",
    "read-request-units": "read_request_units",
    "write-request-units": "write_request_units",
}
"""The meter that a bill's unit counts. A unit that is not here is kept as text and counts no meter."""

_AWS: Final = (
    "api gateway",
    "apigateway",
    "aurora",
    "bedrock",
    "cloudfront",
    "cloudwatch",
    "data transfer",
    "dynamodb",
    "ebs",
    "ec2",
    "ecr",
    "ecs",
    "eks",
    "elasticache",
    "elb",
    "fargate",
    "kms",
    "lambda",
    "nat gateway",
    "rds",
    "route 53",
    "route53",
    "s3",
    "secrets manager",
    "ses",
    "sns",
    "sqs",
    "transcribe",
    "vpc",
    "waf",
)
_PROVIDER_OF: Final = {
    "anthropic": "anthropic",
    "claude": "anthropic",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "gemini": "google",
    "gpt": "openai",
    "groq": "groq",
    "imagen": "google",
    "mistral": "mistral",
    "nano banana": "google",
    "nanobanana": "google",
    "openai": "openai",
    "openrouter": "openrouter",
    "replicate": "replicate",
    "stability": "stability",
    "veo": "google",
    "vertex": "google",
}


class Category(StrEnum):
    """What a row of a bill is for. A `commitment` row is usage that a savings plan or a reservation covers, or what
    such a commitment costs as it is used; a `purchase` is what was paid for one at once."""

    USAGE = "usage"
    COMMITMENT = "commitment"
    PURCHASE = "purchase"
    CREDIT = "credit"
    TAX = "tax"
    ADJUSTMENT = "adjustment"


class BilledRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of a bill: a local date, decimal texts as received, and the meter its unit counts, if any.

    `quantity` counts units of which each is `per` of the meter (1K tokens: 1,000). `list_cost` is the cost before
    discounts. `days` is how many days the row covers, `bill_month` the invoice it stands on (YYYY-MM; that of its
    date when empty). `key` is the provider's own name of the row, where it gives one. `cells` are all columns as
    received, in the order of the statement's header. Rows with the same `about` (over 0) differ in their date,
    figures, key and cells alone.
    """

    date: date
    service: str
    resource: str
    cost: str
    quantity: str
    unit: str
    provider: str
    meter: str | None = None
    currency: str | None = None
    line: int = 0
    raw: str = ""
    category: Category = Category.USAGE
    account: str = ""
    sub_account: str = ""
    region: str = ""
    sku: str = ""
    per: int = 1
    list_cost: str = ""
    days: int = 1
    bill_month: str = ""
    tags: dict[str, str] = {}
    key: str = ""
    cells: tuple[str, ...] = ()
    about: int = 0


def provider_of(service: str, default: str | None = None) -> str:
    """The provider that sells a service by this name; `default`, else the service's own name, when unknown."""
    name = " ".join(service.lower().replace("_", " ").split())
    for prefix in ("amazon ", "aws "):
        if name.startswith(prefix):
            return "aws"
    for known in _AWS:
        if name == known or name.startswith(known + " "):
            return "aws"
    for known, provider in _PROVIDER_OF.items():
        if name.startswith(known):
            return provider
    return default or name.replace(" ", "-")


def meter_of_unit(unit: str) -> str | None:
    """The meter that a bill's unit counts, or None."""
    return UNIT_METERS.get("-".join(unit.lower().replace("_", " ").split()))


def read_statement(contents: Contents, *, provider: str | None = None) -> Iterator[BilledRow | BadLine]:
    """The rows of a bill, in order (see `lines.contents_of`); a row that cannot be used is a BadLine.

    `provider` is used for services whose own provider is not known. Raises InvalidInput `not_a_statement`
    when the header lacks one of the six columns.
    """
    if contents.kind is not FileKind.STATEMENT_CSV:
        wanted = ",".join(name.capitalize() for name in STATEMENT_COLUMNS)
        raise InvalidInput(f"{contents.source} does not begin with the columns {wanted}", code="not_a_statement")
    yield from contents.bad
    delimiter = delimiter_of(contents.first.raw)
    names = next(csv.reader([contents.first.raw], delimiter=delimiter))
    columns = [name.strip().lower() for name in names]
    for row in rows_of(contents.rest, delimiter, contents.source, len(columns)):
        yield row if isinstance(row, BadLine) else _billed(row, columns, contents.source, provider)


def _billed(row: Row, columns: list[str], source: str, provider: str | None) -> BilledRow | BadLine:
    cells = dict(zip(columns, row.cells, strict=True))
    try:
        service = _needed(cells, "service")
        unit = cells["unit"]
        return BilledRow(
            date=_date(_needed(cells, "date")),
            service=service,
            resource=cells["resource"],
            cost=_decimal_text(_needed(cells, "cost"), "cost"),
            quantity=_decimal_text(cells["usage"], "usage") if cells["usage"] else "",
            unit=unit,
            provider=cells.get("provider") or provider_of(service, provider),
            meter=meter_of_unit(unit),
            currency=cells.get("currency") or None,
            line=row.number,
            raw=row.raw,
        )
    except InvalidInput as error:
        return BadLine(source, row.number, error.code, error.message, row.raw)


def _needed(cells: dict[str, str], name: str) -> str:
    if not cells[name]:
        raise InvalidInput(f"the row has no {name}", code="missing_field", field=name)
    return cells[name]


def _date(text: str) -> date:
    try:
        return datetime.fromisoformat(text).date() if len(text) > len("2026-01-01") else date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"date {text[:40]!r} is not like 2026-11-22", code="bad_date", field="date") from error


def _decimal_text(text: str, what: str) -> str:
    """The text as received, once it is known to be a finite number; a currency sign before it is taken off.

    A credit may be negative; a number with thousands separators is refused, because 1,234 may be 1.234.
    """
    bare = text.removeprefix("$").strip()
    number: Decimal = parse_decimal(bare, what)
    if -int(number.as_tuple().exponent) > 12:
        raise InvalidInput(f"{what} {text[:40]} has more than 12 decimals; round it first", code="too_precise")
    return bare
