"""Answers of cost APIs made rows of a bill: AWS Cost Explorer, OpenAI's costs, Anthropic's cost report. Pure.

Numbers arrive as text or whole numbers, and stay text. Forms: docs.aws.amazon.com/aws-cost-management
(GetCostAndUsage), platform.openai.com/docs/api-reference/usage, docs.anthropic.com/en/api/admin-api/usage-cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from outlay.capture.lines import BadLine
from outlay.capture.statement_layouts import Format
from outlay.capture.statement_names import meter_and_size, token_meter
from outlay.capture.statement_table import clean_tags, decimal_text
from outlay.capture.statements import BilledRow, Category
from outlay.errors import InvalidInput
from outlay.money import EXACT

Found = BilledRow | BadLine
_METRICS: Final = ("UnblendedCost", "NetUnblendedCost", "AmortizedCost", "NetAmortizedCost", "BlendedCost")
_CATEGORIES: Final = {
    "tax": Category.TAX,
    "credit": Category.CREDIT,
    "refund": Category.CREDIT,
    "discounted usage": Category.COMMITMENT,
    "savings plan covered usage": Category.COMMITMENT,
    "savings plan negation": Category.COMMITMENT,
    "savings plan recurring fee": Category.COMMITMENT,
    "savings plan upfront fee": Category.PURCHASE,
    "recurring reservation fee": Category.COMMITMENT,
    "upfront reservation fee": Category.PURCHASE,
}
_OPENAI_USAGE: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "input_cached_tokens": "cache_read_tokens",
    "input_audio_tokens": "input_audio_tokens",
    "output_audio_tokens": "output_audio_tokens",
    "num_model_requests": "requests",
    "images": "images",
    "characters": "characters",
    "seconds": "audio_seconds",
}
_ANTHROPIC_METERS: Final = {
    "uncached_input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h_tokens",
}
_HUNDREDTH: Final = -2
_ONE_DAY: Final = 1


def body_format(body: object) -> Format | None:
    """Which API's answer a JSON value is; None where it is none of them. A list of pages is known by its first."""
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, Mapping):
        return None
    if "ResultsByTime" in first:
        return Format.COST_EXPLORER
    data = first.get("data")
    if not isinstance(data, list) or not data or not isinstance(data[0], Mapping):
        return None
    if data[0].get("object") == "bucket":
        return Format.OPENAI
    return Format.ANTHROPIC if "starting_at" in data[0] and "results" in data[0] else None


def rows_of_body(body: object, source: str) -> Iterator[Found]:
    """The rows of one answer or of a list of pages. Raises InvalidInput `not_a_statement`."""
    pages: list[Any] = body if isinstance(body, list) else [body]
    readers = {
        Format.COST_EXPLORER: rows_of_cost_explorer,
        Format.OPENAI: rows_of_openai,
        Format.ANTHROPIC: rows_of_anthropic,
    }
    format = body_format(body)
    read = None if format is None else readers.get(format)
    if read is None:
        raise InvalidInput(f"{source} is no answer of a cost API that is known", code="not_a_statement")
    yield from read(pages, source)


def _checked(source: str, number: int, raw: object, row: Any) -> Found:
    """A row that was made, or why it could not be."""
    try:
        made: BilledRow = row()
    except (InvalidInput, KeyError, TypeError, ValueError, AttributeError) as error:
        code = error.code if isinstance(error, InvalidInput) else "bad_row"
        return BadLine(source, number, code, f"a result cannot be read: {error}"[:300], str(raw)[:2_000])
    return made


# AWS Cost Explorer


def rows_of_cost_explorer(pages: Sequence[Mapping[str, Any]], source: str) -> Iterator[Found]:
    """The groups of every page: `Total` is empty where results are grouped, and is read only where they are not."""
    number = 0
    for page in pages:
        names = [str(each.get("Key", "")) for each in page.get("GroupDefinitions", ())]
        for result in page.get("ResultsByTime", ()):
            groups = result.get("Groups") or [{"Keys": [], "Metrics": result.get("Total") or {}}]
            for group in groups:
                if group["Metrics"]:
                    number += 1
                    yield _checked(source, number, group, _explored(result["TimePeriod"], group, names, number))


