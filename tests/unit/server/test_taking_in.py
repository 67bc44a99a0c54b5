"""What programs send: events in every form, each with an outcome, and a clear 4xx for what no program should send."""

from __future__ import annotations

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.served import served

import outlay
from outlay.faces.server.limits import BadRequest, check_depth
from outlay.faces.server.settings import ServerSettings

CALL: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 100}}
"""100 output tokens of gpt-4o at $10.00 a million are $0.001."""

JSON = {"content-type": "application/json"}
LIMITS = ServerSettings(body_bytes_max=200_000, unpacked_bytes_max=1_000_000, events_max=1_000, body_seconds_max=1.0)


@pytest.fixture(scope="module")
def ledger() -> Iterator[outlay.Ledger]:
    with outlay.open("memory:") as found:
        yield found


@pytest.fixture(scope="module")
def client(ledger: outlay.Ledger) -> Iterator[httpx.Client]:
    with served(ledger, LIMITS) as server, httpx.Client(base_url=server.address, timeout=30) as found:
        yield found


def problem(answer: httpx.Response, status: int, code: str) -> None:
    """The answer is an RFC 9457 problem of that status and code."""
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code), told
    assert told["type"] == f"urn:outlay:error:{code}"
    assert told["title"]
    assert told["detail"]


# --- events


def test_one_event_is_created_once_and_answered_with_its_cost(client: httpx.Client, ledger: outlay.Ledger) -> None:
    first = client.post("/v1/events", json={**CALL, "id": "one", "user": "u1"})
    assert (first.status_code, first.json()["outcome"], first.json()["cost"]) == (201, "created", "0.001")
    again = client.post("/v1/events", json={**CALL, "id": "one", "user": "u1"})
    assert (again.status_code, again.json()["outcome"], again.json()["cost"]) == (200, "exists", "0.001")
    problem(client.post("/v1/events", json={**CALL, "id": "one"}), 409, "exists_with_different_user")
    assert ledger.event("one").event.user == "u1"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        (1, "bad_event"),
        ("text", "bad_event"),
        ({**CALL, "nonsense": 1}, "unknown_field"),
        ({**CALL, "usage": {"tokens": 1}}, "unknown_meter"),
        ({**CALL, "usage": {"output_tokens": -1}}, "negative_quantity"),
        ({**CALL, "usage": {"input_tokens": 10, "cache_read_tokens": 11}}, "part_exceeds_whole"),
        ({**CALL, "time": "2999-01-01T00:00:00Z"}, "time_in_future"),
    ],
)
def test_one_bad_event_is_a_problem_that_names_it(client: httpx.Client, body: object, code: str) -> None:
    problem(client.post("/v1/events", json=body), 422, code)


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_batch_has_an_outcome_for_each_and_the_bad_stop_no_other(client: httpx.Client, form: str) -> None:
    sent = [{**CALL, "id": f"{form}-1"}, {"provider": "x"}, {**CALL, "id": f"{form}-1"}, {**CALL, "id": f"{form}-2"}]
    if form == "array":
        answer = client.post("/v1/events", json=sent)
    else:
        lines = "\n".join(map(json.dumps, sent)) + "\n\n{broken\n"
        answer = client.post("/v1/events", content=lines, headers={"content-type": "application/x-ndjson"})
    told = answer.json()
    outcomes = [one["outcome"] for one in told["outcomes"]]
    expected = ["created", "missing_field", "exists", "created"] + (["bad_json"] if form == "lines" else [])
    assert outcomes == expected
    assert [one["index"] for one in told["outcomes"]] == list(range(len(expected)))
    assert (told["accepted"], told["refused"]) == (3, len(expected) - 3)
    assert told["outcomes"][0]["cost"] == "0.001"
    assert "service" in told["outcomes"][1]["message"]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "gzip, twice"])
