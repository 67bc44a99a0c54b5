"""Outlay is imported into other people's programs: their decimal contexts change nothing that it counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "counting_program.py"


def told(name: str, folder: Path) -> tuple[list[str], list[str]]:
    """What a ledger in memory and one in a file answer in a program with this context."""
    command = [sys.executable, str(PROGRAM), name, "memory:", str(folder / f"{name}.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return lines[: len(lines) // 2], lines[len(lines) // 2 :]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    in_memory, in_a_file = told("own", tmp_path_factory.mktemp("own"))
    assert in_memory[0] == "$1.234567890123"  # 12,345.678901234 s at $0.36 an hour: 12345.678901234 / 10,000
    assert in_memory == in_a_file
    return in_memory


@pytest.mark.parametrize("name", ["short", "trapped", "narrow", "silent"])
def test_a_programs_decimal_context_changes_no_answer(name: str, undisturbed: list[str], tmp_path: Path) -> None:
    in_memory, in_a_file = told(name, tmp_path)
    assert in_memory == undisturbed
    assert in_a_file == undisturbed
