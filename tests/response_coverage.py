"""What is read of each provider's answers: the tables of docs/responses.md, made from the files and the recordings.

Run it to write them anew: python -m tests.response_coverage
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cassettes import Exchange, exchanges

from outlay.capture.extract import Extraction, extract
from outlay.capture.profiles import Flavour, flavours, heads
from outlay.clock import to_instant
from outlay.model import PricingStatus, Rating, UsageEvent
from outlay.pricing import catalogue
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "responses.md"
RATED_AT = to_instant("2026-10-01T12:00:00Z")
"""Every recording is rated as if it were made now: prices of the catalogue, not of the day of the recording."""


class Outcome(NamedTuple):
    """What became of one exchange: what was read and, where there was usage, what it costs."""

    exchange: Exchange
    extraction: Extraction
    rating: Rating | None


def shipped_book() -> PriceBook:
    """The catalogue in the package."""
    identity, body = catalogue.shipped()
    return PriceBook.of(body, identity)


def read(exchange: Exchange) -> Extraction:
    """One exchange as `record_response` would read it."""
    body = exchange.body
    if exchange.headers and isinstance(body, bytes) and "amazonaws" in exchange.host:
        names = {"HTTPHeaders": dict(exchange.headers), "HTTPStatusCode": exchange.status}
        body = {"ResponseMetadata": names, "body": body}
    return extract(body, url=exchange.url, request=exchange.request, status_code=exchange.status)


def outcomes(recorded: Iterable[Exchange], book: PriceBook) -> Iterator[Outcome]:
    """Every exchange, read and rated."""
    for exchange in recorded:
        extraction = read(exchange)
        rating = rate(event_of(extraction), book) if extraction.found == "usage" else None
        yield Outcome(exchange, extraction, rating)


def event_of(extraction: Extraction) -> UsageEvent:
    return UsageEvent(
        id="recorded",
        provider=extraction.provider,
        service=extraction.service,
        operation=extraction.operation,
        usage=extraction.usage,
        conditions=extraction.conditions,
        status=extraction.status,
        occurred_from=RATED_AT,
        occurred_to=RATED_AT,
    )


def column(outcome: Outcome) -> str:
    """The column of the table an exchange counts in."""
    if outcome.rating is not None:
        return outcome.rating.status.value
    if outcome.extraction.found == "none":
        return "refused" if outcome.extraction.status != "ok" else "no usage"
    return {"missing": "not told", "pending": "not finished"}.get(outcome.extraction.found, "unknown")


COLUMNS = ("priced", "incomplete", "unpriced", "not told", "not finished", "no usage", "refused", "unknown")


def recordings_table(found: list[Outcome]) -> str:
    """One row a provider: its exchanges, and what became of them."""
    counts: dict[str, Counter[str]] = {}
    for outcome in found:
        name = outcome.extraction.provider if known(outcome) else "(no provider)"
        counts.setdefault(name, Counter())[column(outcome)] += 1
    lines = [f"| provider | exchanges | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for name, row in sorted(counts.items()):
        cells = " | ".join(str(row[key] or "") for key in COLUMNS)
        lines.append(f"| {name} | {sum(row.values())} | {cells} |")
    total: Counter[str] = sum(counts.values(), Counter())
    lines.append(f"| all | {total.total()} | {' | '.join(str(total[key] or '') for key in COLUMNS)} |")
    return "\n".join(lines)


def known(outcome: Outcome) -> bool:
    return outcome.extraction.found != "none" or outcome.extraction.provider in heads()


def reasons_table(found: list[Outcome]) -> str:
    """Why what was read has no price, or not for every meter."""
    reasons = Counter(
        (outcome.extraction.provider, outcome.extraction.service, unrated.meter, reason(unrated.reason))
        for outcome in found
        if outcome.rating is not None and outcome.rating.status is not PricingStatus.PRICED
        for unrated in outcome.rating.unrated
    )
    lines = ["| provider | service | meter | exchanges | why |", "|---|---|---|---|---|"]
    lines += [
        f"| {provider} | {service} | {meter} | {count} | {why} |"
        for (provider, service, meter, why), count in sorted(reasons.items())
    ]
    return "\n".join(lines)


def reason(text: str) -> str:
    """The reason without its advice."""
    return text.partition(";")[0].replace("|", "/")


def shapes_table() -> str:
    """One row a provider: the shapes of answer its file describes, and the operations they stand for."""
    lines = ["| provider | shapes | operations |", "|---|---|---|"]
    for head in sorted(heads().values(), key=lambda head: head.id):
        told = flavours(head.file)
        operations = dict.fromkeys(flavour.operation for flavour in told if flavour.operation)
        lines.append(f"| {head.title} (`{head.id}`) | {shapes(told)} | {', '.join(operations)} |")
    return "\n".join(lines)


def shapes(told: tuple[Flavour, ...]) -> str:
    return ", ".join(dict.fromkeys(flavour.name for flavour in told if not flavour.uses_nothing))


def data_folder() -> Path:
    return Path(os.environ.get("OUTLAY_TEST_DATA", ROOT.parent / "shared" / "data"))


def put(page: str, name: str, table: str) -> str:
    """The page with the table between its two marks."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, _, rest = page.partition(start)
    _, _, tail = rest.partition(end)
    return f"{head}{start}{table}\n{end}{tail}"


def main() -> None:
    found = list(outcomes(exchanges(data_folder()), shipped_book()))
    page = PAGE.read_text()
    for name, table in (
        ("shapes", shapes_table()),
        ("recordings", recordings_table(found)),
        ("reasons", reasons_table(found)),
    ):
        page = put(page, name, table)
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
