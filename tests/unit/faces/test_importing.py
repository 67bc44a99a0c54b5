"""`outlay import`: what is booked, what is rejected and kept, and that a second time changes nothing."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import Exit

SEED_BILL = """\
Date,Service,Resource,Cost,Usage,Unit
2025-11-01,ECS,ai-video-backend-service,0.49,24,hours
2025-11-01,RDS,ai-video-db,0.41,24,hours
2025-11-01,ElastiCache,ai-video-redis,0.38,24,hours
2025-11-01,S3,ai-video-prod-bucket,0.02,0.5,GB-hours
2025-11-01,CloudWatch,/ecs/dev/ai-video-backend,0.08,0.16,GB-ingested
2025-11-01,Replicate,stable-diffusion-xl,0.045,9,runs
2025-11-01,Replicate,animate-diff,0.12,4,runs
"""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_ZONE"):
        monkeypatch.delenv(name, raising=False)


def run_json(*arguments: str, code: Exit = Exit.OK, input: str | None = None) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--json"], input=input)
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return json.loads(result.stdout)


def entry(second: int, service: str, cost: str, **more: object) -> str:
    fields = {"timestamp": f"2025-11-01T10:00:{second:02d}", "service": service, "operation": "make", **more}
    return json.dumps(fields)[:-1] + f', "cost": {cost}}}'


def write_daily_files(folder: Path) -> None:
    """Two days as the seeds' tracker wrote them, one packed."""
    folder.mkdir()
    first = [
        entry(1, "gemini", "0.0002", metadata={"topic": "whales", "num_stories": 3}, video_id="video-1"),
        entry(2, "nanobanana", "0.02", metadata={"prompt": "a whale"}, video_id="video-1"),
        entry(2, "nanobanana", "0.02", metadata={"prompt": "a whale"}, video_id="video-1"),
        "not json",
    ]
    (folder / "costs_2025-11-01.jsonl").write_text("\n".join(first) + "\n")
    second = [entry(3, "elevenlabs", "0.36", metadata={"text_length": 1200}, video_id=None), entry(4, "x", "-1")]
    (folder / "costs_2025-11-02.jsonl.gz").write_bytes(gzip.compress("\n".join(second).encode()))


