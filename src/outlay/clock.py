"""Time: instants, calendar windows with a zone, and the only reader of the wall clock.

An instant is an int of microseconds since 1970-01-01T00:00Z. A window is a range of local dates in an
IANA zone, its end exclusive: a function of (instant, zone), so nothing ever has to be reset.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Protocol, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outlay.errors import InvalidInput

Instant = int
"""Microseconds since 1970-01-01T00:00Z."""

WindowName = Literal["5 minutes", "hour", "day", "week", "month", "quarter", "year"]

MICROSECONDS_PER_SECOND: Final = 1_000_000
DAY_MICROSECONDS: Final = 86_400 * MICROSECONDS_PER_SECOND
QUARTER_HOUR_MICROSECONDS: Final = 900 * MICROSECONDS_PER_SECOND
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()


class Clock(Protocol):
    """Whatever can say what time it is; passed in, never reached for."""

    def now(self) -> Instant:
        """The present instant."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> Instant:
        """The machine's present instant."""
        return time.time_ns() // 1000


class FrozenClock:
    """A clock that stands still until it is moved: for tests and simulations."""

    def __init__(self, start: datetime | str | Instant) -> None:
        """`start` is an aware datetime, ISO text with an offset, or an instant."""
        self._now = to_instant(start)

    def now(self) -> Instant:
        """The instant it was set to."""
        return self._now

    def advance(self, **step: float) -> None:
        """Move by a timedelta's keywords, `advance(hours=1)`; a negative step moves back."""
        self._now += timedelta(**step) // timedelta(microseconds=1)

    def set(self, moment: datetime | str | Instant) -> None:
        """Move to `moment`."""
        self._now = to_instant(moment)


class Window(NamedTuple):
    """A calendar window: [start, end) as instants, and its label in the zone, such as `2026-11`."""

    start: Instant
    end: Instant
    label: str


def to_instant(value: datetime | str | Instant, zone: str | None = None) -> Instant:
    """The instant of an aware datetime, ISO 8601 text with an offset, or an instant.

    A naive time is read in `zone` if one is given; else InvalidInput `naive_time` is raised.
    Text that is no time raises `bad_time`.
    """
    if type(value) is not datetime:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str):
            value = _parse_iso(value)
    if not isinstance(value, datetime):
        raise InvalidInput(f"a time cannot be read from {type(value).__name__}", code="bad_time")
    if value.tzinfo is None:
        if zone is None:
            raise InvalidInput(
                f"time {value.isoformat()} has no zone; add one, such as {value.isoformat()}Z", code="naive_time"
            )
        value = value.replace(tzinfo=zone_info(zone))
    since = value - _EPOCH
    return (since.days * 86_400 + since.seconds) * MICROSECONDS_PER_SECOND + since.microseconds


def _parse_iso(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"time {text[:40]!r} is not ISO 8601, such as 2026-11-22T10:00:00Z"
        raise InvalidInput(message, code="bad_time") from error


def to_datetime(instant: Instant, zone: str = "UTC") -> datetime:
    """The aware datetime of an instant in a zone."""
    return (_EPOCH + timedelta(microseconds=instant)).astimezone(zone_info(zone))


def isoformat(instant: Instant) -> str:
    """`2026-11-22T10:00:00Z`, with a fraction only where there is one."""
    return (_EPOCH + timedelta(microseconds=instant)).isoformat().replace("+00:00", "Z")


def utc_day(instant: Instant) -> int:
    """Days since 1970-01-01 in UTC: the day of an event's identity."""
    return instant // DAY_MICROSECONDS


def local_day(instant: Instant, zone: str) -> int:
    """Days since 1970-01-01 of the local date in a zone."""
    return to_datetime(instant, zone).date().toordinal() - _EPOCH_ORDINAL


def day_to_date(day: int) -> date:
    """The date of a day number."""
    return date.fromordinal(day + _EPOCH_ORDINAL)


def date_to_day(value: date) -> int:
    """The day number of a date."""
    return value.toordinal() - _EPOCH_ORDINAL


@lru_cache(maxsize=64)
def zone_info(zone: str) -> ZoneInfo:
    """The IANA zone. Raises InvalidInput `unknown_zone`."""
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise InvalidInput(
            f"zone {str(zone)[:40]!r} is not in the IANA database; use one such as Europe/Berlin", code="unknown_zone"
        ) from error


@lru_cache(maxsize=4096)
def local_midnight(day: int, zone: str) -> Instant:
    """The first instant of a local date. Where midnight is skipped, the first instant after the gap."""
    start = datetime.combine(day_to_date(day), datetime.min.time(), tzinfo=zone_info(zone))
    return (start.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)


def window_of(instant: Instant, window: WindowName, zone: str = "UTC") -> Window:
    """The calendar window that holds an instant: weeks begin on Monday, ends are exclusive."""
    return _window_of(instant, window, zone)


@lru_cache(maxsize=16_384)
def _window_of(instant: Instant, window: WindowName, zone: str) -> Window:
    if window == "5 minutes":
        start, end = _step_of(instant, zone, 300 * MICROSECONDS_PER_SECOND)
        # A label is unlike that of the hour which begins at the same time.
        return Window(start, end, to_datetime(start, zone).strftime("%Y-%m-%dT%H:%M%z/PT5M"))
    if window == "hour":
        start, end = _step_of(instant, zone, 3600 * MICROSECONDS_PER_SECOND)
        return Window(start, end, to_datetime(start, zone).strftime("%Y-%m-%dT%H:00%z"))
    today = to_datetime(instant, zone).date()
    first, after, label = _dates_of(today, window)
    return Window(local_midnight(date_to_day(first), zone), local_midnight(date_to_day(after), zone), label)


def windows_between(since: Instant, until: Instant, window: WindowName, zone: str = "UTC") -> Iterator[Window]:
    """The windows that overlap [since, until), in order."""
    at = since
    while at < until:
        found = window_of(at, window, zone)
        yield found
        at = found.end


def _step_of(instant: Instant, zone: str, length: int) -> tuple[Instant, Instant]:
    """The whole hour, or part of one, by the clocks of the zone."""
    # The offset of this instant, not of the wall time: an hour repeated in autumn is two windows.
    offset = (to_datetime(instant, zone).utcoffset() or timedelta(0)) // timedelta(microseconds=1)
    start = (instant + offset) // length * length - offset
    return start, start + length


def _dates_of(today: date, window: WindowName) -> tuple[date, date, str]:
    if window == "day":
        return today, today + timedelta(days=1), today.isoformat()
    if window == "week":
        monday = today - timedelta(days=today.weekday())
        year, week, _ = monday.isocalendar()
        return monday, monday + timedelta(days=7), f"{year}-W{week:02d}"
    if window == "month":
        return *_months(today, 1), today.strftime("%Y-%m")
    if window == "quarter":
        return *_months(today, 3), f"{today.year}-Q{(today.month + 2) // 3}"
    if window == "year":
        return *_months(today, 12), str(today.year)
    raise InvalidInput(f"window {window!r} is none of {', '.join(get_args(WindowName))}", code="unknown_window")


def _months(today: date, count: int) -> tuple[date, date]:
    first_month = (today.month - 1) // count * count + 1
    first = date(today.year, first_month, 1)
    index = first.year * 12 + first.month - 1 + count
    return first, date(index // 12, index % 12 + 1, 1)
