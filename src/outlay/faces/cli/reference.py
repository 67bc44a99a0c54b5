"""docs/cli.md, made from the commands' own help so that it cannot say anything else.

Write it anew with `python -m outlay.faces.cli.reference > docs/cli.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import typer.main

from outlay.faces.cli.commands import app
from outlay.faces.cli.exits import MEANINGS

COLUMNS: Final = 100
"""The width of the help texts on the page."""

HEAD: Final = """# The command line

This page is what `--help` says, written by `python -m outlay.faces.cli.reference`; a test holds the two together.

Every command that shows data takes `--json` and `--csv`, in which amounts are exact. Without them a terminal gets
tables, and a pipe gets the same as aligned text. Errors are one line on stderr that ends with a stable code, such as
`[unknown_meter]`. Progress is shown on stderr, on terminals only.

`--since` and `--until` read `30m`, `24h`, `7d`, `2w`, `now`, `today`, `yesterday`, `this-month`, `last-week` and the
like, dates, and ISO times. Minutes and hours count back exactly; days and weeks to a local midnight, so `7d` is the
seven whole days before today and today so far. The ledger is `--ledger`, else `OUTLAY_LEDGER`, else `ledger` in
`outlay.toml`, else `outlay.db` here.

## Categories

`costs --category` groups by names of your own, found by ordered patterns over feature, operation or job when the
question is asked, so that a new rule holds for the past too:

```toml
# outlay.toml
[categories]
writing = ["feature:story*", "feature:script"]
images = ["operation:*image*"]
other = ["*"]
```

`--where category=images` filters by them.

## Exit codes
"""


def reference() -> str:
    """The text of docs/cli.md."""
    lines = [HEAD, "| code | meaning |", "|---|---|"]
    lines += [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    for name, text in help_texts():
        lines += ["", f"## {name}", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def help_texts() -> Iterator[tuple[str, str]]:
    """The name and the help of the program and of each of its commands."""
    yield from _texts_of(typer.main.get_command(app), "outlay", None)


def _texts_of(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    settings = {**command.context_settings, "terminal_width": COLUMNS}
    context = command.context_class(command, info_name=name, parent=parent, **settings)
    path = context.command_path
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    yield path, text.strip()
    for inner, each in getattr(command, "commands", {}).items():
        yield from _texts_of(each, inner, context)


if __name__ == "__main__":
    sys.stdout.write(reference())
