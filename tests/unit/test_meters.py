"""Meters: which contains which, and what is said of one that nobody knows."""

from __future__ import annotations

import pytest

from outlay.errors import InvalidInput
from outlay.meters import METERS, ancestors, descendants, meter_named, unknown_meter


def test_a_cached_token_is_inside_the_input_and_an_audio_one_inside_both() -> None:
    assert ancestors("cache_read_tokens") == ("input_tokens",)
    assert ancestors("cache_audio_read_tokens") == ("cache_read_tokens", "input_audio_tokens", "input_tokens")
    assert ancestors("cache_write_1h_tokens") == ("cache_write_tokens", "input_tokens")
    assert ancestors("input_tokens") == ()


def test_what_contains_is_the_other_side_of_what_is_contained() -> None:
    for name in METERS:
        for inner in descendants(name):
            assert name in ancestors(inner)
        assert name not in descendants(name)


def test_input_never_contains_output_and_families_never_meet() -> None:
    assert "output_reasoning_tokens" not in descendants("input_tokens")
    for name, meter in METERS.items():
        assert {METERS[each].family for each in descendants(name)} <= {meter.family}


def test_the_nearest_container_comes_first() -> None:
    for name in METERS:
        sizes = [len(METERS[outer].dimensions) for outer in ancestors(name)]
        assert sizes == sorted(sizes, reverse=True)


def test_seconds_and_gigabytes_may_be_fractions_and_tokens_may_not() -> None:
    assert not METERS["audio_seconds"].whole
    assert not METERS["gb_seconds"].whole
    assert METERS["input_tokens"].whole
    assert METERS["images"].whole


def test_a_meter_nobody_knows_is_refused_with_the_names_that_look_like_it() -> None:
    assert meter_named("images").unit == "image"
    with pytest.raises(InvalidInput, match="did you mean input_tokens") as refused:
        meter_named("input_token")
    assert (refused.value.code, refused.value.field) == ("unknown_meter", "usage")
    assert "outlay prices meters" in unknown_meter("qqqqqq").message
    with pytest.raises(InvalidInput):
        meter_named(["input_tokens"])  # type: ignore[arg-type]  # what a careless caller may pass
