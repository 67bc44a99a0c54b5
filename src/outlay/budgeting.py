"""The budgeting half of a ledger: budgets, reservations before a call, and how budgets stand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from msgspec.structs import replace

from outlay.arguments import When, read_text, read_when
from outlay.budgets.coverage import packed, unpacked
from outlay.budgets.definition import changed, raised, read_budget
from outlay.budgets.limits import BudgetIndex, dimensions_of, scope_of, uncovered
from outlay.budgets.status import status, usage_block
from outlay.budgets.terms import Asking, Budget, BudgetChange, BudgetStatus, Decision, Tier
from outlay.clock import MICROSECONDS_PER_SECOND, Instant, WindowName, window_of
from outlay.errors import InvalidInput, NotFound
from outlay.holding import Reservation
from outlay.ledger.budget_store import AccountScope, KeptBudget, KeptReservation, NotedRefusal, TierFilter
from outlay.model import AccountKey, Limit
from outlay.money import Money
from outlay.reader import LedgerReader, loop_runs
from outlay.reserving import Ask, Reserver, WorstCase

SUBJECTS_SHOWN: Final = 1_000
WAIT_SECONDS_MAX: Final = 3_600
HOUR_MICROSECONDS: Final = 3_600 * MICROSECONDS_PER_SECOND
_WHO: Final = "program"


class LedgerBudgets(LedgerReader):
    """What a ledger does about budgets."""

    reserver: Reserver
    _dropped_at: Instant = 0

    # Budgets

    def budget(self, name: str, *, why: str = "", who: str = _WHO, **fields: Any) -> Budget:
        """Set a budget: which calls may spend how much in a calendar window. What was there is changed, with history.

        Fields: limit and window, or limits, or tiers; where, each, zone, meter, marks, action, grace, wait_s,
        fail_open, unbounded, unpriced, assumed, downgrade_to (docs/budgets.md). What was spent before is counted:
        10,000 entries before this returns, more behind, the budget being `warming` until then. Raises InvalidInput
        naming the field.
        """
        wanted = read_budget(name, fields)
        known = self._kept(name)
        now = self.clock.now()
        before = unpacked(known.body) if known is not None else None
        after = changed(before, wanted, at=now, who=who, why=why)
        if known is None or not known.active or after != before:
            if known is not None and not known.active:
                entry = BudgetChange(now, who, "put back", why)
                after = replace(after, history=(*after.history, entry))
            self._put(after)
        return after

    def remove_budget(self, name: str, *, why: str, who: str = _WHO) -> None:
        """Take a budget out of force; its history stays. Raises NotFound `no_such_budget`."""
        budget = self._budget(name)
        gone = BudgetChange(self.clock.now(), who, "removed", read_text(why, "why"))
        self.store.remove_budget(name, packed(replace(budget, history=(*budget.history, gone))))
        self.reserver.load()

    def raise_budget(
        self,
        name: str,
        amount: str | Decimal | int | Money,
        *,
        until: When,
        reason: str,
        window: WindowName | None = None,
        subject: str | None = None,
        who: str = _WHO,
    ) -> Budget:
        """Add `amount` to a budget's limit from now to `until`, for one subject or all. Raises InvalidInput."""
        budget, now = self._budget(name), self.clock.now()
        if isinstance(until, timedelta):
            end: int | None = now + until // timedelta(microseconds=1)
        else:
            end = read_when(until, budget.zone, self.clock)
        if end is None:
            raise InvalidInput("a raise has an end: give until", code="missing_field", field="until")
        after = raised(budget, amount, since=now, until=end, reason=reason, who=who, window=window, subject=subject)
        self._put(after)
        return after

    def budget_history(self, name: str) -> tuple[BudgetChange, ...]:
        """Who changed a budget, when, what and why; also of one that was removed."""
        known = self._kept(name)
        if known is None:
            raise NotFound(f"no budget {name!r} is in the ledger", code="no_such_budget")
        return unpacked(known.body).history

    def subject(self, kind: str, name: str, *, tier: str) -> None:
        """Say a user's (customer's, …) tier; it moves the limit, not what was spent. Unknown ones have the first."""
        self.store.put_subject(read_text(kind, "kind"), read_text(name, "name"), read_text(tier, "tier"))

    # Before a call

    def reserve(
        self,
        *,
        body: Mapping[str, Any] | None = None,
        wait_s: float | None = None,
        deadline_s: float | None = None,
        **fields: Any,
    ) -> Reservation:
        """Hold what a call may cost at worst in every budget that covers it, all or none; a context manager.

        `fields` are those of `record`, `usage` being the worst case; or `body` is the request as sent, whose worst
        case is worked out. `wait_s` is how long to wait, in order of arrival, for others to settle (each budget's own
        by default); after `deadline_s` it is booked at the worst case. On a thread whose event loop runs, the budgets
        are asked by `async with`. The same `id` again is the same reservation.

        Raises BudgetExceeded, InvalidInput; LedgerError where the ledger cannot be asked and a budget fails closed.
        """
        if wait_s is not None and not 0 <= wait_s <= WAIT_SECONDS_MAX:
            raise InvalidInput(f"wait_s is {wait_s}; use 0 to {WAIT_SECONDS_MAX}", code="bad_wait", field="wait_s")
        if deadline_s is not None and deadline_s <= 0:
            raise InvalidInput("deadline_s is more than 0", code="bad_wait", field="deadline_s")
        first = [self.reserver.ask(fields, body)]
        name = first[0].event.id

        def make(service: str | None) -> Ask:
            if first and service is None:
                return first.pop()
            told = fields if service is None else {**fields, "service": service}
            request = body if service is None or body is None or "model" not in body else {**body, "model": service}
            return self.reserver.ask(told, request, id=name)

        reservation = Reservation(self, self.reserver, make, wait_s, deadline_s)  # type: ignore[arg-type]  # Ledger is one
        return reservation if loop_runs() else reservation.take()

    def bound(self, *, body: Mapping[str, Any] | None = None, **fields: Any) -> WorstCase:
        """The worst case of a request as sent (or of `usage`): its parts, how sure each is, and what it may cost."""
        return self.reserver.worst(self._asked(fields, body, index=BudgetIndex(())))

    def check(self, *, body: Mapping[str, Any] | None = None, **fields: Any) -> Decision:
        """Whether a call would fit now, and why not. Nothing is taken, so another call may be first."""
        return self.reserver.decide(self._asked(fields, body))

    def affordable(self, *, body: Mapping[str, Any], **fields: Any) -> int | None:
        """The most output tokens with which a request fits now; None where it does not fit even without any."""
        return self.reserver.afforded(self._asked(fields, body))

    def expire(self) -> int:
        """Book every reservation that is overdue at its worst case, unsettled; how many.

        Accounts whose windows are long over are dropped too, at most once an hour (docs/budgets.md says which).
        """
        now = self.clock.now()
        if now >= self._dropped_at + HOUR_MICROSECONDS:
            self._dropped_at = now
            self.store.drop_accounts(now)
        return self.store.expire(now)

    def reservation(self, id: str) -> KeptReservation:
        """A reservation as it stands. Raises NotFound `no_such_reservation`."""
        found = self.store.reservation(read_text(id, "id"))
        if found is None:
            raise NotFound(f"no reservation {id!r} is in the ledger", code="no_such_reservation")
        return found

    # How budgets stand

    def defined_budgets(self) -> list[Budget]:
        """The budgets in force as they were set, by name."""
        return sorted(self.reserver.refresh().budgets.values(), key=lambda one: one.name)

    def budgets(
        self, name: str | None = None, *, subject: str | None = None, fullest: int = SUBJECTS_SHOWN
    ) -> list[BudgetStatus]:
        """How budgets stand now: spent, reserved, remaining, percent, pace, projected end; one for each account.

        An `each` budget shows the `fullest` of its subjects, the fullest first, or the one that is given.
        """
        self._flush()
        self.reserver.warmer.warm()
        self.store.expire(self.clock.now())
        index = self.reserver.refresh()
        chosen = index.budgets.values() if name is None else [self._budget(name)]
        return [one for budget in chosen for one in self._statuses(index, budget, subject, fullest)]

    def usage_block(self, *, meter: str | None = None, **dimensions: str) -> dict[str, object]:
        """{daily_used, daily_limit, monthly_used, …, warning} of the budgets that cover such a call.

        `dimensions` are user, feature, provider, …; `meter` chooses budgets that count it, such as `calls`.
        """
        self._flush()
        event = self._asked({"provider": "*", "service": "*", **dimensions}, None, index=BudgetIndex(())).event
        told = {name: value for name, value in dimensions_of(event).items() if value != "*"}
        now = self.clock.now()
        limits = self.reserver.refresh().limits(told, now, Asking(amount=0, calls=0), self.store.tier)
        if meter is not None:
            limits = tuple(limit for limit in limits if limit.meter == meter)
        return usage_block(self._stand(limits))

    def refusals(self, name: str) -> tuple[int, list[NotedRefusal]]:
        """How many calls a budget ever refused, and the last 1,000 of them, newest first."""
        return self.store.refusals(name)

    def uncovered_budgets(self) -> list[str]:
        """Refusing budgets of each user (customer, …) over which no total stands: new names may spend without end."""
        return uncovered(self.reserver.refresh().budgets.values())

    # Inner

    def _asked(
        self, fields: Mapping[str, Any], body: Mapping[str, Any] | None, *, index: BudgetIndex | None = None
    ) -> Ask:
        if index is None:
            self.reserver.refresh()
        return self.reserver.ask(fields, body)

    def _statuses(
        self, index: BudgetIndex, budget: Budget, subject: str | None, fullest: int
    ) -> Iterable[BudgetStatus]:
        now = self.clock.now()
        if budget.each is None or subject is not None:
            return self._stand(index.standing(budget, subject or "", now, self.store.tier))
        names = {key.subject for tier in budget.tiers for key in self._fullest(budget, tier, now, fullest)}
        standing = [self._stand(index.standing(budget, one, now, self.store.tier)) for one in names]
        standing.sort(key=lambda several: several[0].key)
        standing.sort(key=lambda several: max(one.percent or 0 for one in several), reverse=True)
        return [one for several in standing[:fullest] for one in several]

    def _fullest(self, budget: Budget, tier: Tier, now: int, most: int) -> Iterable[AccountKey]:
        """Who of a tier has spent most in any of its windows. Whose tier is none of the budget's is of the first."""
        others = tuple(one.name for one in budget.tiers if one is not tier)
        chosen = TierFilter(budget.each or "", None, others)
        if tier is not budget.tiers[0]:
            chosen = TierFilter(budget.each or "", tier.name)
        for limit in tier.limits:
            found = self.store.fullest(budget.name, scope_of(budget), limit.window, now, most, chosen)
            yield from (key for key, _ in found)

    def _stand(self, limits: Iterable[Limit]) -> list[BudgetStatus]:
        several = list(limits)
        accounts = self.store.accounts(several)
        now = self.clock.now()
        return [status(limit, accounts[limit.key], now, self.currency) for limit in several]

    def _kept(self, name: str) -> KeptBudget | None:
        return next((one for one in self.store.budgets() if one.name == name), None)

    def _budget(self, name: str) -> Budget:
        known = self._kept(name)
        if known is None or not known.active:
            raise NotFound(f"no budget {name!r} is in the ledger", code="no_such_budget")
        return unpacked(known.body)

    def _put(self, budget: Budget) -> None:
        now = self.clock.now()
        scope = scope_of(budget)
        windows = dict.fromkeys(limit.window for tier in budget.tiers for limit in tier.limits)
        scopes = [
            AccountScope(scope, window, window_of(now, window, budget.zone).start, budget.where) for window in windows
        ]
        self._flush()
        self.store.put_budget(budget.name, packed(budget), scopes)
        self.reserver.warmer.warm()
        self.reserver.load()
