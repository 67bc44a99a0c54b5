"""Every threshold of the users' documents: crossed by what is over it, told once, and not by what is not."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

import outlay
from outlay.budgets.alerts import Alert, Message
from outlay.capture.statements import BilledRow
from outlay.clock import FrozenClock
from outlay.noticing import RECONCILIATION
from outlay.pricing.catalogue import content_id, decode, encode, pack_services, unpack_services

START = "2026-03-10T10:00:00Z"
PROD, DEV, CLAUDE = {"environment": "prod"}, {"environment": "dev"}, {"environment": "claude4"}
BEDROCK = {"provider": "aws-bedrock"}
MONTH = {"above": "60", "window": "month", "marks": [50, 80, 100]}

# What a rule says; what is spent quietly; what then crosses it; which marks are told then.
TABLE = [
    ("seed 1: $2 a day", {"above": "2", "window": "day"}, "2.00", "0.000001", {">100%"}),
    ("seed 1: the daily alarm, $3", {"above": "3", "window": "day"}, "3", "0.01", {">100%"}),
    ("seed 1: $30, half of a month's $60", MONTH, "30", "0.01", {">50%"}),
    ("seed 1: $48, 80 % of a month's $60", MONTH, "48", "0.01", {">50%", ">80%"}),
    ("seed 1: $60 a month", MONTH, "60", "0.01", {">50%", ">80%", ">100%"}),
    ("seed 2: $50 an hour", {"above": "50", "window": "hour"}, "50", "0.01", {">100%"}),
    ("seed 2: $500 a day", {"above": "500", "window": "day"}, "500", "0.01", {">100%"}),
    ("seed 3: 80 % of $50 a day", {"at": "50", "window": "day", "marks": [80, 100]}, "39.99", "0.01", {"80%"}),
    ("seed 3: $50 a day", {"at": "50", "window": "day", "marks": [80, 100]}, "49.99", "0.01", {"80%", "100%"}),
    ("seed 3: 80 % of $500 a month", {"at": "500", "window": "month", "marks": [80, 100]}, "399.99", "0.01", {"80%"}),
    (
        "seed 3: $500 a month",
        {"at": "500", "window": "month", "marks": [80, 100]},
        "499.99",
        "0.01",
        {"80%", "100%"},
    ),
    ("seed 3: $40 a day, at it", {"at": "40", "window": "day"}, "39.99", "0.01", {"100%"}),
    ("seed 3: $400 a month, at it", {"at": "400", "window": "month"}, "399.99", "0.01", {"100%"}),
    ("seed 4: dev $10 a day", {"above": "10", "where": DEV}, "10", "0.01", {">100%"}),
    ("seed 4: prod $50 a day", {"above": "50", "where": PROD}, "50", "0.01", {">100%"}),
    ("seed 4: claude4 $25 a day", {"above": "25", "where": CLAUDE}, "25", "0.01", {">100%"}),
    ("seed 4: dev request $0.50", {"kind": "request", "above": "0.50", "where": DEV}, "0.50", "0.01", {">100%"}),
    ("seed 4: prod request $1", {"kind": "request", "above": "1", "where": PROD}, "1", "0.01", {">100%"}),
    ("seed 4: request $0.75", {"kind": "request", "above": "0.75"}, "0.75", "0.01", {">100%"}),
    ("seed 4: claude4 request $2", {"kind": "request", "above": "2", "where": CLAUDE}, "2", "0.01", {">100%"}),
    (
        "seed 4: Bedrock $1 in 5 minutes",
        {"above": "1", "window": "5 minutes", "where": BEDROCK},
        "1",
        "0.01",
        {">100%"},
    ),
]


def ledger_at(start: str, zone: str = "UTC") -> outlay.Ledger:
    return outlay.open("memory:", clock=FrozenClock(start), zone=zone)


def spend(ledger: outlay.Ledger, amount: str, **fields: Any) -> None:
    told = {"provider": "openai", "service": "gpt-4o", "request": "r1", **fields}
    ledger.record(reported_cost=amount, **told)


def raised(ledger: outlay.Ledger) -> list[Alert]:
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    watcher.stop()
    return ledger.alerts()


@pytest.mark.parametrize(
    ("start", "zone"),
    [(START, "UTC"), ("2026-03-29T01:30:00Z", "Europe/Berlin"), ("2026-10-25T00:30:00Z", "Europe/Berlin")],
    ids=["a usual day", "a day of 23 hours", "a day of 25 hours"],
)
@pytest.mark.parametrize(("said", "fields", "quiet", "more", "marks"), TABLE, ids=[row[0] for row in TABLE])
def test_a_threshold_is_told_when_it_is_crossed_and_once(
    said: str, fields: dict[str, Any], quiet: str, more: str, marks: set[str], start: str, zone: str
) -> None:
    with ledger_at(start, zone) as ledger:
        ledger.alert_rule("rule", **fields)
        where = fields.get("where", {})
        if where:
            spend(ledger, "1000", provider="other", environment="other", request="r2")
        spend(ledger, quiet, **where)
        before = {alert.what for alert in raised(ledger)}
        assert len(marks - before) == 1
        assert before <= marks
        spend(ledger, more, **where)
        assert {alert.what for alert in raised(ledger)} == marks
        spend(ledger, more, **where)
        assert len(raised(ledger)) == len(marks)


@pytest.mark.parametrize("threshold", ["0.50", "1.00", "2.00"])
def test_one_call_is_told_above_its_threshold_whatever_the_others_cost(threshold: str) -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("dear", kind="event", above=threshold)
        raised(ledger)
        spend(ledger, threshold)
        spend(ledger, "0.01", count=1_000)
        assert raised(ledger) == []
        spend(ledger, "2.01", id="dear-one")
        assert [alert.subject for alert in raised(ledger)] == ["dear-one"]


def test_a_share_below_the_whole_only_warns() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("day", at="50", marks=[80, 100], severity="critical")
        spend(ledger, "50")
        assert {alert.what: alert.severity for alert in raised(ledger)} == {"80%": "warning", "100%": "critical"}


# The day of the clocks' change has 23 or 25 hours; its last hour is spent in it, the next day's first is not.
@pytest.mark.parametrize(
    ("day", "midnight", "last", "next_day"),
    [
        ("2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-29T22:00:00Z"),
        ("2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", "2026-10-25T23:00:00Z"),
    ],
)
def test_a_day_of_23_or_25_hours_is_one_window(day: str, midnight: str, last: str, next_day: str) -> None:
    with ledger_at(midnight, "Europe/Berlin") as ledger:
        ledger.alert_rule("day", above="10")
        spend(ledger, "9")
        ledger.clock.set(next_day)  # type: ignore[attr-defined]  # It is a FrozenClock.
        spend(ledger, "9")
        assert raised(ledger) == []
        ledger.clock.set(last)  # type: ignore[attr-defined]  # It is a FrozenClock.
        spend(ledger, "2")
        assert [alert.window for alert in raised(ledger)] == [
            midnight[:8] + ("29" if "03" in midnight[5:7] else "25")
        ]


def test_an_hour_that_comes_twice_in_autumn_is_two_windows() -> None:
    with ledger_at("2026-10-25T00:30:00Z", "Europe/Berlin") as ledger:
        ledger.alert_rule("hour", above="50", window="hour")
        spend(ledger, "40")
        ledger.clock.advance(hours=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
        spend(ledger, "40")
        assert raised(ledger) == []
        spend(ledger, "10.01")
        assert [alert.window for alert in raised(ledger)] == ["2026-10-25T02:00+0100"]


def test_a_budgets_own_marks_and_its_forecast_are_told() -> None:
    # Seed 1's budget of $60 a month, of 30 days: $2.01 a day are $60.30 at its end.
    with ledger_at("2026-11-01T12:00:00Z") as ledger:
        ledger.budget("aws", limit="60", window="month", marks=[">50", ">80", ">100", "forecast >100"])
        for day in range(1, 7):
            ledger.clock.set(f"2026-11-0{day}T12:00:00Z")  # type: ignore[attr-defined]  # It is a FrozenClock.
            spend(ledger, "2.01")
            if day == 2:
                assert raised(ledger) == []  # Less than a tenth of the month has passed: nothing is believed.
        ledger.clock.set("2026-11-07T00:00:00Z")  # type: ignore[attr-defined]  # It is a FrozenClock.
        assert [alert.what for alert in raised(ledger)] == ["forecast >100%"]
        spend(ledger, "18")
        assert {alert.what for alert in raised(ledger)} == {"forecast >100%", ">50%"}


def test_a_forecast_knows_the_week_and_is_no_straight_line() -> None:
    # $10 on each working day for five weeks. By Thursday night $40 are spent: at that pace a week ends with $70, but
    # no Saturday or Sunday ever cost anything, so it ends with $50.
    with ledger_at("2026-02-02T12:00:00Z") as ledger:
        ledger.alert_rule("week", above="52", window="week", forecast=[100])
        for day in range(39):
            if day % 7 < 5:
                spend(ledger, "10", request=f"r{day}")
            ledger.clock.advance(days=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
        ledger.clock.set("2026-03-13T00:00:00Z")  # type: ignore[attr-defined]  # It is a FrozenClock.
        assert raised(ledger) == []
        ledger.alert_rule("tight", above="48", window="week", forecast=[100])
        (alert,) = raised(ledger)
    assert (alert.rule, alert.kind, alert.what) == ("tight", "forecast", "forecast >100%")
    assert alert.title.startswith("tight: 2026-W11 is expected to end with $5")


def test_a_week_that_is_a_fifth_dearer_than_the_one_before_is_told() -> None:
    # Seed 1: week over week, more than 20 %. $70, then $84 is just that; a cent more is over it.
    with ledger_at("2026-03-02T12:00:00Z") as ledger:
        ledger.alert_rule("rise", kind="rise")
        for day in range(14):
            spend(ledger, "10" if day < 7 else "12")
            ledger.clock.advance(days=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
        assert raised(ledger) == []
        spend(ledger, "0.01", time="2026-03-15T12:00:00Z")
        (alert,) = raised(ledger)
        assert alert.title == "rise: $84.01 in the last 7 days, 20 % over $70.00 before"
        assert len(raised(ledger)) == 1


def of_days(amounts: list[str], at: str = "2026-03-02T12:00:00Z") -> outlay.Ledger:
    """A ledger in which each day cost so much, at the midnight after the last of them."""
    ledger = ledger_at(at)
    for amount in amounts:
        spend(ledger, amount, feature="clips")
        ledger.clock.advance(days=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
    ledger.clock.advance(hours=-12)  # type: ignore[attr-defined]  # It is a FrozenClock.
    return ledger


@pytest.mark.parametrize(
    ("fields", "spike", "told"),
    [
        ({}, "15.02", True),  # $5.02 and 50 % over the usual $10: both thresholds of seed 1.
        ({}, "14.50", False),  # 45 %, but less than $5
        ({"need": "either"}, "14.50", True),
        ({"at": "4", "percent": 20}, "14.50", True),
        ({"at": "1", "percent": 60}, "14.50", False),
        ({"where": {"feature": "other"}}, "15.02", False),
    ],
)
def test_an_anomaly_is_told_from_five_dollars_and_twenty_percent(
    fields: dict[str, Any], spike: str, told: bool
) -> None:
    with of_days([*["10"] * 41, spike]) as ledger:
        ledger.alert_rule("unusual", kind="anomaly", **fields)
        found = raised(ledger)
        assert bool(found) is told
        assert len(raised(ledger)) == len(found)
        for alert in found:
            assert alert.title.startswith("unusual: ")
            assert f"costs ${spike} where $10.00 was expected" in alert.title


def test_one_anomaly_is_one_alert_though_it_is_seen_otherwise_day_by_day() -> None:
    # A feature's calls every three hours; for ten days they cost half as much again. Asked each day, the episode is
    # seen to begin elsewhere, or as the service's and then as the feature's. It is told once, and that it is over.
    day_zero, chance = datetime(2026, 1, 1, tzinfo=UTC), random.Random(1)
    with ledger_at("2026-01-01T00:00:00Z") as ledger:
        ledger.alert_rule("unusual", kind="anomaly")
        for day in range(74):
            for hour in range(0, 24, 3):
                cost = 2 * chance.uniform(0.8, 1.2) + (chance.uniform(0.8, 1.2) if 60 <= day < 70 else 0)
                at(ledger, day_zero + timedelta(days=day, hours=hour))
                spend(ledger, f"{cost:.2f}", feature="clips")
            if day > 58:
                raised(ledger)
        assert [one.state for one in ledger.alerts()] == ["resolved"]


def at(ledger: outlay.Ledger, moment: datetime) -> None:
    ledger.clock.set(moment)  # type: ignore[attr-defined]  # It is a FrozenClock.


def test_a_bill_that_says_something_else_than_the_ledger_is_told_once() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("bills", kind="drift", at="1", percent=2, where={"provider": "aws"})
        for provider, service, charged, billed in (
            ("aws", "lambda", "100", "102"),  # $2 and 2 %
            ("aws", "s3", "100", "101.99"),
            ("aws", "ec2", "10", "8"),  # Less than was charged: as wrong.
            ("openai", "gpt-4o", "1", "100"),
        ):
            note = {"period": "2026-02", "provider": provider, "service": service, "charged": charged}
            note |= {"billed": billed, "difference": str(Decimal(billed) - Decimal(charged))}
            body = json.dumps(note).encode()
            at = ledger.clock.now()
            ledger.store.put_note(RECONCILIATION, f"2026-02 {service}", body, expects=None, at=at, live=True)
        assert sorted(alert.title for alert in raised(ledger)) == [
            "bills: aws ec2 was billed $8.00 for 2026-02, the ledger says $10.00",
            "bills: aws lambda was billed $102.00 for 2026-02, the ledger says $100.00",
        ]
        assert len(raised(ledger)) == 2


def test_what_reconciling_finds_is_what_a_rule_about_bills_tells() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("bills", kind="drift")
        spend(ledger, "100", provider="aws", service="lambda", time="2026-03-09T10:00:00Z")
        row = BilledRow(
            date=datetime(2026, 3, 9, tzinfo=UTC).date(),
            service="lambda",
            resource="f",
            cost="110",
            quantity="1",
            unit="requests",
            provider="aws",
        )
        ledger.import_statement([row], source="bill.csv", metered=["lambda"])
        ledger.reconcile(provider="aws")
        (alert,) = raised(ledger)
    assert alert.title.startswith("bills: aws lambda was billed $110.00 for ")
    assert alert.title.endswith(", the ledger says $100.00")
    assert alert.causes


def test_a_catalogue_price_that_changes_is_told_for_what_is_in_use() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("prices", kind="price")
        spend(ledger, "1")
        assert raised(ledger) == []
        put_price(ledger, "gpt-4o", "output_tokens", "8")
        put_price(ledger, "o3", "output_tokens", "1")  # Nobody uses it.
        (alert,) = raised(ledger)
        assert alert.title == ("prices: openai gpt-4o has another price: output_tokens 10 is now 8 USD per 1,000,000")
        assert len(raised(ledger)) == 1


def put_price(ledger: outlay.Ledger, service: str, meter: str, price: str) -> None:
    """A catalogue like the one in force, but for one price of OpenAI's."""
    whole = decode((ledger.store.catalogue() or ("", b""))[1])
    for provider in whole.providers:
        if provider.name == "openai":
            services = unpack_services(provider.services)
            changed = next(one for one in services if one.name == service)
            rates = [replace(rate, price=price) if rate.meter == meter else rate for rate in changed.rates]
            at = services.index(changed)
            body = pack_services([*services[:at], replace(changed, rates=rates), *services[at + 1 :]])
            others = [one for one in whole.providers if one is not provider]
            whole = replace(whole, providers=[*others, replace(provider, services=body)])
            break
    new = encode(whole)
    ledger.store.put_catalogue(content_id(new), new, ledger.clock.now(), activate=True)


