"""Tests of a module taken to be run again with another ledger."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any


def taken_from(path: Path, without: Collection[str] = ()) -> Iterator[tuple[str, Any]]:
    """The tests of a module that take a `ledger`."""
    spec = importlib.util.spec_from_file_location(f"again_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in vars(module).items():
        if name.startswith("test_") and name not in without and "ledger" in inspect.signature(value).parameters:
            yield name, value
