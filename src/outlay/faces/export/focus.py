"""Charges as rows of FOCUS' cost and usage dataset, AI usage as the specification's AI examples have it.

One row a meter: input, cached input and output have prices of their own. ConsumedQuantity is the raw count of
`Tokens`, PricingQuantity millions of them. BilledCost and EffectiveCost are what the ledger says, to the picounit;
ListCost and ContractedCost are quantity × unit price.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec

from outlay.faces.export.charges import Charge, ChargeKey, Tally, amount_text, decimal_text
from outlay.faces.export.focus_names import (
    model_version,
    seller_of,
    sku_meter,
    sku_of,
    token_facts,
    unit_name,
)
from outlay.faces.export.sinks import PLACES, Row
from outlay.meters import METERS
from outlay.model import Basis
from outlay.money import EXACT

TOKENS_PRICED: Final = 1_000_000
_LAST_PLACE: Final = Decimal(1).scaleb(-PLACES, EXACT)
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Under which account the rows stand, and in which currency; `unprefixed` for the draft after 1.4."""

    id: str = "outlay"
    name: str | None = None
    currency: str = "USD"
    draft: bool = False


def focus_rows(charges: Iterable[Charge], account: Account, tally: Tally) -> Iterator[Row]:
    """The rows of charges, with the columns of every version; the sink takes those of its own."""
    for charge in charges:
        tally.rows += 1
        tally.amount += charge.sums.amount
        key = charge.key
        fixed = _fixed(key._replace(start="", end="", period_start="", period_end="", event="", job=""), account)
        yield {
            **fixed,
            "BillingPeriodEnd": key.period_end,
            "BillingPeriodStart": key.period_start,
            "ChargePeriodEnd": key.end,
            "ChargePeriodStart": key.start,
            "x_EventId": key.event or None,
            "x_Job": key.job or None,
            **_numbers(charge, account),
        }


@lru_cache(maxsize=20_000)
def _fixed(key: ChargeKey, account: Account) -> dict[str, str | None]:
    """All of a row that changes neither with its numbers nor from call to call: a million rows have few of these."""
    seller = seller_of(key.provider, key.service, key.meter)
    usage = key.category == "Usage"
    resource = key.resource or None
    return {
        "BillingAccountId": account.id,
        "BillingAccountName": account.name or account.id,
        "BillingAccountType": "Account",
        "BillingCurrency": account.currency,
        "ChargeCategory": key.category,
        "ChargeDescription": _description(key),
        "ChargeFrequency": "Usage-Based" if usage else "One-Time",
        "HostProviderName": seller.name,
        "InvoiceIssuerName": seller.name,
        "PricingCategory": "Standard" if usage else None,
        "ProviderName": seller.name,
        "PublisherName": seller.maker,
        "RegionId": key.region or None,
        "RegionName": key.region or None,
        "ResourceId": resource,
        "ResourceName": resource,
        "ResourceType": None if resource is None else key.service,
        "ServiceCategory": seller.category,
        "ServiceName": seller.service_name,
        "ServiceProviderName": seller.name,
        "ServiceSubcategory": seller.subcategory,
        "SubAccountId": key.project or None,
        "SubAccountName": key.project or None,
        "SubAccountType": "Project" if key.project else None,
        "Tags": _tags(key),
        **(_sku(key, seller.maker, account) if usage and key.meter in METERS else {}),
        **_own(key),
    }


def _own(key: ChargeKey) -> dict[str, str | None]:
    return {
        "x_Basis": key.basis,
        "x_Customer": key.customer or None,
        "x_Environment": key.environment or None,
        "x_Feature": key.feature or None,
        "x_Meter": key.meter,
        "x_Operation": key.operation or None,
        "x_PriceSource": key.price_source or None,
        "x_Project": key.project or None,
        "x_Provider": key.provider,
        "x_Service": key.service,
        "x_Status": key.status,
        "x_Team": key.team or None,
        "x_User": key.user or None,
    }


def _description(key: ChargeKey) -> str:
    what = sku_meter(key.meter) if key.meter in METERS else "Cost as told"
    if key.basis in (Basis.BILLED, Basis.ADJUSTED):
        what = key.category if key.category != "Usage" else "Billed usage"
    return f"{what} of {key.service}"


def _tags(key: ChargeKey) -> str:
    """Whom a cost is for, as tags that every tool shows, and the event's own tags, which win."""
    whom = {"customer": key.customer, "environment": key.environment, "feature": key.feature, "team": key.team}
    told = {name: value for name, value in whom.items() if value}
    return _encode({**told, **(_decode(key.tags) if key.tags else {})}).decode()


