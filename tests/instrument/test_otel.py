"""OpenTelemetry in and out, with its own SDK."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import Status, StatusCode, Tracer

import outlay
from outlay.instrument.otel import OutlaySpanExporter, OutlaySpanProcessor, export_costs

CHAT: dict[str, Any] = {
    "gen_ai.provider.name": "openai",
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.output_tokens": 100,
}
# 1,000 × $2.50 and 100 × $10 a million.
COST = Decimal("0.0035")


@pytest.fixture
def ledger(tmp_path: Any) -> Iterator[outlay.Ledger]:
    with outlay.open(tmp_path / "outlay.db") as opened:
        yield opened


@pytest.fixture
def provider() -> Iterator[TracerProvider]:
    made = TracerProvider(resource=Resource({"deployment.environment.name": "prod"}))
    yield made
    made.shutdown()


def chat(tracer: Tracer, **attributes: Any) -> None:
    with tracer.start_as_current_span("chat gpt-4o", attributes={**CHAT, **attributes}):
        pass


def test_a_genai_span_becomes_an_event_and_others_do_not(ledger: outlay.Ledger, provider: TracerProvider) -> None:
    provider.add_span_processor(OutlaySpanProcessor(ledger))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("GET /"), ledger.attribute(customer="acme"):
        chat(tracer)
    assert provider.force_flush()
    (row,) = ledger.costs(by=("environment", "customer")).rows
    assert (row.keys, row.cost.amount, row.events) == (("prod", "acme"), COST, 1)


def test_a_batch_that_is_exported_twice_is_booked_once(ledger: outlay.Ledger, provider: TracerProvider) -> None:
    exporter = OutlaySpanExporter(ledger)
    batches: list[Any] = []
    export = exporter.export

    def exported(spans: Any) -> SpanExportResult:
        batches.append(spans)
        return export(spans)

    exporter.export = exported  # type: ignore[method-assign]  # to see what the SDK hands over
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    for number in range(3):
        chat(tracer, **{"gen_ai.response.id": f"chatcmpl-{number}"})
    provider.force_flush()
    assert export(batches[0]) is SpanExportResult.SUCCESS
    assert (ledger.costs().events, ledger.costs().total.amount) == (3, 3 * COST)


def test_a_call_that_was_recorded_with_its_answer_is_not_booked_again(
    ledger: outlay.Ledger, provider: TracerProvider
) -> None:
    provider.add_span_processor(OutlaySpanProcessor(ledger))
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o", "choices": [], "usage": usage}
    ledger.record_response(body, provider="openai")
    chat(provider.get_tracer("test"), **{"user.id": "u42"})
    provider.force_flush()
    assert (ledger.costs().events, ledger.costs().total.amount) == (1, COST)
    assert ledger.costs("user").rows[0].keys == ("u42",)


def test_a_failed_span_is_a_failed_call(ledger: outlay.Ledger, provider: TracerProvider) -> None:
    provider.add_span_processor(OutlaySpanProcessor(ledger))
    with provider.get_tracer("test").start_as_current_span("chat", attributes=CHAT) as span:
        span.set_status(Status(StatusCode.ERROR))
    provider.force_flush()
    assert ledger.costs().rows[0].failed == 1


def test_a_ledger_that_cannot_take_a_span_does_not_fail_the_program(
    ledger: outlay.Ledger, provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.add_span_processor(OutlaySpanProcessor(ledger))
    ledger.spool = None
    ledger.store.close()
    with caplog.at_level(logging.WARNING, "outlay.otel"):
        chat(provider.get_tracer("test"))
    assert "ledger_closed" in caplog.text


def test_costs_are_on_the_current_span_and_in_metrics(memory: outlay.Ledger, provider: TracerProvider) -> None:
    reader = InMemoryMetricReader()
    stop = export_costs(meter_provider=MeterProvider([reader]))
    try:
        with provider.get_tracer("test").start_as_current_span("request") as span:
            for number in (1, 2):
                memory.record(
                    provider="openai",
                    service="gpt-4o",
                    operation="chat",
                    usage={"input_tokens": 1_000, "output_tokens": 100},
                    id=f"call-{number}",
                )
            memory.record(
                provider="openai",
                service="gpt-4o",
                operation="chat",
                usage={"input_tokens": 1_000, "output_tokens": 100},
                id="call-2",
            )
    finally:
        stop()
    memory.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1})
    attributes = span.attributes or {}  # type: ignore[attr-defined]  # the SDK's span has them
    assert attributes["outlay.cost.exact"] == "0.007"
    assert attributes["outlay.cost"] == 0.007
    assert attributes["outlay.pricing_status"] == "priced"
    data = reader.get_metrics_data()
    assert data is not None
    found = {
        metric.name: metric
        for one in data.resource_metrics
        for scope in one.scope_metrics
        for metric in scope.metrics
    }
    (cost,) = found["outlay.cost"].data.data_points
    assert (cost.value, found["outlay.cost"].unit) == (0.007, "{USD}")  # type: ignore[union-attr]  # a counter's point
    sums = {
        (point.attributes or {})["gen_ai.token.type"]: (point.sum, point.count)  # type: ignore[union-attr]  # a histogram's
        for point in found["gen_ai.client.token.usage"].data.data_points
    }
    assert sums == {"input": (2_000, 2), "output": (200, 2)}