def test_compressed_bodies_are_read(client: httpx.Client, encoding: str) -> None:
    body = json.dumps([{**CALL, "id": f"{encoding}-{at}"} for at in range(300)]).encode()
    packed = {
        "gzip": gzip.compress(body),
        "deflate": zlib.compress(body),
        "zstd": zstandard.compress(body),
        "gzip, twice": gzip.compress(body[:500]) + gzip.compress(body[500:]),
    }[encoding]
    answer = client.post(
        "/v1/events", content=packed, headers={**JSON, "content-encoding": encoding.partition(",")[0]}
    )
    assert answer.json()["accepted"] == 300, answer.text


# --- CloudEvents


ENVELOPE = {"specversion": "1.0", "id": "7", "source": "/app", "type": "usage", "subject": "acme", "data": CALL}


def test_cloudevents_come_structured_batched_and_binary(client: httpx.Client, ledger: outlay.Ledger) -> None:
    structured = client.post(
        "/v1/events", json=ENVELOPE, headers={"content-type": "application/cloudevents+json; charset=utf-8"}
    )
    assert (structured.status_code, structured.json()["id"]) == (201, "/app#7")
    batch = [{**ENVELOPE, "id": "8"}, {**ENVELOPE, "id": "7"}, {**ENVELOPE, "data": 1}, 5]
    answer = client.post(
        "/v1/events", json=batch, headers={"content-type": "application/cloudevents-batch+json"}
    ).json()
    assert [one["outcome"] for one in answer["outcomes"]] == ["created", "exists", "bad_cloudevent", "bad_cloudevent"]
    headers = {**JSON, "ce-specversion": "1.0", "ce-id": "9", "ce-source": "/app", "ce-type": "usage"}
    binary = client.post("/v1/events", json={**CALL, "customer": "own"}, headers=headers)
    assert (binary.status_code, binary.json()["id"]) == (201, "/app#9")
    assert [ledger.event(f"/app#{id}").event.customer for id in "789"] == ["acme", "acme", "own"]


# --- OTLP


def span(number: int, **attributes: Any) -> dict[str, Any]:
    def value(told: Any) -> dict[str, Any]:
        return {"intValue": str(told)} if isinstance(told, int) else {"stringValue": told}

    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "chat gpt-4o",
        "startTimeUnixNano": "1773144000000000000",
        "endTimeUnixNano": "1773144001500000000",
        "attributes": [{"key": key.replace("__", "."), "value": value(told)} for key, told in attributes.items()],
    }


CHAT = {
    "gen_ai__operation__name": "chat",
    "gen_ai__provider__name": "openai",
    "gen_ai__request__model": "gpt-4o",
    "gen_ai__usage__output_tokens": 100,
}


