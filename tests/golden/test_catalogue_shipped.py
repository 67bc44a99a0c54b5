"""The catalogue in the wheel: what a rebuild gives, complete, sourced, and cheap to open."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from importlib import resources
from typing import Any

import pytest

from outlay.errors import MissingExtra
from outlay.meters import METERS
from outlay.pricing import catalogue, sync
from outlay.pricing.book import PriceBook
from outlay.pricing.card import read_card


@pytest.fixture(scope="module")
def book() -> PriceBook:
    name, body = catalogue.shipped()
    return PriceBook.of(body, name)


def test_the_shipped_file_is_what_a_rebuild_gives() -> None:
    pytest.importorskip("genai_prices", reason="genai-prices is not installed")
    name, body = sync.build_catalogue()
    assert (name, len(body)) == (catalogue.shipped()[0], len(catalogue.shipped()[1]))
    assert body == catalogue.shipped()[1]


def test_it_holds_all_of_genai_prices_and_the_cards(book: PriceBook) -> None:
    data = pytest.importorskip("genai_prices.data", reason="genai-prices is not installed")
    for provider in data.providers:
        services = set(book.services(provider.id))
        assert {model.id for model in provider.models} <= services
    assert (len(data.providers), sum(len(each.models) for each in data.providers)) == (47, 2330)
    assert {"replicate", "stability", "runway"} <= set(book.providers())
    assert book.title == "genai-prices 0.2.3"


def test_every_rate_has_a_source_a_date_and_a_meter(book: PriceBook) -> None:
    count: Counter[str] = Counter()
    for rate in book.all_rates():
        assert rate.meter in METERS
        assert rate.source.startswith("https://"), rate
        assert rate.source_date, rate
        assert rate.price >= 0
        count[rate.provider] += 1
    assert count["openrouter"] > 2000
    assert count["aws"] > 300
    assert sum(count.values()) > 9000


def test_no_card_row_is_told_twice(book: PriceBook) -> None:
    folder = resources.files("outlay.pricing").joinpath("data", "cards")
    for name in sync.CARDS:
        rates = read_card(folder.joinpath(name).read_text(encoding="utf-8"), name)
        keys = Counter(
            (each.provider, each.service, each.meter, tuple(sorted(each.conditions.items())), each.valid_from)
            for each in rates
        )
        assert [key for key, times in keys.items() if times > 1] == []


def test_a_card_row_that_was_not_read_again_says_so_and_bears_its_old_date() -> None:
    folder = resources.files("outlay.pricing").joinpath("data", "cards")
    rates = [
        each for name in sync.CARDS for each in read_card(folder.joinpath(name).read_text(encoding="utf-8"), name)
    ]
    checked_in = "2026-11-22"
    for each in rates:
        assert each.source_date <= checked_in, each
        if "not re-read" in each.note:
            assert each.source_date < "2026-01-01", each
        # A version of AWS's price list begins with the day of its publication.
        version = re.search(r"/aws/\w+/(\d{4})(\d\d)(\d\d)\d{6}/", each.source)
        assert version is None or "-".join(version.groups()) == each.source_date, each
    old = [each for each in rates if each.source_date < "2026-01-01"]
    # What stands on readings older than a year is a minority that the cards name; it must not grow unseen.
    assert len(old) < len(rates) * 0.4, len(old)


def test_names_find_the_models_that_genai_prices_finds(book: PriceBook) -> None:
    data = pytest.importorskip("genai_prices.data", reason="genai-prices is not installed")
    ours_only = {(rate.provider, rate.service) for rate in book.all_rates() if rate.source_date != book.date}
    compared = 0
    for provider in data.providers:
        for model in provider.models:
            for name in dict.fromkeys([model.id, *_literals(model.match)]):
                theirs = provider.find_model(name, all_providers=data.providers)
                if theirs is None or (provider.id, name) in ours_only:
                    continue
                assert book.resolve(provider.id, name).service == theirs.id, (provider.id, name)
                compared += 1
    assert compared > 3000


def test_the_first_price_reads_one_provider_and_no_genai_prices() -> None:
    code = (
        "import sys\n"
        "from outlay.pricing import catalogue\n"
        "from outlay.pricing.book import PriceBook\n"
        "name, body = catalogue.shipped()\n"
        "book = PriceBook.of(body, name)\n"
        "assert book.resolve('openai', 'gpt-4o').rates\n"
        "assert list(book._pages) == ['openai'], list(book._pages)\n"
        "assert 'genai_prices' not in sys.modules and 'pydantic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_genai_prices_a_sync_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices.data", None)
    with pytest.raises(MissingExtra, match=r"outlay\[sync\]"):
        sync.build_catalogue()


def _literals(clause: Any) -> list[str]:
    words = ("equals", "starts_with", "ends_with", "contains")
    found = [getattr(clause, word) for word in words if hasattr(clause, word)]
    for inner in getattr(clause, "or_", ()) or getattr(clause, "and_", ()):
        found.extend(_literals(inner))
    return found


@pytest.mark.parametrize(
    ("provider", "answered", "listed"),
    [
        ("openai", "davinci:2023-07-21-v2", "davinci-002"),
        ("openai", "babbage:2023-07-21-v2", "babbage-002"),
        ("mistral", "ministral-14b-latest", "ministral-14b-2512"),
        ("aws", "openai.gpt-oss-20b", "openai.gpt-oss-20b-1:0"),
        ("aws", "openai.gpt-oss-120b", "openai.gpt-oss-120b-1:0"),
    ],
)
def test_a_model_costs_the_same_by_the_name_that_its_answers_bear(
    book: PriceBook, provider: str, answered: str, listed: str
) -> None:
    def prices(service: str) -> set[tuple[str, object]]:
        rates = [rate for rate in book.all_rates() if (rate.provider, rate.service) == (provider, service)]
        return {(rate.meter, rate.price) for rate in rates if not rate.conditions}

    assert prices(answered)
    assert prices(answered) == prices(listed)
