"""Reports on their way: which one of which period goes to whom, and what has become of it.

A dispatch is kept, under the report's name and its period's first instant, before anything is sent: so it is one,
whichever hosts look at the same moment. Who sends claims a delivery first, and notes after that it was sent: two do
not send at once, and what a crash interrupted is sent when the claim has run out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.own_reports import Due
from outlay.budgets.alerts import Delivery, Message, put_off
from outlay.clock import MICROSECONDS_PER_SECOND, Clock, Instant, Window
from outlay.errors import OutlayError
from outlay.ledger.store import LedgerStore

DISPATCH: Final = "report_dispatch"
SEEN: Final = "report_seen"
CLAIM_SPAN: Final = 120 * MICROSECONDS_PER_SECOND
"""For how long nobody else sends what one has begun to send."""

KEPT_LOOK_MAX: Final = 1_000


class Dispatch(msgspec.Struct, frozen=True, kw_only=True):
    """One report of one period, and its delivery to each recipient."""

    report: str
    label: str
    since: Instant
    until: Instant
    raised_at: Instant
    deliveries: tuple[Delivery, ...]

    @property
    def key(self) -> str:
        """What it is known by: the same report of the same period is the same."""
        return f"{self.report} {self.since}"

    @property
    def window(self) -> Window:
        """The period that it is of."""
        return Window(self.since, self.until, self.label)

    @property
    def pending(self) -> bool:
        """Whether it is still to be sent to somebody."""
        return any(one.pending for one in self.deliveries)

    @property
    def dead(self) -> bool:
        """Whether sending it was given up for somebody."""
        return any(one.dead for one in self.deliveries)


Write = Callable[[Dispatch], Message]
"""Writes the report of a dispatch."""

Send = Callable[[Message], None]
"""Sends a message to one recipient. Raises DeliveryFailed."""

_encode: Final = msgspec.json.Encoder().encode
_dispatch: Final = msgspec.json.Decoder(Dispatch).decode


class DispatchBook:
    """The dispatches that a ledger keeps."""

    def __init__(self, store: LedgerStore, clock: Clock) -> None:
        """Over a store; nothing is remembered here."""
        self._store = store
        self._clock = clock

    def first_seen(self, report: str, now: Instant) -> Instant:
        """When a host first knew the report: what was due before that was never promised to anybody."""
        self._store.put_note(SEEN, report, str(now).encode(), expects=None, at=now, live=False)
        return int(self._store.note(SEEN, report) or now)

    def add(self, report: str, due: Due, recipients: Iterable[str], now: Instant) -> Dispatch:
        """The dispatch of a report's period: kept now, or known already."""
        deliveries = tuple(Delivery(channel=name, next_at=now) for name in dict.fromkeys(recipients))
        start, end, label = due.window
        made = Dispatch(report=report, label=label, since=start, until=end, raised_at=now, deliveries=deliveries)
        self._store.put_note(DISPATCH, made.key, _encode(made), expects=None, at=now, live=made.pending)
        body = self._store.note(DISPATCH, made.key)
        return made if body is None else _dispatch(body)

    def dispatches(self, *, pending_only: bool = False) -> list[Dispatch]:
        """Dispatches, newest first."""
        return list(map(_dispatch, self._store.notes(DISPATCH, live_only=pending_only, most=KEPT_LOOK_MAX)))

    def deliver(self, dispatch: Dispatch, write: Write, sends: dict[str, Send]) -> Dispatch:
        """Send what is due of a dispatch to those whose `sends` are given; how it stands then."""
        message: Message | None = None
        for recipient, send in sends.items():
            if not self._claim(dispatch.key, recipient):
                continue
            try:
                message = message or write(dispatch)
                send(message)
            except OutlayError as error:
                # What cannot be written or sent now is tried again like any delivery, and shown when it is given up.
                self._change(dispatch.key, recipient, self._put_off(error.message))
            else:
                self._change(dispatch.key, recipient, self._marked_sent)
        body = self._store.note(DISPATCH, dispatch.key)
        return dispatch if body is None else _dispatch(body)

    def revive(self, dispatch: Dispatch) -> None:
        """Make what was sent or given up due again."""
        now = self._now()
        for one in dispatch.deliveries:
            self._change(
                dispatch.key,
                one.channel,
                lambda old: replace(old, sent_at=None, dead=False, attempts=0, next_at=now),
            )

    def _put_off(self, error: str) -> Callable[[Delivery], Delivery]:
        now = self._now()
        return lambda one: put_off(one, now, error)

    def _marked_sent(self, one: Delivery) -> Delivery:
        return replace(one, sent_at=self._now(), attempts=one.attempts + 1, error="")

    def _now(self) -> Instant:
        return self._clock.now()

    def _claim(self, key: str, recipient: str) -> bool:
        """Take one delivery for a while, if it is due and nobody else has it."""
        body = self._store.note(DISPATCH, key)
        if body is None:
            return False
        kept, now = _dispatch(body), self._now()
        if not any(one.channel == recipient and one.pending and one.next_at <= now for one in kept.deliveries):
            return False
        return self._put(body, _with(kept, recipient, lambda one: replace(one, next_at=now + CLAIM_SPAN)))

    def _change(self, key: str, recipient: str, how: Callable[[Delivery], Delivery]) -> None:
        while (body := self._store.note(DISPATCH, key)) is not None:
            if self._put(body, _with(_dispatch(body), recipient, how)):
                return

    def _put(self, before: bytes, after: Dispatch) -> bool:
        return self._store.put_note(
            DISPATCH, after.key, _encode(after), expects=before, at=after.raised_at, live=after.pending
        )


def _with(dispatch: Dispatch, recipient: str, how: Callable[[Delivery], Delivery]) -> Dispatch:
    deliveries = tuple(how(one) if one.channel == recipient else one for one in dispatch.deliveries)
    return replace(dispatch, deliveries=deliveries)
