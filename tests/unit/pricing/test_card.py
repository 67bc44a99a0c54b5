"""Price files: what they may say, and that a mistake is named with its line."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.pricing.builders import book_of, event, listed

from outlay.clock import to_instant
from outlay.errors import PriceBookError
from outlay.pricing.card import check_price_jump, read_card, read_price_file
from outlay.pricing.rate import rate

WHOLE = """
[[service]]
provider = "Acme"
service = "clip"
source = "contract 7"
date = 2026-11-01
note = "negotiated"
rates = [
  { meter = "video_seconds", price = 0.10, conditions = { resolution = ["720p", "1080p"] } },
  { meter = "requests", price = "0.20", per = 1_000_000, implied = true, attempts = true },
  { meter = "runs", price = "0.01", unless = ["video_seconds"], minimum = "2", increment = 1 },
]

[[rate]]
provider = "acme"
service = "chat"
meter = "input_tokens"
price = "1.5"
per = 1_000_000
currency = "EUR"
context_over = 200_000
valid_from = 2026-11-01
valid_to = "2027-01-01T00:00:00+01:00"
hours_from = "16:30"
hours_to = 00:30:00

[[discount]]
provider = "openai"
percent = "12.5"
valid_from = "2026-11-01"

[[exchange]]
currency = "EUR"
date = "2026-11-02"
price = "1.0842"
"""


def test_a_file_says_everything_a_rate_can_hold() -> None:
    found = read_price_file(WHOLE, "prices.toml", recorded_at=7)
    low, high, call, run, chat, discount = found.rates
    assert (low.provider, low.price, low.conditions) == ("acme", Decimal("0.10"), {"resolution": "720p"})
    assert (high.conditions, high.note, high.source, high.source_date) == (
        {"resolution": "1080p"},
        "negotiated",
        "contract 7",
        "2026-11-01",
    )
    assert (call.implied, call.attempts, call.per, call.origin, call.recorded_at) == (True, True, 10**6, "user", 7)
    assert (run.unless, run.minimum, run.increment) == (("video_seconds",), Decimal(2), Decimal(1))
    assert (chat.currency, chat.context_over, chat.source) == ("EUR", 200_000, "prices.toml")
    assert (chat.valid_from, chat.valid_to) == (
        to_instant("2026-11-01T00:00:00Z"),
        to_instant("2026-12-31T23:00:00Z"),
    )
    assert (chat.hours_from, chat.hours_to) == (59_400, 1_800)
    assert (discount.service, discount.meter, discount.discount) == ("*", "*", Decimal("0.875"))
    assert [(each.currency, each.price, each.source) for each in found.exchange] == [
        ("EUR", Decimal("1.0842"), "prices.toml")
    ]


def test_a_files_prices_are_exact_though_toml_has_floats() -> None:
    found = read_price_file('[[rate]]\nprovider="a"\nservice="b"\nmeter="images"\nprice=0.1\n', "p.toml")
    rating = rate(event("a", "b", {"images": 3}), book_of(user=found.rates))
    assert rating.amount == 300_000_000_000


ROW = '[[service]]\nprovider = "a"\nservice = "b"\nrates = [\n  { meter = "runs", price = "1" },\n  { %s },\n]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROW % 'meter = "rums", price = "1"', "line 6: meter 'rums' is not known; did you mean runs"),
        (ROW % 'meter = "runs"', "line 6: price is missing or no number"),
        (ROW % 'meter = "runs", price = "-1"', "line 6: price is -1; it must not be negative"),
        (ROW % 'meter = "runs", price = "NaN"', "line 6: price is NaN"),
        (ROW % 'meter = "runs", price = true', "line 6: price is missing or no number"),
        (ROW % 'meter = "runs", price = "1.0000000000000000001"', "line 6: price has more than 18 decimals"),
        (ROW % 'meter = "runs", price = "1", pre = 3', "line 6: 'pre' is not known here"),
        (ROW % 'meter = "runs", price = "1", per = 0', "line 6: per must be a whole number of at least 1"),
        (ROW % 'meter = "runs", price = "1", minimum = 0', "line 6: minimum is 0; it must be above 0"),
        (ROW % 'meter = "runs", price = "1", price_high = "1"', "line 6: price_high 1 must be above price 1"),
        (ROW % 'meter = "runs", price = "1", implied = 1', "line 6: implied is true or false"),
        (ROW % 'meter = "runs", price = "1", currency = "eur"', "line 6: currency 'eur' is not a code"),
        (ROW % 'meter = "runs", price = "1", conditions = "x"', "line 6: conditions are"),
        (ROW % 'meter = "runs", price = "1", conditions = { a = 1 }', "line 6: conditions are"),
        (ROW % 'meter = "runs", price = "1", unless = ["x"]', "line 6: unless is a list of meters"),
        (ROW % 'meter = "runs", price = "1", valid_from = "soon"', "line 6: valid_from 'soon' is neither"),
        (ROW % 'meter = "runs", price = "1", valid_from = 3', "line 6: valid_from is neither a date nor a time"),
        (ROW % 'meter = "runs", price = "1", valid_from = 2026-01-01T00:00:00', "line 6: valid_from has no zone"),
        (
            ROW % 'meter = "runs", price = "1", valid_from = 2026-01-02, valid_to = 2026-01-02',
            "line 6: valid_to must be after valid_from",
        ),
        (ROW % 'meter = "runs", price = "1", hours_from = "9:00"', "line 6: hours_from '9:00' is no time of day"),
        (ROW % 'meter = "runs", price = "1", hours_from = 9', "line 6: hours_from is a UTC time of day"),
        (ROW % 'meter = "runs", price = "1", hours_from = "09:00"', "line 6: hours_from and hours_to come together"),
        (ROW % 'meter = "runs", price = "1", date = "yesterday"', "line 6: date 'yesterday' is no date"),
        (ROW % 'meter = "runs", price = "1", date = 7', "line 6: date 7 is no date"),
        ('[[service]]\nprovider = "a"\nservice = "b"\n', "line 1: a service has rates"),
        ('[[service]]\nprovider = "a"\nservise = "b"\nrates = []\n', "line 1: 'servise' is not known here"),
        ('\n[[rate]]\nservice = "b"\nmeter = "runs"\nprice = 1\n', "line 2: provider is missing or not text"),
        ('[[discount]]\nprovider = "a"\npercent = 120\n', "line 1: percent is 120; a discount is above 0"),
        ('[[discount]]\nprovider = "a"\npercent = 1\nmeter = "x"\n', "line 1: meter 'x' is not known"),
        (
            '[[discount]]\nprovider = "a"\npercent = 1\nconditions = { r = ["x", "y"] }\n',
            "line 1: a condition of a discount has one value",
        ),
        ("[[exchange]]\nprice = 1\n", "line 1: an exchange rate needs its currency and its date"),
        ("[[exchange]]\nprice = 0\n", "line 1: price is 0; it must be above 0"),
        ("[rate]\nprice = 1\n", "line 1: write [[rate]] with two brackets"),
        ("[[rates]]\nprice = 1\n", "line 1: 'rates' is none of service, rate, discount, exchange"),
        ("[[rate]\n", "p.toml is not TOML"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(PriceBookError) as refused:
        read_price_file(text, "p.toml")
    assert refused.value.code == "bad_price_file"
    assert message in str(refused.value)


def test_rows_that_share_a_line_are_named_by_their_service() -> None:
    rows = '{ meter = "x", price = 1 }, { meter = "y", price = 1 }'
    text = f'[[service]]\nprovider = "a"\nservice = "b"\nrates = [{rows}]\n'
    with pytest.raises(PriceBookError, match="line 1: meter 'x'"):
        read_price_file(text, "p.toml")
    inline = 'rate = [{ provider = "a", service = "b", meter = "z", price = 1 }]\n'
    with pytest.raises(PriceBookError, match="line 1: meter 'z'"):
        read_price_file(inline, "p.toml")


def test_a_card_needs_source_and_date_and_holds_no_discount() -> None:
    with pytest.raises(PriceBookError, match="line 5: a published price needs its source"):
        read_card(ROW % 'meter = "gb", price = "1"', "card.toml")
    with pytest.raises(PriceBookError, match="line 1: a card holds prices"):
        read_card('[[discount]]\nprovider = "a"\npercent = 1\nsource = "x"\n', "card.toml")


def test_a_price_ten_times_away_asks_and_nine_times_does_not() -> None:
    old = listed("chat", "images", "0.01")
    check_price_jump(listed("chat", "images", "0.1"), old)
    check_price_jump(listed("chat", "images", "0.001"), old)
    check_price_jump(listed("chat", "images", "0"), old)
    for price, words in (("0.11", "is 11 times the price in force"), ("0.0009", "is 1/11 of the price in force")):
        with pytest.raises(PriceBookError, match=words) as refused:
            check_price_jump(listed("chat", "images", price), old)
        assert refused.value.code == "suspicious_price"


def test_a_token_dearer_than_a_cent_asks_even_when_nothing_is_in_force() -> None:
    with pytest.raises(PriceBookError, match="was it meant per 1,000,000"):
        check_price_jump(listed("chat", "input_tokens", "2.50"), None)
    check_price_jump(listed("chat", "input_tokens", "2.50", 1_000_000), listed("chat", "input_tokens", "0"))
    check_price_jump(listed("chat", "images", "2.50"), None)
    check_price_jump(listed("chat", "input_tokens", "2.50", discount=Decimal("0.5")), None)
    foreign = listed("chat", "input_tokens", "2.50", 1_000_000, currency="EUR")
    check_price_jump(foreign, listed("chat", "input_tokens", "9", 1_000))
