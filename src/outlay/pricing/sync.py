"""A catalogue built from the installed genai-prices and Outlay's own cards; the one module that imports it.

genai-prices picks a whole block of prices by date or time of day (the last block that is active wins), then
replaces single prices by the first active variant whose conditions hold. Here every block becomes rates with
their own dates and hours that never overlap, and every variant rates with conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib import import_module, metadata, resources
from itertools import pairwise
from typing import Any, Final

import msgspec

from outlay.clock import DAY_MICROSECONDS, Instant, date_to_day
from outlay.errors import MissingExtra, PriceBookError
from outlay.meters import METERS
from outlay.model import Rate
from outlay.pricing.card import read_card
from outlay.pricing.catalogue import (
    FORMAT,
    Clause,
    PackedCatalogue,
    PackedProvider,
    PackedService,
    content_id,
    encode,
    pack_rate,
    pack_services,
)
from outlay.pricing.conditions import DEFAULT_VALUES

CARDS: Final = ("aws.toml", "media.toml")
SHIPPED_ON: Final = "2026-11-22"
"""The day on which the shipped catalogue was built."""

_FREE_NOTE: Final = "listed free"
_FREE_METERS: Final = ("input_tokens", "output_tokens", "requests", "images", "audio_seconds", "characters")
_WORDS: Final = ("equals", "starts_with", "ends_with", "contains", "regex")
_MINIMUM_SECONDS: Final = {
    ("groq", "whisper-large-v3"): Decimal(10),
    ("groq", "whisper-large-v3-turbo"): Decimal(10),
}
"""Groq bills at least 10 seconds a transcription; genai-prices 0.2.3 has it in its code, not in its data."""

Span = tuple[Instant | None, Instant | None, int | None, int | None]
"""(valid_from, valid_to, hours_from, hours_to) of a rate."""


def build_catalogue(today: str = SHIPPED_ON) -> tuple[str, bytes]:
    """(id, body) of a catalogue from the installed genai-prices and the shipped cards.

    `today` is an ISO date: the source date of a price is the newest start date in the data up to it (prices
    announced ahead are in the data, too). Raises MissingExtra without genai-prices.
    """
    try:
        source = import_module("genai_prices.data").providers
        units = import_module("genai_prices.data_units").unit_data
        version = metadata.version("genai-prices")
    except ImportError as error:
        raise MissingExtra("prices come from genai-prices; install it with: pip install 'outlay[sync]'") from error
    date = _newest_date(source, today)
    providers = [_Provider(each, units, date).packed() for each in source]
    body = encode(
        PackedCatalogue(
            format=FORMAT, title=f"genai-prices {version}", date=date, providers=with_cards(providers, _card_rates())
        )
    )
    return content_id(body), body


def _card_rates() -> Iterator[Rate]:
    folder = resources.files("outlay.pricing").joinpath("data", "cards")
    for name in CARDS:
        yield from read_card(folder.joinpath(name).read_text(encoding="utf-8"), name)


def with_cards(
    providers: Sequence[tuple[PackedProvider, list[PackedService]]], rates: Iterable[Rate]
) -> list[PackedProvider]:
    """The providers with the cards' rates added: to a service of that name, else as a service tried first."""
    services = {provider.name: list(found) for provider, found in providers}
    heads = {provider.name: provider for provider, _ in providers}
    added: dict[tuple[str, str], list[Rate]] = {}
    for rate in rates:
        added.setdefault((rate.provider, rate.service), []).append(rate)
    for (provider, name), group in reversed(added.items()):
        head = heads.setdefault(provider, PackedProvider(name=provider, services=b""))
        packed = [pack_rate(rate, head.source, head.source_date) for rate in group]
        known = services.setdefault(provider, [])
        at = next((index for index, each in enumerate(known) if each.name == name), None)
        if at is None:
            known.insert(0, PackedService(name=name, clause=["equals", name.lower()], rates=packed))
        else:
            old = known[at]
            known[at] = PackedService(name=name, clause=old.clause, rates=[*old.rates, *packed], comment=old.comment)
    return [_with_services(heads[name], services[name]) for name in sorted(heads)]


