"""The pytest plugin, on its own and loaded into somebody's test run."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import MagicMock

import pytest

import outlay
from outlay.errors import InvalidInput

if TYPE_CHECKING:
    from outlay.testing import CostAssertion


# gpt-4o: 1,000 × $2.50 and 100 × $10 a million.
USAGE = {"input_tokens": 1_000, "output_tokens": 100}


def summarise() -> None:
    """The code under test: it uses the process's own ledger."""
    outlay.current_ledger().record(provider="openai", service="gpt-4o", usage=USAGE, feature="summary")


def test_what_code_cost_is_asserted(outlay_ledger: outlay.Ledger, assert_cost: CostAssertion) -> None:
    assert assert_cost("0", calls=0) == 0
    summarise()
    assert assert_cost("0.0035", calls=1) == Decimal("0.0035")
    assert_cost(at_most="0.01", at_least=0, where={"feature": "summary"})
    assert_cost("0.00", calls=0, where={"feature": "other"})


def test_a_failed_assertion_shows_the_arithmetic(outlay_ledger: outlay.Ledger, assert_cost: CostAssertion) -> None:
    summarise()
    with pytest.raises(AssertionError) as failed:
        assert_cost(at_most="0.003", calls=2)
    text = str(failed.value)
    assert "this code cost 0.0035, not at most 0.003; it made 1 calls, not 2" in text
    assert "1,000" in text


def test_a_call_without_a_price_or_that_was_not_booked_fails_unless_it_is_allowed(
    outlay_ledger: outlay.Ledger, assert_cost: CostAssertion
) -> None:
    outlay_ledger.record(provider="openai", service="gpt-unheard-of", usage=USAGE)
    with pytest.raises(AssertionError, match="1 calls without a whole price"):
        assert_cost()
    assert_cost(unpriced=1)
    outlay_ledger.capture_failures["reading an answer: boom"] += 1
    with pytest.raises(AssertionError, match="could not be booked"):
        assert_cost(unpriced=1)


def test_a_mocked_answer_is_counted_and_not_booked(outlay_ledger: outlay.Ledger, assert_cost: CostAssertion) -> None:
    client = MagicMock()
    outlay_ledger.record_response(client.chat.completions.create(), provider="openai")
    assert_cost("0", calls=0, mocked=1)
    with pytest.raises(AssertionError, match="1 mocked calls, not 0"):
        assert_cost(mocked=0)


def test_a_float_is_refused(assert_cost: CostAssertion) -> None:
    with pytest.raises(InvalidInput, match="not exact"):
        assert_cost(0.0035)  # type: ignore[arg-type]  # what is refused


PROGRAM = """
import outlay

def test_cheap(outlay_ledger, assert_cost):
    assert outlay.current_ledger() is outlay_ledger
    outlay_ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1000})
    assert_cost("0.0025", calls=1)

def test_each_test_begins_with_nothing(assert_cost):
    assert_cost("0", calls=0)
"""


def test_the_plugin_serves_anybody_s_tests(tmp_path: Path) -> None:
    (tmp_path / "test_cheap.py").write_text(PROGRAM)
    # Installed with Outlay, it is found by its entry point.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cheap.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 passed" in ended.stdout, ended.stdout + ended.stderr
