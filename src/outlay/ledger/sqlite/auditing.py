"""The audit of a file: what is said of it, proved within one consistent view."""

from __future__ import annotations

from outlay.ledger.auditing import SECONDS_MAX, Audit
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.accounts import Accounts
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.model import AuditReport


def audit(connections: Connections, book: NameBook, zone: str, accounts: Accounts) -> AuditReport:
    """See LedgerStore.audit."""
    with connections.reading(SECONDS_MAX) as connection:
        meta = read_meta(connection)
        decoder = Decoder(connection, book.at(meta.epoch))
        audit = Audit(statements, connection, decoder, zone, meta.horizon)
        audit.findings.extend(accounts.unsound(connection, meta, decoder))
        return audit.run()
