"""The half of the SQLite store that keeps budgets, their accounts and reservations."""

from __future__ import annotations

from collections.abc import Sequence

from outlay.clock import Instant
from outlay.ledger.account_rows import tiers
from outlay.ledger.budget_store import (
    AccountScope,
    Covering,
    KeptBudget,
    KeptReservation,
    NotedRefusal,
    OutboxRow,
    Reserved,
    Reserving,
    Settled,
    Settling,
    TierFilter,
)
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.account_care import AccountCare
from outlay.ledger.sqlite.accounts import Accounts
from outlay.ledger.sqlite.connections import Connections, read_meta
from outlay.ledger.sqlite.reservations import Reservations
from outlay.ledger.sqlite.statements import only, rows, sql
from outlay.ledger.sqlite.writing import Write
from outlay.model import Account, AccountKey, Entry, Limit


class SqliteBudgets:
    """What `BudgetStore` promises."""

    _connections: Connections
    _book: NameBook

    def _make_budgets(self, covering: Covering | None) -> None:
        self._accounts = Accounts(self._connections, self._book, covering)
        self._account_care = AccountCare(self._connections, self._book, self._accounts)
        self._reservations = Reservations(self._connections, self._book, self._accounts)

    def put_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope]) -> int:
        """See BudgetStore.put_budget."""
        return self._change_budget(name, body, scopes, active=True)

    def remove_budget(self, name: str, body: bytes) -> int:
        """See BudgetStore.remove_budget."""
        return self._change_budget(name, body, (), active=False)

    def _change_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope], *, active: bool) -> int:
        with self._connections.writing() as connection:
            epoch = int(only(connection, "raise_epoch")[0])
            connection.execute(sql("put_budget"), (name, body, active, epoch))
            meta = read_meta(connection)
            self._accounts.begin(Write(connection, meta, self._book.at(meta.epoch)), name, scopes)
        return epoch

    def budgets(self) -> list[KeptBudget]:
        """See BudgetStore.budgets."""
        with self._connections.reading() as connection:
            return [KeptBudget(name, body, bool(active)) for name, body, active in rows(connection, "budgets")]

    def put_subject(self, kind: str, name: str, tier: str) -> None:
        """See BudgetStore.put_subject."""
        with self._connections.writing() as connection:
            connection.execute(sql("put_subject"), (kind, name, tier))

    def tier(self, kind: str, name: str) -> str | None:
        """See BudgetStore.tier."""
        with self._connections.reading() as connection:
            return tiers(statements, connection)(kind, name)

    def warm(self, most: int | None = None) -> int:
        """See BudgetStore.warm."""
        return self._account_care.warm(most)

    def cold_scopes(self) -> int:
        """See BudgetStore.cold_scopes."""
        return self._account_care.cold_scopes()

    def accounts(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """See BudgetStore.accounts."""
        return self._accounts.read(limits)

    def accounts_of(self, budget: str, scope: str, at: Instant, most: int) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.accounts_of."""
        return self._accounts.of_budget(budget, scope, at, most)

    def fullest(
        self, budget: str, scope: str, window_name: str, at: Instant, most: int, tiers: TierFilter | None = None
    ) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.fullest."""
        return self._account_care.fullest(budget, scope, window_name, at, most, tiers)

    def drop_accounts(self, now: Instant) -> int:
        """See BudgetStore.drop_accounts."""
        return self._account_care.drop(now)

    def reserve(self, asked: Reserving, *, epoch: int | None = None) -> Reserved:
        """See BudgetStore.reserve."""
        return self._reservations.reserve([asked], epoch)[0]

    def reserve_many(self, asked: Sequence[Reserving], *, epoch: int | None = None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        return self._reservations.reserve(asked, epoch)

    def settle(self, id: str, entry: Entry, *, epoch: int | None = None) -> Settled:
        """See BudgetStore.settle."""
        return self._reservations.settle([Settling(id, entry)], epoch)[0]

    def settle_many(self, settlements: Sequence[Settling], *, epoch: int | None = None) -> list[Settled]:
        """See BudgetStore.settle_many."""
        return self._reservations.settle(settlements, epoch)

    def release(self, id: str, now: Instant) -> Settled:
        """See BudgetStore.release."""
        return self._reservations.release(id, now)

    def extend(self, id: str, deadline: Instant) -> Settled:
        """See BudgetStore.extend."""
        return self._reservations.extend(id, deadline)

    def expire(self, now: Instant) -> int:
        """See BudgetStore.expire."""
        return self._reservations.expire(now)

    def stop_waiting(self, id: str) -> None:
        """See BudgetStore.stop_waiting."""
        self._reservations.stop_waiting(id)

    def reservation(self, id: str) -> KeptReservation | None:
        """See BudgetStore.reservation."""
        return self._reservations.read(id)

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """See BudgetStore.note_refusals."""
        self._reservations.note_refusals(refusals)

    def outbox(self, after: int = 0) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        return self._reservations.outbox(after)

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """See BudgetStore.refusals."""
        return self._reservations.refusals(budget)
