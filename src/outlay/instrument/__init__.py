"""Capture without rewriting the program: `ledger.watch(client)` for one client, `instrument_all` for all of them.

An SDK's calls are seen where they leave it: at the one method through which all its requests go, and at the HTTP
client below. So every call of an SDK is seen, what the provider answered is read by the same files as
`ledger.record_response`, and the program gets the SDK's own objects. Nothing here imports an SDK that the program
did not import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outlay.instrument.patching import instrument, instrumented_sdks, uninstrument
from outlay.instrument.watching import Watch, watch

if TYPE_CHECKING:
    from outlay.api import Ledger

__all__ = ["Watch", "instrument_all", "instrumented_sdks", "uninstrument", "watch"]


def instrument_all(ledger: Ledger | None = None, *, write_maximum: bool = True, ask_usage: bool = True) -> list[str]:
    """Keep the calls of every SDK that Outlay knows, from clients made before and after this; their names.

    What is installed is watched, imported now or later. Without `ledger` it is `outlay.current_ledger()`, opened at
    the first call. A client that is watched by `ledger.watch` stays with its ledger. `uninstrument()` undoes it.
    """
    return instrument(Watch(ledger, write_maximum=write_maximum, ask_usage=ask_usage))
