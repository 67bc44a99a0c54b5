"""What rating promises, each with its arithmetic by hand."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, localcontext

import pytest
from tests.unit.pricing.builders import book_of, event, listed, own, shipped

from outlay.errors import InvalidInput
from outlay.model import Basis, ExchangeRate, PricingStatus, Status
from outlay.money import Money
from outlay.pricing.rate import rate

TOKENS = (
    listed("chat", "input_tokens", "2.50", 1_000_000),
    listed("chat", "cache_read_tokens", "1.25", 1_000_000),
    listed("chat", "output_tokens", "10", 1_000_000),
)


def test_cached_input_is_taken_out_of_input_and_the_lines_sum_to_the_total() -> None:
    used = {"input_tokens": 1200, "cache_read_tokens": 800, "output_tokens": 350}
    rating = rate(event("openai", "gpt-4o", used, conditions={"service_tier": "default"}), shipped())
    # 400 × 2.50 / 10⁶ + 800 × 1.25 / 10⁶ + 350 × 10 / 10⁶ = 0.001 + 0.001 + 0.0035
    assert [(line.meter, line.quantity, line.amount) for line in rating.lines] == [
        ("input_tokens", 400, 1_000_000_000),
        ("cache_read_tokens", 800, 1_000_000_000),
        ("output_tokens", 350, 3_500_000_000),
    ]
    assert str(Money(rating.amount)) == "$0.0055"
    assert rating.status is PricingStatus.PRICED


def test_a_child_without_a_rate_is_charged_inside_its_nearest_priced_ancestor_and_says_so() -> None:
    rating = rate(event("acme", "chat", {"output_tokens": 350, "output_reasoning_tokens": 100}), book_of(*TOKENS))
    whole, part = rating.lines
    assert (whole.quantity, part.meter, part.quantity) == (250, "output_reasoning_tokens", 100)
    assert part.rate is not None
    assert part.rate.meter == "output_tokens"
    assert part.note == "rate of output_tokens, no own rate"
    assert rating.amount == 3_500_000_000  # 350 × 10 / 10⁶
    assert rating.status is PricingStatus.PRICED


def test_parts_that_may_overlap_and_have_no_rate_are_counted_once_inside_the_whole() -> None:
    used = {"input_tokens": 1000, "input_text_tokens": 900, "cache_read_tokens": 800}
    rating = rate(event("acme", "chat", used), book_of(*TOKENS))
    assert {line.meter: line.quantity for line in rating.lines} == {"input_tokens": 200, "cache_read_tokens": 800}
    assert rating.lines[0].note == "includes input_text_tokens, without a rate of their own"
    with pytest.raises(InvalidInput, match="input_text_tokens 1001 are part of input_tokens, which is only 1000"):
        rate(event("acme", "chat", {**used, "input_text_tokens": 1001}), book_of(*TOKENS))


def test_overlapping_priced_parts_and_their_common_part_are_each_charged_once() -> None:
    rates = (
        *TOKENS,
        listed("chat", "input_audio_tokens", "40", 1_000_000),
        listed("chat", "cache_audio_read_tokens", "2.5", 1_000_000),
    )
    used = {"input_tokens": 1000, "cache_read_tokens": 300, "input_audio_tokens": 200, "cache_audio_read_tokens": 50}
    rating = rate(event("acme", "chat", used), book_of(*rates))
    # cached text 250, live audio 150, cached audio 50, and 1000 − 250 − 150 − 50 = 550 of plain text
    assert {line.meter: line.quantity for line in rating.lines} == {
        "input_tokens": 550,
        "cache_read_tokens": 250,
        "input_audio_tokens": 150,
        "cache_audio_read_tokens": 50,
    }


def test_overlapping_parts_given_as_decimals_come_out_the_same() -> None:
    rates = (
        *TOKENS,
        listed("chat", "input_audio_tokens", "40", 1_000_000),
        listed("chat", "cache_audio_read_tokens", "2.5", 1_000_000),
    )
    used = {"input_tokens": 1000, "cache_read_tokens": 300, "input_audio_tokens": 200, "cache_audio_read_tokens": 50}
    decimals = {meter: Decimal(quantity) for meter, quantity in used.items()}
    assert (
        rate(event("acme", "chat", decimals), book_of(*rates)).amount
        == rate(event("acme", "chat", used), book_of(*rates)).amount
    )


def test_a_whole_that_is_not_reported_is_the_sum_of_its_parts() -> None:
    used = {"cache_read_tokens": 800, "input_text_tokens": 100}
    rating = rate(event("acme", "chat", used), book_of(*TOKENS))
    # 800 × 1.25 / 10⁶ + 100 × 2.50 / 10⁶: nothing twice, nothing lost
    assert rating.amount == 1_250_000_000
    assert rating.status is PricingStatus.PRICED


def test_a_part_above_its_whole_is_refused_with_both_numbers() -> None:
    with pytest.raises(InvalidInput) as refused:
        rate(event("acme", "chat", {"input_tokens": 700, "cache_read_tokens": 800}), book_of(*TOKENS))
    assert refused.value.code == "part_exceeds_whole"
    assert str(refused.value).startswith("cache_read_tokens 800 are part of input_tokens, which is only 700")


def test_a_negative_quantity_is_refused_by_name_whole_or_not() -> None:
    for quantity in (-1, Decimal("-0.5")):
        with pytest.raises(InvalidInput) as refused:
            rate(event("acme", "chat", {"input_tokens": quantity}), book_of(*TOKENS))
        assert refused.value.code == "negative_quantity"


def test_an_unknown_meter_is_refused_with_near_names() -> None:
    with pytest.raises(InvalidInput, match="did you mean input_tokens"):
        rate(event("acme", "chat", {"input_token": 1}), book_of(*TOKENS))


def test_a_meter_without_a_rate_makes_the_event_incomplete_and_the_rest_counts() -> None:
    rating = rate(event("acme", "chat", {"input_tokens": 1000, "images": 2}), book_of(*TOKENS))
    assert rating.status is PricingStatus.INCOMPLETE
    assert rating.amount == 2_500_000_000
    assert [(each.meter, each.quantity) for each in rating.unrated] == [("images", 2)]
    assert "has no rate for images" in rating.unrated[0].reason


def test_what_is_left_of_a_whole_without_a_rate_is_unrated_by_exactly_that_much() -> None:
    book = book_of(listed("speech", "input_audio_seconds", "0.006", 60))
    rating = rate(event("acme", "speech", {"audio_seconds": 100, "input_audio_seconds": 60}), book)
    assert rating.amount == 6_000_000_000
    assert [(each.meter, each.quantity) for each in rating.unrated] == [("audio_seconds", 40)]
    covered = rate(event("acme", "speech", {"audio_seconds": 60, "input_audio_seconds": 60}), book)
    assert covered.status is PricingStatus.PRICED


def test_a_listed_zero_is_free_by_a_line_that_says_so() -> None:
    book = book_of(listed("s3", "delete_requests", "0"))
    rating = rate(event("acme", "s3", {"delete_requests": 5}), book)
    assert (rating.amount, rating.status) == (0, PricingStatus.PRICED)
    assert rating.lines[0].note == "listed free"


def test_reported_zeros_of_a_priced_service_cost_nothing_and_say_so_line_by_line() -> None:
    rating = rate(event("acme", "chat", {"input_tokens": 0, "output_tokens": 0}), book_of(*TOKENS))
    assert [(line.quantity, line.amount) for line in rating.lines] == [(0, 0), (0, 0)]
    assert rating.status is PricingStatus.PRICED
    unknown = rate(event("acme", "nowhere", {"input_tokens": 0}), book_of(*TOKENS))
    assert unknown.status is PricingStatus.UNPRICED


def test_context_above_a_tier_moves_all_tokens_to_its_rate_and_exactly_at_it_none() -> None:
    book = book_of(
        listed("long", "input_tokens", "1", 1_000_000),
        listed("long", "input_tokens", "2", 1_000_000, context_over=200_000),
        listed("long", "output_tokens", "6", 1_000_000),
        listed("long", "output_tokens", "9", 1_000_000, context_over=200_000),
    )
    at = rate(event("acme", "long", {"input_tokens": 200_000, "output_tokens": 1000}), book)
    above = rate(event("acme", "long", {"input_tokens": 200_001, "output_tokens": 1000}), book)
    assert at.amount == 200_000 * 10**6 + 1000 * 6 * 10**6
    assert above.amount == 200_001 * 2 * 10**6 + 1000 * 9 * 10**6
    parts = {"cache_read_tokens": 150_000, "input_audio_tokens": 50_001}
    assert rate(event("acme", "long", parts), book).amount == 200_001 * 2 * 10**6


def test_a_rate_holds_from_its_first_moment_to_just_before_its_end() -> None:
    from outlay.clock import to_instant

    change = to_instant("2025-09-09T00:00:00Z")
    book = book_of(
        listed("veo", "video_seconds", "0.75", valid_to=change),
        listed("veo", "video_seconds", "0.40", valid_from=change),
    )
    costs = [
        rate(event("acme", "veo", {"video_seconds": 8}, at=at), book).amount
        for at in ("2025-09-08T23:59:59.999999Z", "2025-09-09T00:00:00Z", "2025-09-09T02:00:00+02:00")
    ]
    assert costs == [6 * 10**12, 3_200_000_000_000, 3_200_000_000_000]


def test_an_hour_of_day_may_wrap_midnight_and_is_utc() -> None:
    book = book_of(
        listed("night", "input_tokens", "1", hours_from=16 * 3600 + 1800, hours_to=1800),
        listed("night", "input_tokens", "2", hours_from=1800, hours_to=16 * 3600 + 1800),
    )
    hours = ["16:29:59", "16:30:00", "23:59:59", "00:29:59", "00:30:00"]
    costs = [
        rate(event("acme", "night", {"input_tokens": 1}, at=f"2026-11-04T{hour}Z"), book).amount for hour in hours
    ]
    assert [cost // 10**12 for cost in costs] == [2, 1, 1, 1, 2]


def test_a_fraction_taken_out_of_a_whole_number_is_exact_whatever_the_programs_context() -> None:
    book = book_of(listed("speech", "audio_seconds", "0.6", 60), listed("speech", "input_audio_seconds", "0.12", 60))
    used = {"audio_seconds": 10_000, "input_audio_seconds": Decimal("0.123456789")}
    with localcontext(Context(prec=3, traps=[Inexact])):
        rating = rate(event("acme", "speech", used), book)
    # 9,999.876543211 × 0.01 + 0.123456789 × 0.002 = 99.99876543211 + 0.000246913578
    assert [(line.meter, line.quantity, line.amount) for line in rating.lines] == [
        ("audio_seconds", Decimal("9999.876543211"), 99_998_765_432_110),
        ("input_audio_seconds", Decimal("0.123456789"), 246_913_578),
    ]


def test_the_least_billed_is_the_minimum_and_then_whole_increments() -> None:
    book = book_of(listed("speech", "audio_seconds", "0.024", 60, minimum=Decimal(15), increment=Decimal(1)))
    short = rate(event("acme", "speech", {"audio_seconds": Decimal("2.4")}), book)
    longer = rate(event("acme", "speech", {"audio_seconds": Decimal("18.2")}), book)
    exact = rate(event("acme", "speech", {"audio_seconds": 18}), book)
    # 15 × 0.024 / 60 = 0.006; 19 × 0.0004 = 0.0076; 18 × 0.0004 = 0.0072
    assert [each.amount for each in (short, longer, exact)] == [6_000_000_000, 7_600_000_000, 7_200_000_000]
    assert short.lines[0].note == "2.4 measured, 15 billed"
    assert exact.lines[0].note == ""
    assert rate(event("acme", "speech", {"audio_seconds": 0}), book).amount == 0


def test_groq_bills_ten_seconds_a_transcription_at_least() -> None:
    rating = rate(event("groq", "whisper-large-v3", {"audio_seconds": 3}), shipped())
    assert rating.amount == 308_333_333  # 10 × 0.111 / 3600, half to even


def test_a_fee_a_call_is_counted_once_and_only_where_something_was_used() -> None:
    book = book_of(*TOKENS, listed("chat", "requests", "5", 1_000, implied=True))
    rating = rate(event("acme", "chat", {"input_tokens": 1000}), book)
    assert rating.amount == 2_500_000_000 + 5_000_000_000
    assert rating.lines[-1].note == "counted once a call"
    told = rate(event("acme", "chat", {"input_tokens": 1000, "requests": 2}), book)
    assert told.amount == 2_500_000_000 + 10_000_000_000
    silent = rate(event("acme", "chat", {}), book)
    assert (silent.status, silent.amount) == (PricingStatus.INCOMPLETE, 5_000_000_000)
    only_fee = book_of(listed("search", "requests", "5", 1_000, implied=True))
    assert rate(event("acme", "search", {}), only_fee).status is PricingStatus.PRICED


def test_a_fee_or_an_attempt_whose_rate_has_ended_is_not_charged() -> None:
    book = book_of(
        *TOKENS,
        listed("chat", "requests", "5", implied=True, valid_to=1),
        listed("chat", "images", "5", attempts=True, valid_to=1),
    )
    assert rate(event("acme", "chat", {"input_tokens": 1000}), book).amount == 2_500_000_000
    assert rate(event("acme", "chat", {}, status=Status.FAILED), book).status is PricingStatus.UNPRICED


def test_n_calls_in_one_event_cost_n_times_one() -> None:
    one = rate(event("groq", "whisper-large-v3", {"audio_seconds": Decimal("3.5")}), shipped())
    many = rate(event("groq", "whisper-large-v3", {"audio_seconds": Decimal("3.5")}, count=7), shipped())
    assert many.amount == 7 * one.amount
    assert many.lines[0].quantity == one.lines[0].quantity
    assert rate(event("acme", "chat", {"input_tokens": 3}, count=7), book_of(*TOKENS)).amount == 7 * 3 * 2_500_000


def test_a_failed_call_is_priced_by_what_it_used_and_else_unpriced_unless_attempts_are_charged() -> None:
    book = book_of(*TOKENS, listed("image", "images", "0.04", attempts=True))
    used = rate(event("acme", "chat", {"input_tokens": 1000}, status=Status.FAILED), book)
    assert used.amount == 2_500_000_000
    nothing = rate(event("acme", "chat", {}, status=Status.FAILED), book)
    assert (nothing.status, nothing.unrated[0].reason) == (PricingStatus.UNPRICED, "failed, no usage")
    attempt = rate(event("acme", "image", {}, status=Status.FAILED), book)
    assert (attempt.amount, attempt.lines[0].note) == (40_000_000_000, "failed attempts are charged")
    cut_off = rate(event("acme", "chat", {}, status=Status.CANCELLED), book)
    assert cut_off.status is PricingStatus.UNPRICED
    assert cut_off.unrated[0].reason.startswith("the call reported no usage")


def test_two_meters_of_the_same_work_are_charged_by_one() -> None:
    book = book_of(
        listed("clip", "hardware_seconds", "0.001"),
        listed("clip", "runs", "0.03", unless=("hardware_seconds",)),
    )
    both = rate(event("acme", "clip", {"runs": 1, "hardware_seconds": Decimal("12.5")}), book)
    assert both.amount == 12_500_000_000
    assert [(line.meter, line.amount) for line in both.lines] == [("hardware_seconds", both.amount), ("runs", 0)]
    assert both.lines[1].note == "the same work is charged by hardware_seconds"
    by_run = rate(event("acme", "clip", {"runs": 1, "hardware_seconds": 0}), book)
    assert by_run.amount == 30_000_000_000
    assert rate(event("acme", "clip", {"runs": 0, "hardware_seconds": 0}), book).status is PricingStatus.PRICED


def test_the_users_rate_wins_for_its_meter_and_the_catalogue_keeps_the_others() -> None:
    user = [own("chat", "input_tokens", "2", 1_000_000)]
    rating = rate(event("acme", "chat", {"input_tokens": 1000, "output_tokens": 100}), book_of(*TOKENS, user=user))
    assert [line.rate.origin for line in rating.lines if line.rate] == ["user", "catalogue"]
    assert rating.amount == 2_000_000_000 + 1_000_000_000


def test_among_the_users_rates_more_conditions_then_the_newest_then_the_last_told_win() -> None:
    user = [
        own("chat", "input_tokens", "9", conditions={"region": "eu"}),
        own("chat", "input_tokens", "1"),
        own("chat", "input_tokens", "2", valid_from=1),
        own("chat", "input_tokens", "3", valid_from=1, recorded_at=5),
        own("chat", "input_tokens", "4", valid_from=1, recorded_at=5),
    ]
    book = book_of(user=user)
    assert rate(event("acme", "chat", {"input_tokens": 1}), book).amount == 4 * 10**12
    assert rate(event("acme", "chat", {"input_tokens": 1}, conditions={"region": "EU"}), book).amount == 9 * 10**12


def test_a_discount_lowers_the_catalogue_and_says_from_what() -> None:
    user = [
        own("*", "*", "0", discount=Decimal("0.8"), valid_from=0),
        own("chat", "output_tokens", "0", discount=Decimal("0.5")),
        own("chat", "output_tokens", "0", discount=Decimal(0), conditions={"region": "moon"}),
    ]
    rating = rate(event("acme", "chat", {"input_tokens": 1000, "output_tokens": 100}), book_of(*TOKENS, user=user))
    # 1000 × 2.50 × 0.8 / 10⁶ = 0.002; 100 × 10 × 0.5 / 10⁶ = 0.0005
    assert [line.amount for line in rating.lines] == [2_000_000_000, 500_000_000]
    first = rating.lines[0]
    assert first.note == "20 % off the list price 2.50 by contract 2026"
    assert first.rate is not None
    assert (first.rate.list_price, first.rate.price) == (Decimal("2.50"), Decimal("2"))
    moon = event("acme", "chat", {"output_tokens": 100}, conditions={"region": "Moon"}, operation="x")
    assert rate(moon, book_of(*TOKENS, user=user)).amount == 0


def test_a_discount_may_ask_for_an_operation_and_leaves_negotiated_prices_alone() -> None:
    user = [
        own("chat", "*", "0", discount=Decimal("0.5"), conditions={"operation": "batch"}),
        own("chat", "output_tokens", "8", 1_000_000),
    ]
    book = book_of(*TOKENS, user=user)
    used = {"input_tokens": 1000, "output_tokens": 1000}
    assert rate(event("acme", "chat", used, operation="Batch"), book).amount == 1_250_000_000 + 8_000_000_000
    assert rate(event("acme", "chat", used, operation="chat"), book).amount == 2_500_000_000 + 8_000_000_000


def test_a_range_is_for_estimates_and_never_prices_an_event() -> None:
    book = book_of(listed("spot", "hours", "0.01", price_high=Decimal("0.04"), conditions={"purchase": "spot"}))
    rating = rate(event("acme", "spot", {"hours": 2}, conditions={"purchase": "spot"}), book)
    assert rating.status is PricingStatus.UNPRICED
    assert "range of prices, 0.01 to 0.04 USD" in rating.unrated[0].reason
    exact = book_of(listed("spot", "hours", "0.01", price_high=Decimal("0.04")), listed("spot", "hours", "0.02"))
    assert rate(event("acme", "spot", {"hours": 2}), exact).amount == 40_000_000_000


EUR = [
    ExchangeRate(currency="EUR", price=Decimal("1.08"), date="2026-11-01", source="bank"),
    ExchangeRate(currency="EUR", price=Decimal("1.10"), date="2026-11-04", source="bank"),
]


def test_a_line_in_another_currency_keeps_its_amount_and_takes_the_rate_of_its_day() -> None:
    book = book_of(listed("ocr", "pages", "0.05", currency="EUR"), exchange=EUR)
    before = rate(event("acme", "ocr", {"pages": 10}, at="2026-11-03T23:59:59Z"), book)
    after = rate(event("acme", "ocr", {"pages": 10}, at="2026-11-04T00:00:00Z"), book)
    assert (before.amount, after.amount) == (540_000_000_000, 550_000_000_000)  # 0.50 EUR × 1.08, × 1.10
    assert after.lines[0].native_amount == 500_000_000_000
    assert after.lines[0].exchange == EUR[1]


def test_without_an_exchange_rate_of_the_day_a_line_is_unrated() -> None:
    book = book_of(listed("ocr", "pages", "0.05", currency="EUR"), exchange=EUR)
    rating = rate(event("acme", "ocr", {"pages": 10}, at="2026-10-31T12:00:00Z"), book)
    assert rating.status is PricingStatus.UNPRICED
    assert rating.unrated[0].reason.startswith("no exchange rate of EUR to USD")


def test_a_ledger_in_another_currency_converts_the_catalogue() -> None:
    dollars = ExchangeRate(currency="USD", price=Decimal("0.92"), date="2026-01-01", source="bank")
    book = book_of(*TOKENS, exchange=[dollars], currency="EUR")
    assert rate(event("acme", "chat", {"input_tokens": 1_000_000}), book).amount == 2_300_000_000_000


def test_a_reported_cost_is_used_only_for_want_of_a_rate() -> None:
    told = Money.of("0.0123")
    unknown = rate(event("acme", "nowhere", {"input_tokens": 10}, reported_cost=told, count=2), book_of(*TOKENS))
    assert (unknown.basis, unknown.amount) == (Basis.REPORTED, 24_600_000_000)
    assert unknown.lines[0].meter == "reported_cost"
    assert unknown.status is PricingStatus.PRICED
    known = rate(event("acme", "chat", {"input_tokens": 1000}, reported_cost=told), book_of(*TOKENS))
    assert (known.basis, known.amount) == (Basis.MEASURED, 2_500_000_000)
    no_usage = rate(event("acme", "chat", {}, reported_cost=told), book_of(*TOKENS))
    assert no_usage.amount == told.pico


def test_a_reported_cost_in_another_currency_is_converted_or_left_unpriced() -> None:
    told = Money.of("1.00", "EUR")
    rating = rate(event("acme", "nowhere", {"images": 1}, reported_cost=told), book_of(exchange=EUR))
    assert rating.amount == 1_100_000_000_000
    assert rating.lines[0].native_amount == 10**12
    without = rate(event("acme", "nowhere", {"images": 1}, reported_cost=told), book_of())
    assert without.status is PricingStatus.UNPRICED
    assert any("no exchange rate of EUR" in each.reason for each in without.unrated)


def test_fractions_are_exact_and_rounded_once_half_to_even() -> None:
    book = book_of(listed("f", "gb_seconds", "0.0000166667"), listed("f", "requests", "0.20", 1_000_000))
    rating = rate(event("acme", "f", {"gb_seconds": Decimal("0.6"), "requests": 1}), book)
    assert rating.amount == 10_200_020  # 0.6 × 0.0000166667 + 0.0000002
    third = book_of(listed("t", "credits", "0.000000000001", 2))
    assert [rate(event("acme", "t", {"credits": n}), third).amount for n in (1, 3, 5)] == [0, 2, 2]


def test_fractional_parts_are_taken_out_of_a_whole_number() -> None:
    book = book_of(listed("v", "audio_seconds", "1"), listed("v", "input_audio_seconds", "2"))
    rating = rate(event("acme", "v", {"audio_seconds": 10, "input_audio_seconds": Decimal("2.5")}), book)
    assert [line.amount for line in rating.lines] == [7_500_000_000_000, 5_000_000_000_000]
    minimum = book_of(
        listed("v", "audio_seconds", "1", minimum=Decimal(10)),
        listed("v", "input_audio_seconds", "1", minimum=Decimal(10)),
    )
    rating = rate(event("acme", "v", {"audio_seconds": 12, "input_audio_seconds": Decimal(11)}), minimum)
    assert rating.amount == 12 * 10**12


def test_plans_stay_bounded_and_equal_whatever_was_rated_before() -> None:
    book = book_of(*TOKENS)
    first = rate(event("acme", "chat", {"input_tokens": 1000}), book)
    for index in range(5000):
        rate(event("acme", "chat", {"input_tokens": 1}, conditions={"call": str(index)}), book)
        rate(event("acme", f"unknown-{index}", {"input_tokens": 1}), book)
    assert len(book.quick_plans) <= 4096
    assert len(book.plans) <= 4096
    assert rate(event("acme", "chat", {"input_tokens": 1000}), book).amount == first.amount
