"""Streams that a program forgets: they are kept by a thread of their own, never within a garbage collection.

A collection begins at any allocation: inside a transaction of the ledger, or under a lock that keeping the call takes
again. So a stream that is collected is only noted, which needs no lock, and its call is kept a moment later; or at
once by whoever asks the ledger next.
"""

from __future__ import annotations

import atexit
import gc
import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from outlay.calls import LATE

Keep = Callable[[], None]


class _Forgotten:
    """What was collected and is to be kept, and the thread that keeps it."""

    def __init__(self) -> None:
        self.waiting: deque[Keep] = deque()
        # Its `put` may be called by a destructor that interrupts another `put`.
        self.noted: SimpleQueue[None] = SimpleQueue()
        self.keeping = threading.RLock()
        self.thread: threading.Thread | None = None

    def keep(self) -> None:
        with self.keeping:
            while self.waiting:
                self.waiting.popleft()()

    def run(self) -> None:
        while True:
            self.noted.get()
            self.keep()


_forgotten = _Forgotten()
_starting = threading.Lock()


def attend() -> None:
    """See that there is a thread which keeps what is forgotten. A destructor could not start one."""
    if _forgotten.thread is None:
        with _starting:
            if _note_collection not in gc.callbacks:
                gc.callbacks.append(_note_collection)
            if _forgotten.thread is None:
                _forgotten.thread = threading.Thread(target=_forgotten.run, name="outlay-forgotten", daemon=True)
                _forgotten.thread.start()


class _Collection:
    """The one that runs, in which thread; 0 for none."""

    thread = 0


def _note_collection(phase: str, told: dict[str, Any]) -> None:
    _Collection.thread = threading.get_ident() if phase == "start" else 0


def collecting() -> bool:
    """Whether this thread is within a garbage collection."""
    return _Collection.thread == threading.get_ident()


def forget(keep: Keep) -> None:
    """Have something kept soon. For destructors: it takes no lock."""
    _forgotten.waiting.append(keep)
    _forgotten.noted.put(None)


def keep_forgotten() -> None:
    """Keep now what was collected until now."""
    if _forgotten.thread is not None:
        _forgotten.keep()


def _after_fork_in_child() -> None:
    """What was noted is the parent's to keep, and its thread does not exist here."""
    global _forgotten, _starting
    _forgotten, _starting = _Forgotten(), threading.Lock()


LATE.append(keep_forgotten)
atexit.register(keep_forgotten)
os.register_at_fork(after_in_child=_after_fork_in_child)
