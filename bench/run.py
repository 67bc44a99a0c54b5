"""Side by side with peers, in one run: writes docs/benchmarks.md between its marks.

Peers live in an environment of their own (.bench/peers). Two processes take turns round by round, so a machine whose
speed drifts slows both. Bytecode is compiled first. What is reported is the median of the rounds, and ratios.

    python bench/run.py [--only budgets] [--events 10000000] [--rounds 15] [--budgets 10000] [--users 1000000]

`--only` (more than once) measures some sections anew and leaves the others as they stand on the page.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import hosts
import reads

import gateway
import pages

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".bench" / "peers"
PEER_PACKAGES = (
    "genai-prices==0.2.3",
    "tokencost==0.1.26",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
)
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
SECTION = "<!-- section: "
Figures = dict[str, float]


class Worker:
    """A process that measures what it is asked for."""

    def __init__(self, python: Path | str, script: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [str(python), str(ROOT / "bench" / script)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def round(self, name: str) -> Figures:
        """One round of one measurement."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        figures: Figures = json.loads(self._process.stdout.readline())
        return figures

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def main() -> None:
    """Measure everything, or what is asked for, and write the page."""
    measures: dict[str, Callable[[argparse.Namespace], str]] = {
        "machine": lambda _: machine(),
        "calls": lambda options: calls(options.rounds),
        "startup": lambda _: startup(),
        "budgets": lambda options: budgets(options.budgets, options.users),
        "ingestion": lambda options: ingestion(options.events),
        "server": lambda _: hosts.served(),
        "pages": lambda options: pages.section(options.events, options.ledgers),
        "gateway": lambda _: gateway.section(),
        "reads": lambda options: reads.section(options.events, options.ledgers),
        "postgres": lambda options: hosts.postgres(options.events),
        "postgres budgets": lambda _: hosts.postgres_budgets(),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=tuple(measures), help="a section; may be repeated")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--ledgers", type=Path, help="a folder whose big ledgers are used again, not filled anew")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budgets", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=1_000_000)
    options = parser.parse_args()
    compileall.compile_dir(ROOT / "src", quiet=2)
    for name, measure in measures.items():
        if not options.only or name in options.only:
            # Written after each section, so that a later one that fails does not take an hour's figures with it.
            write(tuple(measures), name, measure(options))


