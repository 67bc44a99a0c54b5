"""What the tests of the api promise of a ledger at hand holds behind a server too: the same tests, run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.api_contract.again import taken_from

import outlay

FOLDER = Path(__file__).parent.parent / "unit" / "api"
NEED_THE_STORE = {"test_unmetered_rows_are_charged_and_measured_ones_wait"}
"""What looks into the store, which only the server reaches."""


@pytest.fixture
def ledger(remote: outlay.Ledger) -> outlay.Ledger:
    """Where these tests run with a ledger in memory and in a file, they run here with one behind a server."""
    return remote


for _path in sorted(FOLDER.glob("test_*.py")):
    globals().update(taken_from(_path, without=NEED_THE_STORE))
