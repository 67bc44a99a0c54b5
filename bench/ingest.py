"""Ten million events through `record_many`, then the questions people ask of them.

Events are shaped like a busy product's: 8 services, 50 features and 5,000 users by Zipf's law, jobs of about twenty
calls that last an hour, a day or a week, thirty days in order of time. Making them is not timed.

    python bench/ingest.py EVENTS FOLDER     prints one JSON object
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import apsw

import outlay

START = "2026-09-01T00:00:00Z"
SPAN_S = 30 * 86_400
SERVICES = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("google", "gemini-2.5-flash"),
    ("mistral", "mistral-large-latest"),
    ("deepseek", "deepseek-chat"),
    ("groq", "llama-3.3-70b-versatile"),
    ("aws", "anthropic.claude-3-haiku-20240307-v1:0"),
]
JOB_SPANS_S = (3_600, 86_400, 7 * 86_400)
CALLS_A_JOB = 20
GROUP = 10_000
RAW_ROWS = 300_000


def zipf(count: int, exponent: float) -> list[float]:
    """Cumulative weights of Zipf's law."""
    weights: list[float] = []
    total = 0.0
    for rank in range(1, count + 1):
        total += 1 / rank**exponent
        weights.append(total)
    return weights


def events(count: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    """`count` calls in order of time, the same for the same seed."""
    dice = random.Random(seed)
    features, users = zipf(50, 1.0), zipf(5_000, 0.8)
    start = outlay.FrozenClock(START).now()
    step = SPAN_S * 1_000_000 // count
    rate_a_second = count / SPAN_S
    for index in range(count):
        feature = dice.choices(range(50), cum_weights=features)[0]
        provider, service = SERVICES[(feature + dice.randrange(4)) % 8]
        input_tokens = dice.randrange(50, 4_000)
        usage = {"input_tokens": input_tokens, "output_tokens": dice.randrange(10, 900)}
        if dice.random() < 0.1:
            usage["cache_read_tokens"] = input_tokens // 2
        kind = dice.randrange(3)
        window = index * step // (JOB_SPANS_S[kind] * 1_000_000)
        alive = max(1, int(JOB_SPANS_S[kind] * rate_a_second / 3 / CALLS_A_JOB))
        moment = outlay_time(start + index * step)
        yield {
            "provider": provider,
            "service": service,
            "operation": "chat" if feature % 3 else "summarize",
            "usage": usage,
            "user": f"u{dice.choices(range(5_000), cum_weights=users)[0]}",
            "customer": f"c{feature % 20}",
            "feature": f"feature-{feature}",
            "environment": "prod" if index % 10 else "dev",
            "job": f"job-{kind}-{window}-{dice.randrange(alive)}",
            "time": moment,
        }


def outlay_time(instant: int) -> Any:
    """An aware datetime, as a program would pass."""
    from outlay.clock import to_datetime

    return to_datetime(instant)


def ingest(ledger: outlay.Ledger, count: int) -> list[float]:
    """Seconds each tenth of `count` took in `record_many`, everything in it included."""
    seconds: list[float] = []
    source = events(count)
    for _ in range(10):
        spent = 0.0
        for _ in range(max(1, count // 10 // GROUP)):
            group = list(islice(source, GROUP))
            started = time.perf_counter()
            outcomes = ledger.record_many(group)
            spent += time.perf_counter() - started
            assert all(outcome.code == "created" for outcome in outcomes), outcomes[0]
        seconds.append(spent)
        print(f"  {spent:.1f} s", file=sys.stderr, flush=True)
    return seconds


def raw_rows_a_second(path: Path, folder: Path) -> float:
    """Plain executemany of the ledger's own entry rows into a table without keys: the medium's limit."""
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    rows = list(reader.execute("SELECT * FROM entry LIMIT ?", (RAW_ROWS,)))
    reader.close()
    target = folder / "raw.db"
    target.unlink(missing_ok=True)
    connection = apsw.Connection(str(target))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", 1)
    columns = ", ".join(f"c{index}" for index in range(len(rows[0])))
    connection.execute(f"CREATE TABLE raw ({columns})")
    holes = ", ".join("?" * len(rows[0]))
    started = time.perf_counter()
    for at in range(0, len(rows), GROUP):
        with connection:
            connection.executemany(f"INSERT INTO raw VALUES ({holes})", rows[at : at + GROUP])
    spent = time.perf_counter() - started
    connection.close()
    target.unlink()
    return len(rows) / spent


def timed_ms(question: Callable[[], object], rounds: int = 9) -> dict[str, float]:
    """Median and worst of some rounds after one that is not counted, in milliseconds."""
    question()
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        question()
        spent.append((time.perf_counter() - started) * 1000)
    return {"median_ms": median(spent), "max_ms": max(spent)}


def jobs_midway(count: int) -> tuple[str, str]:
    """One job of an hour and one of a week that were under way when half of the events were in."""
    names = [str(event["job"]) for event in islice(events(count), count // 2, count // 2 + 1_000)]
    hour, week = (next(name for name in names if name.startswith(f"job-{kind}-")) for kind in (0, 2))
    return hour, week


def questions(ledger: outlay.Ledger, jobs: tuple[str, str]) -> dict[str, dict[str, float]]:
    """The questions that must be quick, asked through the api."""
    since, until = "2026-09-01", "2026-10-01"
    hour, week = jobs
    asked: dict[str, Callable[[], object]] = {
        "day x provider, 30 days, UTC": lambda: ledger.costs(("day", "provider"), since=since, until=until),
        "one user's days": lambda: ledger.costs("day", where={"user": "u17"}, since=since, until=until),
        "top 20 features": lambda: ledger.top("feature", limit=20, since=since, until=until),
        "one job of an hour": lambda: ledger.job(hour),
        "one job of a week": lambda: ledger.job(week),
    }
    for zone in ("America/New_York", "Asia/Kolkata"):
        asked[f"day x provider, 30 days, {zone}"] = partial(
            ledger.costs, ("day", "provider"), since=since, until=until, zone=zone
        )
    return {name: timed_ms(question) for name, question in asked.items()}


def main() -> None:
    """Measure and print."""
    count, folder = int(sys.argv[1]), Path(sys.argv[2])
    path = folder / "ingest.db"
    clock = outlay.FrozenClock(START)
    clock.advance(seconds=SPAN_S)
    with outlay.open(path, clock=clock) as ledger:
        seconds = ingest(ledger, count)
        ledger.fold()
        figures = {
            "events": count,
            "seconds_a_tenth": seconds,
            "events_a_second": count / sum(seconds),
            "raw_rows_a_second": raw_rows_a_second(path, folder),
            "bytes_an_event": path.stat().st_size / count,
            "questions": questions(ledger, jobs_midway(count)),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
