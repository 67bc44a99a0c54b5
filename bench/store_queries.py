"""The ledger's file under load: how fast it takes entries in, and how fast it answers, at N events.

    python bench/store_queries.py [N] [folder]

Events are made up: 8 providers, 40 services, 12 operations, 50 features, 5,000 users (Zipf), a job every
20 events lasting from an hour to a week, 30 days, two lines an event. Prints one JSON object.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path

import apsw
import msgspec

from outlay.ledger.rules import fingerprint
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.sqlite.statements import schema, sql
from outlay.ledger.sqlite.writing import prepare
from outlay.ledger.store import LedgerStore
from outlay.model import CostQuery, Entry, PricedLine, PricingStatus, Rate, Rating, UsageEvent

BATCH = 10_000
DAY = 86_400_000_000
START = 1_790_000_000_000_000 // DAY * DAY
DAYS = 30
RAW_BATCHES = 10


class Maker:
    """Makes entries in order of time, the same for the same seed."""

    def __init__(self, total: int, seed: int = 7) -> None:
        self.random = random.Random(seed)
        self.step = DAYS * DAY // total
        self.number = 0
        services = [(f"provider-{n % 8}", f"model-{n}") for n in range(40)]
        self.features = [
            (f"feature-{n}", [services[(n * 7 + k) % 40] for k in range(4)], [f"op-{(n + k) % 12}" for k in range(2)])
            for n in range(50)
        ]
        self.feature_weights = [1 / (rank + 1) for rank in range(50)]
        self.user_weights = [1 / (rank + 1) ** 0.8 for rank in range(5_000)]
        self.users = [f"user-{n}" for n in range(5_000)]
        self.open_jobs: list[tuple[int, str]] = []
        self.jobs = 0
        self.rates = {
            (service, meter): Rate(
                provider=provider, service=service, meter=meter, price=Decimal(price), per=1_000_000, source="made up"
            )
            for provider, service in services
            for meter, price in (("input_tokens", "2.50"), ("output_tokens", "10.00"))
        }

    def batch(self, size: int) -> list[Entry]:
        users = self.random.choices(self.users, self.user_weights, k=size)
        features = self.random.choices(self.features, self.feature_weights, k=size)
        return [self._entry(user, *feature) for user, feature in zip(users, features, strict=True)]

    def _entry(self, user: str, feature: str, services: list[tuple[str, str]], operations: list[str]) -> Entry:
        rng = self.random
        at = START + self.number * self.step
        self.number += 1
        provider, service = services[int(rng.random() * 4)]
        tokens_in, tokens_out = int(rng.random() * 4000), int(rng.random() * 900)
        event = UsageEvent(
            id=f"req_{rng.getrandbits(96):024x}",
            provider=provider,
            service=service,
            operation=operations[int(rng.random() * 2)],
            occurred_from=at,
            occurred_to=at,
            usage={"input_tokens": tokens_in, "output_tokens": tokens_out},
            user=user,
            customer=f"customer-{int(user[5:]) % 200}" if user else None,
            team=f"team-{len(feature) % 3}",
            project="assistant",
            feature=feature,
            job=self._job(at),
            environment="prod",
            id_given=True,
            time_given=True,
        )
        lines = tuple(
            PricedLine(meter, quantity, quantity * price, self.rates[(service, meter)])
            for meter, quantity, price in (
                ("input_tokens", tokens_in, 2_500_000),
                ("output_tokens", tokens_out, 10_000_000),
            )
        )
        rating = Rating(lines, sum(line.amount for line in lines), PricingStatus.PRICED)
        return Entry(event=event, rating=rating, recorded_at=at, counted_at=at, fingerprint=fingerprint(event))

    def _job(self, at: int) -> str:
        rng = self.random
        if not self.open_jobs or rng.random() < 0.05:
            self.jobs += 1
            lasting = int(3_600_000_000 * (168 ** rng.random()))
            self.open_jobs.append((at + lasting, f"job-{self.jobs}"))
        place = int(rng.random() * len(self.open_jobs))
        until, job = self.open_jobs[place]
        if until < at:
            self.open_jobs[place] = self.open_jobs[-1]
            self.open_jobs.pop()
        return job


def raw_rate(folder: Path, batches: list[list[Entry]], store: SqliteStore) -> float:
    """Entries a second of a bare executemany of the same interned rows: the floor of this machine."""
    connection = apsw.Connection(str(folder / "raw.db"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.wal_autocheckpoint(4_000)
    connection.execute("\n\n".join(part for part in schema().split("\n\n") if "CREATE TABLE entry" in part))
    connection.execute("DROP INDEX IF EXISTS entry_job; DROP INDEX IF EXISTS entry_corrects")
    prepared: list[list[list[object]]] = []
    seq = 0
    for batch in batches:
        store.append(batch)  # So that every name is known.
        rows = prepare(batch, store._book.newest)
        for row in rows:
            assert row is not None
            seq += 1
            row[0] = seq
        prepared.append(rows)  # type: ignore[arg-type]  # every name is known by now
    started = time.perf_counter()
    for rows_ in prepared:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(sql("insert_entry"), rows_)
        connection.execute("COMMIT")
    seconds = time.perf_counter() - started
    connection.close()
    return seq / seconds


def timed(action: Callable[[], object], times: int) -> dict[str, float]:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        taken.append((time.perf_counter() - started) * 1000)
    taken.sort()
    return {"p50_ms": round(taken[len(taken) // 2], 3), "max_ms": round(taken[-1], 3)}


def singles(store: SqliteStore, maker: Maker, count: int) -> dict[str, float]:
    entries = maker.batch(count)
    taken = []
    for entry in entries:
        started = time.perf_counter()
        store.append([entry])
        taken.append((time.perf_counter() - started) * 1e6)
    taken.sort()
    return {"p50_us": round(taken[count // 2], 1), "p99_us": round(taken[count * 99 // 100], 1)}


def ingest(store: SqliteStore, maker: Maker, total: int) -> Iterator[float]:
    """Entries a second of append alone, for each tenth."""
    seconds, taken, part = 0.0, 0, max(BATCH, total // 10)
    while taken < total:
        batch = maker.batch(BATCH)
        started = time.perf_counter()
        store.append(batch)
        seconds += time.perf_counter() - started
        taken += BATCH
        if taken % part == 0:
            print(f"{taken:>12,} entries, {part / seconds:>9,.0f}/s", file=sys.stderr, flush=True)
            yield part / seconds
            seconds = 0.0


def waiting(store: SqliteStore) -> int:
    facts = store.facts()
    return int(facts["last_seq"]) - int(facts["watermark"])


def queries(store: LedgerStore, maker: Maker) -> dict[str, object]:
    until = START + DAYS * DAY
    jobs = [f"job-{n}" for n in maker.random.sample(range(1, maker.jobs), 50)]
    users = [f"user-{n}" for n in maker.random.sample(range(5_000), 50)]
    found: dict[str, object] = {}
    for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
        query = CostQuery(by=("day", "provider"), zone=zone, since=START, until=until)
        found[f"day x provider, {zone}"] = timed(lambda query=query: store.costs(query), 7)  # type: ignore[misc]  # bound now
    last_30 = CostQuery(by=("feature",), since=START + DAY // 3, until=until)
    found["feature, edges by scan"] = timed(lambda: store.costs(last_30), 3)
    one_user = iter(users * 2)
    found["one user's days"] = timed(
        lambda: store.costs(CostQuery(by=("day",), where={"user": (next(one_user),)})), 50
    )
    one_job = iter(jobs * 4)
    found["one job's cost by service"] = timed(
        lambda: store.costs(CostQuery(by=("provider", "service"), where={"job": (next(one_job),)})), 50
    )
    found["one job's entries"] = timed(lambda: store.job_entries(next(one_job)), 50)
    found["entries of one job, mean"] = sum(len(store.job_entries(job)) for job in jobs) / len(jobs)
    found["top 20 users of 30 days"] = timed(
        lambda: store.costs(CostQuery(by=("user",), since=START, until=until, top=20)), 5
    )
    found["top 20 users of all time"] = timed(lambda: store.costs(CostQuery(by=("user",), top=20)), 5)
    found["top 20 jobs of all time"] = timed(lambda: store.costs(CostQuery(by=("job",), top=20)), 5)
    found["day x meter with quantities"] = timed(
        lambda: store.costs(CostQuery(by=("day", "meter"), quantities=True)), 3
    )
    return found


def main() -> None:
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="outlay-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    maker = Maker(total)
    store = SqliteStore(folder / "ledger.db")
    parts = [round(rate) for rate in ingest(store, maker, total)]
    behind = waiting(store)
    started = time.perf_counter()
    while store.fold():
        pass
    caught_up = time.perf_counter() - started
    raw = raw_rate(folder, [maker.batch(BATCH) for _ in range(RAW_BATCHES)], store)
    result = {
        "events": total,
        "append per second, by tenth": parts,
        "raw executemany per second": round(raw),
        "append over raw, first and last tenth": [round(parts[0] / raw, 3), round(parts[-1] / raw, 3)],
        "last tenth over first": round(parts[-1] / parts[0], 3),
        "not folded at the end": behind,
        "folding the rest, s": round(caught_up, 2),
        "append of one": singles(store, maker, 3_000),
        "queries": queries(store, maker),
        "bytes per event": round(int(store.facts()["bytes"]) / total),
        "digest": blake2b(msgspec.json.encode(store.costs(CostQuery()).total)).hexdigest()[:12],
    }
    store.close()
    print(json.dumps(result, indent=2))
    if len(sys.argv) <= 2:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
