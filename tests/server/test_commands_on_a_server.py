"""Every command of the command line, in its simplest form, on a ledger behind a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from tests.served import Served, served
from typer.main import get_command
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import Exit

STACK = Path(__file__).parents[2] / "examples" / "stack.toml"

WORKS: dict[str, list[str]] = {
    "recording": [
        "record -p openai -s gpt-4o -u output_tokens=5",
        "import lines.jsonl",
        "import bill.csv",
        "finish j --units 2",
        "correct e1 --reason mistyped --user v",
        "reprice --dry-run",
    ],
    "asking": [
        "costs",
        "costs --as-of 1h",
        "costs --by day --svg costs.svg",
        "top",
        "job j",
        "event e1",
        "explain j",
    ],
    "looking ahead and back": [
        "forecast --svg forecast.svg",
        "anomalies",
        "compare",
        "compare --before 60 --after 30",
    ],
    "estimating": [
        f"estimate {STACK} --against 2",
        "estimate job.toml --job j",
        "estimated j",
        f"advise {STACK}",
        f"advise {STACK} --checklist",
        "advise --effects",
    ],
    "bills": [
        "reconcile --dry-run",
        "reconcile",
        "allocate feature",
        "balance openai --set 50",
        "balance",
    ],
    "keeping": [
        "retain --days 30 --yes",
        "forget --user nobody --yes",
        "audit",
        "doctor",
    ],
    "reports": [
        "report month --running",
        "report --days 3",
        "report --sent",
        "note 2026-11-22 words",
        "note j words --on job",
    ],
    "exports": [
        "export focus focus.csv",
        "export csv",
        "export parquet out.parquet",
        "export usage",
        "aws template",
        "aws queries",
    ],
    "prices": [
        "prices show openai",
        "prices add -p acme -s x -m requests --price 1 --source offer",
        "prices check",
        "prices diff",
        "prices history",
        "prices meters",
        "prices exchange EUR",
    ],
    "budgets": [
        "budget add day --limit 5 --window day",
        "budget raise day 1 --reason launch --hours 2",
        "budget list",
        "budget show day",
        "budget history day",
        "budget why",
        "budget remove day --yes --reason over",
    ],
    "alerts": [
        "alerts list",
        "alerts set big --above 5",
        "alerts rules",
        "alerts snooze big",
        "alerts suggest",
        "alerts remove big --yes",
    ],
}
"""What a file's ledger does and a server's does too, what belongs together in order."""

REFUSED = {
    "backup copy.db": "not_remote",
    "migrate {address} copy.db": "not_remote",
    "serve": "not_remote",
    "watch": "not_remote",
    "tick": "not_remote",
    "alerts check": "not_remote",
    "prices sync --shipped": "not_remote",
    "keys add --role read": "not_remote",
    "keys list": "not_remote",
    "keys rotate k": "not_remote",
    "keys revoke k --yes": "not_remote",
    "gateway keys list": "not_remote",
    "gateway keys revoke k --yes": "not_remote",
    "gateway keys add openai": "no_master_key",
    "aws publish": "not_remote",
    "alerts ack a": "no_such_alert",
    "alerts own a ana": "no_such_alert",
    "alerts resolve a": "no_such_alert",
    "alerts resend a": "no_such_alert",
    "alerts test c": "no_such_channel",
    "bill openai": "missing_secret",
    "bill anthropic": "missing_secret",
    "bill replicate": "missing_secret",
}
"""What is refused, by its code: what only the host of a ledger can do, and what there is nothing to do with here."""

FILES = {
    "lines.jsonl": '{"id": "l1", "provider": "openai", "service": "gpt-4o", "usage": {"output_tokens": 5}}\n',
    "job.toml": '[[step]]\nprovider = "openai"\nservice = "gpt-4o"\nusage = { output_tokens = 1000 }\n',
    "bill.csv": "Date,Service,Resource,Cost,Usage,Unit\n2026-03-02,S3,assets,12.50,5,GB-hours\n",
}

ELSEWHERE = {("demo",), ("bill", "aws"), ("aws", "plan"), ("aws", "apply"), ("aws", "check")}
"""Commands that make a ledger of their own, or that ask a cloud first."""


def commands() -> set[tuple[str, ...]]:
    """Every command, by its words."""
    found: set[tuple[str, ...]] = set()

    def walk(command: Any, path: tuple[str, ...]) -> None:
        if not hasattr(command, "commands"):
            found.add(path)
        for name, each in getattr(command, "commands", {}).items():
            walk(each, (*path, name))

    walk(get_command(app), ())
    return found


def test_every_command_is_tried() -> None:
    tried = [line.split() for line in (*chain(*WORKS.values()), *REFUSED)]
    missing = {path for path in commands() if not any(tuple(line[: len(path)]) == path for line in tried)}
    assert missing == ELSEWHERE


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over a ledger with some calls."""
    with outlay.open(str(tmp_path_factory.mktemp("kept") / "outlay.db")) as ledger:
        for number in range(5):
            usage = {"output_tokens": 1_000 * number + 1}
            feature = "summary" if number % 2 else None
            ledger.record(
                provider="openai", service="gpt-4o", usage=usage, job="j", user="u", id=f"e{number}", feature=feature
            )
        with served(ledger) as found:
            yield found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    for name in ("OUTLAY_MASTER_KEY", "OPENAI_ADMIN_KEY", "ANTHROPIC_ADMIN_KEY", "REPLICATE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    line = (
        '{"id":"l1","time":"2026-11-20T00:00:00Z","provider":"openai","service":"gpt-4o","usage":{"output_tokens":5}}'
    )
    (tmp_path / "lines.jsonl").write_text(line + "\n")
    (tmp_path / "job.toml").write_text('[[step]]\nprovider="openai"\nservice="gpt-4o"\nusage={output_tokens=1000}\n')
    (tmp_path / "bill.csv").write_text(
        "Date,Service,Resource,Cost,Usage,Unit\n2026-03-02,S3,assets,12.50,5,GB-hours\n"
    )
    return tmp_path


@pytest.mark.parametrize("what", WORKS)
def test_what_a_file_s_ledger_does_a_server_s_does_too(
    what: str, serving: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAY_LEDGER", serving.address)
    wrong = []
    for line in WORKS[what]:
        done = CliRunner().invoke(app, line.split())
        failed = done.exception is not None and not isinstance(done.exception, SystemExit)
        if failed or done.exit_code not in (Exit.OK, Exit.FINDING):
            wrong.append((line, repr(done.exception), done.stderr))
    assert wrong == []


def test_what_a_server_s_client_cannot_do_is_refused_by_name(
    serving: Served, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLAY_LEDGER", serving.address)
    codes = {}
    for line in REFUSED:
        done = CliRunner().invoke(app, line.format(address=serving.address).split())
        codes[line] = (re.findall(r"\[(\w+)\]\s*$", done.stderr) or [done.stderr + repr(done.exception)])[0]
    assert codes == REFUSED
