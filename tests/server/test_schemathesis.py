"""Schemathesis over the whole OpenAPI document: no 5xx, and no status and no body that the document does not tell."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.conftest import SOAK
from tests.served import Served, served

import outlay

EXAMPLES = 300 if SOAK else 12
SECONDS = 1_800 if SOAK else 15
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 1_000}}
WRONG = schemathesis.GenerationMode.NEGATIVE
PHASES = (Phase.explicit, Phase.generate)  # What failed is told as it was found; shrinking would take minutes.


@pytest.fixture
def busy(clock: outlay.FrozenClock) -> Iterator[Served]:
    """A server over a ledger in which there is something to find."""
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.budget("b", limit="1", window="day", action="refuse", where={"provider": "openai"})
        ledger.record(**CALL, user="0", job="0", request="0", id="0")
        ledger.reserve(**CALL, id="held")
        with served(ledger) as server:
            yield server


def test_nothing_that_is_sent_makes_the_server_fail_or_answer_what_its_document_does_not_tell(busy: Served) -> None:
    chosen = random.randrange(2**32)
    print(f"seed {chosen}")
    schema = schemathesis.openapi.from_url(f"{busy.address}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
    assert len(operations) > 45
    random.Random(chosen).shuffle(operations)
    operations.sort(key=lambda one: one.path.startswith("/v1/keys"))  # The first key shuts the door: those come last.
    ends_s = time.monotonic() + SECONDS
    tried = 0
    failures: list[str] = []
    for operation in operations:
        left_s = ends_s - time.monotonic()

        @seed(chosen)
        @settings(
            max_examples=EXAMPLES if left_s > 0 else 1,
            deadline=None,
            database=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(operation.as_strategy(), operation.as_strategy(generation_mode=WRONG)))
        def attempt(case: Any) -> None:
            nonlocal tried
            tried += 1
            if case.path == "/v1/live":
                case.query = {**(case.query or {}), "seconds": 0}
            case.call_and_validate(checks=CHECKS, timeout=20)

        try:
            attempt()
        except (AssertionError, Failure, FailureGroup) as error:
            failures.append(f"{operation.method.upper()} {operation.path}\n{error}")
    print(f"{tried} requests to {len(operations)} operations")
    assert not failures, "\n\n".join(failures)
    assert tried >= len(operations)