def install_peers() -> Path:
    """The peers' environment, made once."""
    python = PEERS / "bin" / "python"
    if not (PEERS / ".installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEER_PACKAGES], check=True)
        compileall.compile_dir(PEERS / "lib", quiet=2)
        (PEERS / ".installed").touch()
    return python


def machine() -> str:
    """What this ran on."""
    cpu = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    packages = subprocess.run(
        [str(install_peers()), "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout.split()
    named = [line for line in packages if line.startswith(("genai-prices", "tokencost", "opentelemetry-sdk"))]
    import apsw
    import msgspec

    own = [f"apsw {apsw.apsw_version()} (SQLite {apsw.sqlite_lib_version()})", f"msgspec {msgspec.__version__}"]
    return (
        f"Machine: {os.cpu_count()} cores of {cpu}, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}. Outlay with {', '.join(own)}. Peers: {', '.join(named)}."
    )


def calls(rounds: int) -> str:
    """Prices and records, own and peers' in turns."""
    own, peers = Worker(sys.executable, "own.py"), Worker(install_peers(), "peers.py")
    found: dict[str, list[Figures]] = {}
    order = [
        (peers, "genai_prices"),
        (peers, "genai_prices_with_usage"),
        (own, "price"),
        (own, "rate"),
        (peers, "tokencost_three"),
        (peers, "otel_span"),
        (own, "record_normal"),
        (own, "record_spool"),
        (own, "record_full"),
    ]
    for _ in range(rounds):
        for worker, name in order:
            found.setdefault(name, []).append(worker.round(name))
    own.close()
    peers.close()
    cpu = {name: median(round["thread_cpu_us"] for round in figures) for name, figures in found.items()}
    wall = {name: median(round["wall_us"] for round in figures) for name, figures in found.items()}
    genai, span = cpu["genai_prices"], wall["otel_span"]
    rows = [
        ("genai-prices `calc_price`, its Usage made before", genai, wall["genai_prices"], "1"),
        (
            "genai-prices, making its Usage and `calc_price`",
            cpu["genai_prices_with_usage"],
            wall["genai_prices_with_usage"],
            times(genai, cpu["genai_prices_with_usage"]),
        ),
        (
            "Outlay `ledger.price` (checks, lines, provenance)",
            cpu["price"],
            wall["price"],
            times(genai, cpu["price"]),
        ),
        ("Outlay inner `rate`, its event made before", cpu["rate"], wall["rate"], times(genai, cpu["rate"])),
        (
            "tokencost, three look-ups",
            cpu["tokencost_three"],
            wall["tokencost_three"],
            times(genai, cpu["tokencost_three"]),
        ),
    ]
    table = ["### Pricing one call", "", "gpt-4o, 1,200 input tokens of which 800 cached, 350 output.", ""]
    table += ["| call | thread CPU µs | wall µs | times faster than genai-prices |", "|---|---|---|---|"]
    table += [f"| {name} | {a:.1f} | {b:.1f} | {ratio} |" for name, a, b, ratio in rows]
    table += ["", "### Recording one call", ""]
    table += ["| call | thread CPU µs | wall µs | wall over an OpenTelemetry span |", "|---|---|---|---|"]
    for name, label in (
        ("otel_span", "OpenTelemetry SDK span, batch exporter"),
        ("record_normal", "Outlay `record`, durable against kill -9 (NORMAL)"),
        ("record_spool", "Outlay `record(wait=False)`, spool"),
        ("record_full", "Outlay `record`, durable against power loss (FULL)"),
    ):
        table.append(f"| {label} | {cpu[name]:.0f} | {wall[name]:.0f} | {wall[name] - span:+.0f} µs |")
    return "\n".join(table)


def times(one: float, other: float) -> str:
    """A ratio for people."""
    return f"{one / other:.1f}×"


def startup() -> str:
    """Fresh processes: importing, first durable record, help."""
    python = sys.executable
    first = (
        "import outlay; ledger = outlay.open(r'{path}'); "
        "ledger.record(provider='openai', service='gpt-4o', usage={{'input_tokens': 12, 'output_tokens': 3}})"
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            ("bare Python", *fresh([python, "-c", "pass"], folder)),
            ("`import outlay`", *fresh([python, "-c", "import outlay"], folder)),
            ("first durable record in a new file", *fresh([python, "-c", first], folder, new_file=True)),
            ("first durable record in a file that is there", *fresh([python, "-c", first], folder)),
            ("`outlay --help`", *fresh([str(Path(python).parent / "outlay"), "--help"], folder)),
        ]
    table = ["### Fresh processes", "", "| process | wall ms | peak memory MB |", "|---|---|---|"]
    table += [f"| {name} | {wall:.0f} | {memory:.0f} |" for name, wall, memory in rows]
    return "\n".join(table)


def fresh(command: list[str], folder: str, rounds: int = 15, *, new_file: bool = False) -> tuple[float, float]:
    """Median wall milliseconds and peak resident megabytes of a process of its own."""
    probe = (
        "import resource, subprocess, sys, time; started = time.perf_counter(); "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
        "spent = time.perf_counter() - started; "
        "print(spent * 1000, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    wall, memory = [], []
    for at in range(rounds + 1):
        path = Path(folder) / (f"fresh-{at}.db" if new_file else "fresh.db")
        filled = [part.format(path=path) for part in command]
        found = subprocess.run(
            [sys.executable, "-c", probe, *filled], capture_output=True, text=True, check=True, env=environment
        )
        spent, peak = map(float, found.stdout.split())
        if at:  # The first round compiles bytecode and makes the file.
            wall.append(spent)
            memory.append(peak)
    return median(wall), median(memory)


def ingestion(events: int) -> str:
    """Many events in, questions out."""
    with tempfile.TemporaryDirectory() as folder:
        found = subprocess.run(
            [sys.executable, str(ROOT / "bench" / "ingest.py"), str(events), folder],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    figures = json.loads(found.stdout)
    tenths = figures["seconds_a_tenth"]
    speed = [events / 10 / seconds for seconds in tenths]
    raw = figures["raw_rows_a_second"]
    lines = [
        f"### {events:,} events",
        "",
        "| what | figure |",
        "|---|---|",
        f"| raw `executemany` of the same rows | {raw:,.0f} rows/s |",
        f"| `record_many`, everything included | {figures['events_a_second']:,.0f} events/s "
        f"({figures['events_a_second'] / raw:.2f} of raw) |",
        f"| first tenth, last tenth | {speed[0]:,.0f}, {speed[-1]:,.0f} events/s "
        f"(last is {speed[-1] / speed[0]:.2f} of first) |",
        f"| bytes an event, rollups included | {figures['bytes_an_event']:.0f} |",
        "",
        "| question | median ms | worst ms |",
        "|---|---|---|",
    ]
    for name, spent in figures["questions"].items():
        lines.append(f"| {name} | {spent['median_ms']:.2f} | {spent['max_ms']:.2f} |")
    return "\n".join(lines)


def budgets(count: int, users: int) -> str:
    """Reserving and settling: one process, several, and beside much that has no part in the call."""
    command = [sys.executable, str(ROOT / "bench" / "budgets.py"), str(count), str(users)]
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    lines = [
        "### Reserving before a call and settling after it",
        "",
        "One refusing budget covers each call. A pair is `ledger.reserve` and `settle`: two durable transactions.",
        "",
        "| what | NORMAL (kill -9) | wanted | FULL (power loss) | wanted |",
        "|---|---|---|---|---|",
    ]
    normal, full = found["normal"], found["full"]
    for label, name, normal_wanted, full_wanted in (
        ("one process, p50 wall µs a pair", "wall_p50_us", "< 200", "< 450"),
        ("… p10 wall µs", "wall_p10_us", "", ""),
        ("… p99 wall µs", "wall_p99_us", "", ""),
        ("… p50 thread CPU µs", "cpu_p50_us", "", ""),
        ("4 processes, pairs/s", "pairs_a_second", "≥ 3,500", "≥ 1,000"),
        ("… the longest wait of any pair, ms", "longest_ms", "< 1,000", "< 1,000"),
    ):
        lines.append(f"| {label} | {normal[name]:,.0f} | {normal_wanted} | {full[name]:,.0f} | {full_wanted} |")
    lines += [
        "",
        "What has no part in a call, "
        f"{found['turns']} turns of {found['pairs_a_turn']} pairs in one process (NORMAL):",
        "",
        "| ledger | p50 wall µs a pair | ratio | to |",
        "|---|---|---|---|",
    ]
    for name, one in found["beside"].items():
        lines.append(f"| {name} | {one['p50_us']:,.0f} | {one['ratio']:.2f} | {one['against']} |")
    lines += [
        "",
        f"The first pair of a process beside {count:,} budgets, which it reads and compiles: "
        f"{found['load_ms']:,.0f} ms.",
    ]
    return "\n".join(lines)


def write(names: Sequence[str], name: str, measured: str) -> None:
    """Put what was measured into its section between the page's marks; the other sections stay."""
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    between, tail = rest.split(END)
    parts = between.split(SECTION)[1:]
    sections = {part.split(" -->", 1)[0]: part.split(" -->", 1)[1].strip() for part in parts}
    sections[name] = measured
    body = "\n\n".join(f"{SECTION}{one} -->\n\n{sections[one]}" for one in names if one in sections)
    PAGE.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{tail}")
    print(measured)


if __name__ == "__main__":
    main()
