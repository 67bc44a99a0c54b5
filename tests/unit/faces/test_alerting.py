"""`outlay alerts`, `tick` and `watch`: what they say and what they tell the shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app

LEDGER = "a.db"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with outlay.open(LEDGER) as ledger:
        ledger.record(provider="openai", service="gpt-4o", reported_cost="51")
    return tmp_path


def run(*arguments: str, exits: int = 0) -> Any:
    result = CliRunner().invoke(app, [*arguments, "--ledger", LEDGER])
    assert result.exit_code == exits, result.output
    return json.loads(result.output) if "--json" in arguments else result.output


def test_a_rule_is_set_checked_and_taken_away(folder: Path) -> None:
    assert run("alerts", "check", "--json")["open"] == 0
    run("alerts", "set", "daily", "--above", "50")
    assert run("alerts", "check", "--json", exits=1)["open"] == 1
    (alert,) = run("alerts", "list", "--json")["rows"]
    assert "$51.00" in alert["title"]
    run("alerts", "ack", alert["id"], "--who", "ana")
    run("alerts", "own", alert["id"], "bob")
    run("alerts", "resolve", alert["id"])
    (alert,) = run("alerts", "list", "--json")["rows"]
    assert (alert["acknowledged_by"], alert["owner"], alert["state"]) == ("ana", "bob", "resolved")
    run("alerts", "remove", "daily", "--yes")
    assert run("alerts", "rules", "--json")["rows"] == []
    run("alerts", "remove", "daily", "--yes", exits=4)


def test_tick_says_by_its_exit_code_that_something_is_open_or_was_not_sent(folder: Path) -> None:
    run("tick")
    (folder / "outlay.toml").write_text('[alerts.rules.daily]\nabove = "50"\n')
    assert run("tick", "--json", exits=1)["rows"][0]["open"] == 1


def test_alerts_of_a_file_that_cannot_be_right_are_refused_by_name(folder: Path) -> None:
    (folder / "outlay.toml").write_text('[alerts.channels.hook]\nwebhook = "http://localhost"\n')
    assert "bad_channel" in run("tick", exits=2)
    (folder / "outlay.toml").write_text('[alerts]\nrule = "x"\n')
    assert "bad_config" in run("tick", exits=2)


def test_watch_ends_when_it_is_told_to_and_gives_up_its_lease(folder: Path) -> None:
    command = [sys.executable, "-m", "outlay", "watch", "--ledger", LEDGER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        assert "watching" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    with outlay.open(LEDGER) as ledger:
        assert ledger.undelivered_alerts().watched_until is None
