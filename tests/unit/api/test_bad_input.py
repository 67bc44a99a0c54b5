"""Whatever is passed to the ledger, a refusal has a name, and nothing is broken by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import outlay

OPEN: Any = outlay.open  # asked for what its types forbid
RATE: dict[str, Any] = {"provider": "acme", "service": "img", "meter": "images", "price": "0.01"}


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda ledger: ledger.costs(where="user"), "bad_filter"),
        (lambda ledger: ledger.costs(where={None: "u42"}), "unknown_dimension"),
        (lambda ledger: ledger.costs(where={"user": True}), "bad_text"),
        (lambda ledger: ledger.costs(by=None), "unknown_dimension"),
        (lambda ledger: ledger.costs(by=5), "unknown_dimension"),
        (lambda ledger: ledger.costs(since=timedelta(days=10**8)), "bad_time"),
        (lambda ledger: ledger.costs(since=10**30), "bad_time"),
        (lambda ledger: ledger.costs(until="0001-01-01", zone="Asia/Tokyo"), "bad_time"),
        (lambda ledger: ledger.costs(zone=5), "unknown_zone"),
        (lambda ledger: ledger.top(limit="all"), "bad_count"),
        (lambda ledger: ledger.top(limit=-1), "bad_count"),
        (lambda ledger: ledger.event(None), "missing_field"),
        (lambda ledger: ledger.event("\ud800"), "bad_text"),
        (lambda ledger: ledger.event("call-1", day=5), "bad_time"),
        (lambda ledger: ledger.job(None), "missing_field"),
        (lambda ledger: ledger.request("\0"), "nul_byte"),
        (lambda ledger: ledger.finish("video-7", units=10**30), "bad_count"),
        (lambda ledger: ledger.finish("a\0b"), "nul_byte"),
        (lambda ledger: ledger.retain(days="all"), "bad_days"),
        (lambda ledger: ledger.retain(days=1.5), "bad_days"),
        (lambda ledger: ledger.correct("call-1", reason=""), "missing_field"),
        (lambda ledger: ledger.cancel("call-1", reason=None), "missing_field"),
        (lambda ledger: ledger.record_response({"choices": []}, conditions="batch"), "bad_text"),
        (lambda ledger: OPEN(None), "unknown_address"),
        (lambda ledger: OPEN(5), "unknown_address"),
        (lambda ledger: OPEN(""), "unknown_address"),
        (lambda ledger: OPEN("memory:", currency="dollars"), "bad_currency"),
        (lambda ledger: OPEN("memory:", zone=5), "unknown_zone"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(
    memory: outlay.Ledger, ask: Callable[[Any], object], code: str
) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        ask(memory)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"currency": 5}, "bad_currency"),
        ({"currency": "dollars"}, "bad_currency"),
        ({"provider": b"acme"}, "bad_text"),
        ({"service": ""}, "missing_field"),
        ({"conditions": "batch"}, "bad_text"),
        ({"minimum": 0.5}, "float_money"),
        ({"increment": "0"}, "not_a_number"),
        ({"unit": "image"}, "unknown_field"),
    ],
)
def test_a_price_that_cannot_be_right_leaves_the_book_as_it_was(
    clock: outlay.FrozenClock, tmp_path: Path, wrong: dict[str, Any], code: str
) -> None:
    with outlay.open(tmp_path / "outlay.db", clock=clock) as ledger, pytest.raises(outlay.InvalidInput) as refused:
        ledger.add_rate(**{**RATE, **wrong})
    assert refused.value.code == code
    with outlay.open(tmp_path / "outlay.db", clock=clock) as ledger:
        ledger.add_rate(**RATE)
        assert str(ledger.record(provider="acme", service="img", usage={"images": 3}).total) == "$0.03"


def test_a_price_file_that_is_no_text_is_refused_by_name(memory: outlay.Ledger, tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(outlay.PriceBookError) as refused:
        memory.add_prices(tmp_path / "prices.toml")
    assert refused.value.code == "bad_price_file"


def test_a_number_given_as_a_name_is_found_by_it_again(ledger: outlay.Ledger) -> None:
    ledger.record(provider="openai", service="gpt-4o", usage={"output_tokens": 100_000}, user=42, job=7, id=5)  # type: ignore[arg-type]  # programs do
    assert str(ledger.costs(where={"user": 42}).total) == "$1.00"  # type: ignore[dict-item]  # and ask so too
    assert ledger.job(7).events == 1  # type: ignore[arg-type]  # as above
    assert ledger.event(5).id == "5"  # type: ignore[arg-type]  # as above
