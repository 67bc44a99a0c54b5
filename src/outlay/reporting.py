"""The reporting half of a ledger: the report of a day, a week, a month or any span."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.alerting import LedgerAlerts
from outlay.analytics import report as pure
from outlay.analytics.report import BudgetLine, Report, Section
from outlay.analytics.service_budgets import Scope, services
from outlay.arguments import When, Where, read_date, read_text
from outlay.budgets.alert_rules import PREFIX
from outlay.budgets.limits import BudgetIndex
from outlay.budgets.terms import Budget
from outlay.clock import Instant, Window, WindowName, day_to_date, local_day, to_datetime, window_of
from outlay.errors import InvalidInput, NotFound
from outlay.model import CostTable
from outlay.money import Money
from outlay.watcher import AlertBook

PERIODS: Final[dict[str, tuple[WindowName, str]]] = {
    "day": ("day", "Daily"),
    "week": ("week", "Weekly"),
    "month": ("month", "Monthly"),
}
NOTE: Final = "day_note"
NOTED: Final = {"day": NOTE, "job": "job_note", "anomaly": "anomaly_note"}
"""What words may be attached to, and the kind of note under which they are kept."""

NOTES_MAX: Final = 100_000
BY: Final = ("provider", "provider,service", "feature", "user", "job")
_TITLES: Final = {"provider,service": "By service"}


class LedgerReports(LedgerAlerts):
    """What a ledger reports."""

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
        """What the last whole day, week or month cost (with `running` the present one), or [since, until).

        `by` are the tables wanted, each of one or more dimensions with commas. The figures are those of `costs`.
        Raises InvalidInput `unknown_period`, `unknown_dimension`, `time_reversed`.
        """
        zone = zone or self.store.home_zone
        said, window, before = self._windows(period, running, since, until, zone)
        return self._composed(
            window, before, where=where, by=by, zone=zone, title=title or f"{said} Cost Report - {window.label}"
        )

    def note_day(self, day: date | str, text: str) -> None:
        """Attach words to a day: reports show them. The last word counts."""
        self._note("day", read_date(day).isoformat(), text)

    def note_job(self, job: str, text: str) -> None:
        """Attach words to a job: reports and the job itself show them. Raises NotFound `no_such_job`."""
        name = read_text(job, "job")
        if not self.costs((), where={"job": name}).table.total.events:
            raise NotFound(f"no call is recorded for job {name!r}", code="no_such_job")
        self._note("job", name, text)

    def note_anomaly(self, id: str, text: str, *, zone: str | None = None) -> None:
        """Attach words to an anomaly, without a verdict on it: reports and anomalies show them. `zone` is that in
        which anomalies were asked. Raises NotFound `no_such_anomaly`.
        """
        name = read_text(id, "id")
        if self._episode(name, zone or self.store.home_zone) is None:
            raise NotFound(f"no anomaly {name[:60]!r} is known; outlay anomalies lists them", code="no_such_anomaly")
        self._note("anomaly", name, text)

    def notes(self, on: str = "day", name: str | None = None) -> dict[str, str]:
        """What people said of a `day`, `job` or `anomaly`, or of the one of that name; the latest said first.

        Raises InvalidInput `bad_choice`.
        """
        if name is not None:
            body = self.store.note(checked_noted(on), read_text(name, on))
            return {} if body is None else dict([_noted(on, body)])
        return dict(_noted(on, body) for body in self.store.notes(checked_noted(on), most=NOTES_MAX))

    # Inner

    def _note(self, on: str, name: str, text: str) -> None:
        said = read_text(text, "text")
        # Days came first, and are kept as "2026-11-22 words".
        body = f"{name} {said}".encode() if on == "day" else msgspec.json.encode((name, said))
        kind, at = NOTED[on], self.clock.now()
        while not self.store.put_note(kind, name, body, expects=self.store.note(kind, name), at=at, live=False):
            continue

    def _composed(
        self, window: Window, before: Window, *, where: Where, by: tuple[str, ...], zone: str, title: str
    ) -> Report:
        """The report of a window, against the one before."""
        now = self.clock.now()

        def tables(*names: str) -> tuple[CostTable, CostTable]:
            present = self.costs(names, where=where, since=window.start, until=window.end, zone=zone).table
            past = self.costs(names, where=where, since=before.start, until=before.end, zone=zone).table
            return present, past

        total, past = tables()
        sections = [pure.summary(total, past, before.label)]
        if window.start <= now < window.end:
            sections.append(self._ahead(total, window, where, zone, now))
        if not where:
            sections += self._budget_sections(window, now)
            sections += self._service_sections(tables, window)
        for dimensions in by:
            names = tuple(one.strip() for one in dimensions.split(","))
            heading = _TITLES.get(dimensions, f"By {' and '.join(names)}")
            found = pure.groups(dimensions, heading, *tables(*names))
            sections.append(self._with_notes_of_jobs(found) if names == ("job",) and not where else found)
        if local_day(window.end - 1, zone) > local_day(window.start, zone):
            sections.append(self._daily(tables("day", "provider")[0], window, zone, whole=not where))
        begun = window.start < now
        if begun and (unusual := self.anomalies(since=window.start, until=window.end, where=where, zone=zone)):
            said = {} if where else self.notes("anomaly")
            told = pure.anomalies(unusual, zone, self.currency)
            sections.append(pure.with_notes(told, [said.get(one.id, "") for one in unusual[: len(told.rows)]]))
        if not where:
            sections += self._alert_sections(window, zone)
        return Report(
            title=title,
            label=window.label,
            since=window.start,
            until=window.end,
            zone=zone,
            whole=window.end <= now,
            total=Money(total.total.amount, self.currency),
            sections=tuple(sections),
        )

    def _ahead(self, total: CostTable, window: Window, where: Where, zone: str, now: Instant) -> Section:
        """What a period that still runs will come to: forecast where it is one of the calendar."""
        days = local_day(window.end - 1, zone) - local_day(window.start, zone) + 1
        left = local_day(window.end - 1, zone) - local_day(now, zone)
        found = None
        for name, _ in PERIODS.values():
            if window == window_of(now, name, zone):
                found = self.forecast(name, where=where, zone=zone).total
        return pure.ahead(total.total.amount, window, now, (days, left), self.currency, found)

    def _windows(self, period: str, running: bool, since: When, until: When, zone: str) -> tuple[str, Window, Window]:
        """What the period is called, itself, and the one before it."""
        checked_period(period)
        if since is not None:
            return ("Own", *self._span(since, until, zone))
        name, said = PERIODS[period]
        return (said, *_periods(self.clock.now(), name, zone, running))

    def _span(self, since: When, until: When, zone: str) -> tuple[Window, Window]:
        start = self._instant(since)
        end = self.clock.now() if until is None else self._instant(until)
        if start is None or end is None or start >= end:
            raise InvalidInput("since does not lie before until", code="time_reversed", field="since")
        label = f"{_day(start, zone)} to {_day(end - 1, zone)}"
        before = start - (end - start)
        return Window(start, end, label), Window(before, start, f"{_day(before, zone)} to {_day(start - 1, zone)}")

    def _budget_sections(self, window: Window, now: Instant) -> list[Section]:
        at = min(now, window.end - 1)
        index: BudgetIndex = self.reserver.refresh()
        lines = []
        for name, budget in sorted(index.budgets.items()):
            if budget.each is not None or budget.meter is not None or name.startswith(PREFIX):
                continue
            limits = index.standing(budget, "", at, self.store.tier)
            accounts = self.store.accounts(limits)
            for limit in limits:
                account = accounts[limit.key]
                if limit.window.end <= now:
                    # Of a budget that was set, or changed its scope, after its window no account knows the past.
                    account = replace(account, spent=self._cost_within(budget, limit.window))
                lines.append(
                    BudgetLine(
                        name=name,
                        window=limit.key.window,
                        limit=limit.amount,
                        spent=account.spent,
                        projected=self._projected_at_end(budget, limit, account, now),
                    )
                )
        return [pure.budgets(lines, self.currency)] if lines else []

    def _cost_within(self, budget: Budget, window: Window) -> int:
        """What a budget's calls cost in a window that is over."""
        since, until = window.start, window.end
        return self.costs((), where=dict(budget.where), since=since, until=until, zone=budget.zone).table.total.amount

    def _service_sections(self, tables: Callable[..., tuple[CostTable, CostTable]], window: Window) -> list[Section]:
        """Services against budgets of the very window that are of one service or provider, where there are such."""
        index: BudgetIndex = self.reserver.refresh()
        limits: dict[Scope, int] = {}
        for name, budget in index.budgets.items():
            scope = _scope(budget)
            if scope is None or name.startswith(PREFIX):
                continue
            for limit in index.standing(budget, "", window.start, self.store.tier):
                if limit.window == window:
                    limits[scope] = min(limit.amount, limits.get(scope, limit.amount))
        return [services(tables("provider", "service")[0], limits)] if any(limits) else []

    def _with_notes_of_jobs(self, section: Section) -> Section:
        said = self.notes("job")
        return pure.with_notes(section, [said.get(str(row[0]), "") for row in section.rows])

    def _daily(self, table: CostTable, window: Window, zone: str, *, whole: bool) -> Section:
        """Day by day. What was finished and noted is of the whole ledger, so no part of a filtered report."""
        if not whole:
            return pure.daily(table, {}, {})
        finished: dict[str, int] = {}
        for outcome in self.store.job_outcomes().values():
            if window.start <= outcome.recorded_at < window.end:
                day = _day(outcome.recorded_at, zone)
                finished[day] = finished.get(day, 0) + outcome.units
        first, last = _day(window.start, zone), _day(window.end - 1, zone)
        notes = {day: text for day, text in self.notes("day").items() if first <= day <= last}
        return pure.daily(table, finished, notes)

    def _alert_sections(self, window: Window, zone: str) -> list[Section]:
        found = [one for one in AlertBook(self.store).alerts() if window.start <= one.raised_at < window.end]
        rows = tuple(
            (f"{to_datetime(one.raised_at, zone):%Y-%m-%d %H:%M}", one.severity.value, one.title) for one in found
        )
        columns = ("Raised", "Severity", "What")
        return [Section(name="alerts", title="Alerts", columns=columns, rows=rows, texts=3)] if rows else []


