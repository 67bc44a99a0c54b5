"""What one request of an application cost: gathered while it runs, and the block of its answer that says so."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Any, Final

import msgspec

from outlay.calls import check_attribution, listening
from outlay.clock import Instant, isoformat
from outlay.errors import InvalidInput
from outlay.meters import METERS, ancestors
from outlay.model import Outcome, PricingStatus, Quantity, Rating, UsageEvent
from outlay.money import Money
from outlay.receipt import Receipt

Label = Callable[[UsageEvent], tuple[str, str]]
"""How an answer names a call: its service and its operation."""

_CLOUD: Final[Mapping[str, tuple[str, str]]] = {
    "api-gateway": ("api_gateway", "requests"),
    "lambda": ("lambda", "execution"),
    "dynamodb": ("dynamodb", "requests"),
    "s3": ("s3", "storage_and_requests"),
    "transcribe": ("transcribe", "speech_to_text"),
}
_FAMILY: Final = re.compile(r"^(?:[a-z]{2,6}\.)?(?:[a-z0-9]+\.)?([a-z]+)")
_UNITS: Final = {"read request unit": "request_units", "write request unit": "request_units"}
_encode: Final = msgspec.json.Encoder(decimal_format="number").encode
_read_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class CostPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one service's operation took of a request: `quantity` of `unit`, `mixed` where there are several units.

    `cost` is in units of the request's currency, exact.
    """

    service: str
    operation: str
    cost: Any
    unit: str
    quantity: Quantity


class RequestCost:
    """What one request has cost so far. Threads and tasks may add to it at the same time."""

    def __init__(
        self,
        request_id: str,
        *,
        currency: str = "USD",
        operation: str | None = None,
        started_at: Instant = 0,
        attribution: Mapping[str, Any] | None = None,
    ) -> None:
        """`attribution` is whom the request is for, as far as is known when it begins.

        Raises InvalidInput `unknown_field` for what is no attribution.
        """
        self.request_id = request_id
        self.currency = currency
        self.operation = operation
        self.started_at = started_at
        self._attribution: dict[str, Any] = {"request": request_id}
        self._receipts: dict[str, Receipt] = {}
        self._lock = threading.Lock()
        self.attribute(**(attribution or {}))

    def attribute(self, **attribution: Any) -> None:
        """Say for whom the request is, once that is known: what is recorded from here on bears it.

        Raises InvalidInput `unknown_field` for a name that is no attribution, step or tags.
        """
        check_attribution(attribution)
        self._attribution = {**self._attribution, **attribution}

    def attribution(self) -> dict[str, Any]:
        """For whom what is recorded now is."""
        return self._attribution

    def add(self, receipt: Receipt) -> None:
        """Count a call. What was recorded under another request before (a retry of it) cost this one nothing."""
        event = receipt.event
        if receipt.outcome == Outcome.EXISTS and event.request != self.request_id:
            return
        with self._lock:
            # One call that a wrapper and a callback both see is journaled twice before the ledger knows.
            known = self._receipts.setdefault(event.call_key or event.id, receipt)
            if known is not receipt and len(event.usage) > len(known.event.usage):
                self._receipts[event.call_key or event.id] = receipt

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of its calls so far, in order."""
        with self._lock:
            return tuple(self._receipts.values())

    @property
    def total(self) -> Money:
        """The sum of its calls so far. What could not be priced is not in it: see `unpriced`."""
        return Money(sum(rating.amount for _, rating in self._rated()), self.currency)

    @property
    def unpriced(self) -> int:
        """How many of its calls could not be priced, or not whole."""
        priced = sum(rating.status is PricingStatus.PRICED for _, rating in self._rated())
        return len(self.receipts) - priced

    def usage(self) -> dict[str, Quantity]:
        """What its calls used, meter by meter."""
        sums: dict[str, Quantity] = {}
        for receipt in self.receipts:
            for meter, quantity in receipt.event.usage.items():
                sums[meter] = sums.get(meter, 0) + quantity * receipt.event.count
        return sums

    def parts(self, label: Label | None = None) -> tuple[CostPart, ...]:
        """Its cost by service and operation, in the order of the first call of each."""
        groups: dict[tuple[str, str], list[UsageEvent]] = {}
        amounts: dict[tuple[str, str], int] = {}
        name = label or label_of
        for receipt in self.receipts:
            groups.setdefault(name(receipt.event), []).append(receipt.event)
        for event, rating in self._rated():
            amounts[name(event)] = amounts.get(name(event), 0) + rating.amount
        return tuple(self._part(key, events, amounts.get(key, 0)) for key, events in groups.items())

    def envelope(self, at: Instant | None = None, *, label: Label | None = None) -> dict[str, Any]:
        """The block of an answer: request_id, operation, total_cost, currency, cost_breakdown, timestamp.

        Amounts are exact Decimals. `unpriced` is there where a call has no price: it is not in the total.
        """
        block: dict[str, Any] = {
            "request_id": self.request_id,
            "operation": self.operation,
            "total_cost": self.total.amount,
            "currency": self.currency,
            "cost_breakdown": [msgspec.structs.asdict(part) for part in self.parts(label)],
            "timestamp": isoformat(self.started_at if at is None else at),
        }
        if self.unpriced:
            block["unpriced"] = self.unpriced
        return block

    def gathering(self) -> AbstractContextManager[None]:
        """What is recorded inside, also by threads and tasks begun there, is of this request."""
        return _Gathering(self)

    def _rated(self) -> list[tuple[UsageEvent, Rating]]:
        rated = []
        for receipt in self.receipts:
            try:
                rated.append((receipt.event, receipt.rating))
            except InvalidInput:
                # Journaled with numbers that contradict each other: the ledger keeps it unpriced, with the reason.
                continue
        return rated

    def _part(self, key: tuple[str, str], events: list[UsageEvent], amount: int) -> CostPart:
        unit, quantity = _quantity(events)
        cost = Money(amount, self.currency).amount
        return CostPart(service=key[0], operation=key[1], cost=cost, unit=unit, quantity=quantity)

    def __repr__(self) -> str:
        return f"<RequestCost {self.request_id} {self.total} in {len(self.receipts)} calls>"


_current: ContextVar[RequestCost | None] = ContextVar("outlay_request", default=None)


class _Gathering:
    """The context in which a request's calls are gathered."""

    def __init__(self, request: RequestCost) -> None:
        self._request = request
        self._listening = listening(request.add, request.attribution)
        self._token: Token[RequestCost | None] | None = None

    def __enter__(self) -> None:
        self._listening.__enter__()
        self._token = _current.set(self._request)

    def __exit__(self, *error: Any) -> None:
        if self._token is not None:
            _current.reset(self._token)
        self._listening.__exit__(None, None, None)


