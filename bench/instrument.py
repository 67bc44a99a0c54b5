"""The time that watching adds to one chat call, beside langfuse's, openllmetry's and openlit's wrappers.

One local server answers all of them and takes what they export. Each wrapper has a process of its own, and so has
the SDK without any, in Outlay's environment and in the peers' (.bench/wrappers: they ask for an older openai). The
processes take turns round by round, so a machine whose speed drifts slows all alike. Writes docs/instrument.md
between its marks.

    python bench/instrument.py [--rounds 60]
"""

from __future__ import annotations

import argparse
import compileall
import itertools
import json
import os
import socketserver
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".bench" / "wrappers"
PEER_PACKAGES = (
    "openai",
    "langfuse",
    "opentelemetry-instrumentation-openai",
    "openlit",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
)
PAGE = ROOT / "docs" / "instrument.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
CALLS = 25
WARMING = 100
MESSAGES = [{"role": "user", "content": "Tell me in one sentence what a ledger is."}]
ANSWER = {
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "A ledger is a book of accounts. " * 8, "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1200,
        "completion_tokens": 350,
        "total_tokens": 1550,
        "prompt_tokens_details": {"cached_tokens": 800, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
Asked = Callable[[], object]


class _Handler(BaseHTTPRequestHandler):
    """Answers chats, and takes whatever is exported."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    numbers = itertools.count()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        chat = self.path.endswith("/chat/completions")
        body = json.dumps({"id": f"chatcmpl-{next(self.numbers)}", **ANSWER}).encode() if chat else b"{}"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a line a request would be measured too."""


def serve() -> None:
    """The server, in a process of its own."""
    socketserver.TCPServer.request_queue_size = 64
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def _client(url: str) -> Any:
    import openai

    return openai.OpenAI(api_key="k", base_url=url + "/v1")


def _asking(client: Any) -> Asked:
    return lambda: client.chat.completions.create(model="gpt-4o", messages=MESSAGES)


def plain(url: str) -> Asked:
    """The SDK alone."""
    return _asking(_client(url))


def outlay_watch(url: str) -> Asked:
    """Outlay, into a ledger in a file, by the spool."""
    import outlay

    ledger = outlay.open(Path(tempfile.mkdtemp()) / "outlay.db")
    return _asking(ledger.watch(_client(url)))


def langfuse(url: str) -> Asked:
    """Langfuse's own OpenAI class."""
    os.environ.update(LANGFUSE_PUBLIC_KEY="pk", LANGFUSE_SECRET_KEY="sk", LANGFUSE_HOST=url, LANGFUSE_BASE_URL=url)
    from langfuse.openai import OpenAI

    return _asking(OpenAI(api_key="k", base_url=url + "/v1"))


def openllmetry(url: str) -> Asked:
    """OpenLLMetry's instrumentation, spans exported in batches."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url + "/v1/traces")))
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return _asking(_client(url))


def openlit(url: str) -> Asked:
    """OpenLIT, exporting in batches."""
    import openlit as library

    library.init(otlp_endpoint=url, disable_metrics=False)
    return _asking(_client(url))


WAYS: dict[str, Callable[[str], Asked]] = {
    "plain": plain,
    "outlay": outlay_watch,
    "langfuse": langfuse,
    "openllmetry": openllmetry,
    "openlit": openlit,
}


def work(name: str, url: str) -> None:
    """One wrapper's process: a line in is a round, a line out its wall and CPU µs a call.

    Of the calls of a round the edge of the fastest tenth counts: what else runs here slows calls, it speeds none.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What a peer prints is none of the figures.
    ask = WAYS[name](url)
    for _ in range(WARMING):
        ask()
    for _ in sys.stdin:
        walls, cpus = [], []
        for _ in range(CALLS):
            wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
            ask()
            walls.append((time.perf_counter_ns() - wall) / 1000)
            cpus.append((time.thread_time_ns() - cpu) / 1000)
        out.write(json.dumps([sorted(walls)[CALLS // 10], sorted(cpus)[CALLS // 10]]) + "\n")
        out.flush()


def install() -> Path:
    """The peers' environment, made once."""
    python = PEERS / "bin" / "python"
    if not (PEERS / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
        compileall.compile_dir(PEERS / "lib", quiet=2)
        (PEERS / ".installed").touch()
    return python


class Worker:
    """A process that measures one way."""

    def __init__(self, python: Path | str, name: str, url: str) -> None:
        command = [str(python), str(Path(__file__)), "--work", name, "--url", url]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def round(self) -> tuple[float, float]:
        """Wall and CPU microseconds a call."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, cpu = json.loads(self._process.stdout.readline())
        return wall, cpu

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()  # A peer that still exports.


def measure(rounds: int) -> str:
    """The table."""
    peers = install()
    server = subprocess.Popen([sys.executable, str(Path(__file__)), "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    ways: list[tuple[str, Path | str, str]] = [
        ("own", sys.executable, "plain"),
        ("outlay", sys.executable, "outlay"),
        ("peers", peers, "plain"),
    ]
    ways += [(name, peers, name) for name in ("langfuse", "openllmetry", "openlit")]
    workers = {key: Worker(python, name, url) for key, python, name in ways}
    found: dict[str, list[tuple[float, float]]] = {}
    try:
        for _ in range(rounds):
            for key, worker in workers.items():
                found.setdefault(key, []).append(worker.round())
    finally:
        for worker in workers.values():
            worker.close()
        server.kill()
    return table(found)


def table(found: dict[str, list[tuple[float, float]]]) -> str:
    """What each adds to the SDK alone. What else runs slows calls and speeds none: the quickest tenth counts."""

    def taken(key: str, at: int) -> float:
        several = sorted(one[at] for one in found[key])
        return several[len(several) // 10]

    def added(key: str, base: str, at: int) -> float:
        return taken(key, at) - taken(base, at)

    own = [added("outlay", "own", at) for at in (0, 1)]
    rows = ["| wrapper | added wall µs | added CPU µs | times Outlay's CPU |", "|---|---|---|---|"]
    rows.append(f"| Outlay `ledger.watch`, kept in the spool | {own[0]:.0f} | {own[1]:.0f} | 1 |")
    for name in ("langfuse", "openllmetry", "openlit"):
        wall, cpu = added(name, "peers", 0), added(name, "peers", 1)
        rows.append(f"| {name} {version(name)} | {wall:.0f} | {cpu:.0f} | {cpu / own[1]:.1f} |")
    alone = [taken(key, 0) for key in ("own", "peers")]
    rows.append("")
    rows.append(
        f"{len(found['own'])} rounds of {CALLS} calls each, in turns; the quickest tenth of calls and of rounds. "
        f"The call itself takes {alone[0]:.0f} µs with the SDK "
        f"that Outlay was tested with and {alone[1]:.0f} µs with the one that the peers ask for."
    )
    return "\n".join(rows)


def version(name: str) -> str:
    """A peer's version."""
    package = {"openllmetry": "opentelemetry-instrumentation-openai"}.get(name, name)
    probe = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    command = [str(PEERS / "bin" / "python"), "-c", probe]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure and write the page, or be one of the processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--work")
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.work:
        work(options.work, options.url)
    else:
        measured = measure(options.rounds)
        print(measured)
        if PAGE.exists() and BEGIN in PAGE.read_text():
            head, rest = PAGE.read_text().split(BEGIN)
            PAGE.write_text(f"{head}{BEGIN}\n\n{measured}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
