"""What happens to accounts, pure: what a reservation holds, what an entry counts, which marks that crosses.

The stores keep the rows; each calls these rules inside its transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.ledger import rules
from outlay.ledger.budget_store import Coverage, NotedRefusal, Overrun
from outlay.model import Account, AccountKey, AuditFinding, Entry, Limit, Mark, Share, UsageEvent

Scope = tuple[str, str, str]
"""A budget, its scope's digest, and the name of a window."""

EXPIRE_AT_ONCE = 100
"""How many overdue reservations one call books on its way: it must not wait for all of a crashed fleet's."""

EXPIRED_LATE = "settled after it had expired"
"""The reason of the correction that a settlement makes of an expired reservation's entry."""

RELEASED_LATE = "released after it had expired"

KEPT_MIN = 2 * DAY_MICROSECONDS
KEPT_MAX = 35 * DAY_MICROSECONDS


def held_by(limits: Iterable[Limit]) -> tuple[Share, ...]:
    """What a reservation holds: of each limit what the call asked of it."""
    return tuple(
        [
            Share(limit.key, limit.window_name, limit.window.start, limit.window.end, limit.meter, limit.asked)
            for limit in limits
        ]
    )


def fits(limit: Limit, account: Account) -> bool:
    """Whether a call may take what it asks of this limit: the right side of the comparison was given."""
    return not limit.barred and (not limit.hard or account.committed <= limit.committed_max)


def counted(coverage: Coverage, entry: Entry, shares: Sequence[Share], held: Sequence[Share]) -> list[Share]:
    """Where an entry counts: in the accounts that cover it, and in those in which its call was reserved.

    The answer may name another service than the request, so neither contains the other.
    """
    if not held:
        return list(shares)
    covered = {share.key for share in shares}
    also = [replace(share, amount=coverage.amount(share.meter, entry)) for share in held if share.key not in covered]
    return [*shares, *also]


def overruns(shares: Iterable[Share], held: Iterable[Share]) -> tuple[Overrun, ...]:
    """The accounts in which a call came to more than was held for it."""
    billed = {share.key: share.amount for share in shares}
    return tuple(
        Overrun(share.key, share.amount, billed[share.key])
        for share in held
        if billed.get(share.key, 0) > share.amount
    )


def crossed(marks: Iterable[Mark], before: int, after: int) -> list[Mark]:
    """The marks that spending crossed on its way from `before` to `after`; never a forecast's."""
    return [mark for mark in marks if not mark.forecast and before < mark.amount <= after]


def mark_name(mark: Mark) -> str:
    """What the outbox calls a mark: `80%`, or `>80%` where it must be exceeded."""
    return f"{'>' if mark.above else ''}{mark.percent}%"


def expiring(estimate: Entry, now: Instant) -> Entry:
    """The entry of a reservation that is overdue at `now`, with the fingerprint that an id made here went without."""
    return replace(estimate, recorded_at=now, fingerprint=estimate.fingerprint or rules.fingerprint(estimate.event))


def with_name(shares: Iterable[Share], budgets: Iterable[str], name: str, other: str) -> tuple[Share, ...]:
    """Shares in which the accounts of a subject of these budgets bear another name."""
    renamed = frozenset(budgets)
    return tuple(
        replace(share, key=_renamed(share.key, other))
        if share.key.subject == name and share.key.budget in renamed
        else share
        for share in shares
    )


def _renamed(key: AccountKey, subject: str) -> AccountKey:
    return replace(key, subject=subject)


def with_scope(shares: Iterable[Share], budget: str, before: str, after: str) -> tuple[Share, ...]:
    """Shares in which a scope of a budget has another digest."""
    return tuple(
        replace(share, key=replace(share.key, scope=after))
        if (share.key.budget, share.key.scope) == (budget, before)
        else share
        for share in shares
    )


def refusal_with_name(noted: NotedRefusal, name: str, other: str) -> NotedRefusal:
    """A refusal in which the account of a subject bears another name."""
    limit = noted.refusal.limit
    if limit.key.subject != name:
        return noted
    renamed = replace(limit, key=_renamed(limit.key, other))
    return replace(noted, refusal=replace(noted.refusal, limit=renamed))


def forgotten(entry: Entry, kind: str, name: str, other: str) -> Entry:
    """An entry whose event bears another name of a user or customer, in its tags too."""
    event = without(entry.event, kind, name, other)
    return entry if event is entry.event else replace(entry, event=event)


def without(event: UsageEvent, kind: str, name: str, other: str) -> UsageEvent:
    """An event in which another name stands for that of a user or customer; the same one if it bore none."""
    changes: dict[str, object] = {}
    if getattr(event, kind) == name:
        changes[kind] = other
    if name in event.tags.values():
        changes["tags"] = {key: other if value == name else value for key, value in event.tags.items()}
    return replace(event, **changes) if changes else event


def kept_until(from_at: Instant, to_at: Instant) -> Instant:
    """Until when an account is kept after its window: as long as that was, at least 2 days and at most 35.

    So the window before the present one can be looked at, and a million users of a day do not stay for ever.
    """
    return to_at + min(max(to_at - from_at, KEPT_MIN), KEPT_MAX)


def scope_of(share: Share) -> Scope:
    """Which scope an account belongs to."""
    return (share.key.budget, share.key.scope, share.window_name)


def summed(shares: Iterable[Share]) -> dict[AccountKey, Share]:
    """One share for each account, with the sum of its amounts."""
    sums: dict[AccountKey, Share] = {}
    for share in shares:
        known = sums.get(share.key)
        sums[share.key] = share if known is None else replace(share, amount=share.amount + known.amount)
    return sums


def unsound(
    kept: Mapping[AccountKey, tuple[Share, Account]],
    spent: Mapping[AccountKey, Share],
    held: Mapping[AccountKey, int],
    warm: Mapping[Scope, Instant],
    horizon: Instant,
    dropped_at: Instant = -(1 << 62),
) -> Iterator[AuditFinding]:
    """What accounts get wrong. Each is what its entries `spent`, and what open reservations `held` beside that.

    `warm` says from which instant on a scope's windows were folded; windows that began before `horizon` have lost
    entries to retention, and those long over at `dropped_at` their accounts, so neither can be proved.
    """
    nothing = Account()
    for key in sorted({*kept, *spent}):
        share, account = kept[key] if key in kept else (spent[key], nothing)
        subject = f"account {key.budget} {key.subject} {key.window}".replace("  ", " ")
        if account.committed - account.spent != held.get(key, 0):
            yield AuditFinding("account_held", subject, str(held.get(key, 0)), str(account.committed - account.spent))
        since = warm.get(scope_of(share))
        if since is None or share.from_at < max(since, horizon):
            continue
        if kept_until(share.from_at, share.to_at) <= dropped_at:
            continue
        expected = spent[key].amount if key in spent else 0
        if account.spent != expected:
            yield AuditFinding("account_fold", subject, str(expected), str(account.spent))