def _sku(key: ChargeKey, maker: str, account: Account) -> dict[str, str | None]:
    sku = f"{key.service}-{sku_of(key.meter)}"
    facts = {"ModelDeveloper": maker, "ModelId": key.service}
    version = model_version(key.service)
    facts |= {"ModelVersion": version} if version else {}
    facts = {**facts, **token_facts(key.meter)} if key.basis not in (Basis.BILLED, Basis.ADJUSTED) else {}
    # Until a version has these keys of its own they are a provider's, which begin with x_.
    details = {name if account.draft else f"x_{name}": value for name, value in facts.items()}
    return {
        "ConsumedUnit": unit_name(key.meter),
        "SkuId": sku,
        "SkuMeter": sku_meter(key.meter),
        "SkuPriceDetails": _encode(details).decode() if details else None,
        "SkuPriceId": f"{sku}-{key.terms or 'ondemand'}",
    }


def _numbers(charge: Charge, account: Account) -> dict[str, str | None]:
    key, sums = charge
    amount = amount_text(sums.amount)
    row: dict[str, str | None] = {
        "BilledCost": amount,
        "EffectiveCost": amount,
        "ContractedCost": amount,
        "ListCost": amount,
        "PricingCurrency": account.currency,
        "PricingCurrencyEffectiveCost": amount,
        "x_Calls": str(sums.calls),
    }
    if key.category == "Purchase":
        # What is paid ahead has its effect in the usage that it covers.
        return {**row, "EffectiveCost": "0.0", "PricingCurrencyEffectiveCost": "0.0"}
    if key.category != "Usage":
        return row
    measured = key.meter in METERS
    if measured:
        row["ConsumedQuantity"] = decimal_text(sums.quantity)
    if not key.price:
        return {**row, **_told(charge, measured)}
    scale, prices = _prices(key.meter, key.price, key.list_price, key.per)
    quantity = _placed(EXACT.divide(sums.quantity, scale))
    row["PricingQuantity"] = decimal_text(quantity)
    row["PricingUnit"] = unit_name(key.meter) if scale == 1 else f"{scale} {unit_name(key.meter)}"
    if key.price_currency != account.currency:
        return {**row, **_in_other_currency(charge, prices, quantity)}
    for cost, price, each in zip(_COSTS, _PRICES, prices, strict=True):
        row[price] = row[f"PricingCurrency{price}"] = decimal_text(each)
        row[cost] = decimal_text(_placed(EXACT.multiply(quantity, each)))
    return row


_COSTS: Final = ("ContractedCost", "ListCost")
_PRICES: Final = ("ContractedUnitPrice", "ListUnitPrice")


@lru_cache(maxsize=4_096)
def _prices(meter: str, price: str, list_price: str, per: str) -> tuple[Decimal, tuple[Decimal, Decimal]]:
    """How many of a meter's unit a price is for, and the contracted and the list price of that many."""
    scale = Decimal(TOKENS_PRICED if METERS[meter].unit == "token" else per)
    contracted, listed = (
        _placed(EXACT.divide(EXACT.multiply(Decimal(each), scale), Decimal(per))) for each in (price, list_price)
    )
    return scale, (contracted, listed)


def _told(charge: Charge, measured: bool) -> dict[str, str | None]:
    """A cost that was told has a quantity and no unit price."""
    sums = charge.sums
    quantity = sums.quantity if measured else Decimal(sums.calls)
    return {
        "PricingQuantity": decimal_text(quantity),
        "PricingUnit": unit_name(charge.key.meter) if measured else "Requests",
    }


def _in_other_currency(charge: Charge, prices: tuple[Decimal, Decimal], quantity: Decimal) -> dict[str, str | None]:
    """A price in another currency than the ledger's: the row keeps both, and the prices that the cost comes to."""
    contracted, listed = prices
    row: dict[str, str | None] = {
        "PricingCurrency": charge.key.price_currency,
        "PricingCurrencyContractedUnitPrice": decimal_text(contracted),
        "PricingCurrencyListUnitPrice": decimal_text(listed),
        "PricingCurrencyEffectiveCost": amount_text(charge.sums.native),
    }
    billed = EXACT.divide(Decimal(charge.sums.amount), Decimal(10**12))
    if quantity:
        each = _placed(EXACT.divide(billed, quantity))
        row["ContractedUnitPrice"] = decimal_text(each)
        factor = EXACT.divide(listed, contracted) if contracted else Decimal(1)
        row["ListUnitPrice"] = decimal_text(_placed(EXACT.multiply(each, factor)))
        row["ListCost"] = decimal_text(_placed(EXACT.multiply(billed, factor)))
    return row


def _placed(value: Decimal) -> Decimal:
    """A number of at most 18 places, which Parquet's decimals hold."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent >= -PLACES:
        return value
    return value.quantize(_LAST_PLACE, context=EXACT)
