"""Every recorded request against what its answer says was used: usage never exceeds the bound of the request."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

import pytest
from tests.cassettes import Exchange, exchanges

from outlay.budgets.bounds import bound, itemised, worst_case
from outlay.budgets.terms import Bound
from outlay.capture.extract import Extraction, extract
from outlay.capture.requests import request_of
from outlay.clock import to_instant
from outlay.errors import InvalidInput
from outlay.meters import ancestors
from outlay.model import BoundKind, PricingStatus, Quantity, UsageEvent
from outlay.pricing.book import PriceBook
from outlay.pricing.catalogue import shipped
from outlay.pricing.rate import rate

_SHORTENED: Final = "whoever recorded it shortened the prompt: 18,135 tokens were billed for 45 bytes of it"
EXCEPTIONS: Final = {
    "openllmetry/bedrock/metrics/test_bedrock_prompt_caching_metrics/test_prompt_cache.yaml": _SHORTENED,
    "openllmetry/bedrock/traces/test_anthropic/test_prompt_cache.yaml": _SHORTENED,
    "openllmetry/bedrock/traces/test_anthropic/test_prompt_cache_with_events_with_content.yaml": _SHORTENED,
    "openllmetry/bedrock/traces/test_anthropic/test_prompt_cache_with_events_with_no_content.yaml": _SHORTENED,
}
"""Recordings whose usage exceeds the bound, and why: two calls in each."""


class Case(NamedTuple):
    exchange: Exchange
    used: Extraction
    bound: Bound


@pytest.fixture(scope="module")
def cases(data_folder: Path) -> list[Case]:
    found = []
    for exchange in exchanges(data_folder):
        body = request_of(exchange.request)
        if not body:
            continue
        try:
            used = extract(exchange.body, url=exchange.url, request=exchange.request, status_code=exchange.status)
        except InvalidInput:
            continue
        if used.found == "usage":
            service = used.requested_service if used.service == "unknown" else used.service
            found.append(Case(exchange, used, bound(used.provider, body, service)))
    return found


def over(case: Case, usage: Mapping[str, Quantity]) -> dict[str, tuple[Quantity, Quantity | None]]:
    """The meters of which more was used than the bound says, for them or for what contains them."""
    found = {}
    for meter, used in case.used.usage.items():
        most = next((usage[name] for name in (meter, *ancestors(meter)) if name in usage), None)
        if most is None or used > most:
            found[meter] = (used, most)
    return found


def excused(case: Case) -> bool:
    return case.exchange.file in EXCEPTIONS


def test_no_recorded_call_used_more_than_its_request_was_bounded_by(cases: list[Case]) -> None:
    """Bounded requests by their bound; those with a part that has none, by the window it is taken for."""
    assert len(cases) > 400
    exceeding = [
        (case.exchange.label, meters)
        for case in cases
        if not excused(case) and (meters := over(case, case.bound.window_usage))
    ]
    assert exceeding == []


def test_the_listed_exceptions_are_exceptions(cases: list[Case]) -> None:
    listed = [case for case in cases if excused(case)]
    assert len(listed) == 2 * len(EXCEPTIONS)
    assert all(over(case, case.bound.window_usage) for case in listed)


def test_a_request_is_said_to_have_no_bound_where_its_answer_shows_why(cases: list[Case]) -> None:
    """Sessions, and calls in which the provider searched, ran code or asked a further model."""
    tools = {"web_searches", "code_executions", "storage_searches"}
    without = [
        case for case in cases if case.used.operation == "realtime" or case.used.also or tools & set(case.used.usage)
    ]
    assert len(without) > 20
    assert {case.exchange.label for case in without if case.bound.kind is not BoundKind.UNBOUNDED} == set()


def test_only_a_minority_of_requests_has_no_bound_and_every_api_is_known(cases: list[Case]) -> None:
    assert {case.exchange.label for case in cases if not case.bound.api} == set()
    unbounded = [case for case in cases if case.bound.kind is BoundKind.UNBOUNDED]
    assert len(unbounded) < len(cases) / 8


def test_the_bound_of_the_input_is_near_enough_to_be_of_use(cases: list[Case]) -> None:
    """By bytes, without a tokenizer: on requests of over 1,000 tokens less than six times what was used."""
    sizes = [
        int(case.bound.usage["input_tokens"]) / int(case.used.usage["input_tokens"])
        for case in cases
        if case.bound.kind is BoundKind.UPPER
        and int(case.used.usage.get("input_tokens", 0)) > 1000
        and not excused(case)
    ]
    assert len(sizes) > 20
    assert median(sizes) < 6


def amount(
    used: Extraction, book: PriceBook, usage: Mapping[str, Quantity], conditions: Mapping[str, str]
) -> int | None:
    """What a usage of this call's service costs by a book, None where it has no price."""
    at = to_instant("2026-03-10T12:00:00Z")
    event = UsageEvent(
        id="1",
        provider=used.provider,
        service=used.service,
        operation=used.operation,
        occurred_from=at,
        occurred_to=at,
        usage=dict(usage),
        conditions=dict(conditions),
    )
    rating = rate(event, book)
    return None if rating.status is PricingStatus.UNPRICED else rating.amount


def test_no_recorded_call_cost_more_than_the_worst_case_of_its_request(cases: list[Case]) -> None:
    """By the shipped prices, at the highest rate that the request can reach; the parts sum to it."""
    identity, body = shipped()
    book = PriceBook.of(body, identity)
    priced = 0
    for case in cases:
        quote = partial(amount, case.used, book)
        asking = worst_case(case.bound, quote)
        most = asking.window_amount if asking.unbounded else asking.amount
        if most is None or excused(case):
            continue
        priced += 1
        assert (quote(case.used.usage, case.used.conditions) or 0) <= most, case.exchange.label
        assert sum(part.amount or 0 for part in itemised(case.bound, quote).parts) == most, case.exchange.label
    assert priced > 350
