"""A FOCUS bill that came in, out again as another version: every text as it was received, to the last digit.

Only what a version calls otherwise changes its column, and only what FOCUS writes otherwise its form: times become
UTC with a Z, the word NULL becomes null. A column that no version knows becomes one of ours, with x_ before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from outlay.capture.statement_table import NOTHING
from outlay.clock import to_instant
from outlay.errors import InvalidInput
from outlay.faces.export.charges import utc_text
from outlay.faces.export.focus_columns import CUSTOM, ColumnKind, columns_of, kind_of
from outlay.faces.export.sinks import Row

FORMAT: Final = "FOCUS"
_SINCE_1_3: Final = {"ServiceProviderName": "ProviderName", "HostProviderName": "ProviderName"}
_BEFORE_1_3: Final = {"ProviderName": "ServiceProviderName", "PublisherName": "HostProviderName"}
"""Where a version has a name for who sells, hosts or makes, and the rows of another say it under their own."""


def statement_columns(columns: Sequence[str], version: str) -> tuple[str, ...]:
    """The columns of a version, then those of the bill that it does not know."""
    known = tuple(name for name in columns_of(version) if name not in CUSTOM)
    replaced = set(_instead(version).values())
    others = (name for name in columns if name not in known and name not in replaced)
    return (*known, *(_custom(name) for name in others))


def statement_rows(rows: Iterable[Mapping[str, str]], version: str) -> Iterator[Row]:
    """The rows of a FOCUS bill in a version's columns. Raises InvalidInput `not_a_statement` for another bill."""
    known = frozenset(columns_of(version)) - set(CUSTOM)
    instead = _instead(version)
    for received in rows:
        if "BilledCost" not in received or "ChargePeriodStart" not in received:
            raise InvalidInput("this statement is no FOCUS: outlay export csv writes it", code="not_a_statement")
        row = {(name if name in known else _custom(name)): _cell(name, text) for name, text in received.items()}
        for name, other in instead.items():
            if row.get(name) is None:
                row[name] = _cell(other, received.get(other, ""))
        yield row


def _instead(version: str) -> Mapping[str, str]:
    return _BEFORE_1_3 if version == "1.2" else _SINCE_1_3


def _custom(name: str) -> str:
    return name if name.startswith("x_") else f"x_{name}"


def _cell(name: str, text: str) -> str | None:
    if text in NOTHING:
        return None
    return _time(text) if kind_of(name) is ColumnKind.TIME else text


@lru_cache(maxsize=10_000)
def _time(text: str) -> str:
    """A time as FOCUS has it; one that names no zone is UTC, one that cannot be read stays as it is."""
    try:
        return utc_text(to_instant(text.removesuffix(" UTC"), "UTC"))
    except InvalidInput:
        return text
