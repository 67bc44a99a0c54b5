"""The bodies of what is done to a ledger as a whole, and of reservations, as OpenAPI tells them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from outlay.faces.server.models import Amount, Name, Sent, Time


class FactsAnswer(BaseModel):
    """The ledger behind this server."""

    currency: str
    zone: str
    version: str


class RepriceSent(Sent):
    """Which past events to rate by the book in force."""

    since: str | None = None
    until: str | None = None
    provider: str | None = None
    service: str | None = None
    dry_run: bool = True
    reason: Name = "reprice"


class RepricingAnswer(BaseModel):
    """What a repricing changed, or would."""

    examined: int
    changed: int
    before: Amount
    after: Amount
    dry_run: bool


class RetentionSent(Sent):
    """How many whole UTC days of single events stay."""

    days: Annotated[int, Field(ge=1, le=36_525)] = 90


class RetentionAnswer(BaseModel):
    """What retention dropped; sums stay."""

    entries: int
    amount: Amount
    bytes_freed: int


class ForgetSent(Sent):
    """Whose name is to be erased: one of the two."""

    user: Name | None = None
    customer: Name | None = None


class Forgotten(BaseModel):
    """How many events bore the name."""

    events: int


class AuditAnswer(BaseModel):
    """What an audit proved, and what does not hold."""

    ok: bool
    entries: int
    rollup_cells: int
    amount: Amount
    spooled: int
    findings: list[dict[str, str]]


class Folded(BaseModel):
    """How many entries were folded into the rollups."""

    folded: int


class Expired(BaseModel):
    """How many reservations were overdue and are booked at their worst case."""

    expired: int


class ReservationId(Sent):
    """Which reservation."""

    id: Name


class Extension(Sent):
    """Which reservation, and for how many seconds from now."""

    id: Name
    seconds: Annotated[float, Field(gt=0, le=604_800)]


class ReservationAnswer(BaseModel):
    """A reservation as it stands."""

    id: str
    state: str
    started_at: Time
    deadline: Time
    held: list[dict[str, str]]


class Part(BaseModel):
    """One part of a request's worst case."""

    name: str
    kind: str
    meter: str
    quantity: str
    amount: Amount | None
    note: str


class WorstCaseAnswer(BaseModel):
    """What a call may cost at most (`total` None without a price), and whether it would fit now."""

    total: Amount | None
    currency: str
    kind: str
    parts: list[Part]
    output_tokens_max: int | None
    fits: bool | None
    refusals: list[dict[str, str | None]]
    affordable: int | None