def test_rate_failures_silence_and_missing_prices_are_told_and_resolved() -> None:
    clock = FrozenClock(START)
    told: list[Message] = []
    with outlay.open("memory:", clock=clock) as ledger:
        ledger.alert_rule("pace", kind="rate", above="100", minutes=15)
        ledger.alert_rule("failures", kind="failed", above="1")
        ledger.alert_rule("quiet", kind="silence", minutes=60)
        ledger.alert_rule("prices", kind="unpriced")
        watcher = ledger.watcher({"list": told.append})
        watcher.round(timed=True)
        spend(ledger, "26", status="failed")
        ledger.record(provider="nobody", service="knows", usage={"input_tokens": 1})
        clock.advance(minutes=1)
        watcher.round(timed=True)
        # $26 in 15 minutes are $104 an hour.
        assert sorted(alert.rule for alert in ledger.alerts(open_only=True)) == ["failures", "pace", "prices"]
        clock.advance(hours=2)
        watcher.round(timed=True)
        assert sorted(alert.rule for alert in ledger.alerts(open_only=True)) == ["failures", "prices", "quiet"]
        spend(ledger, "0.01")
        watcher.round(timed=True)
        assert [alert.state for alert in ledger.alerts(rule="quiet")] == ["resolved"]
        clock.advance(hours=2)
        watcher.round(timed=True)
        assert [alert.state for alert in ledger.alerts(rule="quiet")] == ["open", "resolved"]
        assert len(told) == 5


