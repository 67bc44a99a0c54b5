"""Accounts as rows, written once for every SQL store: what is read of them, folded, proved and renamed.

A `connection` is one of the dialect's; whoever writes by these is in a write transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from outlay.clock import Instant
from outlay.ledger import accounts, rules
from outlay.ledger.budget_store import AccountScope, Coverage, Covering, NotedRefusal, OutboxRow, ReservationState
from outlay.ledger.codec import Decoder
from outlay.ledger.dialect import Dialect, Row
from outlay.ledger.names import KIND_NUMBERS, find_name
from outlay.model import Account, AccountKey, AuditFinding, Entry, Share
from outlay.money import PICO_PER_MICRO

DROPPED_SETTING: Final = "outlay.accounts_dropped_at"
"""The setting that says when accounts long over were last dropped."""

STATES: Final = (
    ReservationState.OPEN,
    ReservationState.SETTLED,
    ReservationState.RELEASED,
    ReservationState.EXPIRED,
)
"""A reservation's state by its number."""

STATE_NUMBERS: Final = {state: number for number, state in enumerate(STATES)}
TierOf = Callable[[str, str], str | None]
Cold = dict[accounts.Scope, tuple[int, Instant]]
"""Scopes whose entries up to a seq are not folded yet, and from which instant on windows are."""

_PAGE: Final = 2_000
_STEP: Final = 500
encode_shares: Final = msgspec.json.Encoder().encode
decode_shares: Final = msgspec.json.Decoder(tuple[Share, ...]).decode
encode_refusal: Final = msgspec.json.Encoder().encode
encode_row: Final = msgspec.msgpack.Encoder().encode
_decode_row: Final = msgspec.msgpack.Decoder(list[Any]).decode
_decode_entry: Final = msgspec.json.Decoder(Entry).decode
decode_refusal: Final = msgspec.json.Decoder(NotedRefusal).decode


class Step(msgspec.Struct):
    """One step of warming: what the entries after `down_to` sum to in the scopes that were cold before it."""

    cold: Cold
    epoch: int
    down_to: int
    sums: list[Share]
    looked_at: int


def account_from(measures: Sequence[int], *, warming: bool = False) -> Account:
    """An account from its columns: committed, spent and refusals."""
    committed_micro, committed_pico, spent_micro, spent_pico, refusals = measures
    return Account(
        committed=committed_micro * PICO_PER_MICRO + committed_pico,
        spent=spent_micro * PICO_PER_MICRO + spent_pico,
        refusals=refusals,
        warming=warming,
    )


def told(row: Row) -> OutboxRow:
    """What is to be told, from its columns."""
    number, kind, at, budget, scope, subject, window, what, micro, pico = row
    return OutboxRow(
        number=number,
        kind=kind,
        at=at,
        key=AccountKey(budget, scope, subject, window),
        what=what,
        amount=micro * PICO_PER_MICRO + pico,
    )


def tiers(dialect: Dialect, connection: Any) -> TierOf:
    """The tier of a subject, read in this transaction, each once."""
    known: dict[tuple[str, str], str | None] = {}

    def tier_of(kind: str, name: str) -> str | None:
        if (kind, name) not in known:
            row = dialect.first(connection, "tier", (kind, name))
            known[kind, name] = None if row is None else str(row[0])
        return known[kind, name]

    return tier_of


def is_cold(dialect: Dialect, connection: Any, budget: str, scope: str, window_name: str) -> bool:
    """Whether the history of an account is not folded yet."""
    return dialect.first(connection, "is_cold", (budget, scope, window_name)) is not None


def account_of(dialect: Dialect, connection: Any, key: AccountKey, window_name: str) -> Account:
    """An account as it stands in this transaction."""
    row = dialect.first(connection, "account", (key.budget, key.scope, key.subject, key.window))
    warming = is_cold(dialect, connection, key.budget, key.scope, window_name)
    return Account(warming=warming) if row is None else account_from(row, warming=warming)


def accounts_of(
    dialect: Dialect, connection: Any, budget: str, scope: str, at: Instant, most: int
) -> list[tuple[AccountKey, Account]]:
    """See BudgetStore.accounts_of."""
    return [
        (
            AccountKey(budget, scope, subject, window),
            account_from(measures, warming=is_cold(dialect, connection, budget, scope, window_name)),
        )
        for subject, window, window_name, *measures in list(
            dialect.rows(connection, "accounts_of", (budget, scope, at, most))
        )
    ]


def dropped_at(dialect: Dialect, connection: Any) -> Instant:
    """When accounts were last dropped: those that were long over then may be missing."""
    found = dialect.first(connection, "setting", (DROPPED_SETTING,))
    return -(1 << 62) if found is None else int(found[0])


def held_for(dialect: Dialect, connection: Any, entry: Entry) -> tuple[Share, ...]:
    """What was held for the call of an entry, if its event came from a reservation."""
    row = dialect.first(connection, "reservation", (entry.event.id,))
    return decode_shares(row[4]) if row is not None and row[5] == rules.root_of(entry) else ()


def estimate_of(decoder: Decoder, packed: bytes) -> Entry:
    """What expiry writes, as a reservation keeps it: a row; JSON in ledgers of before schema 5."""
    return _decode_entry(packed) if packed.startswith(b"{") else decoder.entry(_decode_row(packed))


def folded(dialect: Dialect, connection: Any, decoder: Decoder, coverage: Coverage) -> Iterator[Share]:
    """What each entry counts in each account, by seq."""
    held = {entry: decode_shares(shares) for entry, shares in dialect.rows(connection, "ended_shares")}
    tier_of = tiers(dialect, connection)
    after = 0
    while page := list(dialect.rows(connection, "to_warm", (after, 1 << 62, -(1 << 62), _PAGE))):
        for row in page:
            entry = decoder.entry(row)
            own = held.get(rules.root_of(entry), ())
            yield from accounts.counted(coverage, entry, coverage.shares(entry, tier_of), own)
        after = int(page[-1][0])


