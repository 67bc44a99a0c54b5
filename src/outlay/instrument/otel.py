"""OpenTelemetry, in and out: GenAI spans become events; costs become span attributes and metrics.

    provider.add_span_processor(OutlaySpanProcessor(ledger))     # in: survives kill -9 from the end of a span on
    stop = export_costs()                                        # out: on the current span, and as metrics

A batch processor keeps spans in memory for seconds; `OutlaySpanProcessor` hands each to the ledger's spool at once.
`OutlaySpanExporter` is for those who batch all the same. Needs the extra `otel`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from outlay.calls import observe
from outlay.capture.spans import call_of_span
from outlay.errors import MissingExtra, OutlayError
from outlay.model import Outcome, Status
from outlay.money import Money
from outlay.receipt import Receipt

try:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import StatusCode
except ImportError as error:
    raise MissingExtra("this needs opentelemetry-sdk: pip install 'outlay[otel]'") from error

if TYPE_CHECKING:
    from outlay.api import Ledger

logger = logging.getLogger("outlay.otel")

COST_ATTRIBUTE: Final = "outlay.cost"
EXACT_COST_ATTRIBUTE: Final = "outlay.cost.exact"
_NANOSECONDS_PER_MICROSECOND: Final = 1_000
# As the GenAI conventions advise for this histogram.
_TOKEN_BOUNDARIES: Final = tuple(4**power for power in range(14))
_NEW: Final = (Outcome.CREATED.value, Outcome.JOURNALED.value, "settled", "settled_late", "settled_after_release")


class OutlaySpanProcessor(SpanProcessor):
    """Keeps the call of each GenAI span when the span ends. Other spans cost it one look."""

    def __init__(self, ledger: Ledger) -> None:
        """Spans are kept in `ledger`, by its spool. A failure of Outlay is logged and never fails the program."""
        self._ledger = ledger

    def on_end(self, span: ReadableSpan) -> None:
        """See SpanProcessor.on_end."""
        call = call_of(span)
        if call is None:
            return
        try:
            self._ledger.record(wait=False, **call)
        except OutlayError as error:
            logger.warning("the call of span %s is not kept (%s): %s", call["id"], error.code, error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Book what the spool holds; False where the ledger cannot be written now (nothing is lost)."""
        try:
            self._ledger.flush()
        except OutlayError as error:
            logger.warning("the spool is not booked yet (%s): its events are kept", error.code)
            return False
        return True


class OutlaySpanExporter(SpanExporter):
    """Keeps the calls of the GenAI spans of a batch, in one transaction."""

    def __init__(self, ledger: Ledger) -> None:
        """Spans are kept in `ledger`."""
        self._ledger = ledger

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter.export. A batch again changes nothing: each event bears its span's id."""
        calls = [call for span in spans if (call := call_of(span)) is not None]
        try:
            outcomes = self._ledger.record_many(calls)
        except OutlayError as error:
            logger.warning("%d calls are not kept (%s): %s", len(calls), error.code, error)
            return SpanExportResult.FAILURE
        for outcome in outcomes:
            if outcome.message:
                logger.warning("the call of span %s is not kept (%s): %s", outcome.id, outcome.code, outcome.message)
        return SpanExportResult.SUCCESS


def call_of(span: ReadableSpan) -> dict[str, Any] | None:
    """The fields of `record` for a finished span; None for one that is no call to a model."""
    attributes, context = span.attributes or {}, span.context
    if context is None or not any(name.startswith(("gen_ai.", "llm.", "embedding.")) for name in attributes):
        return None
    return call_of_span(
        attributes,
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        started_at=(span.start_time or 0) // _NANOSECONDS_PER_MICROSECOND,
        ended_at=(span.end_time or 0) // _NANOSECONDS_PER_MICROSECOND,
        failed=span.status.status_code is StatusCode.ERROR,
        resource=span.resource.attributes,
    )


def export_costs(
    *, meter_provider: metrics.MeterProvider | None = None, spans: bool = True, meters: bool = True
) -> Callable[[], None]:
    """Tell OpenTelemetry of every call that this process records, until the function it gives back is called.

    On the current span: `outlay.cost` (a double, as OpenTelemetry has no other number; several calls add up),
    `outlay.cost.exact` (decimal text), `outlay.currency` and `outlay.pricing_status`. As metrics: the histogram
    `gen_ai.client.token.usage` and the counter `outlay.cost` by provider, model and operation.
    """
    told: list[Callable[[Receipt], None]] = [_Metrics(meter_provider).add] if meters else []
    if spans:
        told.append(_annotate)

    def observer(receipt: Receipt) -> None:
        if receipt.outcome in _NEW:
            for one in told:
                one(receipt)

    return observe(observer)


class _Metrics:
    def __init__(self, provider: metrics.MeterProvider | None) -> None:
        meter = (provider or metrics.get_meter_provider()).get_meter("outlay")
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKEN_BOUNDARIES,
        )
        self._meter = meter
        self._costs: dict[str, Any] = {}

    def add(self, receipt: Receipt) -> None:
        event, total = receipt.event, _total(receipt)
        attributes: dict[str, str] = {
            "gen_ai.operation.name": event.operation or "unknown",
            "gen_ai.provider.name": event.provider,
            "gen_ai.response.model": event.service,
        }
        requested = event.parameters.get("requested_service") or event.service
        attributes["gen_ai.request.model"] = str(requested)
        for kind in ("input", "output"):
            tokens = event.usage.get(f"{kind}_tokens")
            if tokens and event.status is not Status.UNSETTLED:
                self._tokens.record(int(tokens * event.count), {**attributes, "gen_ai.token.type": kind})
        if total is not None:
            self._cost(total.currency).add(float(total.amount), attributes)

    def _cost(self, currency: str) -> Any:
        if currency not in self._costs:
            self._costs[currency] = self._meter.create_counter(
                "outlay.cost", unit=f"{{{currency}}}", description="What calls cost, by the ledger's prices."
            )
        return self._costs[currency]


def _annotate(receipt: Receipt) -> None:
    span = trace.get_current_span()
    total = _total(receipt)
    if total is None or not span.is_recording():
        return
    before = (getattr(span, "attributes", None) or {}).get(EXACT_COST_ATTRIBUTE)
    if before is not None:
        total += Money.of(str(before), total.currency)
    span.set_attributes(
        {
            COST_ATTRIBUTE: float(total.amount),
            EXACT_COST_ATTRIBUTE: f"{total.amount:f}",
            "outlay.currency": total.currency,
            "outlay.pricing_status": receipt.pricing_status.value,
        }
    )


def _total(receipt: Receipt) -> Money | None:
    try:
        return receipt.total
    except OutlayError:
        return None  # Its numbers contradict each other: the ledger keeps it unpriced, with the reason.
