"""The gateway beside LiteLLM's proxy and Portkey's gateway: same run, same fake upstream, each on one core by turns.

    python bench/gateway.py [--seconds 4] [--rounds 3] [--streams 1000] [--only outlay]

Each gateway runs by itself, pinned to one core; the load and the fake upstream run on another one. Outlay reserves
each call in a refusing budget and settles it, both durable against power loss (FULL); LiteLLM's proxy runs without
its database and so keeps no accounts, Portkey only forwards. This script installs both peers under .bench/gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import outlay
from server import load, memory_mb, until

PEERS = Path(__file__).parent.parent / ".bench" / "gateway"
LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = "1.15.2"
PORTS = {"upstream": 8391, "outlay": 8392, "litellm": 8393, "portkey": 8394}
MASTER = "sk-bench-9f8e7d6c5b4a39281706f5e4d3c2b1a0"
CONNECTIONS = 32

UPSTREAM = """
import asyncio, json, sys
import uvloop

USAGE = {"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200}
CHAT = json.dumps({
    "id": "chatcmpl-%012d", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello. " * 40}, "finish_reason": "stop"}],
    "usage": USAGE,
})
HEAD = (
    "HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\nx-request-id: req_%012d\\r\\n"
    "content-length: %d\\r\\n\\r\\n"
)
CHUNK = {"id": "s", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
EVENT = b"data: " + json.dumps(
    {**CHUNK, "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]}
).encode() + b"\\n\\n"
STREAM = b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"


class Answering(asyncio.Protocol):
    number = 0

    def connection_made(self, transport):
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while True:
            head, mark, rest = self.buffer.partition(b"\\r\\n\\r\\n")
            if not mark:
                return
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\\r")[0] or 0)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            self.answer(rest[:length])

    def answer(self, body):
        Answering.number += 1
        if b'"stream":true' in body:
            self.transport.write(STREAM)
            self.tell()
            return
        text = CHAT % Answering.number
        self.transport.write((HEAD % (Answering.number, len(text)) + text).encode())

    def tell(self):
        if not self.transport.is_closing():
            self.transport.write(b"%x\\r\\n%s\\r\\n" % (len(EVENT), EVENT))
            asyncio.get_running_loop().call_later(2.0, self.tell)


async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()

uvloop.run(main())
"""

BODY = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the weather like where you are? " * 10},
    ],
    "max_tokens": 350,
    "temperature": 0.2,
}


class Target(NamedTuple):
    """One gateway: how it is started, and the path and headers of a call through it."""

    name: str
    port: int
    path: str
    headers: dict[str, str]
    start: Callable[[Path], tuple[list[str], dict[str, str]]]


def outlay_command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Outlay with its gateway and a refusing budget, FULL."""
    config = folder / "outlay.toml"
    config.write_text(f'[gateway.upstreams.openai]\nurl = "http://127.0.0.1:{PORTS["upstream"]}"\n')
    with outlay.open(folder / "bench.db") as ledger:
        ledger.budget("all", limit="1000000", window="month", action="refuse")
    command = [sys.executable, "-m", "outlay", "gateway", "--ledger", str(folder / "bench.db")]
    return [*command, "--port", str(PORTS["outlay"]), "--log-level", "error"], {"OUTLAY_CONFIG": str(config)}


def litellm_command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """LiteLLM's proxy, one worker, no database, in its production mode."""
    config = folder / "litellm.yaml"
    config.write_text(
        "model_list:\n  - model_name: gpt-4o-mini\n    litellm_params:\n      model: openai/gpt-4o-mini\n"
        f"      api_base: http://127.0.0.1:{PORTS['upstream']}/v1\n      api_key: sk-own\n"
        f"general_settings:\n  master_key: {MASTER}\n"
    )
    command = [str(PEERS / "litellm" / "bin" / "litellm"), "--config", str(config), "--port", str(PORTS["litellm"])]
    told = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return [*command, "--num_workers", "1", "--telemetry", "False"], told


def portkey_command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Portkey's gateway, forwarding."""
    script = PEERS / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(script), "--headless", f"--port={PORTS['portkey']}"], {"PORT": str(PORTS["portkey"])}


TARGETS = (
    Target(
        "outlay",
        PORTS["outlay"],
        "/gateway/openai/v1/chat/completions",
        {"authorization": "Bearer sk-own", "x-outlay-project": "bench"},
        outlay_command,
    ),
    Target(
        "litellm",
        PORTS["litellm"],
        "/v1/chat/completions",
        {"authorization": f"Bearer {MASTER}"},
        litellm_command,
    ),
    Target(
        "portkey",
        PORTS["portkey"],
        "/v1/chat/completions",
        {
            "authorization": "Bearer sk-own",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{PORTS['upstream']}/v1",
        },
        portkey_command,
    ),
)


def install() -> None:
    """The peers, each once."""
    litellm, portkey = PEERS / "litellm", PEERS / "portkey"
    if not (litellm / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(litellm)], check=True)
        subprocess.run([str(litellm / "bin" / "pip"), "install", "--quiet", LITELLM], check=True)
        (litellm / ".installed").touch()
    if not (portkey / ".installed").exists():
        if shutil.which("npm") is None:
            raise SystemExit("Portkey's gateway is installed by npm: there is none on the PATH")
        portkey.mkdir(parents=True, exist_ok=True)
        wanted = {"private": True, "dependencies": {"@portkey-ai/gateway": PORTKEY}}
        (portkey / "package.json").write_text(json.dumps(wanted))
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=portkey, check=True)
        (portkey / ".installed").touch()


