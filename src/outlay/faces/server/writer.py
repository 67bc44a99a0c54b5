"""One thread that writes for all requests: what waits is one group, one transaction, answered after COMMIT.

A flush of the disk is shared by everybody who came while the one before ran, so that full durability costs a
request next to nothing. What fails as a group is tried again one by one, so that nobody's request fails another's.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from outlay.api import Ledger
from outlay.clock import Instant
from outlay.errors import InvalidInput, LedgerClosed, LedgerError, OutlayError, Overloaded
from outlay.faces.server.logs import say
from outlay.faces.server.metrics import Metrics
from outlay.ledger.store import StaleBook
from outlay.model import Appended, Entry, Rating, UsageEvent
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate
from outlay.recorder import rated_tolerantly

GROUP_EVENTS_MAX: Final = 5_000
"""How many events share a transaction at most: more would let the first of them wait."""

YIELD_S: Final = 300e-6
"""The pause between groups while other processes have the ledger open: without it they wait for up to 85 ms."""

STALE_RETRIES_MAX: Final = 10
_LOOK_AROUND_S: Final = 1.0

Result = TypeVar("Result")
Outcome = Appended | InvalidInput
"""What became of one event: where it stands, or why it cannot be right."""


class Work(Generic[Result]):
    """Something that waits for the writer. `weight` is how many events it is worth."""

    weight = 1

    def __init__(self) -> None:
        """Its future is made by the writer."""
        self.future: asyncio.Future[Result] | None = None


class Events(Work[list[Outcome]]):
    """Events to be rated and kept. `tolerant` keeps those whose numbers contradict each other, unpriced."""

    def __init__(self, events: Sequence[UsageEvent], *, tolerant: bool) -> None:
        super().__init__()
        self.events = events
        self.tolerant = tolerant
        self.weight = max(len(events), 1)


class Task(Work[Result]):
    """Anything else that is to be done by the writer, by itself."""

    def __init__(self, run: Callable[[], Result]) -> None:
        super().__init__()
        self.run = run


Together = Callable[[Sequence[Any]], list[Any]]
"""Does works of one kind in one transaction; an answer for each, which may be an error."""


class Writer:
    """The writing thread of one server."""

    def __init__(self, ledger: Ledger, metrics: Metrics, *, queue_events_max: int) -> None:
        """Nothing runs until `start`."""
        self._ledger = ledger
        self._recorder = ledger.recorder
        self._metrics = metrics
        self._queue_events_max = queue_events_max
        self._queue: deque[Work[Any]] = deque()
        self._weight = 0
        self._wake = threading.Event()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._shared = False
        self._looked_s = 0.0
        self.together: dict[type[Work[Any]], Together] = {Events: self._keep, Task: _run_each}

    # --- for the loop

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return self._weight

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to write. Call on the loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_until_stopped, name="outlay-writer", daemon=True)
        self._thread.start()

    def stop(self, seconds_max: float) -> bool:
        """Write what waits, then end; whether all was written in time. Blocks."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(seconds_max)
        return not self.alive

    async def record(self, events: Sequence[UsageEvent], *, tolerant: bool = False) -> list[Outcome]:
        """Rate and keep events; what became of each, in order, once durable. Raises Overloaded, LedgerError."""
        return await self.do(Events(events, tolerant=tolerant))

    async def run(self, action: Callable[[], Result]) -> Result:
        """Do something in the writer's thread, between groups. Raises what it raises, Overloaded."""
        return await self.do(Task(action))

    async def do(self, work: Work[Result]) -> Result:
        """Hand work in and wait for its answer. Raises Overloaded, LedgerClosed `stopping`, what the work raises."""
        return await self.post(work)

    def post(self, work: Work[Result]) -> asyncio.Future[Result]:
        """Hand work in; its answer comes later. Call on the loop. Raises Overloaded, LedgerClosed `stopping`."""
        if self._stopping or self._loop is None:
            raise LedgerClosed("this server is stopping; send it again in a moment", code="stopping")
        if self._weight + work.weight > self._queue_events_max and self._weight:
            raise Overloaded("more waits for the ledger than it can take on; send it again in a moment")
        future: asyncio.Future[Result] = self._loop.create_future()
        work.future = future
        self._weight += work.weight
        self._queue.append(work)
        if not self._wake.is_set():
            self._wake.set()
        return future

    # --- the thread

    def _write_until_stopped(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._write_group(self._take())
                if self._queue and self._others_there():
                    time.sleep(YIELD_S)
            if self._stopping:
                return

    def _take(self) -> list[Work[Any]]:
        group = [self._queue.popleft()]
        weight = group[0].weight
        while self._queue and weight < GROUP_EVENTS_MAX:
            group.append(self._queue.popleft())
            weight += group[-1].weight
        return group

    def _others_there(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._looked_s > _LOOK_AROUND_S:
            self._looked_s = now_s
            self._shared = self._ledger.store.shared()
        return self._shared

    def _write_group(self, group: list[Work[Any]]) -> None:
        began_s = time.perf_counter()
        loop = self._loop
        for kind, together in self.together.items():
            works = [work for work in group if type(work) is kind]
            if works:
                answers = list(zip(works, self._attempt(works, together), strict=True))
                if loop is not None and not loop.is_closed():
                    # Each kind is a transaction of its own: who asked for one does not wait for the others.
                    loop.call_soon_threadsafe(self._answer, answers)
        self._metrics.group_sizes.add(len(group))
        self._metrics.commit_seconds.add(time.perf_counter() - began_s)

    def _attempt(self, works: Sequence[Work[Any]], together: Together) -> list[Any]:
        """The answers of works of one kind: as one group, and where that fails one by one."""
        try:
            return together(works)
        except Exception as error:  # noqa: BLE001 - whatever fails in the writer thread, everybody is answered
            if len(works) == 1:
                if not isinstance(error, OutlayError):
                    say(logging.ERROR, "the writer failed", kind=type(error).__name__)
                return [error]
        self._metrics.failed_groups += 1
        return [answer for work in works for answer in self._attempt([work], together)]

    def _answer(self, answers: list[tuple[Work[Any], Any]]) -> None:
        for work, answer in answers:
            self._weight -= work.weight
            future = work.future
            if future is None or future.done():
                continue  # The client went away; what it sent is kept all the same.
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    # --- events

    def _keep(self, works: Sequence[Events]) -> list[list[Outcome]]:
        recorder = self._recorder
        for _ in range(STALE_RETRIES_MAX):
            # The epoch before the book: what an older book priced must not pass for a newer one.
            epoch, book, now = recorder.epoch, recorder.book, recorder.clock.now()
            outcomes = [[self._rated(event, work.tolerant, book, now) for event in work.events] for work in works]
            entries = [one for answers in outcomes for one in answers if isinstance(one, Entry)]
            if not entries:
                return [[one for one in answers if not isinstance(one, Entry)] for answers in outcomes]
            try:
                kept = iter(recorder.store.append(entries, epoch=epoch))
            except StaleBook:
                recorder.refresh()
                continue
            return [[next(kept) if isinstance(one, Entry) else one for one in answers] for answers in outcomes]
        raise LedgerError("prices change faster than events can be rated; try again", code="stale_book")

    def _rated(self, event: UsageEvent, tolerant: bool, book: PriceBook, now: Instant) -> Entry | InvalidInput:
        rating: Rating
        if tolerant:
            rating = rated_tolerantly(event, book)
        else:
            try:
                rating = rate(event, book)
            except InvalidInput as error:
                return error
        return self._recorder.entry_of(event, rating, now)


def _run_each(works: Sequence[Task[Any]]) -> list[Any]:
    answers: list[Any] = []
    for work in works:
        try:
            answers.append(work.run())
        except OutlayError as error:
            answers.append(error)
    return answers
