"""A stack before it is built: hours, steady states, allowances, steps, ranges, scenarios, and the bill beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import outlay
from outlay.analytics.against import ELSEWHERE
from outlay.analytics.stack import Amounts, StackEstimate
from outlay.analytics.stack_file import read_stack_file
from outlay.analytics.volumes import Step, Volume, shipped_volumes, stepped
from outlay.errors import InvalidInput, NotFound
from outlay.meters import METERS
from outlay.model import PricedLine, Rate
from outlay.money import Money

HEAD = '[stack]\nregion = "us-east-1"\n'


def estimated(ledger: outlay.Ledger, text: str, head: str = HEAD) -> StackEstimate:
    return ledger.estimate_stack(read_stack_file(head + text, "stack.toml").stack)


def month(ledger: outlay.Ledger, text: str, head: str = HEAD) -> Decimal:
    found = estimated(ledger, text, head)
    assert not found.unrated
    return Money(found.month.low).amount


def test_a_database_costs_its_hours_and_its_storage_and_backups_beyond_it(memory: outlay.Ledger) -> None:
    text = '[resource.d]\nkind = "rds"\ninstance = "db.t4g.micro"\nstorage_gb = 20\nbackup_gb = 25\n'
    # 730 × 0.016 + 20 × 0.115 + 5 × 0.095 = 11.68 + 2.30 + 0.475
    assert month(memory, text) == Decimal("14.455")


@pytest.mark.parametrize(
    ("fields", "amount"),
    [
        ("", "36.0401"),  # 730 × (0.04048 + 2 × 0.004445)
        ("hours_a_day = 12\n", "18.02005"),
        ("hours_a_day = 12\ndays_a_week = 3.5\n", "9.010025"),
        ("tasks = 3\n", "108.1203"),
        # 730 × 0.032384 + 1,460 × 0.003556
        ('purchase = "compute_savings_1y"\n', "28.83208"),
    ],
)
def test_a_task_costs_the_hours_it_runs(memory: outlay.Ledger, fields: str, amount: str) -> None:
    assert month(memory, f'[resource.t]\nkind = "fargate"\nvcpu = 1\nmemory_gb = 2\n{fields}') == Decimal(amount)


def test_what_is_reserved_is_paid_for_every_hour(memory: outlay.Ledger) -> None:
    text = '[resource.c]\nkind = "elasticache"\ninstance = "cache.t4g.micro"\nhours_a_day = 6\n'
    assert month(memory, text) == Decimal("2.92")  # 182.5 × 0.016
    assert month(memory, text + 'purchase = "reserved_1y_no_upfront"\n') == Decimal("8.03")  # 730 × 0.011


def test_a_prefix_holds_what_comes_in_a_day_for_as_long_as_it_is_kept(memory: outlay.Ledger) -> None:
    text = '[resource.b]\nkind = "s3"\n[resource.b.prefix]\ntemp = { gb_a_day = 10, expires_days = 7 }\n'
    assert month(memory, text) == Decimal("1.61")  # 70 × 0.023
    kept = "[resource.b.prefix]\nmade = { gb = 90, measured_days = 30, expires_days = 10 }\n"
    assert month(memory, '[resource.b]\nkind = "s3"\n' + kept) == Decimal("0.69")  # 30 × 0.023


def test_an_allowance_is_given_once_however_many_rows_use_it(memory: outlay.Ledger) -> None:
    rows = "".join(f'[resource.{name}]\nkind = "transfer"\ngb_out = 80\n' for name in ("a", "b"))
    found = estimated(memory, rows)
    # 160 GB of which 100 are free: 60 × 0.09; the first row pays nothing, the second for 60.
    assert [Money(row.month.low).amount for row in found.rows] == [Decimal("0.00"), Decimal("5.40")]
    assert [line.low.quantity for line in found.rows[1].lines] == [80, -20]
    assert month(memory, rows, HEAD + "free_allowances = false\n") == Decimal("14.40")


def test_a_volume_beyond_a_step_costs_the_steps_price(memory: outlay.Ledger) -> None:
    text = '[resource.t]\nkind = "transfer"\ngb_out = 60_000\n'
    found = estimated(memory, text)
    # 10,240 × 0.09 + 40,960 × 0.085 + 8,800 × 0.07 − 100 × 0.09 = 921.60 + 3,481.60 + 616 − 9
    assert Money(found.month.low).amount == Decimal("5010.20")
    assert [line.low.quantity for line in found.rows[0].lines] == [10240, 40960, 8800, -100]


def test_a_price_of_ones_own_has_no_steps_but_its_own(memory: outlay.Ledger) -> None:
    memory.add_rate(
        provider="aws",
        service="data-transfer",
        meter="gb_transferred_out",
        price="0.05",
        conditions={"region": "us-east-1"},
    )
    # (60,000 − 100) × 0.05
    assert month(memory, '[resource.t]\nkind = "transfer"\ngb_out = 60_000\n') == Decimal("2995.00")


@given(st.integers(1, 10**7), st.integers(0, 10**7))
def test_a_line_cut_at_steps_keeps_its_quantity_and_never_costs_more(quantity: int, before: int) -> None:
    rate = Rate(provider="p", service="s", meter="gb", price=Decimal("0.09"), per=1)
    volume = Volume(
        provider="p",
        service="s",
        meter="gb",
        steps=(Step(Decimal(10_240), Decimal("0.085")), Step(Decimal(51_200), Decimal("0.07"))),
        source="",
        date="",
    )
    whole = PricedLine("gb", quantity, Money.of(Decimal("0.09") * quantity).pico, rate)
    parts = stepped(whole, Decimal(before), volume)
    assert sum(part.quantity for part in parts) == quantity
    assert Money.of(Decimal("0.07") * quantity).pico <= sum(part.amount for part in parts) <= whole.amount


def test_the_shipped_volumes_have_sources_and_falling_prices() -> None:
    for volume in shipped_volumes():
        assert volume.meter in METERS
        assert volume.source.startswith("https://aws.amazon.com/")
        assert volume.date
        assert volume.free or volume.steps
        assert list(volume.steps) == sorted(volume.steps, key=lambda step: (step.above, -step.price))
        assert [step.price for step in volume.steps] == sorted((step.price for step in volume.steps), reverse=True)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=5))
def test_allowances_never_make_a_bill_negative(sent: list[int]) -> None:
    rows = "".join(f'[resource.r{at}]\nkind = "transfer"\ngb_out = {gb}\n' for at, gb in enumerate(sent))
    with outlay.open("memory:") as ledger:
        found = estimated(ledger, rows)
        assert all(row.month.low >= 0 for row in found.rows)
        assert found.month.low == max(0, sum(sent) - 100) * Money.of("0.09").pico


VIDEO = """
[work.video]
units = 100
duration_s = {duration}
[work.video.step.clip]
provider = "acme"
service = "clips"
usage = {{ runs = 1 }}
every_s = "7.5"
"""


def with_range(ledger: outlay.Ledger) -> outlay.Ledger:
    rate = Rate(
        provider="acme",
        service="clips",
        meter="runs",
        price=Decimal("0.02"),
        per=1,
        price_high=Decimal("0.05"),
        origin="user",
    )
    ledger.add_rates([rate])
    return ledger


@pytest.mark.parametrize(("duration", "clips"), [(15, 2), (16, 3), (60, 8)])
def test_a_range_makes_both_ends_and_a_longer_video_more_clips(
    memory: outlay.Ledger, duration: int, clips: int
) -> None:
    found = estimated(with_range(memory), VIDEO.format(duration=duration))
    assert found.month == Amounts(Money.of(2 * clips).pico, Money.of(5 * clips).pico)  # × 100 × 0.02 to 0.05
    assert found.rows[0].unit == Amounts(Money.of(f"{2 * clips}e-2").pico, Money.of(f"{5 * clips}e-2").pico)


def test_a_margin_is_a_line_of_its_own(memory: outlay.Ledger) -> None:
    found = estimated(memory, '[resource.e]\nkind = "ecr"\ngb = 10\n', HEAD + "margin_percent = 10\n")
    # 10 × 0.10 and a tenth of it
    assert [Money(one.low).amount for one in (found.net, found.margin, found.month, found.year)] == [
        Decimal("1.00"),
        Decimal("0.10"),
        Decimal("1.10"),
        Decimal("13.20"),
    ]


def test_a_row_of_nothing_says_why_and_what_has_no_price_is_not_nothing(memory: outlay.Ledger) -> None:
    none = '[resource.n]\nkind = "nat"\nnone = "public subnets"\n'
    unknown = '[resource.d]\nkind = "rds"\ninstance = "db.unheard.of"\n'
    found = estimated(memory, none + unknown)
    assert (found.rows[0].month, found.rows[0].reason) == (Amounts(0, 0), "public subnets")
    assert [(row, one.meter) for row, one in found.unrated] == [("d", "instance_hours")]


def test_a_scenario_changes_what_it_names_and_nothing_else(memory: outlay.Ledger) -> None:
    text = (
        '[resource.t]\nkind = "fargate"\nvcpu = 1\nmemory_gb = 2\n[resource.e]\nkind = "ecr"\ngb = 10\n'
        '[scenario."half"]\n"resource.t.vcpu" = "0.5"\n"resource.t.memory_gb" = 1\n'
        '[scenario."Aurora"]\n"resource.e" = { kind = "aurora", acu = "0.5" }\n'
    )
    base, found = memory.estimate_scenarios(read_stack_file(HEAD + text, "stack.toml"))
    assert Money(base.month.low).amount == Decimal("37.0401")
    # −18.02005; 0.5 × 730 × 0.12 − 1.00
    assert [(one.name, Money(one.change.low).amount) for one in found] == [
        ("half", Decimal("-18.02005")),
        ("Aurora", Decimal("42.80")),
    ]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "bad_stack", "resource"),
        ('[resource.x]\nkind = "ship"\n', "bad_stack", "'ship' is none of rds"),
        ('[resource.x]\nkind = "ecr"\ngb = "much"\n', "bad_stack", "[resource.x] gb 'much' is no number"),
        ('[resource.x]\nkind = "ecr"\ngb = -1\n', "bad_stack", "must not be negative"),
        ('[resource.x]\nkind = "ecr"\ngb = 1\nsize = 2\n', "bad_stack", "size is not known here"),
        ('[resource.x]\nkind = "fargate"\nvcpu = 0\nmemory_gb = 1\n', "bad_stack", "must be above 0"),
        ('[resource.x]\nkind = "nat"\nhours_a_day = 25\n', "bad_stack", "at most 24"),
        ('[resource.x]\nkind = "s3"\n[resource.x.prefix]\na = { gb_a_day = 1 }\n', "bad_stack", "no steady state"),
        (
            '[resource.x]\nkind = "usage"\nprovider = "a"\nservice = "b"\nusage = { shoes = 1 }\n',
            "unknown_meter",
            "shoes",
        ),
        ("[work.v]\nunits = 1\n", "bad_stack", "step"),
        ('[resource.e]\nkind = "ecr"\ngb = 1\n[scenario.s]\n"resource.f.gb" = 2\n', "bad_scenario", "resource.f.gb"),
        ('[resource.e]\nkind = "ecr"\ngb = 1\n[scenario.s]\n"resource.e.size" = 2\n', "bad_stack", "size"),
        ("[resource", "bad_stack", "not TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, code: str, said: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_stack_file(HEAD + text, "stack.toml")
    assert refused.value.code == code
    assert said in refused.value.message


# What it really cost


def billed(ledger: outlay.Ledger, service: str, cost: str, provider: str = "aws") -> None:
    ledger.record(
        provider=provider,
        service=service,
        reported_cost=Decimal(cost),
        basis="reported",
        time=datetime(2026, 2, 10, tzinfo=UTC),
    )


def test_an_estimate_is_set_beside_the_bill_row_by_row(memory: outlay.Ledger) -> None:
    text = (
        '[resource.database]\nkind = "rds"\ninstance = "db.t4g.micro"\n'
        '[resource.bucket]\nkind = "s3"\ngb = 100\n[resource.requests]\nkind = "s3"\nput_requests = 1000\n'
    )
    found = estimated(with_range(memory), text + VIDEO.format(duration=15))
    billed(memory, "RDS", "11.00")
    billed(memory, "Amazon Simple Storage Service", "2.50")
    billed(memory, "clips", "3.00", provider="acme")
    billed(memory, "Mystery", "7.00")
    beside = memory.stack_against(found, since="2026-02-01", until="2026-03-01", units={"video": 60})
    rows = {row.name: (Money(row.estimated.low).amount, Money(row.actual).amount) for row in beside.rows}
    # 28 days are 672 of 730 hours: 672 × 0.016 = 10.752; (100 × 0.023 + 0.005) × 672 / 730 = 2.1218630137
    assert rows["database"] == (Decimal("10.752"), Decimal("11.00"))
    assert rows["bucket, requests"] == (Decimal("2.121863013699"), Decimal("2.50"))
    # 60 videos at 0.04 to 0.10: 3.00 is within.
    assert rows["video"] == (Decimal("2.40"), Decimal("3.00"))
    assert next(row for row in beside.rows if row.name == "video").difference == 0
    assert rows[ELSEWHERE] == (Decimal("0.00"), Decimal("7.00"))
    assert Money(beside.actual).amount == Decimal("23.50")


# A job

STORY: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "step": "story"}


def test_a_job_is_priced_before_it_is_made_and_compared_with_what_it_cost(ledger: outlay.Ledger) -> None:
    with_range(ledger)
    steps = [
        {**STORY, "usage": {"output_tokens": 1000}, "count": 3},
        {"provider": "acme", "service": "clips", "usage": {"runs": 2}},
    ]
    found = ledger.estimate_job(steps, margin_percent="10", job="video-7")
    # 3 × 1,000 × 10 / 1M = 0.03, and 0.04 to 0.10; a tenth more
    assert (found.low, found.total) == (Money.of("0.077"), Money.of("0.143"))
    ledger.record(**STORY, usage={"output_tokens": 4000}, job="video-7")
    ledger.record(provider="openai", service="gpt-4o-mini", usage={"output_tokens": 1000}, job="video-7")
    made = ledger.estimate_against("video-7")
    assert [(part.service, Money(part.actual).amount, Money(part.difference).amount) for part in made.parts] == [
        ("gpt-4o", Decimal("0.04"), Decimal("0.01")),
        ("clips", Decimal("0.00"), Decimal("-0.04")),
        ("gpt-4o-mini", Decimal("0.0006"), Decimal("0.0006")),
    ]
    # 0.0406 lies below the low end, 0.07.
    assert made.difference == Money.of("-0.0294")


def test_what_cannot_be_estimated_is_refused(memory: outlay.Ledger) -> None:
    with pytest.raises(InvalidInput, match="at least one step"):
        memory.estimate_job([])
    with pytest.raises(InvalidInput, match="margin_percent"):
        memory.estimate_job([{**STORY, "usage": {"output_tokens": 1}}], margin_percent="-1")
    with pytest.raises(NotFound, match="no estimate is kept"):
        memory.estimate_against("video-8")
    unknown = memory.estimate_job([{"provider": "acme", "service": "x", "usage": {"runs": 1}}])
    assert [(step, one.meter) for step, one in unknown.unrated] == [("x", "runs")]
