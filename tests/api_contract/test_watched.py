"""SDK clients watched by a ledger behind a server: what the tests of hard budgets promise holds there too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api_contract.again import taken_from
from tests.playback_server import PlaybackServer

import outlay

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
SOURCE = Path(__file__).parent.parent / "instrument" / "test_sdk_budgets.py"


@pytest.fixture
def ledger(remote: outlay.Ledger) -> outlay.Ledger:
    """Where these tests run with a ledger in memory and in a file, they run here with one behind a server."""
    return remote


@pytest.fixture(scope="module")
def server() -> Iterator[PlaybackServer]:
    """The provider."""
    playback = PlaybackServer()
    yield playback
    playback.close()


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    outlay.uninstrument()


globals().update(taken_from(SOURCE))
