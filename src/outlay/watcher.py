"""The one who watches a ledger: finds what there is to tell, keeps it, and sees that it is sent.

Of all hosts of a ledger the holder of the lease does it. What was found is kept as a note before anything is sent,
and what was sent is noted after it was: a crash in between sends again, and nothing is ever lost. How to send is
passed in.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from traceback import extract_tb
from typing import Final

import msgspec

from outlay import watching
from outlay.budgets.alert_rules import AlertRule, RuleKind
from outlay.budgets.alerts import (
    STORM,
    Alert,
    AlertState,
    Message,
    due,
    failed,
    for_channels,
    message,
    resolved,
    sent,
)
from outlay.clock import MICROSECONDS_PER_SECOND, Clock, Instant
from outlay.errors import DeliveryFailed, OutlayError
from outlay.ledger.store import EntryFilter, LedgerStore
from outlay.watching import RuleBook

LEASE: Final = "watcher"
LEASE_SPAN: Final = 60 * MICROSECONDS_PER_SECOND
ROUND_SECONDS: Final = 0.25
TIMED_SPAN: Final = 30 * MICROSECONDS_PER_SECOND
GAP_SPAN: Final = 60 * MICROSECONDS_PER_SECOND
"""A number that is missing for so long was never written: its transaction was undone."""

LOOK_MAX: Final = 5_000
FOLD_MAX: Final = 20_000
KEPT_LOOK_MAX: Final = 10_000
RULES_MAX: Final = 1_000_000
"""No rule goes unwatched because there are many."""

RULE: Final = "alert_rule"
ALERT: Final = "alert"
SNOOZE: Final = "alert_snooze"
_PLACE: Final = "watched_to"

NOTICE_SPAN: Final = 600 * MICROSECONDS_PER_SECOND
"""What takes analysis is looked for so often: forecasts, anomalies, bills, prices."""

Send = Callable[[Message], None]
"""Sends a message to one channel. Raises DeliveryFailed."""


class Noticed(msgspec.Struct, frozen=True):
    """What analysis found to tell, and the ids of alerts whose reason is over."""

    alerts: tuple[Alert, ...] = ()
    over: frozenset[str] = frozenset()


Notice = Callable[[RuleBook, Instant, Sequence[Alert]], Noticed]
"""Finds what takes analysis, given the alerts that held so far."""

logger: Final = logging.getLogger("outlay.watcher")
_encode: Final = msgspec.json.Encoder().encode
_rule: Final = msgspec.json.Decoder(AlertRule).decode
_alert: Final = msgspec.json.Decoder(Alert).decode


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did. Not `leading`: another host holds the lease, and nothing was done."""

    leading: bool = False
    raised: int = 0
    sent: int = 0
    failed: int = 0
    pending: int = 0
    open: int = 0


class AlertBook:
    """The rules and alerts that a ledger keeps."""

    def __init__(self, store: LedgerStore) -> None:
        """Over a store; nothing is remembered here."""
        self.store = store

    def rules(self) -> list[AlertRule]:
        """The rules in force, by name."""
        return sorted(map(_rule, self.store.notes(RULE, live_only=True, most=RULES_MAX)), key=lambda rule: rule.name)

    def put_rule(self, rule: AlertRule, now: Instant, *, live: bool = True) -> None:
        """Keep a rule, or (not `live`) take it out of force."""
        while not self.store.put_note(
            RULE, rule.name, _encode(rule), expects=self.store.note(RULE, rule.name), at=now, live=live
        ):
            continue

    def alerts(self, *, pending_only: bool = False, most: int = KEPT_LOOK_MAX) -> list[Alert]:
        """Alerts, newest first."""
        return list(map(_alert, self.store.notes(ALERT, live_only=pending_only, most=most)))

    def alert(self, id: str) -> Alert | None:
        """An alert by its id."""
        body = self.store.note(ALERT, id)
        return None if body is None else _alert(body)

    def add(self, alert: Alert) -> bool:
        """Keep a new alert; False where it is kept already."""
        return self.store.put_note(
            ALERT, alert.id, _encode(alert), expects=None, at=alert.raised_at, live=alert.pending
        )

    def change(self, id: str, how: Callable[[Alert], Alert]) -> Alert | None:
        """Change what is kept of an alert, whoever else does at the same time; None where there is none."""
        while True:
            body = self.store.note(ALERT, id)
            if body is None:
                return None
            after = how(_alert(body))
            if self.store.put_note(ALERT, id, _encode(after), expects=body, at=after.raised_at, live=after.pending):
                return after

    def snooze(self, rule: str, until: Instant, now: Instant) -> None:
        """Send nothing more of a rule before `until`."""
        while not self.store.put_note(
            SNOOZE, rule, _encode((rule, until)), expects=self.store.note(SNOOZE, rule), at=now, live=True
        ):
            continue

    def snoozed(self) -> dict[str, Instant]:
        """Until when which rules are silent."""
        return dict(
            msgspec.json.decode(body, type=tuple[str, int]) for body in self.store.notes(SNOOZE, most=RULES_MAX)
        )

    def place(self, name: str) -> int | None:
        """How far the watcher has read."""
        body = self.store.note(_PLACE, name)
        return None if body is None else int(body)

    def put_place(self, name: str, place: int, before: int | None, now: Instant) -> None:
        """Remember how far; whoever took the lease meanwhile knows better."""
        expects = None if before is None else str(before).encode()
        self.store.put_note(_PLACE, name, str(place).encode(), expects=expects, at=now, live=False)