def _explored(period: Mapping[str, str], group: Mapping[str, Any], names: list[str], number: int) -> Any:
    def row() -> BilledRow:
        keys = dict(zip(names or ["SERVICE"], map(str, group["Keys"]), strict=False))
        metrics = group["Metrics"]
        metric = next(metrics[name] for name in _METRICS if name in metrics)
        usage = metrics.get("UsageQuantity", {})
        start, end = _day(period["Start"]), _day(period["End"])
        sku, unit = keys.get("USAGE_TYPE", ""), str(usage.get("Unit", ""))
        # A quantity of mixed units is not one: Cost Explorer says N/A for its unit.
        counted = bool(sku) and unit not in ("", "N/A")
        meter, per = meter_and_size(unit, sku) if counted else (None, 1)
        service = keys.get("SERVICE") or "AWS"
        return BilledRow(
            date=start,
            days=max(_ONE_DAY, (end - start).days),
            service=service,
            resource="",
            cost=decimal_text(str(metric["Amount"]), "cost"),
            quantity=decimal_text(str(usage["Amount"]), "usage") if counted else "",
            unit=unit if counted else "",
            meter=meter,
            per=per,
            provider="aws",
            currency=str(metric["Unit"]),
            category=_category(keys.get("RECORD_TYPE", ""), service),
            sub_account=keys.get("LINKED_ACCOUNT", ""),
            region=keys.get("REGION", ""),
            sku=sku,
            tags=clean_tags([_tag(key) for name, key in keys.items() if "$" in key and name not in _PLAIN]),
            line=number,
        )

    return row


_PLAIN: Final = frozenset(("SERVICE", "USAGE_TYPE", "LINKED_ACCOUNT", "REGION", "RECORD_TYPE", "OPERATION"))


def _tag(key: str) -> tuple[str, str]:
    """A tag's group key is written `Name$value`."""
    name, _, value = key.partition("$")
    return name, value


def _category(record: str, service: str) -> Category:
    found = _CATEGORIES.get(record.lower())
    if found is not None:
        return found
    return Category.TAX if service.lower() == "tax" else Category.USAGE


# OpenAI


def rows_of_openai(pages: Sequence[Mapping[str, Any]], source: str) -> Iterator[Found]:
    """Costs by day, line item and project; of usage (which costs nothing by itself) use `openai_quantities`."""
    number = 0
    for page in pages:
        for bucket in page.get("data", ()):
            for result in bucket.get("results", ()):
                if "amount" in result:
                    number += 1
                    yield _checked(source, number, result, _of_openai(bucket, result, number))


