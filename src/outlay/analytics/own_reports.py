"""Reports as people define them in `outlay.toml`: of which period, what in them, when and to whom. Pure.

A report is due at one moment after its period is over, and is known by its name and its period's first instant: that
is how it is sent once, whoever sees first that it is due.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.report import Report, Section
from outlay.clock import Instant, Window, WindowName, day_to_date, local_day, to_instant, window_of, zone_info
from outlay.errors import InvalidInput

FORMS: Final = ("html", "markdown", "csv", "xlsx")
FIGURES: Final = ("Cost", "% of total", "Change", "Change %", "Calls")
"""The columns of a report's tables by group, of which a person may choose."""

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTH_DAY_MAX: Final = 28
"""A report of a month is sent on a day that every month has."""

FIELDS: Final = frozenset(("period", "by", "where", "columns", "zone", "at", "on", "recipients", "form", "title"))
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$")
_TIME: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)$")
_PERIODS: Final[Mapping[str, WindowName]] = {"day": "day", "week": "week", "month": "month"}


class OwnReport(msgspec.Struct, frozen=True, kw_only=True):
    """A report that a person defined.

    `by` are its tables, each of dimensions with commas; `columns` are those of FIGURES that they show. It is sent at
    `minute` after midnight in `zone`, on the first day after its period or, `on` it, a weekday (0 is Monday) or a day
    of the month. `recipients` are addresses of mail or names of channels.
    """

    name: str
    period: str
    zone: str
    by: tuple[str, ...] = ()
    where: dict[str, str | list[str]] = {}
    columns: tuple[str, ...] = ()
    minute: int = 8 * 60
    on: int | None = None
    recipients: tuple[str, ...] = ()
    form: str = "html"
    title: str = ""


class Due(msgspec.Struct, frozen=True):
    """Since when a report is due, and the period that it is of."""

    at: Instant
    window: Window


def read_own_report(name: str, fields: Mapping[str, Any], zone: str) -> OwnReport:
    """A report from what a person wrote; `zone` is the ledger's own. Raises InvalidInput naming report and field."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise _wrong(str(name)[:60], "name", "use up to 50 of A-Z a-z 0-9 _ . -")
    if not isinstance(fields, Mapping):
        raise _wrong(name, "name", "a report is a table of fields")
    unknown = sorted(set(fields) - FIELDS)
    if unknown:
        raise _wrong(name, unknown[0], f"is no field; use {', '.join(sorted(FIELDS))}", code="unknown_field")
    period = fields.get("period", "day")
    if period not in _PERIODS:
        raise _wrong(name, "period", f"is none of {', '.join(_PERIODS)}", code="unknown_period")
    zone = str(fields.get("zone", zone))
    zone_info(zone)
    recipients = _texts(name, "recipients", fields.get("recipients", ()))
    if not recipients:
        raise _wrong(name, "recipients", "give addresses of mail or names of channels")
    form = fields.get("form", "html")
    if form not in FORMS:
        raise _wrong(name, "form", f"is none of {', '.join(FORMS)}")
    return OwnReport(
        name=name,
        period=str(period),
        zone=zone,
        by=_texts(name, "by", fields.get("by", ())),
        where=_where(name, fields.get("where", {})),
        columns=_columns(name, fields.get("columns", ())),
        minute=_minute(name, fields.get("at", "08:00")),
        on=_on(name, str(period), fields.get("on")),
        recipients=recipients,
        form=str(form),
        title=str(fields.get("title", "")),
    )


def last_due(report: OwnReport, now: Instant) -> Due:
    """The last time that the report was due at `now`, and the period it is of then."""
    name = _PERIODS[report.period]
    window = window_of(now, name, report.zone)
    while True:
        # Of the period before this one, and if that is not due yet, of those before it.
        window = window_of(window.start - 1, name, report.zone)
        at = _moment(report, window)
        if at <= now:
            return Due(at, window)


def _moment(report: OwnReport, window: Window) -> Instant:
    """When a period's report is due: after its last day, at the minute, on the weekday or the day of the month."""
    first = day_to_date(local_day(window.end, report.zone))
    if report.on is not None and report.period == "week":
        first += timedelta(days=(report.on - first.weekday()) % 7)
    elif report.on is not None and report.period == "month":
        first = first.replace(day=report.on)
    at = time(report.minute // 60, report.minute % 60, tzinfo=zone_info(report.zone))
    return to_instant(datetime.combine(first, at))


def with_columns(report: Report, columns: Sequence[str]) -> Report:
    """The report, its tables by group with the chosen columns only; all of them where none is chosen."""
    if not columns:
        return report
    return replace(report, sections=tuple(_narrowed(one, columns) for one in report.sections))


def _narrowed(section: Section, columns: Sequence[str]) -> Section:
    if not set(FIGURES) <= set(section.columns):
        return section
    places = [
        *range(section.texts),
        *(section.columns.index(one) for one in FIGURES if one in columns),
    ]
    return replace(
        section,
        columns=tuple(section.columns[at] for at in places),
        rows=tuple(tuple(row[at] for at in places) for row in section.rows),
        total=None if section.total is None else tuple(section.total[at] for at in places),
    )


def _texts(name: str, field: str, value: object) -> tuple[str, ...]:
    several = value if isinstance(value, list | tuple) else (value,)
    if not all(isinstance(one, str) and one.strip() for one in several):
        raise _wrong(name, field, "is a text or a list of texts")
    return tuple(str(one).strip() for one in several)


def _where(name: str, value: object) -> dict[str, str | list[str]]:
    if not isinstance(value, Mapping):
        raise _wrong(name, "where", 'is a table such as { environment = "prod" }')
    return {
        str(one): list(_texts(name, "where", wanted)) if isinstance(wanted, list) else str(wanted)
        for one, wanted in value.items()
    }


def _columns(name: str, value: object) -> tuple[str, ...]:
    found = _texts(name, "columns", value)
    known = {one.lower(): one for one in FIGURES}
    unknown = [one for one in found if one.lower() not in known]
    if unknown:
        raise _wrong(name, "columns", f"{unknown[0]!r} is none of {', '.join(FIGURES)}", code="unknown_column")
    return tuple(known[one.lower()] for one in found)


def _minute(name: str, value: object) -> int:
    found = _TIME.match(str(value))
    if found is None:
        raise _wrong(name, "at", 'is a time of day such as "08:00"')
    return int(found[1]) * 60 + int(found[2])


def _on(name: str, period: str, value: object) -> int | None:
    if value is None:
        return None
    if period == "week" and str(value).lower() in WEEKDAYS:
        return WEEKDAYS.index(str(value).lower())
    if period == "month" and isinstance(value, int) and 1 <= value <= MONTH_DAY_MAX and not isinstance(value, bool):
        return value
    raise _wrong(name, "on", f"is a weekday of a week's report, or a day from 1 to {MONTH_DAY_MAX} of a month's")


def _wrong(name: str, field: str, message: str, code: str = "bad_report") -> InvalidInput:
    return InvalidInput(f"report {name}: {field} {message}", code=code, field=field)
