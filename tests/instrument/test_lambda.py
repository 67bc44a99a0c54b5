"""The Lambda decorator and the metric lines: a manuals assistant's own figures, worked by hand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from tests.conftest import ROOT

import outlay
from outlay.errors import InvalidInput
from outlay.instrument.aws_lambda import Invocation, costed, count_aws, current_invocation
from outlay.instrument.emf import EmfLog
from outlay.instrument.envelope import RequestCost

CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
CONTEXT = SimpleNamespace(
    aws_request_id="abc123-def456",
    function_name="manuel-query-dev",
    memory_limit_in_mb="256",
    invoked_function_arn="arn:aws:lambda:eu-west-1:123456789012:function:manuel-query-dev",
)
REST = {
    "resource": "/api/query",
    "requestContext": {
        "resourcePath": "/api/query",
        "httpMethod": "POST",
        "authorizer": {"claims": {"sub": "user456"}},
    },
}


def clicks(seconds: float) -> Any:
    """A stopwatch that shows 0 and then `seconds`."""
    return iter((0.0, seconds)).__next__


@pytest.fixture
def seeds(memory: outlay.Ledger) -> outlay.Ledger:
    """A ledger with the document's own prices for DynamoDB, S3 and Transcribe in eu-west-1."""
    memory.add_prices(ROOT / "examples" / "seeds" / "prices.toml", force=True)
    return memory


def ask(ledger: outlay.Ledger) -> None:
    ledger.record(
        provider="aws", service=CLAUDE, operation="chat", usage={"input_tokens": 1_200, "output_tokens": 642}
    )


def test_a_question_costs_what_its_parts_cost_and_the_answer_says_so(seeds: outlay.Ledger) -> None:
    @costed(seeds, envelope=True, stopwatch=clicks(2.4))
    def handler(event: Any, context: Any) -> dict[str, Any]:
        current_invocation().use("dynamodb", read_request_units=1, write_request_units=1)
        ask(seeds)
        seeds.record(provider="aws", service="titan-embeddings-v2", usage={"input_tokens": 45})
        return {"statusCode": 200, "body": '{"answer": "To configure…", "context_used": 3}'}

    body = json.loads(handler(REST, CONTEXT)["body"], parse_float=Decimal)
    cost = body["cost"]
    # 0.0000035 + (2.4 × 0.25 × 0.0000166667 + 0.0000002) + 0.0000001667 + 0.01323 + 0.000009.
    # The document's own total is 0.0234, its parts sum to 0.0231048: neither is what its rates give.
    assert cost["total_cost"] == Decimal("0.01325286672")
    assert (body["answer"], body["context_used"]) == ("To configure…", 3)
    assert (cost["request_id"], cost["operation"], cost["currency"]) == ("abc123-def456", "query", "USD")
    parts = {(part["service"], part["operation"]): part for part in cost["cost_breakdown"]}
    assert sum(part["cost"] for part in cost["cost_breakdown"]) == cost["total_cost"]
    assert {name: (part["cost"], part["unit"], part["quantity"]) for name, part in parts.items()} == {
        ("api_gateway", "requests"): (Decimal("0.0000035"), "requests", 1),
        ("lambda", "execution"): (Decimal("0.00001020002"), "seconds", Decimal("2.4")),
        ("dynamodb", "requests"): (Decimal("0.0000001667"), "request_units", 2),
        ("bedrock", "inference_claude"): (Decimal("0.01323"), "tokens", 1_842),
        ("bedrock", "embedding_titan"): (Decimal("0.000009"), "tokens", 45),
    }
    job = seeds.request("abc123-def456")
    assert job.total.amount == cost["total_cost"]
    assert {receipt.event.user for receipt in job.receipts} == {"user456"}


def test_a_recording_that_is_transcribed(seeds: outlay.Ledger) -> None:
    @costed(seeds, operation="transcribe", envelope=True, stopwatch=clicks(22.5))
    def handler(event: Any, context: Any) -> dict[str, Any]:
        current_invocation().use("transcribe", audio_seconds=18)
        current_invocation().use("s3", put_requests=1)
        return {"transcription": "How do I configure wireless settings?"}

    answer = handler(REST, CONTEXT)
    assert answer["transcription"]
    # 18 × 0.0004 + 0.0000054 + 0.0000035 + 22.5 × 0.25 × 0.0000166667 + 0.0000002, half-even at 10⁻¹²;
    # the document says 0.0087.
    assert seeds.request("abc123-def456").total.amount == Decimal("0.007302850188")
    units = {part["service"]: (part["unit"], part["quantity"]) for part in answer["cost"]["cost_breakdown"]}
    assert units["s3"] == ("mixed", 1)
    assert units["transcribe"] == ("seconds", 18)
    json.dumps(answer)  # As Lambda itself will.


