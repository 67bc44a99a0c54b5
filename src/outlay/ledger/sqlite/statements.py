"""SQL lives in .sql files; this reads the named statements of one, so that code and SQL stay apart."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_MARK: Final = "-- name: "
SCHEMA_VERSION: Final = 1


def schema() -> str:
    """The script that makes an empty ledger."""
    return _text("schema.sql")


def migration(version: int) -> str:
    """The script that brings a ledger from the version before to `version`."""
    folder = files("outlay.ledger") / "sql" / "sqlite" / "migrations"
    found = [item for item in folder.iterdir() if item.name.startswith(f"{version:03d}_")]
    return found[0].read_text(encoding="utf-8")


def sql(name: str) -> str:
    """The statement of that name in queries.sql or retention.sql. A KeyError is a mistake in this package."""
    return _statements()[name]


@cache
def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for part in (_text("queries.sql") + "\n" + _text("retention.sql")).split(_MARK)[1:]:
        name, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if not line.lstrip().startswith("--")]
        found[name.strip()] = "\n".join(lines).strip()
    return found


def _text(name: str) -> str:
    return (files("outlay.ledger") / "sql" / "sqlite" / name).read_text(encoding="utf-8")
