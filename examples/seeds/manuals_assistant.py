"""Seed 4: a manuals assistant on Lambda. Every answer says what it cost, service by service.

    python examples/seeds/manuals_assistant.py --seconds 2.4

This runs the two handlers once, as Lambda would: with a request of API Gateway and a context. `--seconds` sets the
document's own duration in the place of the measured one, so that its example can be worked out again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import outlay
from outlay.instrument.aws_lambda import costed, count_aws, current_invocation
from outlay.instrument.emf import EmfLog

PRICES = Path(__file__).with_name("prices.toml")
CLAUDE = "anthropic.claude-3-5-sonnet-20241022-v2:0"
TITAN = "amazon.titan-embed-text-v2:0"
REGION = "eu-west-1"


def handlers(
    ledger: outlay.Ledger, client: Callable[[str], Any], stopwatch: Callable[[], float]
) -> tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]:
    """The handlers of /api/query and /api/transcribe."""
    bedrock = ledger.watch(client("bedrock-runtime"))
    table = count_aws(client("dynamodb"))
    settings: dict[str, Any] = {
        "envelope": True,
        "usage": lambda request: ledger.usage_block(user=request.attribution().get("user") or "", operation="query"),
        "emf": EmfLog("Manuel/Costs", service_metric="ServiceCost"),
        "stopwatch": stopwatch,
    }

    @costed(ledger, **settings)
    def query(event: Any, context: Any) -> dict[str, Any]:
        question = json.loads(event["body"])["question"]
        with ledger.attribute(project="manuel", environment="dev"):
            vector = bedrock.invoke_model(modelId=TITAN, body=json.dumps({"inputText": question}))
            json.loads(vector["body"].read())  # By which a real one looks for the manual's pages.
            key = {"user_id": {"S": "user456"}}
            table.get_item(TableName="usage", Key=key, ConsistentRead=True)
            found = bedrock.converse(modelId=CLAUDE, messages=[{"role": "user", "content": [{"text": question}]}])
            table.put_item(TableName="usage", Item=key)
        answer = found["output"]["message"]["content"][0]["text"]
        return {"statusCode": 200, "body": json.dumps({"answer": answer, "context_used": 3})}

    @costed(ledger, **settings)
    def transcribe(event: Any, context: Any) -> dict[str, Any]:
        # Transcribe works later and tells no client how long the recording was: what is known is said.
        current_invocation().use("s3", put_requests=1)
        current_invocation().use("transcribe", audio_seconds=18)
        return {"statusCode": 200, "body": json.dumps({"transcription": "How do I configure wireless settings?"})}

    return query, transcribe


def request(path: str, body: dict[str, str]) -> dict[str, Any]:
    """What API Gateway hands over."""
    authorizer = {"claims": {"sub": "user456"}}
    return {
        "resource": path,
        "requestContext": {"resourcePath": path, "httpMethod": "POST", "authorizer": authorizer},
        "body": json.dumps(body),
    }


def context(id: str, name: str) -> Any:
    """What Lambda says of the function."""
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:{name}"
    return SimpleNamespace(aws_request_id=id, function_name=name, memory_limit_in_mb="256", invoked_function_arn=arn)


def main() -> None:
    """Ask one question and send one recording; prints the two answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", type=Path, default=Path("manuals.db"))
    parser.add_argument("--url", help="another address of AWS")
    parser.add_argument("--seconds", type=float, help="how long the handlers take to have run")
    options = parser.parse_args()

    import boto3

    def client(service: str) -> Any:
        return boto3.client(service, region_name=REGION, endpoint_url=options.url)

    stopwatch = time.perf_counter if options.seconds is None else cycle((0.0, options.seconds)).__next__
    with outlay.open(options.ledger) as ledger:
        ledger.add_prices(PRICES, force=True)
        ledger.budget(
            "queries", each="user", where={"operation": "query"}, meter="calls", limits={"day": 50, "month": 1000}
        )
        query, transcribe = handlers(ledger, client, stopwatch)
        asked = request("/api/query", {"question": "How do I configure wireless settings?"})
        print(query(asked, context("abc123-def456", "manuel-query-dev"))["body"])
        print(transcribe(request("/api/transcribe", {}), context("xyz789-abc123", "manuel-transcribe-dev"))["body"])


if __name__ == "__main__":
    main()
