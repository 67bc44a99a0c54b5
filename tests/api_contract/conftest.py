"""The one suite that every ledger passes: in memory, in a file, and behind a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.served import Served, served

import outlay
from outlay import remote_transport


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that failed is sent again at once: how long a server is left in peace is not what is tested here."""
    monkeypatch.setattr(remote_transport, "PAUSE_S", 0.001)


@pytest.fixture(autouse=True)
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What waits for a server waits in the test's own folder."""
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    return tmp_path / "waiting"


@pytest.fixture
def kept(clock: outlay.FrozenClock, tmp_path: Path) -> Iterator[outlay.Ledger]:
    """A ledger in a file, as its server has it open."""
    with outlay.open(str(tmp_path / "outlay.db"), clock=clock) as found:
        yield found


@pytest.fixture
def serving(kept: outlay.Ledger) -> Iterator[Served]:
    """A server over it."""
    with served(kept) as found:
        yield found


@pytest.fixture
def remote(serving: Served, clock: outlay.FrozenClock) -> Iterator[outlay.Ledger]:
    """The same ledger behind that server."""
    with outlay.open(serving.address, clock=clock) as found:
        yield found
