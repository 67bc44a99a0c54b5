"""Opening a ledger: an address becomes a store, with the catalogue and the user's prices in it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any

from outlay.api import Ledger
from outlay.arguments import checked_currency
from outlay.budgets.alert_rules import read_rule
from outlay.budgets.coverage import BudgetCoverage
from outlay.budgets.definition import read_budgets
from outlay.capture.estimates import checked_rule
from outlay.clock import Clock, SystemClock, zone_info
from outlay.config import FILE_NAME, Settings, load_client_settings, load_settings
from outlay.errors import InvalidInput
from outlay.ledger.store import LedgerStore
from outlay.pricing.catalogue import shipped

SYNCHRONOUS = ("normal", "full")


def open_ledger(
    address: str | Path,
    *,
    currency: str = "USD",
    zone: str = "UTC",
    clock: Clock | None = None,
    synchronous: str = "normal",
    prices: str | Path | None = None,
    key: str | None = None,
) -> Ledger:
    """As `outlay.open`."""
    zone_info(zone)
    checked_currency(currency)
    if not isinstance(address, str | PathLike) or not str(address):
        raise InvalidInput(f"address is {address!r}; give a path, an address or memory:", code="unknown_address")
    if synchronous not in SYNCHRONOUS:
        raise InvalidInput(f"synchronous is {synchronous!r}; use normal or full", code="bad_setting")
    clock = clock or SystemClock()
    if str(address).startswith(("http://", "https://")):
        from outlay.remote import open_remote

        return open_remote(str(address), clock, key=key, currency=currency, zone=zone, prices=prices)
    if key is not None:
        raise InvalidInput(f"{address} takes no key; give one with the https address of a server", code="bad_setting")
    store, spool_folder = _store(str(address), currency, zone, synchronous, clock)
    _bring_catalogue(store, clock)
    ledger = Ledger(store, clock, spool_folder)
    if prices is not None:
        ledger.add_prices(Path(prices))
    return ledger


def open_configured(settings: Settings | None = None) -> Ledger:
    """The ledger that `outlay.toml` and the environment name."""
    settings = settings or load_settings()
    ledger = open_ledger(
        settings.ledger,
        currency=settings.currency,
        zone=settings.zone,
        synchronous=settings.synchronous,
        prices=settings.prices,
    )
    ledger.estimate = None if settings.estimate is None else checked_rule(settings.estimate)
    read_budgets(settings.budgets)
    for name, fields in settings.budgets.items():
        # What stands already is left as it is; what the file says otherwise is a change, by the file.
        ledger.budget(name, who=FILE_NAME, **fields)
    set_up_alerts(ledger, settings.alerts)
    if not settings.ledger.startswith(("http://", "https://")):
        # Behind a server the server sends, by its own outlay.toml.
        set_up_reports(ledger, settings.reports, settings.mail)
    return ledger


def set_up_alerts(ledger: Ledger, settings: Mapping[str, Any]) -> None:
    """What `[alerts]` says: rules, channels, link. Raises InvalidInput `bad_config`, and those of a rule."""
    unknown = sorted(set(settings) - {"rules", "channels", "link"})
    if unknown:
        raise InvalidInput(f"[alerts] has no {unknown[0]!r}; use rules, channels, link", code="bad_config")
    ledger.channel_settings = settings.get("channels", {})
    ledger.alert_link = str(settings.get("link", ""))
    rules = settings.get("rules", {})
    for name, fields in rules.items():
        read_rule(name, fields)
    for name, fields in rules.items():
        ledger.alert_rule(name, who=FILE_NAME, **fields)


def set_up_reports(ledger: Ledger, reports: Mapping[str, Any], mail: Mapping[str, Any]) -> None:
    """What `[reports]` and `[mail]` say. Raises InvalidInput `bad_config`, and those of a report."""
    unknown = sorted(set(mail) - {"smtp", "from"})
    if unknown:
        raise InvalidInput(f"[mail] has no {unknown[0]!r}; use smtp and from", code="bad_config")
    ledger.mail_settings = mail
    for name, fields in reports.items():
        if not isinstance(fields, Mapping):
            raise InvalidInput(f"[reports.{name}] is a table of fields", code="bad_config", field=name)
        ledger.define_report(name, **fields)


def _store(address: str, currency: str, zone: str, synchronous: str, clock: Clock) -> tuple[LedgerStore, Path | None]:
    if address in ("memory:", ":memory:"):
        from outlay.ledger.memory import MemoryStore

        return MemoryStore(currency=currency, zone=zone, covering=BudgetCoverage), None
    if address.startswith(("postgresql://", "postgres://")):
        return _on_postgres(address, currency, zone, clock)
    if "://" in address and not address.startswith("sqlite:///"):
        scheme = address.split("://", 1)[0]
        raise InvalidInput(
            f"address {scheme}://… is not known; use a path, sqlite:///path, postgresql://… or memory:",
            code="unknown_address",
        )
    from outlay.ledger.sqlite import SqliteStore

    path = Path(address.removeprefix("sqlite:///")).expanduser().absolute()
    store = SqliteStore(
        path, currency=currency, zone=zone, synchronous=synchronous, now=clock.now, covering=BudgetCoverage
    )
    return store, path.with_name(path.name + ".spool")


def _on_postgres(address: str, currency: str, zone: str, clock: Clock) -> tuple[LedgerStore, Path]:
    from outlay.ledger.postgres import PostgresStore

    store = PostgresStore(address, currency=currency, zone=zone, now=clock.now, covering=BudgetCoverage)
    # What this host acknowledged lies on this host: a folder for each ledger, named by the address it is known by.
    digest = blake2b(store.address.encode(), digest_size=8).hexdigest()
    return store, load_client_settings().spool / f"postgresql-{digest}.spool"


def _bring_catalogue(store: LedgerStore, clock: Clock) -> None:
    """Put the shipped catalogue into a ledger that lacks it. A version once kept is never put back in force."""
    identity, body = shipped()
    if identity not in {known for known, _, _ in store.catalogues()}:
        store.put_catalogue(identity, body, clock.now(), activate=True)
