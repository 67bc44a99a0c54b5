"""What peers take, run in the peers' own environment: genai-prices, tokencost, the OpenTelemetry SDK."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worker import Figures, Measurement, per_call_us, serve


def genai_prices() -> Measurement:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=1200, cache_read_tokens=800, output_tokens=350)

    def call() -> object:
        return calc_price(usage, "gpt-4o", provider_id="openai")

    return lambda: per_call_us(call, 500)


def genai_prices_with_usage() -> Measurement:
    from genai_prices import Usage, calc_price

    def call() -> object:
        usage = Usage(input_tokens=1200, cache_read_tokens=800, output_tokens=350)
        return calc_price(usage, "gpt-4o", provider_id="openai")

    return lambda: per_call_us(call, 500)


def tokencost_three() -> Measurement:
    from tokencost import calculate_cost_by_tokens

    def call() -> object:
        return (
            calculate_cost_by_tokens(400, "gpt-4o", "input"),
            calculate_cost_by_tokens(800, "gpt-4o", "cached"),
            calculate_cost_by_tokens(350, "gpt-4o", "output"),
        )

    return lambda: per_call_us(call, 5_000)


class _Sink(BaseHTTPRequestHandler):
    """Takes what an exporter sends and answers 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line a request would be measured too."""


def otel_span() -> Measurement:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    provider = TracerProvider()
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{server.server_port}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("bench")

    def call() -> None:
        with tracer.start_as_current_span("chat gpt-4o") as span:
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.provider.name", "openai")
            span.set_attribute("gen_ai.request.model", "gpt-4o")
            span.set_attribute("gen_ai.usage.input_tokens", 1200)
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", 800)
            span.set_attribute("gen_ai.usage.output_tokens", 350)
            span.set_attribute("user.id", "u42")
            span.set_attribute("customer", "acme")
            span.set_attribute("feature", "summary")
            span.set_attribute("job", "video-7")

    def measure() -> Figures:
        figures = per_call_us(call, 1_000)
        provider.force_flush()
        return figures

    return measure


if __name__ == "__main__":
    serve(
        {
            "genai_prices": genai_prices,
            "genai_prices_with_usage": genai_prices_with_usage,
            "tokencost_three": tokencost_three,
            "otel_span": otel_span,
        }
    )
