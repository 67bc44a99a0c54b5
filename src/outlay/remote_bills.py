"""The bills of a ledger behind a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from urllib.parse import quote

from outlay.arguments import When, read_date, read_text, read_when
from outlay.bills import ImportedStatement
from outlay.bills.comparing import Reconciliation
from outlay.bills.kept import KeptStatement
from outlay.bills.taking import ExchangeOn
from outlay.capture.statements import BilledRow
from outlay.clock import Clock, isoformat
from outlay.money import Money
from outlay.reconciling import BURN_DAYS, DRIFT_MAX, Balance, LedgerBills, checked_days
from outlay.remote_transport import Transport
from outlay.wire import SentRows, sendable


class RemoteBills(LedgerBills):
    """What a ledger does with bills, done by its server."""

    transport: Transport
    clock: Clock
    _zone: str

    def import_statement(
        self,
        rows: Iterable[BilledRow],
        *,
        source: str,
        zone: str | None = None,
        metered: Sequence[str] = (),
        restates: str = "rows",
        covers: tuple[date, date] | None = None,
        digest: str = "",
        format: str = "CSV",
        columns: Sequence[str] = (),
        exchange_on: ExchangeOn | None = None,
    ) -> ImportedStatement:
        """As `Ledger.import_statement`; a row in another currency is converted by the server's own rates."""
        self._flush()
        body = {
            "rows": list(rows),
            "source": source,
            "zone": zone,
            "metered": list(metered),
            "restates": restates,
            "covers": covers,
            "digest": digest,
            "format": format,
            "columns": list(columns),
        }
        return self.transport.send("POST", "/v1/statements", ImportedStatement, body, exact=True, answer_s=600)

    def statements(self) -> list[KeptStatement]:
        """As `Ledger.statements`."""
        return self.transport.ask("/v1/statements", list[KeptStatement])

    def statement_rows(self, statement: str) -> Iterator[dict[str, str]]:
        """As `Ledger.statement_rows`, page by page."""
        path = f"/v1/statements/{quote(read_text(statement, 'statement'), safe='')}/rows"
        first = self.transport.ask(path, SentRows)
        return self._pages(path, first)

    def _pages(self, path: str, page: SentRows) -> Iterator[dict[str, str]]:
        yield from page.rows
        while page.next is not None:
            page = self.transport.ask(path, SentRows, {"cursor": page.next})
            yield from page.rows

    def reconcile(
        self,
        statement: str | None = None,
        *,
        provider: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        drift: str | Decimal = DRIFT_MAX,
        dry_run: bool = False,
    ) -> Reconciliation:
        """As `Ledger.reconcile`."""
        self._flush()
        days = {name: read_date(day).isoformat() for name, day in (("since", since), ("until", until)) if day}
        told = {"statement": statement, "provider": provider, "drift": str(sendable(drift)), **days}
        body = {name: value for name, value in told.items() if value is not None}
        if dry_run:
            return self.transport.ask("/v1/reconciliation", Reconciliation, body)
        return self.transport.send("POST", "/v1/reconciliation", Reconciliation, body, answer_s=600)

    def note_balance(
        self, provider: str, amount: str | Decimal | Money, *, at: When = None, source: str = "entered"
    ) -> Balance:
        """As `Ledger.note_balance`."""
        instant = read_when(at, self._zone, self.clock)
        body = {
            "provider": read_text(provider, "provider"),
            "amount": sendable(amount),
            "at": None if instant is None else isoformat(instant),
            "source": source,
        }
        return self.transport.send("POST", "/v1/balances", Balance, body)

    def balance(self, provider: str, *, days: int = BURN_DAYS) -> Balance:
        """As `Ledger.balance`."""
        checked_days(days)
        self._flush()
        path = f"/v1/balances/{quote(read_text(provider, 'provider'), safe='')}"
        return self.transport.ask(path, Balance, {"days": str(days)})

    def balances(self) -> list[Balance]:
        """As `Ledger.balances`."""
        self._flush()
        return self.transport.ask("/v1/balances", list[Balance])
