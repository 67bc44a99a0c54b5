"""Forks: what was acknowledged before, during and after one is there, whoever closes first."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import EntryFilter

PROGRAMS = Path(__file__).parent / "store_programs.py"


def start(name: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAMS), name, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str], timeout_s: float = 60) -> str:
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, err
    return out


def ids_in(path: Path) -> list[str]:
    store = SqliteStore(path)
    try:
        assert store.audit().findings == ()
        return [entry.event.id for entry in store.entries(EntryFilter())]
    finally:
        store.close()


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_child_keeps_its_rows_when_the_parent_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    ended(start("fork_and_close_in_parent", path))
    assert sorted(ids_in(path)) == sorted(["parent", *(f"child-{n}" for n in range(110))])


def test_workers_keep_their_rows_when_the_parent_ends_and_others_open_and_close(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    command_line = start("open_and_close", path, 4)
    ended(start("fork_workers_and_leave", path, 4, 250))
    wait_for(lambda: all(Path(f"{path}.done-{worker}").exists() for worker in range(4)))
    ended(command_line)
    threads = int(Path(f"{path}.thread").read_text())
    expected = [f"thread-{n}" for n in range(threads)] + [f"worker-{w}-{n}" for w in range(4) for n in range(250)]
    assert sorted(ids_in(path)) == sorted(expected)


def test_multiprocessing_by_fork_loses_nothing_while_others_open_and_close(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    command_line = start("open_and_close", path, 3)
    ended(start("work_in_pool", path, 150))
    ended(command_line)
    expected = ["parent", *(f"parent-{n}" for n in range(150))]
    expected += [f"pool-{worker}-{n}" for worker in range(3) for n in range(150)]
    assert sorted(ids_in(path)) == sorted(expected)


def test_a_fork_by_c_code_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert ended(start("fork_in_c", path)).split() == ["opened_before_fork", "51"]
    assert len(ids_in(path)) == 51


def test_a_fork_waits_for_readers_and_writers_of_other_threads(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    ended(start("fork_while_reading", path))
    assert {f"forked-{n}" for n in range(20)} <= set(ids_in(path))


def test_gunicorn_workers_share_a_preloaded_ledger(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    path = tmp_path / "a.db"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2"]
    command += ["--bind", f"127.0.0.1:{port}", "--chdir", str(PROGRAMS.parent), "gunicorn_app:application"]
    server = subprocess.Popen(
        command,
        env={**os.environ, "LEDGER": str(path)},
        stderr=subprocess.PIPE,
    )
    command_line = start("open_and_close", path, 3)
    try:
        workers = {_ask(port, f"call-{n}") for n in range(80)}
        ended(command_line)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert len(workers) <= 2
    assert sorted(ids_in(path)) == sorted(["preloaded", *(f"call-{n}" for n in range(80))])


def _ask(port: int, id: str) -> str:
    end = time.monotonic() + 30
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", f"/{id}")
            answer = connection.getresponse().read().decode().split()
        except ConnectionError:
            assert time.monotonic() < end
            time.sleep(0.05)
            continue
        finally:
            connection.close()
        assert answer[0] in ("created", "exists")
        return answer[1]
