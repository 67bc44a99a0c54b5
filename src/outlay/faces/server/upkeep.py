"""What a server does besides answering: it reads keys anew, and folds and expires while it holds the lease."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from functools import partial
from traceback import extract_tb
from typing import Any, Final

from outlay.clock import MICROSECONDS_PER_SECOND
from outlay.errors import OutlayError
from outlay.faces.server.logs import say
from outlay.faces.server.state import ServerState

LEASE: Final = "upkeep"
"""One server of a ledger at a time folds and expires."""

LEASE_SECONDS: Final = 10
ROUND_SECONDS: Final = 1.0
WARMED_AT_ONCE: Final = 20_000
"""How many past entries a round looks at for new budgets: what is overdue does not wait for a long history."""

SLOW_SECONDS: Final = float(LEASE_SECONDS)
"""A round that takes longer than the lease is told: another server may have begun to lead meanwhile."""

TOKENS_ROUNDS: Final = 300
Loop = Callable[[], Coroutine[Any, Any, None]]


class Upkeep:
    """The background work of one server."""

    def __init__(self, state: ServerState) -> None:
        """Nothing runs until `start`."""
        self._state = state
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self.leading = False
        self._tasks: dict[Loop, asyncio.Task[None]] = {}
        state.metrics.gauges["outlay_leading"] = ("1 while this server does the shared work.", lambda: self.leading)

    async def start(self) -> None:
        """Read the keys, begin to write, and go round. Raises OutlayError where the keys cannot be read."""
        await asyncio.to_thread(self._state.gate.load)
        await asyncio.to_thread(self._state.ledger.recorder.refresh)
        self._state.writer.start()
        for loop in (self._keep_keys, self._lead):
            self._begin(loop)

    async def stop(self) -> None:
        """Write what waits, give the lease up."""
        self._state.stopping.set()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        drained = await asyncio.to_thread(self._state.writer.stop, self._state.settings.drain_seconds_max)
        if not drained:
            say(logging.ERROR, "stopped before all was written", waiting=self._state.writer.waiting)
        try:
            await asyncio.to_thread(self._state.gate.ring.load, self._state.ledger.store)
            await asyncio.to_thread(self._state.ledger.store.release_lease, LEASE, self.holder)
        except OutlayError as error:
            say(logging.WARNING, "the lease was not given up; it ends by itself", code=error.code)

    def _begin(self, loop: Loop) -> None:
        if not self._state.stopping.is_set():
            self._tasks[loop] = task = asyncio.create_task(loop())
            task.add_done_callback(partial(self._ended, loop))

    def _ended(self, loop: Loop, task: asyncio.Task[None]) -> None:
        """What nobody foresaw ends a loop: it is said by its kind and place, and the loop begins again."""
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self.leading = False
        place = extract_tb(error.__traceback__)[-1]
        kind = type(error).__name__
        say(logging.ERROR, "upkeep ended; it begins again", kind=kind, at=f"{place.filename}:{place.lineno}")
        asyncio.get_running_loop().call_later(ROUND_SECONDS, self._begin, loop)

    async def _keep_keys(self) -> None:
        rounds = 0
        while True:
            await asyncio.sleep(self._state.settings.keys_seconds_max)
            rounds += 1
            try:
                await asyncio.to_thread(self._state.gate.ring.load, self._state.ledger.store)
                if rounds % TOKENS_ROUNDS == 0:
                    await asyncio.to_thread(self._state.gate.tokens.load)
            except OutlayError as error:
                say(logging.WARNING, "keys were not read anew; those known go on", code=error.code)

    async def _lead(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                self.leading = await asyncio.to_thread(self._round)
            except OutlayError as error:
                self.leading = False
                say(logging.WARNING, "upkeep failed; it is tried again", code=error.code)
            took_s = time.monotonic() - began_s
            if took_s > SLOW_SECONDS:
                say(logging.WARNING, "a round of upkeep took longer than its lease", seconds=round(took_s, 1))
            await asyncio.sleep(ROUND_SECONDS)

    def _round(self) -> bool:
        """One round of the shared work, if the lease is ours; whether it is."""
        ledger = self._state.ledger
        now = ledger.clock.now()
        until = now + LEASE_SECONDS * MICROSECONDS_PER_SECOND
        if not ledger.store.take_lease(LEASE, self.holder, now, until):
            return False
        ledger.store.expire(now)
        ledger.store.warm(WARMED_AT_ONCE)
        ledger.store.fold()
        return True
