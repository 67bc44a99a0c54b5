"""Threads that ask for the same kind of work at the same time share one transaction.

Whoever comes first runs at once, with whoever waits already; those who come meanwhile wait and are the next group. So
nobody waits to make a group larger, and 32 threads under one budget pay for one flush instead of 32.
"""

from __future__ import annotations

import copy
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, TypeVar

from outlay.errors import LedgerError, OutlayError

GROUP_MAX: Final = 64
"""How many are run together: the first of them waits for the last."""

Asked = TypeVar("Asked")
Given = TypeVar("Given")


class _Place(Generic[Asked, Given]):
    """Where one thread waits, and what it is given."""

    __slots__ = ("answer", "asked", "epoch", "error", "leads", "over", "turn")

    def __init__(self, asked: Asked, epoch: int | None) -> None:
        self.epoch = epoch
        self.asked = asked
        self.turn = threading.Lock()
        self.turn.acquire()
        self.leads = False
        self.over = False
        self.answer: list[Given] = []
        self.error: OutlayError | None = None


class Grouping(Generic[Asked, Given]):
    """One kind of work, done in groups for the same epoch."""

    def __init__(self, run: Callable[[Sequence[Asked], int | None], Sequence[Given]], most: int = GROUP_MAX) -> None:
        """`run` gives one result for each of what it is given, in order; what it raises is of the whole group."""
        self._run = run
        self._most = most
        self._start()
        _ALL.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Place[Asked, Given]] = deque()
        self._led = False

    def __call__(self, asked: Asked, epoch: int | None) -> Given:
        """What becomes of one. Raises what its group raised, or what it raises alone where the group was at fault."""
        place: _Place[Asked, Given] = _Place(asked, epoch)
        try:
            with self._lock:
                self._waiting.append(place)
                place.leads = not self._led
                self._led = True
            if not place.leads:
                place.turn.acquire()
            if place.leads:
                self._lead()
        finally:
            if not place.over:
                self._leave(place)
        if place.error is not None:
            raise place.error
        return place.answer[0] if place.answer else self._run([asked], epoch)[0]

    def _lead(self) -> None:
        """Run the first that wait, give each its answer, and let the next one lead."""
        with self._lock:
            group = self._next()
        try:
            answers = self._run([one.asked for one in group], group[0].epoch)
            for one, answer in zip(group, answers, strict=True):
                one.answer.append(answer)
        except OutlayError as error:
            if len(group) == 1:
                group[0].error = error
            elif isinstance(error, LedgerError):
                # The store's fault: it would be the same for each of them alone.
                for one in group:
                    one.error = copy.copy(error)
                    one.error.__cause__ = error.__cause__
            # Else one of them cannot be stored: each tries again by itself, and that one is told.
        finally:
            self._hand_over(group)

    def _next(self) -> list[_Place[Asked, Given]]:
        group = [self._waiting.popleft()]
        while self._waiting and len(group) < self._most and self._waiting[0].epoch == group[0].epoch:
            group.append(self._waiting.popleft())
        return group

    def _hand_over(self, group: Sequence[_Place[Asked, Given]]) -> None:
        with self._lock:
            for one in group:
                one.leads = False
                one.over = True
                one.turn.release()
            self._promote()

    def _promote(self) -> None:
        self._led = bool(self._waiting)
        if self._waiting:
            heir = self._waiting[0]
            heir.leads = True
            heir.turn.release()

    def _leave(self, place: _Place[Asked, Given]) -> None:
        """A thread that is interrupted while it waits keeps nobody else waiting."""
        with self._lock:
            if place.over or place not in self._waiting:
                return
            self._waiting.remove(place)
            if place.leads:
                self._promote()

    def after_fork_in_child(self) -> None:
        """The threads of the parent that waited do not exist here."""
        self._start()


_ALL: weakref.WeakSet[Grouping[Any, Any]] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_ALL):
        one.after_fork_in_child()


os.register_at_fork(after_in_child=_after_fork)
