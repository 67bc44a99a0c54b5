"""The ledger on PostgreSQL under load: how fast it takes entries in, how fast it answers, how long retention takes.

    python bench/postgres.py [--events 10000000]

The events are those of `store_queries.py`. The server is the one the tests bring, with a flush at each commit; it has
one core and the program that writes the other. Prints one JSON object; `ingest`, `questions` and `a_days_retention`
give one figure each.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store_queries import BATCH, DAY, DAYS, START, Maker, queries

from outlay.ledger.postgres import PostgresStore
from outlay.model import CostQuery

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.postgres_server import DURABLE, PostgresServer, a_server

SETTINGS = {**DURABLE, "autovacuum": "on", "shared_buffers": "1GB", "max_wal_size": "4GB"}


@contextmanager
def one_core_each() -> Iterator[PostgresServer]:
    """A server on one core, this program on another, where the machine has two."""
    cores = sorted(os.sched_getaffinity(0))
    with a_server(**SETTINGS) as server:
        if len(cores) > 1:
            _pin(server, cores[-1])
            os.sched_setaffinity(0, cores[:1])
        yield server
        os.sched_setaffinity(0, cores)


def _pin(server: PostgresServer, core: int) -> None:
    postmaster = server._pid()
    found = subprocess.run(["pgrep", "-P", str(postmaster)], capture_output=True, text=True, check=False)
    for pid in [str(postmaster), *found.stdout.split()]:
        os.sched_setaffinity(int(pid), {core})


def ingest(store: PostgresStore, maker: Maker, total: int) -> dict[str, float]:
    """Entries a second of append alone, and with the fold that follows it, in batches of 10,000."""
    appending = 0.0
    taken = 0
    while taken < total:
        batch = maker.batch(BATCH)
        started = time.perf_counter()
        store.append(batch)
        appending += time.perf_counter() - started
        taken += BATCH
        if taken % max(BATCH, total // 10) == 0:
            print(f"{taken:>12,} entries, {taken / appending:>9,.0f}/s", file=sys.stderr, flush=True)
    started = time.perf_counter()
    store.fold(total)
    folding = time.perf_counter() - started
    return {
        "append, events/s": round(taken / appending),
        "fold, events/s": round(taken / folding),
        "append and fold, events/s": round(taken / (appending + folding)),
    }


def one_by_one(store: PostgresStore, maker: Maker, count: int) -> dict[str, float]:
    """The latency of appending one entry, its commit flushed."""
    taken = []
    for entry in maker.batch(count):
        started = time.perf_counter()
        store.append([entry])
        taken.append((time.perf_counter() - started) * 1e6)
    taken.sort()
    return {"p50_us": round(taken[count // 2], 1), "p99_us": round(taken[count * 99 // 100], 1)}


def questions(store: PostgresStore, maker: Maker) -> dict[str, object]:
    """The dashboard's questions."""
    with store._connections.borrowing() as connection:
        connection.execute("ANALYZE")
    store.costs(CostQuery())
    return queries(store, maker)


def a_days_retention(store: PostgresStore) -> dict[str, float]:
    """How long dropping the oldest day takes, and how many entries it had."""
    day = START // DAY
    started = time.perf_counter()
    dropped = store.retain(day + 1, START + DAYS * DAY)
    return {
        "seconds": round(time.perf_counter() - started, 3),
        "entries": dropped.entries,
        "bytes freed": dropped.bytes_freed,
    }


def measure(events: int) -> dict[str, object]:
    """All figures at this many events."""
    with one_core_each() as server, server.database() as url:
        maker = Maker(events)
        store = PostgresStore(url, fold_behind=False)
        found: dict[str, object] = {"events": events, **ingest(store, maker, events)}
        found["append of one"] = one_by_one(store, maker, 1_000)
        found["bytes an event"] = round(int(store.facts()["bytes"]) / events)
        found["queries"] = questions(store, maker)
        found["a day's retention"] = a_days_retention(store)
        found["sound"] = not store.audit().findings if events <= 1_000_000 else "not audited"
        store.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000)
    print(json.dumps(measure(parser.parse_args().events), indent=2))


if __name__ == "__main__":
    main()
