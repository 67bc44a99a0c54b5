"""The bills of a ledger behind a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from outlay.bills import ImportedStatement
from outlay.bills.taking import ExchangeOn
from outlay.capture.statements import BilledRow
from outlay.reconciling import LedgerBills
from outlay.remote_transport import Transport


class RemoteBills(LedgerBills):
    """What a ledger does with bills, done by its server."""

    transport: Transport

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
