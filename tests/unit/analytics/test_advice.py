"""Advice: each rule from hand-made calls or metrics, savings that multiply, decisions, and what they did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import outlay
from outlay.advising import AdviceReport, read_utilisation
from outlay.analytics.advice import Advice, AdviceState, Effort, joint, plan, shares
from outlay.analytics.advise_stack import Utilisation
from outlay.analytics.checklist import ITEMS, Tick
from outlay.analytics.stack import Amounts
from outlay.analytics.stack_file import StackFile, read_stack_file
from outlay.errors import InvalidInput, NotFound
from outlay.estimating import PriceText
from outlay.money import Money

ROOT = Path(__file__).parents[3]
SEEDS = ROOT / "examples" / "seeds" / "prices.toml"
NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture
def clock() -> outlay.FrozenClock:
    return outlay.FrozenClock(NOON)


def call(ledger: outlay.Ledger, number: int = 0, every: timedelta = timedelta(hours=1), **fields: Any) -> None:
    """One call, `number` steps before noon."""
    given = {"provider": "openai", "service": "gpt-4o", "feature": "tags", **fields}
    ledger.record(time=NOON - number * every, **given)


def of_rule(report: AdviceReport, rule: str) -> Advice:
    found = [one for one in report.measures if one.rule == rule]
    assert len(found) == 1, [one.rule for one in report.measures]
    return found[0]


def rules(report: AdviceReport) -> set[str]:
    return {one.rule for one in report.measures}


def a_month(amount: str, days: int = 30) -> int:
    """What was spent in the days looked at, a month of 365 / 12 days."""
    return round(Fraction(Money.of(amount).pico) * Fraction(365, 12) / days)


# Calls


def test_a_simple_task_is_for_a_cheaper_model(memory: outlay.Ledger) -> None:
    for number in range(100):
        call(memory, number, usage={"input_tokens": 1000, "output_tokens": 100}, user="u1")
    found = of_rule(memory.advice(), "cheaper_model")
    # gpt-4o 0.0025 + 0.001 a call, gpt-4o-mini 0.00015 + 0.00006: 94 % less of 100 calls' 0.35
    assert found.cost == a_month("0.35")
    assert found.share == (470_000_000, 940_000_000)
    assert "gpt-4o-mini" in found.title
    assert ("output tokens, 90 %", "100 or fewer") in found.evidence
    assert found.assumptions


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 1000, "output_tokens": 400},
        {"input_tokens": 5000, "output_tokens": 100},
        {"input_tokens": 1000, "output_tokens": 200, "output_reasoning_tokens": 100},
    ],
)
def test_a_task_that_is_not_simple_is_left_alone(memory: outlay.Ledger, usage: dict[str, int]) -> None:
    for number in range(100):
        call(memory, number, usage=usage, user="u1")
    assert "cheaper_model" not in rules(memory.advice())


def test_a_few_calls_say_nothing(memory: outlay.Ledger) -> None:
    for number in range(19):
        call(memory, number, usage={"input_tokens": 1000, "output_tokens": 100})
    assert memory.advice().measures == ()


def test_what_nobody_waits_for_goes_by_batch(memory: outlay.Ledger) -> None:
    for number in range(50):
        call(memory, number, usage={"input_tokens": 5000, "output_tokens": 900})
    found = of_rule(memory.advice(), "batch")
    assert found.share == (250_000_000, 500_000_000)  # half the price, for half of the calls or all
    for number in range(50):
        call(memory, number, usage={"input_tokens": 5000, "output_tokens": 900}, user="u1", feature="chat")
    assert {one.target for one in memory.advice().measures if one.rule == "batch"} == {found.target}


def test_prompts_asked_again_within_minutes_may_be_cached(memory: outlay.Ledger) -> None:
    for number in range(100):
        call(memory, number, timedelta(minutes=1), usage={"input_tokens": 10_000, "output_tokens": 900}, user="u")
    found = of_rule(memory.advice(), "caching_pays")
    # 0.025 + 0.009 a call; 3,000 to 7,000 tokens at half price in 99 of 100 calls: 0.00375 and 0.00875 less
    expected = [Fraction(part) / Fraction("0.034") * Fraction(99, 100) for part in ("0.00375", "0.00875")]
    assert [round(Fraction(one, 10**9), 6) for one in found.share] == [round(one, 6) for one in expected]
    rare = {one.rule for one in _asked_every(memory, timedelta(hours=6)).measures}
    assert "caching_pays" not in rare


def _asked_every(memory: outlay.Ledger, every: timedelta) -> AdviceReport:
    for number in range(60):
        usage = {"input_tokens": 10_000, "output_tokens": 900}
        call(memory, number, every, usage=usage, user="u", feature="rare")
    return memory.advice(where={"feature": "rare"})


def test_a_cache_that_is_written_and_not_read_does_not_pay(memory: outlay.Ledger) -> None:
    usage = {"input_tokens": 10_000, "cache_write_tokens": 8_000, "output_tokens": 400}
    for number in range(50):
        call(memory, number, provider="anthropic", service="claude-sonnet-4-0", usage=usage, user="u")
    found = of_rule(memory.advice(), "caching_does_not_pay")
    # 2,000 × 3 + 8,000 × 3.75 + 400 × 15 = 0.042; without it 10,000 × 3 + 400 × 15 = 0.036: a seventh
    assert found.share == (142_857_143, 142_857_143)


def test_a_cache_that_is_read_pays_and_is_left_alone(memory: outlay.Ledger) -> None:
    usage = {"input_tokens": 10_000, "cache_write_tokens": 500, "cache_read_tokens": 8_000, "output_tokens": 400}
    for number in range(50):
        call(memory, number, provider="anthropic", service="claude-sonnet-4-0", usage=usage, user="u")
    assert "caching_does_not_pay" not in rules(memory.advice())


def test_a_maximum_far_above_use_is_named_though_it_costs_nothing(memory: outlay.Ledger) -> None:
    for number in range(100):
        usage = {"input_tokens": 5000, "output_tokens": 500}
        call(memory, number, usage=usage, parameters={"max_tokens": 16_000}, user="u")
    found = of_rule(memory.advice(), "maximum")
    assert found.saving == Amounts(0, 0)
    assert "from 16,000 to 1,000" in found.title


def test_a_context_that_grows_costs_what_came_on_top(memory: outlay.Ledger) -> None:
    for number in range(90):
        # The oldest call is the last of the loop: 1,000 tokens at first, 3,000 in the last third.
        tokens = 3_000 if number < 30 else 1_000
        call(memory, number, usage={"input_tokens": tokens, "output_tokens": 400}, user="u")
    found = of_rule(memory.advice(), "growing_context")
    # 30 × 2,000 tokens at 2.50 a million = 0.15 of 150,000 × 2.50 + 36,000 × 10 = 0.735
    assert found.cost == a_month("0.735")
    assert round(Fraction(found.share[1], 10**9), 6) == round(Fraction(15, 100) / Fraction("0.735"), 6)
    assert ("input tokens, lately", "3,000") in found.evidence


def test_inputs_far_above_the_median_are_found(memory: outlay.Ledger) -> None:
    for number in range(100):
        tokens = 50_000 if number % 10 == 0 else 1_000
        call(memory, number, usage={"input_tokens": tokens, "output_tokens": 400}, user="u")
    found = of_rule(memory.advice(), "outlying_inputs")
    # 10 × (50,000 − 8,000) × 2.50 a million = 1.05 of 590,000 × 2.50 + 40,000 × 10 = 1.875
    assert round(Fraction(found.share[1], 10**9), 6) == round(Fraction("1.05") / Fraction("1.875"), 6)


def test_the_same_prompt_within_a_day_is_known_by_its_hash_alone(memory: outlay.Ledger) -> None:
    usage = {"input_tokens": 5_000, "output_tokens": 900}
    for number in range(40):
        call(memory, number, usage=usage, tags={"prompt_hash": f"h{number % 10}"}, user="u")
    found = of_rule(memory.advice(), "repeated_prompts")
    # Ten prompts asked four times each, ten hours apart: 30 of 40 calls repeat one.
    assert found.share == (375_000_000, 750_000_000)
    assert ("calls that repeat one of the last day, by hash", "30") in found.evidence


def test_a_loop_that_calls_again_for_one_step_is_found(memory: outlay.Ledger) -> None:
    usage = {"input_tokens": 5_000, "output_tokens": 900}
    for number in range(20):
        call(memory, number, usage=usage, job=f"video-{number}", step="image-1", user="u")
    assert "retries" not in rules(memory.advice())
    for number in range(60):
        call(memory, number, usage=usage, job="video-7", step="image-2", user="u")
    found = of_rule(memory.advice(), "retries")
    # 59 of 80 calls were made again for what was made already.
    assert found.share == (368_750_000, 737_500_000)
    assert ("the most, step image-2 of video-7", "60 calls") in found.evidence


def test_failed_calls_that_cost_are_told(memory: outlay.Ledger) -> None:
    for number in range(40):
        status = "failed" if number % 4 == 0 else "ok"
        call(memory, number, usage={"input_tokens": 5_000, "output_tokens": 900}, status=status, user="u")
    found = of_rule(memory.advice(), "failures")
    assert found.share == (125_000_000, 250_000_000)
    assert ("failed calls", "10") in found.evidence


# A stack

STACK = """
[stack]
region = "us-east-1"
environment = "{environment}"
free_allowances = false
[resource.database]
kind = "rds"
instance = "db.t4g.medium"
storage_gb = 20
[resource.backend]
kind = "fargate"
vcpu = 1
memory_gb = 2
[resource.logs]
kind = "logs"
gb_ingested = 5
[resource.transfer]
kind = "transfer"
gb_out = 100
"""


def stack(environment: str = "prod", more: str = "") -> StackFile:
    return read_stack_file(STACK.format(environment=environment) + more, "stack.toml")


def busy(resource: str, cpu: str, memory: str, hours: int = 336) -> list[Utilisation]:
    return [
        Utilisation(resource=resource, metric=metric, hours=((Decimal(highest) / 2, Decimal(highest)),) * hours)
        for metric, highest in (("cpu", cpu), ("memory", memory))
    ]


def saves(report: AdviceReport, rule: str) -> tuple[Decimal, Decimal]:
    found = of_rule(report, rule).saving
    return Money(found.low).amount, Money(found.high).amount


def test_a_reserved_instance_has_its_break_even(memory: outlay.Ledger) -> None:
    found = of_rule(memory.advice(stack=stack()), "reserved_1y_no_upfront")
    # 730 × (0.065 − 0.0465) of 730 × 0.065 + 20 × 0.115 = 49.75
    assert (Money(found.cost).amount, found.commits) == (Decimal("49.75"), True)
    assert round(Money(found.saving.high).amount, 6) == Decimal("13.505")
    assert ("pays above", "71.54 % of the hours") in found.evidence  # 0.0465 / 0.065


def test_the_seeds_reserved_database_breaks_even_after_6_61_months(memory: outlay.Ledger) -> None:
    seeds = read_stack_file((ROOT / "examples" / "stack.toml").read_text(), "stack.toml")
    report = memory.advice(stack=seeds, prices=SEEDS)
    found = of_rule(report, "reserved_1y_all_upfront")
    assert dict(found.evidence)["break-even"] == "6.61 months"
    assert round(Money(found.saving.high).amount, 6) == Decimal("5.576667")


DATABASE = 'region = "us-east-1", instance = "db.t4g.medium", engine = "postgresql"'


def test_a_part_paid_upfront_is_proposed_where_it_has_a_price(memory: outlay.Ledger) -> None:
    assert "reserved_1y_partial_upfront" not in rules(memory.advice(stack=stack()))
    # 195.00 once and 0.0223 for each of 8,760 hours: 390.348 a year, 0.04456 an hour; 730 × (0.065 − 0.04456).
    offer = """
