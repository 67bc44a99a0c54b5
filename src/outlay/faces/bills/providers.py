"""What providers tell of themselves: OpenAI's and Anthropic's costs, Replicate's predictions, prepaid balances."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from outlay.capture.lines import BadLine
from outlay.capture.statement_bodies import (
    Found,
    anthropic_quantities,
    openai_quantities,
    rows_of_anthropic,
    rows_of_openai,
    with_quantities,
)
from outlay.capture.statement_layouts import Format
from outlay.config import with_secrets
from outlay.errors import InvalidInput, LedgerError
from outlay.faces.bills.http import Api
from outlay.model import Recorded
from outlay.money import EXACT

if TYPE_CHECKING:
    from outlay.api import Ledger

ANTHROPIC_VERSION: Final = "2023-06-01"
_BUCKETS: Final = 31
_ADDRESSES: Final = {
    "openai": "https://api.openai.com",
    "anthropic": "https://api.anthropic.com",
    "replicate": "https://api.replicate.com",
    "openrouter": "https://openrouter.ai",
    "deepseek": "https://api.deepseek.com",
    "stability": "https://api.stability.ai",
}
_KEYS: Final = {
    "openai": "OPENAI_ADMIN_KEY",
    "anthropic": "ANTHROPIC_ADMIN_KEY",
    "replicate": "REPLICATE_API_TOKEN",
    "openrouter": "OPENROUTER_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "stability": "STABILITY_API_KEY",
}
"""The environment variable in which each provider's own tools look for the key that reads costs."""


def api_of(provider: str, *, address: str | None = None, pause_s: float = 1.0) -> Api:
    """A provider's API, with the key of its environment variable.

    Raises InvalidInput `unknown_provider`, or `missing_secret` naming the variable.
    """
    if provider not in _ADDRESSES:
        raise InvalidInput(
            f"{provider[:40]!r} tells no costs here; use {', '.join(_ADDRESSES)}", code="unknown_provider"
        )
    try:
        key = with_secrets(f"${{{_KEYS[provider]}}}")
    except InvalidInput as error:
        raise InvalidInput(
            f"set {_KEYS[provider]} to a key that may read costs of {provider}", code="missing_secret"
        ) from error
    headers = {"authorization": f"Bearer {key}"}
    if provider == "anthropic":
        headers = {"x-api-key": key, "anthropic-version": ANTHROPIC_VERSION}
    return Api(provider, address or _ADDRESSES[provider], headers, pause_s)


class CostReport(msgspec.Struct, frozen=True):
    """A cost API's answer: the rows and the form they came in."""

    rows: list[Found]
    format: Format


def openai_costs(api: Api, since: date, until: date) -> CostReport:
    """OpenAI's costs by day, line item and project, with what was used of each model.

    https://platform.openai.com/docs/api-reference/usage: /v1/organization/costs and …/usage/completions.
    """
    span = {"start_time": _seconds(since), "end_time": _seconds(until), "bucket_width": "1d", "limit": _BUCKETS}
    pages = list(api.pages("/v1/organization/costs", {**span, "group_by": ["line_item", "project_id"]}))
    rows = list(rows_of_openai(pages, "OpenAI costs"))
    if any(not isinstance(row, BadLine) and row.meter and not row.quantity for row in rows):
        usage = list(api.pages("/v1/organization/usage/completions", {**span, "group_by": ["model"]}))
        rows = list(with_quantities(rows, openai_quantities(usage)))
    return CostReport(rows, Format.OPENAI)


def anthropic_costs(api: Api, since: date, until: date) -> CostReport:
    """Anthropic's cost report by day, workspace and description, with the tokens of its usage report.

    https://docs.anthropic.com/en/api/admin-api/usage-cost/get-cost-report: amounts in cents, as decimal text.
    """
    span = {"starting_at": f"{since}T00:00:00Z", "ending_at": f"{until}T00:00:00Z", "bucket_width": "1d"}
    limit = {"limit": _BUCKETS}
    groups = {"group_by[]": ["workspace_id", "description"]}
    pages = list(api.pages("/v1/organizations/cost_report", {**span, **limit, **groups}))
    usage = list(api.pages("/v1/organizations/usage_report/messages", {**span, **limit, "group_by[]": ["model"]}))
    rows = with_quantities(list(rows_of_anthropic(pages, "Anthropic cost report")), anthropic_quantities(usage))
    return CostReport(list(rows), Format.ANTHROPIC)


