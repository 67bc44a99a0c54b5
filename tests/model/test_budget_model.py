"""Budgets in two stores, driven by random commands beside a model that is plain sums over a list.

Commands: budgets set, changed, removed and put back; reservations taken, settled, released, extended, left to expire;
plain records, late ones too; corrections; crashes, forks and clock jumps, over the ends of months, a leap day and the
changes of summer time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.budget_entries import CENT, cents, limits_of, put, reserve
from tests.ledger_entries import HOUR, SECOND, plain
from tests.postgres_ledgers import PostgresLedgers

from outlay.budgets.coverage import BudgetCoverage, packed
from outlay.budgets.terms import Budget
from outlay.clock import to_instant, window_of
from outlay.ledger.memory import MemoryStore
from outlay.ledger.postgres import PostgresStore
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import Amendment, LedgerStore
from outlay.model import Entry

STARTS = [
    "2024-02-28T22:00:00Z",  # before a leap day
    "2026-03-28T20:00:00Z",  # before Berlin's summer time
    "2026-10-31T20:00:00Z",  # the end of a month, before New York's winter time
    "2026-12-31T12:00:00Z",
]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]
USERS = ["ann", "bob", None]
NAMES = ["all", "users", "video", "count"]


class Spent(msgspec.Struct):
    """One entry of the model: cents and calls, in the order in which they were written."""

    place: int
    at: int
    user: str | None
    feature: str | None
    cents: int
    calls: int


class Hold(msgspec.Struct):
    """One reservation of the model and the budgets that stood when it was taken."""

    entry: Entry
    cents: int
    deadline: int
    names: frozenset[str]
    state: str = "open"


class Cap(msgspec.Struct):
    """One budget of the model."""

    budget: Budget
    fields: dict[str, Any]
    since: int
    from_at: int
    active: bool = True


class Budgets(RuleBasedStateMachine):
    """Each rule is one command, given to both stores and to the model."""

    @initialize(start=st.sampled_from(STARTS), zone=st.sampled_from(ZONES))
    def begin(self, start: str, zone: str) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now = to_instant(start)
        self.zone = zone
        self.memory = MemoryStore(covering=BudgetCoverage)
        self.other = self.opened()
        self.caps: dict[str, Cap] = {}
        self.spent: list[Spent] = []
        self.holds: dict[str, Hold] = {}
        self.written: dict[str, Entry] = {}
        self.number = 0

    def opened(self) -> LedgerStore:
        return SqliteStore(self.folder / "outlay.db", fold_behind=False, covering=BudgetCoverage)

    def drop(self) -> None:
        """Lose the store as a crash does."""
        assert isinstance(self.other, SqliteStore)
        self.other._connections._finalizer.detach()

    def clean(self) -> None:
        """Delete what is left."""

    @property
    def stores(self) -> tuple[LedgerStore, LedgerStore]:
        return (self.memory, self.other)

    def new_id(self) -> str:
        self.number += 1
        return f"e{self.number}"

    def count(self, entry: Entry, number: int, sign: int = 1) -> None:
        event = entry.event
        self.spent.append(
            Spent(len(self.spent), entry.counted_at, event.user, event.feature, sign * number, sign * event.count)
        )

    # --- the model's sums

    def covers(self, name: str, user: str | None, feature: str | None) -> bool:
        return {"all": True, "count": True, "users": user is not None, "video": feature == "video"}[name]

    def sums(self, name: str, user: str | None, at: int) -> tuple[int, int]:
        """(spent, held) of the account that covers a user's call at `at`, in 10⁻¹² of the unit."""
        cap = self.caps[name]
        window = window_of(at, cap.fields["window"], cap.budget.zone)
        inside = [
            one
            for one in self.spent
            if window.start <= one.at < window.end
            and self.covers(name, one.user, one.feature)
            and (name != "users" or one.user == user)
            and (window.start >= cap.from_at or one.place >= cap.since)
        ]
        counts = name == "count"
        spent = sum(one.calls * 10**12 if counts else one.cents * CENT for one in inside)
        held = sum(
            10**12 if counts else hold.cents * CENT
            for hold in self.holds.values()
            if hold.state == "open"
            and name in hold.names
            and window.start <= hold.entry.counted_at < window.end
            and (name != "users" or hold.entry.event.user == user)
        )
        return spent, held

    def fits(self, entry: Entry, number: int) -> bool:
        event = entry.event
        for name, cap in self.caps.items():
            if cap.active and self.covers(name, event.user, event.feature):
                unit = 10**12 if name == "count" else CENT
                asked = 1 if name == "count" else number
                if sum(self.sums(name, event.user, self.now)) + asked * unit > cap.fields["cents"] * unit:
                    return False
        return True

    def expire(self) -> None:
        for hold in sorted(self.holds.values(), key=lambda hold: hold.deadline):
            if hold.state == "open" and hold.deadline <= self.now:
                hold.state = "expired"
                self.count(hold.entry, hold.cents)

    # --- commands

    @rule(
        name=st.sampled_from(NAMES),
        limit=st.integers(1, 12),
        window=st.sampled_from(["5 minutes", "hour", "day", "week", "month"]),
    )
    def set_budget(self, name: str, limit: int, window: str) -> None:
        known = self.caps.get(name)
        window = known.fields["window"] if known is not None else window
        fields: dict[str, Any] = {
            "window": window,
            "zone": self.zone,
            "limit": limit if name == "count" else f"{limit / 100:.2f}",
        }
        more: dict[str, dict[str, Any]] = {
            "users": {"each": "user"},
            "video": {"where": {"feature": "video"}},
            "count": {"meter": "calls"},
        }
        fields |= more.get(name, {})
        for store in self.stores:
            budget = put(store, name, self.now, **fields)
        if known is None or not known.active:
            start = window_of(self.now, budget.tiers[0].limits[0].window, self.zone).start
            self.caps[name] = Cap(budget, {**fields, "cents": limit}, len(self.spent), start)
        else:
            known.budget = budget
            known.fields["cents"] = limit
        assert len({store.warm() for store in self.stores}) == 1

    @precondition(lambda self: any(cap.active for cap in self.caps.values()))
    @rule(data=st.data())
    def remove_budget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([name for name, cap in self.caps.items() if cap.active]))
        self.caps[name].active = False
        for store in self.stores:
            store.remove_budget(name, packed(self.caps[name].budget))

    @rule(
        number=st.integers(0, 6),
        user=st.sampled_from(USERS),
        feature=st.sampled_from(["video", None]),
        for_s=st.sampled_from([60, 7_200]),
    )
    def reserve(self, number: int, user: str | None, feature: str | None, for_s: int) -> None:
        entry = cents(number, self.new_id(), self.now, user=user, feature=feature)
        self.expire()
        expected = "reserved" if self.fits(entry, number) else "refused"
        found = [reserve(store, entry, for_s=for_s) for store in self.stores]
        assert [one.code for one in found] == [expected, expected]
        assert plain(dict_by_name(found[0].accounts)) == plain(dict_by_name(found[1].accounts))
        if expected == "reserved":
            names = frozenset(limit.key.budget for limit in limits_of(self.memory, entry))
            self.holds[entry.event.id] = Hold(entry, number, self.now + for_s * SECOND, names)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), number=st.integers(0, 8))
    def settle(self, data: st.DataObject, number: int) -> None:
        hold = self.holds[data.draw(st.sampled_from(sorted(self.holds)))]
        event = hold.entry.event
        entry = cents(number, event.id, hold.entry.counted_at, user=event.user, feature=event.feature)
        entry = msgspec.structs.replace(entry, recorded_at=self.now)
        codes = [store.settle(event.id, entry).code for store in self.stores]
        assert codes[0] == codes[1]
        expected = {"open": "settled", "expired": "settled_late", "released": "settled_after_release"}.get(hold.state)
        if expected is None:
            assert codes[0].startswith("exists")
            return
        assert codes[0] == expected
        if hold.state == "expired":
            self.count(hold.entry, hold.cents, -1)
        self.count(entry, number)
        hold.state = "settled"
        self.written.pop(event.id, None)

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold = self.holds[data.draw(st.sampled_from(sorted(self.holds)))]
        codes = [store.release(hold.entry.event.id, self.now).code for store in self.stores]
        expected = {"open": "released", "expired": "released_late", "released": "released"}.get(hold.state, "settled")
        assert codes == [expected, expected]
        if hold.state == "expired":
            self.count(hold.entry, hold.cents, -1)
            hold.state = "settled"
        elif hold.state == "open":
            hold.state = "released"

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        hold = self.holds[data.draw(st.sampled_from(sorted(self.holds)))]
        deadline = self.now + HOUR
        codes = [store.extend(hold.entry.event.id, deadline).code for store in self.stores]
        assert codes == ["extended" if hold.state == "open" else hold.state] * 2
        if hold.state == "open":
            hold.deadline = deadline

    @rule(
        number=st.integers(0, 6),
        user=st.sampled_from(USERS),
        feature=st.sampled_from(["video", None]),
        late_h=st.sampled_from([0, 0, 1, 30]),
        calls=st.sampled_from([1, 1, 3]),
        forked=st.booleans(),
    )
    def record(
        self, number: int, user: str | None, feature: str | None, late_h: int, calls: int, forked: bool
    ) -> None:
        at = self.now - late_h * HOUR
        entry = cents(number, self.new_id(), at, user=user, feature=feature, count=calls, recorded_at=self.now)
        self.memory.append([entry])
        if forked:
            self.in_child(entry)
        else:
            self.other.append([entry])
        self.count(entry, number * calls)
        self.written[entry.event.id] = entry

    def in_child(self, entry: Entry) -> None:
        child = os.fork()
        if child == 0:
            try:
                self.other.append([entry])
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    @precondition(lambda self: self.written)
    @rule(data=st.data(), number=st.integers(0, 9), user=st.sampled_from(USERS), cancel=st.booleans())
    def correct(self, data: st.DataObject, number: int, user: str | None, cancel: bool) -> None:
        """A correction never refuses, and may move a call to another user's account."""
        id = data.draw(st.sampled_from(sorted(self.written)))
        old = self.written.pop(id)
        new = cents(number, id, old.event.occurred_from, user=user, feature=old.event.feature, count=old.event.count)
        for store in self.stores:
            live = store.versions(id)[0][-1]
            amendment = Amendment(live.seq, None if cancel else new, self.now, "checked")
            assert store.amend([amendment])[0].code == "created"
        before = next(one for one in reversed(self.spent) if one.at == old.counted_at and self.is_of(one, old))
        self.count(old, before.cents, -1)
        if not cancel:
            self.count(new, number * new.event.count)
            self.written[id] = new

    @staticmethod
    def is_of(one: Spent, entry: Entry) -> bool:
        amount = entry.rating.amount // CENT
        return (one.user, one.feature, one.cents) == (entry.event.user, entry.event.feature, amount)

    @rule()
    def expire_all(self) -> None:
        self.expire()
        assert len({store.expire(self.now) for store in self.stores}) == 1

    @rule(step=st.sampled_from([-HOUR, SECOND * 30, HOUR, 5 * HOUR, 26 * HOUR]))
    def jump(self, step: int) -> None:
        self.now += step

    @rule()
    def crash(self) -> None:
        """The connections are dropped, not closed: what the next opener finds is what was committed."""
        self.drop()
        self.other = self.opened()

    @invariant()
    def accounts_are_the_sums(self) -> None:
        if not hasattr(self, "other"):
            return
        for user in ("ann", "bob"):
            call = cents(1, "asked", self.now, user=user, feature="video")
            limits = limits_of(self.memory, call)
            found = [store.accounts(limits) for store in self.stores]
            assert plain(dict_by_name(found[0])) == plain(dict_by_name(found[1]))
            for limit in limits:
                account = found[0][limit.key]
                expected = self.sums(limit.key.budget, user, self.now)
                assert (account.spent, account.committed - account.spent) == expected, limit.key
        assert told(self.memory) == told(self.other)

    def teardown(self) -> None:
        if hasattr(self, "other"):
            audits = [store.audit() for store in self.stores]
            assert [audit.findings for audit in audits] == [(), ()]
            assert audits[0].amount == audits[1].amount
            self.other.close()
            self.clean()
            shutil.rmtree(self.folder)