[[service]]
provider = "aws"
service = "rds"
source = "an offer"
rates = [
  { meter = "instance_hours", price = "390.348", per = 8_760, conditions = { SIZE } },
]
""".replace("SIZE", f'{DATABASE}, purchase = "reserved_1y_partial_upfront"')
    found = of_rule(memory.advice(stack=stack(), prices=PriceText(offer)), "reserved_1y_partial_upfront")
    assert round(Money(found.saving.high).amount, 3) == Decimal("14.921")
    assert ("pays above", "68.55 % of the hours") in found.evidence


def test_what_was_never_above_half_for_two_weeks_is_halved(memory: outlay.Ledger) -> None:
    report = memory.advice(stack=stack(), utilisation=busy("backend", "49", "30"))
    assert saves(report, "rightsizing") == (Decimal("18.02005"), Decimal("18.02005"))


@pytest.mark.parametrize(
    ("cpu", "memory_percent", "hours"), [("50", "30", 336), ("30", "50", 336), ("49", "30", 335)]
)
def test_what_was_busy_for_an_hour_or_is_not_known_for_two_weeks_stays(
    memory: outlay.Ledger, cpu: str, memory_percent: str, hours: int
) -> None:
    report = memory.advice(stack=stack(), utilisation=busy("backend", cpu, memory_percent, hours))
    assert not {"rightsizing", "idle"} & rules(report)


def test_what_nothing_uses_is_stopped(memory: outlay.Ledger) -> None:
    report = memory.advice(stack=stack(), utilisation=busy("database", "1.9", "60"))
    assert saves(report, "idle") == (Decimal("49.75"), Decimal("49.75"))


def test_only_development_is_stopped_at_night(memory: outlay.Ledger) -> None:
    assert "schedule" not in rules(memory.advice(stack=stack()))
    report = memory.advice(stack=stack("dev"))
    # Half of 36.0401, and with weekends off 1 − 0.5 × 5/7 of it
    low, high = saves(report, "schedule")
    assert (low, round(high, 4)) == (Decimal("18.02005"), Decimal("23.1686"))
    assert "reserved_1y_no_upfront" not in rules(report)


def test_logs_and_a_cdn_above_50_gb(memory: outlay.Ledger) -> None:
    report = memory.advice(stack=stack())
    assert saves(report, "logs") == (Decimal("1.25"), Decimal("1.75"))
    # 100 × (0.09 − 0.085); with its allowance of 1 TB all 9.00
    assert round(saves(report, "cdn")[1], 6) == Decimal("0.5")
    few = stack(more='[resource.small]\nkind = "transfer"\ngb_out = 50\n')
    assert [one.target for one in memory.advice(stack=few).measures if one.rule == "cdn"] == ["stack/transfer"]


def test_of_savings_on_one_thing_the_seeds_come_to_28_56_and_not_42_17(memory: outlay.Ledger) -> None:
    seeds = (ROOT / "examples" / "stack.toml").read_text().replace("[stack]", '[stack]\nenvironment = "dev"', 1)
    report = memory.advice(
        stack=read_stack_file(seeds, "stack.toml"), prices=SEEDS, utilisation=busy("backend", "40", "40")
    )
    chosen = [one for one in report.measures if one.rule in ("rightsizing", "schedule", "savings_plan")]
    together = joint(chosen)
    # 36.0401 × (1 − 0.5 × 0.5 × 0.83) at twelve hours a day
    assert round(Money(together.saving.low).amount, 6) == Decimal("28.561779")
    assert round(Money(together.sum_of_single.low).amount, 6) == Decimal("42.166917")


def test_what_the_ledger_holds_of_a_row_is_what_its_saving_is_taken_of(memory: outlay.Ledger) -> None:
    for day in range(30):
        memory.record(
            provider="aws",
            service="CloudWatch",
            reported_cost=Decimal(2),
            basis="reported",
            time=NOON - timedelta(day),
        )
    found = of_rule(memory.advice(stack=stack()), "logs")
    assert found.cost == a_month("60")
    assert (found.saving.low, found.saving.high) == pytest.approx((a_month("30"), a_month("42")), abs=1)
    assert found.where == {"provider": ("aws",), "service": ("CloudWatch",)}


# Together


def measure(target: str, share: tuple[str, str], name: str = "a", cost: int = 1000, **fields: Any) -> Advice:
    values: dict[str, Any] = {"effort": Effort.EASY, "how": (), **fields}
    return Advice(
        id=f"{name}-{target}", rule=name, title="", target=target, cost=cost, share=shares(*share), **values
    )


def test_of_alternatives_the_best_counts_and_what_is_done_or_dismissed_does_not() -> None:
    plans = [
        measure("t", ("0.2", "0.2"), "plan", alternative="purchase"),
        measure("t", ("0.5", "0.7"), "spot", alternative="purchase"),
        measure("t", ("0.9", "0.9"), "no", state=AdviceState.DISMISSED),
        measure("t", ("0.9", "0.9"), "done", state=AdviceState.ACCEPTED),
    ]
    found = joint(plans)
    assert (found.saving, found.counted, found.left_out) == (Amounts(500, 700), ("spot-t",), ("plan-t",))


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 100), st.integers(0, 100), st.integers(0, 10**15)),
        max_size=12,
    )
)
def test_savings_together_never_exceed_their_cost_nor_their_sum(
    found: Sequence[tuple[str, int, int, int]],
) -> None:
    costs = {"a": 10**12, "b": 7, "c": 0}
    measures = [
        measure(target, (f"{min(low, high)}/100", f"{max(low, high)}/100"), f"r{at}", costs[target])
        for at, (target, low, high, _) in enumerate(found)
    ]
    together = joint(measures)
    assert 0 <= together.saving.low <= together.saving.high <= together.cost
    # A unit a target is what rounding may differ by.
    assert together.saving.high <= together.sum_of_single.high + len(measures)
    months = plan(measures, sum(costs.values()))
    assert [one.saving.high for one in months] == sorted(one.saving.high for one in months)
    assert months[-1].saving == together.saving


def test_what_is_easy_comes_first_commitments_after_a_month_and_the_hard_last() -> None:
    found = plan(
        [
            measure("t", ("0.1", "0.2")),
            measure("u", ("0.5", "0.5"), "reserved", commits=True),
            measure("t", ("0.5", "0.5"), "rewrite", effort=Effort.HARD),
        ],
        5000,
    )
    assert [one.measures for one in found] == [("a-t",), ("reserved-u",), ("rewrite-t",)]
    # 100–200; 500 more; 1,000 × (1 − 0.9 × 0.5) = 550 to 600, and 500
    assert [one.saving for one in found] == [Amounts(100, 200), Amounts(600, 700), Amounts(1050, 1100)]
    assert found[-1].left == Amounts(3900, 3950)


# Decisions


def test_a_decision_is_kept_and_its_effect_is_measured(ledger: outlay.Ledger, clock: outlay.FrozenClock) -> None:
    for number in range(1, 29):
        call(ledger, number, timedelta(days=1), usage={"input_tokens": 5_000, "output_tokens": 900})
    found = of_rule(ledger.advice(), "batch")
    with pytest.raises(NotFound):
        ledger.advice_effect(found.id)
    ledger.decide_advice(found, "accepted", why="from today on", who="ana")
    kept = of_rule(ledger.advice(), "batch")
    assert (kept.state, kept.why) == (AdviceState.ACCEPTED, "ana: from today on")
    for day in range(1, 15):
        clock.advance(days=1)
        call(
            ledger,
            -day,
            timedelta(days=1),
            usage={"input_tokens": 5_000, "output_tokens": 900},
            conditions={"processing": "batch"},
        )
    effect = ledger.advice_effect(found.id)
    # 0.0125 + 0.009 = 0.0215 a call, and half of it since; one call a day before and since
    assert effect.a_call == (Money.of("0.0215").pico, Money.of("0.01075").pico)
    assert (effect.calls_before, effect.calls_after, effect.days_after) == (28, 14, Fraction(14))
    # 0.01075 a day less, times 365 / 12
    assert effect.saved_a_month == effect.saved_at_same_volume == 326_979_166_667
    ledger.decide_advice(found, AdviceState.OPEN)
    assert ledger.accepted_advice() == []


def test_what_is_no_state_is_refused(memory: outlay.Ledger) -> None:
    with pytest.raises(InvalidInput, match="state is one of"):
        memory.decide_advice(measure("t", ("0", "1")), "done")
    with pytest.raises(InvalidInput, match="whole days"):
        memory.advice(days=0)
    with pytest.raises(InvalidInput, match=r"\[average, maximum\]"):
        read_utilisation({"backend": {"cpu": [5]}})


# The checklist


def test_the_24_items_are_ticked_from_facts_or_left_to_people(memory: outlay.Ledger) -> None:
    assert len(ITEMS) == 24
    memory.budget("month", limits={"day": "2", "month": "60"})
    call(memory, usage={"input_tokens": 10, "cache_read_tokens": 5, "output_tokens": 5}, job="video-7")
    memory.finish("video-7")
    described = stack(more='[scenario.a]\n"resource.database" = { kind = "aurora", acu = "0.5" }\n')
    used = busy("backend", "80", "80")
    report = memory.advice(stack=described, utilisation=used)
    found = memory.checklist(
        report, stack=described, utilisation=used, facts={"lifecycle": (True, "active in films")}
    )
    ticks = {one.item.text: (one.tick, one.fact) for one in found}
    assert ticks["S3 lifecycle policies are active"] == (Tick.DONE, "active in films")
    assert ticks["budget alerts at 50, 80 and 100 %"] == (Tick.DONE, "month")
    assert ticks["anomaly detection"][0] is Tick.OPEN
    assert ticks["AI costs tracked per video"][0] is Tick.DONE
    assert ticks["ECS tasks right-sized if below 50 %"] == (Tick.DONE, "nothing to advise")
    assert ticks["log verbosity reviewed"] == (Tick.OPEN, "open: Log less in logs")
    assert ticks["Aurora Serverless evaluated"][0] is Tick.DONE
    assert ticks["multi-region deployment considered"] == (Tick.BY_HAND, "")
    unknown = {one.item.text for one in memory.checklist(memory.advice()) if one.tick is Tick.UNKNOWN}
    assert "no unused resources running" in unknown
