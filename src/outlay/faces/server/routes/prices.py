"""Prices as resources: those in force, one's own added, and what is to be looked at among them."""

from __future__ import annotations

from itertools import islice
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from outlay.clock import day_to_date, isoformat, local_day
from outlay.errors import InvalidInput, NotFound
from outlay.faces.server.models import (
    Added,
    ExchangeSent,
    Findings,
    Match,
    PriceFileSent,
    RateAnswer,
    RatePage,
    RateSent,
)
from outlay.faces.server.routes.answering import (
    NAME_MAX,
    PAGE,
    PROBLEMS,
    Anybody,
    Cursor,
    Limit,
    Reads,
    Rules,
    State,
    cursor_of,
    exact,
    in_thread,
    place_of,
    plain,
    read_exact,
)
from outlay.model import Rate
from outlay.pricing.check import DEFAULT_AGE_DAYS, check_prices
from outlay.wire import EXACT, SentBook, SentCatalogue

router = APIRouter(tags=["prices"], responses=PROBLEMS)

Provider = Annotated[str | None, Query(max_length=NAME_MAX)]
Service = Annotated[str | None, Query(max_length=NAME_MAX)]
CatalogueId = Annotated[str | None, Query(max_length=NAME_MAX)]
Named = Annotated[str, Query(min_length=1, max_length=NAME_MAX)]


class RatesSent(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of Outlay's own client."""

    rates: list[Rate]
    force: bool = False


@router.get("/v1/prices", responses={200: {"model": RatePage}})
async def prices(
    caller: Reads,
    state: State,
    provider: Provider = None,
    service: Service = None,
    origin: Annotated[str | None, Query(description="user or catalogue", pattern="^(user|catalogue)$")] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Response:
    """The price book in force: one's own prices and the catalogue's."""
    place = place_of(cursor)

    def look() -> tuple[list[Rate], str]:
        book = state.ledger.book
        if provider is not None and service is not None:
            every = iter(book.rates(provider, service))
        else:
            every = (rate for rate in book.all_rates(provider) if service in (None, rate.service))
        chosen = (rate for rate in every if origin in (None, rate.origin))
        return list(islice(chosen, place, place + limit + 1)), book.catalogue_id

    found, catalogue = await in_thread(look)
    following = cursor_of(place + limit) if len(found) > limit else None
    return plain({"rates": [rate_json(rate) for rate in found[:limit]], "catalogue": catalogue, "next": following})


@router.post(
    "/v1/prices",
    responses={200: {"model": RateAnswer}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": RateSent.model_json_schema()}},
        }
    },
)
async def add_price(request: Request, caller: Rules, state: State) -> Response:
    """Add a price of one's own, which beats the catalogue's from `valid_from` on. Nothing past is re-priced."""
    if EXACT in request.headers.get("content-type", ""):
        sent = await read_exact(request, RatesSent)
        await in_thread(lambda: state.ledger.add_rates(sent.rates, force=sent.force))
        return exact({"added": len(sent.rates)})
    try:
        told = RateSent.model_validate(await read_exact(request, dict[str, Any])).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{where}: {first['msg']}", field=where or None) from error
    optional = ("currency", "minimum", "increment")
    fields = {name: value for name, value in told.items() if name not in optional or value is not None}
    return plain(rate_json(await in_thread(lambda: state.ledger.add_rate(**fields))))


@router.post("/v1/prices/file", responses={200: {"model": Added}})
async def add_price_file(caller: Rules, state: State, sent: PriceFileSent) -> Response:
    """Add the prices, discounts and exchange rates of a price file (TOML), but for those that the ledger holds."""
    recorder = state.ledger.recorder
    added = await in_thread(lambda: recorder.add_price_file(sent.text, sent.name, force=sent.force))
    return plain({"added": added})


@router.post("/v1/prices/exchange-rates", responses={200: {"model": Added}})
async def add_exchange_rate(caller: Rules, state: State, sent: ExchangeSent) -> Response:
    """Add the rate of a currency on a date."""
    await in_thread(
        lambda: state.ledger.add_exchange_rate(
            currency=sent.currency, price=sent.price, date=sent.date, source=sent.source
        )
    )
    return plain({"added": 1})


@router.get("/v1/prices/check", responses={200: {"model": Findings}})
async def check(
    caller: Reads,
    state: State,
    age_days: Annotated[int, Query(ge=0, le=36_500)] = DEFAULT_AGE_DAYS,
) -> Response:
    """Old prices, prices without a source, sources that differ: of the services that were used, and one's own."""
    caller.must_see_all()

    def look() -> list[Any]:
        ledger = state.ledger
        today = day_to_date(local_day(state.clock.now(), ledger.store.home_zone))
        used = [(row.keys[0] or "", row.keys[1] or "") for row in ledger.costs(("provider", "service")).rows]
        return check_prices(ledger.book, used, today, age_days)

    found = await in_thread(look)
    return plain({"findings": found})


@router.get("/v1/prices/match", responses={200: {"model": Match}})
async def match(caller: Anybody, state: State, provider: Named, service: Named) -> Response:
    """By which rule a service is found in the price book, or why not."""
    found = await in_thread(lambda: state.ledger.recorder.refresh().resolve(provider, service))
    return plain({"rule": found.rule, "reason": found.reason})


@router.get("/v1/prices/book", include_in_schema=False)
async def book(caller: Reads, state: State) -> Response:
    """The price book in force, for Outlay's own client."""

    def look() -> SentBook:
        ledger = state.ledger
        in_force = ledger.book
        exchange = tuple(ledger.recorder.exchange_rates())
        return SentBook(catalogue_id=in_force.catalogue_id, rates=in_force.user_rates, exchange=exchange)

    return exact(await in_thread(look))


@router.get("/v1/prices/catalogues", include_in_schema=False)
async def catalogues(caller: Reads, state: State) -> Response:
    """The versions of the catalogue that the ledger used."""
    found = await in_thread(state.ledger.store.catalogues)
    return exact([SentCatalogue(id=id, recorded_at=at, active=active) for id, at, active in found])


@router.get("/v1/prices/catalogue", include_in_schema=False)
async def catalogue(caller: Reads, state: State, id: CatalogueId = None) -> Response:
    """The active catalogue as it is kept, or that of an id."""
    found = await in_thread(lambda: state.ledger.store.catalogue(id))
    if found is None:
        raise NotFound("this ledger has no such price catalogue", code="no_catalogue")
    return Response(found[1], media_type="application/octet-stream")


def rate_json(rate: Rate) -> dict[str, Any]:
    """A price for everyone."""
    return {
        "provider": rate.provider,
        "service": rate.service,
        "meter": rate.meter,
        "price": format(rate.price, "f"),
        "per": rate.per,
        "currency": rate.currency,
        "conditions": rate.conditions,
        "valid_from": None if rate.valid_from is None else isoformat(rate.valid_from),
        "valid_to": None if rate.valid_to is None else isoformat(rate.valid_to),
        "origin": rate.origin,
        "source": rate.source,
        "source_date": rate.source_date,
        "note": rate.note,
    }