@contextmanager
def pinned(command: list[str], told: dict[str, str], port: int, core: int, folder: Path) -> Iterator[int]:
    """A process that is on one core from its first thread on, until it is not needed any more; its pid."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAY_")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            cwd=folder,
            env={**environment, **told},
            stdout=log,
            stderr=log,
        )
        try:
            _listens(port, process)
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until the port is taken: LiteLLM's proxy needs 12 seconds for that, and a minute on a busy core."""
    for _ in range(2_400):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            raise SystemExit(f"what was to listen on port {port} ended with {process.returncode}")
        time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def request_of(path: str, headers: dict[str, str], body: dict[str, Any]) -> bytes:
    """An HTTP/1.1 request as an SDK sends it."""
    content = json.dumps(body, separators=(",", ":")).encode()
    told = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": "bench/1",
        **headers,
        "content-length": str(len(content)),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


def measure(seconds: float, rounds: int, streams: int, only: list[str] | None) -> dict[str, Any]:
    """Requests a second, times and memory of each gateway, by turns; the direct call beside them."""
    if not only or set(only) - {"outlay"}:
        install()
    cores = sorted(os.sched_getaffinity(0))
    gateway_core, other_core = cores[0], cores[-1]
    os.sched_setaffinity(0, {other_core})
    targets = [one for one in TARGETS if not only or one.name in only]
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "upstream.py").write_text(UPSTREAM)
        command = [sys.executable, str(folder / "upstream.py"), str(PORTS["upstream"])]
        with pinned(command, {}, PORTS["upstream"], other_core, folder) as upstream:
            direct = request_of("/v1/chat/completions", {"authorization": "Bearer sk-own"}, BODY)
            for number in range(rounds):
                for connections in (1, CONNECTIONS):
                    run = load(PORTS["upstream"], upstream, until(1.0, lambda _: direct), connections)
                    found.setdefault(f"direct {connections}", []).append(asyncio.run(run))
                for target in targets:
                    inner = folder / f"{target.name}-{number}"
                    inner.mkdir()
                    _round(target, inner, seconds, gateway_core, streams if number == 0 else 0, found)
    return {key: _median(several) for key, several in found.items()}