def current_request() -> RequestCost | None:
    """The request that is under way here: what it has cost, and `attribute` to say whom it is for."""
    return _current.get()


def label_of(event: UsageEvent) -> tuple[str, str]:
    """A call's service and operation as the answer of a manuals assistant names them.

    AWS's own services by their names; a model of Bedrock as `bedrock`, `inference_claude`; any other call as its
    provider and its operation.
    """
    if event.provider == "aws" and event.service in _CLOUD:
        return _CLOUD[event.service]
    if event.provider in ("aws", "bedrock", "aws-bedrock"):
        family = _FAMILY.match(event.service)
        kind = "embedding" if "embed" in event.service or event.operation == "embeddings" else "inference"
        return "bedrock", f"{kind}_{family[1]}" if family else kind
    return event.provider, event.operation or "call"


def encoded(block: Mapping[str, Any]) -> bytes:
    """JSON in which every amount is an exact number."""
    return _encode(block)


def members_of(body: bytes) -> Mapping[str, Any] | None:
    """The members of a JSON object; None for any other body."""
    try:
        return _read_members(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def with_members(body: bytes, own: Mapping[str, Any], block: Mapping[str, Any]) -> bytes:
    """A JSON object with members more at its end; all that was there stays as it was written, by name too."""
    added = {name: value for name, value in block.items() if name not in own}
    if not added:
        return body
    return body.rstrip()[:-1] + (b"," if own else b"") + encoded(added)[1:]


def _quantity(events: list[UsageEvent]) -> tuple[str, Quantity]:
    """What calls used, in the one unit that they share; else how many calls there were, as `mixed`."""
    sums: dict[str, Quantity] = {}
    for event in events:
        for unit, quantity in _by_unit(event).items():
            sums[unit] = sums.get(unit, 0) + quantity * event.count
    if len(sums) == 1:
        return next(iter(sums.items()))
    return "mixed", sum(event.count for event in events)


def _by_unit(event: UsageEvent) -> dict[str, Quantity]:
    if event.service == "lambda" and event.duration_s is not None:
        return {"seconds": event.duration_s}  # A person knows how long it ran, not its GB-seconds.
    if event.service == "s3":
        return {}
    sums: dict[str, Quantity] = {}
    for name, quantity in event.usage.items():
        # What is inside another count is in its quantity already.
        if not any(outer in event.usage for outer in ancestors(name)):
            unit = METERS[name].unit
            plural = _UNITS.get(unit, f"{unit}s".replace(" ", "_"))
            sums[plural] = sums.get(plural, 0) + quantity
    return sums if len(sums) < 2 else {unit: amount for unit, amount in sums.items() if unit != "requests"}
