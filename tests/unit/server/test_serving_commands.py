"""`outlay serve` and `outlay keys`: what they show, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server_process import ServerProcess
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OUTLAY_LEDGER", "OUTLAY_CONFIG", "OUTLAY_ZONE"):
        monkeypatch.delenv(name, raising=False)


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


def refusal(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, f"{result.output}\n{result.stderr}\n{result.exception!r}"
    return result.stderr.rstrip().rpartition(" ")[2]


def test_a_key_is_shown_once_and_then_only_named() -> None:
    made = run_json("keys", "add", "--role", "ingest,read", "--scope", "project=video", "--name", "worker")
    assert made["key"].startswith(f"outlay_{made['id']}_")
    (listed,) = run_json("keys", "list")
    assert (listed["roles"], listed["scope"], listed["name"]) == ("ingest, read", "project=video", "worker")
    assert (listed["state"], listed["last_used"]) == ("valid", None)
    assert made["key"] not in run("keys", "list") + json.dumps(listed)


def test_a_key_is_rotated_and_revoked() -> None:
    made = run_json("keys", "add", "--role", "admin")
    rotated = run_json("keys", "rotate", made["id"], "--grace", "60")
    assert rotated["id"] == made["id"]
    assert rotated["key"] != made["key"]
    run("keys", "revoke", made["id"], "--yes")
    assert [key["state"] for key in run_json("keys", "list")] == ["revoked"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "add", "--role", "owner"), "[bad_key]"),
        (("keys", "add", "--role", "admin", "--scope", "project=video"), "[bad_key]"),
        (("keys", "add", "--role", "read", "--expires", "yesterday"), "[bad_key]"),
        (("serve", "a.db", "--host", "0.0.0.0"), "[open_to_others]"),
        (("serve", "a.db", "--port", "70000"), "[bad_config]"),
        (("serve", "a.db", "--log-level", "loud"), "[bad_option]"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(arguments: tuple[str, ...], code: str) -> None:
    assert refusal(*arguments) == code


def test_a_setting_of_the_server_that_is_not_known_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outlay.toml").write_text("[server]\nports = 1\n")
    assert refusal("serve", "a.db") == "[bad_config]"


def test_a_server_takes_a_key_made_while_it_runs_and_from_then_on_wants_one(tmp_path: Path) -> None:
    outlay.open(tmp_path / "outlay.db").close()
    with ServerProcess(tmp_path / "outlay.db", tmp_path, keys_seconds_max=0.05) as server:
        with httpx.Client(base_url=server.url) as client:
            assert client.get("/v1/ledger").status_code == 200
            made = run_json("keys", "add", "--role", "read", "--ledger", "outlay.db")
            while client.get("/v1/ledger").status_code == 200:
                pass
            headers = {"authorization": f"Bearer {made['key']}"}
            assert client.get("/v1/ledger").json()["code"] == "key_required"
            assert client.get("/v1/ledger", headers=headers).status_code == 200
            run("keys", "revoke", made["id"], "--yes", "--ledger", "outlay.db")
            while client.get("/v1/ledger", headers=headers).status_code == 200:
                pass
            assert client.get("/v1/ledger", headers=headers).json()["code"] == "key_revoked"
        assert server.stop() == 0
        log = server.log.read_text()
    assert made["key"] not in log
    assert all(json.loads(line)["level"] for line in log.splitlines())
    (key,) = run_json("keys", "list", "--ledger", "outlay.db")
    assert key["last_used"] is not None
