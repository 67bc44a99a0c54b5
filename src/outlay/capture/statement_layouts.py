"""The columns of the bills that providers export: FOCUS 1.0 to 1.4, and AWS's cost and usage reports. Pure data.

Sources of the names: the FOCUS specification (focus.finops.org) and AWS's Data Exports and CUR guides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from outlay.capture.statements import Category


class Format(StrEnum):
    """How a bill is written."""

    FOCUS = "FOCUS"
    CUR_2 = "CUR 2.0"
    CUR_LEGACY = "CUR"
    SEEDS = "CSV"
    COST_EXPLORER = "Cost Explorer"
    OPENAI = "OpenAI costs"
    ANTHROPIC = "Anthropic cost report"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Which column says what, the first that a file has and that is filled; every name in small letters.

    `words` are read together for what a token row is of. Columns that begin with one of `tag_columns` are tags,
    `people` are columns that may name a person, which are not kept beside the tags.
    """

    format: Format
    cost: tuple[str, ...]
    start: tuple[str, ...]
    end: tuple[str, ...]
    bill_start: tuple[str, ...]
    currency: tuple[str, ...]
    category: tuple[str, ...]
    commitment: tuple[str, ...]
    provider: tuple[str, ...]
    service: tuple[str, ...]
    resource: tuple[str, ...]
    quantity: tuple[str, ...]
    unit: tuple[str, ...]
    account: tuple[str, ...]
    sub_account: tuple[str, ...]
    region: tuple[str, ...]
    sku: tuple[str, ...]
    words: tuple[str, ...]
    list_cost: tuple[str, ...]
    key: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tag_columns: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    categories: Mapping[str, Category] = {}


FOCUS: Final = Layout(
    format=Format.FOCUS,
    cost=("billedcost",),
    start=("chargeperiodstart",),
    end=("chargeperiodend",),
    bill_start=("billingperiodstart",),
    currency=("billingcurrency",),
    category=("chargecategory",),
    commitment=("commitmentdiscountid",),
    provider=("serviceprovidername", "providername", "invoiceissuername", "hostprovidername"),
    service=("servicename",),
    resource=("resourceid", "resourcename"),
    quantity=("consumedquantity", "pricingquantity"),
    unit=("consumedunit", "pricingunit"),
    account=("billingaccountid",),
    sub_account=("subaccountid",),
    region=("regionid", "region"),
    sku=("skuid", "skupriceid"),
    words=("skumeter", "skuid", "x_skumeter", "chargedescription"),
    list_cost=("listcost",),
    tags=("tags",),
    people=("tags", "credentialid", "principalid", "requesterdetails", "x_credentialid", "x_principalid"),
    categories={
        "usage": Category.USAGE,
        "purchase": Category.PURCHASE,
        "tax": Category.TAX,
        "credit": Category.CREDIT,
        "adjustment": Category.ADJUSTMENT,
    },
)

_CUR_TYPES: Final = {
    "usage": Category.USAGE,
    "discountedusage": Category.COMMITMENT,
    "savingsplancoveredusage": Category.COMMITMENT,
    "savingsplannegation": Category.COMMITMENT,
    "savingsplanrecurringfee": Category.COMMITMENT,
    "savingsplanupfrontfee": Category.PURCHASE,
    "rifee": Category.COMMITMENT,
    "fee": Category.PURCHASE,
    "tax": Category.TAX,
    "credit": Category.CREDIT,
    "refund": Category.CREDIT,
    "edpdiscount": Category.CREDIT,
    "bundleddiscount": Category.CREDIT,
    "privateratediscount": Category.CREDIT,
    "distributordiscount": Category.CREDIT,
}

CUR: Final = Layout(
    format=Format.CUR_2,
    cost=("line_item_unblended_cost",),
    start=("line_item_usage_start_date",),
    end=("line_item_usage_end_date",),
    bill_start=("bill_billing_period_start_date",),
    currency=("line_item_currency_code",),
    category=("line_item_line_item_type",),
    commitment=(),
    provider=("bill_billing_entity",),
    service=("product_servicename", "product_product_name", "line_item_product_code"),
    resource=("line_item_resource_id",),
    quantity=("line_item_usage_amount",),
    unit=("pricing_unit",),
    account=("bill_payer_account_id",),
    sub_account=("line_item_usage_account_id",),
    region=("product_region_code", "product_region"),
    sku=("line_item_usage_type",),
    words=("line_item_usage_type", "line_item_line_item_description"),
    list_cost=("pricing_public_on_demand_cost",),
    key=("identity_line_item_id", "identity_time_interval"),
    tags=("resource_tags",),
    tag_columns=("resource_tags_user_", "resource_tags_"),
    people=("resource_tags", "line_item_iam_principal", "line_item_user_identifier", "cost_category"),
    categories=_CUR_TYPES,
)
"""CUR 2.0, and the legacy report as Parquet, whose columns bear the same names."""

_LEGACY_NAMES: Final = {
    "line_item_unblended_cost": "lineitem/unblendedcost",
    "line_item_usage_start_date": "lineitem/usagestartdate",
    "line_item_usage_end_date": "lineitem/usageenddate",
    "bill_billing_period_start_date": "bill/billingperiodstartdate",
    "line_item_currency_code": "lineitem/currencycode",
    "line_item_line_item_type": "lineitem/lineitemtype",
    "bill_billing_entity": "bill/billingentity",
    "product_servicename": "product/servicename",
    "product_product_name": "product/productname",
    "line_item_product_code": "lineitem/productcode",
    "line_item_resource_id": "lineitem/resourceid",
    "line_item_usage_amount": "lineitem/usageamount",
    "pricing_unit": "pricing/unit",
    "bill_payer_account_id": "bill/payeraccountid",
    "line_item_usage_account_id": "lineitem/usageaccountid",
    "product_region_code": "product/regioncode",
    "product_region": "product/region",
    "line_item_usage_type": "lineitem/usagetype",
    "line_item_line_item_description": "lineitem/lineitemdescription",
    "pricing_public_on_demand_cost": "pricing/publicondemandcost",
    "identity_line_item_id": "identity/lineitemid",
    "identity_time_interval": "identity/timeinterval",
}


def _legacy() -> Layout:
    """The layout of the legacy report's CSV, whose columns are written `lineItem/UnblendedCost`."""
    changed = {
        name: tuple(_LEGACY_NAMES.get(each, each) for each in getattr(CUR, name))
        for name in CUR.__struct_fields__
        if isinstance(getattr(CUR, name), tuple)
    }
    own = {
        "format": Format.CUR_LEGACY,
        "tags": (),
        "tag_columns": ("resourcetags/user:", "resourcetags/"),
        "people": ("lineitem/iamprincipal", "lineitem/useridentifier"),
    }
    return msgspec.structs.replace(CUR, **{**changed, **own})


CUR_LEGACY: Final = _legacy()
LAYOUTS: Final = (FOCUS, CUR, CUR_LEGACY)


def layout_of(header: Sequence[str]) -> Layout | None:
    """The layout of a table by its header; None where it is no bill that is known."""
    names = {name.strip().lower() for name in header}
    for layout in LAYOUTS:
        if layout.cost[0] in names and layout.start[0] in names:
            return layout
    return None
