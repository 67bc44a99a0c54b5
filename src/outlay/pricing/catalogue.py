"""The catalogue: published prices as one immutable body of bytes, named by its content.

A body is msgpack: a header with every provider, and for each provider one blob of services that is decoded
only when that provider is first asked for. So a process that prices one model reads one provider.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pkgutil import get_data
from typing import Any, Final

import msgspec

from outlay.errors import PriceBookError
from outlay.model import Rate

FORMAT: Final = 1

Clause = list[Any]
"""How a service is recognised: [word, text] for equals, starts_with, ends_with, contains and regex, or
[word, [clause, …]] for any and all. The words are spelled out because they are shown on receipts."""


class PackedRate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Rate` as stored; what its service and provider say already is left out."""

    meter: str = msgspec.field(name="m")
    price: str = msgspec.field(name="p")
    per: int = msgspec.field(name="r", default=1_000_000)
    currency: str = msgspec.field(name="c", default="USD")
    conditions: dict[str, str] = msgspec.field(name="k", default_factory=dict)
    context_over: int = msgspec.field(name="x", default=0)
    valid_from: int | None = msgspec.field(name="f", default=None)
    valid_to: int | None = msgspec.field(name="t", default=None)
    hours_from: int | None = msgspec.field(name="g", default=None)
    hours_to: int | None = msgspec.field(name="h", default=None)
    minimum: str | None = msgspec.field(name="n", default=None)
    increment: str | None = msgspec.field(name="i", default=None)
    price_high: str | None = msgspec.field(name="z", default=None)
    implied: bool = msgspec.field(name="q", default=False)
    attempts: bool = msgspec.field(name="a", default=False)
    unless: tuple[str, ...] = msgspec.field(name="u", default=())
    source: str = msgspec.field(name="s", default="")
    source_date: str = msgspec.field(name="d", default="")
    note: str = msgspec.field(name="o", default="")


class PackedService(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service as stored: its name, how it is recognised, its rates in the order of the source."""

    name: str = msgspec.field(name="n")
    clause: Clause = msgspec.field(name="c")
    rates: list[PackedRate] = msgspec.field(name="r", default_factory=list)
    comment: str = msgspec.field(name="o", default="")


class PackedProvider(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider as stored. `services` is the msgpack of its list of PackedService."""

    name: str = msgspec.field(name="n")
    services: bytes = msgspec.field(name="b")
    clause: Clause | None = msgspec.field(name="c", default=None)
    service_clause: Clause | None = msgspec.field(name="m", default=None)
    address_pattern: str = msgspec.field(name="u", default="")
    fallbacks: list[str] = msgspec.field(name="f", default_factory=list)
    source: str = msgspec.field(name="s", default="")
    source_date: str = msgspec.field(name="d", default="")


class PackedCatalogue(msgspec.Struct, frozen=True, omit_defaults=True):
    """The whole body: what it was built from and every provider."""

    format: int
    title: str
    date: str
    providers: list[PackedProvider]


_header = msgspec.msgpack.Decoder(PackedCatalogue)
_services = msgspec.msgpack.Decoder(list[PackedService])
_encoder = msgspec.msgpack.Encoder(order="deterministic")


def pack_services(services: Sequence[PackedService]) -> bytes:
    """The blob of one provider's services."""
    return _encoder.encode(list(services))


def unpack_services(blob: bytes) -> list[PackedService]:
    """The services of one provider, in the order in which they are tried."""
    return _services.decode(blob)


def encode(catalogue: PackedCatalogue) -> bytes:
    """The body of a catalogue; equal catalogues give equal bytes."""
    return _encoder.encode(catalogue)


def decode(body: bytes) -> PackedCatalogue:
    """The catalogue in a body. Raises PriceBookError `bad_catalogue`."""
    try:
        catalogue = _header.decode(body)
    except msgspec.DecodeError as error:
        raise PriceBookError(f"this is not a catalogue of prices: {error}", code="bad_catalogue") from error
    if catalogue.format != FORMAT:
        raise PriceBookError(
            f"the catalogue has format {catalogue.format}, this program reads {FORMAT}; upgrade Outlay",
            code="bad_catalogue",
        )
    return catalogue


def content_id(body: bytes) -> str:
    """The name of a body: BLAKE2b of its bytes, 128 bits, in hexadecimal."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


@cache
def shipped() -> tuple[str, bytes]:
    """(id, body) of the catalogue that this version of Outlay carries."""
    # importlib.resources would do the same and cost every process 40 ms to import.
    body = get_data("outlay.pricing", "data/catalogue.msgpack") or b""
    return content_id(body), body


def unpack_rate(packed: PackedRate, provider: PackedProvider, service: str) -> Rate:
    """The Rate of a stored one, with what its provider says filled in."""
    return Rate(
        provider=provider.name,
        service=service,
        meter=packed.meter,
        price=Decimal(packed.price),
        per=packed.per,
        currency=packed.currency,
        conditions=packed.conditions,
        context_over=packed.context_over,
        valid_from=packed.valid_from,
        valid_to=packed.valid_to,
        hours_from=packed.hours_from,
        hours_to=packed.hours_to,
        minimum=_decimal(packed.minimum),
        increment=_decimal(packed.increment),
        price_high=_decimal(packed.price_high),
        implied=packed.implied,
        attempts=packed.attempts,
        unless=packed.unless,
        source=packed.source or provider.source,
        source_date=packed.source_date or provider.source_date,
        note=packed.note,
    )


def pack_rate(rate: Rate, source: str = "", source_date: str = "") -> PackedRate:
    """A Rate as stored under a provider whose source and date are these."""
    return PackedRate(
        meter=rate.meter,
        price=format(rate.price, "f"),
        per=rate.per,
        currency=rate.currency,
        conditions=dict(sorted(rate.conditions.items())),
        context_over=rate.context_over,
        valid_from=rate.valid_from,
        valid_to=rate.valid_to,
        hours_from=rate.hours_from,
        hours_to=rate.hours_to,
        minimum=_text(rate.minimum),
        increment=_text(rate.increment),
        price_high=_text(rate.price_high),
        implied=rate.implied,
        attempts=rate.attempts,
        unless=rate.unless,
        source="" if rate.source == source else rate.source,
        source_date="" if rate.source_date == source_date else rate.source_date,
        note=rate.note,
    )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