def test_the_seeds_bill_is_charged_to_the_last_digit_and_only_once(tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text(SEED_BILL)
    done = run_json("import", "bill.csv")
    assert (done["rows_charged"], done["cost_booked"]) == (7, "1.545")  # 0.49+0.41+0.38+0.02+0.08+0.045+0.12
    again = run_json("import", "bill.csv")
    assert (again["rows_charged"], again["known_already"], again["cost_booked"]) == (0, 7, "0.00")
    found = run_json("costs", "--by", "provider,basis")
    assert [(row["provider"], row["basis"], row["cost"]) for row in found["rows"]] == [
        ("aws", "billed", "1.38"),  # 0.49 + 0.41 + 0.38 + 0.02 + 0.08: the seed's sheet says 1.42
        ("replicate", "billed", "0.165"),  # 0.045 + 0.12: the seed's sheet says 0.45
    ]
    assert found["total"]["cost"] == "1.545"


def test_rows_of_what_is_metered_wait_for_reconciliation(tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text(SEED_BILL)
    done = run_json("import", "bill.csv", "--metered", "replicate")
    assert (done["rows_charged"], done["rows_waiting"], done["cost_booked"]) == (5, 2, "1.38")
    (tmp_path / "outlay.toml").write_text('metered = ["replicate"]\n')
    assert run_json("import", "bill.csv", "-l", "other.db")["rows_waiting"] == 2


def test_a_bad_row_of_a_bill_is_rejected_and_the_rest_is_charged(tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text(SEED_BILL + "2025-11-01,RDS,x,free,1,hours\n")
    done = run_json("import", "bill.csv", code=Exit.FINDING)
    assert (done["rows_charged"], done["rejected_by_reason"]) == (7, {"not_a_number": 1})
    [rejected] = [json.loads(line) for line in (tmp_path / "bill.csv.rejects.jsonl").read_text().splitlines()]
    assert (rejected["line"], rejected["raw"]) == (9, "2025-11-01,RDS,x,free,1,hours")


def test_a_bill_in_another_currency_is_converted_and_what_has_no_rate_rejected_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text(
        "Date,Service,Resource,Cost,Usage,Unit,Currency\n"
        "2024-01-05,RDS,x,100,1,hours,EUR\n2024-01-05,RDS,y,1,1,hours,XAU\n"
    )
    done = run_json("import", "bill.csv", code=Exit.FINDING)
    assert done["rejected_by_reason"] == {"no_exchange_rate": 1}
    assert (done["rows_charged"], done["cost_booked"]) == (1, "109.21")  # the ECB's 1 EUR = 1.0921 USD of that Friday


def test_a_folder_of_daily_files_is_booked_once_with_its_bad_lines_kept(tmp_path: Path) -> None:
    write_daily_files(tmp_path / "costs")
    done = run_json("import", "costs", "--zone", "America/New_York", code=Exit.FINDING)
    assert {name: done[name] for name in ("files", "lines", "events_booked", "cost_booked", "rejected")} == {
        "files": 2,
        "lines": 6,
        "events_booked": 4,
        "cost_booked": "0.4002",  # 0.0002 + 2 × 0.02 + 0.36: identical lines of one file both count
        "rejected": 2,
    }
    assert done["rejected_by_reason"] == {"bad_json": 1, "negative_cost": 1}
    assert done["texts_by_name"] == {"topic": 1, "prompt": 2}
    rejects = [json.loads(line) for line in (tmp_path / "costs.rejects.jsonl").read_text().splitlines()]
    assert [(Path(each["source"]).name, each["line"], each["raw"]) for each in rejects] == [
        ("costs_2025-11-01.jsonl", 4, "not json"),
        ("costs_2025-11-02.jsonl.gz", 2, entry(4, "x", "-1")),
    ]
    again = run_json("import", "costs", "--zone", "America/New_York", code=Exit.FINDING)
    assert (again["events_booked"], again["known_already"], again["cost_booked"]) == (0, 4, "0.00")
    job = run_json("job", "video-1")
    assert [(each["service"], each["cost"]) for each in job["by_service"]] == [
        ("nanobanana", "0.04"),
        ("gemini", "0.0002"),
    ]
    shown = run_json("export")
    assert {event["time"] for event in shown} >= {"2025-11-01T14:00:01Z"}
    assert "whale" not in json.dumps(shown)


def test_naive_times_without_a_zone_are_rejected_with_what_to_do(tmp_path: Path) -> None:
    write_daily_files(tmp_path / "costs")
    done = run_json("import", "costs", code=Exit.FINDING)
    assert (done["events_booked"], done["rejected"]) == (0, 6)
    assert "--zone" in (tmp_path / "costs.rejects.jsonl").read_text()


def test_what_the_ledger_refuses_is_rejected_with_its_own_line(tmp_path: Path) -> None:
    good = '{"id":"%s","time":"2026-01-01T00:00:00Z","provider":"openai","service":"gpt-4o","usage":{"%s":%s}}'
    lines = [
        good % ("a", "input_tokens", 1),
        good % ("b", "input_token", 1),
        good % ("a", "input_tokens", 2),
        good % ("c", "input_tokens", -1),
        good % ("d", "input_tokens", 4),
        '{"id":"e","time":"2999-01-01T00:00:00Z","provider":"a","service":"b"}',
        '{"id":"f","time":"2026-01-01T00:00:00Z","provider":"a","service":"b","typo":1}',
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    done = run_json("import", "events.jsonl", "--rejects", "bad.jsonl", code=Exit.FINDING)
    assert done["events_booked"] == 2
    rejects = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert sorted((each["line"], each["code"], each["raw"]) for each in rejects) == [
        (2, "unknown_meter", lines[1]),
        (3, "exists_with_different_usage", lines[2]),
        (4, "negative_quantity", lines[3]),
        (6, "time_in_future", lines[5]),
        (7, "unknown_field", lines[6]),
    ]


def test_lines_that_are_not_text_come_back_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"caf\xe9": 1}\n')
    run_json("import", "events.jsonl", code=Exit.FINDING)
    rejected = json.loads((tmp_path / "events.jsonl.rejects.jsonl").read_text())
    assert base64.b64decode(rejected["raw_base64"]) == b'{"caf\xe9": 1}'


def test_a_rejects_file_that_cannot_be_written_is_said_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("{\n")
    result = CliRunner().invoke(app, ["import", "events.jsonl", "--rejects", str(tmp_path / "no" / "folder")])
    assert result.exit_code == Exit.BAD_INPUT
    assert "[unwritable_rejects]" in result.stderr


def test_importing_a_large_file_keeps_no_more_than_a_group_of_it(tmp_path: Path) -> None:
    """30,000 lines of which every third is twice there: booked once each as often as they stand there."""
    line = '{"time":"2026-01-01T00:00:%02d.%06dZ","provider":"acme","service":"x","reported_cost":"0.01"}\n'
    with (tmp_path / "events.jsonl").open("w") as file:
        for n in range(30_000):
            unique = n - 1 if n % 3 == 1 else n
            file.write(line % (unique % 60, unique))
    done = run_json("import", "events.jsonl")
    assert (done["events_booked"], done["cost_booked"]) == (30_000, "300.00")
    assert run_json("import", "events.jsonl")["known_already"] == 30_000
