"""The command line as a shell sees it: real processes, pipes, exit codes, start-up time."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import Exit


def shell(folder: Path, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OUTLAY_")}
    command = [sys.executable, "-m", "outlay", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, input=input, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the demo's ledger, and what the demo said."""
    folder = tmp_path_factory.mktemp("demo")
    done = shell(folder, "demo", "--start", "2026-08-03")
    assert done.returncode == 0, done.stderr
    assert "simulating 90 days" in done.stderr
    return folder, done.stdout


def test_the_demo_shows_the_three_products_and_why_one_video_cost_what_it_did(demo: tuple[Path, str]) -> None:
    _, shown = demo
    for part in ("Clipmaker", "Retouch", "Manuals", "by week", "by provider", "by feature", "the runaway night"):
        assert part in shown
    assert re.search(r"per finished video", shown)
    assert re.search(r"unpriced: \d+ calls of google/canvas-experimental-0926", shown)
    begun = shown.index("why video-")
    table = shown[begun : shown.index("\n\n", begun)].splitlines()
    total = re.search(r"cost \$([\d.]+)$", table[0])
    assert total is not None
    lines = [line.rsplit("$", 1)[1].strip() for line in table[2:]]
    assert lines[-1] == total[1]
    assert sum(Decimal(line) for line in lines[:-1]) == Decimal(total[1])


def test_the_demo_is_reused_not_made_again(demo: tuple[Path, str]) -> None:
    folder, shown = demo
    before = (folder / "outlay-demo.db").stat().st_mtime_ns
    again = shell(folder, "demo", "--start", "2026-08-03")
    assert again.stdout == shown
    assert "simulating" not in again.stderr
    assert (folder / "outlay-demo.db").stat().st_mtime_ns == before


def test_every_command_that_the_demo_suggests_works(demo: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run here, where the modules and the catalogue that they need are loaded once."""
    folder, shown = demo
    monkeypatch.chdir(folder)
    suggested = shown[shown.index("what to try next") :].splitlines()[1:]
    commands = [re.sub(r"^ *(python -m outlay|\S*outlay) ", "", line).split() for line in suggested]
    assert len(commands) >= 8
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, f"{command}: {done.output} {done.exception!r}"
        assert done.stdout.strip(), command


def test_a_pipe_gets_plain_aligned_text_and_json_parses(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    plain = shell(folder, "costs", "--by", "project", "-l", "outlay-demo.db")
    assert "\x1b" not in plain.stdout
    assert plain.stderr == ""
    lines = plain.stdout.splitlines()
    points = {line.index(".", line.index("$")) for line in lines if "$" in line}
    assert len(points) == 1, "the points of a column stand in line"
    found = json.loads(shell(folder, "costs", "--by", "project", "-l", "outlay-demo.db", "--json").stdout)
    assert sum(Decimal(row["cost"]) for row in found["rows"]) == Decimal(found["total"]["cost"])


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    program = f"{shlex.quote(sys.executable)} -m outlay prices show openai | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0] == "openai"
    assert done.stdout.splitlines()[-1] in ("0", "141"), "ended by SIGPIPE, or before the pipe was closed"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), Exit.OK),
        (("costs",), Exit.LEDGER),
        (("prices", "show", "nobody"), Exit.NOT_FOUND),
        (("nonsense",), Exit.BAD_INPUT),
        (("costs", "--nonsense"), Exit.BAD_INPUT),
        (("record", "-p", "a", "-s", "b", "-u", "images=many", "-l", "memory:"), Exit.BAD_INPUT),
    ],
)
def test_the_shell_sees_the_exit_code_and_never_a_traceback(
    arguments: tuple[str, ...], code: Exit, tmp_path: Path
) -> None:
    done = shell(tmp_path, *arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == (code != Exit.OK)


def test_lines_from_standard_input_are_booked_and_bad_ones_added_to_a_file(tmp_path: Path) -> None:
    good = '{"id":"a","time":"2026-01-01T00:00:00Z","provider":"acme","service":"x","reported_cost":"0.01"}\n'
    first = shell(tmp_path, "import", "-", "--json", input=good + "{bad\n")
    assert first.returncode == Exit.FINDING
    assert json.loads(first.stdout)["cost_booked"] == "0.01"
    shell(tmp_path, "import", "-", input="{worse\n")
    rejects = (tmp_path / "outlay-import.rejects.jsonl").read_text().splitlines()
    assert [json.loads(line)["raw"] for line in rejects] == ["{bad", "{worse"]


def test_help_loads_no_library_that_it_does_not_show() -> None:
    """What keeps help quick (docs/benchmarks.md has its time): no Rich, no store, no prices."""
    probe = (
        "import sys; sys.argv = ['outlay', '--help']\n"
        "from outlay.faces.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: outlay" in done.stdout
    loaded = set(done.stderr.split())
    assert "outlay.faces.cli" in loaded
    ours = {"outlay.api", "outlay.pricing.book", "outlay.budgets.definition", "outlay.analytics.report"}
    libraries = {"rich", "apsw", "asyncio", "aiohttp", "boto3", "vl_convert", "jinja2", "pyarrow"}
    assert loaded & (ours | libraries) == set()