def checked_noted(on: str) -> str:
    """The kind of note in which words about a day, job or anomaly are kept. Raises InvalidInput `bad_choice`."""
    if on not in NOTED:
        raise InvalidInput(f"notes are on {', '.join(NOTED)}, not {str(on)[:40]!r}", code="bad_choice", field="on")
    return NOTED[on]


def checked_period(period: str) -> str:
    """A period's name. Raises InvalidInput `unknown_period`."""
    if period not in PERIODS:
        raise InvalidInput(f"period {str(period)[:40]!r} is none of {', '.join(PERIODS)}", code="unknown_period")
    return period


def _periods(now: Instant, name: WindowName, zone: str, running: bool) -> tuple[Window, Window]:
    """The period meant, and the one before it: of a period that still runs, as far as it has run by now."""
    present = window_of(now, name, zone)
    if not running:
        meant = window_of(present.start - 1, name, zone)
        return meant, window_of(meant.start - 1, name, zone)
    past = window_of(present.start - 1, name, zone)
    so_far = min(past.start + now - present.start, past.end)
    return present, Window(past.start, max(so_far, past.start + 1), f"{past.label} as far")


def _noted(on: str, body: bytes) -> tuple[str, str]:
    """Of what, and what was said."""
    if on == "day":
        day, _, text = body.decode().partition(" ")
        return day, text
    return msgspec.json.decode(body, type=tuple[str, str])


def _day(instant: Instant, zone: str) -> str:
    return day_to_date(local_day(instant, zone)).isoformat()


def _scope(budget: Budget) -> Scope | None:
    """The provider, or the service of a provider, that a budget in money is of; None for one of anything else."""
    if budget.each is not None or budget.meter is not None or not set(budget.where) <= {"provider", "service"}:
        return None
    named = [budget.where.get(name) for name in ("provider", "service")]
    if any(values is not None and (len(values) != 1 or values[0] is None) for values in named):
        return None
    if named[0] is None:
        return None if named[1] else ()
    return tuple(str(values[0]) for values in named if values)
