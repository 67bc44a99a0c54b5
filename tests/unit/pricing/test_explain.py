"""A receipt explains itself: every number on it can be worked out again from what it says."""

from __future__ import annotations

from decimal import Decimal

from tests.unit.pricing.builders import book_of, event, listed, own, shipped

from outlay.model import ExchangeRate, Status
from outlay.money import Money
from outlay.pricing.explain import explain, explain_dict
from outlay.pricing.rate import rate


def test_the_whole_reason_of_a_price_in_words() -> None:
    used = {"input_tokens": 1200, "cache_read_tokens": 800, "output_tokens": 350}
    called = event("openai", "gpt-4o", used, operation="chat", reported_cost=Money.of("0.0054"))
    text = explain(called, rate(called, shipped()), "USD")
    source = "from the catalogue; source: https://developers.openai.com/api/docs/pricing (2026-11-09)"
    assert text.splitlines() == [
        "openai gpt-4o chat at 2026-11-04T12:00:00Z",
        "  matched: gpt-4o by equals gpt-4o of openai",
        "  input_tokens (token): 400 × 2.5 USD / 1,000,000 = $0.001",
        "    400 of 1,200, without 800 cache_read_tokens",
        f"    rate: 2.5 USD per 1,000,000 tokens of gpt-4o, {source}",
        "  cache_read_tokens (token): 800 × 1.25 USD / 1,000,000 = $0.001",
        f"    rate: 1.25 USD per 1,000,000 tokens of gpt-4o, {source}",
        "  output_tokens (token): 350 × 10 USD / 1,000,000 = $0.0035",
        f"    rate: 10 USD per 1,000,000 tokens of gpt-4o, {source}",
        "  total: $0.0055 (measured, every meter priced)",
        "  openai itself reported $0.0054; it is kept beside and not counted",
    ]


def test_what_has_no_price_says_what_to_do() -> None:
    called = event("openai", "gpt-4o-minx", {"input_tokens": 5})
    text = explain(called, rate(called, shipped()), "USD")
    assert "  not priced: input_tokens 5" in text
    assert "near: gpt-4o-mini" in text
    assert "add its rates with `outlay prices add`" in text
    assert text.endswith("total: $0.00 (unpriced: this is not zero, it is unknown)")


def test_a_failed_call_and_an_unknown_tier_are_explained() -> None:
    failed = event("openai", "gpt-4o", {}, status=Status.FAILED)
    assert "  not priced: usage\n    failed, no usage" in explain(failed, rate(failed, shipped()), "USD")
    scaled = event("openai", "gpt-4o", {"input_tokens": 5}, conditions={"service_tier": "scale"})
    text = explain(scaled, rate(scaled, shipped()), "USD")
    assert "gpt-4o has no rate for service_tier=scale, known are fast, priority" in text
    assert "incomplete: a part has no price yet" in text


def test_count_currency_discount_dates_and_context_are_in_the_arithmetic() -> None:
    euro = ExchangeRate(currency="EUR", price=Decimal("1.10"), date="2026-11-01", source="")
    book = book_of(
        listed(
            "ocr",
            "pages",
            "0.05",
            currency="EUR",
            conditions={"mode": "fast"},
            valid_from=0,
            valid_to=2 * 10**15,
            note="list",
        ),
        listed("long", "input_tokens", "2", 1_000_000, context_over=200_000),
        user=[own("*", "*", "0", discount=Decimal("0.9"))],
        exchange=[euro],
    )
    called = event("acme", "ocr", {"pages": 10}, conditions={"mode": "fast"}, count=3)
    text = explain(called, rate(called, book), "USD")
    # 10 × 0.05 × 0.9 EUR × 1.10 × 3
    assert "acme ocr at 2026-11-04T12:00:00Z, 3 calls" in text
    assert "10 × 0.045 EUR × 1.10 USD a EUR × 3 calls = $1.485" in text
    assert "10 % off the list price 0.05 by contract 2026" in text
    assert "for mode=fast, since 1970-01-01, until 2033-05-18" in text
    assert "one EUR was 1.10 USD on 2026-11-01 by your file" in text
    tier = event("acme", "long", {"input_tokens": 200_001})
    assert "of long, above 200,000 input tokens" in explain(tier, rate(tier, book), "USD")


def test_a_reported_cost_is_said_to_be_told_and_not_computed() -> None:
    called = event("acme", "nowhere", {"images": 2}, reported_cost=Money.of("0.02"))
    text = explain(called, rate(called, book_of()), "USD")
    assert "reported_cost: 0.02 USD as told" in text
    assert "as reported by acme; provider 'acme' is not in the price book" in text
    assert "(reported, every meter priced)" in text


def test_any_service_and_your_own_rates_are_named_as_such() -> None:
    called = event("replicate", "x/y", {"hardware_seconds": Decimal("2.5")}, conditions={"hardware": "cpu"})
    text = explain(called, rate(called, shipped()), "USD")
    assert "2.5 × 0.000100 USD = $0.00025" in text
    assert "per second of any service of replicate for hardware=cpu" in text
    mine = event("acme", "mine", {"runs": 1})
    text = explain(mine, rate(mine, book_of(user=[own("mine", "runs", "1")])), "USD")
    assert "from your own rates; source: contract 2026" in text


def test_the_same_as_plain_values() -> None:
    euro = ExchangeRate(currency="EUR", price=Decimal("1.10"), date="2026-11-01", source="bank")
    book = book_of(listed("ocr", "pages", "0.05", currency="EUR", valid_from=0, valid_to=2 * 10**15), exchange=[euro])
    called = event("acme", "ocr", {"pages": 10, "images": 1}, reported_cost=Money.of("0.50"))
    found = explain_dict(called, rate(called, book), "USD")
    assert (found["total"], found["pricing_status"], found["reported_cost"]) == ("0.55", "incomplete", "0.50")
    line = found["lines"][0]
    assert (line["quantity"], line["amount"], line["native_amount"]) == ("10", "0.55", "0.50")
    assert line["exchange"] == {"currency": "EUR", "price": "1.10", "date": "2026-11-01", "source": "bank"}
    assert (line["rate"]["price"], line["rate"]["valid_from"]) == ("0.05", "1970-01-01T00:00:00Z")
    assert found["unrated"][0]["meter"] == "images"
    told = event("acme", "nowhere", {"images": Decimal("1500")}, reported_cost=Money.of("1"))
    assert "rate" not in explain_dict(told, rate(told, book), "USD")["lines"][0]
    plain = event("acme", "ocr", {"pages": 1})
    assert explain_dict(plain, rate(plain, book), "USD")["reported_cost"] is None
