"""A real server for tests: `outlay serve` in a process of its own, on a port of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """`outlay serve` of one ledger. It may be killed and started again on the same port; a context manager."""

    def __init__(
        self,
        ledger: Path | str,
        folder: Path,
        *,
        port: int | None = None,
        tables: str = "",
        command: Sequence[str] = ("serve",),
        **settings: Any,
    ) -> None:
        """`settings` are those of the table [server], `tables` further text of the configuration; the log is
        `server.log` in `folder`. `command` comes before the ledger.
        """
        self._command = command
        self.ledger = str(ledger)
        self.folder = folder
        self.port = port or free_port()
        self.log = folder / f"server-{self.port}.log"
        self._config = folder / f"server-{self.port}.toml"
        lines = [f"{name} = {msgspec.json.encode(value).decode()}" for name, value in settings.items()]
        self._config.write_text("\n".join(["[server]", *lines, "", tables]))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that serves now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> ServerProcess:
        """Start it, and wait until it is ready."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAY_")}
        environment["OUTLAY_CONFIG"] = str(self._config)
        environment["PYTHONFAULTHANDLER"] = "1"
        command = [sys.executable, "-m", "outlay", *self._command, self.ledger, "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.ready():
            assert self._process.poll() is None, f"the server ended: {self.log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"the server is not ready: {self.log.read_text()[-2000:]}"
            time.sleep(0.02)
        return self

    def ready(self) -> bool:
        """Whether it says that it can serve."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=30)

    def abort(self) -> str:
        """End it with a word of where each of its threads is, for a test that fails; the end of its log."""
        assert self._process is not None
        self._process.send_signal(signal.SIGABRT)
        self._process.wait(timeout=30)
        return self.log.read_text()[-8_000:]

    def stop(self) -> int:
        """Ask it to stop, and wait; its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=60)

    def __enter__(self) -> ServerProcess:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()
