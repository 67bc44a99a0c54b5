"""The house rules that no linter holds: lengths, banned words, banned calls."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "outlay"
MODULES = sorted(SOURCE.rglob("*.py"))
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
FUNCTION_LINES_MEDIAN_MAX = 10

EXCEPTION_EDGES = {
    "instrument/clients.py",
    "faces/gateway/relay.py",
    "faces/notify/apprise_channel.py",
    "watcher.py",
    "faces/server/writer.py",
}
"""The five places that design names for `except Exception`."""


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the definition less its docstring, and less one line a parameter beyond the first."""
    end = function.end_lineno or function.lineno
    lines = end - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_small_and_plain(path: Path) -> None:
    text = path.read_text()
    name = str(path.relative_to(SOURCE))
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it is"
    long = {function.name: _body_lines(function) for function in _functions(tree)}
    assert {k: v for k, v in long.items() if v > FUNCTION_LINES_MAX and k != "build_event"} == {}
    if name not in EXCEPTION_EDGES:
        assert not re.search(r"except (Base)?Exception\b|except:", text), "broad excepts live at five named edges"
    if name != "config.py":
        assert "os.environ" not in text, "config.py is the only reader of the environment"
    if name not in ("clock.py", "capture/intake.py"):
        assert not re.search(r"\b(time\.time|datetime\.now|date\.today|utcnow)\(", text), "the clock is passed in"
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)


def test_half_of_all_functions_are_shorter_than_ten_lines() -> None:
    lengths = [_body_lines(function) for path in MODULES for function in _functions(ast.parse(path.read_text()))]
    assert median(lengths) < FUNCTION_LINES_MEDIAN_MAX


def test_no_statement_edits_or_deletes_an_entry() -> None:
    """Only retention.sql deletes entries, whole days that a checkpoint covers; nothing updates them."""
    for path in sorted(SOURCE.rglob("*.sql")):
        sql = re.sub(r"--.*", "", path.read_text()).lower()
        assert not re.search(r"\bupdate\s+(or\s+\w+\s+)?entry\b", sql), path
        if path.name != "retention.sql":
            assert not re.search(r"\bdelete\s+from\s+entry\b", sql), path


def test_no_float_reaches_money() -> None:
    money = ast.parse((SOURCE / "money.py").read_text())
    calls = [node for node in ast.walk(money) if isinstance(node, ast.Name) and node.id == "float"]
    divisions = [node for node in ast.walk(money) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)]
    assert calls == []
    assert divisions == []


def test_the_words_are_those_of_the_design() -> None:
    """No abbreviations or drawers in names of modules, classes and functions."""
    banned = re.compile(r"(^|_)(utils?|helpers?|manager|misc|mgr|cfg|impl|quota)(_|$)", re.IGNORECASE)
    for path in MODULES:
        assert not banned.search(path.stem), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert not banned.search(node.name), f"{path}: {node.name}"
