"""The columns of FOCUS' cost and usage dataset, version by version, and what each holds.

Source: the specification's pages of 1.2 (57 columns) and of 1.4, which has eight columns of 1.3 and two of its own
and has given up ProviderName and PublisherName (65 columns). https://focus.finops.org/focus-specification/
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from outlay.errors import InvalidInput

VERSIONS: Final = ("1.2", "1.4")


class ColumnKind(StrEnum):
    """What a column holds: text, an exact decimal, a UTC time, or a JSON object as text."""

    TEXT = "text"
    DECIMAL = "decimal"
    TIME = "time"
    JSON = "json"


_NEW_IN_1_3: Final = (
    "AllocatedMethodDetails",
    "AllocatedMethodId",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "ContractApplied",
    "HostProviderName",
    "ServiceProviderName",
)
_NEW_IN_1_4: Final = ("CommitmentProgramEligibilityDetails", "InvoiceDetailId")
_GONE_IN_1_4: Final = ("ProviderName", "PublisherName")

_COLUMNS_1_2: Final = (
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingAccountType",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "CommitmentDiscountUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "SubAccountType",
    "Tags",
)

CUSTOM: Final = (
    "x_Basis",
    "x_Calls",
    "x_Customer",
    "x_Environment",
    "x_EventId",
    "x_Feature",
    "x_Job",
    "x_Meter",
    "x_Operation",
    "x_PriceSource",
    "x_Project",
    "x_Provider",
    "x_Service",
    "x_Status",
    "x_Team",
    "x_User",
)
"""Outlay's own columns, after FOCUS' as the specification asks: whom a cost is for, and what it rests on."""

_DECIMALS: Final = frozenset(
    (
        "BilledCost",
        "CommitmentDiscountQuantity",
        "ConsumedQuantity",
        "ContractedCost",
        "ContractedUnitPrice",
        "EffectiveCost",
        "ListCost",
        "ListUnitPrice",
        "PricingCurrencyContractedUnitPrice",
        "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice",
        "PricingQuantity",
        "x_Calls",
    )
)
_TIMES: Final = frozenset(("BillingPeriodEnd", "BillingPeriodStart", "ChargePeriodEnd", "ChargePeriodStart"))
_JSON: Final = frozenset(
    (
        "AllocatedMethodDetails",
        "AllocatedTags",
        "CommitmentProgramEligibilityDetails",
        "ContractApplied",
        "SkuPriceDetails",
        "Tags",
    )
)


def columns_of(version: str) -> tuple[str, ...]:
    """FOCUS' columns of a version, in the order of its list, then Outlay's own.

    Raises InvalidInput `unknown_version`.
    """
    if version == "1.2":
        return (*_COLUMNS_1_2, *CUSTOM)
    if version == "1.4":
        kept = (name for name in _COLUMNS_1_2 if name not in _GONE_IN_1_4)
        return (*sorted((*kept, *_NEW_IN_1_3, *_NEW_IN_1_4)), *CUSTOM)
    raise InvalidInput(
        f"FOCUS {version[:20]} is none of those that are written: {', '.join(VERSIONS)}", code="unknown_version"
    )


def kind_of(column: str) -> ColumnKind:
    """What a column holds; one that is not known holds text."""
    if column in _DECIMALS:
        return ColumnKind.DECIMAL
    if column in _TIMES:
        return ColumnKind.TIME
    return ColumnKind.JSON if column in _JSON else ColumnKind.TEXT
