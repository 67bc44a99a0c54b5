"""The accounts of budgets: what each entry adds to those that cover it, in the entry's own transaction.

Which accounts those are is not this store's knowledge: a `Covering` from above tells it, made anew in the first
transaction after a budget changed. So no entry can be written, by whatever way, without being counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import apsw

from outlay.clock import DAY_MICROSECONDS
from outlay.ledger import account_rows, accounts
from outlay.ledger.account_rows import account_from, held_for, tiers
from outlay.ledger.budget_store import AccountScope, Coverage, Covering
from outlay.ledger.codec import Decoder
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite import statements
from outlay.ledger.sqlite.connections import Connections, Meta, read_meta
from outlay.ledger.sqlite.statements import Executes, only, rows, sql
from outlay.ledger.sqlite.writing import Write
from outlay.model import Account, AccountKey, Appended, AuditFinding, Entry, EntryKind, Limit, Outcome, Share
from outlay.money import PICO_PER_MICRO

_NOTHING: Final = Account()
_CREATED: Final = Outcome.CREATED.value
_ACCOUNT: Final = sql("account")
_UPDATE: Final = sql("update_account")


class _Known(NamedTuple):
    epoch: int
    changed: int
    coverage: Coverage | None


class Accounts:
    """The accounts of one ledger in this process."""

    def __init__(self, connections: Connections, book: NameBook, covering: Covering | None) -> None:
        """`covering` is None for a store that is opened without its budgets: nothing is counted then."""
        self._connections = connections
        self._book = book
        self._covering = covering
        self._known = _Known(-1, 0, None)

    def coverage(self, connection: apsw.Connection, epoch: int) -> Coverage | None:
        """What the budgets in force at this transaction's epoch cover; None where there never was one."""
        known = self._known
        if known.epoch == epoch:
            return known.coverage
        (changed,) = only(connection, "budgets_changed")
        coverage = known.coverage
        if changed != known.changed:
            bodies = [body for _, body, active in rows(connection, "budgets") if active]
            coverage = self._covering(bodies) if self._covering is not None else None
        self._known = _Known(epoch, changed, coverage)
        return coverage

    # --- counting

    def appended(self, write: Write, results: Sequence[Appended]) -> None:
        """Count what was just written; for `writing.append`."""
        coverage = self.coverage(write.connection, write.meta.epoch)
        if coverage is not None:
            created = [one.entry for one in results if one.code == _CREATED and one.entry is not None]
            if len(created) > 1 and not write.corrections:
                self._count_together(write, coverage, created)
            else:
                self.count(write, coverage, created + write.corrections)

    def corrected(self, write: Write, entries: Sequence[Entry]) -> None:
        """Count reversals and replacements; for `writing.amend`."""
        coverage = self.coverage(write.connection, write.meta.epoch)
        if coverage is not None:
            self.count(write, coverage, entries)

    def count(
        self,
        write: Write,
        coverage: Coverage,
        entries: Sequence[Entry],
        held: Sequence[Share] = (),
        *,
        free: bool = False,
    ) -> Sequence[Share]:
        """Add what entries spent to their accounts; what the last of them counts, account by account.

        `held` says where their call was reserved; with `free` what was held there is let go at the same time.
        """
        connection = write.connection
        tier_of = tiers(statements, connection)
        found: list[Share] = []
        own: Sequence[Share] = ()
        for entry in entries:
            told = held or (held_for(statements, connection, entry) if entry.kind is EntryKind.CORRECTION else ())
            own = accounts.counted(coverage, entry, coverage.shares(entry, tier_of), told)
            found += own
        if len(entries) > 1:
            found = list(accounts.summed(found).values())
        freed = {share.key: share.amount for share in held} if free else {}
        at = entries[-1].recorded_at if entries else 0
        for share in sorted(found, key=_by_key) if len(found) > 1 else found:
            add(write.cursor, share, share.amount - freed.get(share.key, 0), share.amount, at)
        return own

    def _count_together(self, write: Write, coverage: Coverage, entries: Sequence[Entry]) -> None:
        """Add what many new entries spent to their accounts, each account once."""
        at = entries[-1].recorded_at
        for share in coverage.sums(entries, tiers(statements, write.connection)):
            add(write.cursor, share, share.amount, share.amount, at)

    # --- scopes

    def begin(self, write: Write, budget: str, scopes: Sequence[AccountScope]) -> None:
        """Note what a budget's accounts count from this transaction on; new ones wait to be warmed."""
        connection = write.connection
        wanted = {(one.scope, one.window_name): one for one in scopes}
        for scope, window_name, active in list(rows(connection, "scopes_of", (budget,))):
            if (scope, window_name) not in wanted:
                connection.execute(sql("end_scope"), (budget, scope, window_name))
            elif active:
                del wanted[scope, window_name]
            else:
                # It was not counted meanwhile: begin again from what is held now, and fold all before.
                _forget_spent(connection, budget, scope, window_name)
        last = write.next_seq - 1
        for one in wanted.values():
            connection.execute(sql("put_scope"), (budget, one.scope, one.window_name, last, one.from_at))
            if account_rows.is_unseen(statements, connection, one):
                connection.execute(sql("warm_scope"), (budget, one.scope, one.window_name, last))

    # --- proving and forgetting

    def unsound(self, connection: apsw.Connection, meta: Meta, decoder: Decoder) -> Iterator[AuditFinding]:
        """What the accounts get wrong, for the audit."""
        coverage = self.coverage(connection, meta.epoch)
        if coverage is None:
            return
        horizon = meta.horizon * DAY_MICROSECONDS
        yield from account_rows.unsound(statements, connection, decoder, coverage, horizon)

    def forget(self, connection: apsw.Connection, kind: str, name: str, anonymous: str) -> None:
        """Rename a person or customer in budgets, accounts, tiers, shares, the outbox and refusals.

        What open reservations estimate bears names as entries do: by their id.
        """
        if self._covering is not None:
            epoch = read_meta(connection).epoch
            account_rows.forget(statements, connection, self._covering, epoch, (kind, name, anonymous))

    # --- asking

    def read(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """See BudgetStore.accounts."""
        with self._connections.reading() as connection:
            return {
                limit.key: account_rows.account_of(statements, connection, limit.key, limit.window_name)
                for limit in limits
            }

    def of_budget(self, budget: str, scope: str, at: int, most: int) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.accounts_of."""
        with self._connections.reading() as connection:
            return account_rows.accounts_of(statements, connection, budget, scope, at, most)


def find(connection: Executes, key: AccountKey) -> Account | None:
    """An account as it stands in this transaction, whether it is warm or not; None where it is new."""
    row = connection.execute(_ACCOUNT, (key.budget, key.scope, key.subject, key.window)).fetchone()
    return None if row is None else account_from(row)


def add(connection: Executes, share: Share, committed: int, spent: int, at: int) -> None:
    """Add to an account, making it where it is new; the marks that this crosses go to the outbox."""
    key = share.key
    before = find(connection, key)
    put(connection, share, before, committed, spent)
    if spent and share.marks:
        spent_before = 0 if before is None else before.spent
        for mark in accounts.crossed(share.marks, spent_before, spent_before + spent):
            tell(connection, "mark", at, key, accounts.mark_name(mark), spent_before + spent)


def put(
    connection: Executes, share: Share, before: Account | None, committed: int, spent: int, refusals: int = 0
) -> None:
    """Write an account that was `before`, with so much more of each; it is made where it is new."""
    key = share.key
    known = before or _NOTHING
    measures = (
        *divmod(known.committed + committed, PICO_PER_MICRO),
        *divmod(known.spent + spent, PICO_PER_MICRO),
        known.refusals + refusals,
    )
    if before is not None:
        connection.execute(_UPDATE, (*measures, key.budget, key.scope, key.subject, key.window))
        return
    named = (key.budget, key.scope, key.subject, key.window, share.window_name, share.from_at, share.to_at)
    connection.execute(sql("insert_account"), (*named, *measures))


def tell(connection: Executes, kind: str, at: int, key: AccountKey, what: str, amount: int) -> None:
    """Write to the outbox, a mark once an account."""
    pair = divmod(amount, PICO_PER_MICRO)
    bound = (kind, at, key.budget, key.scope, key.subject, key.window, what, *pair)
    connection.execute(sql("put_outbox"), bound)


def _by_key(share: Share) -> AccountKey:
    return share.key


def _forget_spent(connection: apsw.Connection, budget: str, scope: str, window_name: str) -> None:
    found = list(rows(connection, "accounts_of_scope", (budget, scope, window_name)))
    for subject, window, from_at, to_at, *measures in found:
        account = account_from(measures)
        key = AccountKey(budget, scope, subject, window)
        share = Share(key, window_name, from_at, to_at, None, 0)  # type: ignore[arg-type]  # as written
        put(connection, share, account, -account.spent, -account.spent)
