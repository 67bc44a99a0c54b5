"""The half of the PostgreSQL store that keeps budgets, their accounts and reservations."""

from __future__ import annotations

from collections.abc import Sequence

from outlay.clock import Instant
from outlay.ledger import accounts
from outlay.ledger.account_rows import decode_refusal, encode_refusal, tiers, told
from outlay.ledger.budget_store import (
    REFUSALS_KEPT,
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
from outlay.ledger.postgres import statements
from outlay.ledger.postgres.accounts import Accounts, Tally
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.grouping import Grouping
from outlay.ledger.postgres.reservations import Reservations
from outlay.ledger.postgres.statements import Connection, first, only, rows, run
from outlay.model import Account, AccountKey, Entry, Limit


class PostgresBudgets:
    """What `BudgetStore` promises."""

    _connections: Connections
    _book: NameBook

    def _make_budgets(self, covering: Covering | None) -> None:
        self._accounts = Accounts(self._connections, self._book, covering)
        self._reservations = Reservations(self._connections, self._book, self._accounts)
        self._reserving: Grouping[Reserving, Reserved] = Grouping(self._reservations.reserve)
        self._settling: Grouping[Settling, Settled] = Grouping(self._reservations.settle)

    def put_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope]) -> int:
        """See BudgetStore.put_budget."""
        return self._change_budget(name, body, scopes, active=True)

    def remove_budget(self, name: str, body: bytes) -> int:
        """See BudgetStore.remove_budget."""
        return self._change_budget(name, body, (), active=False)

    def _change_budget(self, name: str, body: bytes, scopes: Sequence[AccountScope], *, active: bool) -> int:
        def work(connection: Connection, _: Meta) -> int:
            epoch = int(only(connection, "raise_epoch")[0])
            run(connection, "put_budget", (name, body, active, epoch))
            self._accounts.begin(connection, name, scopes)
            return epoch

        return self._connections.write(work, alone=True)

    def budgets(self) -> list[KeptBudget]:
        """See BudgetStore.budgets."""
        return self._connections.read(lambda connection: [KeptBudget(*row) for row in rows(connection, "budgets")])

    def put_subject(self, kind: str, name: str, tier: str) -> None:
        """See BudgetStore.put_subject."""
        self._connections.write(lambda connection, _: run(connection, "put_subject", (kind, name, tier)))

    def tier(self, kind: str, name: str) -> str | None:
        """See BudgetStore.tier."""
        return self._connections.read(lambda connection: tiers(statements, connection)(kind, name))

    def warm(self, most: int | None = None) -> int:
        """See BudgetStore.warm."""
        return self._accounts.warm(most)

    def cold_scopes(self) -> int:
        """See BudgetStore.cold_scopes."""
        return self._accounts.cold_scopes()

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
        return self._accounts.fullest(budget, scope, window_name, at, most, tiers)

    def drop_accounts(self, now: Instant) -> int:
        """See BudgetStore.drop_accounts."""
        return self._accounts.drop(now)

    def reserve(self, asked: Reserving, *, epoch: int | None = None) -> Reserved:
        """See BudgetStore.reserve. Threads that reserve at the same time share a transaction."""
        return self._reserving(asked, epoch)

    def reserve_many(self, asked: Sequence[Reserving], *, epoch: int | None = None) -> list[Reserved]:
        """See BudgetStore.reserve_many."""
        return self._reservations.reserve(asked, epoch)

    def settle(self, id: str, entry: Entry, *, epoch: int | None = None) -> Settled:
        """See BudgetStore.settle. Threads that settle at the same time share a transaction."""
        return self._settling(Settling(id, entry), epoch)

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

    # --- what is to be told

    def note_refusals(self, refusals: Sequence[NotedRefusal]) -> None:
        """See BudgetStore.note_refusals."""
        tally = Tally()
        for one in refusals:
            (share,) = accounts.held_by([one.refusal.limit])
            tally.add(share, 0, 0, one.at, refusals=1)

        def work(connection: Connection, _: Meta) -> None:
            tally.apply_last(connection)
            for one in sorted(refusals, key=lambda one: one.refusal.limit.key.budget):
                budget = one.refusal.limit.key.budget
                (number,) = only(connection, "count_refusal", (budget,))
                run(connection, "put_refusal", (budget, number % REFUSALS_KEPT, number, encode_refusal(one)))

        self._connections.write(work)

    def outbox(self, after: int = 0) -> list[OutboxRow]:
        """See BudgetStore.outbox."""
        return self._connections.read(lambda connection: [told(row) for row in rows(connection, "outbox", (after,))])

    def refusals(self, budget: str) -> tuple[int, list[NotedRefusal]]:
        """See BudgetStore.refusals."""

        def work(connection: Connection) -> tuple[int, list[NotedRefusal]]:
            counted = first(connection, "refusal_count", (budget,))
            kept = [decode_refusal(body) for (body,) in rows(connection, "refusals", (budget,))]
            return (0 if counted is None else int(counted[0]), kept)

        return self._connections.read(work)
