"""Charts draw the figures they were given, in colours to be told apart, and people's words stay words."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest

import outlay
from outlay.analytics.anomaly import Episode, Step
from outlay.analytics.comparison import Change
from outlay.clock import DAY_MICROSECONDS, FrozenClock, to_instant, window_of
from outlay.errors import InvalidInput
from outlay.faces import charts
from outlay.faces.charts.parts import Steps, labelled, money_label
from outlay.faces.charts.style import REST_COLOUR
from outlay.model import CostRow, CostTable
from outlay.money import PICO_PER_UNIT, Money

HOSTILE = "<script>alert(1)</script>\"'${x} datum.cost {{y}} \u2028"


def row(*keys: str | None, cost: str, events: int = 1, **quantities: int) -> CostRow:
    amount = Money.of(cost).pico
    return CostRow(keys=keys, amount=amount, events=events, quantities=dict(quantities) or None)


def table(*rows: CostRow, by: tuple[str, ...], zone: str = "UTC", currency: str = "USD") -> CostTable:
    total = CostRow(keys=(), amount=sum(one.amount for one in rows), events=sum(one.events for one in rows))
    return CostTable(by=by, rows=rows, total=total, currency=currency, zone=zone, answered_by="test")


DAYS = table(
    row("2026-11-01", "openai", cost="1.25", events=3, output_tokens=900),
    row("2026-11-01", "aws", cost="0.000000000001"),
    row("2026-11-02", "openai", cost="2.50", output_tokens=1800),
    row("2026-11-04", HOSTILE, cost="0.10", output_tokens=10),
    by=("day", "provider"),
)
EPISODE = Episode(
    id="a-1",
    series="a",
    by=("provider", "user"),
    keys=("openai", None),
    step=Step.DAY,
    since=to_instant("2026-11-02T00:00:00Z"),
    until=to_instant("2026-11-04T00:00:00Z"),
    steps=2,
    goes_on=False,
    actual=30 * PICO_PER_UNIT,
    expected=10 * PICO_PER_UNIT,
    peak=20 * PICO_PER_UNIT,
)
CHANGE = Change(before=100, after=130, volume=40, mix=-20, price=7, failures=3)


@pytest.fixture(scope="module")
def november() -> Iterator[outlay.Ledger]:
    clock = FrozenClock("2026-10-01T12:00:00Z")
    with outlay.open("memory:", clock=clock) as ledger:
        for day in range(45):
            ledger.record(provider="openai", service="gpt", reported_cost=f"{2 + day % 7}.5")
            clock.advance(days=day < 44)
        yield ledger


def every_chart(ledger: outlay.Ledger) -> dict[str, charts.Spec]:
    now = ledger.clock.now()
    month = window_of(now, "month", "UTC")
    projection = ledger.forecast("month").total
    days = ledger.costs(("day",), since=month.start).table
    points = [
        charts.ExpectedPoint(EPISODE.since + day * DAY_MICROSECONDS, (day + 3) * PICO_PER_UNIT, 5, 0, 9)
        for day in range(-2, 4)
    ]
    return {
        "over time": charts.spend_over_time(DAYS),
        "alone": charts.spend_over_time(days),
        "top": charts.top_bar(table(*(row(f"s{n}", cost=f"{n}") for n in range(15)), by=("service",))),
        "trend": charts.trend(
            [(now, 5), (now + DAY_MICROSECONDS, None), (now + 2 * DAY_MICROSECONDS, 7)], zone="UTC"
        ),
        "spark": charts.sparkline([1, 5, 2]),
        "quantity": charts.money_and_quantity(DAYS, "output_tokens", unit="output tokens"),
        "budget": charts.budget_progress(days, projection, limit=Money.of("100"), now=now),
        "forecast": charts.forecast(ledger.costs(("day",)).table, projection),
        "anomaly": charts.anomaly(EPISODE, points, zone="UTC"),
        "waterfall": charts.waterfall(CHANGE),
        "histogram": charts.histogram([3, 5, 8, 13, 4000]),
        "boxes": charts.boxes({HOSTILE: [1, 2, 3, 40], "b": [2]}),
        "notes": charts.with_notes(charts.spend_over_time(DAYS), [charts.Note(EPISODE.since, HOSTILE)], "UTC"),
        "notes on layers": charts.with_notes(
            charts.forecast(ledger.costs(("day",)).table, projection), [charts.Note(now, "a")], "UTC"
        ),
    }


def empty_charts(ledger: outlay.Ledger) -> dict[str, charts.Spec]:
    nothing = table(by=("day", "provider"))
    projection = ledger.forecast("month", where={"user": "nobody"}).total
    return {
        "over time": charts.spend_over_time(nothing),
        "top": charts.top_bar(table(by=("user",))),
        "trend": charts.trend([], zone="UTC"),
        "spark": charts.sparkline([]),
        "quantity": charts.money_and_quantity(nothing, "images"),
        "budget": charts.budget_progress(nothing, projection, limit=None, now=ledger.clock.now()),
        "forecast": charts.forecast(nothing, projection),
        "anomaly": charts.anomaly(EPISODE, [], zone="UTC"),
        "waterfall": charts.waterfall(Change(before=0, after=0)),
        "histogram": charts.histogram([]),
        "boxes": charts.boxes({}),
    }


def values(spec: Any, field: str) -> list[Any]:
    """Every value of a field in a spec's data."""
    if isinstance(spec, list):
        return [found for one in spec for found in values(one, field)]
    if not isinstance(spec, dict):
        return []
    own = [one[field] for one in spec.get("values", ()) if isinstance(one, dict) and field in one]
    return own + [found for key, one in spec.items() if key != "values" for found in values(one, field)]


