"""Bad input is refused by name before anything is written; good input is normalised."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.capture.intake import build_event, make_id, quantity
from outlay.clock import to_instant
from outlay.errors import InvalidInput
from outlay.model import Status

NOW = to_instant("2026-03-10T12:00:00Z")


def event(**fields: Any) -> Any:
    return build_event({"provider": "openai", "service": "gpt-4o", **fields}, NOW)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"usage": {"input_tokens": -1}}, "negative_quantity"),
        ({"reported_cost": float("inf")}, "infinite_amount"),
        ({"reported_cost": 1e30}, "amount_too_large"),
        ({"reported_cost": "1e12"}, "amount_too_large"),
        ({"reported_cost": "-0.01"}, "negative_amount"),
        ({"parameters": {"seed": 2**63}}, "number_too_large"),
        ({"usage": {"input_tokens": float("nan")}}, "not_a_number"),
        ({"usage": {"input_tokens": "twelve"}}, "not_a_number"),
        ({"usage": {"input_tokens": True}}, "not_a_number"),
        ({"usage": {"input_tokens": [1]}}, "not_a_number"),
        ({"usage": {"input_tokens": float("inf")}}, "infinite_quantity"),
        ({"usage": {"input_tokens": Decimal("Infinity")}}, "infinite_quantity"),
        ({"usage": {"input_tokens": 10**15 + 1}}, "infinite_quantity"),
        ({"usage": {"input_tokens": 1.5}}, "fractional_quantity"),
        ({"usage": {"audio_seconds": "0.0000000001"}}, "too_precise"),
        ({"usage": {"input_tokns": 1}}, "unknown_meter"),
        ({"time": "2026-03-10T12:00:00"}, "naive_time"),
        ({"time": "2026-03-10T12:05:01Z"}, "time_in_future"),
        ({"time": "yesterday"}, "bad_time"),
        ({"time": "1969-12-31T00:00:00Z"}, "bad_time"),
        ({"time": "2026-03-10T11:00:00Z", "time_to": "2026-03-10T10:00:00Z"}, "time_reversed"),
        ({"tags": {"blob": "x" * 1_000_000}}, "tags_too_large"),
        ({"tags": {f"t{i}": "x" for i in range(65)}}, "tags_too_large"),
        ({"tags": "experiment"}, "bad_text"),
        ({"user": "a\0b"}, "nul_byte"),
        ({"user": "\ud800"}, "bad_text"),
        ({"user": b"u42"}, "bad_text"),
        ({"user": "u" * 513}, "text_too_long"),
        ({"service": ""}, "missing_field"),
        ({"id": ""}, "missing_field"),
        ({"status": "fine"}, "unknown_status"),
        ({"basis": "billed"}, "unknown_basis"),
        ({"count": 0}, "bad_count"),
        ({"count": 1.5}, "bad_count"),
        ({"reported_cost": "a lot"}, "not_a_number"),
        ({"parameters": {f"p{i}": 1 for i in range(65)}}, "tags_too_large"),
    ],
)
def test_bad_input_is_refused_by_name(fields: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        event(**fields)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"service": "gpt-4o"}, "missing_field"),
        ({"provider": "openai"}, "missing_field"),
        ({"provider": "openai", "service": "gpt-4o", "modle": "x"}, "unknown_field"),
        (["not", "a", "mapping"], "bad_event"),
    ],
)
def test_a_mapping_that_is_no_event_is_refused_by_name(fields: Any, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        build_event(fields, NOW)
    assert refused.value.code == code


def test_quantities_have_one_form() -> None:
    assert event(usage={"input_tokens": 1}).usage == event(usage={"input_tokens": 1.0}).usage
    assert event(usage={"input_tokens": "1"}).usage == {"input_tokens": 1}
    assert event(usage={"audio_seconds": 2.4}).usage == {"audio_seconds": Decimal("2.4")}
    # A float is taken by its repr and rounded to nine places: a stopwatch's tail means nothing.
    assert quantity(0.1234567894999) == Decimal("0.123456789")


def test_what_is_absent_differs_from_zero() -> None:
    assert event(usage={"input_tokens": None, "output_tokens": 0}).usage == {"output_tokens": 0}


def test_nested_tags_get_dotted_names() -> None:
    tags = {"experiment": {"arm": "b", "n": 2, "on": True}, "none": None}
    assert event(tags=tags).tags == {"experiment.arm": "b", "experiment.n": "2", "experiment.on": "true"}


def test_an_errors_text_is_cut_not_refused() -> None:
    assert len(event(status="failed", error="x" * 10_000).error) == 2_000


def test_what_the_caller_fixed_is_remembered() -> None:
    stamped = event()
    fixed = event(id="call-1", time="2026-03-09T23:00:00-05:00", status="failed")
    assert (stamped.id_given, stamped.time_given, stamped.occurred_from) == (False, False, NOW)
    assert (fixed.id_given, fixed.time_given, fixed.status) == (True, True, Status.FAILED)
    assert fixed.occurred_from == to_instant("2026-03-10T04:00:00Z")


def test_ids_sort_by_time_and_are_version_7() -> None:
    first, later = make_id(NOW), make_id(NOW + 1_000)
    assert first < later
    assert first[14] == "7"
    assert first[19] in "89ab"


def test_a_call_shaped_like_earlier_ones_is_checked_as_they_were() -> None:
    usual = {"provider": "openai", "service": "gpt-4o", "user": "u1", "id": "a", "usage": {"input_tokens": 1}}
    assert build_event(usual, NOW).user == "u1"
    assert build_event({**usual, "user": None}, NOW).user is None
    assert build_event({**usual, "user": 17}, NOW).user == "17"
    assert build_event({**usual, "user": "é\n" * 200}, NOW).user == "é\n" * 200
    for field, bad, code in (
        ("user", "a\0b", "nul_byte"),
        ("user", "\ud800", "bad_text"),
        ("user", "x" * 513, "text_too_long"),
        ("id", "", "missing_field"),
        ("usage", {"input_tokens": -1}, "negative_quantity"),
        ("provider", None, "bad_event"),
    ):
        with pytest.raises(InvalidInput) as refused:
            build_event({**usual, field: bad}, NOW)
        assert refused.value.code == code
    without = {name: value for name, value in usual.items() if name != "service"}
    for _ in range(2):
        with pytest.raises(InvalidInput) as refused:
            build_event(without, NOW)
        assert refused.value.code == "missing_field"


@given(st.decimals(min_value=0, max_value=10**12, places=9))
def test_a_decimal_of_nine_places_is_kept_exactly(value: Decimal) -> None:
    assert quantity(value) == value


def test_a_float_that_is_spelled_otherwise_is_a_number_all_the_same() -> None:
    class Float64(float):
        """As numpy's: a float whose repr names its type."""

        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    assert event(usage={"audio_seconds": Float64(2.5)}).usage == {"audio_seconds": Decimal("2.5")}
    assert event(reported_cost=Float64(2.5)).reported_cost.amount == Decimal("2.50")


def test_a_parameter_that_is_no_finite_number_is_kept_as_text() -> None:
    assert event(parameters={"top_p": float("nan")}).parameters == {"top_p": "nan"}
