"""The alerting half of a ledger: rules, alerts and what people do about them, and the watcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.arguments import When, read_text, read_when
from outlay.budgets.alert_rules import ACCOUNTED, PREFIX, AlertRule, Severity, budget_fields, read_rule
from outlay.budgets.alerts import Alert, AlertState, Message, acknowledged, resolved, revived
from outlay.budgets.suggesting import SPANS, Suggestion, suggestion
from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.errors import InvalidInput, NotFound
from outlay.noticing import LedgerNoticing
from outlay.watcher import LEASE, AlertBook, Send, Watcher

FORGOTTEN: Final = "(forgotten)"
_WHO: Final = "program"


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided and not told: `pending` is still to be sent, `dead` was given up, `waiting` is in the outbox.

    `watched_until` is when the lease of the last watcher ends or ended, None where nobody watches.
    """

    pending: int
    dead: int
    waiting: int
    watched_until: Instant | None


class LedgerAlerts(LedgerNoticing):
    """What a ledger does about alerts."""

    channel_maker: Callable[[Mapping[str, Any]], dict[str, Send]] | None = None
    """What makes channels of their settings; `outlay` itself gives it, so that nothing here knows how to send."""

    channel_settings: Mapping[str, Any] = {}
    """Where alerts go, by name: from `[alerts.channels]` of outlay.toml, or as `watcher` is told."""

    alert_link: str = ""

    # Rules

    def alert_rule(self, name: str, *, who: str = _WHO, **fields: Any) -> AlertRule:
        """Set an alert rule; the same again changes nothing.

        Fields: kind (spend, request, event, rate, rise, failed, unpriced, silence, anomaly, drift, price), above or
        at, window, where, each, zone, marks, forecast, minutes, percent, need, severity, channels, owner: see
        docs/alerts.md. Raises InvalidInput naming the field.
        """
        rule = read_rule(name, {"zone": self.store.home_zone, **fields})
        book = AlertBook(self.store)
        if rule in book.rules():
            return rule
        if rule.kind in ACCOUNTED:
            self.budget(PREFIX + name, who=who, **budget_fields(rule))
        else:
            self._drop_budget(name, who)
        book.put_rule(rule, self.clock.now())
        return rule

    def remove_alert_rule(self, name: str, *, who: str = _WHO) -> None:
        """Take a rule out of force. Raises NotFound `no_such_rule`."""
        rule = next((one for one in self.alert_rules() if one.name == name), None)
        if rule is None:
            raise NotFound(f"no alert rule {name!r} is in the ledger", code="no_such_rule")
        self._drop_budget(name, who)
        AlertBook(self.store).put_rule(rule, self.clock.now(), live=False)

    def alert_rules(self) -> list[AlertRule]:
        """The rules in force, by name."""
        return AlertBook(self.store).rules()

    # Alerts

    def alerts(self, *, open_only: bool = False, rule: str | None = None, limit: int = 100) -> list[Alert]:
        """The newest alerts; only those that still hold, or of one rule, where asked."""
        found = AlertBook(self.store).alerts()
        chosen = [
            one
            for one in found
            if (not open_only or one.state is AlertState.OPEN) and (rule is None or one.rule == rule)
        ]
        return chosen[:limit]

    def acknowledge_alert(self, id: str, *, who: str = _WHO) -> Alert:
        """Say that a person has seen it; the first one counts. Raises NotFound `no_such_alert`."""
        now = self.clock.now()
        return self._change_alert(id, lambda one: acknowledged(one, read_text(who, "who"), now))

    def resolve_alert(self, id: str) -> Alert:
        """Say that it is over. Raises NotFound `no_such_alert`."""
        now = self.clock.now()
        return self._change_alert(id, lambda one: resolved(one, now))

    def own_alert(self, id: str, owner: str) -> Alert:
        """Say who sees to it. Raises NotFound `no_such_alert`."""
        return self._change_alert(id, lambda one: replace(one, owner=read_text(owner, "owner")))

    def resend_alert(self, id: str) -> Alert:
        """Try again where sending it was given up. Raises NotFound `no_such_alert`."""
        now = self.clock.now()
        return self._change_alert(id, lambda one: revived(one, now))

    def snooze_alerts(self, rule: str, *, until: When) -> Instant:
        """Send nothing new of a rule (or of `budget`'s marks, by the budget's name) before `until`; it is kept."""
        now = self.clock.now()
        if isinstance(until, timedelta):
            end: Instant | None = now + until // timedelta(microseconds=1)
        else:
            end = read_when(until, self.store.home_zone, self.clock)
        if end is None:
            raise InvalidInput("a snooze has an end: give until", code="missing_field", field="until")
        AlertBook(self.store).snooze(read_text(rule, "rule"), end, now)
        return end

    def undelivered_alerts(self) -> Undelivered:
        """What was decided and not told, and who watches."""
        book, now = AlertBook(self.store), self.clock.now()
        waiting = len(self.store.outbox(book.place("outbox") or 0))
        lease = self.store.lease(LEASE)
        return Undelivered(
            pending=len(book.alerts(pending_only=True)),
            dead=sum(one.dead for one in book.alerts()),
            waiting=waiting,
            watched_until=None if lease is None or lease.until <= now else lease.until,
        )

    def suggest_alerts(self, *, days: int = 90) -> list[Suggestion]:
        """What spend rules the past proposes: an amount for each window, and how often it would have fired."""
        if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 3_660:
            raise InvalidInput("days is a whole number from 1 to 3660", code="bad_days", field="days")
        now = self.clock.now()
        found = []
        for window in SPANS:
            table = self.costs((window,), since=now - days * DAY_MICROSECONDS, until=now).table
            amounts = [row.amount for row in table.rows]
            found.append(suggestion(window, amounts, SPANS[window] * days))
        return [one for one in found if one is not None]

    # Watching

    def watcher(self, channels: Mapping[str, Any] | None = None, *, link: str | None = None) -> Watcher:
        """What sends this ledger's alerts: a with block runs it on a thread, `round()` looks once.

        `channels` are settings by name as in outlay.toml (its own by default), or functions that take a Message. Of
        several watchers of one ledger the holder of a lease works. Raises InvalidInput `bad_channel`.
        """
        settings = self.channel_settings if channels is None else channels
        return Watcher(
            self.store,
            self.clock,
            self._senders(settings),
            link=self.alert_link if link is None else link,
            jobs=self._watcher_jobs(),
            notice=self._notice,
        )

    def test_channel(self, name: str) -> None:
        """Send a message that says it is a test. Raises NotFound `no_such_channel`, DeliveryFailed."""
        senders = self._senders(self.channel_settings)
        if name not in senders:
            known = ", ".join(sorted(senders)) or "none"
            raise NotFound(f"no channel {name!r} is configured ({known})", code="no_such_channel")

        senders[name](Message(title="Outlay: a test", body="This channel receives alerts.", severity=Severity.INFO))

    # Inner

    def _watcher_jobs(self) -> tuple[Callable[[Instant], None], ...]:
        return (self._keep_up,)

    def _keep_up(self, now: Instant) -> None:
        """What a watcher does beside watching: journaled events, overdue reservations."""
        self._flush()
        self.store.expire(now)

    def _senders(self, settings: Mapping[str, Any]) -> dict[str, Send]:
        given = {name: one for name, one in settings.items() if callable(one)}
        rest = {name: one for name, one in settings.items() if name not in given}
        if rest and self.channel_maker is None:
            raise InvalidInput("open this ledger by outlay.open to send alerts", code="bad_channel")
        return {**given, **(self.channel_maker(rest) if rest and self.channel_maker else {})}

    def _change_alert(self, id: str, how: Callable[[Alert], Alert]) -> Alert:
        found = AlertBook(self.store).change(read_text(id, "id"), how)
        if found is None:
            raise NotFound(f"no alert {id!r} is in the ledger", code="no_such_alert")
        return found

    def _drop_budget(self, rule: str, who: str) -> None:
        if PREFIX + rule in {one.name for one in self.store.budgets() if one.active}:
            self.remove_budget(PREFIX + rule, why="its alert rule was changed or removed", who=who)

    def _forget_in_alerts(self, name: str) -> None:
        """Take a person's or customer's name out of what was told about them."""
        self._forget_in_told(name, FORGOTTEN)
        book = AlertBook(self.store)

        def without(alert: Alert) -> Alert:
            return replace(
                alert,
                subject=FORGOTTEN if alert.subject == name else alert.subject,
                title=alert.title.replace(name, FORGOTTEN),
                causes=tuple(one.replace(name, FORGOTTEN) for one in alert.causes),
            )

        for alert in book.alerts(most=1_000_000):
            if without(alert) != alert:
                book.change(alert.id, without)