def drawn_texts(svg: str) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


# --- they can be drawn


def test_every_chart_can_be_drawn_as_a_picture_and_as_a_drawing(november: outlay.Ledger) -> None:
    for name, spec in every_chart(november).items():
        assert charts.png(spec, scale=0.5).startswith(b"\x89PNG"), name
        drawing = charts.svg(charts.themed(spec, "dark"))
        assert "#14181f" in drawing, f"{name} is not on the dark page's ground"
        assert "NaN" not in drawing, name


def test_a_chart_of_nothing_can_be_drawn_too(november: outlay.Ledger) -> None:
    for name, spec in empty_charts(november).items():
        drawing = charts.svg(spec)
        assert "NaN" not in drawing, name
        if name not in ("spark", "budget", "forecast", "waterfall"):
            assert "Nothing was spent here." in drawn_texts(drawing), name


def test_a_chart_fetches_nothing_and_says_what_it_shows(november: outlay.Ledger) -> None:
    for name, spec in every_chart(november).items():
        assert '"url"' not in json.dumps(spec), name
        assert len(spec["description"]) > 15, name
        label = ElementTree.fromstring(charts.svg(spec)).attrib["aria-label"]
        assert label == spec["description"], name


def test_a_page_of_charts_needs_nothing_from_elsewhere() -> None:
    page = charts.html(charts.spend_over_time(DAYS), title=HOSTILE)
    assert "src=" not in page.split("<script>")[0]
    assert "default-src 'none'" in page
    assert page.count("<script>") == page.count("</script>") == 2
    assert "<script>alert(1)" not in page


# --- the figures


def test_the_figures_of_spend_over_time_are_those_of_the_table() -> None:
    found = charts.spend_over_time(DAYS)["data"]["values"]
    assert [(one["at"], one["series"], one["exact"], one["calls"]) for one in found] == [
        ("2026-11-01T00:00:00Z", "openai", "$1.25", "3"),
        ("2026-11-01T00:00:00Z", "aws", "$0.000000000001", "1"),
        ("2026-11-02T00:00:00Z", "openai", "$2.50", "1"),
        ("2026-11-04T00:00:00Z", HOSTILE.strip("\u2028 "), "$0.10", "1"),
    ]
    assert [Decimal(str(one["cost"])) for one in found] == [Decimal(x) for x in ("1.25", "1E-12", "2.5", "0.1")]


def test_the_ninth_series_and_all_after_it_are_one_and_nothing_is_lost() -> None:
    rows = [row("2026-11-01", f"p{n:02}", cost=str(20 - n)) for n in range(12)]
    spec = charts.spend_over_time(table(*rows, by=("day", "provider")))
    scale = spec["encoding"]["color"]["scale"]
    assert scale["domain"] == [*(f"p{n:02}" for n in range(8)), "(other)"]
    assert scale["range"] == [*charts.SERIES, REST_COLOUR]
    # 12 + 11 + 10 + 9 are what p08 to p11 cost.
    assert values(spec, "exact")[-1] == "$42.00"
    assert sum(values(spec, "cost")) == sum(range(9, 21))


def test_names_of_users_stand_in_a_spec_as_data_only() -> None:
    spec = charts.spend_over_time(DAYS)
    name = HOSTILE.strip("\u2028 ")
    assert name in values(spec, "series")
    # Else only the colours' domain and the description name them; no expression, filter or sort does.
    rest = {key: one for key, one in spec.items() if key not in ("data", "description")}
    del rest["encoding"]["color"]["scale"]
    assert name not in str(rest)


