"""The commands of bills: what they show, what they write, how they end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import Exit

BILL = (
    "Date,Service,Resource,Cost,Usage,Unit,Provider\n"
    "2026-03-02,gpt-4o,,0.30,100000,tokens,openai\n"
    "2026-03-02,RDS,db,0.41,24,hours,aws\n"
)


@pytest.fixture(autouse=True)
def _a_ledger_with_calls_and_their_bill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_ZONE", "OPENAI_ADMIN_KEY"):
        monkeypatch.delenv(name, raising=False)
    with outlay.open("outlay.db") as ledger:
        for feature, tokens in (("chat", 75_000), ("search", 25_000)):  # × $2.50 / 1M: $0.1875 and $0.0625
            ledger.record(
                provider="openai",
                service="gpt-4o",
                feature=feature,
                usage={"input_tokens": tokens},
                time="2026-03-02T10:00:00Z",
            )
    (tmp_path / "bill.csv").write_text(BILL)
    assert run_json("import", "bill.csv")["rows_waiting"] == 1


def run(*arguments: str, code: Exit = Exit.OK) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result.stdout


def run_json(*arguments: str, code: Exit = Exit.OK) -> Any:
    return json.loads(run(*arguments, "--json", code=code))


def test_reconcile_tells_why_and_makes_the_ledger_say_what_the_bill_says() -> None:
    shown = run("reconcile", "--dry-run", code=Exit.FINDING)
    assert "a dry run: nothing was written" in shown
    assert run_json("costs", "--by", "")["total"]["cost"] == "0.66"  # 0.25 called, 0.41 billed
    told = run_json("reconcile", code=Exit.FINDING)
    assert (told["billed"], told["unmetered"], told["total"]["difference"]) == ("0.71", "0.41", "0.05")
    assert told["total"]["causes"] == {"unexplained": "0.05"}  # this bill's quantities have no meter
    assert told["written"] == {"created": 1, "changed": 0, "cancelled": 0, "amount": "0.05"}
    assert run_json("costs", "--by", "")["total"]["cost"] == "0.71"
    assert run_json("costs", "--by", "", "--view", "called")["total"]["cost"] == "0.25"
    assert run_json("reconcile", "--drift", "0.5")["written"]["created"] == 0
    assert "2026-03-02" in run("reconcile", "--daily", "--drift", "1")


def test_allocate_gives_all_of_it() -> None:
    told = run_json("allocate", "feature")
    assert [(row["feature"], row["given"]) for row in told["rows"]] == [("chat", "0.3075"), ("search", "0.1025")]
    weights = run_json("allocate", "feature", "--rule", "weight", "--weight", "chat=1", "--weight", "search=1")
    assert [row["given"] for row in weights["rows"]] == ["0.205", "0.205"]
    assert "bad_choice" in CliRunner().invoke(app, ["allocate", "feature", "--rule", "fairly"]).stderr


def test_a_balance_is_entered_and_shown() -> None:
    assert run_json("balance", "replicate", "--set", "12.50")["rows"][0]["left"] == "12.50"
    assert [row["provider"] for row in run_json("balance")["rows"]] == ["replicate"]
    run("balance", "openai", code=Exit.NOT_FOUND)
    run("balance", "--set", "1", code=Exit.BAD_INPUT)
    run("balance", "replicate", "--read", code=Exit.BAD_INPUT)


def test_a_choice_of_days_that_is_none_is_refused() -> None:
    run("bill", "aws", "--yesterday", "--since", "2026-03-01", code=Exit.BAD_INPUT)
    run("bill", "aws", "--since", "2026-03-02", "--until", "2026-03-01", code=Exit.BAD_INPUT)
    run("bill", "openai", "--since", "2026-03-02T00:00:00Z", code=Exit.BAD_INPUT)  # no key in the environment
    run("reconcile", "--provider", "nobody", code=Exit.NOT_FOUND)