def export(*spans: dict[str, Any]) -> dict[str, Any]:
    resource = {"attributes": [{"key": "deployment.environment.name", "value": {"stringValue": "prod"}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}


def as_protobuf(told: dict[str, Any]) -> bytes:
    """The same export as protobuf: ids are bytes there."""
    from google.protobuf.json_format import ParseDict

    text = json.loads(json.dumps(told))
    for group in text["resourceSpans"]:
        for scope in group["scopeSpans"]:
            for one in scope["spans"]:
                for name in ("traceId", "spanId"):
                    one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    return bytes(ParseDict(text, ExportTraceServiceRequest()).SerializeToString())


def test_spans_of_calls_are_booked_once_and_others_passed_over(client: httpx.Client, ledger: outlay.Ledger) -> None:
    older = {"gen_ai__system": "openai", "gen_ai__request__model": "gpt-4o", "gen_ai__usage__completion_tokens": 100}
    told = export(span(1, **CHAT), span(2, **older), span(3, http__method="GET"))
    for _ in range(2):
        answer = client.post("/v1/traces", json=told)
        assert (answer.status_code, answer.json()) == (200, {})
    first, second = (ledger.event(f"{number:032x}-{number:016x}") for number in (1, 2))
    assert [str(first.total.amount), str(second.total.amount)] == ["0.001", "0.001"]
    assert (first.event.environment, first.event.trace) == ("prod", f"{1:032x}")
    with pytest.raises(outlay.NotFound):
        ledger.event(f"{3:032x}-{3:016x}")


def test_protobuf_says_the_same_as_json(client: httpx.Client, ledger: outlay.Ledger) -> None:
    told = export(span(11, **CHAT), span(12, **{**CHAT, "gen_ai__usage__output_tokens": -5}))
    answer = client.post(
        "/v1/traces",
        content=gzip.compress(as_protobuf(told)),
        headers={"content-type": "application/x-protobuf", "content-encoding": "gzip"},
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    ExportTraceServiceResponse.FromString(answer.content)
    assert str(ledger.event(f"{11:032x}-{11:016x}").total.amount) == "0.001"
    as_json = client.post("/v1/traces", json=told)
    assert as_json.status_code == 200
    assert ledger.costs(where={"trace": f"{11:032x}"}).events == 1


def test_a_span_that_cannot_be_booked_is_told_as_partial_success(client: httpx.Client) -> None:
    broken = {**span(21, **CHAT), "traceId": "xyz"}
    late = {**span(22, **CHAT), "startTimeUnixNano": "99999999999999999999"}
    answer = client.post("/v1/traces", json=export(broken, late, span(23, **CHAT)))
    assert answer.status_code == 200
    assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
    assert "bad_span" in answer.json()["partialSuccess"]["errorMessage"]


def test_no_prompt_and_no_output_of_a_span_is_kept(client: httpx.Client, ledger: outlay.Ledger) -> None:
    secret = "the patient's name is"
    content = {
        "gen_ai__input__messages": secret,
        "gen_ai__output__messages": secret,
        "gen_ai__prompt__0__content": secret,
        "gen_ai__completion__0__content": secret,
        "gen_ai__system_instructions": secret,
        "llm__prompts": secret,
        "input__value": secret,
    }
    client.post("/v1/traces", json=export(span(31, **CHAT, **content))).raise_for_status()
    assert secret not in repr(ledger.event(f"{31:032x}-{31:016x}"))
    assert secret not in str(ledger.event(f"{31:032x}-{31:016x}").as_dict())


# --- what no program should send


@pytest.mark.parametrize("path", ["/v1/events", "/v1/traces", "/v1/reserve", "/v1/settle", "/v1/check"])
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b"{", 400, "bad_json"),
        (b"\xff\xfe", 400, "bad_json"),
        (b'{"a":' * 20_000, 400, "too_deep"),
        (b"[" * 100_000, 400, "too_deep"),
        (b" " * 200_001, 413, "body_too_large"),
    ],
)
def test_a_body_that_is_no_json_is_refused(
    client: httpx.Client, path: str, content: bytes, status: int, code: str
) -> None:
    answer = client.post(path, content=content, headers=JSON)
    if path == "/v1/traces" and code == "too_deep":
        # Of a trace only what is known is built: that an array is no object is seen before how deep it goes.
        code = answer.json()["code"]
    problem(answer, status, code)


def test_an_event_that_nests_too_deep_is_refused(client: httpx.Client) -> None:
    tags: Any = "x"
    for _ in range(40):
        tags = {"a": tags}
    problem(client.post("/v1/events", json={**CALL, "tags": tags}), 400, "too_deep")