def _with_services(head: PackedProvider, services: list[PackedService]) -> PackedProvider:
    return PackedProvider(
        name=head.name,
        services=pack_services(services),
        clause=head.clause,
        service_clause=head.service_clause,
        address_pattern=head.address_pattern,
        fallbacks=head.fallbacks,
        source=head.source,
        source_date=head.source_date,
    )


class _Provider:
    """One provider of genai-prices on its way into the catalogue."""

    def __init__(self, source: Any, units: Mapping[str, Any], date: str) -> None:
        self.source = source
        self.meters = {str(unit["price_key"]): (name, int(unit["per"])) for name, unit in units.items()}
        self.date = date
        urls = source.pricing_urls or []
        self.page = str(urls[0]) if urls else ""

    def packed(self) -> tuple[PackedProvider, list[PackedService]]:
        source = self.source
        head = PackedProvider(
            name=source.id,
            services=b"",
            clause=_optional_clause(source.provider_match),
            service_clause=_optional_clause(source.model_match),
            address_pattern=source.api_pattern or "",
            fallbacks=list(source.fallback_model_providers or ()),
            source=self.page,
            source_date=self.date,
        )
        return head, [self._service(model) for model in source.models]

    def _service(self, model: Any) -> PackedService:
        rates = list(self._base_rates(model))
        rates.extend(self._variant_rates(model))
        if not rates and _listed_free(model):
            note = "its name says so" if "free" in model.id.lower() else model.price_comments
            rates = [self._free_rate(meter, note) for meter in _FREE_METERS]
        return PackedService(
            name=model.id,
            clause=_clause(model.match),
            rates=[pack_rate(rate, self.page, self.date) for rate in rates],
        )

    def _free_rate(self, meter: str, note: str) -> Rate:
        return Rate(
            provider=self.source.id,
            service="",
            meter=meter,
            price=Decimal(0),
            per=1,
            source=self.page,
            source_date=self.date,
            note=f"{_FREE_NOTE}: {note}",
        )

    def _base_rates(self, model: Any) -> Iterator[Rate]:
        prices = model.prices
        if not isinstance(prices, list):
            yield from self._rates_of(model, _prices(prices), (None, None, None, None), {})
            return
        # Where no block is active the first one is taken, so it counts as active always.
        blocks = [(None if index == 0 else block.constraint, block.prices) for index, block in enumerate(prices)]
        for span, chosen in _spans([constraint for constraint, _ in blocks]):
            yield from self._rates_of(model, _prices(blocks[chosen[-1]][1]), span, {})

    def _variant_rates(self, model: Any) -> Iterator[Rate]:
        groups: dict[tuple[tuple[str, str], ...], list[Any]] = {}
        for variant in model.price_variants or ():
            groups.setdefault(tuple(sorted(variant.when.items())), []).append(variant)
        for when, variants in groups.items():
            for span, chosen in _spans([variant.constraint for variant in variants]):
                merged: dict[str, Any] = {}
                for index in reversed(chosen):
                    merged.update(_prices(variants[index].prices))
                if merged:
                    yield from self._rates_of(model, merged, span, dict(when))
                elif chosen and not _is_default(when):
                    yield from self._same_as_base(model, span, dict(when))

    def _same_as_base(self, model: Any, span: Span, conditions: dict[str, str]) -> Iterator[Rate]:
        """A variant that is listed and changes no price: the base rates, so that the condition is known."""
        for base in self._base_rates(model):
            valid_from = max((at for at in (base.valid_from, span[0]) if at is not None), default=None)
            valid_to = min((at for at in (base.valid_to, span[1]) if at is not None), default=None)
            if valid_from is None or valid_to is None or valid_from < valid_to:
                yield msgspec.structs.replace(base, conditions=conditions, valid_from=valid_from, valid_to=valid_to)

    def _rates_of(
        self, model: Any, prices: Mapping[str, Any], span: Span, conditions: dict[str, str]
    ) -> Iterator[Rate]:
        for key, price in prices.items():
            meter, per = self.meters[key]
            if meter not in METERS:
                raise PriceBookError(
                    f"genai-prices has prices for {meter}, which this Outlay cannot count; upgrade Outlay",
                    code="unknown_unit",
                )
            steps = [(0, price)]
            if hasattr(price, "tiers"):
                steps = [(0, price.base), *((int(tier.start), tier.price) for tier in price.tiers)]
            for context_over, amount in steps:
                yield self._rate(model, meter, per, amount, context_over, span, conditions)

    def _rate(
        self,
        model: Any,
        meter: str,
        per: int,
        price: Decimal,
        context_over: int,
        span: Span,
        conditions: dict[str, str],
    ) -> Rate:
        minimum = _MINIMUM_SECONDS.get((self.source.id, model.id)) if METERS[meter].unit == "second" else None
        return Rate(
            provider=self.source.id,
            service=model.id,
            meter=meter,
            price=price,
            per=per,
            conditions=conditions,
            context_over=context_over,
            valid_from=span[0],
            valid_to=span[1],
            hours_from=span[2],
            hours_to=span[3],
            minimum=minimum,
            implied=meter == "requests",
            source=self.page,
            source_date=self.date,
        )


