"""Outlay against genai-prices itself: every model, unit, date, tier and variant of its data.

Where genai-prices prices every meter that is reported, the totals must agree to half a picounit a line. The
models it lists without any price are named in `listed_without_price.txt` and are free by a listed zero, or
unpriced, with us.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from outlay.clock import to_instant
from outlay.model import PricingStatus, Rating, UsageEvent
from outlay.pricing import catalogue
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate

data = pytest.importorskip("genai_prices.data", reason="genai-prices is not installed")
types = pytest.importorskip("genai_prices.types")
units = pytest.importorskip("genai_prices.units")
REGISTRY = units._get_registry()
UNITS: dict[str, Any] = {name: unit for name, unit in REGISTRY.units.items() if name != "requests"}
NAMED = Path(__file__).with_name("listed_without_price.txt")
TODAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    name, body = catalogue.shipped()
    return PriceBook.of(body, name)


def test_every_model_at_every_date_tier_and_variant_costs_what_genai_prices_says(book: PriceBook) -> None:
    compared = 0
    for provider, model, name in reachable_models():
        for moment in moments_of(model):
            for context in ({}, *(variant.when for variant in model.price_variants or ())):
                prices = priced_units(model, moment, context)
                for usage in usages_of(prices):
                    theirs = total(model, provider, usage, moment, context)
                    ours = rated(book, provider.id, name, usage, moment, context)
                    where = f"{provider.id} {name} {moment} {context} {usage}"
                    agree(theirs, ours, where)
                    assert ours.status is PricingStatus.PRICED or not_in_force(model, moment, context), where
                    compared += 1
    assert compared > 5_000


def test_every_unit_reported_alone_agrees_or_is_never_priced_in_silence(book: PriceBook) -> None:
    compared = unpriced = 0
    seen: set[tuple[str, frozenset[str]]] = set()
    for provider, model, name in reachable_models():
        prices = priced_units(model, TODAY, {})
        shape = (provider.id, frozenset(prices))
        first_of_its_shape = shape not in seen
        seen.add(shape)
        for key in UNITS:
            if key not in prices and not first_of_its_shape:
                continue
            usage = alone(key)
            covered = all(any(within(outer, each) for outer in prices) for each in usage)
            ours = rated(book, provider.id, name, usage, TODAY, {})
            where = f"{provider.id} {name} {usage}"
            if covered and prices:
                agree(total(model, provider, usage, TODAY, {}), ours, where)
                assert ours.status is PricingStatus.PRICED, where
                compared += 1
            elif prices:
                # A unit without a price here or above it: never a silent zero, never another unit's price.
                assert ours.status is not PricingStatus.PRICED, where
                assert ours.unrated, where
                unpriced += 1
    assert compared > 7_000
    assert unpriced > 2_000


def test_models_listed_without_a_price_are_named_and_never_zero_by_silence(book: PriceBook) -> None:
    found = []
    for provider, model, name in reachable_models():
        if priced_units(model, TODAY, {}):
            continue
        ours = rated(book, provider.id, name, {"input_tokens": 1000, "output_tokens": 100}, TODAY, {})
        if ours.status is PricingStatus.PRICED:
            assert {line.rate.price for line in ours.lines if line.rate} == {Decimal(0)}
            assert all("listed free" in line.note for line in ours.lines)
        else:
            assert ours.status is PricingStatus.UNPRICED
        found.append(f"{provider.id} {model.id} {ours.status.value}")
    assert found == NAMED.read_text(encoding="utf-8").splitlines()


def test_each_model_that_cannot_be_reached_by_its_own_rules_is_hidden_by_an_earlier_one() -> None:
    reached = {(provider.id, model.id) for provider, model, _ in reachable_models()}
    hidden = [(p.id, m.id) for p in data.providers for m in p.models if (p.id, m.id) not in reached]
    assert hidden == []


@cache
def reachable_models() -> list[tuple[Any, Any, str]]:
    """(provider, model, a name by which genai-prices finds exactly this model)."""
    found = []
    for provider in data.providers:
        for model in provider.models:
            names = [model.id, *literals(model.match)]
            name = next((each for each in names if provider.find_model(each) is model), None)
            if name is not None:
                found.append((provider, model, name))
    return found


def literals(clause: Any) -> Iterator[str]:
    for word in ("equals", "starts_with", "ends_with", "contains"):
        if hasattr(clause, word):
            yield getattr(clause, word)
    for inner in getattr(clause, "or_", ()) or getattr(clause, "and_", ()):
        yield from literals(inner)


def moments_of(model: Any) -> list[datetime]:
    """Today, and both sides of every date and hour at which a price of the model changes."""
    constraints = [block.constraint for block in model.prices] if isinstance(model.prices, list) else []
    constraints += [variant.constraint for variant in model.price_variants or ()]
    dates = {each.start_date for each in constraints if hasattr(each, "start_date")}
    hours = {hour for each in constraints if hasattr(each, "start_time") for hour in (each.start_time, each.end_time)}
    found = {TODAY}
    for day in dates:
        start = datetime.combine(day, time(0), tzinfo=UTC)
        found |= {start, start - timedelta(microseconds=1)}
    for hour in hours:
        start = datetime.combine(TODAY.date(), hour).astimezone(UTC)
        found |= {start, start - timedelta(microseconds=1)}
    return sorted(found)


def priced_units(model: Any, moment: datetime, context: dict[str, str]) -> dict[str, Any]:
    prices = model.get_prices(moment, context)
    by_price = {unit.price_key: name for name, unit in UNITS.items()}
    return {by_price[key]: value for key, value in vars(prices).items() if value is not None and key in by_price}


def usages_of(prices: dict[str, Any]) -> Iterator[dict[str, int]]:
    """Every priced unit reported at once, with the input below, on and above each tier."""
    if not prices:
        return
    leaves = {key: 101 + 7 * index for index, key in enumerate(sorted(prices))}
    usage = {key: sum(amount for inner, amount in leaves.items() if within(key, inner)) for key in prices}
    yield usage
    starts = {tier.start for price in prices.values() for tier in getattr(price, "tiers", ())}
    for start in sorted(starts):
        yield {**usage, "input_tokens": start}
        yield {**usage, "input_tokens": start + 1}


def alone(key: str) -> dict[str, int]:
    """The unit, and every unit that contains it, with one more each."""
    outer = sorted((each for each in UNITS if within(each, key)), key=lambda each: -len(UNITS[each].dimensions))
    return {each: 3600 + index for index, each in enumerate(outer)} if len(outer) < 3 else dict.fromkeys(outer, 3600)


def within(outer: str, inner: str) -> bool:
    return bool(UNITS[outer].dimensions.items() <= UNITS[inner].dimensions.items())


def total(model: Any, provider: Any, usage: dict[str, int], moment: datetime, context: dict[str, str]) -> Decimal:
    with localcontext() as exact:
        exact.prec = 60
        found = model.calc_price(
            types.Usage(**usage), provider, genai_request_timestamp=moment, price_context=context or None
        )
    amount: Decimal = found.total_price
    return amount


def rated(
    book: PriceBook, provider: str, name: str, usage: dict[str, int], moment: datetime, context: dict[str, str]
) -> Rating:
    at = to_instant(moment)
    return rate(
        UsageEvent(
            id="x",
            provider=provider,
            service=name,
            occurred_from=at,
            occurred_to=at,
            usage=dict(usage),
            conditions=dict(context),
        ),
        book,
    )


def agree(theirs: Decimal, ours: Rating, where: str) -> None:
    with localcontext() as exact:
        exact.prec = 60
        difference = abs(theirs * 10**12 - ours.amount)
        assert difference <= Decimal(len(ours.lines)) / 2, f"{where}: {theirs} against {ours}"


def not_in_force(model: Any, moment: datetime, context: dict[str, str]) -> bool:
    """A variant asked for on a day for which none is published: genai-prices gives the standard price unsaid."""
    return not any(
        variant.when == context and (variant.constraint is None or variant.constraint.active(moment))
        for variant in model.price_variants or ()
    )