class BudgetsOnPostgres(Budgets):
    """The same commands, the other store on PostgreSQL."""

    ledgers: ClassVar[PostgresLedgers]

    def opened(self) -> LedgerStore:
        if not hasattr(self, "url"):
            self.url = self.ledgers.take("USD", "UTC")
            self.dropped: list[PostgresStore] = []
        return PostgresStore(self.url, fold_behind=False, covering=BudgetCoverage)

    def drop(self) -> None:
        assert isinstance(self.other, PostgresStore)
        self.dropped.append(self.other)

    def clean(self) -> None:
        for store in self.dropped:
            store.close()
        self.ledgers.give(self.url)


def told(store: LedgerStore) -> list[object]:
    """What is to be told, in order; PostgreSQL's numbers grow too, with gaps."""
    return [plain(msgspec.structs.replace(row, number=place)) for place, row in enumerate(store.outbox())]


def dict_by_name(accounts: Any) -> dict[str, Any]:
    """Accounts by their keys as text."""
    return {repr(key): account for key, account in accounts.items()}


TestBudgets = Budgets.TestCase
TestBudgets.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_five_hundred_runs_of_fifty_commands_agree_with_the_model() -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    many = settings(TestBudgets.settings, max_examples=500, stateful_step_count=50, database=None, print_blob=True)
    run_state_machine_as_test(seeded(seed)(Budgets), settings=many)


def test_budgets_on_postgres_agree_with_the_model(postgres_ledgers: PostgresLedgers) -> None:
    BudgetsOnPostgres.ledgers = postgres_ledgers
    # Not shrunk: what fails is a test of the file's store first, which is shrunk in seconds.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    few = settings(TestBudgets.settings, max_examples=5, stateful_step_count=20, phases=phases)
    run_state_machine_as_test(BudgetsOnPostgres, settings=few)


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_a_hundred_runs_on_postgres_agree_with_the_model(postgres_ledgers: PostgresLedgers) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    BudgetsOnPostgres.ledgers = postgres_ledgers
    many = settings(TestBudgets.settings, max_examples=100, stateful_step_count=40, database=None, print_blob=True)
    run_state_machine_as_test(seeded(seed)(BudgetsOnPostgres), settings=many)
