"""The command line: `outlay --help`. Parses, calls the api, renders; nothing is decided here."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    import signal

    from outlay.faces.cli.commands import app

    # `outlay costs | head` ends quietly when head has seen enough, as other Unix tools do.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app(args=list(arguments) if arguments is not None else None, prog_name="outlay")