class Watcher:
    """Watches one ledger. `channels` are where alerts go, by name; `link` stands in every alert.

    `jobs`, which may send too, are done by the holder of the lease whenever it looks at what only time shows;
    `notice` finds what takes analysis, and is asked every NOTICE_SPAN.
    """

    def __init__(
        self,
        store: LedgerStore,
        clock: Clock,
        channels: Mapping[str, Send],
        *,
        link: str = "",
        jobs: Sequence[Callable[[Instant], None]] = (),
        notice: Notice | None = None,
    ) -> None:
        """Nothing runs until `round` or `start`."""
        self.book = AlertBook(store)
        self.channels = dict(channels)
        # A channel to the subjects themselves is for rules that name it.
        self._for_all = tuple(name for name, send in channels.items() if not getattr(send, "asked_only", False))
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{os.urandom(4).hex()}"
        self._store = store
        self._clock = clock
        self._link = link
        self._jobs = tuple(jobs)
        self._notice = notice
        self._noticed_at: Instant | None = None
        self._aside: ThreadPoolExecutor | None = None
        self._taking_long: Future[None] | None = None
        self._until: Instant = 0
        self._timed_at: Instant | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def round(self, *, timed: bool = False, send: bool = True) -> Round:
        """Look once, and send what is due. With `timed` also at what only time shows, which is else due by itself.

        Without `send` what is found is kept for the next round.
        """
        now = self._clock.now()
        if not self._leads(now):
            return Round()
        # What stands in the rollups need not be read again to say what most of it went to.
        self._store.fold(FOLD_MAX)
        rules = RuleBook(self._store, self.book.rules(), self._link)
        raised = self._read_outbox(rules, now) + self._read_entries(rules, now)
        still_open = 0
        if timed or self._timed_at is None or now - self._timed_at >= TIMED_SPAN:
            self._timed_at = now
            raised += self._look_at_time(rules, now)
            raised += self._look_aside(rules, now, noticing=timed or self._notice_is_due(now), send=send)
            still_open = len(self._open_alerts())
        delivered, undelivered = self._deliver() if send else (0, 0)
        pending = len(self.book.alerts(pending_only=True))
        return Round(
            leading=True, raised=raised, sent=delivered, failed=undelivered, pending=pending, open=still_open
        )

    def start(self) -> Watcher:
        """Watch on a thread of its own until `stop`."""
        if self._thread is None:
            self._aside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outlay-watcher-aside")
            self._thread = threading.Thread(target=self._run, name="outlay-watcher", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread, if there is one, and give the lease up."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._aside is not None:
            self._aside.shutdown()
            self._aside = None
        if self._until:
            self._store.release_lease(LEASE, self.holder)
            self._until = 0

    def __enter__(self) -> Watcher:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Inner

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            self._guarded(self.round)

    def _guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OutlayError as error:
            logger.warning("watching failed; it is tried again [%s]", error.code)
        except Exception as error:  # noqa: BLE001 - the lease loop must outlive what nobody foresaw
            # Whatever nobody foresaw must not end the watch in silence. Only its kind and place are told: its text
            # may hold a channel's secret.
            place = extract_tb(error.__traceback__)[-1]
            logger.error(  # noqa: TRY400 - a traceback would tell the text
                "watching failed with %s at %s:%s; it is tried again",
                type(error).__name__,
                place.filename,
                place.lineno,
            )

    def _leads(self, now: Instant) -> bool:
        if now < self._until - LEASE_SPAN // 2:
            return True
        took = self._store.take_lease(LEASE, self.holder, now, now + LEASE_SPAN)
        self._until = now + LEASE_SPAN if took else 0
        return took

    def _raise(self, alerts: Iterable[Alert], rules: RuleBook, now: Instant) -> int:
        """Keep new alerts, due to their channels; how many were new."""
        snoozed: dict[str, Instant] | None = None
        raised = 0
        for alert in alerts:
            snoozed = self.book.snoozed() if snoozed is None else snoozed
            rule = rules.rules.get(alert.rule)
            names = rule.channels if rule is not None and rule.channels else self._for_all
            raised += self.book.add(for_channels(alert, names, now, snoozed.get(alert.rule)))
        return raised

    def _read_outbox(self, rules: RuleBook, now: Instant) -> int:
        before = self.book.place("outbox")
        rows = self._store.outbox(before or 0)[:LOOK_MAX]
        if not rows:
            return 0
        # In a storm the first few say what most of it went to.
        alerts = [watching.from_outbox(rules, row, now, causes=at < STORM) for at, row in enumerate(rows)]
        raised = self._raise([alert for alert in alerts if alert is not None], rules, now)
        place = reached([(row.number, row.at) for row in rows], before or 0, now)
        if place != before:
            self.book.put_place("outbox", place, before, now)
        return raised

    def _read_entries(self, rules: RuleBook, now: Instant) -> int:
        if not rules.of_kinds(RuleKind.EVENT, RuleKind.UNPRICED):
            return 0
        before = self.book.place("entries")
        if before is None:
            newest = next(iter(self._store.entries(EntryFilter(newest_first=True, live_only=False), 1)), None)
            self.book.put_place("entries", newest.seq if newest else 0, None, now)
            return 0
        chosen = EntryFilter(live_only=False, after=before)
        entries = list(islice(self._store.entries(chosen, LOOK_MAX), LOOK_MAX))
        if not entries:
            return 0
        raised = self._raise(watching.from_entries(rules, entries, now), rules, now)
        place = reached([(entry.seq, entry.recorded_at) for entry in entries], before, now)
        if place != before:
            self.book.put_place("entries", place, before, now)
        return raised

    def _look_at_time(self, rules: RuleBook, now: Instant) -> int:
        """Raise and resolve what only time shows; how many were raised."""
        still_open = self._open_alerts()
        lasting = {alert.rule for alert in still_open if alert.until is None}
        holds = watching.by_time(rules, now)
        fresh = [
            alert
            for name, alert in holds.items()
            if alert is not None and (alert.until is not None or name not in lasting)
        ]
        raised = self._raise(fresh, rules, now)
        over = [
            alert.id
            for alert in still_open
            if (alert.until is not None and alert.until <= now)
            or (alert.until is None and alert.rule in holds and holds[alert.rule] is None)
        ]
        self._resolve(over, now)
        return raised

    def _look_aside(self, rules: RuleBook, now: Instant, *, noticing: bool, send: bool) -> int:
        """Do what takes long; how many alerts were raised by it.

        A thread of its own does it while the watcher runs on one: a mark that is crossed meanwhile is told at once.
        """
        if self._aside is None:
            return self._take_long(rules, now, noticing, send)
        if self._taking_long is None or self._taking_long.done():
            self._taking_long = self._aside.submit(self._guarded, lambda: self._take_long(rules, now, noticing, send))
        return 0

    def _take_long(self, rules: RuleBook, now: Instant, noticing: bool, send: bool) -> int:
        for job in self._jobs if send else ():
            job(now)
        if not noticing or self._notice is None:
            return 0
        self._noticed_at = now
        noticed = self._notice(rules, now, self._open_alerts())
        self._resolve(noticed.over, now)
        return self._raise(noticed.alerts, rules, now)

    def _notice_is_due(self, now: Instant) -> bool:
        return self._noticed_at is None or now - self._noticed_at >= NOTICE_SPAN

    def _open_alerts(self) -> list[Alert]:
        return [alert for alert in self.book.alerts() if alert.state is AlertState.OPEN]

    def _resolve(self, ids: Iterable[str], now: Instant) -> None:
        for id in ids:
            self.book.change(id, lambda one: resolved(one, now))

    def _deliver(self) -> tuple[int, int]:
        """Send what is due, all channels at once; how many alerts were sent, and how many failed."""
        now = self._clock.now()
        waiting = self.book.alerts(pending_only=True)
        batches = [
            (name, batch)
            for name in self.channels
            for batch in grouped([alert for alert in waiting if due(alert, name, now)])
        ]
        if not batches:
            return 0, 0
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="outlay-send") as pool:
            errors = list(pool.map(lambda one: self._send(*one), batches))
        delivered = undelivered = 0
        for (name, batch), error in zip(batches, errors, strict=True):
            for alert in batch:
                self._note(alert.id, name, error)
            delivered += 0 if error else len(batch)
            undelivered += len(batch) if error else 0
        return delivered, undelivered

    def _send(self, name: str, batch: Sequence[Alert]) -> str:
        try:
            self.channels[name](message(batch))
        except DeliveryFailed as error:
            return error.message
        return ""

    def _note(self, id: str, channel: str, error: str) -> None:
        now = self._clock.now()

        def told(alert: Alert) -> Alert:
            return failed(alert, channel, now, error) if error else sent(alert, channel, now)

        self.book.change(id, told)


def grouped(alerts: Sequence[Alert]) -> list[list[Alert]]:
    """Alerts as they go out: one by one, or in a storm all together."""
    if len(alerts) > STORM:
        return [list(alerts)]
    return [[alert] for alert in alerts]


def reached(numbers: Iterable[tuple[int, Instant]], before: int, now: Instant) -> int:
    """How far the watcher has read: up to the first number that is missing and may still be on its way.

    Numbers are given before their transactions are written, so a smaller one may appear after a greater one.
    """
    place = before
    for number, at in numbers:
        if number != place + 1 and at > now - GAP_SPAN:
            break
        place = number
    return place
