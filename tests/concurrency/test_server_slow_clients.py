"""Slow and idle clients hold up nobody else, and no place for ever."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.server_process import ServerProcess

import outlay

CALL = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}
HEAD = b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
IDLE = 2_000


@pytest.fixture
def many_files() -> None:
    """Each connection is a file of this process too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < IDLE + 200:
        pytest.skip(f"this machine grants {hard} open files; {IDLE + 200} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (IDLE + 200 if hard == resource.RLIM_INFINITY else hard, hard))


def test_two_thousand_idle_and_a_hundred_slow_clients_hold_up_nobody(tmp_path: Path, many_files: None) -> None:
    outlay.open(tmp_path / "outlay.db").close()
    with ServerProcess(tmp_path / "outlay.db", tmp_path) as server, ExitStack() as open_ones:

        def connect(first: bytes) -> None:
            one = open_ones.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            one.sendall(first)

        for _ in range(IDLE):
            connect(b"")
        for _ in range(50):
            connect(HEAD[:20])  # slow headers
            connect(HEAD + b"content-length: 1000\r\n\r\n{")  # a slow body
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for number in range(50):
                answer = client.post("/v1/events", json={**CALL, "id": f"e{number}"})
                assert answer.status_code == 201
            assert client.get("/v1/costs").status_code == 200
            assert server.ready()


def closed_after(port: int, first: bytes, seconds: float) -> bytes:
    """What the server says before it closes a connection of which nothing more comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(first)
        heard = b""
        while part := connection.recv(4096):
            heard += part
        return heard


def test_a_client_that_sends_drop_by_drop_is_let_go(tmp_path: Path) -> None:
    outlay.open(tmp_path / "outlay.db").close()
    with ServerProcess(tmp_path / "outlay.db", tmp_path, header_seconds_max=0.5, body_seconds_max=0.5) as server:
        assert closed_after(server.port, b"", 30) == b""
        assert closed_after(server.port, HEAD, 30) == b""
        assert closed_after(server.port, HEAD + b"content-length: 1000\r\n\r\n", 30) == b""
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(HEAD + b"content-length: 1000\r\n\r\n")
            connection.sendall(b"{")
            assert b" 408 " in connection.recv(4096)
