"""`import outlay` loads nothing that a program did not ask for."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("msgspec", "apsw", "typer", "rich", "decimal", "zoneinfo", "asyncio", "genai_prices", "pandas", "pyarrow")


def _loaded(code: str) -> set[str]:
    probe = f"import sys; before = set(sys.modules); {code}; print(' '.join(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def test_importing_outlay_loads_no_library() -> None:
    assert _loaded("import outlay") & set(HEAVY) == set()


def test_pricing_needs_no_database_and_no_terminal() -> None:
    loaded = _loaded("import outlay; outlay.Money.of('0.01')")
    assert loaded & {"apsw", "typer", "rich", "genai_prices", "pandas"} == set()


def test_the_public_names_are_all_there() -> None:
    import outlay

    for name in dir(outlay):
        getattr(outlay, name)
