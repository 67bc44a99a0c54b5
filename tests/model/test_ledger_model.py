"""Memory, SQLite and PostgreSQL, driven by the same random commands, never tell two stories.

Commands: appends with retries, conflicts, midnights and probed days; corrections; folds at any point;
retention, forgetting, reopening, crashes (connections dropped without closing), forks, clock jumps.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from unittest import mock

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.ledger_entries import DAY, HOUR, NOON, make_entry, plain
from tests.postgres_ledgers import PostgresLedgers as PostgresDatabases

from outlay.ledger import rules
from outlay.ledger.memory import MemoryStore
from outlay.ledger.postgres import PostgresStore
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import Amendment, EntryFilter, LedgerStore
from outlay.model import CostQuery, Entry, Status

IDS = ["a", "b", "c", "d"]
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"]
NAMES = ["hour", "day", "week", "month", "provider", "service", "operation", "meter", "status", "basis", "step"]
NAMES += ["user", "customer", "team", "project", "feature", "job", "environment", "request", "trace", "tag.x"]

# Around midnight in UTC, the end of March's summer time in Berlin, and a week either side.
times = st.one_of(
    st.sampled_from([NOON, NOON - 12 * HOUR, NOON - 12 * HOUR - 1, NOON + 12 * HOUR, NOON + 12 * HOUR - 1]),
    st.integers(NOON - 4 * DAY, NOON + 4 * DAY),
    st.integers(NOON + 18 * DAY, NOON + 19 * DAY + 20 * HOUR),
)
name = st.sampled_from([None, "x", "y", "ann"])
usages = st.dictionaries(
    st.sampled_from(["input_tokens", "output_tokens", "video_seconds", "images"]),
    st.integers(0, 9) | st.sampled_from([Decimal("2.4"), Decimal("0.5")]),
    max_size=3,
)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    at = draw(times)
    day = at // DAY
    return make_entry(
        draw(st.sampled_from(IDS)),
        at,
        probe_days=draw(st.sampled_from([(), (), (day - 1,), (day - 1, day + 1)])),
        usage=draw(usages),
        user=draw(name),
        customer=draw(name),
        team=draw(name),
        feature=draw(name),
        job=draw(name),
        operation=draw(name),
        request=draw(name),
        step=draw(name),
        tags=draw(st.dictionaries(st.just("x"), st.sampled_from(["ann", "v"]), max_size=1)),
        count=draw(st.sampled_from([1, 1, 3])),
        status=draw(st.sampled_from([Status.OK, Status.OK, Status.FAILED])),
        recorded_at=at + draw(st.integers(0, HOUR)),
        time_given=draw(st.booleans()),
    )


@st.composite
def queries(draw: st.DrawFn) -> CostQuery:
    since = draw(st.none() | times)
    until = draw(st.none() | times)
    if since is not None and until is not None and until < since:
        since, until = until, since
    where = {
        key: (draw(name),)
        for key in draw(st.lists(st.sampled_from(["user", "job", "feature", "request", "tag.x"]), max_size=2))
    }
    return CostQuery(
        by=tuple(draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))),
        where=where,
        since=since,
        until=until,
        zone=draw(st.sampled_from([None, *ZONES])),
        as_of=draw(st.none() | st.none() | times),
        quantities=draw(st.booleans()),
        percentiles=draw(st.sampled_from([False, False, True])),
    )


class Ledgers(RuleBasedStateMachine):
    """Each rule is one command, given to memory and to another store."""

    @initialize(zone=st.sampled_from(ZONES))
    def begin(self, zone: str) -> None:
        self.zone = zone
        self.memory = MemoryStore(zone=zone)
        self.make()
        self.other = self.opened()
        self.now = NOON + 5 * DAY

    def make(self) -> None:
        """Make the place that the other store opens."""
        raise NotImplementedError

    def opened(self) -> LedgerStore:
        """The other store, opened anew."""
        raise NotImplementedError

    def drop(self) -> None:
        """Leave the other store as a crash does."""
        raise NotImplementedError

    def clean(self) -> None:
        """Take the place away."""
        raise NotImplementedError

    def both(self, action: Callable[[LedgerStore], object]) -> None:
        with mock.patch("secrets.token_hex", return_value=f"{self.now}"):
            assert plain(action(self.other)) == plain(action(self.memory))

    def send(self, batch: list[Entry]) -> None:
        self.both(lambda store: store.append(batch))

    @rule(batch=st.lists(entries(), max_size=4))
    def append(self, batch: list[Entry]) -> None:
        self.send(batch)

    @rule(id=st.sampled_from(IDS), late=st.booleans())
    def retry(self, id: str, late: bool) -> None:
        """What stands already, sent again: whole, or stamped a day later and looked up on the day before."""
        for found in self.memory.versions(id)[:1]:
            again = msgspec.structs.replace(found[0], seq=0)
            if late:
                at = again.event.occurred_from + DAY
                event = msgspec.structs.replace(again.event, occurred_from=at, occurred_to=at)
                again = msgspec.structs.replace(again, event=event, probe_days=(at // DAY - 1,))
            self.send([again])

    @rule(id=st.sampled_from(IDS), new=entries(), cancel=st.booleans(), stale=st.booleans())
    def amend(self, id: str, new: Entry, cancel: bool, stale: bool) -> None:
        for versions in self.memory.versions(id)[:1]:
            last = versions[-1]
            event = msgspec.structs.replace(
                new.event, id=id, occurred_from=last.event.occurred_from, occurred_to=last.event.occurred_to
            )
            replacement = msgspec.structs.replace(new, event=event, fingerprint=rules.fingerprint(event))
            amendment = Amendment(
                versions[0].seq if stale else last.seq,
                None if cancel else replacement,
                recorded_at=self.now,
                reason="checked",
            )
            self.correct(amendment)

    def correct(self, amendment: Amendment) -> None:
        self.both(lambda store: store.amend([amendment]))

    @rule(limit=st.integers(1, 5))
    def fold(self, limit: int) -> None:
        self.both(lambda store: store.fold(limit))

    @rule(days=st.integers(0, 60))
    def retain(self, days: int) -> None:
        before = self.now // DAY - days

        def retained(store: LedgerStore) -> object:
            found = store.retain(before, self.now)
            return (found.before_day, found.entries, found.amount)

        self.both(retained)

    @rule(kind=st.sampled_from(["user", "customer"]), name=st.sampled_from(["ann", "x", "nobody"]))
    def forget(self, kind: str, name: str) -> None:
        self.now += 1
        self.both(lambda store: store.forget(kind, name))

    @rule()
    def reopen(self) -> None:
        self.other.close()
        self.other = self.opened()

    @rule()
    def crash(self) -> None:
        """The connections are dropped, not closed: what the next opener finds is what was committed."""
        self.drop()
        self.other = self.opened()

    @rule(entry=entries())
    def fork(self, entry: Entry) -> None:
        """A child writes on the inherited store and ends at once; the parent goes on."""
        child = os.fork()
        if child == 0:
            try:
                self.other.append([entry])
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        self.memory.append([entry])

    @rule(hours=st.integers(-48, 96))
    def jump(self, hours: int) -> None:
        self.now = max(NOON + 4 * DAY, self.now + hours * HOUR)

    @rule(query=queries())
    def ask(self, query: CostQuery) -> None:
        self.both(lambda store: _answer(store, query))

    @rule(
        where=st.dictionaries(st.sampled_from(["user", "job", "request", "tag.x"]), st.tuples(name), max_size=1),
        live=st.booleans(),
        newest=st.booleans(),
        since=st.none() | times,
        as_of=st.none() | times,
        limit=st.none() | st.integers(0, 3),
    )
    def walk(
        self,
        where: dict[str, tuple[str | None, ...]],
        live: bool,
        newest: bool,
        since: int | None,
        as_of: int | None,
        limit: int | None,
    ) -> None:
        chosen = EntryFilter(since=since, where=where, live_only=live, newest_first=newest, as_of=as_of)
        self.both(lambda store: list(store.entries(chosen, limit)))

    @invariant()
    def tell_one_story(self) -> None:
        if not hasattr(self, "other"):
            return
        for query in (CostQuery(by=("day", "user")), CostQuery(by=("job", "provider")), CostQuery(by=("meter",))):
            self.both(lambda store, query=query: _answer(store, query))  # type: ignore[misc]  # bound now
        for id in IDS:
            self.both(lambda store, known=id: store.versions(known))  # type: ignore[misc]  # bound now
        audits = self.other.audit(), self.memory.audit()
        assert [audit.findings for audit in audits] == [(), ()]
        assert audits[0].amount == audits[1].amount
        assert audits[0].entries == audits[1].entries

    def teardown(self) -> None:
        if hasattr(self, "other"):
            self.other.close()
            self.clean()


class SqliteLedgers(Ledgers):
    """Memory beside a file."""

    def make(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    def opened(self) -> LedgerStore:
        return SqliteStore(self.folder / "outlay.db", zone=self.zone, fold_behind=False, tag_sets_a_day=1)

    def drop(self) -> None:
        assert isinstance(self.other, SqliteStore)
        self.other._connections._finalizer.detach()

    def clean(self) -> None:
        shutil.rmtree(self.folder)


class PostgresLedgers(Ledgers):
    """Memory beside a server's database. Days near the first entries have partitions, the others have none."""

    ledgers: PostgresDatabases

    def make(self) -> None:
        self.url = self.ledgers.take("USD", self.zone)
        self.dropped: list[PostgresStore] = []

    def opened(self) -> LedgerStore:
        store = PostgresStore(self.url, zone=self.zone, fold_behind=False, tag_sets_a_day=1)
        store._partitions.make(range(NOON // DAY - 2, NOON // DAY + 2))
        return store

    def drop(self) -> None:
        assert isinstance(self.other, PostgresStore)
        self.dropped.append(self.other)

    def clean(self) -> None:
        for store in self.dropped:
            store.close()
        self.ledgers.give(self.url)


def _answer(store: LedgerStore, query: CostQuery) -> object:
    table = store.costs(query)
    return (table.rows, table.total, table.zone, table.currency)


TestSqliteLedgers = SqliteLedgers.TestCase
TestSqliteLedgers.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)


def test_postgres_and_memory_tell_one_story(postgres_ledgers: PostgresDatabases) -> None:
    PostgresLedgers.ledgers = postgres_ledgers
    # Not shrunk: what fails here alone is told at once, and every try to make it smaller would make a database.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    few = settings(TestSqliteLedgers.settings, max_examples=6, phases=phases)
    run_state_machine_as_test(PostgresLedgers, settings=few)
