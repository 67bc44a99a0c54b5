"""A WSGI program that opened its ledger before gunicorn forked its workers (--preload)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.ledger_entries import make_entry

from outlay.ledger.sqlite import SqliteStore

STORE = SqliteStore(Path(os.environ["LEDGER"]))
STORE.append([make_entry("preloaded")])


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Record one event named by the path."""
    (result,) = STORE.append([make_entry(environ["PATH_INFO"].strip("/"))])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [result.code.encode(), b" ", str(os.getpid()).encode()]
