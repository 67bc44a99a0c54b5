"""The example programs of the five documents, each run as a person runs it, against a server on this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import ROOT
from tests.scripts.fake_providers import FakeProviders

import outlay

SEEDS = ROOT / "examples" / "seeds"
KEYS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "REPLICATE_API_TOKEN": "token"}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProviders]:
    server = FakeProviders()
    yield server
    server.close()


def environment() -> dict[str, str]:
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OUTLAY_")}, **KEYS}


def run(folder: Path, program: str, *arguments: str) -> list[str]:
    """The lines that an example prints."""
    command = [sys.executable, str(SEEDS / f"{program}.py"), "--ledger", str(folder / "a.db"), *arguments]
    ended = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_video_pipeline_knows_what_a_video_cost(tmp_path: Path, fake: FakeProviders) -> None:
    lines = run(tmp_path, "video_pipeline", "video-7", "video-8", "--url", fake.url)
    # 3 × 0.004 + 2 × 0.03 + 3 × 0.002 a video.
    assert lines[:2] == [f"{video}: $0.078 in 8 calls, a unit $0.078" for video in ("video-7", "video-8")]
    assert lines[2] == "today: $0.156"
    with outlay.open(tmp_path / "a.db") as ledger:
        steps = {step: str(cost) for step, cost in ledger.job("video-7").by_step.items()}
        assert (steps["clip-1"], steps["image-3"], len(steps)) == ("$0.03", "$0.004", 8)


def test_the_video_pipeline_stops_before_a_cap_is_passed(tmp_path: Path, fake: FakeProviders) -> None:
    fake.paths.clear()
    lines = run(tmp_path, "video_pipeline", "video-7", "video-8", "--url", fake.url, "--day", "0.10")
    # 0.078, then 3 × 0.004 more: the next clip of 0.03 would pass 0.10.
    assert lines[1:3] == ["video-8: stopped, budget_spent", "video-8: $0.012 in 3 calls, a unit None"]
    assert lines[-1] == "today: $0.09"
    assert len(fake.paths) == 11


def test_the_dispatcher_books_each_operation_and_publishes_it(tmp_path: Path, fake: FakeProviders) -> None:
    operations = (
        "u42:replicate:generateImage",
        "u42:stability:inpaint",
        "u7:replicate:outpaint",
        ":replicate:removeBackground",
    )
    lines = run(tmp_path, "image_dispatcher", *operations, "--url", fake.url)
    published = [json.loads(line, parse_float=Decimal) for line in lines if line.startswith("{")]
    assert [(one.get("userId"), one["Provider"], one["Operation"], one["Success"]) for one in published] == [
        ("u42", "replicate", "generateImage", "true"),
        ("u42", "stability", "inpaint", "true"),
        ("u7", "replicate", "outpaint", "false"),
        (None, "replicate", "removeBackground", "true"),
    ]
    assert [one["OperationCost"] for one in published] == [Decimal("0.0052"), Decimal("0.008"), 0, 0]
    assert published[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [
        [],
        ["Provider"],
        ["Provider", "Operation", "Success"],
    ]
    assert lines[-2:] == [
        "stability: $0.008 in 1 calls, 0 failed, 0 unpriced",
        "replicate: $0.0052 in 3 calls, 1 failed, 2 unpriced",
    ]


@pytest.fixture
def stories(tmp_path: Path, fake: FakeProviders) -> Iterator[httpx.Client]:
    """A client of the agents' application, which runs in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(SEEDS / "story_agents.py"),
        "--ledger",
        str(tmp_path / "a.db"),
        "--port",
        str(port),
    ]
    process = subprocess.Popen([*command, "--url", fake.url], cwd=tmp_path, env=environment())
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        for _ in range(300):
            try:
                client.get("/openapi.json")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield client
    process.terminate()
    assert process.wait(timeout=30) in (0, -15)


