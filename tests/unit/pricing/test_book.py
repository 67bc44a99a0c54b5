"""The price book as a value: what it lists, and what it refuses."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from tests.unit.pricing.builders import book_of, event, listed, own, shipped

from outlay.clock import to_instant
from outlay.errors import PriceBookError
from outlay.model import ExchangeRate
from outlay.pricing import catalogue
from outlay.pricing.book import PriceBook
from outlay.pricing.check import check_prices, rate_in_force
from outlay.pricing.difference import difference
from outlay.pricing.rate import rate


def test_it_lists_providers_services_and_rates_the_users_first() -> None:
    book = book_of(
        listed("chat", "input_tokens", "1"),
        listed("chat", "output_tokens", "2"),
        user=[own("chat", "input_tokens", "3"), own("mine", "runs", "1"), own("*", "*", "0", provider="zeta")],
    )
    assert book.providers() == ["acme", "zeta"]
    assert book.services("Acme") == ["mine", "chat"]
    assert [str(each.price) for each in book.rates("acme", "chat")] == ["3", "1", "2"]
    assert book.rates("acme", "nothing") == ()
    assert book.near("acme", "cha") == ["chat"]
    assert [each.meter for each in book.all_rates()] == ["input_tokens", "output_tokens"]
    assert list(book.all_rates("nobody")) == []


def test_with_other_user_rates_it_is_the_same_book_otherwise() -> None:
    rates = [ExchangeRate(currency="EUR", price=Decimal("1.1"), date="2026-11-01", source="bank")]
    first = book_of(listed("ocr", "pages", "1", currency="EUR"), exchange=rates)
    second = first.with_rates([own("ocr", "pages", "2")])
    used = event("acme", "ocr", {"pages": 1})
    assert rate(used, first).amount == 1_100_000_000_000
    assert rate(used, second).amount == 2 * 10**12
    assert second.catalogue_id == first.catalogue_id
    assert rate(used, second.with_rates([])).amount == 1_100_000_000_000


def test_a_body_that_is_no_catalogue_is_refused_by_name() -> None:
    newer = catalogue.encode(catalogue.PackedCatalogue(99, "later", "2030-01-01", []))
    for body in (b"", b"not msgpack", newer):
        with pytest.raises(PriceBookError) as refused:
            PriceBook.of(body, "x")
        assert refused.value.code == "bad_catalogue"


@pytest.mark.parametrize(
    ("price", "on"), [("0", "2026-11-01"), ("-1", "2026-11-01"), ("NaN", "2026-11-01"), ("1", "x")]
)
def test_an_exchange_rate_that_cannot_be_is_refused(price: str, on: str) -> None:
    with pytest.raises(PriceBookError) as refused:
        book_of(exchange=[ExchangeRate(currency="EUR", price=Decimal(price), date=on, source="")])
    assert refused.value.code == "bad_exchange_rate"


def test_check_names_old_prices_missing_sources_and_sources_that_differ() -> None:
    book = book_of(
        listed("chat", "input_tokens", "1", 1_000_000),
        listed("chat", "output_tokens", "2", 1_000_000),
        listed("chat", "images", "2", hours_from=0, hours_to=60),
        listed("chat", "images", "3", hours_from=60, hours_to=0),
        listed("chat", "runs", "1", valid_to=5),
        user=[
            own("chat", "input_tokens", "0.8", 1_000_000, conditions={}),
            own("chat", "output_tokens", "0.000002"),
            own("*", "*", "0", discount=Decimal("0.5")),
        ],
    )
    young = check_prices(book, [("acme", "chat")], date(2026, 11, 22))
    assert [(each.code, each.meter) for each in young] == [("sources_differ", "input_tokens")]
    assert "0.8 USD per 1,000,000 token by contract 2026" in young[0].message
    old = check_prices(book, [], date(2026, 12, 3))
    assert {each.code for each in old} == {"old_price", "sources_differ"}
    assert "was read 32 days ago, on 2026-11-01" in old[0].message
    bare = book_of(user=[own("x", "runs", "1")])
    assert check_prices(bare, [], date(2026, 12, 3)) == []


def test_check_names_a_price_without_source_or_without_a_date() -> None:
    from msgspec.structs import replace

    bare = replace(listed("x", "runs", "1", conditions={"size": "big"}), source="", source_date="")
    found = check_prices(book_of(bare), [("acme", "x")], date(2026, 11, 22))
    assert [each.code for each in found] == ["no_source", "old_price"]
    assert found[0].message == "runs of x (size=big) at 1 USD run has no source; say where it comes from"


def test_the_rate_in_force_is_the_one_an_event_would_be_charged() -> None:
    at = to_instant("2026-11-04T00:00:00Z")
    found = rate_in_force(shipped(), "openai", "gpt-4o", "input_tokens", {"processing": "batch"}, at)
    assert found is not None
    assert found.price == Decimal("1.25")
    assert rate_in_force(shipped(), "openai", "gpt-4o", "images", {}, at) is None


def test_two_catalogues_differ_by_what_came_went_and_changed() -> None:
    before = book_of(
        listed("a", "runs", "1"), listed("a", "images", "2", conditions={"size": "big"}), listed("b", "runs", "0")
    )
    after = book_of(listed("a", "runs", "3", 2), listed("b", "runs", "1"), listed("c", "runs", "4", valid_from=5))
    changes = [(each.service, each.meter, each.before, each.after, each.ratio) for each in difference(before, after)]
    assert changes == [
        ("a", "images", Decimal(2), None, None),
        ("a", "runs", Decimal(1), Decimal("1.5"), Decimal("1.5")),
        ("b", "runs", Decimal(0), Decimal(1), None),
        ("c", "runs", None, Decimal(4), None),
    ]
    assert difference(before, before) == []
