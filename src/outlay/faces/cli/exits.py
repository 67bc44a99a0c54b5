"""Exit codes, and the one place where an error becomes one line on stderr."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import Any

import typer
from typer.core import TyperGroup

from outlay.errors import InvalidInput, LedgerError, MissingExtra, NotFound, OutlayError, PriceBookError, Refused


class Exit(IntEnum):
    """What the shell is told. Each member's text stands in `outlay --help` and in docs/cli.md."""

    OK = 0
    FINDING = 1
    BAD_INPUT = 2
    LEDGER = 3
    NOT_FOUND = 4
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done, nothing to object to",
    Exit.FINDING: "done, and something was found: audit not clean, prices to check, lines rejected",
    Exit.BAD_INPUT: "bad usage or bad input; nothing was written for it",
    Exit.LEDGER: "the ledger could not be opened, read or written",
    Exit.NOT_FOUND: "no such event, job, request, price or budget",
    Exit.INTERRUPTED: "interrupted",
}


def code_of(error: OutlayError) -> Exit:
    """The exit code of an error."""
    if isinstance(error, NotFound):
        return Exit.NOT_FOUND
    if isinstance(error, LedgerError):
        return Exit.LEDGER
    if isinstance(error, InvalidInput | PriceBookError | Refused | MissingExtra):
        return Exit.BAD_INPUT
    return Exit.LEDGER


class ErrorsInOneLine(TyperGroup):
    """A group of commands whose errors are one clear line with their code, never a traceback."""

    def invoke(self, context: Any) -> Any:
        """Run the command; turn Outlay's errors into a line on stderr and an exit code."""
        try:
            return super().invoke(context)
        except OutlayError as error:
            print(f"outlay: {' '.join(error.message.split())} [{error.code}]", file=sys.stderr)
            raise typer.Exit(code_of(error)) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(Exit.INTERRUPTED) from error
