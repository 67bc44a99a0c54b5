"""Times as people type them: 7d, 24h, yesterday, this-month, 2026-11-22, 2026-11-22T10:00+01:00."""

from __future__ import annotations

import re
from typing import Final

from outlay.clock import (
    Instant,
    WindowName,
    date_to_day,
    local_day,
    local_midnight,
    to_datetime,
    to_instant,
    window_of,
)
from outlay.errors import InvalidInput

_AGO: Final = re.compile(r"(\d{1,5})\s*(s|m|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DAYS: Final = {"d": 1, "w": 7}
_WINDOWS: Final[dict[str, WindowName]] = {
    "hour": "hour",
    "day": "day",
    "week": "week",
    "month": "month",
    "quarter": "quarter",
    "year": "year",
}

SPELLINGS: Final = "30m, 24h, 7d, 2w, now, today, yesterday, this-week, last-month, a date or an ISO time"


def read_time(text: str, now: Instant, zone: str) -> Instant:
    """The instant meant by `text` at `now`, in `zone`.

    Minutes and hours count back exactly. Days and weeks count back to a local midnight: 7d is the seven
    whole days before today, and today so far. A word for a period means its beginning. Raises InvalidInput
    `bad_time`.
    """
    word = text.strip().lower().replace("_", "-").replace(" ", "-")
    ago = _AGO.fullmatch(word)
    if ago:
        return _ago(int(ago[1]), ago[2], now, zone)
    named = _named(word, now, zone)
    if named is not None:
        return named
    try:
        if len(word) == len("2026-11-22"):
            day = date_to_day(to_datetime(to_instant(f"{word}T00:00", "UTC")).date())
            return local_midnight(day, zone)
        return to_instant(text.strip(), zone)
    except InvalidInput as error:
        raise InvalidInput(f"time {text[:40]!r} is not understood; write {SPELLINGS}", code="bad_time") from error


def _ago(count: int, unit: str, now: Instant, zone: str) -> Instant:
    if unit in _SECONDS:
        return now - count * _SECONDS[unit] * 1_000_000
    return local_midnight(local_day(now, zone) - count * _DAYS[unit], zone)


def _named(word: str, now: Instant, zone: str) -> Instant | None:
    if word == "now":
        return now
    if word == "yesterday":
        return local_midnight(local_day(now, zone) - 1, zone)
    which, _, name = ("this", "-", "day") if word == "today" else word.partition("-")
    window = _WINDOWS.get(name)
    if window is None or which not in ("this", "last"):
        return None
    present = window_of(now, window, zone)
    return present.start if which == "this" else window_of(present.start - 1, window, zone).start
