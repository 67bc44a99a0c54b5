"""Calls put together by service, operation and feature, with what advice needs to know of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from outlay.clock import Instant
from outlay.model import Quantity, Rating, Status, UsageEvent

MAXIMA: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens")
"""The parameters by which requests limit their output."""

PROMPT_HASH: Final = "prompt_hash"
"""The tag or parameter under which a program may keep a hash of its prompt; the prompt itself never is."""

BATCHED: Final = frozenset({"batch", "true", "1"})


class SeenCall(NamedTuple):
    """What is remembered of one call: when, its tokens, what it cost."""

    at: Instant
    input: int
    output: int
    cache_read: int
    cache_write: int
    amount: int
    calls: int
    maximum: int | None
    prompt_hash: str | None
    step: tuple[str, str] | None


class CallGroup(msgspec.Struct, kw_only=True):
    """All calls of one service, operation and feature. Amounts are picounits of all their calls."""

    provider: str
    service: str
    operation: str | None
    feature: str | None
    calls: int = 0
    amount: int = 0
    failed_calls: int = 0
    failed_amount: int = 0
    attended_calls: int = 0
    batched_calls: int = 0
    usage: dict[str, Quantity] = {}
    seen: list[SeenCall] = []
    sample: UsageEvent | None = None

    @property
    def target(self) -> str:
        """What measures on these calls act on."""
        return "/".join(("calls", self.provider, self.service, self.operation or "", self.feature or ""))

    @property
    def name(self) -> str:
        """As people would say it."""
        said = f"{self.provider}/{self.service}"
        if self.operation:
            said += f" {self.operation}"
        return f"{said} for {self.feature}" if self.feature else said

    @property
    def where(self) -> dict[str, tuple[str, ...]]:
        """A filter for these calls."""
        named = {
            "provider": self.provider,
            "service": self.service,
            "operation": self.operation,
            "feature": self.feature,
        }
        return {name: (value,) for name, value in named.items() if value is not None}

    def mean(self, meter: str) -> int:
        """A call's mean of a meter, to the nearest whole."""
        return round(self.usage.get(meter, 0) / self.calls) if self.calls else 0


def grouped(calls: Iterable[tuple[UsageEvent, Rating]]) -> list[CallGroup]:
    """The groups, the dearest first."""
    groups: dict[tuple[str | None, ...], CallGroup] = {}
    for event, rating in calls:
        key = (event.provider, event.service, event.operation, event.feature)
        group = groups.get(key)
        if group is None:
            group = groups[key] = CallGroup(
                provider=event.provider,
                service=event.service,
                operation=event.operation,
                feature=event.feature,
                usage={},
                seen=[],
            )
        _add(group, event, rating)
    return sorted(groups.values(), key=lambda group: (-group.amount, group.target))


def _add(group: CallGroup, event: UsageEvent, rating: Rating) -> None:
    group.calls += event.count
    group.amount += rating.amount
    if event.status is Status.FAILED:
        group.failed_calls += event.count
        group.failed_amount += rating.amount
        return
    if event.user is not None or event.request is not None:
        group.attended_calls += event.count
    if BATCHED.intersection(value.lower() for value in event.conditions.values()):
        group.batched_calls += event.count
    group.sample = group.sample or event
    for meter, quantity in event.usage.items():
        group.usage[meter] = group.usage.get(meter, 0) + quantity * event.count
    group.seen.append(_seen(event, rating))


def _seen(event: UsageEvent, rating: Rating) -> SeenCall:
    usage, parameters = event.usage, event.parameters
    maxima = [value for name in MAXIMA if isinstance(value := parameters.get(name), int)]
    hashed = event.tags.get(PROMPT_HASH) or parameters.get(PROMPT_HASH)
    return SeenCall(
        at=event.occurred_from,
        input=int(usage.get("input_tokens", 0)),
        output=int(usage.get("output_tokens", 0)),
        cache_read=int(usage.get("cache_read_tokens", 0)),
        cache_write=sum(int(quantity) for meter, quantity in usage.items() if meter.startswith("cache_write")),
        amount=rating.amount,
        calls=event.count,
        maximum=maxima[0] if maxima else None,
        prompt_hash=None if hashed is None else str(hashed),
        step=None if event.job is None or event.step is None else (event.job, event.step),
    )


def at_rank(values: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile, 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0