def test_the_agents_say_what_each_video_cost(stories: httpx.Client, tmp_path: Path) -> None:
    answer = stories.post("/videos/video-7", params={"topic": "the sea"})
    body = json.loads(answer.content, parse_float=Decimal)
    # Three stories of 100 and 500 tokens, a script of 200 and 800, five images, 1,200 characters: 0.4607, as the
    # document's calculate_video_cost says; and the title, of which nothing was told: "A title for the sea" and
    # "A lamp in the fog" are 5 words each, so 10 and 10 tokens at 0.00025 a thousand.
    assert Decimal(answer.headers["x-outlay-cost"]) == Decimal("0.460705")
    assert body["cost"]["total_cost"] == Decimal("0.460705")
    assert body["title"] == "A lamp in the fog"
    video = stories.get("/analytics/costs/video/video-7").json()
    assert video["costs_by_service"] == {"text-to-speech": 0.36, "nano-banana": 0.1, "gemini": 0.000705}
    assert video["total"] == 0.460705
    today = stories.get("/analytics/costs/daily").json()
    assert today["total"] == video["total"]
    year, month, _ = today["date"].split("-")
    assert (
        stories.get("/analytics/costs/monthly", params={"year": year, "month": int(month)}).json()["total"]
        == 0.460705
    )
    assert stories.get("/analytics/costs/monthly", params={"year": 2026, "month": 13}).status_code == 422
    assert stories.get("/analytics/costs/daily", params={"target_date": "yesterday"}).status_code == 422
    assert stories.get("/analytics/costs/video/none").status_code == 404
    with outlay.open(tmp_path / "a.db") as ledger:
        assert ledger.costs().shares()["estimated"].amount == Decimal("0.000005")


def test_the_assistant_says_what_an_answer_cost(tmp_path: Path, fake: FakeProviders) -> None:
    lines = run(tmp_path, "manuals_assistant", "--url", fake.url, "--seconds", "2.4")
    answers: list[dict[str, Any]] = [
        one for line in lines if "_aws" not in (one := json.loads(line, parse_float=Decimal)) and "answer" in one
    ]
    (answer,) = answers
    # 0.0000035 + 0.00001020002 + 0.0000001667 + 0.01323, and 45 tokens of Titan at the published $0.02 a million.
    assert answer["cost"]["total_cost"] == Decimal("0.01324476672")
    assert answer["cost"]["request_id"] == "abc123-def456"
    assert answer["usage"]["daily_limit"] == 50
    parts = {part["service"]: part for part in answer["cost"]["cost_breakdown"]}
    assert (parts["dynamodb"]["quantity"], parts["lambda"]["quantity"]) == (2, Decimal("2.4"))
    metrics = [json.loads(line, parse_float=Decimal) for line in lines if line.startswith('{"_aws"')]
    requests = [one for one in metrics if "RequestCost" in one]
    assert [(one["operation"], one["user_id"]) for one in requests] == [
        ("query", "user456"),
        ("transcribe", "user456"),
    ]
    assert {one["Service"] for one in metrics if "ServiceCost" in one} == {
        "api_gateway",
        "lambda",
        "dynamodb",
        "bedrock",
        "s3",
        "transcribe",
    }


def test_the_flows_are_reported_by_category_model_and_feature(tmp_path: Path, fake: FakeProviders) -> None:
    lines = run(tmp_path, "bedrock_flows", "user123", "--url", fake.url)
    # Sonnet: 1,200 × 3 and 642 × 15 a million are 0.01323; Haiku: 400 × 0.25 and 100 × 1.25 are 0.000225.
    assert lines == [
        "user123: $0.013905 in 4 invocations",
        "  category content: $0.013905 (4 calls)",
        "  model anthropic.claude-3-5-sonnet-20241022-v2:0: $0.01323 (1 calls)",
        "  model anthropic.claude-3-haiku-20240307-v1:0: $0.000675 (3 calls)",
        "  feature listingDescription: $0.01323 (1 calls)",
        "  feature captionWriter: $0.000675 (3 calls)",
        "(no user): $0.000225 in 1 invocations",
    ]
    with outlay.open(tmp_path / "a.db") as ledger:
        (receipt, *_) = ledger.events(where={"feature": "listingDescription"})
        assert receipt.event.parameters["temperature"] == 0.3
