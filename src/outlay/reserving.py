"""Asking budgets before a call: its worst case, the limits that cover it, the wait, and the reservation itself.

Nothing here decides about money: the store checks the limits in its transaction. What is here makes them.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import force_setattr, replace

from outlay.budgets.bounds import bound, itemised, with_output, worst_case, written
from outlay.budgets.coverage import unpacked
from outlay.budgets.decide import WARMING, affordable, allotment, choose, decide, exceeded, fails_open, refusal, room
from outlay.budgets.limits import BudgetIndex, dimensions_of
from outlay.budgets.terms import Asking, Bound, BoundPart, Decision, Quote
from outlay.calls import inherited
from outlay.capture.intake import build_event, make_id
from outlay.clock import MICROSECONDS_PER_SECOND, Instant
from outlay.errors import BudgetExceeded, InvalidInput, LedgerError
from outlay.ledger.budget_store import KeptBudget, NotedRefusal, Reserved, Reserving
from outlay.ledger.rules import fingerprint
from outlay.ledger.store import StaleBook
from outlay.model import (
    Account,
    Basis,
    BoundKind,
    BudgetAction,
    Entry,
    Limit,
    PricingStatus,
    Quantity,
    Rating,
    Status,
    UsageEvent,
    copied,
)
from outlay.money import Money
from outlay.outputs import OutputsSeen
from outlay.pricing.rate import rate
from outlay.recorder import Recorder, rated_tolerantly
from outlay.warming import Warmer

DEADLINES_S: Final[Mapping[str, int]] = {"video": 3_600, "batch": 90_000}
"""How long a call of an operation may run before its reservation is booked at the worst case."""

DEAREST: Final = "worst case: the highest rate within reach"
DEADLINE_S: Final = 600
STALE_RETRIES_MAX: Final = 10
_POLL_S: Final = 0.02
_PLACE_KEPT_S: Final = 2
_GRANTED: Final = ("reserved", "exists")


class WorstCase(msgspec.Struct, frozen=True, kw_only=True):
    """The worst case of a request: its parts, how sure the least sure of them is, and what it may cost at most.

    `total` is None without a price. A part's amount is what it adds to those before it.
    """

    parts: tuple[BoundPart, ...]
    kind: BoundKind
    usage: Mapping[str, Quantity]
    total: Money | None
    output_tokens_max: int | None = None
    output_field: str | None = None
    source: str = ""

    @property
    def amount(self) -> Money | None:
        """What it may cost at most; the parts without a bound at the model's context window."""
        return self.total


class Ask(msgspec.Struct, kw_only=True):
    """A call that asks: what it may come to, and the limits that cover it at `now`."""

    event: UsageEvent
    fields: dict[str, Any]
    asking: Asking
    rating: Rating
    limits: tuple[Limit, ...]
    now: Instant
    epoch: int
    found: Bound | None = None
    body: Mapping[str, Any] | None = None
    allotted: bool = False


