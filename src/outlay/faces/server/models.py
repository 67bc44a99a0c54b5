"""The bodies of requests and answers as OpenAPI tells them. Money is decimal text, exact; quantities are text too.

Answers are written from the ledger's own values; these models describe them, and check what is sent.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Amount = Annotated[str, Field(description="exact decimal text", pattern=r"^-?\d+(\.\d+)?$", examples=["0.0055"])]
Time = Annotated[str, Field(description="ISO 8601 in UTC", examples=["2026-03-10T12:00:00Z"])]
Name = Annotated[str, Field(min_length=1, max_length=512)]


class Sent(BaseModel):
    """What is sent: fields that are not known are refused."""

    model_config = ConfigDict(extra="forbid")


class Problem(BaseModel):
    """RFC 9457: what went wrong. `code` is stable; a refused call names budget, amounts and when it opens again."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None


class CostGroup(BaseModel):
    """One group: its keys, and what it came to."""

    keys: dict[str, str | None]
    cost: Amount
    events: int
    failed: int
    unpriced: int
    incomplete: int
    average: Amount | None = None
    quantities: dict[str, str] | None = None
    basis: dict[str, Amount] | None = None
    cost_p50: Amount | None = None
    cost_p95: Amount | None = None
    cost_max: Amount | None = None


class CostAnswer(BaseModel):
    """Costs in groups, and their total. `answered_by` names the rollup; `next` is the cursor of the next page."""

    by: list[str]
    rows: list[CostGroup]
    total: CostGroup
    currency: str
    zone: str
    answered_by: str
    spooled: int
    next: str | None


class Line(BaseModel):
    """One meter's share of a call's cost, with the rate it was charged at and the arithmetic in words."""

    model_config = ConfigDict(extra="allow")
    meter: str
    quantity: str
    amount: Amount
    shown: str
    arithmetic: str
    note: str
    rate: dict[str, Any] | None = None


class ReceiptAnswer(BaseModel):
    """A call, its lines and its total. `explain` is the same in words."""

    model_config = ConfigDict(extra="allow")
    id: str
    provider: str
    service: str
    operation: str | None
    occurred_at: Time
    count: int
    status: str
    pricing_status: str
    basis: str
    total: Amount
    currency: str
    lines: list[Line]
    outcome: str
    usage: dict[str, str]
    explain: str | None = None
    history: list[Version] | None = None


class Version(BaseModel):
    """One entry of an event: the charge, a reversal (sign -1) or a correction."""

    seq: int
    kind: str
    sign: int
    amount: Amount
    recorded_at: Time
    basis: str
    reason: str | None


class ReceiptPage(BaseModel):
    """Receipts in the order in which they were recorded."""

    receipts: list[ReceiptAnswer]
    next: str | None


class JobAnswer(BaseModel):
    """All calls of a job or request, over every service."""

    name: str
    total: Amount
    currency: str
    events: int
    failed: int
    units: int | None
    status: str | None
    cost_per_unit: Amount | None
    by_service: list[ServiceCost]
    receipts: list[ReceiptAnswer]


class ServiceCost(BaseModel):
    """What one service of a provider cost."""

    provider: str
    service: str
    cost: Amount


class JobOutcomeSent(Sent):
    """What a job produced."""

    units: Annotated[int, Field(ge=0, le=10**9)] = 1
    status: Name = "ok"
    time: Annotated[str | None, Field(description="When it ended; now if not told.")] = None


class CallSent(BaseModel):
    """The fields of `record`."""

    model_config = ConfigDict(extra="allow")
    provider: Name
    service: Name
    usage: dict[str, Any] | None = None


class CorrectionSent(Sent):
    """What was recorded wrongly, and how it is to be."""

    id: Name
    reason: Name
    day: str | None = None
    changes: dict[str, Any] = {}


class CancellationSent(Sent):
    """What is to be taken out of all sums."""

    id: Name
    reason: Name
    day: str | None = None


class BudgetSent(Sent):
    """A budget as a person writes it: `fields` as in outlay.toml."""

    fields: Annotated[dict[str, Any], Field(examples=[{"limit": "5.00", "window": "day", "action": "refuse"}])]
    why: Annotated[str, Field(max_length=512)] = ""
    who: Annotated[str, Field(max_length=512)] = ""


