"""The watching half of a ledger behind a server: alerts, reports, forecasts, anomalies, comparisons, done there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

from msgspec.structs import replace

from outlay.alerting import Undelivered
from outlay.analysing import LedgerAnalysis, Period
from outlay.analytics.anomaly import Episode, Judgement
from outlay.analytics.comparison import Comparison
from outlay.analytics.own_reports import OwnReport
from outlay.analytics.projection import Projections
from outlay.analytics.report import Report
from outlay.answers import Costs
from outlay.arguments import When, Where, checked_dimensions, read_date, read_text, read_when, read_where
from outlay.budgets.alert_rules import AlertRule, read_rule
from outlay.budgets.alerts import Alert
from outlay.clock import Clock, Instant, WindowName, isoformat
from outlay.dispatching import Dispatch
from outlay.errors import InvalidInput
from outlay.model import CostTable
from outlay.money import Money, decimal_to_pico, pico_to_decimal
from outlay.remote_transport import Transport, not_remote
from outlay.reporting import BY, checked_noted, checked_period
from outlay.scheduling import LedgerSchedule
from outlay.watcher import KEPT_LOOK_MAX, Watcher
from outlay.wire import SentReport, received_report, sendable

_WHO = "program"
TOP_MOST: Final = 10_000
"""How many rows a server answers at once."""

Parameters = dict[str, str | list[str]]


class RemoteAlerts(LedgerSchedule):
    """What a ledger does about alerts and reports, done by its server, which sends them too."""

    transport: Transport
    clock: Clock
    _zone: str

    def alert_rule(self, name: str, *, who: str = _WHO, **fields: Any) -> AlertRule:
        """As `Ledger.alert_rule`."""
        read_rule(name, {"zone": self._zone, **fields})
        path = f"/v1/alert-rules/{_quoted(name)}"
        return self.transport.send("PUT", path, AlertRule, sendable(fields), parameters={"who": who})

    def remove_alert_rule(self, name: str, *, who: str = _WHO) -> None:
        """As `Ledger.remove_alert_rule`."""
        path = f"/v1/alert-rules/{_quoted(name)}"
        self.transport.send("DELETE", path, Any, parameters={"who": who}, repeatable=False)

    def alert_rules(self) -> list[AlertRule]:
        """As `Ledger.alert_rules`."""
        return self.transport.ask("/v1/alert-rules", list[AlertRule])

    def alerts(self, *, open_only: bool = False, rule: str | None = None, limit: int = 100) -> list[Alert]:
        """As `Ledger.alerts`."""
        told: Parameters = {"open": str(open_only).lower(), "limit": str(min(limit, KEPT_LOOK_MAX))}
        if rule is not None:
            told["rule"] = rule
        return self.transport.ask("/v1/alerts", list[Alert], told)

    def acknowledge_alert(self, id: str, *, who: str = _WHO) -> Alert:
        """As `Ledger.acknowledge_alert`."""
        return self._act(id, "acknowledge", {"who": read_text(who, "who")})

    def resolve_alert(self, id: str) -> Alert:
        """As `Ledger.resolve_alert`."""
        return self._act(id, "resolve", {})

    def own_alert(self, id: str, owner: str) -> Alert:
        """As `Ledger.own_alert`."""
        body = {"owner": read_text(owner, "owner")}
        return self.transport.send("PUT", f"/v1/alerts/{_quoted(read_text(id, 'id'))}/owner", Alert, body)

    def resend_alert(self, id: str) -> Alert:
        """As `Ledger.resend_alert`."""
        return self._act(id, "resend", {})

    def snooze_alerts(self, rule: str, *, until: When) -> Instant:
        """As `Ledger.snooze_alerts`."""
        now = self.clock.now()
        if isinstance(until, timedelta):
            end: Instant | None = now + until // timedelta(microseconds=1)
        else:
            end = read_when(until, self._zone, self.clock)
        if end is None:
            raise InvalidInput("a snooze has an end: give until", code="missing_field", field="until")
        path = f"/v1/snoozes/{_quoted(read_text(rule, 'rule'))}"
        return self.transport.send("PUT", path, int, {"until": isoformat(end)})

    def undelivered_alerts(self) -> Undelivered:
        """As `Ledger.undelivered_alerts`."""
        return self.transport.ask("/v1/undelivered-alerts", Undelivered)

    def watcher(self, channels: Mapping[str, Any] | None = None, *, link: str | None = None) -> Watcher:
        """Not from here, since the server watches: raises LedgerError `not_remote`."""
        raise not_remote("watching")

    def test_channel(self, name: str) -> None:
        """As `Ledger.test_channel`, of a channel that the server has."""
        path = f"/v1/channels/{_quoted(read_text(name, 'name'))}/test"
        self.transport.send("POST", path, Any, repeatable=False)

    def report(
        self,
        period: str = "day",
        *,
        running: bool = False,
        since: When = None,
        until: When = None,
        where: Where = None,
        by: tuple[str, ...] = BY,
        zone: str | None = None,
        title: str | None = None,
    ) -> Report:
        """As `Ledger.report`."""
        self._flush()
        told = _filter(where)
        told |= self._moments(zone, since=since, until=until)
        told |= {name: value for name, value in (("zone", zone), ("title", title)) if value is not None}
        told |= {"running": str(running).lower(), "by": list(by) or [""]}
        path = f"/v1/reports/{checked_period(period)}"
        return received_report(self.transport.ask(path, SentReport, told))

    def note_day(self, day: date | str, text: str) -> None:
        """As `Ledger.note_day`."""
        path = f"/v1/notes/{read_date(day).isoformat()}"
        self.transport.send("PUT", path, Any, {"text": read_text(text, "text")})

    def note_job(self, job: str, text: str) -> None:
        """As `Ledger.note_job`."""
        self._flush()
        path = f"/v1/notes-on/job/{_quoted(read_text(job, 'job'))}"
        self.transport.send("PUT", path, Any, {"text": read_text(text, "text")})

    def note_anomaly(self, id: str, text: str, *, zone: str | None = None) -> None:
        """As `Ledger.note_anomaly`."""
        path = f"/v1/notes-on/anomaly/{_quoted(read_text(id, 'id'))}"
        self.transport.send("PUT", path, Any, {"text": read_text(text, "text")}, parameters=_zoned(zone))

    def notes(self, on: str = "day", name: str | None = None) -> dict[str, str]:
        """As `Ledger.notes`."""
        checked_noted(on)
        told: Parameters = {} if name is None else {"name": read_text(name, on)}
        found = self.transport.ask(f"/v1/notes-on/{on}", list[dict[str, str]], told)
        return {one["name"]: one["text"] for one in found}

    def define_report(self, name: str, **fields: Any) -> OwnReport:
        """Not from here, since the server sends by its outlay.toml: raises LedgerError `not_remote`."""
        raise not_remote("defining a report that is sent")

    def own_report(self, name: str) -> Report:
        """As `Ledger.own_report`, of a report that the server's outlay.toml defines."""
        self._flush()
        return received_report(self.transport.ask(_own(name), SentReport))

    def send_report(self, name: str, *, again: bool = False) -> Dispatch:
        """As `Ledger.send_report`."""
        self._flush()
        told: Parameters = {"again": str(again).lower()}
        return self.transport.send("POST", _own(name, "/send"), Dispatch, parameters=told, repeatable=not again)

    def report_dispatches(self, *, limit: int = 100) -> list[Dispatch]:
        """As `Ledger.report_dispatches`."""
        return self.transport.ask("/v1/report-dispatches", list[Dispatch], {"limit": str(limit)})

    def _act(self, id: str, action: str, parameters: Parameters) -> Alert:
        path = f"/v1/alerts/{_quoted(read_text(id, 'id'))}/{action}"
        return self.transport.send("POST", path, Alert, parameters=parameters)

    def _moments(self, zone: str | None, **moments: When) -> Parameters:
        """Times as the server reads them, a date being its midnight in the zone asked for."""
        found = {name: read_when(value, zone or self._zone, self.clock) for name, value in moments.items()}
        return {name: isoformat(at) for name, at in found.items() if at is not None}