COST_APIS: Final[dict[str, Callable[[Api, date, date], CostReport]]] = {
    "openai": openai_costs,
    "anthropic": anthropic_costs,
}


def replicate_predictions(api: Api, since: date, until: date) -> Iterator[dict[str, Any]]:
    """Predictions made from `since` to before `until`, newest first, without what went in and came out.

    https://replicate.com/docs/reference/http#predictions.list
    """
    page = api.get("/v1/predictions", {"created_after": f"{since}T00:00:00Z", "created_before": f"{until}T00:00:00Z"})
    while True:
        for prediction in page.get("results", ()):
            day = str(prediction.get("created_at", ""))[:10]
            if since.isoformat() <= day < until.isoformat():
                yield {name: value for name, value in prediction.items() if name not in ("input", "output", "logs")}
            elif day and day < since.isoformat():
                return
        following = page.get("next")
        if not following:
            return
        page = api.get(str(following))


def book_predictions(book: Ledger, predictions: Iterator[dict[str, Any]]) -> Iterator[Recorded]:
    """Book finished predictions as calls, once each: one that was recorded when it was made is `seen`."""

    def events() -> Iterator[dict[str, Any]]:
        for prediction in predictions:
            if prediction.get("status") not in ("starting", "processing"):
                numbers = _with_decimals(prediction)
                at = prediction.get("completed_at") or prediction["created_at"]
                id = f"replicate:{prediction['id']}"
                yield from book.calls_told(numbers, {"provider": "replicate", "id": id, "time": at})

    return book.record_stream(events())


def _with_decimals(prediction: dict[str, Any]) -> dict[str, Any]:
    """A prediction whose measures are Decimals again: fractions arrived as the text they were."""
    metrics = prediction.get("metrics")
    if not isinstance(metrics, dict):
        return prediction
    numbers = {name: Decimal(value) if isinstance(value, str) else value for name, value in metrics.items()}
    return {**prediction, "metrics": numbers}


def read_balance(api: Api, currency: str) -> tuple[str, str]:
    """What is left of a prepaid balance, as decimal text of a currency, and which path said so.

    Raises InvalidInput `no_balance_api` for a provider whose API tells none, LedgerError `source_refused`.
    """
    reader = _BALANCES.get(api.name)
    if reader is None:
        known = ", ".join(sorted(_BALANCES))
        raise InvalidInput(
            f"{api.name} has no API for its balance (these have: {known}); enter it with --set", code="no_balance_api"
        )
    path, read = reader
    try:
        return read(api.get(path), currency), path
    except (KeyError, TypeError, IndexError, ArithmeticError, StopIteration) as error:
        raise LedgerError(
            f"{api.name} tells its balance in a form that is not known", code="source_refused"
        ) from error


def _openrouter(body: Any, currency: str) -> str:
    told = body["data"]
    return f"{EXACT.subtract(Decimal(str(told['total_credits'])), Decimal(str(told['total_usage']))):f}"


def _deepseek(body: Any, currency: str) -> str:
    return str(next(each["total_balance"] for each in body["balance_infos"] if each["currency"] == currency))


def _stability(body: Any, currency: str) -> str:
    # 100 credits are one dollar: platform.stability.ai/pricing.
    return f"{Decimal(str(body['credits'])).scaleb(-2, EXACT):f}"


_BALANCES: Final[dict[str, tuple[str, Callable[[Any, str], str]]]] = {
    "openrouter": ("/api/v1/credits", _openrouter),
    "deepseek": ("/user/balance", _deepseek),
    "stability": ("/v1/user/balance", _stability),
}


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