def _of_openai(bucket: Mapping[str, Any], result: Mapping[str, Any], number: int) -> Any:
    def row() -> BilledRow:
        start = datetime.fromtimestamp(int(bucket["start_time"]), UTC).date()
        item = str(result.get("line_item") or "OpenAI")
        service, _, part = item.partition(",")
        meter = token_meter(part) if part else None
        quantity = result.get("quantity")
        return BilledRow(
            date=start,
            days=max(_ONE_DAY, (int(bucket["end_time"]) - int(bucket["start_time"])) // 86_400),
            service=service.strip(),
            resource="",
            cost=_plain(result["amount"]["value"]),
            quantity=_plain(quantity) if quantity is not None else "",
            unit="tokens" if meter and quantity is not None else "",
            meter=meter,
            provider="openai",
            currency=str(result["amount"]["currency"]).upper(),
            account=str(result.get("organization_id") or ""),
            sub_account=str(result.get("project_id") or ""),
            sku=item,
            tags=clean_tags([("project", result.get("project_name"))]),
            line=number,
        )

    return row


def openai_quantities(pages: Sequence[Mapping[str, Any]]) -> dict[tuple[date, str, str], Decimal]:
    """What was used by (day, model, meter), from pages of a usage API grouped by model; leaves, no token twice."""
    found: dict[tuple[date, str, str], Decimal] = {}
    for page in pages:
        for bucket in page.get("data", ()):
            day = datetime.fromtimestamp(int(bucket["start_time"]), UTC).date()
            for result in bucket.get("results", ()):
                used = {
                    meter: Decimal(str(result.get(name) or 0))
                    for name, meter in _OPENAI_USAGE.items()
                    if result.get(name)
                }
                if "input_tokens" in used:
                    used["input_tokens"] = EXACT.subtract(used["input_tokens"], used.get("cache_read_tokens", 0))
                for meter, quantity in used.items():
                    key = (day, str(result.get("model") or ""), meter)
                    found[key] = EXACT.add(found.get(key, 0), quantity)
    return found


# Anthropic


def rows_of_anthropic(pages: Sequence[Mapping[str, Any]], source: str) -> Iterator[Found]:
    """Costs by day, workspace and description. Amounts arrive in hundredths of the currency, as decimal text."""
    number = 0
    for page in pages:
        for bucket in page.get("data", ()):
            for result in bucket.get("results", ()):
                if "amount" in result:
                    number += 1
                    yield _checked(source, number, result, _of_anthropic(bucket, result, number))


def _of_anthropic(bucket: Mapping[str, Any], result: Mapping[str, Any], number: int) -> Any:
    def row() -> BilledRow:
        start, end = _day(bucket["starting_at"]), _day(bucket["ending_at"])
        described = str(result.get("description") or result.get("cost_type") or "Anthropic")
        model = str(result.get("model") or described)
        token_type = str(result.get("token_type") or "")
        return BilledRow(
            date=start,
            days=max(_ONE_DAY, (end - start).days),
            service=model,
            resource="",
            cost=format(Decimal(_plain(result["amount"])).scaleb(_HUNDREDTH, EXACT), "f"),
            quantity="",
            unit="",
            meter=_ANTHROPIC_METERS.get(token_type),
            provider="anthropic",
            currency=str(result["currency"]).upper(),
            sub_account=str(result.get("workspace_id") or ""),
            region=str(result.get("inference_geo") or ""),
            sku=described,
            line=number,
        )

    return row


def anthropic_quantities(pages: Sequence[Mapping[str, Any]]) -> dict[tuple[date, str, str], Decimal]:
    """What was used by (day, model, meter), from pages of the messages usage report grouped by model."""
    found: dict[tuple[date, str, str], Decimal] = {}
    for page in pages:
        for bucket in page.get("data", ()):
            for result in bucket.get("results", ()):
                created = result.get("cache_creation") or {}
                told = {**result, **{f"cache_creation.{name}": value for name, value in created.items()}}
                for name, meter in _ANTHROPIC_METERS.items():
                    if told.get(name):
                        key = (_day(bucket["starting_at"]), str(result.get("model") or ""), meter)
                        found[key] = EXACT.add(found.get(key, 0), Decimal(str(told[name])))
    return found


def with_quantities(rows: Sequence[Found], used: Mapping[tuple[date, str, str], Decimal]) -> Iterator[Found]:
    """Rows of a cost report with what was used of their meter.

    Where several rows share a day, model and meter (projects, tiers), the first bears the quantity of them all.
    """
    left = dict(used)
    for row in rows:
        if isinstance(row, BadLine) or row.meter is None or row.quantity:
            yield row
            continue
        quantity = left.pop((row.date, row.service, row.meter), None)
        yield row if quantity is None else _counted(row, quantity)


def _counted(row: BilledRow, quantity: Decimal) -> BilledRow:
    return replace(row, quantity=f"{quantity:f}", unit="tokens")


def _plain(value: object) -> str:
    """A number of an answer as decimal text without an exponent. Raises InvalidInput."""
    text = decimal_text(str(value), "cost")
    return format(Decimal(text), "f") if "e" in text.lower() else text


def _day(text: str) -> date:
    return date.fromisoformat(str(text)[:10])
