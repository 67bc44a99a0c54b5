"""The ledger of what an AI application spends: priced exactly, kept for good, explained line by line.

    import outlay
    ledger = outlay.open("outlay.db")
    receipt = ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": 1200, "output_tokens": 350})
    print(receipt.total, receipt.explain())

Importing this costs almost nothing: what is used is loaded when it is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # As in typing, which would cost a third of this module's import.
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from outlay.analytics.estimate import JobEstimate as JobEstimate
    from outlay.answers import Costs as Costs
    from outlay.answers import Job as Job
    from outlay.answers import Repricing as Repricing
    from outlay.api import Ledger as Ledger
    from outlay.calls import Call as Call
    from outlay.clock import Clock as Clock
    from outlay.clock import FrozenClock as FrozenClock
    from outlay.clock import SystemClock as SystemClock
    from outlay.config import Settings
    from outlay.errors import AccessDenied as AccessDenied
    from outlay.errors import AmbiguousId as AmbiguousId
    from outlay.errors import BudgetExceeded as BudgetExceeded
    from outlay.errors import EventConflict as EventConflict
    from outlay.errors import InvalidInput as InvalidInput
    from outlay.errors import LedgerBusy as LedgerBusy
    from outlay.errors import LedgerClosed as LedgerClosed
    from outlay.errors import LedgerCorrupt as LedgerCorrupt
    from outlay.errors import LedgerError as LedgerError
    from outlay.errors import LedgerFull as LedgerFull
    from outlay.errors import LedgerReadOnly as LedgerReadOnly
    from outlay.errors import MissingExtra as MissingExtra
    from outlay.errors import NotFound as NotFound
    from outlay.errors import OpenedBeforeFork as OpenedBeforeFork
    from outlay.errors import OutlayError as OutlayError
    from outlay.errors import Overloaded as Overloaded
    from outlay.errors import PriceBookError as PriceBookError
    from outlay.errors import Refused as Refused
    from outlay.errors import SchemaTooNew as SchemaTooNew
    from outlay.errors import UnsafeFilesystem as UnsafeFilesystem
    from outlay.holding import Reservation as Reservation
    from outlay.instrument import instrument_all as instrument_all
    from outlay.instrument import uninstrument as uninstrument
    from outlay.model import AuditReport as AuditReport
    from outlay.model import Basis as Basis
    from outlay.model import CostRow as CostRow
    from outlay.model import Outcome as Outcome
    from outlay.model import PricedLine as PricedLine
    from outlay.model import PricingStatus as PricingStatus
    from outlay.model import Rate as Rate
    from outlay.model import Recorded as Recorded
    from outlay.model import Status as Status
    from outlay.model import UsageEvent as UsageEvent
    from outlay.money import Money as Money
    from outlay.receipt import Receipt as Receipt

__version__ = "0.1.0"

_HOMES = {
    "outlay.answers": ("Costs", "Job", "Repricing"),
    "outlay.api": ("Ledger",),
    "outlay.calls": ("Call",),
    "outlay.clock": ("Clock", "FrozenClock", "SystemClock"),
    "outlay.errors": (
        "AccessDenied",
        "AmbiguousId",
        "BudgetExceeded",
        "EventConflict",
        "InvalidInput",
        "LedgerBusy",
        "LedgerClosed",
        "LedgerCorrupt",
        "LedgerError",
        "LedgerFull",
        "LedgerReadOnly",
        "MissingExtra",
        "NotFound",
        "OpenedBeforeFork",
        "OutlayError",
        "Overloaded",
        "PriceBookError",
        "Refused",
        "SchemaTooNew",
        "UnsafeFilesystem",
    ),
    "outlay.model": (
        "AuditReport",
        "Basis",
        "CostRow",
        "Outcome",
        "PricedLine",
        "PricingStatus",
        "Rate",
        "Recorded",
        "Status",
        "UsageEvent",
    ),
    "outlay.holding": ("Reservation",),
    "outlay.instrument": ("instrument_all", "uninstrument"),
    "outlay.money": ("Money",),
    "outlay.receipt": ("Receipt",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

_current: Ledger | None = None


def open(
    address: str | Path = "outlay.db",
    *,
    currency: str = "USD",
    zone: str = "UTC",
    clock: Clock | None = None,
    synchronous: str = "normal",
    prices: str | Path | None = None,
    key: str | None = None,
) -> Ledger:
    """Open a ledger, making it where there is none: a path, `sqlite:///path`, `memory:`, or a server's `https://…`.

    `currency` and `zone` (the home zone, whose days reports use) are fixed when the ledger is made. `prices` is a
    file of your own prices, added if the ledger does not have them. `synchronous` is "normal" (survives kill -9) or
    "full" (survives power loss too, at the price of an fsync a commit). `key` is for a server, OUTLAY_KEY by default;
    what is recorded while the server is away waits on this host.

    Raises InvalidInput for an address that cannot be read, LedgerError for a file that cannot be used.
    """
    from outlay.opening import open_ledger

    _register()
    return open_ledger(
        address, currency=currency, zone=zone, clock=clock, synchronous=synchronous, prices=prices, key=key
    )


def estimate(
    steps: Sequence[Mapping[str, Any]], *, margin_percent: str | int = 0, prices: str | Path | None = None
) -> JobEstimate:
    """What a job will cost before it is made, by the shipped prices and those of a file: see `Ledger.estimate_job`.

    Each step has the fields of `Ledger.record`, with `count` for calls alike. Nothing is kept.
    """
    with open("memory:") as ledger:
        return ledger.estimate_job(steps, margin_percent=margin_percent, prices=prices)


def current_ledger() -> Ledger:
    """The process's one ledger, as `outlay.toml` and the environment (OUTLAY_LEDGER, …) say. Safe across forks."""
    global _current  # noqa: PLW0603 - the one ledger of a process is what this function is for
    if _current is None or _current.closed:
        _current = open_configured()
    found: Ledger = _current
    return found


def open_configured(settings: Settings | None = None) -> Ledger:
    """Open the ledger that `outlay.toml` and the environment name, or other settings, with its budgets, alert rules,
    channels and reports. Raises InvalidInput naming what is wrong in them.
    """
    from outlay.opening import open_configured

    _register()
    return open_configured(settings)


def _register() -> None:
    """Give the api what lies above it: this package is the one place that knows both."""
    from outlay.api import Ledger

    if Ledger.client_watcher is None:
        Ledger.client_watcher = staticmethod(_watch_client)
        Ledger.channel_maker = staticmethod(_make_channels)
        Ledger.report_writer = staticmethod(_write_report)


def _watch_client(ledger: Ledger, client: object, **settings: Any) -> None:
    from outlay.instrument import watch

    watch(client, ledger, **settings)


def _make_channels(settings: Any) -> Any:
    # By name, as all that lies above whoever imports this package.
    return __import__("outlay.faces.notify", fromlist=["make_channels"]).make_channels(settings)


def _write_report(report: Any, form: str) -> Any:
    return __import__("outlay.faces.reports.letters", fromlist=["letter_of"]).letter_of(report, form)


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'outlay' has no attribute {name!r}")
    value = getattr(__import__(module, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
