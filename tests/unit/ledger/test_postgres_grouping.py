"""Threads that come together share one run; whoever is alone is not kept waiting, and nobody is left behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

import outlay
from outlay.errors import LedgerClosed
from outlay.ledger.postgres.connections import Connections
from outlay.ledger.postgres.grouping import Grouping
from outlay.ledger.store import StaleBook


class Work:
    """Runs that wait until they are let go, so that the test says who comes together."""

    def __init__(self, most: int = 64) -> None:
        self.groups: list[tuple[list[int], int | None]] = []
        self.gate = threading.Event()
        self.began = threading.Event()
        self.grouping: Grouping[int, int] = Grouping(self.run, most)

    def run(self, asked: Sequence[int], epoch: int | None) -> list[int]:
        self.groups.append((list(asked), epoch))
        self.began.set()
        assert self.gate.wait(10)
        if -1 in asked:
            raise outlay.InvalidInput("minus one cannot be stored", code="minus_one")
        if -2 in asked:
            raise StaleBook
        return [one * 10 for one in asked]

    def behind(self, first: int, others: Sequence[tuple[int, int | None]]) -> list[object]:
        """What becomes of one call and of those that come while it runs."""
        with ThreadPoolExecutor(len(others) + 1) as pool:
            running = [pool.submit(self.grouping, first, None)]
            assert self.began.wait(10)
            for place, (asked, epoch) in enumerate(others, 1):
                running.append(pool.submit(self.grouping, asked, epoch))
                while len(self.grouping._waiting) < place:
                    pass
            self.gate.set()
            return [one.exception() or one.result() for one in running]


def test_alone_it_runs_at_once() -> None:
    work = Work()
    work.gate.set()
    assert work.grouping(1, 7) == 10
    assert work.groups == [([1], 7)]


def test_who_comes_while_one_runs_is_the_next_group_in_order() -> None:
    work = Work()
    assert work.behind(1, [(2, None), (3, None), (4, None)]) == [10, 20, 30, 40]
    assert work.groups == [([1], None), ([2, 3, 4], None)]


def test_a_group_has_an_end_and_one_epoch() -> None:
    work = Work(most=2)
    assert work.behind(1, [(2, None), (3, None), (4, None), (5, 1), (6, 2)]) == [10, 20, 30, 40, 50, 60]
    assert work.groups == [([1], None), ([2, 3], None), ([4], None), ([5], 1), ([6], 2)]


def test_the_one_that_cannot_be_stored_is_told_and_the_others_go_through() -> None:
    work = Work()
    found = work.behind(1, [(2, None), (-1, None), (3, None)])
    assert [one if isinstance(one, int) else type(one) for one in found] == [10, 20, outlay.InvalidInput, 30]
    assert work.groups[1] == ([2, -1, 3], None)


def test_the_stores_own_failure_is_told_to_each_as_an_error_of_its_own() -> None:
    work = Work()
    _, *found = work.behind(1, [(-2, None), (3, None)])
    assert [type(one) for one in found] == [StaleBook, StaleBook]
    assert found[0] is not found[1]


def test_a_leader_that_is_interrupted_leaves_nobody_waiting() -> None:
    runs = []

    def run(asked: Sequence[int], epoch: int | None) -> list[int]:
        runs.append(list(asked))
        if runs == [[1]]:
            raise KeyboardInterrupt
        return list(asked)

    grouping: Grouping[int, int] = Grouping(run)
    with pytest.raises(KeyboardInterrupt):
        grouping(1, None)
    assert grouping(2, None) == 2


class _Interrupted:
    """A lock whose leaving is interrupted once, as by Ctrl-C."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = 1

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self._left:
            self._left -= 1
            raise KeyboardInterrupt


def test_ctrl_c_right_after_a_place_was_taken_keeps_nobody_waiting() -> None:
    grouping: Grouping[int, int] = Grouping(lambda asked, epoch: list(asked))
    grouping._lock = _Interrupted()  # type: ignore[assignment]  # stands where the lock does
    with pytest.raises(KeyboardInterrupt):
        grouping(1, None)
    answers: list[int] = []
    later = threading.Thread(target=lambda: answers.append(grouping(2, None)), daemon=True)
    later.start()
    later.join(30)
    assert answers == [2]


def test_connections_stay_closed_until_the_last_of_two_forks_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    connections = Connections("postgresql://nobody@127.0.0.1:1/none")
    opened = threading.Event()

    def connect(self: Connections) -> None:
        opened.set()
        raise LedgerClosed

    monkeypatch.setattr(Connections, "connect", connect)

    def ask() -> None:
        with pytest.raises(LedgerClosed):
            connections._take()

    connections.before_fork()
    connections.before_fork()
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    connections.after_fork_in_parent()
    assert not opened.wait(0.2)
    connections.after_fork_in_parent()
    assert opened.wait(30)
    asking.join(30)