def test_a_message_says_what_how_much_since_when_why_and_where_to_look() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("hour", above="50", window="hour", owner="ana")
        told: list[Message] = []
        spend(ledger, "40", user="u1", feature="summary")
        spend(ledger, "11", service="gpt-4o-mini")
        ledger.watcher({"list": told.append}, link="https://outlay.example/alerts").round()
    assert told[0].title == "hour: $51.00 in 2026-03-10T10:00+0000 is over $50.00 (hourly)"
    assert told[0].body.splitlines() == [
        "Since 2026-03-10T10:00:00Z.",
        "Most of it: openai gpt-4o $40.00, 78 %; openai gpt-4o-mini $11.00, 21 %; feature summary $40.00, 78 %;"
        " user u1 $40.00, 78 %.",
        "Owner: ana.",
        "https://outlay.example/alerts",
    ]


def test_the_past_proposes_thresholds_and_says_how_often_they_would_have_fired() -> None:
    clock = FrozenClock("2026-03-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day in range(1, 101):
            ledger.record(provider="openai", service="gpt-4o", reported_cost="90" if day == 50 else "8", usage={})
            clock.advance(days=1)
        found = {one.window: one for one in ledger.suggest_alerts(days=120)}
    # Of 100 days 99 stayed within $8; half above is $12, the next round amount $12.50; the day of $90 is over it.
    assert found["day"].usual == 8 * 10**12
    assert found["day"].amount == 12_500_000_000_000
    assert (found["day"].fired, found["day"].most) == (1, 90 * 10**12)
    assert (5 * 10**12, 100) not in found["day"].others
    assert (25 * 10**12, 1) in found["day"].others


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, "missing_limit"),
        ({"above": "1", "at": "1"}, "missing_limit"),
        ({"above": 1.5}, "float_money"),
        ({"above": "-1"}, "negative_limit"),
        ({"above": "1", "window": "fortnight"}, "unknown_window"),
        ({"kind": "noise"}, "bad_rule"),
        ({"kind": "anomaly", "percent": -1}, "bad_rule"),
        ({"kind": "anomaly", "need": "one"}, "bad_rule"),
        ({"kind": "rise", "window": "hour"}, "bad_rule"),
        ({"kind": "drift", "where": {"user": "u1"}}, "bad_rule"),
        ({"kind": "rate", "above": "1", "percent": 3}, "bad_rule"),
        ({"above": "1", "forecast": ["0%"]}, "bad_mark"),
        ({"kind": "silence", "above": "1"}, "bad_rule"),
        ({"kind": "silence", "minutes": 0}, "bad_rule"),
        ({"above": "1", "where": {"colour": "red"}}, "unknown_dimension"),
        ({"above": "1", "severity": "loud"}, "bad_rule"),
        ({"above": "1", "limit": "1"}, "unknown_field"),
    ],
)
def test_a_rule_that_cannot_be_right_is_refused_by_name(fields: dict[str, Any], code: str) -> None:
    with ledger_at(START) as ledger, pytest.raises(outlay.InvalidInput) as caught:
        ledger.alert_rule("rule", **fields)
    assert caught.value.code == code


