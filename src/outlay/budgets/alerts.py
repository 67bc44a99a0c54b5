"""An alert and what becomes of it: raised, sent or tried again, acknowledged, snoozed, resolved. Pure.

Whether it was sent is kept beside it, so that a crash between deciding and sending loses nothing: who watches next
sends what is still due.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.budgets.alert_rules import Severity
from outlay.clock import DAY_MICROSECONDS, MICROSECONDS_PER_SECOND, Instant, isoformat
from outlay.money import pico_to_decimal

ATTEMPTS_MAX: Final = 8
"""After so many failures a delivery is dead: about 20 minutes of trying."""

BACKOFF_FIRST: Final = 5 * MICROSECONDS_PER_SECOND
STORM: Final = 5
"""More alerts than this for one channel at once go as one message."""

STORM_LINES: Final = 20
LATE: Final = DAY_MICROSECONDS
"""What a window that ended longer ago crossed is kept, but not sent: it is no news."""


class AlertState(StrEnum):
    """Whether what was told still holds."""

    OPEN = "open"
    RESOLVED = "resolved"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message to one channel: sent, or due at `next_at`, or dead after too many failures."""

    channel: str
    next_at: Instant
    attempts: int = 0
    sent_at: Instant | None = None
    dead: bool = False
    error: str = ""

    @property
    def pending(self) -> bool:
        """Whether it is still to be sent."""
        return self.sent_at is None and not self.dead


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What crossed which rule, when, and what has become of it. Amounts are in 10⁻¹² of `unit`.

    One rule, subject, window and mark make one alert (`id`), however often they are decided. `until` is when its
    window ends, None for what has none. `each` is what the subject is, where accounts are kept by it: a user, say.
    """

    id: str
    rule: str
    kind: str
    severity: Severity
    title: str
    amount: int
    threshold: int
    unit: str
    since: Instant
    raised_at: Instant
    until: Instant | None = None
    subject: str = ""
    each: str = ""
    window: str = ""
    what: str = ""
    causes: tuple[str, ...] = ()
    link: str = ""
    state: AlertState = AlertState.OPEN
    resolved_at: Instant | None = None
    acknowledged_at: Instant | None = None
    acknowledged_by: str = ""
    owner: str = ""
    deliveries: tuple[Delivery, ...] = ()

    @property
    def pending(self) -> bool:
        """Whether it is still to be sent to some channel."""
        return any(one.pending for one in self.deliveries)

    @property
    def dead(self) -> bool:
        """Whether sending it was given up for some channel."""
        return any(one.dead for one in self.deliveries)


class Enclosure(msgspec.Struct, frozen=True, kw_only=True):
    """A file that goes with a message. One with a `cid` is a picture that the message's HTML shows as `cid:<cid>`."""

    name: str
    kind: str
    body: bytes
    cid: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What goes to a channel: words for people, and the alerts as plain values for programs.

    A report has `html`, for channels that show it, and files. `key` names what is told: a message that is sent again
    after a crash bears the same.
    """

    title: str
    body: str
    severity: Severity
    alerts: tuple[dict[str, Any], ...] = ()
    html: str = ""
    files: tuple[Enclosure, ...] = ()
    key: str = ""


def alert_id(*parts: str) -> str:
    """The id of what is told once: the same parts give the same id on every host."""
    return blake2b("\x00".join(parts).encode(), digest_size=10).hexdigest()


def for_channels(alert: Alert, channels: Iterable[str], now: Instant, snoozed_until: Instant | None = None) -> Alert:
    """The alert, due to each channel: now, after a snooze, or not at all where its window is long over."""
    if alert.until is not None and alert.until + LATE < now:
        return replace(alert, state=AlertState.RESOLVED, resolved_at=now)
    at = max(now, snoozed_until or now)
    return replace(alert, deliveries=tuple(Delivery(channel=name, next_at=at) for name in sorted(set(channels))))


def due(alert: Alert, channel: str, now: Instant) -> bool:
    """Whether the alert is to be sent to a channel now."""
    return any(one.channel == channel and one.pending and one.next_at <= now for one in alert.deliveries)


def sent(alert: Alert, channel: str, now: Instant) -> Alert:
    """The alert, told to a channel."""
    return _with(alert, channel, lambda one: replace(one, sent_at=now, attempts=one.attempts + 1, error=""))


def failed(alert: Alert, channel: str, now: Instant, error: str) -> Alert:
    """The alert, to be tried again later and later, or given up for a channel."""

    return _with(alert, channel, lambda one: put_off(one, now, error))


def put_off(one: Delivery, now: Instant, error: str) -> Delivery:
    """A delivery that failed: due again later and later, or given up."""
    attempts = one.attempts + 1
    wait = BACKOFF_FIRST << (attempts - 1)
    return replace(one, attempts=attempts, next_at=now + wait, dead=attempts >= ATTEMPTS_MAX, error=error)


def revived(alert: Alert, now: Instant) -> Alert:
    """The alert, with every dead delivery due again."""
    deliveries = tuple(
        replace(one, dead=False, attempts=0, next_at=now) if one.dead else one for one in alert.deliveries
    )
    return replace(alert, deliveries=deliveries)


def _with(alert: Alert, channel: str, change: Any) -> Alert:
    deliveries = tuple(change(one) if one.channel == channel and one.pending else one for one in alert.deliveries)
    return replace(alert, deliveries=deliveries)


def acknowledged(alert: Alert, who: str, now: Instant) -> Alert:
    """The alert, seen by a person; the first one counts."""
    if alert.acknowledged_at is not None:
        return alert
    return replace(alert, acknowledged_at=now, acknowledged_by=who)


def resolved(alert: Alert, now: Instant) -> Alert:
    """The alert, over."""
    if alert.state is AlertState.RESOLVED:
        return alert
    return replace(alert, state=AlertState.RESOLVED, resolved_at=now)


def message(alerts: Sequence[Alert]) -> Message:
    """One message for one alert, or for a storm of them, the worst first."""
    order = list(Severity)
    ranked = sorted(alerts, key=lambda one: (-order.index(one.severity), one.raised_at, one.id))
    worst = ranked[0]
    told = tuple(map(as_dict, ranked))
    if len(ranked) == 1:
        return Message(title=worst.title, body="\n".join(_lines(worst)), severity=worst.severity, alerts=told)
    lines = [f"- [{one.severity}] {one.title}" for one in ranked[:STORM_LINES]]
    if len(ranked) > STORM_LINES:
        lines.append(f"- and {len(ranked) - STORM_LINES} more: outlay alerts")
    if worst.link:
        lines.append(worst.link)
    title = f"{len(ranked)} alerts, the worst: {worst.title}"
    return Message(title=title, body="\n".join(lines), severity=worst.severity, alerts=told)


def _lines(alert: Alert) -> list[str]:
    lines = [f"Since {isoformat(alert.since)}."]
    if alert.causes:
        lines.append("Most of it: " + "; ".join(alert.causes) + ".")
    if alert.owner:
        lines.append(f"Owner: {alert.owner}.")
    if alert.link:
        lines.append(alert.link)
    return lines


def as_dict(alert: Alert) -> dict[str, Any]:
    """The alert as plain values: amounts as exact decimal text, times ISO 8601."""
    times = {
        name: None if getattr(alert, name) is None else isoformat(getattr(alert, name))
        for name in ("since", "until", "raised_at", "resolved_at", "acknowledged_at")
    }
    return {
        **{name: str(getattr(alert, name)) for name in ("id", "rule", "kind", "severity", "title", "state")},
        **{name: getattr(alert, name) for name in ("subject", "each", "window", "what", "unit", "link", "owner")},
        "amount": format(pico_to_decimal(alert.amount), "f"),
        "threshold": format(pico_to_decimal(alert.threshold), "f"),
        **times,
        "acknowledged_by": alert.acknowledged_by,
        "causes": list(alert.causes),
        "deliveries": [
            {"channel": one.channel, "sent": one.sent_at is not None, "dead": one.dead, "attempts": one.attempts}
            for one in alert.deliveries
        ],
    }
