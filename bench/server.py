"""The server on one core: acknowledged durable events and reservations a second, over real connections.

    python bench/server.py [--seconds 5] [--connections 32] [--streams 1000]

The server is pinned to one core and this process, which sends, to another. Its rates are set beside those of an
empty raw ASGI route on the same uvicorn in the same run, so that the machine is out of the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EMPTY = """
import uvicorn
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"14")]
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    more = True
    while more:
        more = (await receive()).get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b'{"accepted":1}'})
import sys
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", log_config=None, access_log=False)
"""


def event(number: int) -> dict[str, Any]:
    """An event as programs send it: an id of its own, three meters, five attributions."""
    return {
        "id": f"bench-{os.getpid()}-{number}",
        "provider": "openai",
        "service": "gpt-4o",
        "operation": "chat",
        "usage": {"input_tokens": 1200 + number % 100, "cache_read_tokens": 400, "output_tokens": 350},
        "user": f"u{number % 1000}",
        "customer": f"c{number % 50}",
        "feature": f"f{number % 8}",
        "project": "bench",
        "environment": "production",
    }


def request(path: str, body: bytes) -> bytes:
    """An HTTP/1.1 request."""
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Client(asyncio.Protocol):
    """A connection that sends one request after the other: a light load, so that the server is what is measured."""

    def __init__(self, make: Callable[[bytes], bytes | None], waits: list[float]) -> None:
        """`make` gives the next request from the last answer's body, None to end."""
        self.make, self.waits = make, waits
        self.buffer = b""
        self.answers = self.failures = 0
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send(b"")

    def send(self, last: bytes) -> None:
        following = self.make(last)
        if following is None:
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(following)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, mark, rest = self.buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0])
        if len(rest) < length:
            return
        self.buffer = b""
        self.waits.append(time.perf_counter() - self.sent)
        self.answers += 1
        self.failures += head[9:10] != b"2"
        self.send(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


def cpu_seconds(pid: int) -> float:
    """What a process has used of its core, in itself and in the system."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def load(
    port: int, pid: int, make: Callable[[], Callable[[bytes], bytes | None]], connections: int
) -> dict[str, float]:
    """Requests a second and their times, over some connections; and how many a second of the core makes."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    began, used = time.perf_counter(), cpu_seconds(pid)
    clients = [
        (await loop.create_connection(lambda: Client(make(), waits), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(client.ended for client in clients))
    seconds = time.perf_counter() - began
    failures = sum(client.failures for client in clients)
    if failures:
        raise SystemExit(f"{failures} requests failed")
    waits.sort()
    return {
        "rate": len(waits) / seconds,
        "rate_per_cpu_second": len(waits) / max(cpu_seconds(pid) - used, 0.01),
        "p50_ms": waits[len(waits) // 2] * 1000,
        "p99_ms": waits[len(waits) * 99 // 100] * 1000,
    }


def until(seconds: float, following: Callable[[bytes], bytes]) -> Callable[[], Callable[[bytes], bytes | None]]:
    """Requests until some seconds have passed."""
    end = time.perf_counter() + seconds
    return lambda: lambda last: following(last) if time.perf_counter() < end else None


def pairs(seconds: float) -> Callable[[], Callable[[bytes], bytes | None]]:
    """Reserve, settle, reserve, … on each connection."""
    end = time.perf_counter() + seconds
    numbers = itertools.count()

    def make() -> Callable[[bytes], bytes | None]:
        held = ""

        def following(last: bytes) -> bytes | None:
            nonlocal held
            if held:
                body = json.dumps({"id": held, "usage": {"input_tokens": 900, "output_tokens": 50}}).encode()
                held = ""
                return request("/v1/settle", body)
            if time.perf_counter() > end:
                return None
            held = f"r-{os.getpid()}-{next(numbers)}"
            return request("/v1/reserve", json.dumps({**event(1), "id": held}).encode())

        return following

    return make


@contextmanager
def running(command: list[str], port: int, core: int | None, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server process on its own core, until it is not needed any more."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAY_")}
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    if core is not None:
        os.sched_setaffinity(process.pid, {core})
    try:
        wait_for(port)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_for(port: int) -> None:
    """Until the port answers."""
    import socket

    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def memory_mb(pid: int) -> float:
    """The resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def open_streams(port: int, count: int) -> list[asyncio.StreamWriter]:
    """So many live streams, each past its headers."""
    writers = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v1/live HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise SystemExit(f"no stream: {head[:80]!r}")
        writers.append(writer)
    return writers


def measure(seconds: float, connections: int, streams: int) -> dict[str, Any]:
    """All figures of one run."""
    cores = sorted(os.sched_getaffinity(0))
    core = cores[0] if len(cores) > 1 else None
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))
    found: dict[str, Any] = {"connections": connections, "seconds": seconds}
    one = itertools.count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running([sys.executable, "-c", EMPTY, "8397"], 8397, core, folder) as process:
            sample = request("/v1/events", json.dumps(event(1)).encode())
            found["empty_route"] = asyncio.run(load(8397, process.pid, until(seconds, lambda _: sample), connections))
        serve = [
            sys.executable,
            "-m",
            "outlay",
            "serve",
            str(folder / "bench.db"),
            "--port",
            "8398",
            "--log-level",
            "error",
        ]
        set_budget(folder / "bench.db")
        with running(serve, 8398, core, folder) as process:
            single = until(seconds, lambda _: request("/v1/events", json.dumps(event(next(one))).encode()))
            found["single_events"] = asyncio.run(load(8398, process.pid, single, connections))
            batches = [
                request("/v1/events", json.dumps([event(1_000_000 + at * 1000 + n) for n in range(1000)]).encode())
                for at in range(int(seconds * 40))
            ]
            waiting = iter(batches)
            found["batches"] = asyncio.run(load(8398, process.pid, lambda: lambda _: next(waiting, None), 4))
            found["batches"]["events_per_second"] = found["batches"]["rate"] * 1000
            found["batches"]["events_per_cpu_second"] = found["batches"]["rate_per_cpu_second"] * 1000
            found["pairs"] = asyncio.run(load(8398, process.pid, pairs(seconds), connections))
            found["pairs"]["pairs_per_second"] = found["pairs"]["rate"] / 2
            found["memory_mb"] = memory_mb(process.pid)
            if streams:
                found["memory_mb_with_streams"] = asyncio.run(with_streams(8398, process.pid, streams))
    for name in ("rate", "rate_per_cpu_second"):
        found[f"single_to_empty_by_{name}"] = found["single_events"][name] / found["empty_route"][name]
    return found


async def with_streams(port: int, pid: int, streams: int) -> float:
    """The server's memory while so many streams are open."""
    writers = await open_streams(port, streams)
    await asyncio.sleep(1)
    used = memory_mb(pid)
    for writer in writers:
        writer.close()
    return used


def set_budget(path: Path) -> None:
    """A refusing budget over all that the reservations are for."""
    import outlay

    with outlay.open(path) as ledger:
        ledger.budget("all", limit="1000000", window="month", action="refuse")
        ledger.budget("project", limit="1000000", window="day", action="refuse", where={"project": "bench"})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--streams", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(measure(options.seconds, options.connections, options.streams), indent=1))
