"""The one suite that every ledger passes: in memory, in a file, and behind a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import served

import outlay


@pytest.fixture(autouse=True)
def spool_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a server waits in the test's own folder."""
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))


@pytest.fixture(params=["memory", "sqlite", "remote"])
def ledger(request: pytest.FixtureRequest, clock: outlay.FrozenClock, tmp_path: Path) -> Iterator[outlay.Ledger]:
    """A ledger on the driven clock: in memory, in a file, and one in a file behind a real server."""
    if request.param == "memory":
        with outlay.open("memory:", clock=clock) as found:
            yield found
        return
    with outlay.open(str(tmp_path / "outlay.db"), clock=clock) as kept:
        if request.param == "sqlite":
            yield kept
            return
        with served(kept) as server, outlay.open(server.address, clock=clock) as found:
            yield found
