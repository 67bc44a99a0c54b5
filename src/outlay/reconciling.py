"""The bills of a ledger: statements in, reconciled with what was called, shared cost given to whom it served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date

from outlay.bills import ImportedStatement, import_rows
from outlay.bills.taking import ExchangeOn
from outlay.capture.statements import BilledRow
from outlay.reader import LedgerReader


class LedgerBills(LedgerReader):
    """What a ledger does with bills."""

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
        """Keep a provider's bill. Rows of services that the ledger measures itself wait for reconciliation, the rest
        are charged with basis `billed`, by day and group. Dates are local to `zone` (the home zone).

        What an earlier bill said of the same rows is reversed and charged anew; with restates="period" this one
        replaces all that was said of its provider, accounts and invoices' months, or of the days `covers`. Importing
        twice changes nothing; `digest` tells the same file without reading it. `columns` names the cells that rows
        keep. A row in another currency needs `exchange_on(currency, day)`. Raises InvalidInput `empty_statement`,
        `currency_mismatch`, `bad_choice`.
        """
        self._flush()
        return import_rows(
            self.store,
            self.clock,
            rows,
            source=source,
            zone=zone or self.store.home_zone,
            metered=metered,
            restates=restates,
            covers=covers,
            digest=digest,
            format=format,
            columns=columns,
            exchange_on=exchange_on,
        )