def test_the_bars_of_the_dearest_say_amount_and_share() -> None:
    found = charts.top_bar(table(row("a", cost="3"), row(None, cost="1"), row("c", cost="4"), by=("user",)), most=2)
    assert [(one["name"], one["exact"], one["share"]) for one in found["data"]["values"]] == [
        ("c", "$4.00", "50.0 %"),
        ("a", "$3.00", "37.5 %"),
        ("1 others", "$1.00", "12.5 %"),
    ]


def test_a_budgets_course_ends_at_what_was_spent_and_at_what_is_expected(november: outlay.Ledger) -> None:
    projection = november.forecast("month").total
    since = to_instant("2026-11-01T00:00:00Z")
    days = november.costs(("day",), since=since)
    spec = charts.budget_progress(days.table, projection, limit=Money.of("90"), now=november.clock.now())
    spent = spec["data"]["values"]
    assert spent[0]["exact"] == "$0.00"
    assert (spent[-1]["exact"], spent[-1]["at"]) == (str(days.total), "2026-11-14T12:00:00Z")
    course = next(one["data"]["values"] for one in spec["layer"] if one["mark"].get("style") == "expected_line")
    low, high = next((one.low, one.high) for one in projection.intervals if one.level == 80)
    assert course[-1]["exact"] == str(Money(projection.total))
    assert course[-1]["between"] == f"{Money(low)} and {Money(high)}"
    assert course[-1]["at"] == "2026-12-01T00:00:00Z"


def test_a_forecasts_first_step_holds_what_is_spent_already(november: outlay.Ledger) -> None:
    projection = november.forecast("month").total
    spec = charts.forecast(november.costs(("day",)).table, projection)
    past, ahead = spec["data"]["values"], spec["layer"][0]["data"]["values"]
    assert (past[-1]["at"], ahead[0]["at"]) == ("2026-11-13T00:00:00Z", "2026-11-14T00:00:00Z")
    # The 45th day costs 2 + 44 % 7 and a half.
    assert ahead[0]["exact"] == str(Money(Money.of("4.5").pico + projection.steps[0][1]))
    assert sum(one["cost"] for one in ahead) == pytest.approx(float(Money(projection.rest).amount) + 4.5)
    for one in ahead:
        assert one["low_95"] <= one["low_80"] <= one["cost"] <= one["high_80"] <= one["high_95"]


def test_the_stairs_of_a_change_add_up() -> None:
    pico = PICO_PER_UNIT
    spec = charts.waterfall(
        Change(before=100 * pico, after=130 * pico, volume=40 * pico, mix=-20 * pico, price=10 * pico)
    )
    found = spec["data"]["values"]
    assert [(one["label"], one["signed"]) for one in found] == [
        ("Before", "$100.00"),
        ("Volume", "+$40.00"),
        ("Mix", "-$20.00"),
        ("Price", "+$10.00"),
        ("Failures", "$0.00"),
        ("After", "$130.00"),
    ]
    assert [(one["low"], one["high"]) for one in found[1:5]] == [(100, 140), (140, 120), (120, 130), (130, 130)]
    assert spec["title"]["subtitle"] == "+$30.00 (+30.0 %)"


def test_a_change_too_small_to_see_says_that_its_axis_does_not_begin_at_nothing() -> None:
    spec = charts.waterfall(
        Change(before=1000 * PICO_PER_UNIT, after=1010 * PICO_PER_UNIT, volume=10 * PICO_PER_UNIT)
    )
    assert spec["title"]["subtitle"] == "+$10.00 (+1.0 %); the axis begins at $990.00"
    assert spec["data"]["values"][0]["base"] == 990
    assert "$0<" not in charts.svg(spec)


def test_every_amount_is_in_one_bin_and_the_dearest_few_share_the_last() -> None:
    amounts = [Money.of(f"0.{cents:02}").pico for cents in range(10, 60)] * 2 + [Money.of("900").pico]
    found = values(charts.histogram(amounts), "count")
    assert sum(found) == 101
    assert found[-1] == 1
    assert len(found) < 30


def test_a_boxs_figures_are_by_nearest_rank() -> None:
    found = charts.boxes({"a": [n * PICO_PER_UNIT for n in range(1, 101)]})["data"]["values"][0]
    assert [found[f"p{rank}"] for rank in (5, 25, 50, 75, 95)] == ["$5.00", "$25.00", "$50.00", "$75.00", "$95.00"]
    assert found["most"] == "$100.00"


# --- places in time


def test_an_hour_that_autumn_repeats_has_a_place_of_its_own() -> None:
    labels = ["2026-10-25T01:00+0200", "2026-10-25T02:00+0200", "2026-10-25T02:00+0100", "2026-10-25T03:00+0100"]
    steps = Steps("hour", labels, "Europe/Berlin")
    assert sorted(steps.begin(label).hour for label in labels) == [1, 2, 3, 4]


