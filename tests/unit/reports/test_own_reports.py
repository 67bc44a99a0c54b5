"""When a report that people defined is due, and what in its definition cannot be right."""

from __future__ import annotations

from typing import Any

import pytest

import outlay
from outlay.analytics.own_reports import last_due, read_own_report
from outlay.clock import isoformat, to_instant

BERLIN = "Europe/Berlin"
TO = {"recipients": "a@b.example"}


@pytest.mark.parametrize(
    ("fields", "now", "due", "label"),
    [
        # Yesterday's, at eight; before eight still that of the day before.
        ({}, "2026-11-22T08:00:00Z", "2026-11-22T08:00:00Z", "2026-11-21"),
        ({}, "2026-11-22T07:59:59Z", "2026-11-21T08:00:00Z", "2026-11-20"),
        ({"at": "00:00"}, "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z", "2026-11-21"),
        # A week's on its Monday, or on the weekday that was chosen. 22 November 2026 is a Sunday.
        ({"period": "week"}, "2026-11-22T09:00:00Z", "2026-11-16T08:00:00Z", "2026-W46"),
        ({"period": "week", "on": "Friday"}, "2026-11-22T09:00:00Z", "2026-11-20T08:00:00Z", "2026-W46"),
        ({"period": "week", "on": "friday"}, "2026-11-20T07:00:00Z", "2026-11-13T08:00:00Z", "2026-W45"),
        ({"period": "month"}, "2026-11-01T08:00:00Z", "2026-11-01T08:00:00Z", "2026-10"),
        ({"period": "month", "on": 5}, "2026-11-04T09:00:00Z", "2026-10-05T08:00:00Z", "2026-09"),
        # By the zone's own clock, in summer and in winter.
        ({"zone": BERLIN}, "2026-07-01T06:00:00Z", "2026-07-01T06:00:00Z", "2026-06-30"),
        ({"zone": BERLIN}, "2026-11-22T07:00:00Z", "2026-11-22T07:00:00Z", "2026-11-21"),
        # 02:30 does not come on the day that the clocks go forward, and comes twice when they go back: once is due.
        ({"zone": BERLIN, "at": "02:30"}, "2026-03-29T12:00:00Z", "2026-03-29T01:30:00Z", "2026-03-28"),
        ({"zone": BERLIN, "at": "02:30"}, "2026-10-25T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-24"),
    ],
)
def test_a_report_is_due_after_its_period_at_its_hour(fields: dict[str, Any], now: str, due: str, label: str) -> None:
    found = last_due(read_own_report("r", {**TO, **fields}, "UTC"), to_instant(now))
    assert (isoformat(found.at), found.window.label) == (due, label)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"period": "fortnight"}, "unknown_period"),
        ({"recipients": []}, "bad_report"),
        ({"recipients": "nobody"}, "bad_channel"),
        ({"recipients": "a@b.example"}, "bad_channel"),  # There is no [mail].
        ({"at": "25:00"}, "bad_report"),
        ({"at": 8}, "bad_report"),
        ({"on": "monday"}, "bad_report"),  # A day's report has no weekday.
        ({"period": "month", "on": 31}, "bad_report"),
        ({"period": "week", "on": "someday"}, "bad_report"),
        ({"form": "papyrus"}, "bad_report"),
        ({"columns": ["Colour"]}, "unknown_column"),
        ({"by": ["colour"]}, "unknown_dimension"),
        ({"where": {"colour": "red"}}, "unknown_dimension"),
        ({"where": "prod"}, "bad_report"),
        ({"zone": "Mars"}, "unknown_zone"),
        ({"to": "a@b.example"}, "unknown_field"),
    ],
)
def test_a_report_that_cannot_be_right_is_refused_by_name(
    memory: outlay.Ledger, fields: dict[str, Any], code: str
) -> None:
    memory.channel_settings = {"list": lambda message: None}
    with pytest.raises(outlay.InvalidInput) as caught:
        memory.define_report("weekly", **{"recipients": "list", **fields})
    assert caught.value.code == code