def unsound(
    dialect: Dialect, connection: Any, decoder: Decoder, coverage: Coverage, horizon: Instant
) -> Iterator[AuditFinding]:
    """What the accounts get wrong, for the audit. `horizon` is since when retention has dropped no entry."""
    kept: dict[AccountKey, tuple[Share, Account]] = {}
    for row in dialect.rows(connection, "all_accounts"):
        key = AccountKey(*row[:4])
        kept[key] = (Share(key, row[4], row[5], row[6], None, 0), account_from(row[7:]))
    held: dict[AccountKey, int] = {}
    for (shares,) in dialect.rows(connection, "held_shares"):
        for share in decode_shares(shares):
            held[share.key] = held.get(share.key, 0) + share.amount
    warm = {row[:3]: row[3] for row in dialect.rows(connection, "warm_scopes")}
    spent = accounts.summed(folded(dialect, connection, decoder, coverage))
    yield from accounts.unsound(kept, spent, held, warm, horizon, dropped_at(dialect, connection))


def forget(dialect: Dialect, connection: Any, covering: Covering, epoch: int, names: tuple[str, str, str]) -> None:
    """Rename a person or customer in budgets, accounts, tiers, shares, the outbox and refusals.

    `names` are the kind, the name and the anonymous one; the transaction raises the `epoch` that it began with. What
    open reservations estimate bears names as entries do: by their id.
    """
    kind, name, anonymous = names
    kept = list(dialect.rows(connection, "budgets"))
    every = covering([body for _, body, _ in kept])
    budgets = every.of_subjects(kind)
    for budget in budgets:
        dialect.run(connection, "rename_accounts", (budget, name, anonymous))
        dialect.run(connection, "rename_outbox", (budget, name, anonymous))
        for place, number, packed in list(dialect.rows(connection, "numbered_refusals", (budget,))):
            noted = decode_refusal(packed)
            renamed = accounts.refusal_with_name(noted, name, anonymous)
            if renamed is not noted:
                dialect.run(connection, "put_refusal", (budget, place, number, encode_refusal(renamed)))
    dialect.run(connection, "rename_subject", (kind, name, anonymous))
    moved = _forget_in_filters(dialect, connection, every, kept, epoch + 1, names)
    for id, packed in list(dialect.rows(connection, "all_shares")):
        shares = decode_shares(packed)
        others = accounts.with_name(shares, budgets, name, anonymous)
        for budget, before, after in moved:
            others = accounts.with_scope(others, budget, before, after)
        if others != shares:
            dialect.run(connection, "put_shares", (id, encode_shares(others)))
    # Who waits asks again within a moment; the names in the queue are not worth more.
    dialect.run(connection, "drop_waiters")


def _forget_in_filters(
    dialect: Dialect,
    connection: Any,
    every: Coverage,
    kept: Sequence[Row],
    changed: int,
    names: tuple[str, str, str],
) -> list[tuple[str, str, str]]:
    """Rename in the bodies of budgets; (budget, scope before, scope after) of those whose scope that moved."""
    moved = []
    for budget, body, active in kept:
        renamed = every.forgotten(body, *names)
        if renamed is None:
            continue
        dialect.run(connection, "put_budget", (budget, renamed.body, active, changed))
        if renamed.scope != renamed.scope_before:
            bound = (budget, renamed.scope_before, renamed.scope)
            for statement in ("move_accounts", "rename_account_scope", "move_outbox"):
                dialect.run(connection, statement, bound)
            moved.append(bound)
    return moved


def is_unseen(dialect: Dialect, connection: Any, scope: AccountScope) -> bool:
    """Whether nothing in the ledger can count in a scope: none of the values is known that a dimension asks for."""
    return any(
        all(find_name(dialect, connection, KIND_NUMBERS[dimension], value) < 0 for value in values)
        for dimension, values in scope.where.items()
        if dimension in KIND_NUMBERS
    )


def cold_scopes(dialect: Dialect, connection: Any, statement: str = "cold_scopes") -> Cold:
    """The scopes that wait to be warmed."""
    return {row[:3]: row[3:] for row in dialect.rows(connection, statement)}


def gathered(
    dialect: Dialect, connection: Any, decoder: Decoder, coverage: Coverage | None, epoch: int, most: int
) -> Step | None:
    """The next step of warming, from the newest entries back, so that a reversal comes before what it reverses and
    no mark is crossed that is not in the end; None where nothing is cold.
    """
    cold = cold_scopes(dialect, connection)
    if not cold or coverage is None:
        return None
    (oldest,) = dialect.only(connection, "first_entry")
    high = max(until for until, _ in cold.values())
    at, found = high, list[Share]()
    counting = 0
    tier_of = tiers(dialect, connection)
    while at >= oldest and at > 0 and counting < _STEP and high - at < most:
        below = max(at - _STEP, 0)
        since = min(from_at for until, from_at in cold.values() if until > below)
        for row in dialect.rows(connection, "to_warm_between", (below, at, since)):
            counting += 1
            entry = decoder.entry(row)
            own = held_for(dialect, connection, entry)
            for share in accounts.counted(coverage, entry, coverage.shares(entry, tier_of), own):
                bounds = cold.get(accounts.scope_of(share))
                if bounds is not None and entry.seq <= bounds[0] and share.from_at >= bounds[1]:
                    found.append(share)
        at = below
    sums = accounts.summed(found)
    return Step(cold, epoch, at if at >= oldest else 0, [sums[key] for key in sorted(sums)], high - at)