def test_days_are_the_ledgers_wherever_the_reader_is() -> None:
    days = table(row("2026-11-01", cost="1"), by=("day",), zone="Asia/Tokyo")
    assert values(charts.spend_over_time(days), "at") == ["2026-11-01T00:00:00Z"]
    assert charts.spend_over_time(days)["encoding"]["x"]["scale"]["type"] == "utc"


def test_a_week_and_a_month_lie_where_they_begin() -> None:
    assert f"{Steps('week', [], 'UTC').begin('2026-W47'):%Y-%m-%d}" == "2026-11-16"
    assert f"{Steps('month', [], 'UTC').begin('2026-02'):%Y-%m-%d}" == "2026-02-01"


def test_many_steps_get_few_labels_weeks_of_days_on_mondays() -> None:
    days = [Steps("day", [], "UTC").begin(f"2026-11-{day:02}") for day in range(1, 31)]
    assert [at.day for at in labelled(days, "day")] == [2, 9, 16, 23, 30]
    assert [at.day for at in labelled(days[:5], "day")] == [1, 2, 3, 4, 5]


def test_what_is_not_by_time_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="by hour, day, week or month") as caught:
        charts.spend_over_time(table(row("a", cost="1"), by=("user",)))
    assert caught.value.code == "not_a_time_group"


# --- how they look


def test_people_s_words_are_drawn_as_they_are(november: outlay.Ledger) -> None:
    said = drawn_texts(charts.svg(charts.top_bar(table(row("<b>&amp;\"'</b> datum.cost", cost="1"), by=("user",)))))
    assert "&lt;b&gt;&amp;amp;" in said
    assert "datum.cost" in said


@pytest.mark.parametrize(
    ("currency", "figures", "expected"),
    [
        ("USD", ["0.001", "0.002"], ["$0", "$0.0005", "$0.001", "$0.0015", "$0.002"]),
        ("EUR", ["1", "2"], ["€0", "€0.50", "€1", "€1.50", "€2"]),
        ("SEK", ["1000000", "2000000"], ["0 SEK", "500k SEK", "1M SEK", "1.5M SEK", "2M SEK"]),
        ("USD", ["4000000000"], ["$0", "$1B", "$2B", "$3B", "$4B"]),
    ],
)
def test_an_axis_of_money_reads_like_money(currency: str, figures: list[str], expected: list[str]) -> None:
    rows = [row(f"2026-11-0{n}", cost=cost) for n, cost in enumerate(figures, 1)]
    said = drawn_texts(charts.svg(charts.spend_over_time(table(*rows, by=("day",), currency=currency))))
    for label in expected:
        assert label in said, said


def test_a_currencys_name_is_no_code() -> None:
    assert '"it\\"s"' not in money_label("USD")
    assert "alert" not in charts.svg(charts.sparkline([1], currency="USD"))


def channel(value: int) -> float:
    part = value / 255
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def linear(colour: str) -> tuple[float, float, float]:
    red, green, blue = (channel(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return red, green, blue


def contrast(first: str, second: str) -> float:
    """By WCAG 2.2."""
    low, high = sorted(
        0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (linear(first), linear(second))
    )
    return (high + 0.05) / (low + 0.05)


SEEN_BY = {
    "most people": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
"""Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB as people without one kind of cone see it."""


def oklab(colour: str, matrix: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """A perceptually even space (Ottosson, 2020): a distance of 0.02 is just noticed."""
    red, green, blue = (
        sum(weight * part for weight, part in zip(line, linear(colour), strict=True)) for line in matrix
    )
    cones = (
        0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue,
        0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue,
        0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue,
    )
    long, middle, short = (abs(cone) ** (1 / 3) * (1 if cone >= 0 else -1) for cone in cones)
    return (
        0.2104542553 * long + 0.793617785 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.428592205 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.808675766 * short,
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_stands_out_from_its_ground(theme: charts.Theme) -> None:
    found = charts.config(theme)
    ground = found["background"]
    for colour in (*charts.SERIES, REST_COLOUR):
        assert contrast(colour, ground) >= 3, colour
    for words in (found["title"]["color"], found["axis"]["labelColor"], found["style"]["note_word"]["color"]):
        assert contrast(words, ground) >= 4.5, words
    for style in ("over", "less", "limit", "usual_line"):
        assert contrast(found["style"][style]["color"], ground) >= 3, style


@pytest.mark.parametrize("who", SEEN_BY)
def test_series_can_be_told_apart_by_people_who_see_fewer_colours(who: str) -> None:
    for first, second in combinations((*charts.SERIES, REST_COLOUR), 2):
        one, other = (oklab(colour, SEEN_BY[who]) for colour in (first, second))
        distance = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5
        assert distance >= 0.06, f"{first} and {second} are {distance:.3f} apart for people who see {who}"
