"""The page names each SDK with the version that the tests ran with, as the table of targets has it.

Run `python -m tests.instrument.test_sdk_versions` to write the table into the page.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from outlay.instrument.targets import SDKS, Sdk, Style

PAGE = Path(__file__).parent.parent.parent / "docs" / "instrument.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def table() -> str:
    """The rows of the page."""
    rows = ["| SDK | tested | calls | async |", "|---|---|---|---|"]
    for sdk in SDKS:
        also = any(entry.style in (Style.ASYNC, Style.ASYNC_CONTEXT) for entry in sdk.entries)
        rows.append(f"| {sdk.name} | {sdk.tested} | {sdk.calls} | {'yes' if also else 'has none'} |")
    return "\n".join(rows)


def test_the_page_has_the_table() -> None:
    assert f"{BEGIN}\n{table()}\n{END}" in PAGE.read_text(), "run python -m tests.instrument.test_sdk_versions"


@pytest.mark.parametrize("sdk", SDKS, ids=lambda sdk: sdk.name)
def test_the_version_that_is_written_down_is_the_one_that_is_tested(sdk: Sdk) -> None:
    assert version(sdk.name) == sdk.tested


if __name__ == "__main__":
    head, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")
