"""What is done to accounts beside counting: warming them, looking for the fullest, dropping those long over.

Each does its work in short transactions, so that nobody who records or reserves waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from outlay.clock import Instant
from outlay.ledger import account_rows, accounts
from outlay.ledger.budget_store import TierFilter
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.accounts import Accounts, add
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.statements import only, rows, sql
from outlay.model import Account, AccountKey

_SECONDS_MAX: Final = 3_600.0
_PAGE: Final = 500
_LOOKED_AT_MAX: Final = 50_000
"""Entries read for one step of warming: where few of them count, progress is kept this often."""

_ENDLESS: Final = 1 << 62


class AccountCare:
    """The care of one ledger's accounts in this process."""

    def __init__(self, connections: Connections, book: NameBook, kept: Accounts) -> None:
        self._connections = connections
        self._book = book
        self._accounts = kept

    # --- warming

    def cold_scopes(self) -> int:
        """See BudgetStore.cold_scopes."""
        with self._connections.reading() as connection:
            return int(only(connection, "count_cold_scopes")[0])

    def warm(self, most: int | None) -> int:
        """See BudgetStore.warm. Entries are folded from the newest back, so that a reversal comes before what it
        reverses and no mark is crossed that is not in the end.
        """
        left = _ENDLESS if most is None else most
        warmed = 0
        while left > 0:
            step = self._gathered(min(left, _LOOKED_AT_MAX))
            if step is None:
                break
            warmed += self._applied(step)
            left -= max(step.looked_at, 1)
        return warmed

    def _gathered(self, most: int) -> account_rows.Step | None:
        """The next step, read outside the lock; None where nothing is cold."""
        with self._connections.reading(_SECONDS_MAX) as connection:
            meta = read_meta(connection)
            decoder = Decoder(connection, self._book.at(meta.epoch))
            coverage = self._accounts.coverage(connection, meta.epoch)
            return account_rows.gathered(statements, connection, decoder, coverage, meta.epoch, most)

    def _applied(self, step: account_rows.Step) -> int:
        """Add what a step found, if its scopes are as they were; how many are warm now."""
        with self._connections.writing() as connection:
            cold = account_rows.cold_scopes(statements, connection)
            if read_meta(connection).epoch != step.epoch or cold != step.cold:
                return 0
            for share in step.sums:
                add(connection, share, share.amount, share.amount, share.from_at)
            warmed = 0
            for scope, (until, _) in cold.items():
                down_to = min(until, step.down_to)
                connection.execute(sql("warm_down_to"), (*scope, until, down_to))
                if down_to == 0:
                    connection.execute(sql("warm_scope"), (*scope, down_to))
                    warmed += 1
            return warmed

    # --- looking

    def fullest(
        self, budget: str, scope: str, window_name: str, at: Instant, most: int, tiers: TierFilter | None
    ) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.fullest."""
        chosen = tiers or TierFilter("", None)
        bound = (budget, scope, window_name, at, most, chosen.kind, chosen.tier)
        but = msgspec.json.encode(chosen.but).decode()
        with self._connections.reading() as connection:
            warming = account_rows.is_cold(statements, connection, budget, scope, window_name)
            return [
                (AccountKey(budget, scope, subject, window), account_rows.account_from(measures, warming=warming))
                for subject, window, *measures in rows(connection, "fullest", (*bound, but))
            ]

    # --- dropping

    def drop(self, now: Instant) -> int:
        """See BudgetStore.drop_accounts."""
        with self._connections.writing() as connection:
            if now <= account_rows.dropped_at(statements, connection):
                return 0
            connection.execute(sql("put_setting"), (account_rows.DROPPED_SETTING, str(now)))
        dropped = 0
        after: Sequence[str] = ("", "", "", "")
        while over := self._over(after, now):
            with self._connections.writing() as connection:
                before = connection.total_changes()
                connection.executemany(sql("drop_account"), over)
                dropped += connection.total_changes() - before
            after = over[-1]
        return dropped

    def _over(self, after: Sequence[str], now: Instant) -> list[tuple[str, str, str, str]]:
        bound = (*after, now, accounts.KEPT_MIN, accounts.KEPT_MAX, _PAGE)
        with self._connections.reading(_SECONDS_MAX) as connection:
            return [(row[0], row[1], row[2], row[3]) for row in rows(connection, "accounts_over", bound)]
