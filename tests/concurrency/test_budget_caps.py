"""A cap holds under any interleaving: 64 calls of a cent at ten cents are exactly ten, in threads and processes.

Rounds run in long-lived workers, each round under budgets of its own; the counts in full are marked soak.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.concurrency.budget_programs import Watched, exact, run

import outlay
from outlay.budgets.limits import scope_of
from outlay.clock import DAY_MICROSECONDS, to_instant

PROGRAM = Path(__file__).parent / "budget_programs.py"
CALLS = 64
ROUNDS = int(os.environ.get("OUTLAY_ROUNDS", "1000"))
KILL_ROUNDS = int(os.environ.get("OUTLAY_KILL_ROUNDS", "50"))
LIMIT = Decimal("0.10")
ROUND_KINDS = ("exact", "exact", "overlapping", "edge", "above", "held-above", "unlimited")


class Worker:
    """A process that makes calls."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(PROGRAM), str(self.path)]
        paths = [str(PROGRAM.parent.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def send(self, **asked: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "a worker ended by itself; what it said is above"
        found: dict[str, Any] = json.loads(line)
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def workers(path: Path | str, count: int) -> Iterator[list[Worker]]:
    outlay.open(path).close()
    several = [Worker(path) for _ in range(count)]
    try:
        for worker in several:
            worker.answer()
        yield several
    finally:
        for worker in several:
            worker.end()


def cap(ledger: outlay.Ledger, feature: str, limit: Decimal = LIMIT) -> None:
    ledger.budget(feature, limit=str(limit), window="month", action="refuse", where={"feature": feature})


def spent(ledger: outlay.Ledger, feature: str) -> tuple[Decimal | int, Decimal | int]:
    (one,) = ledger.budgets(feature)
    return outlay.Money(one.spent).amount, outlay.Money(one.reserved).amount


class Rounds:
    """Rounds of all kinds, in threads of this process or in long-lived workers, and what was seen."""

    def __init__(self, watched: Watched, several: list[Worker], dice: random.Random) -> None:
        self.watched = watched
        self.ledger = watched.ledger
        self.several = several
        self.dice = dice
        self.longest_s = 0.0
        self.kinds: dict[str, int] = {}

    def run(self, number: int) -> None:
        """One round of one kind, by threads, four or eight processes."""
        processes = self.dice.choice([0, 4, 8])
        kind = self.dice.choice(ROUND_KINDS)
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        feature = f"round-{number}"
        asked = self.asked(kind, feature, processes)
        if kind == "held-above":
            self.held_above(feature, processes)
            return
        answers = self.answers(processes, **asked)
        self.check(kind, feature, sum(answer["granted"] for answer in answers))

    def asked(self, kind: str, feature: str, processes: int) -> dict[str, Any]:
        """The budgets of a round are set; what its callers are asked to do."""
        ledger, where = self.ledger, {"feature": feature}
        each: dict[str, Any] = {"calls": CALLS // (processes or 1), "threads": 2 if processes else CALLS}
        asked: dict[str, Any] = {"feature": feature, "kind": kind, **each}
        if kind == "edge":
            # The midnight that today began with: a second before it is yesterday's window.
            ledger.budget(feature, limit=str(LIMIT), window="day", action="refuse", where=where)
            return asked | {"kind": "exact", "edge": midnight(ledger)}
        cap(ledger, feature)
        if kind == "overlapping":
            # Fifteen users of three cents each, never seen before, under a day's total of a dollar.
            ledger.budget(f"{feature}-users", each="user", limit="0.03", window="day", action="refuse", where=where)
            ledger.budget(
                f"{feature}-day", limit="1.00", window="day", action="refuse", where={"provider": "openai", **where}
            )
            return asked | {"kind": "exact", "users": 15}
        return asked | ({"wait_s": 10} if kind == "unlimited" else {})

    def answers(self, processes: int, **asked: Any) -> list[dict[str, Any]]:
        """Let all of them do it at the same time."""
        chosen = self.several[:processes]
        for worker in chosen:
            worker.send(**asked)
        found = [worker.answer() for worker in chosen] if chosen else [self.watched.do(asked)]
        self.longest_s = max(self.longest_s, *(answer["longest_s"] for answer in found))
        return found

    def check(self, kind: str, feature: str, granted: int) -> None:
        """What must be true after the round."""
        if kind == "edge":
            assert granted == 20, "ten on each side of midnight"
            assert self.on_both_sides(feature) == [(LIMIT, LIMIT), (LIMIT, LIMIT)]
            return
        total, reserved = spent(self.ledger, feature)
        overrun = overruns(self.ledger, feature)
        assert reserved == 0
        if kind == "above":
            assert total <= LIMIT + overrun
            assert total == granted * Decimal("0.015")
            with pytest.raises(outlay.BudgetExceeded):
                exact(self.ledger, 0, feature=feature)
            return
        assert overrun == 0
        assert granted == 10, kind
        # An allotment may end a request a few tokens early, so that it costs no more than what was left.
        assert LIMIT - Decimal("0.0001") <= total <= LIMIT if kind == "unlimited" else total == LIMIT

    def held_above(self, feature: str, processes: int) -> None:
        """All that fits is held before any of it is billed above its bound."""
        granted = sum(one["granted"] for one in self.answers(processes, feature=feature, hold=CALLS))
        assert granted == 10
        self.answers(processes, settle_held=1_500)
        total, reserved = spent(self.ledger, feature)
        assert reserved == 0
        assert total == LIMIT + overruns(self.ledger, feature)
        assert total == Decimal("0.15"), "ten of a cent and a half"
        with pytest.raises(outlay.BudgetExceeded):
            exact(self.ledger, 0, feature=feature)

    def on_both_sides(self, feature: str) -> list[tuple[Decimal, Decimal]]:
        """(spent, committed) of the accounts before and after midnight."""
        budget = self.ledger.reserver.refresh().budgets[feature]
        found = []
        for at in (midnight(self.ledger) - 1, midnight(self.ledger)):
            ((_, account),) = self.ledger.store.accounts_of(feature, scope_of(budget), at, 2)
            found.append((outlay.Money(account.spent).amount, outlay.Money(account.committed).amount))
        return found

    def told(self) -> str:
        """What was run, for the log."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        return (
            f"{sum(self.kinds.values())} rounds ({kinds}), the longest call of the store took {self.longest_s:.3f} s"
        )


def midnight(ledger: outlay.Ledger) -> int:
    return ledger.clock.now() // DAY_MICROSECONDS * DAY_MICROSECONDS


def overruns(ledger: outlay.Ledger, feature: str) -> Decimal:
    """What the outbox names as billed above its bound."""
    rows = [row for row in ledger.store.outbox() if row.kind == "overrun" and row.key.budget == feature]
    return outlay.Money(sum(row.amount for row in rows)).amount


def test_sixty_four_threads_get_exactly_ten(tmp_path: Path) -> None:
    for address in ("memory:", tmp_path / "a.db"):
        with outlay.open(address) as ledger:
            cap(ledger, "threads")
            assert run(ledger, "threads", "exact", CALLS, threads=CALLS)["granted"] == 10
            assert spent(ledger, "threads") == (LIMIT, 0)
            assert ledger.audit().ok


def test_without_a_maximum_ten_go_if_they_may_wait_and_not_all_at_once(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "a.db") as ledger:
        cap(ledger, "waiting")
        assert run(ledger, "waiting", "unlimited", CALLS, threads=16, wait_s=10)["granted"] == 10
        cap(ledger, "at-once")
        held, request = 0, {"model": "gpt-4o", "messages": []}
        while ledger.check(provider="openai", feature="at-once", body={**request, "max_tokens": 1_024}).granted:
            ledger.reserve(provider="openai", feature="at-once", body=request)
            held += 1
        with pytest.raises(outlay.BudgetExceeded) as refused:
            ledger.reserve(provider="openai", feature="at-once", body=request)
        # 1,024 × $10 a million and the template are $0.0105 each: nine of them.
        assert (held, refused.value.code) == (9, "budget_reserved")


def test_threads_and_four_and_eight_processes_get_exactly_ten_time_boxed(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    watched = Watched(tmp_path / "a.db")
    with watched.ledger, workers(tmp_path / "a.db", 8) as several:
        rounds = Rounds(watched, several, random.Random(seed))
        end_s = time.monotonic() + 5
        number = 0
        # A round may take a slow disk longer than that; one is not enough.
        while number < 2 or time.monotonic() < end_s:
            rounds.run(number)
            number += 1
        assert watched.ledger.audit().ok
    print(rounds.told())


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_thousand_rounds_get_exactly_ten_and_nobody_waits_a_second(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    began_s = time.monotonic()
    watched = Watched(tmp_path / "a.db")
    with watched.ledger, workers(tmp_path / "a.db", 8) as several:
        rounds = Rounds(watched, several, random.Random(seed))
        for number in range(ROUNDS):
            rounds.run(number)
        assert watched.ledger.audit().ok
    print(f"{rounds.told()}; {time.monotonic() - began_s:.0f} s")
    assert rounds.longest_s < 1


States = Callable[[str], dict[str, int]]
"""How many reservations of a feature are in which state."""


def kill_round(address: Path | str, notes: Path, several: list[Worker], dice: random.Random, states: States) -> int:
    """Kill workers at random while they hold and settle; every grant is settled, or expires. How many were killed."""
    feature = notes.stem
    with outlay.open(address) as ledger:
        cap(ledger, feature)
    for worker in several:
        worker.send(feature=feature, notes=str(notes))
    killed = 0
    for victim in dice.sample(several, len(several) // 2):
        time.sleep(dice.uniform(0.0, 0.03))
        victim.process.send_signal(signal.SIGKILL)
        victim.process.wait()
        killed += 1
        victim.end()
        victim.start()
        victim.answer()
        victim.send(feature=feature, notes=str(notes))
    # What the killed ones hold expires by a clock that is driven; only then the others see the budget spent.
    clock = outlay.FrozenClock(outlay.SystemClock().now() + DAY_MICROSECONDS // 24)
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        with outlay.open(address, clock=clock) as ledger:
            if sum(states(feature).values()) == 10:
                break
        time.sleep(0.02)
    time.sleep(0.1)  # The living settle what they hold.
    with outlay.open(address, clock=clock) as ledger:
        ledger.expire()
        found = states(feature)
        assert sum(found.values()) == 10, found
        assert found.get("open", 0) == 0
        assert spent(ledger, feature) == (LIMIT, 0)
    for worker in several:
        assert worker.answer().keys() == {"longest_s"}
    noted = [line.split() for line in notes.read_text().splitlines()]
    assert len({id for what, id in noted if what == "granted"}) <= 10
    return killed


def states_in(rows: Iterable[tuple[object, ...]], feature: str) -> dict[str, int]:
    """How many reservations of a feature are in which state, of rows (state, shares)."""
    counts: dict[str, int] = {}
    for state, shares in rows:
        assert isinstance(state, int)
        assert isinstance(shares, bytes)
        if f'"{feature}"'.encode() in shares:
            name = ("open", "settled", "released", "expired")[state]
            counts[name] = counts.get(name, 0) + 1
    return counts


def states_of_file(path: Path) -> States:
    """What the reservations of a ledger file say."""

    def states(feature: str) -> dict[str, int]:
        connection = apsw.Connection(str(path))
        found = connection.execute("SELECT state, shares FROM reservation").fetchall()
        connection.close()
        return states_in(found, feature)

    return states


def test_kill_9_leaves_exactly_ten_granted_each_settled_or_expired(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    print(f"seed {seed}")
    with workers(tmp_path / "a.db", 4) as several:
        assert kill_round(
            tmp_path / "a.db", tmp_path / "kill-0.notes", several, dice, states_of_file(tmp_path / "a.db")
        )
    with outlay.open(tmp_path / "a.db") as ledger:
        assert ledger.audit().ok


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_fifty_rounds_with_kills_leave_exactly_ten_granted(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    dice = random.Random(seed)
    print(f"seed {seed}")
    began_s = time.monotonic()
    with workers(tmp_path / "a.db", 4) as several:
        killed = sum(
            kill_round(
                tmp_path / "a.db", tmp_path / f"kill-{number}.notes", several, dice, states_of_file(tmp_path / "a.db")
            )
            for number in range(KILL_ROUNDS)
        )
    print(f"{KILL_ROUNDS} rounds with {killed} kills; {time.monotonic() - began_s:.0f} s")
    with outlay.open(tmp_path / "a.db") as ledger:
        assert ledger.audit().ok


class Ticking:
    """A clock that moves on by a second at each look, over midnight."""

    def __init__(self) -> None:
        self.ticks = to_instant("2026-03-10T23:59:00Z")

    def now(self) -> int:
        self.ticks += 1_000_000
        return self.ticks


def test_at_the_edge_of_a_window_each_side_gets_exactly_ten(tmp_path: Path) -> None:
    with outlay.open(tmp_path / "a.db", clock=Ticking()) as ledger:
        ledger.budget("edge", limit="0.10", window="day", action="refuse")
        assert run(ledger, "edge", "exact", 100, threads=8)["granted"] == 20
        connection = apsw.Connection(str(tmp_path / "a.db"))
        accounts = connection.execute(
            "SELECT window, spent_micro, committed_micro FROM account ORDER BY 1"
        ).fetchall()
        connection.close()
        assert sorted(accounts) == [("2026-03-10", 100_000, 100_000), ("2026-03-11", 100_000, 100_000)]
        assert ledger.audit().ok
