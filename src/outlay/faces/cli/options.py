"""The options that many commands share."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.render import Form
from outlay.faces.cli.when import SPELLINGS

LedgerOption = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        "-l",
        metavar="PATH",
        help="The ledger: a path or sqlite:///…  [default: OUTLAY_LEDGER, outlay.toml, else outlay.db]",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON; amounts are exact decimal text.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Write CSV with a header; amounts are exact.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help=f"From this time on: {SPELLINGS}.", show_default=False)
]
UntilOption = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Up to this time, exclusive.", show_default=False)
]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone",
        metavar="ZONE",
        help="The IANA zone whose days are meant.  [default: the ledger's]",
        show_default=False,
    ),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        "-w",
        metavar="NAME=VALUE",
        help="Only these: feature=summary, tag.x=y, user= (without one). Repeat a name for any of several values.",
        show_default=False,
    ),
]
UsageOption = Annotated[
    list[str] | None,
    typer.Option("--usage", "-u", metavar="METER=QUANTITY", help="What was used, once a meter.", show_default=False),
]
ConditionOption = Annotated[
    list[str] | None,
    typer.Option("--condition", metavar="NAME=VALUE", help="Service tier, region, resolution, …", show_default=False),
]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag of your own.", show_default=False)
]
DayOption = Annotated[
    str | None,
    typer.Option(
        "--day", metavar="DATE", help="The event's UTC day, if its id was used on several.", show_default=False
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]

WITHOUT: Final = None
"""The value of a filter that means: events that have none."""


def form_of(json: bool, csv: bool) -> Form:
    """The form asked for. Raises InvalidInput when both are."""
    if json and csv:
        raise InvalidInput("give --json or --csv, not both", code="bad_option")
    return Form.JSON if json else Form.CSV if csv else Form.TABLE


def read_pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """NAME=VALUE texts. Raises InvalidInput `bad_option` for one without a name or given twice."""
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"{option} {text[:60]!r} is not NAME=VALUE", code="bad_option")
        if name.strip() in found:
            raise InvalidInput(f"{option} gives {name.strip()[:60]!r} twice", code="bad_option")
        found[name.strip()] = value.strip()
    return found


def read_filter(texts: list[str] | None) -> dict[str, tuple[str | None, ...]]:
    """NAME=VALUE texts as a filter: a repeated name takes any of its values, an empty value means without one."""
    found: dict[str, tuple[str | None, ...]] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InvalidInput(f"--where {text[:60]!r} is not NAME=VALUE", code="bad_option")
        found[name.strip()] = (*found.get(name.strip(), ()), value.strip() or WITHOUT)
    return found


def read_names(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