class Reserver:
    """Asks for reservations of one ledger. Safe to share between threads."""

    def __init__(self, recorder: Recorder, currency: str) -> None:
        """The budgets are read at first use, and again whenever the ledger's epoch has moved."""
        self.recorder = recorder
        self.store = recorder.store
        self.clock = recorder.clock
        self.currency = currency
        self._kept: list[KeptBudget] | None = None
        self._index = BudgetIndex(())
        self._epoch = -1
        self._loading = threading.Lock()
        self._outputs = OutputsSeen(self.store)
        self._cold = False
        self.warmer = Warmer(self.store)

    # --- what budgets there are

    @property
    def index(self) -> BudgetIndex:
        """The budgets in force when this process last looked; a reservation looks again."""
        return self._index if self._epoch >= 0 else self.load()

    @property
    def known(self) -> BudgetIndex:
        """The budgets that this process last saw, without asking the ledger; none before it ever did."""
        return self._index

    def refresh(self) -> BudgetIndex:
        """The budgets in force now."""
        return self._index if self._epoch == self.store.epoch() else self.load()

    def load(self) -> BudgetIndex:
        """Read the budgets anew, and the prices if they have changed."""
        with self._loading:
            # The epoch is read first: a change between the two reads is seen as stale by the next reservation.
            epoch = self.store.epoch()
            self.recorder.refresh()
            kept = self.store.budgets()
            if kept != self._kept:
                self._index = BudgetIndex(unpacked(one.body) for one in kept if one.active)
                self._kept = kept
            self._cold = self.store.cold_scopes() > 0
            self._epoch = epoch
            return self._index

    # --- what a call may come to

    def ask(
        self,
        fields: Mapping[str, Any],
        body: Mapping[str, Any] | None,
        *,
        id: str | None = None,
        found: Bound | None = None,
    ) -> Ask:
        """What a call asks for, from `record`'s fields with its worst case as usage, or from the request's body.

        `found` is the bound of a request that stays where it is: another host's client does not send its prompts.
        """
        if self._epoch < 0:
            self.load()
        # Read before the budgets are looked at: another thread may load newer ones at any moment, and limits of the
        # older ones must not pass for them.
        epoch = self._epoch
        now = self.clock.now()
        told = dict(inherited(fields))
        if body is not None:
            found = bound(str(told.get("provider") or ""), body, told.get("service"))
        if found is not None:
            told["service"] = told.get("service") or found.service
            told["usage"] = found.usage
        event = build_event(told, now, self.currency, id=id or make_id(now))
        ask = Ask(
            event=event,
            fields=told,
            asking=Asking(amount=None),
            rating=NOTHING_RATED,
            limits=(),
            now=now,
            epoch=epoch,
            body=body,
        )
        if found is None:
            return self._measured(ask)
        ask.found = found
        return self._bounded(ask, found)

    def worst(self, ask: Ask) -> WorstCase:
        """The worst case of a call, for people."""
        asking = ask.asking
        amount = asking.amount if asking.window_amount is None else asking.window_amount
        total = None if amount is None else Money(amount, self.currency)
        if ask.found is None:
            parts = tuple(
                BoundPart(
                    name=line.meter,
                    kind=BoundKind.EXACT,
                    meter=line.meter,
                    quantity=line.quantity,
                    amount=line.amount,
                )
                for line in ask.rating.lines
            )
            return WorstCase(parts=parts, kind=BoundKind.EXACT, usage=asking.usage, total=total)
        shown = itemised(ask.found, self._quote(ask.event))
        return WorstCase(
            parts=shown.parts,
            kind=shown.kind,
            usage=shown.usage,
            total=total,
            output_tokens_max=shown.output_tokens_max,
            output_field=shown.output_field,
            source=shown.source,
        )

    def _measured(self, ask: Ask) -> Ask:
        """A call whose worst case was said as usage."""
        event = ask.event
        ask.rating = rated_tolerantly(event, self.recorder.book)
        amount = ask.rating.amount if ask.rating.status is PricingStatus.PRICED else None
        usage: Mapping[str, Quantity] = event.usage
        if event.count != 1:
            usage = {meter: quantity * event.count for meter, quantity in usage.items()}
        ask.asking = Asking(amount=amount, usage=usage, calls=event.count)
        ask.limits = self.limits(ask)
        return ask

    def _bounded(self, ask: Ask, found: Bound) -> Ask:
        """A call whose worst case follows from its request; without a maximum, under a hard limit, it gets one."""
        quote, priced = self._quote(ask.event), self._priced(ask.event)
        ask.asking = worst_case(found, quote, priced=priced)
        ask.limits = self.limits(ask)
        hard = any(limit.hard and limit.meter != "calls" for limit in ask.limits)
        if hard and not found.output_given and found.output_field is not None and found.output_covers_reasoning:
            tokens = self._allotted(ask, found, quote)
            ask.found = found = with_output(found, tokens)
            ask.asking = worst_case(found, quote, priced=priced)
            ask.limits = self.limits(ask)
            ask.body = written(ask.body or {}, found, tokens)
            ask.allotted = True
        ask.event = with_usage(ask.event, found.usage)
        ask.rating = rated_tolerantly(ask.event, self.recorder.book)
        return ask

    def _allotted(self, ask: Ask, found: Bound, quote: Quote) -> int:
        """How many output tokens: reservations of others do not shrink it, since they may settle lower."""
        wished = allotment(found.output_tokens_max, self._outputs.p99(ask.event))
        accounts = {
            key: replace(account, committed=account.spent) for key, account in self.store.accounts(ask.limits).items()
        }

        def limits_at(tokens: int) -> tuple[Limit, ...]:
            return self.limits(ask, worst_case(with_output(found, tokens), quote))

        tokens = affordable(limits_at, accounts, wished)
        return max(tokens or 0, found.output_tokens_least + 1)

    def afforded(self, ask: Ask) -> int | None:
        """The most output tokens with which a call fits now, None where it does not fit even without any."""
        found = ask.found
        if found is None:
            raise InvalidInput("affordable takes the request's body", code="missing_field", field="body")
        quote = self._quote(ask.event)
        accounts = self.store.accounts(ask.limits)
        most = found.output_tokens_max or found.context_window

        def limits_at(tokens: int) -> tuple[Limit, ...]:
            return self.limits(ask, worst_case(with_output(found, tokens), quote))

        return affordable(limits_at, accounts, most)

    def limits(self, ask: Ask, asking: Asking | None = None) -> tuple[Limit, ...]:
        """The limits that cover a call, with what it asks of each."""
        found = self.index.limits(dimensions_of(ask.event), ask.now, asking or ask.asking, self.store.tier)
        return self._guarded(found) if self._cold else found

    def _guarded(self, limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
        """Bar the limits whose accounts do not know yet what was spent before, unless their budget fails open.

        Within an epoch budgets only become warm, so a process that saw them so need not look again.
        """
        self._cold = self.store.cold_scopes() > 0
        if not self._cold:
            return limits
        self.warmer.begin()
        closed = [limit for limit in limits if limit.hard and not limit.fail_open and not limit.barred]
        accounts = self.store.accounts(closed)
        cold = {key for key, account in accounts.items() if account.warming}
        return tuple([replace(one, barred=WARMING) if one.key in cold else one for one in limits])

    def _quote(self, event: UsageEvent) -> Quote:
        book = self.recorder.book

        def quote(usage: Mapping[str, Quantity], conditions: Mapping[str, str]) -> int | None:
            told = with_usage(event, usage)
            if conditions:
                force_setattr(told, "conditions", {**event.conditions, **conditions})
            try:
                found = rate(told, book)
            except InvalidInput:
                return None  # A way of billing that these parts cannot add up to.
            return found.amount if found.status is PricingStatus.PRICED else None

        return quote

    def _priced(self, event: UsageEvent) -> set[str]:
        """The meters for which a service has a rate of their own, whatever its conditions and dates."""
        return {rate.meter for rate in self.recorder.book.rates(event.provider, event.service)}

    def note_output(self, event: UsageEvent) -> None:
        """Remember how much a call put out, which sizes what the next one is allotted."""
        self._outputs.note(event)

    # --- asking the ledger

    def decide(self, ask: Ask) -> Decision:
        """Whether the call would fit now; nothing is taken."""
        return decide(ask.limits, self.store.accounts(ask.limits), ask.now)

    def take(self, ask: Callable[[str | None], Ask], wait_s: float | None, deadline_s: float | None) -> Taken:
        """Reserve what a call asks for. `ask` makes it anew for each try, of another service if one is given.

        Raises BudgetExceeded. A call whose hard limits all say so goes unreserved when the ledger cannot be asked.
        """
        attempt = _Attempt(self, ask, wait_s, deadline_s)
        try:
            return attempt.run()
        finally:
            attempt.leave()


def with_usage(event: UsageEvent, usage: Mapping[str, Quantity]) -> UsageEvent:
    """A copy of an event with another usage: a call needs several."""
    force_setattr(copy := copied(event), "usage", dict(usage))
    return copy


NOTHING_RATED: Final = Rating((), 0, PricingStatus.UNPRICED)


class Taken(msgspec.Struct, kw_only=True):
    """What became of asking: the call as it may go, and whether the ledger holds it."""

    ask: Ask
    code: str
    held: bool = True
    downgraded_from: str | None = None


class _Attempt:
    """One call that asks until it is let through, refused, or has waited long enough."""

    def __init__(
        self, reserver: Reserver, ask: Callable[[str | None], Ask], wait_s: float | None, deadline_s: float | None
    ) -> None:
        self._reserver = reserver
        self._make = ask
        self._wait_s = wait_s
        self._deadline_s = deadline_s
        self._began_s = time.monotonic()
        self._service: str | None = None
        self._asked_for: str | None = None
        self._queued_id: str | None = None

    def run(self) -> Taken:
        stale = 0
        while True:
            ask = self._make(self._service)
            try:
                found = self._reserve(ask)
            except StaleBook:
                stale += 1
                if stale > STALE_RETRIES_MAX:
                    raise
                self._reserver.load()
                continue
            except LedgerError:
                if fails_open(ask.limits):
                    return Taken(ask=ask, code="unreserved", held=False)
                raise
            if found.code in _GRANTED:
                self._queued_id = None
                return Taken(ask=ask, code=found.code, downgraded_from=self._asked_for)
            if found.code != "refused":
                raise InvalidInput(
                    f"reservation {ask.event.id} is {found.code} already; use a new id", code=found.code
                )
            decision = self._decision(ask, found)
            if self._downgrade(ask, found, decision):
                continue
            if not self._wait(ask, decision):
                raise self._refused(ask, decision)

    def leave(self) -> None:
        """Give the place in the queue up."""
        if self._queued_id is not None:
            self._reserver.store.stop_waiting(self._queued_id)

    def _reserve(self, ask: Ask) -> Reserved:
        reserver = self._reserver
        operation = ask.event.operation or ""
        seconds = self._deadline_s if self._deadline_s is not None else DEADLINES_S.get(operation, DEADLINE_S)
        waits = self._seconds_to_wait(ask) > 0 and not any(limit.barred for limit in ask.limits)
        if waits:
            self._queued_id = ask.event.id
        return reserver.store.reserve(
            Reserving(
                id=ask.event.id,
                limits=ask.limits,
                estimate=estimate_of(ask),
                now=ask.now,
                deadline=ask.now + int(seconds * MICROSECONDS_PER_SECOND),
                waits=waits,
                waits_until=ask.now + _PLACE_KEPT_S * MICROSECONDS_PER_SECOND,
            ),
            epoch=ask.epoch,
        )

    def _seconds_to_wait(self, ask: Ask) -> float:
        if self._wait_s is not None:
            return float(self._wait_s)
        several = [limit.wait_s for limit in ask.limits if limit.action is not BudgetAction.NOTIFY]
        return float(min(several)) if several else 0.0

    def _decision(self, ask: Ask, found: Reserved) -> Decision:
        decision = decide(ask.limits, found.accounts, ask.now)
        if not decision.granted:
            return decision
        # All of it fits, but others came first and wait for the same accounts.
        first = next(limit for limit in ask.limits if limit.hard)
        told = replace(refusal(first, found.accounts.get(first.key, Account())), code="budget_reserved")
        return Decision(granted=False, refusals=(told,), action=first.action, waits=True)

    def _downgrade(self, ask: Ask, found: Reserved, decision: Decision) -> bool:
        """Whether a cheaper service of the user's list is to be tried instead."""
        if decision.action is not BudgetAction.DOWNGRADE or self._service is not None:
            return False
        budget = self._reserver.index.budgets[decision.refusals[0].limit.key.budget]
        left = room(ask.limits, found.accounts)
        traits = {**ask.event.tags, **ask.event.conditions}

        def asked_of(service: str) -> int | None:
            asking = self._make(service).asking
            return asking.amount

        chosen = choose(
            (one for one in budget.downgrade_to if one.service != ask.event.service), left, traits, asked_of
        )
        if chosen is None:
            return False
        self._asked_for, self._service = ask.event.service, chosen
        return True

    def _wait(self, ask: Ask, decision: Decision) -> bool:
        """Wait for a moment; False where waiting is over or does not help."""
        left_s = self._began_s + self._seconds_to_wait(ask) - time.monotonic()
        if left_s <= 0:
            return False
        throttled = decision.action is BudgetAction.THROTTLE and decision.delay_us <= left_s * MICROSECONDS_PER_SECOND
        if not decision.waits and not throttled:
            return False
        until_s = time.monotonic() + min(left_s, _PLACE_KEPT_S / 2)
        while time.monotonic() < until_s:
            time.sleep(min(left_s, random.uniform(0.5, 1.5) * _POLL_S))
            # A look costs no lock: only what may fit now is tried again.
            if decide(ask.limits, self._reserver.store.accounts(ask.limits), ask.now).granted:
                break
        return True

    def _refused(self, ask: Ask, decision: Decision) -> BudgetExceeded:
        event = ask.event
        self._reserver.store.note_refusals(
            [
                NotedRefusal(at=ask.now, provider=event.provider, service=event.service, refusal=one)
                for one in decision.refusals
            ]
        )
        return exceeded(decision, self._reserver.currency)


def estimate_of(ask: Ask) -> Entry:
    """The entry that stands for a call of which nothing more was heard: unsettled, estimated, at the worst case.

    Its fingerprint tells whether the same id is asked for the same call: an id that was made here needs none.
    """
    event = copied(ask.event)
    force_setattr(event, "status", Status.UNSETTLED)
    force_setattr(event, "basis", Basis.ESTIMATED)
    amount = ask.asking.amount
    rated = ask.rating
    rating = Rating(rated.lines, rated.amount, rated.status, rated.unrated, rated.match, Basis.ESTIMATED)
    if amount is not None and amount > rating.amount and rating.status is PricingStatus.PRICED:
        # The dearest way in which the request may come to be billed is above that of its plain meters.
        first, *rest = rating.lines
        raised = replace(first, amount=first.amount + amount - rating.amount, note=DEAREST)
        rating = replace(rating, lines=(raised, *rest), amount=amount)
    return Entry(
        event=event,
        rating=rating,
        recorded_at=ask.now,
        counted_at=ask.now,
        fingerprint=fingerprint(event) if event.id_given else b"",
        basis=Basis.ESTIMATED,
    )
