"""The price book: one catalogue, the user's rates and exchange rates, as an immutable value.

A provider's services are decoded when it is first asked for. What was looked up is remembered in bounded
caches, which change how fast an answer comes and never what it is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from outlay.clock import DAY_MICROSECONDS, Instant, date_to_day
from outlay.errors import PriceBookError
from outlay.model import ExchangeRate, Rate
from outlay.pricing import catalogue as packed
from outlay.pricing.ends import End, at_end
from outlay.pricing.match import OpaqueName, matched_by, plain, provider_spellings, service_spellings

if TYPE_CHECKING:
    from outlay.pricing.plan import Plan

CACHE_LIMIT = 4096
_ROUTERS = frozenset({"litellm", "litellm_proxy", ""})
_ANY = "*"


class Resolution(msgspec.Struct, frozen=True, eq=False):
    """What an event's provider and service mean in a book.

    `rule` says how they were found, `reason` why not (exactly one is empty). `rates` are all that could apply,
    the user's first; `discounts` the user's rules; `offered` the values that the rates know for each condition.
    `borrowed` is set where the price is that of another provider's service of the same name.
    """

    provider: str
    service: str
    rule: str
    reason: str
    rates: tuple[Rate, ...]
    discounts: tuple[Rate, ...]
    offered: dict[str, set[str]]
    borrowed: bool = False


class PriceBook:
    """Prices as they were known at one moment: looked up, never changed."""

    __slots__ = (
        "_discounts",
        "_exchange",
        "_heads",
        "_pages",
        "_resolutions",
        "_user",
        "catalogue_id",
        "currency",
        "date",
        "end",
        "plans",
        "quick_plans",
        "title",
        "user_rates",
    )

    catalogue_id: str
    currency: str
    title: str
    date: str
    end: End | None
    user_rates: tuple[Rate, ...]
    plans: dict[tuple[object, ...], Plan]
    quick_plans: dict[tuple[object, ...], Plan]
    _heads: dict[str, packed.PackedProvider]
    _pages: dict[str, list[packed.PackedService]]
    _resolutions: dict[tuple[str, str], Resolution]
    _exchange: dict[str, list[tuple[Instant, ExchangeRate]]]
    _user: dict[tuple[str, str], list[Rate]]
    _discounts: dict[tuple[str, str], list[Rate]]

    @classmethod
    def of(
        cls,
        catalogue_body: bytes,
        catalogue_id: str,
        user_rates: Sequence[Rate] = (),
        exchange: Sequence[ExchangeRate] = (),
        currency: str = "USD",
    ) -> PriceBook:
        """The book of a catalogue (see `catalogue.shipped`), the user's rates and the ledger's currency.

        Raises PriceBookError `bad_catalogue` for a body that cannot be read, `bad_exchange_rate` for an
        exchange rate that is not positive or has no ISO date.
        """
        book = cls.__new__(cls)
        decoded = packed.decode(catalogue_body)
        book.catalogue_id = catalogue_id
        book.title = decoded.title
        book.date = decoded.date
        book.currency = currency
        book.end = None
        book.user_rates = tuple(user_rates)
        book.plans = {}
        book.quick_plans = {}
        book._heads = {head.name: head for head in decoded.providers}
        book._pages = {}
        book._resolutions = {}
        book._exchange = _by_currency(exchange)
        book._user = {}
        book._discounts = {}
        for rate in book.user_rates:
            index = book._discounts if is_discount(rate) else book._user
            provider = _ANY if rate.provider == _ANY else book.provider_name(rate.provider)
            index.setdefault((provider, plain(rate.service)), []).append(rate)
        return book

    def with_rates(self, user_rates: Sequence[Rate]) -> PriceBook:
        """The same book with these user rates in place of its own."""
        head = packed.PackedCatalogue(packed.FORMAT, self.title, self.date, list(self._heads.values()))
        exchange = [each for days in self._exchange.values() for _, each in days]
        return PriceBook.of(packed.encode(head), self.catalogue_id, user_rates, exchange, self.currency)

    def at(self, end: End) -> PriceBook:
        """This book for estimates: each range of prices is its low or its high end."""
        book = copy(self)
        book.end = end
        book.plans, book.quick_plans, book._resolutions = {}, {}, {}
        return book

    def providers(self) -> list[str]:
        """The names of all providers, the user's own too."""
        own = {provider for provider, _ in self._user if provider != _ANY}
        return sorted({*self._heads, *own})

    def services(self, provider: str) -> list[str]:
        """The names of a provider's services, in the order in which they are tried, the user's own first."""
        name = self.provider_name(provider)
        own = [service for known, service in self._user if known == name]
        listed = [service.name for service in self._page(name)]
        lowered = {plain(service) for service in listed}
        return [service for service in own if service not in lowered] + listed

    def rates(self, provider: str, service: str) -> tuple[Rate, ...]:
        """All rates that could apply to a service, the user's first; none if it is unknown."""
        return self.resolve(provider, service).rates

    def all_rates(self, provider: str | None = None) -> Iterator[Rate]:
        """Every rate of the catalogue, or of one of its providers."""
        for name in self._heads if provider is None else [self.provider_name(provider)]:
            for service in self._page(name):
                yield from self._catalogue_rates(name, service)

    def near(self, provider: str, service: str) -> list[str]:
        """Up to three services of the provider whose names look like this one."""
        names = {plain(name): name for name in self.services(provider) if name != _ANY}
        return [names[name] for name in _close(plain(service), names)]

    def provider_name(self, provider: str) -> str:
        """The catalogue's name of a provider (`bedrock` is `aws`); the given one in lower case if unknown."""
        spellings = list(provider_spellings(provider))
        for spelling in spellings:
            if spelling in self._heads:
                return spelling
        for head in self._heads.values():
            if head.clause is not None and matched_by(head.clause, spellings[0]) is not None:
                return head.name
        return spellings[0]

    def provider_of_address(self, url: str) -> str | None:
        """The provider whose API has this address."""
        for head in self._heads.values():
            if head.address_pattern and re.match(head.address_pattern, url):
                return head.name
        return None

    def exchange_at(self, currency: str, instant: Instant) -> ExchangeRate | None:
        """The newest exchange rate of a currency on or before the UTC date of an instant."""
        known = self._exchange.get(currency, [])
        at = bisect_right(known, instant, key=lambda each: each[0])
        return known[at - 1][1] if at else None

    def exchange_starts(self, currency: str) -> list[Instant]:
        """The instants from which each exchange rate of a currency holds."""
        return [start for start, _ in self._exchange.get(currency, [])]

    def resolve(self, provider: str, service: str) -> Resolution:
        """What a provider's service means in this book. Never raises: what is unknown bears its reason."""
        key = (provider, service)
        found = self._resolutions.get(key)
        if found is None:
            found = self._resolve(provider, service)
            if len(self._resolutions) >= CACHE_LIMIT:
                self._resolutions.clear()
            self._resolutions[key] = found
        return found

    def _resolve(self, given_provider: str, given_service: str) -> Resolution:
        provider, service, routed = self._routed(given_provider, given_service)
        name = self.provider_name(provider)
        prefixes = frozenset({plain(provider), name})
        tried: list[str] = []
        own = plain(service)
        if (name, own) in self._user and self._find(name, own) is None:
            rule = _said(f"{service} by equals {own} of {name}, your own rates", routed)
            return self._assembled(name, service, [own], (), rule, "")
        try:
            for spelling, done in service_spellings(service, prefixes):
                tried.append(spelling)
                found = self._find(name, spelling)
                if found is not None:
                    owner, listed, words = found
                    return self._resolved(name, tried, owner, listed, _said(words, routed, done))
                if (name, spelling) in self._user:
                    rule = _said(f"{spelling} by equals {spelling} of {name}, your own rates", routed, done)
                    return self._assembled(name, spelling, tried, (), rule, "")
        except OpaqueName as kind:
            reason = (
                f"an ARN of {kind} names no model; record the model's id as the service, or add rates for the ARN"
            )
            return self._assembled(name, service, [own], (), "", reason)
        return self._assembled(name, service, tried, (), "", self._unknown(name, provider, service))

    def _routed(self, provider: str, service: str) -> tuple[str, str, str]:
        prefix, slash, rest = service.partition("/")
        if plain(provider) in _ROUTERS and slash and self.provider_name(prefix) in self._heads:
            return prefix, rest, f"routed to {prefix}"
        return provider, service, ""

    def _find(self, provider: str, spelling: str) -> tuple[str, packed.PackedService, str] | None:
        head = self._heads.get(provider)
        if head is None:
            return None
        for owner in (provider, *head.fallbacks):
            for service in self._page(owner):
                words = matched_by(service.clause, spelling)
                if words is not None:
                    rule = f"{service.name} by {words} of {owner}"
                    if owner != provider:
                        rule += f", whose models {provider} offers too"
                    return owner, service, rule
        return None

    def _resolved(
        self, provider: str, tried: list[str], owner: str, listed: packed.PackedService, rule: str
    ) -> Resolution:
        rates = self._catalogue_rates(owner, listed)
        if owner != provider:
            # A tier's price is the owner's offer; what another house charges for it is not known from it.
            rates = tuple(rate for rate in rates if not rate.conditions)
        return self._assembled(
            provider, listed.name, [*tried, plain(listed.name)], rates, rule, "", borrowed=owner != provider
        )

    def _assembled(
        self,
        provider: str,
        service: str,
        names: list[str],
        listed: tuple[Rate, ...],
        rule: str,
        reason: str,
        borrowed: bool = False,
    ) -> Resolution:
        keys = [(provider, each) for each in dict.fromkeys(names)] + [(provider, _ANY)]
        own = [rate for key in keys for rate in self._user.get(key, ())]
        shared = [page for page in self._page(provider) if page.name == _ANY]
        rates = (*own, *listed, *(rate for page in shared for rate in self._catalogue_rates(provider, page)))
        if self.end is not None:
            rates = at_end(rates, self.end)
        offered: dict[str, set[str]] = {}
        for rate in rates:
            for key, value in rate.conditions.items():
                offered.setdefault(key.lower(), set()).add(value.lower())
        wide = [*keys, *((_ANY, each) for _, each in keys)]
        discounts = tuple(rate for key in wide for rate in self._discounts.get(key, ()))
        return Resolution(provider, service, rule, reason, rates, discounts, offered, borrowed)

    def _unknown(self, name: str, given: str, service: str) -> str:
        if name not in self._heads and not any(provider == name for provider, _ in self._user):
            near = _close(name, self.providers())
            hint = f"; near: {', '.join(near)}" if near else ""
            return f"provider {given!r} is not in the price book{hint}; add its rates with `outlay prices add`"
        near = self.near(name, service)
        hint = f"; near: {', '.join(near)}" if near else ""
        return f"{name} has no service {service!r} in the price book{hint}; add its rates with `outlay prices add`"

    def _page(self, provider: str) -> list[packed.PackedService]:
        page = self._pages.get(provider)
        if page is None:
            head = self._heads.get(provider)
            page = self._pages[provider] = [] if head is None else packed.unpack_services(head.services)
        return page

    def _catalogue_rates(self, provider: str, service: packed.PackedService) -> tuple[Rate, ...]:
        head = self._heads[provider]
        return tuple(packed.unpack_rate(rate, head, service.name) for rate in service.rates)


def is_discount(rate: Rate) -> bool:
    """Whether a rate is a rule of the user's file that lowers catalogue prices and has none of its own."""
    return rate.discount is not None and rate.list_price is None


def _close(name: str, known: Iterable[str]) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(name, list(known), n=3)


def _said(rule: str, *more: str) -> str:
    return ", ".join(part for part in (rule, *more) if part)


def _by_currency(rates: Sequence[ExchangeRate]) -> dict[str, list[tuple[Instant, ExchangeRate]]]:
    found: dict[str, dict[Instant, ExchangeRate]] = {}
    for rate in rates:
        try:
            start = date_to_day(date.fromisoformat(rate.date)) * DAY_MICROSECONDS
        except ValueError as error:
            raise PriceBookError(
                f"the exchange rate of {rate.currency} has date {rate.date!r}; write it like 2026-11-22",
                code="bad_exchange_rate",
            ) from error
        if not rate.price.is_finite() or rate.price <= 0:
            raise PriceBookError(
                f"the exchange rate of {rate.currency} on {rate.date} must be positive", code="bad_exchange_rate"
            )
        found.setdefault(rate.currency, {})[start] = rate
    return {currency: sorted(days.items(), key=lambda each: each[0]) for currency, days in found.items()}
