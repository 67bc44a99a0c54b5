"""The accounts of budgets: what each entry adds to those that cover it, in the entry's own transaction.

Which accounts those are is not this store's knowledge: a `Covering` from above tells it, made anew in the first
transaction after a budget changed. So no entry can be written, by whatever way, without being counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from outlay.clock import DAY_MICROSECONDS
from outlay.ledger import accounts, rules
from outlay.ledger.budget_store import AccountScope, Coverage, Covering, NotedRefusal
from outlay.ledger.codec import Decoder
from outlay.ledger.dialect import Row
from outlay.ledger.names import NameBook
from outlay.ledger.sqlite.connections import Connections, Meta, read_meta
from outlay.ledger.sqlite.statements import Executes, first, only, rows, sql
from outlay.ledger.sqlite.writing import Write
from outlay.model import Account, AccountKey, Appended, AuditFinding, Entry, EntryKind, Limit, Outcome, Share
from outlay.money import PICO_PER_MICRO

_PAGE: Final = 2_000
DROPPED_SETTING: Final = "outlay.accounts_dropped_at"
_NOTHING: Final = Account()
_encode: Final = msgspec.json.Encoder().encode
_decode_refusal: Final = msgspec.json.Decoder(NotedRefusal).decode
_ACCOUNT: Final = sql("account")
_UPDATE: Final = sql("update_account")
decode_shares: Final = msgspec.json.Decoder(tuple[Share, ...]).decode
encode_shares: Final = _encode


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
            created = [one.entry for one in results if one.code == Outcome.CREATED and one.entry is not None]
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
        tier_of = tiers(connection)
        found: Sequence[Share] = ()
        own: Sequence[Share] = ()
        for entry in entries:
            told = held or (_held_for(connection, entry) if entry.kind is EntryKind.CORRECTION else ())
            own = accounts.counted(coverage, entry, coverage.shares(entry, tier_of), told)
            found = [*found, *own] if found else own
        if len(entries) > 1:
            found = list(accounts.summed(found).values())
        freed = {share.key: share.amount for share in held} if free else {}
        at = entries[-1].recorded_at if entries else 0
        for share in sorted(found, key=_by_key) if len(found) > 1 else found:
            add(write.cursor, share, share.amount - freed.get(share.key, 0), share.amount, at)
        return own

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

    # --- proving and forgetting

    def unsound(self, connection: apsw.Connection, meta: Meta, decoder: Decoder) -> Iterator[AuditFinding]:
        """What the accounts get wrong, for the audit."""
        coverage = self.coverage(connection, meta.epoch)
        if coverage is None:
            return
        kept: dict[AccountKey, tuple[Share, Account]] = {}
        for row in rows(connection, "all_accounts"):
            key = AccountKey(*row[:4])
            kept[key] = (Share(key, row[4], row[5], row[6], None, 0), account_from(row[7:]))
        held: dict[AccountKey, int] = {}
        for (shares,) in rows(connection, "held_shares"):
            for share in decode_shares(shares):
                held[share.key] = held.get(share.key, 0) + share.amount
        warm = {row[:3]: row[3] for row in rows(connection, "warm_scopes")}
        everything = folded(connection, decoder, coverage, 1 << 62, -(1 << 62))
        spent = accounts.summed(share for _, share in everything)
        horizon = meta.horizon * DAY_MICROSECONDS
        yield from accounts.unsound(kept, spent, held, warm, horizon, dropped_at(connection))

    def forget(self, connection: apsw.Connection, kind: str, name: str, anonymous: str) -> None:
        """Rename a person or customer in budgets, accounts, tiers, shares, the outbox and refusals.

        What open reservations estimate bears names as entries do: by their id.
        """
        if self._covering is None:
            return
        kept = list(rows(connection, "budgets"))
        every = self._covering([body for _, body, _ in kept])
        budgets = every.of_subjects(kind)
        for budget in budgets:
            connection.execute(sql("rename_accounts"), (budget, name, anonymous))
            connection.execute(sql("rename_outbox"), (budget, name, anonymous))
            for place, number, packed in list(rows(connection, "numbered_refusals", (budget,))):
                noted = _decode_refusal(packed)
                renamed_refusal = accounts.refusal_with_name(noted, name, anonymous)
                if renamed_refusal is not noted:
                    connection.execute(sql("put_refusal"), (budget, place, number, _encode(renamed_refusal)))
        connection.execute(sql("rename_subject"), (kind, name, anonymous))
        moved = self._forget_in_filters(connection, every, kept, (kind, name, anonymous))
        for id, packed in list(rows(connection, "all_shares")):
            shares = decode_shares(packed)
            renamed = accounts.with_name(shares, budgets, name, anonymous)
            for budget, before, after in moved:
                renamed = accounts.with_scope(renamed, budget, before, after)
            if renamed != shares:
                connection.execute(sql("put_shares"), (id, _encode(renamed)))
        # Who waits asks again within a moment; the names in the queue are not worth more.
        connection.execute(sql("drop_waiters"))

    @staticmethod
    def _forget_in_filters(
        connection: apsw.Connection, every: Coverage, kept: Sequence[Row], names: tuple[str, str, str]
    ) -> list[tuple[str, str, str]]:
        """Rename in the bodies of budgets; (budget, scope before, scope after) of those whose scope that moved."""
        changed = read_meta(connection).epoch + 1  # The epoch that forgetting raises to.
        moved = []
        for budget, body, active in kept:
            renamed = every.forgotten(body, *names)
            if renamed is None:
                continue
            connection.execute(sql("put_budget"), (budget, renamed.body, active, changed))
            if renamed.scope != renamed.scope_before:
                bound = (budget, renamed.scope_before, renamed.scope)
                for statement in ("move_accounts", "rename_account_scope", "move_outbox"):
                    connection.execute(sql(statement), bound)
                moved.append(bound)
        return moved

    # --- asking

    def read(self, limits: Sequence[Limit]) -> dict[AccountKey, Account]:
        """See BudgetStore.accounts."""
        with self._connections.reading() as connection:
            return {limit.key: account_of(connection, limit.key, limit.window_name) for limit in limits}

    def of_budget(self, budget: str, scope: str, at: int, most: int) -> list[tuple[AccountKey, Account]]:
        """See BudgetStore.accounts_of."""
        with self._connections.reading() as connection:
            found = list(rows(connection, "accounts_of", (budget, scope, at, most)))
            return [
                (
                    AccountKey(budget, scope, subject, window),
                    account_from(measures, warming=is_cold(connection, budget, scope, window_name)),
                )
                for subject, window, window_name, *measures in found
            ]


def folded(
    connection: apsw.Connection, decoder: Decoder, coverage: Coverage, until: int, since: int
) -> Iterator[tuple[int, Share]]:
    """(seq, share) of each account of each entry up to seq `until` that counts at `since` or later."""
    held = {entry: decode_shares(shares) for entry, shares in rows(connection, "ended_shares")}
    tier_of = tiers(connection)
    after = 0
    while page := connection.execute(sql("to_warm"), (after, until, since, _PAGE)).fetchall():
        for row in page:
            entry = decoder.entry(row)
            own = held.get(rules.root_of(entry), ())
            for share in accounts.counted(coverage, entry, coverage.shares(entry, tier_of), own):
                yield entry.seq, share
        after = int(page[-1][0])  # type: ignore[arg-type]  # the rowid, as the STRICT table says


def dropped_at(connection: apsw.Connection) -> int:
    """When accounts were last dropped: those that were long over then may be missing."""
    found = first(connection, "setting", (DROPPED_SETTING,))
    return -(1 << 62) if found is None else int(found[0])


def tiers(connection: apsw.Connection) -> Callable[[str, str], str | None]:
    """The tier of a subject, read in this transaction."""

    def tier_of(kind: str, name: str) -> str | None:
        row = first(connection, "tier", (kind, name))
        return None if row is None else str(row[0])

    return tier_of


def find(connection: Executes, key: AccountKey) -> Account | None:
    """An account as it stands in this transaction, whether it is warm or not; None where it is new."""
    row = connection.execute(_ACCOUNT, (key.budget, key.scope, key.subject, key.window)).fetchone()
    return None if row is None else account_from(row)


def account_of(connection: apsw.Connection, key: AccountKey, window_name: str) -> Account:
    """An account as it stands in this transaction."""
    row = first(connection, "account", (key.budget, key.scope, key.subject, key.window))
    warming = is_cold(connection, key.budget, key.scope, window_name)
    return Account(warming=warming) if row is None else account_from(row, warming=warming)


def is_cold(connection: apsw.Connection, budget: str, scope: str, window_name: str) -> bool:
    """Whether the history of an account is not folded yet."""
    return first(connection, "is_cold", (budget, scope, window_name)) is not None


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


def account_from(measures: Sequence[int], *, warming: bool = False) -> Account:
    """An account from its columns: committed, spent and refusals."""
    committed_micro, committed_pico, spent_micro, spent_pico, refusals = measures
    return Account(
        committed=committed_micro * PICO_PER_MICRO + committed_pico,
        spent=spent_micro * PICO_PER_MICRO + spent_pico,
        refusals=refusals,
        warming=warming,
    )


def _held_for(connection: apsw.Connection, entry: Entry) -> tuple[Share, ...]:
    """What was held for the call of a correction, if its event came from a reservation."""
    row = first(connection, "reservation", (entry.event.id,))
    return decode_shares(row[4]) if row is not None and row[5] == rules.root_of(entry) else ()


def _forget_spent(connection: apsw.Connection, budget: str, scope: str, window_name: str) -> None:
    found = list(rows(connection, "accounts_of_scope", (budget, scope, window_name)))
    for subject, window, from_at, to_at, *measures in found:
        account = account_from(measures)
        key = AccountKey(budget, scope, subject, window)
        share = Share(key, window_name, from_at, to_at, None, 0)  # type: ignore[arg-type]  # as written
        put(connection, share, account, -account.spent, -account.spent)