class RaiseSent(Sent):
    """More for a while."""

    amount: Annotated[str | int, Field(examples=["5.00"])]
    until: Annotated[str, Field(examples=["2026-03-31"])]
    reason: Name
    window: str | None = None
    subject: str | None = None
    who: Annotated[str, Field(max_length=512)] = ""


class BudgetAnswer(BaseModel):
    """A budget as it is in force."""

    name: str
    where: dict[str, list[str | None]]
    each: str | None
    zone: str
    unit: str
    action: str
    tiers: list[dict[str, Any]]
    marks: list[str]
    unbounded: str
    unpriced: str
    fail_open: bool
    wait_s: str
    grace_percent: str
    downgrade_to: list[str]
    raises: list[dict[str, Any]]
    history: list[Change]


class Change(BaseModel):
    """Who changed a budget, when, what and why."""

    at: Time
    who: str
    what: str
    why: str


class Standing(BaseModel):
    """How one account of a budget stands. Amounts are of `unit`: the currency, calls, or a meter."""

    budget: str
    subject: str
    tier: str
    window: str
    window_from: Time
    window_to: Time
    unit: str
    action: str
    limit: Amount
    spent: Amount
    reserved: Amount
    remaining: Amount
    percent: str | None
    pace: str | None
    projected: Amount
    spent_at: Time | None
    marks: list[str]
    warning: str
    warming: bool
    refusals: int


class Standings(BaseModel):
    """How budgets stand now."""

    budgets: list[Standing]


class History(BaseModel):
    """A budget's changes, oldest first."""

    changes: list[Change]


class RefusalAnswer(BaseModel):
    """One call that a budget refused."""

    at: Time
    provider: str
    service: str
    code: str
    subject: str
    window: str
    unit: str
    limit: Amount
    spent: Amount
    reserved: Amount
    asked: Amount
    opens_at: Time | None


class Refusals(BaseModel):
    """How many calls a budget ever refused, and the last of them, newest first."""

    count: int
    refusals: list[RefusalAnswer]


class TierSent(Sent):
    """A subject's tier."""

    tier: Name


class SubjectAnswer(BaseModel):
    """A user, customer, … and its tier, None where nobody told."""

    kind: str
    name: str
    tier: str | None


class RateAnswer(BaseModel):
    """One dated price: `price` units of `currency` per `per` of the meter."""

    provider: str
    service: str
    meter: str
    price: Amount
    per: int
    currency: str
    conditions: dict[str, str]
    valid_from: Time | None
    valid_to: Time | None
    origin: str
    source: str
    source_date: str
    note: str


class RatePage(BaseModel):
    """Prices in force."""

    rates: list[RateAnswer]
    catalogue: str
    next: str | None


class RateSent(Sent):
    """A price of one's own."""

    provider: Name
    service: Name
    meter: Name
    price: Annotated[str, Field(examples=["2.50"])]
    per: Annotated[int, Field(ge=1)] = 1
    valid_from: str | None = None
    valid_to: str | None = None
    conditions: dict[str, str] = {}
    currency: str | None = None
    minimum: str | None = None
    increment: str | None = None
    attempts: bool = False
    source: Annotated[str, Field(max_length=512)] = ""
    note: Annotated[str, Field(max_length=512)] = ""
    force: bool = False


class PriceFileSent(Sent):
    """A price file's text."""

    text: Annotated[str, Field(max_length=1_000_000)]
    name: Annotated[str, Field(max_length=512)] = "sent"
    force: bool = False


class ExchangeSent(Sent):
    """One unit of `currency` is `price` units of the ledger's currency on `date`."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    price: Annotated[str, Field(examples=["1.0842"])]
    date: Annotated[str, Field(examples=["2026-03-10"])]
    source: Name


class Added(BaseModel):
    """How many rows were new."""

    added: int


class Match(BaseModel):
    """By which rule a service is found in the price book, or the reason why not."""

    rule: str
    reason: str


class PriceFindingAnswer(BaseModel):
    """One thing to look at among the prices."""

    code: str
    provider: str
    service: str
    meter: str
    message: str


class Findings(BaseModel):
    """What is to be looked at."""

    findings: list[PriceFindingAnswer]


class Outcome(BaseModel):
    """What became of what was asked."""

    outcome: str