@pytest.mark.parametrize(
    ("value", "depth"),
    [(1, 0), ("[[", 0), ([], 1), ({"a": 1}, 1), ([1, {"a": "b"}, [2]], 2), ([[], {"a": [{}]}], 4)],
)
def test_a_value_may_nest_as_deep_as_the_limit_and_no_deeper(value: Any, depth: int) -> None:
    check_depth(value, depth)
    check_depth(value, depth + 1)
    if depth:
        with pytest.raises(BadRequest):
            check_depth(value, depth - 1)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_is_refused_before_it_is_unpacked(client: httpx.Client, encoding: str) -> None:
    zeros = bytes(50_000_000)
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "zstd": zstandard.compress,
    }
    packed = packers[encoding](zeros)
    assert len(packed) < 200_000
    for path in ("/v1/events", "/v1/traces", "/v1/reserve"):
        answer = client.post(path, content=packed, headers={**JSON, "content-encoding": encoding})
        problem(answer, 413, "body_too_large")


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"content-encoding": "br"}, b"{}", 415, "unknown_compression"),
        ({"content-encoding": "gzip"}, b"no gzip", 400, "bad_compression"),
        ({"content-encoding": "gzip"}, gzip.compress(b"{}" * 500, mtime=0)[:-9], 400, "bad_compression"),
        ({"content-encoding": "zstd"}, b"no zstd", 400, "bad_compression"),
        ({"content-type": "text/html"}, b"{}", 415, "unknown_content_type"),
        ({"content-type": "application/cloudevents-batch+json"}, b"{}", 400, "bad_json"),
        ({"content-type": "application/json"}, b"[" + b"{}," * 1_000 + b"{}]", 413, "too_many_events"),
        ({"content-type": "application/x-ndjson"}, b"{}\n" * 1_001, 413, "too_many_events"),
    ],
)
def test_a_request_that_cannot_be_read_is_refused_by_name(
    client: httpx.Client, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    problem(client.post("/v1/events", content=content, headers={**JSON, **headers}), status, code)


def test_other_methods_and_paths_are_refused(client: httpx.Client) -> None:
    problem(client.get("/v1/events"), 405, "method_not_allowed")
    problem(client.post("/healthz"), 405, "method_not_allowed")
    problem(client.get("/v1/nothing"), 404, "no_such_route")


def test_fuzzed_traces_are_answered_clearly(client: httpx.Client) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    json_body, protobuf = json.dumps(export(span(41, **CHAT))).encode(), as_protobuf(export(span(42, **CHAT)))
    for _ in range(400):
        kind, body = dice.choice((("application/json", json_body), ("application/x-protobuf", protobuf)))
        fuzzed = bytearray(body)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(fuzzed))
            fuzzed[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        answer = client.post("/v1/traces", content=bytes(fuzzed), headers={"content-type": kind})
        assert answer.status_code in (200, 400), (kind, bytes(fuzzed), answer.text)
        if answer.status_code == 400:
            assert answer.headers["content-type"] == "application/problem+json"


def test_answers_bear_the_headers_that_browsers_heed(client: httpx.Client) -> None:
    for answer in (client.get("/healthz"), client.post("/v1/events", json={}), client.get("/v1/ledger")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_metrics_count_by_template_and_outcome(client: httpx.Client) -> None:
    client.post("/v1/events", json={**CALL, "id": "counted"}).raise_for_status()
    client.get("/v1/jobs/somebody-secret")
    text = client.get("/metrics").text
    assert 'outlay_events_total{outcome="created"}' in text
    assert 'outlay_http_requests_total{method="POST",route="/v1/events",status="201"}' in text
    assert 'outlay_commit_seconds_bucket{le="+Inf"}' in text
    assert "outlay_queue_events 0.0" in text
    assert "somebody-secret" not in text


def test_what_nobody_foresaw_is_a_problem_that_says_nothing_of_the_request(
    client: httpx.Client, ledger: outlay.Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the prompt was: my secret")

    monkeypatch.setattr(ledger, "top", fails)
    monkeypatch.setattr(ledger, "budget", fails)
    for answer in (
        client.get("/v1/top"),
        client.put("/v1/budgets/b", json={"fields": {"limit": "1", "window": "day"}}),
    ):
        problem(answer, 500, "server_failed")
        assert "secret" not in answer.text
    assert client.get("/healthz").status_code == 200
