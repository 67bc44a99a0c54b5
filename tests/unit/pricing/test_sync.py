"""How genai-prices' blocks and variants become rates with dates, hours and conditions of their own."""

from __future__ import annotations

import sys
from datetime import UTC, date, time
from decimal import Decimal
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.unit.pricing.builders import event

from outlay.errors import PriceBookError
from outlay.model import PricingStatus
from outlay.pricing.book import PriceBook
from outlay.pricing.rate import rate
from outlay.pricing.sync import build_catalogue

UNITS = {
    "input_tokens": {"per": 1_000_000, "price_key": "input_mtok"},
    "output_tokens": {"per": 1_000_000, "price_key": "output_mtok"},
    "smells": {"per": 1, "price_key": "smell"},
}


def prices(**named: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{key: Decimal(value) if isinstance(value, str) else value for key, value in named.items()}
    )


def since(day: date) -> SimpleNamespace:
    return SimpleNamespace(start_date=day)


def daily(start: time, end: time) -> SimpleNamespace:
    return SimpleNamespace(start_time=start, end_time=end)


def block(constraint: Any, **named: Any) -> SimpleNamespace:
    return SimpleNamespace(constraint=constraint, prices=prices(**named))


def variant(constraint: Any, when: dict[str, str], **named: Any) -> SimpleNamespace:
    return SimpleNamespace(constraint=constraint, when=when, prices=prices(**named))


def book_from(monkeypatch: pytest.MonkeyPatch, base: Any, variants: Any = None, **fields: Any) -> PriceBook:
    """The book built from one model of a made-up genai-prices."""
    model = SimpleNamespace(
        id=fields.get("id", "m"),
        match=SimpleNamespace(equals=fields.get("id", "m")),
        prices=base,
        price_variants=variants,
        price_comments=fields.get("comment"),
    )
    provider = SimpleNamespace(
        id="house",
        provider_match=SimpleNamespace(and_=[SimpleNamespace(contains="the"), SimpleNamespace(ends_with="House")]),
        model_match=None,
        api_pattern=None,
        fallback_model_providers=None,
        pricing_urls=None,
        models=[model],
    )
    for name, content in (("data", {"providers": [provider]}), ("data_units", {"unit_data": UNITS})):
        module = ModuleType(f"genai_prices.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, f"genai_prices.{name}", module)
    monkeypatch.setattr(metadata, "version", lambda _: "0.0.0")
    catalogue_id, body = build_catalogue("2026-11-22")
    return PriceBook.of(body, catalogue_id)


def cost(book: PriceBook, at: str, **conditions: str) -> int:
    used = event("the house", "m", {"input_tokens": 1_000_000}, at=at, conditions=conditions)
    return rate(used, book).amount // 10**12


def test_the_last_active_block_wins_by_date_and_hour_together(monkeypatch: pytest.MonkeyPatch) -> None:
    base = [
        block(None, input_mtok="1"),
        block(since(date(2026, 8, 1)), input_mtok="2"),
        block(daily(time(22, tzinfo=UTC), time(2)), input_mtok="3"),
        block(since(date(2026, 9, 1)), input_mtok="4"),
    ]
    book = book_from(monkeypatch, base)
    assert [cost(book, f"2026-07-10T{hour}:00:00Z") for hour in ("21", "22", "01", "02")] == [1, 3, 3, 1]
    assert [cost(book, f"2026-08-10T{hour}:00:00Z") for hour in ("21", "22", "01", "02")] == [2, 3, 3, 2]
    assert [cost(book, f"2026-09-10T{hour}:00:00Z") for hour in ("21", "22", "01", "02")] == [4, 4, 4, 4]
    assert book.date == "2026-09-01"


def test_a_price_that_a_later_block_leaves_out_is_no_price_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    base = [block(None, input_mtok="1", output_mtok="2"), block(since(date(2026, 8, 1)), input_mtok="1")]
    book = book_from(monkeypatch, base)
    used = {"input_tokens": 1, "output_tokens": 1}
    before = rate(event("house", "m", used, at="2026-07-31T23:59:59Z"), book)
    after = rate(event("house", "m", used, at="2026-08-01T00:00:00Z"), book)
    assert (before.status, after.status) == (PricingStatus.PRICED, PricingStatus.INCOMPLETE)


def test_the_first_active_variant_wins_price_by_price_and_only_on_its_days(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = [
        variant(since(date(2026, 10, 1)), {"processing": "batch"}, input_mtok="5"),
        variant(since(date(2026, 9, 1)), {"processing": "batch"}, input_mtok="6"),
        variant(None, {"service_tier": "default"}),
    ]
    book = book_from(monkeypatch, prices(input_mtok="9"), variants)
    days = ("2026-08-31", "2026-09-01", "2026-10-01")
    assert [cost(book, f"{day}T12:00:00Z", processing="batch") for day in days] == [9, 6, 5]
    assert cost(book, "2026-10-01T12:00:00Z", service_tier="default") == 9


def test_a_variant_that_changes_nothing_is_known_and_costs_the_base_price_of_its_days(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = [block(None, input_mtok="1"), block(since(date(2026, 8, 1)), input_mtok="2")]
    variants = [variant(since(date(2026, 9, 1)), {"processing": "batch"})]
    book = book_from(monkeypatch, base, variants)
    used = {"input_tokens": 1_000_000}
    batch = rate(event("house", "m", used, at="2026-09-02T00:00:00Z", conditions={"processing": "batch"}), book)
    assert (batch.status, batch.amount) == (PricingStatus.PRICED, 2 * 10**12)
    early = rate(event("house", "m", used, at="2026-08-02T00:00:00Z", conditions={"processing": "batch"}), book)
    assert early.status is PricingStatus.INCOMPLETE


def test_tiers_become_rates_above_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    tiered = SimpleNamespace(base=Decimal(1), tiers=[SimpleNamespace(start=1000, price=Decimal(2))])
    book = book_from(monkeypatch, prices(input_mtok=tiered))
    assert [rate(event("house", "m", {"input_tokens": n}), book).amount for n in (1000, 1001)] == [
        1000 * 10**6,
        2002 * 10**6,
    ]


@pytest.mark.parametrize(
    ("name", "comment", "status"),
    [
        ("m:free", None, PricingStatus.PRICED),
        ("m", "Free of charge on this API.", PricingStatus.PRICED),
        ("m", "Included in the subscription.", PricingStatus.PRICED),
        ("m", "No longer listed.", PricingStatus.UNPRICED),
        ("m", None, PricingStatus.UNPRICED),
    ],
)
def test_an_empty_price_is_free_only_where_the_name_or_the_comment_says_so(
    monkeypatch: pytest.MonkeyPatch, name: str, comment: str | None, status: PricingStatus
) -> None:
    book = book_from(monkeypatch, prices(), id=name, comment=comment)
    rating = rate(event("house", name, {"input_tokens": 5}), book)
    assert (rating.status, rating.amount) == (status, 0)


def test_a_unit_that_outlay_cannot_count_is_refused_and_never_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PriceBookError, match="prices for smells, which this Outlay cannot count"):
        book_from(monkeypatch, prices(smell="1"))
