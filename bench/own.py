"""What Outlay takes, beside the peers: one line of standard input asks for one round."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from worker import Figures, Measurement, per_call_us, serve

import outlay

CALL: dict[str, Any] = {
    "provider": "openai",
    "service": "gpt-4o",
    "operation": "chat",
    "usage": {"input_tokens": 1200, "cache_read_tokens": 800, "output_tokens": 350},
}
ATTRIBUTION: dict[str, Any] = {"user": "u42", "customer": "acme", "feature": "summary", "job": "video-7"}


def _ledger(**options: Any) -> outlay.Ledger:
    folder = Path(tempfile.mkdtemp(prefix="outlay-bench-"))
    return outlay.open(folder / "bench.db", **options)


def price() -> Measurement:
    ledger = outlay.open("memory:")
    usage = CALL["usage"]

    def call() -> outlay.Money:
        return ledger.price(provider="openai", service="gpt-4o", usage=usage).total

    assert str(call()) == "$0.0055"
    return lambda: per_call_us(call, 5_000)


def rate() -> Measurement:
    from outlay.pricing.rate import rate as rate_event

    ledger = outlay.open("memory:")
    event, book = ledger.price(**CALL).event, ledger.book
    return lambda: per_call_us(lambda: rate_event(event, book), 10_000)


def _record(calls: int, **options: Any) -> Measurement:
    ledger = _ledger(**options)
    return lambda: per_call_us(lambda: ledger.record(**CALL, **ATTRIBUTION), calls)


def record_normal() -> Measurement:
    return _record(1_000)


def record_full() -> Measurement:
    return _record(300, synchronous="full")


def record_spool() -> Measurement:
    ledger = _ledger()

    def measure() -> Figures:
        figures = per_call_us(lambda: ledger.record(wait=False, **CALL, **ATTRIBUTION), 2_000)
        ledger.flush()
        return figures

    return measure


if __name__ == "__main__":
    serve(
        {
            "price": price,
            "rate": rate,
            "record_normal": record_normal,
            "record_full": record_full,
            "record_spool": record_spool,
        }
    )