class RemoteAnalysis(RemoteAlerts, LedgerAnalysis):
    """What a ledger knows about who cost most, what spend will be and why it changed, worked out by its server."""

    def top(
        self,
        by: str = "job",
        *,
        limit: int = 10,
        minimum: str | Decimal | Money | None = None,
        where: Where = None,
        since: When = None,
        until: When = None,
    ) -> Costs:
        """As `Ledger.top`."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise InvalidInput(
                "limit is how many rows to give: a whole number from 0", code="bad_count", field="limit"
            )
        self._flush()
        told = {**_filter(where), **self._moments(None, since=since, until=until)}
        told |= {"by": checked_dimensions((by,), times=True)[0], "limit": str(min(max(limit, 1), TOP_MOST))}
        if minimum is not None:
            told["minimum"] = format(pico_to_decimal(decimal_to_pico(minimum)), "f")
        table = self.transport.ask("/v1/top", CostTable, told)
        return Costs(replace(table, rows=table.rows[:limit], spooled=table.spooled + self._spooled()))

    def forecast(
        self,
        window: WindowName = "month",
        *,
        by: str | Sequence[str] = (),
        where: Where = None,
        zone: str | None = None,
        limit: int = 20,
    ) -> Projections:
        """As `Ledger.forecast`."""
        self._flush()
        if window in ("hour", "5 minutes"):
            raise InvalidInput("forecast a day, week, month, quarter or year", code="unknown_window", field="window")
        told = {**_filter(where), "by": list(checked_dimensions(by, times=False)), "limit": str(limit)}
        return self.transport.ask("/v1/forecast", Projections, told | {"window": window} | _zoned(zone))

    def anomalies(
        self,
        *,
        since: When = None,
        until: When = None,
        amount: str | Decimal | int | Money = "5",
        percent: int = 20,
        need: str = "both",
        where: Where = None,
        zone: str | None = None,
        judged: bool = False,
    ) -> list[Episode]:
        """As `Ledger.anomalies`."""
        self._flush()
        told = {**_filter(where), **self._moments(zone, since=since, until=until), **_zoned(zone)}
        told |= {"amount": str(sendable(amount)), "percent": str(percent), "need": need}
        return self.transport.ask("/v1/anomalies", list[Episode], told | {"judged": str(judged).lower()})

    def judge_anomaly(
        self, id: str, verdict: str, *, why: str, who: str = _WHO, zone: str | None = None
    ) -> Judgement:
        """As `Ledger.judge_anomaly`."""
        path = f"/v1/anomalies/{_quoted(read_text(id, 'id'))}/verdict"
        body = {"verdict": verdict, "why": read_text(why, "why"), "who": who, "zone": zone}
        return self.transport.send("POST", path, Judgement, body)

    def compare(
        self,
        by: str | Sequence[str] = ("feature", "service"),
        *,
        before: Period,
        after: Period,
        where: Where = None,
        where_before: Where = None,
        where_after: Where = None,
        zone: str | None = None,
    ) -> Comparison:
        """As `Ledger.compare`."""
        self._flush()
        told = {**_filter(where), **_filter(where_before, "before"), **_filter(where_after, "after")}
        for prefix, (first, last) in (("before_", before), ("", after)):
            end = self.clock.now() if last is None else last
            told |= self._moments(zone, **{f"{prefix}since": first, f"{prefix}until": end})
            if f"{prefix}since" not in told:
                raise InvalidInput("a period to compare is (since, until), since first", code="empty_period")
        told |= _zoned(zone) | {"by": list(checked_dimensions(by, times=False)) or [""]}
        return self.transport.ask("/v1/compare", Comparison, told)


def _filter(where: Where, prefix: str = "where") -> Parameters:
    """A filter as parameters of a request; an empty value stands for events without one."""
    return {f"{prefix}.{name}": [value or "" for value in values] for name, values in read_where(where).items()}


def _own(name: str, rest: str = "") -> str:
    return f"/v1/own-reports/{_quoted(read_text(name, 'name'))}{rest}"


def _zoned(zone: str | None) -> Parameters:
    return {} if zone is None else {"zone": zone}


def _quoted(name: str) -> str:
    return quote(str(name), safe="")