def _round(
    target: Target,
    folder: Path,
    seconds: float,
    core: int,
    streams: int,
    found: dict[str, list[dict[str, float]]],
) -> None:
    command, told = target.start(folder)
    with pinned(command, told, target.port, core, folder) as pid:
        sent = request_of(target.path, target.headers, BODY)
        asyncio.run(_answering(target.port, sent))
        for connections in (1, CONNECTIONS):
            asyncio.run(load(target.port, pid, until(min(1.0, seconds), lambda _: sent), connections))
            figures = asyncio.run(load(target.port, pid, until(seconds, lambda _: sent), connections))
            figures["memory_mb"] = memory_mb(pid)
            found.setdefault(f"{target.name} {connections}", []).append(figures)
        if streams and target.name == "outlay":
            used = asyncio.run(_with_streams(target, pid, streams))
            found.setdefault("outlay streams", []).append({"memory_mb": used, "streams": float(streams)})


async def _answering(port: int, sent: bytes) -> None:
    """Until a gateway answers a call with 200: some listen long before they can."""
    last = b""
    for _ in range(300):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            last = await asyncio.wait_for(reader.read(2_000), 10)
            writer.close()
            if last.startswith(b"HTTP/1.1 200"):
                return
        except (OSError, TimeoutError) as error:
            last = repr(error).encode()
        await asyncio.sleep(0.2)
    raise SystemExit(f"no answer through port {port}: {last[:500]!r}")


async def _with_streams(target: Target, pid: int, streams: int) -> float:
    """The gateway's memory while so many chat streams are open, each past its first chunk."""
    sent = request_of(target.path, target.headers, {**BODY, "stream": True})
    writers = []
    for _ in range(streams):
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        writer.write(sent)
        head = await asyncio.wait_for(reader.readuntil(b"Hello"), 60)
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"no stream: {head[:200]!r}")
        writers.append(writer)
    await asyncio.sleep(1)
    used = memory_mb(pid)
    for writer in writers:
        writer.close()
    return used


def _median(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in several) for name in several[0]}


def section() -> str:
    """The section of docs/benchmarks.md."""
    script = [sys.executable, str(Path(__file__)), "--seconds", "5", "--rounds", "3", "--streams", "1000"]
    done = subprocess.run(script, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent)
    return written(json.loads(done.stdout))


def written(found: dict[str, dict[str, float]]) -> str:
    """The figures of a run as the page shows them."""
    names = {
        "direct": "no gateway",
        "outlay": "Outlay, a reservation and a settlement each, FULL",
        "litellm": f"LiteLLM's proxy {LITELLM.rpartition('=')[2]}, one worker, no database",
        "portkey": f"Portkey's gateway {PORTKEY}, forwarding",
    }
    rows = []
    most = found[f"outlay {CONNECTIONS}"]["rate"]
    for name, title in names.items():
        one, many = found[f"{name} 1"], found[f"{name} {CONNECTIONS}"]
        added = "" if name == "direct" else f"{one['p50_ms'] - found['direct 1']['p50_ms']:.2f}"
        ratio = "" if name in ("direct", "outlay") else f"{most / many['rate']:.1f}×"
        memory = "" if name == "direct" else f"{many['memory_mb']:.0f}"
        rows.append(
            f"| {title} | {added} | {one['p99_ms']:.1f} | {many['rate']:,.0f} | {many['p50_ms']:.1f} |"
            f" {many['p99_ms']:.1f} | {ratio} | {memory} |"
        )
    streams = found.get("outlay streams")
    said = (
        ""
        if streams is None
        else (
            f"\nMemory of Outlay's gateway with {streams['streams']:,.0f} open streams: {streams['memory_mb']:.0f} MB"
            " (wanted: under 200).\n"
        )
    )
    head = (
        "### The gateway, each on one core\n\n"
        "By turns in one run, in front of one fake upstream; the load and the upstream on another core. Wanted of"
        " Outlay: under 1 ms added at one connection, 25 times LiteLLM's rate and 3 times Portkey's at 32.\n\n"
        "| gateway | added p50 ms, 1 connection | p99 ms | calls a second, 32 connections | p50 ms | p99 ms |"
        " Outlay is faster by | memory MB |\n|---|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n" + said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--only", action="append", choices=[one.name for one in TARGETS])
    parser.add_argument("--text", action="store_true", help="as the page shows it")
    options = parser.parse_args()
    figures = measure(options.seconds, options.rounds, options.streams, options.only)
    print(written(figures) if options.text else json.dumps(figures, indent=1))
