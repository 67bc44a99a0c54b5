"""What the tests of the api promise of a ledger at hand holds behind a server too: the same tests, run again."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import outlay

FOLDER = Path(__file__).parent.parent / "unit" / "api"
NEED_THE_STORE = {"test_unmetered_rows_are_charged_and_measured_ones_wait"}
"""What looks into the store, which only the server reaches."""


@pytest.fixture
def ledger(remote: outlay.Ledger) -> outlay.Ledger:
    """Where these tests run with a ledger in memory and in a file, they run here with one behind a server."""
    return remote


def _tests(path: Path) -> Iterator[tuple[str, Any]]:
    spec = importlib.util.spec_from_file_location(f"again_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in vars(module).items():
        if (
            name.startswith("test_")
            and name not in NEED_THE_STORE
            and "ledger" in inspect.signature(value).parameters
        ):
            yield name, value


for _path in sorted(FOLDER.glob("test_*.py")):
    globals().update(_tests(_path))
