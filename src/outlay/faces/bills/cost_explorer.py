"""AWS Cost Explorer: days by service and usage type. Each request costs $0.01, so an answer is kept for the day.

https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_GetCostAndUsage.html: the end is exclusive, at
most two groups, `Total` is empty where results are grouped, answers come in pages.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from outlay.errors import InvalidInput, LedgerError, MissingExtra

if TYPE_CHECKING:
    from outlay.api import Ledger

REQUEST_COST: Final = "0.01"
"""What AWS charges for a request or a further page (aws.amazon.com/aws-cost-management/aws-cost-explorer/pricing)."""

METRICS: Final = ("UnblendedCost", "UsageQuantity")
GROUPS_MAX: Final = 2
DIMENSIONS: Final = ("SERVICE", "USAGE_TYPE", "RECORD_TYPE", "LINKED_ACCOUNT", "REGION", "OPERATION")
_REGION: Final = "us-east-1"
Page = dict[str, Any]


def group_definitions(by: Sequence[str]) -> list[dict[str, str]]:
    """Names such as SERVICE or tag:Project as Cost Explorer takes them. Raises InvalidInput `bad_choice`."""
    if len(by) > GROUPS_MAX:
        raise InvalidInput(f"Cost Explorer groups by at most two, not by {', '.join(by)}", code="bad_choice")
    groups = []
    for name in by:
        kind, _, key = name.partition(":")
        if key and kind.lower() == "tag":
            groups.append({"Type": "TAG", "Key": key})
        elif name.upper() in DIMENSIONS:
            groups.append({"Type": "DIMENSION", "Key": name.upper()})
        else:
            raise InvalidInput(f"group by {', '.join(DIMENSIONS)} or tag:NAME, not {name[:40]!r}", code="bad_choice")
    return groups


def cost_and_usage(
    since: date, until: date, *, by: Sequence[str], cache: Path, today: date, paid: Callable[[], None]
) -> list[Page]:
    """All pages of the days from `since` to before `until`; from the cache where they were asked for today.

    `paid` is called for each request that AWS charges. Raises LedgerError `source_unreachable`, MissingExtra.
    """
    query = {
        "TimePeriod": {"Start": since.isoformat(), "End": until.isoformat()},
        "Granularity": "DAILY",
        "Metrics": list(METRICS),
        "GroupBy": group_definitions(by),
    }
    client = _client()
    account = str(getattr(client.meta, "endpoint_url", ""))
    told = json.dumps([query, today.isoformat(), account, _identity(client)], sort_keys=True)
    kept = cache / f"{blake2b(told.encode(), digest_size=16).hexdigest()}.json"
    if kept.is_file():
        pages: list[Page] = json.loads(kept.read_bytes())
        return pages
    pages = _ask(client, query, paid)
    _keep(kept, pages)
    return pages


def book_request(book: Ledger) -> None:
    """Book what a request to Cost Explorer costs."""
    book.record(
        provider="aws",
        service="cost-explorer",
        operation="GetCostAndUsage",
        usage={"requests": 1},
        reported_cost=REQUEST_COST,
    )


def _client() -> Any:
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError as error:
        raise MissingExtra("Cost Explorer needs the extra: pip install 'outlay[aws]'") from error
    return boto3.client("ce", region_name=_REGION)


def _identity(client: Any) -> str:
    """What tells one account's answers from another's: the key that signs, never a secret."""
    signer = getattr(client, "_request_signer", None)
    credentials = getattr(signer, "_credentials", None)
    return str(getattr(credentials, "access_key", "") or "")


def _ask(client: Any, query: dict[str, Any], paid: Callable[[], None]) -> list[Page]:
    core = importlib.import_module("botocore.exceptions")
    pages: list[Page] = []
    token: dict[str, str] = {}
    while True:
        try:
            page = client.get_cost_and_usage(**query, **token)
        except (core.ClientError, core.BotoCoreError) as error:
            raise LedgerError(f"AWS Cost Explorer does not answer: {error}", code="source_unreachable") from error
        paid()
        page.pop("ResponseMetadata", None)
        pages.append(page)
        if not page.get("NextPageToken"):
            return pages
        token = {"NextPageToken": page["NextPageToken"]}


def _keep(path: Path, pages: list[Page]) -> None:
    """Keep an answer until tomorrow, when it has another name; answers of earlier days go."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(pages))
    part.replace(path)
    newest = path.stat().st_mtime
    for old in path.parent.glob("*.json"):
        if newest - old.stat().st_mtime > _KEPT_S:
            old.unlink(missing_ok=True)


_KEPT_S: Final = 2 * 86_400
