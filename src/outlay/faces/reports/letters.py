"""A report as it is sent: as a mail with pictures, as words, or as a file that goes with few words."""

from __future__ import annotations

from typing import Final

from outlay.analytics.report import Report
from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Enclosure, Message
from outlay.errors import InvalidInput
from outlay.faces.reports.forms import csv_text, markdown

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def letter_of(report: Report, form: str) -> Message:
    """The report in a form of `[reports.<name>]`. Raises InvalidInput `bad_report`, MissingExtra for xlsx."""
    if form == "html":
        from outlay.faces.reports.mail import message

        return message(report)
    words = markdown(report)
    files: tuple[Enclosure, ...] = ()
    if form == "csv":
        files = (Enclosure(name=f"{_file(report)}.csv", kind="text/csv", body=csv_text(report).encode()),)
    elif form == "xlsx":
        from outlay.faces.reports.workbook import xlsx

        files = (Enclosure(name=f"{_file(report)}.xlsx", kind=XLSX, body=xlsx(report)),)
    elif form != "markdown":
        raise InvalidInput(f"form {form[:20]!r} is not known", code="bad_report", field="form")
    return Message(title=report.title, body=words, severity=Severity.INFO, files=files)


def _file(report: Report) -> str:
    kept = "".join(letter if letter.isalnum() else "-" for letter in report.title)
    return "-".join(part for part in kept.split("-") if part)[:80] or "report"
