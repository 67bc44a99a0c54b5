"""Docs are executed: every python block of README and docs runs, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def _with_python() -> list[Path]:
    return [page for page in PAGES if page.exists() and BLOCK.search(page.read_text())]


@pytest.mark.parametrize("page", _with_python(), ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page are one program, run in an empty folder. `# prints: …` states the last printed line."""
    monkeypatch.chdir(tmp_path)
    program = "\n".join(BLOCK.findall(page.read_text()))
    printed: list[str] = []
    namespace = {"__name__": "docs", "print": lambda *parts: printed.append(" ".join(map(str, parts)))}
    exec(compile(program, str(page), "exec"), namespace)
    expected = re.findall(r"# prints: (.*)", program)
    for line in expected:
        assert any(line.strip() in text for text in printed), f"{line!r} is not among {printed}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