EVENTS: dict[str, tuple[dict[str, Any], str]] = {
    # A REST API's request is $3.50 a million in eu-west-1, an HTTP API's $1.11.
    "a REST API": (REST, "0.0000035"),
    "an HTTP API": (
        {
            "routeKey": "POST /api/query",
            "requestContext": {"http": {"method": "POST"}, "domainName": "x.amazonaws.com"},
        },
        "0.00000111",
    ),
    "a function's URL": ({"requestContext": {"http": {}, "domainName": "a.lambda-url.eu-west-1.on.aws"}}, "0.00"),
    "a load balancer": ({"requestContext": {"elb": {"targetGroupArn": "…"}}}, "0.00"),
    "a queue": ({"Records": []}, "0.00"),
}


@pytest.mark.parametrize("case", EVENTS)
def test_the_gateway_that_brought_the_request_is_charged(memory: outlay.Ledger, case: str) -> None:
    event, amount = EVENTS[case]
    costed(memory)(lambda event, context: None)(event, CONTEXT)
    assert memory.costs(where={"service": "api-gateway"}).total.amount == Decimal(amount)
    assert memory.costs(where={"service": "lambda"}).events == 1


def test_an_arm_function_is_charged_at_the_arm_rate(memory: outlay.Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    costed(memory, memory_mb=1_024, stopwatch=clicks(1))(lambda event, context: None)({}, CONTEXT)
    # 1 GB-second at 0.0000133334 and one request.
    assert memory.costs().total.amount == Decimal("0.0000135334")


@pytest.mark.parametrize(
    "result",
    [
        None,
        "text",
        {"statusCode": 500, "body": '{"message": "no"}'},
        {"statusCode": 200, "body": "plain"},
        {"statusCode": 200, "body": "e30=", "isBase64Encoded": True},
    ],
)
def test_what_is_no_json_object_or_no_success_is_answered_as_it_was(memory: outlay.Ledger, result: Any) -> None:
    assert costed(memory, envelope=True)(lambda event, context: result)(REST, CONTEXT) is result


def test_a_length_that_the_handler_gave_is_put_right(memory: outlay.Ledger) -> None:
    given = {"statusCode": 200, "body": '{"a": "é"}', "headers": {"Content-Length": "11"}}
    answer = costed(memory, envelope=True)(lambda event, context: given)(REST, CONTEXT)
    assert answer["headers"]["Content-Length"] == str(len(answer["body"].encode()))
    assert given["headers"] == {"Content-Length": "11"}


def test_a_handler_that_fails_has_cost_its_time_and_fails_as_before(memory: outlay.Ledger) -> None:
    ended: list[RequestCost] = []

    @costed(memory, emf=ended.append, stopwatch=clicks(1))
    def handler(event: Any, context: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        handler({}, CONTEXT)
    # 0.25 GB-seconds at 0.0000166667 and one request, half-even at 10⁻¹².
    assert ended[0].total.amount == Decimal("0.000004366675")


def test_a_ledger_that_cannot_be_written_does_not_fail_the_handler(
    clock: outlay.FrozenClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = outlay.open(tmp_path / "a.db", clock=clock)

    @costed(ledger, envelope=True)
    def handler(event: Any, context: Any) -> dict[str, int]:
        ledger.close()
        return {"statusCode": 200}

    assert handler(REST, CONTEXT)["statusCode"] == 200
    assert "ledger_closed" in caplog.text


def test_the_invocation_is_asked_for_inside_a_handler_only() -> None:
    with pytest.raises(InvalidInput, match="decorate the handler"):
        current_invocation()


# What boto3 tells


class _Aws(BaseHTTPRequestHandler):
    """DynamoDB and S3 as far as a client needs them: it answers what was asked for, capacity only if wanted."""

    protocol_version = "HTTP/1.1"
    asked: list[str] = []  # noqa: RUF012 - one server a test, emptied by its fixture

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        target = self.headers.get("x-amz-target", "").rpartition(".")[2]
        answer = b""
        if target:
            request = json.loads(body)
            capacity = {"TableName": "t", "CapacityUnits": 0.5 if target == "GetItem" else 2.0}
            found: dict[str, Any] = {"Item": {"id": {"S": "1"}}} if target == "GetItem" else {}
            if request.get("ReturnConsumedCapacity") == "TOTAL":
                found["ConsumedCapacity"] = capacity
            answer = json.dumps(found).encode()
        self.asked.append(target or self.command)
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer if self.command != "HEAD" else b"")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's own names

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def aws() -> Iterator[dict[str, Any]]:
    """What a boto3 client needs to talk to the local server."""
    _Aws.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Aws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "endpoint_url": f"http://127.0.0.1:{server.server_port}",
        "region_name": "eu-west-1",
        "aws_access_key_id": "id",
        "aws_secret_access_key": "secret",
        "config": Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    }
    server.shutdown()
    server.server_close()


def test_dynamodb_and_s3_are_counted_from_what_boto3_did(seeds: outlay.Ledger, aws: dict[str, Any]) -> None:
    table = count_aws(boto3.client("dynamodb", **aws))
    bucket = count_aws(boto3.client("s3", **aws))
    answers: list[Any] = []

    @costed(seeds)
    def handler(event: Any, context: Any) -> None:
        answers.append(table.get_item(TableName="t", Key={"id": {"S": "1"}}))
        answers.append(table.put_item(TableName="t", Item={"id": {"S": "1"}}, ReturnConsumedCapacity="TOTAL"))
        bucket.put_object(Bucket="b", Key="k", Body=b"audio")
        bucket.get_object(Bucket="b", Key="k")["Body"].read()
        bucket.delete_object(Bucket="b", Key="k")

    table.get_item(TableName="t", Key={"id": {"S": "1"}})  # Outside an invocation nothing is counted.
    handler({}, CONTEXT)
    used = {one.event.service: one.event.usage for one in seeds.request("abc123-def456").receipts}
    assert used["dynamodb"] == {"read_request_units": Decimal("0.5"), "write_request_units": 2}
    assert used["s3"] == {"put_requests": 1, "get_requests": 1, "delete_requests": 1}
    # What Outlay asked for is hidden again, what the program asked for is there.
    assert ["ConsumedCapacity" in answer for answer in answers] == [False, True]


def test_a_client_is_left_alone_where_its_capacity_is_not_to_be_asked(
    memory: outlay.Ledger, aws: dict[str, Any]
) -> None:
    table = count_aws(boto3.client("dynamodb", **aws), ask_capacity=False)

    @costed(memory)
    def handler(event: Any, context: Any) -> None:
        table.put_item(TableName="t", Item={"id": {"S": "1"}})

    handler({}, CONTEXT)
    assert memory.costs(where={"service": "dynamodb"}).events == 0


# Metric lines


def a_request(ledger: outlay.Ledger, **known: Any) -> RequestCost:
    request = RequestCost(
        "r1", operation="query", started_at=ledger.clock.now(), attribution={"user": "u42"}, **known
    )
    with request.gathering():
        ask(ledger)
    return request


def written(log_of: Any, request: RequestCost) -> list[dict[str, Any]]:
    lines: list[str] = []
    log_of(lines.append)(request)
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
    return [json.loads(line, parse_float=Decimal) for line in lines]


def test_a_request_s_line_has_the_fields_that_the_documents_queries_read(memory: outlay.Ledger) -> None:
    lines = written(
        lambda write: EmfLog("Manuel/Costs", service_metric="ServiceCost", write=write), a_request(memory)
    )
    request, service = lines
    assert {name: value for name, value in request.items() if name != "_aws"} == {
        "timestamp": "2026-03-10T12:00:00Z",
        "request_id": "r1",
        "user_id": "u42",
        "operation": "query",
        "provider": "aws",
        "model_id": CLAUDE,
        "total_cost": Decimal("0.01323"),
        "currency": "USD",
        "text_input_tokens": 1_200,
        "text_output_tokens": 642,
        "success": True,
        "Operation": "query",
        "RequestCost": Decimal("0.01323"),
    }
    assert request["_aws"] == {
        "Timestamp": 1_773_144_000_000,
        "CloudWatchMetrics": [
            {
                "Namespace": "Manuel/Costs",
                "Dimensions": [[], ["Operation"]],
                "Metrics": [{"Name": "RequestCost", "Unit": "None"}],
            }
        ],
    }
    assert (service["ServiceCost"], service["Service"], service["Operation"]) == (
        Decimal("0.01323"),
        "bedrock",
        "inference_claude",
    )
    assert "total_cost" not in service  # A query that sums total_cost must not count it twice.


def test_each_model_of_a_request_has_its_tokens_in_a_line_of_its_own(memory: outlay.Ledger) -> None:
    request = a_request(memory)
    with request.gathering():
        memory.record(provider="openai", service="gpt-4o", usage={"input_tokens": 10, "output_tokens": 5})
    lines = written(lambda write: EmfLog("Manuel/Costs", write=write), request)
    assert [line.get("total_cost") for line in lines] == [request.total.amount, None, None]
    tokens = {line["model_id"]: line["text_input_tokens"] for line in lines[1:]}
    assert tokens == {CLAUDE: 1_200, "gpt-4o": 10}
    assert "text_input_tokens" not in lines[0]


def test_each_operation_is_published_in_all_the_sets_that_widgets_and_alarms_read(memory: outlay.Ledger) -> None:
    memory.add_rate(provider="replicate", service="image-operations", meter="images", price="0.0052")
    request = RequestCost("r1", attribution={"user": "u42"})
    with request.gathering():
        memory.record(
            provider="replicate", service="image-operations", operation="generateImage", usage={"images": 1}
        )
        memory.record(provider="replicate", service="image-operations", operation="inpaint", status="failed")

    def log(write: Any) -> EmfLog:
        return EmfLog(
            "VisualNeurons/AI",
            per="call",
            metric="OperationCost",
            dimensions=[[], ["Provider"], ["Provider", "Operation", "Success"]],
            names={"user_id": "userId", "total_cost": "cost"},
            message="Operation cost tracked",
            write=write,
        )

    done, failed = written(log, request)
    (directive,) = done["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [[], ["Provider"], ["Provider", "Operation", "Success"]]
    assert directive["Metrics"] == [{"Name": "OperationCost", "Unit": "None"}]
    assert (done["Provider"], done["Operation"], done["Success"]) == ("replicate", "generateImage", "true")
    assert (done["message"], done["userId"], done["cost"]) == ("Operation cost tracked", "u42", Decimal("0.0052"))
    assert (failed["Success"], failed["success"], failed["OperationCost"]) == ("false", False, 0)


def test_the_day_so_far_is_a_metric_where_it_is_asked_for(memory: outlay.Ledger) -> None:
    request = a_request(memory)
    lines = written(
        lambda write: EmfLog(
            "Manuel/Costs",
            daily_metric="DailyCostAccumulation",
            daily_total=lambda: memory.costs(since="2026-03-10").total,
            write=write,
        ),
        request,
    )
    assert lines[1]["DailyCostAccumulation"] == Decimal("0.01323")


@pytest.mark.parametrize(
    "setting",
    [{"dimensions": [["Colour"]]}, {"dimensions": ["Operation"]}, {"per": "day"}, {"daily_metric": "Daily"}],
)
def test_a_setting_that_cloudwatch_could_not_read_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        EmfLog("Manuel/Costs", **setting)
    assert refused.value.code == "bad_setting"


def test_lines_go_to_standard_output_unless_told_otherwise(
    memory: outlay.Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = count()
    costed(memory, emf=EmfLog("Manuel/Costs"), stopwatch=lambda: float(next(seconds)))(
        lambda event, context: isinstance(current_invocation(), Invocation)
    )(REST, CONTEXT)
    line = json.loads(capsys.readouterr().out)
    assert line["operation"] == "query"


def test_a_ledger_that_cannot_be_opened_fails_no_invocation(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy() -> outlay.Ledger:
        raise outlay.LedgerBusy("others held it for too long")

    monkeypatch.setattr(outlay, "current_ledger", busy)
    assert costed(envelope=True)(lambda event, context: {"answer": 42})(REST, CONTEXT) == {"answer": 42}
