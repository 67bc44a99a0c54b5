"""What is tried against a gateway: smuggled requests, other hosts, climbing paths, endless bodies, keys in logs."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from tests.gateway.conftest import Gatewayed, gatewayed
from tests.gateway.test_gateway_budgets import BODY, CHAT, DELTA, STOP
from tests.playback_server import Answer, PlaybackServer, events, whole

import outlay
from outlay.faces.gateway.settings import read_gateway_settings
from outlay.faces.gateway.upstreams import Upstreams
from outlay.faces.server.settings import ServerSettings

PATH = "/gateway/openai/v1/chat/completions"
CONTENT = json.dumps(BODY).encode()


def _raw(gateway: Gatewayed, data: bytes, seconds: float = 5.0) -> bytes:
    """What a server says to bytes that no HTTP client would send."""
    with socket.create_connection(("127.0.0.1", gateway.served.port), timeout=seconds) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := connection.recv(65_536):
                found += part
        except (TimeoutError, ConnectionError):
            pass
        return found


def _request(head: str, body: bytes = CONTENT) -> bytes:
    return f"POST {PATH} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n".encode("latin-1") + body


SMUGGLED = {
    "a length and chunks": _request(f"content-length: {len(CONTENT)}\r\ntransfer-encoding: chunked"),
    "two lengths": _request(f"content-length: {len(CONTENT)}\r\ncontent-length: 5"),
    "the same length twice": _request(f"content-length: {len(CONTENT)}\r\ncontent-length: {len(CONTENT)}"),
    "an encoding that is none": _request("transfer-encoding: xchunked"),
    "chunks that are not last": _request("transfer-encoding: chunked, identity"),
    "a folded header": _request(f"x-a: b\r\n c: d\r\ncontent-length: {len(CONTENT)}"),
    "a header without a name": _request(f": d\r\ncontent-length: {len(CONTENT)}"),
    "a space before the colon": _request(f"content-length : {len(CONTENT)}"),
    "a bare line feed in a value": _request(f"x-a: b\nx-c: d\rcontent-length: {len(CONTENT)}"),
    "two keys": _request(f"authorization: Bearer a\r\nauthorization: Bearer b\r\ncontent-length: {len(CONTENT)}"),
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED)
def test_a_request_that_two_readers_read_differently_reaches_no_upstream(shared: Gatewayed, data: bytes) -> None:
    shared.playback.play(whole(CHAT))
    found = _raw(shared, data)
    assert b" 200 " not in found.partition(b"\r\n")[0]
    assert shared.playback.requests == []


def test_headers_of_the_connection_and_of_others_do_not_go_on(shared: Gatewayed) -> None:
    shared.playback.play(whole(CHAT, headers={"set-cookie": "a=b", "x-outlay-cost": "0", "keep-alive": "timeout=5"}))
    headers = {
        "authorization": "Bearer sk-own",
        "connection": "close, x-private",
        "x-private": "1",
        "te": "trailers",
        "upgrade": "h2c",
        "proxy-authorization": "Basic eA==",
        "cookie": "session=1",
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-host": "evil.example",
        "forwarded": "host=evil.example",
        "host": "localhost",
        "x-request-tag": "kept",
        "accept-encoding": "br, gzip;q=0.5",
    }
    answer = httpx.post(shared.served.address + PATH, content=CONTENT, headers=headers)
    sent = shared.playback.requests[0].headers
    assert sent["host"] == shared.playback.url.removeprefix("http://")
    assert sent["x-request-tag"] == "kept"
    assert sent["accept-encoding"] == "gzip;q=0.5"
    gone = {"connection", "x-private", "te", "upgrade", "proxy-authorization", "cookie", "forwarded"}
    assert gone & set(sent) == set()
    assert [name for name in sent if name.startswith("x-forwarded")] == []
    assert answer.headers["x-outlay-cost"] == "0.0035"
    assert {"set-cookie", "keep-alive"} & set(answer.headers) == set()


CLIMBING = [
    "/gateway/local/../secret",
    "/gateway/local/a/../../secret",
    "/gateway/local/%2e%2e/secret",
    "/gateway/local/%252e%252e/secret",
    "/gateway/local/..%2fsecret",
    "/gateway/local/..%5csecret",
    "/gateway/local/..;/secret",
    "/gateway/local/a\\..\\secret",
    "/gateway/local/a%0d%0ahost:%20evil",
    "/gateway/local/a%00",
    "/gateway/local",
    "/gateway//v1/models",
    "/gateway/http:%2f%2f169.254.169.254/latest/meta-data",
    "/gateway/169.254.169.254/latest/meta-data",
    "/gateway/evil.example/v1/chat/completions",
    "/gateway/openai@evil.example/v1/models",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_a_path_leads_to_no_other_host_and_climbs_nowhere(shared: Gatewayed, path: str) -> None:
    shared.playback.play(whole(CHAT))
    found = _raw(shared, f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
    assert found.partition(b"\r\n")[0].split()[1] in (b"400", b"404")
    assert shared.playback.requests == []


def test_no_header_chooses_a_host(shared: Gatewayed) -> None:
    with _elsewhere() as evil:
        shared.playback.play(whole(CHAT))
        where = evil.url.removeprefix("http://")
        names = ("x-forwarded-host", "x-original-url", "x-rewrite-url", "x-upstream", "x-portkey-custom-host")
        headers = dict.fromkeys(names, where)
        assert httpx.post(shared.served.address + PATH, content=CONTENT, headers=headers).status_code == 200
        absolute = f"POST {evil.url}/v1 HTTP/1.1\r\nhost: {where}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        assert b" 200 " not in _raw(shared, absolute.encode()).partition(b"\r\n")[0]
        assert evil.requests == []


@contextmanager
def _elsewhere() -> Iterator[PlaybackServer]:
    """A server that must never be called."""
    server = PlaybackServer()
    server.play(whole({}))
    yield server
    server.close()


def test_a_redirect_is_not_followed(shared: Gatewayed) -> None:
    with _elsewhere() as evil:
        shared.playback.play(Answer((b"",), status=307, headers={"location": evil.url + "/steal"}))
        answer = httpx.post(shared.served.address + PATH, content=CONTENT, headers={"authorization": "Bearer sk-own"})
        assert answer.status_code == 307
        assert evil.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a.example",
        "file:///etc/passwd",
        "https://",
        "https://u:p@a.example",
        "https://a.example/?q=1",
        "a.example",
    ],
)
def test_an_upstream_that_is_no_plain_address_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(outlay.InvalidInput) as refused:
        Upstreams(read_gateway_settings({"upstreams": {"x": {"url": url}}}, {}))
    assert refused.value.code == "bad_config"


def test_a_body_too_large_is_refused_as_soon_as_it_is_known(open_gateway: Callable[..., Gatewayed]) -> None:
    gateway = open_gateway(body_bytes_max=1_000)
    gateway.playback.play(whole(CHAT))
    told = _raw(gateway, _request("content-length: 1000000000", b""))
    assert told.split()[1] == b"413"
    chunks = b"".join(b"400\r\n" + b"x" * 0x400 + b"\r\n" for _ in range(4)) + b"0\r\n\r\n"
    assert _raw(gateway, _request("transfer-encoding: chunked", chunks)).split()[1] == b"413"
    packed = httpx.post(
        gateway.served.address + PATH,
        content=_bomb(),
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )
    assert packed.status_code == 413
    assert gateway.playback.requests == []


def _bomb() -> bytes:
    import gzip

    return gzip.compress(b" " * 500_000)


def test_a_body_that_does_not_come_is_not_waited_for(open_gateway: Callable[..., Gatewayed]) -> None:
    gateway = open_gateway(server=ServerSettings(body_seconds_max=0.2))
    with socket.create_connection(("127.0.0.1", gateway.served.port), timeout=10) as connection:
        connection.sendall(_request(f"content-length: {len(CONTENT)}", CONTENT[:10]))
        assert connection.recv(65_536).split()[1] == b"408"


def test_an_upstream_that_is_silent_is_given_up(open_gateway: Callable[..., Gatewayed]) -> None:
    gateway = open_gateway(head_seconds_max=0.3, idle_seconds_max=0.3)
    gateway.playback.play(whole(CHAT, pause_s=4.0))
    answer = httpx.post(gateway.served.address + PATH, content=CONTENT, timeout=10)
    assert (answer.status_code, answer.headers["x-outlay-refused"]) == (504, "upstream_timeout")
    (receipt,) = gateway.events()
    assert receipt.event.status == "failed"


def test_an_upstreams_answer_that_is_no_http_is_told_as_such(tmp_path: Path) -> None:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener, outlay.open(tmp_path / "outlay.db") as ledger:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello"
                )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with gatewayed(ledger, upstreams={"odd": {"url": url, "kind": "openai"}}) as gateway:
            found = httpx.post(gateway.url("odd") + "/v1/chat/completions", json=BODY)
        thread.join(5)
    assert (found.status_code, found.headers["x-outlay-refused"]) == (502, "upstream_failed")


def test_keys_and_prompts_are_in_no_log_no_error_and_no_event(
    gateway: Gatewayed, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets = ("sk-own-secret-1", "say-nothing-of-this", "the-answer-is-private")
    body = {**BODY, "messages": [{"role": "user", "content": secrets[1]}], "user": "u"}
    private = {
        **CHAT,
        "choices": [{"message": {"role": "assistant", "content": secrets[2]}, "finish_reason": "stop"}],
    }
    headers = {"authorization": f"Bearer {secrets[0]}"}
    said = []
    for answer in (
        whole(private),
        Answer((b'{"id":',), cut_after=2),
        whole({"error": {"message": "no"}}, status=500),
    ):
        gateway.playback.play(answer)
        said.append(httpx.post(gateway.served.address + PATH, json=body, headers=headers))
    gateway.ledger.budget("day", limit="0.00001", window="day", action="refuse")
    said.append(httpx.post(gateway.served.address + PATH, json=body, headers=headers))
    said.append(httpx.post(gateway.served.address + "/gateway/openai/..%2f" + secrets[0], headers=headers))
    refusals = [one for one in said if "x-outlay-refused" in one.headers]
    assert len(refusals) == 3
    told = "".join(one.text + str(one.headers) for one in refusals)
    told += _logged(caplog) + "".join(map(repr, gateway.events()))
    gateway.ledger.flush()
    told += "".join(
        path.read_bytes().decode("latin-1")
        for path in Path(gateway.ledger.store.address).parent.rglob("*")
        if path.is_file()
    )
    assert [secret for secret in secrets if secret in told] == []


def _logged(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged, but for the client's own, and uvicorn's access log, which `outlay serve` does not have."""
    own = [one for one in caplog.records if not one.name.startswith(("httpx", "httpcore", "uvicorn.access"))]
    return "".join(f"{one.getMessage()} {one.__dict__}" for one in own)


def test_a_client_that_leaves_is_charged_for_what_the_provider_still_sends(gateway: Gatewayed) -> None:
    told = {**DELTA, "choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}
    gateway.playback.play(events([DELTA] * 20 + [STOP, told], done=True, pause_s=0.02))
    gateway.ledger.budget("day", limit="1.00", window="day", action="refuse")
    with httpx.stream("POST", gateway.served.address + PATH, json={**BODY, "stream": True}) as answer:
        next(answer.iter_bytes())
        id = answer.headers["x-outlay-receipt"]
    until = time.monotonic() + 10
    while not (booked := gateway.events()):
        assert time.monotonic() < until
    (receipt,) = booked
    assert receipt.event.id == id
    assert receipt.event.usage == {"input_tokens": 1000, "output_tokens": 100}
    (status,) = gateway.ledger.budgets("day")
    assert outlay.Money(status.spent).amount == Decimal("0.0035")
