"""docs/importing.md is run: its files are written, its commands typed, and their output is what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from outlay.faces.cli.commands import app

PAGE = Path(__file__).parent.parent.parent / "docs" / "importing.md"
FILE = re.compile(r"^`([\w./-]+)`:\n\n```(?:json|csv)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SESSION = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_s_commands_give_the_page_s_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTLAY_LEDGER", raising=False)
    page = PAGE.read_text()
    files = FILE.findall(page)
    assert len(files) == 4
    for name, text in files:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    steps = [step for session in SESSION.findall(page) for step in session.split("$ outlay ")[1:]]
    assert len(steps) == 8
    for step in steps:
        command, _, expected = step.partition("\n")
        shown = CliRunner().invoke(app, command.split()).stdout
        assert shown == expected, command