def _is_default(when: Iterable[tuple[str, str]]) -> bool:
    return all(value in DEFAULT_VALUES.get(key, ()) for key, value in when)


def _prices(block: Any) -> dict[str, Any]:
    return {key: price for key, price in vars(block).items() if price is not None}


def _listed_free(model: Any) -> bool:
    text = f"{model.id} {model.price_comments or ''}".lower()
    return "free" in text or "included in the subscription" in text


def _spans(constraints: Sequence[Any]) -> Iterator[tuple[Span, list[int]]]:
    """The stretches of dates and hours over which the same constraints are active, with their indices."""
    dates = sorted({_start(each) for each in constraints if hasattr(each, "start_date")})
    hours = sorted({second for each in constraints if hasattr(each, "start_time") for second in _hours(each)})
    stretches: list[tuple[int | None, int | None]] = [(None, None)]
    if hours:
        stretches = list(zip(hours, [*hours[1:], hours[0]], strict=True))
    for valid_from, valid_to in pairwise([None, *dates, None]):
        for start, end in stretches:
            active = [index for index, each in enumerate(constraints) if _active(each, valid_from, start or 0)]
            yield (valid_from, valid_to, start, end), active


def _start(constraint: Any) -> Instant:
    return date_to_day(constraint.start_date) * DAY_MICROSECONDS


def _hours(constraint: Any) -> tuple[int, int]:
    return _second_of_day(constraint.start_time), _second_of_day(constraint.end_time)


def _second_of_day(value: time) -> int:
    aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    utc = datetime.combine(datetime(1970, 1, 2, tzinfo=UTC).date(), aware).astimezone(UTC)
    return (utc.hour * 60 + utc.minute) * 60 + utc.second


def _active(constraint: Any, at: Instant | None, second: int) -> bool:
    if constraint is None:
        return True
    if hasattr(constraint, "start_date"):
        return at is not None and at >= _start(constraint)
    start, end = _hours(constraint)
    return start <= second < end if start <= end else second >= start or second < end


def _optional_clause(match: Any) -> Clause | None:
    return None if match is None else _clause(match)


def _clause(match: Any) -> Clause:
    for word in _WORDS:
        if hasattr(match, word):
            text = str(getattr(match, word))
            # Names are compared in lower case; a regular expression is searched in that lower case as it stands.
            return [word, text if word == "regex" else text.lower()]
    if hasattr(match, "or_"):
        return ["any", [_clause(each) for each in match.or_]]
    return ["all", [_clause(each) for each in match.and_]]


def _newest_date(providers: Iterable[Any], today: str) -> str:
    starts = [
        block.constraint.start_date.isoformat()
        for provider in providers
        for model in provider.models
        if isinstance(model.prices, list)
        for block in model.prices
        if hasattr(block.constraint, "start_date")
    ]
    return max((start for start in starts if start <= today), default="")
