"""The audit of a database: what is said of it, proved within one consistent view."""

from __future__ import annotations

from outlay.ledger.auditing import SECONDS_MAX, Audit
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.accounts import Accounts
from outlay.ledger.postgres.connections import SUMMED_SINCE, Connections, read_meta
from outlay.ledger.postgres.statements import Connection
from outlay.model import AuditReport


def audit(connections: Connections, book: NameBook, zone: str, accounts: Accounts) -> AuditReport:
    """See LedgerStore.audit."""

    def work(connection: Connection) -> AuditReport:
        meta = read_meta(connection)
        decoder = Decoder(connection, book.at(meta.epoch))
        audit = Audit(statements, connection, decoder, zone, meta.horizon, summed=meta.oldest >= SUMMED_SINCE)
        audit.findings.extend(accounts.unsound(connection, meta, decoder))
        return audit.run()

    return connections.read(work, SECONDS_MAX)