def test_a_forgotten_persons_name_is_gone_from_alerts() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("each", above="1", each="user")
        spend(ledger, "2", user="ana@example.com")
        assert "ana@example.com" in raised(ledger)[0].title
        ledger.forget(user="ana@example.com")
        assert "ana@example.com" not in str(ledger.alerts())


def test_a_forgotten_persons_name_is_gone_from_anomalies_that_were_told() -> None:
    with ledger_at("2026-01-01T12:00:00Z") as ledger:
        ledger.alert_rule("unusual", kind="anomaly")
        for day in range(42):
            spend(ledger, "50" if day == 41 else "10", user="ana@example.com", service=f"s{day % 3}")
            ledger.clock.advance(days=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
        assert "ana@example.com" in str(raised(ledger))
        assert any(b"ana@example.com" in body for body in ledger.store.notes("anomaly_told"))
        ledger.forget(user="ana@example.com")
        assert "ana@example.com" not in str(ledger.alerts())
        assert not any(b"ana@example.com" in body for body in ledger.store.notes("anomaly_told"))


def test_a_bill_that_was_put_right_resolves_its_alert() -> None:
    with ledger_at(START) as ledger:
        ledger.alert_rule("bills", kind="drift")
        note = {"period": "2026-02", "provider": "aws", "charged": "10", "billed": "20"}
        body, at = json.dumps(note).encode(), ledger.clock.now()
        ledger.store.put_note(RECONCILIATION, "aws", body, expects=None, at=at, live=True)
        assert [alert.state for alert in raised(ledger)] == ["open"]
        ledger.store.put_note(RECONCILIATION, "aws", b"{}", expects=body, at=at, live=False)
        assert [alert.state for alert in raised(ledger)] == ["resolved"]
