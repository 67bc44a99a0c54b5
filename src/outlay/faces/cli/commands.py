"""The application: every command under its name, and what `outlay --help` says."""

from __future__ import annotations

from typing import Annotated

import typer

from outlay.faces.cli import (
    advising,
    alerting,
    analysing,
    asking,
    aws,
    billing,
    budgeting,
    currencies,
    estimating,
    exporting,
    gateway,
    importing,
    keeping,
    migrating,
    prices,
    recording,
    reporting,
    serving,
)
from outlay.faces.cli.demo import demo
from outlay.faces.cli.exits import MEANINGS, ErrorsInOneLine

_CODES = "\n".join(f"  {code.value:>3}  {text}" for code, text in MEANINGS.items())

app = typer.Typer(
    name="outlay",
    cls=ErrorsInOneLine,
    help="The ledger of what an AI application spends: priced exactly, kept for good, explained line by line.",
    epilog=f"\b\nExit codes:\n{_CODES}",
    no_args_is_help=True,
    add_completion=False,
    # Help without Rich: it is read in pipes and logs as often as on terminals, and loads in half the time.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        import outlay

        print(f"outlay {outlay.__version__}")
        raise typer.Exit


@app.callback()
def outlay(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """The ledger of what an AI application spends: priced exactly, kept for good, explained line by line."""


for name, command in (
    ("demo", demo),
    ("record", recording.record),
    ("import", importing.import_files),
    ("costs", asking.costs),
    ("top", asking.top),
    ("job", asking.job),
    ("event", asking.event),
    ("explain", asking.explain),
    ("forecast", analysing.forecast),
    ("anomalies", analysing.anomalies),
    ("compare", analysing.compare),
    ("estimate", estimating.estimate),
    ("estimated", estimating.estimated),
    ("advise", advising.advise),
    ("reconcile", billing.reconcile),
    ("allocate", billing.allocate),
    ("balance", billing.balance),
    ("finish", recording.finish),
    ("correct", recording.correct),
    ("reprice", recording.reprice),
    ("retain", keeping.retain),
    ("forget", keeping.forget),
    ("audit", keeping.audit),
    ("backup", keeping.backup),
    ("migrate", migrating.migrate),
    ("doctor", keeping.doctor),
    ("serve", serving.serve),
    ("report", reporting.report),
    ("note", reporting.note),
    ("watch", alerting.watch),
    ("tick", alerting.tick),
):
    app.command(name)(command)
app.add_typer(exporting.exports)
prices.prices.command("exchange")(currencies.exchange)
app.add_typer(prices.prices)
app.add_typer(serving.keys)
app.add_typer(gateway.gateway)
app.add_typer(billing.bill)
app.add_typer(budgeting.budget)
app.add_typer(alerting.alerts)
app.add_typer(aws.aws)
