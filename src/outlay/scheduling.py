"""The scheduling half of a ledger: reports that people defined, sent when they are due, once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from outlay.analytics.own_reports import Due, OwnReport, last_due, read_own_report, with_columns
from outlay.analytics.report import Report
from outlay.arguments import checked_dimensions, read_where
from outlay.budgets.alerts import Message
from outlay.clock import Instant, window_of
from outlay.dispatching import Dispatch, DispatchBook
from outlay.errors import InvalidInput, NotFound
from outlay.reporting import BY, PERIODS, LedgerReports
from outlay.watcher import Send

ADDRESSED: Final = "@"
"""What an address of mail has and a channel's name has not."""


class LedgerSchedule(LedgerReports):
    """What a ledger does about reports that people defined."""

    report_writer: Callable[[Report, str], Message] | None = None
    """What writes a report in a form; `outlay` itself gives it."""

    own_reports: Mapping[str, OwnReport] = {}
    """The reports that people defined, by name: from `[reports]` of outlay.toml, or by `define_report`."""

    mail_settings: Mapping[str, Any] = {}
    """The server that takes mail, from `[mail]` of outlay.toml."""

    def define_report(self, name: str, **fields: Any) -> OwnReport:
        """Define a report for this program: fields as in `[reports.<name>]` (docs/monitoring.md).

        Raises InvalidInput naming the field, `bad_channel` for a recipient that is no address and no channel.
        """
        report = read_own_report(name, fields, self.store.home_zone)
        # What cannot be asked or reached is told now, and not at eight in the morning.
        read_where(report.where)
        for dimensions in report.by:
            checked_dimensions([one.strip() for one in dimensions.split(",")], times=True)
        self._addressed(report)
        self.own_reports = {**self.own_reports, name: report}
        return report

    def own_report(self, name: str) -> Report:
        """A report that a person defined, of its last period that is due. Raises NotFound `no_such_report`."""
        report = self._defined(name)
        return self._written(report, last_due(report, self.clock.now()))

    def send_report(self, name: str, *, again: bool = False) -> Dispatch:
        """Send a defined report of its last due period to those who have not got it, however many hosts try at once.

        `again` also to those who have. Raises NotFound `no_such_report`, InvalidInput `bad_channel`.
        """
        report, book = self._defined(name), self._dispatch_book()
        now = self.clock.now()
        dispatch = book.add(name, last_due(report, now), report.recipients, now)
        if again:
            book.revive(dispatch)
        return book.deliver(dispatch, self._write, self._reaching(report))

    def report_dispatches(self, *, limit: int = 100) -> list[Dispatch]:
        """The newest reports that were sent or are to be."""
        return self._dispatch_book().dispatches()[:limit]

    # Inner

    def _watcher_jobs(self) -> tuple[Callable[[Instant], None], ...]:
        # A recipient that cannot be reached is told to who starts watching.
        senders = {name: self._reaching(report) for name, report in self.own_reports.items()}
        return (*super()._watcher_jobs(), partial(self._send_due_reports, senders))

    def _send_due_reports(self, senders: Mapping[str, dict[str, Send]], now: Instant) -> None:
        """Keep what is due as dispatches, then send what is still to be sent, of earlier periods too."""
        book = self._dispatch_book()
        for name, report in self.own_reports.items():
            due = last_due(report, now)
            if book.first_seen(name, now) <= due.at:
                book.add(name, due, report.recipients, now)
        for dispatch in book.dispatches(pending_only=True):
            if dispatch.report in senders:
                book.deliver(dispatch, self._write, senders[dispatch.report])

    def _dispatch_book(self) -> DispatchBook:
        return DispatchBook(self.store, self.clock)

    def _defined(self, name: str) -> OwnReport:
        if name not in self.own_reports:
            known = ", ".join(sorted(self.own_reports)) or "none"
            raise NotFound(f"no report {name!r} is defined ({known})", code="no_such_report")
        return self.own_reports[name]

    def _write(self, dispatch: Dispatch) -> Message:
        report = self._defined(dispatch.report)
        if self.report_writer is None:
            raise InvalidInput("open this ledger by outlay.open to send reports", code="bad_channel")
        found = self._written(report, Due(dispatch.raised_at, dispatch.window))
        return replace(self.report_writer(found, report.form), key=dispatch.key)

    def _written(self, report: OwnReport, due: Due) -> Report:
        period, said = PERIODS[report.period]
        window = due.window
        found = self._composed(
            window,
            window_of(window.start - 1, period, report.zone),
            where=report.where,
            by=report.by or BY,
            zone=report.zone,
            title=f"{report.title or f'{said} Cost Report'} - {window.label}",
        )
        return with_columns(found, report.columns)

    def _reaching(self, report: OwnReport) -> dict[str, Send]:
        """What sends to each recipient of a report."""
        return self._senders(self._addressed(report))

    def _addressed(self, report: OwnReport) -> dict[str, Any]:
        """The settings of each recipient's channel."""
        settings: dict[str, Any] = {}
        for one in report.recipients:
            if one in self.channel_settings:
                settings[one] = self.channel_settings[one]
            elif ADDRESSED in one:
                if not self.mail_settings:
                    raise InvalidInput(
                        f'report {report.name}: mail to {one} needs [mail] with smtp = "smtps://…" and from',
                        code="bad_channel",
                        field="recipients",
                    )
                settings[one] = {**self.mail_settings, "to": one}
            else:
                raise InvalidInput(
                    f"report {report.name}: {one} is no address of mail and no channel of [alerts.channels]",
                    code="bad_channel",
                    field="recipients",
                )
        return settings
