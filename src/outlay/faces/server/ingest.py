"""Events as they come: one object, an array, lines of JSON, CloudEvents; each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from outlay.capture.intake import build_event
from outlay.clock import Instant
from outlay.errors import AccessDenied, InvalidInput, OutlayError
from outlay.faces.server.access import Caller
from outlay.faces.server.limits import BadRequest, read_json
from outlay.faces.server.settings import ServerSettings
from outlay.model import Appended, UsageEvent
from outlay.money import PICO_PER_UNIT
from outlay.recorder import conflict

JSON_TYPES: Final = ("application/json", "text/json", "")
LINE_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/ndjson")


class EventOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event of a batch. `cost` is decimal text; `message` says what to do about a refusal."""

    index: int
    id: str
    outcome: str
    cost: str | None = None
    currency: str | None = None
    pricing_status: str | None = None
    message: str | None = None


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a batch: how many events are kept now, how many were refused, and each by itself."""

    accepted: int
    refused: int
    outcomes: list[EventOutcome]


Item = UsageEvent | OutlayError
"""An event that was read, or why it could not be."""


def read_events(body: bytes, content_type: str, settings: ServerSettings) -> tuple[list[Any], bool]:
    """What a body holds, each as decoded or the error of its line; and whether it was one object by itself.

    Raises BadRequest `bad_json`, `too_deep`, `too_many_events`, `unknown_content_type`.
    """
    if content_type in LINE_TYPES:
        return _checked(read_lines(body, settings), settings), False
    if content_type not in JSON_TYPES:
        raise BadRequest(
            f"content-type {content_type[:60]!r} is not known; use application/json or application/x-ndjson",
            code="unknown_content_type",
        )
    value = read_json(body, settings.depth_max)
    if type(value) is list:
        return _checked(value, settings), False
    return [value], True


def read_lines(body: bytes, settings: ServerSettings) -> list[Any]:
    """JSON, one value a line. A line that is none is an error in its place."""
    found: list[Any] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        if len(found) > settings.events_max:
            break
        try:
            found.append(read_json(line, settings.depth_max))
        except BadRequest as error:
            found.append(error)
    return found


def _checked(values: list[Any], settings: ServerSettings) -> list[Any]:
    if len(values) > settings.events_max:
        raise BadRequest(f"a request may bring {settings.events_max:,} events; send more", code="too_many_events")
    return values


def built(values: Sequence[Any], caller: Caller, now: Instant, currency: str) -> list[Item]:
    """Each value as an event of the caller's scope, or the error that says why it is none."""
    return [value if isinstance(value, OutlayError) else _built(value, caller, now, currency) for value in values]


def _built(value: Any, caller: Caller, now: Instant, currency: str) -> Item:
    try:
        if caller.scope and isinstance(value, Mapping):
            value = caller.attributed(value)
        return build_event(value, now, currency)
    except (InvalidInput, AccessDenied) as error:
        return error


def outcomes_of(
    values: Sequence[Any], items: Sequence[Item], kept: Sequence[Appended | InvalidInput], currency: str
) -> list[EventOutcome | OutlayError]:
    """What became of each value: `kept` is in the order of those items that are events."""
    answers = iter(kept)
    found: list[EventOutcome | OutlayError] = []
    for index, item in enumerate(items):
        found.append(item if isinstance(item, OutlayError) else outcome_of(index, item, next(answers), currency))
    return found


def outcome_of(
    index: int, event: UsageEvent, answer: Appended | InvalidInput, currency: str
) -> EventOutcome | OutlayError:
    """What became of one event. The error is one that a caller is to be told."""
    if isinstance(answer, InvalidInput):
        return answer
    if answer.code.startswith("exists_with_"):
        return conflict(event, answer)
    rating = None if answer.entry is None else answer.entry.rating
    return EventOutcome(
        index=index,
        id=event.id,
        outcome=answer.code,
        cost=None if rating is None else amount_text(rating.amount),
        currency=currency,
        pricing_status=None if rating is None else rating.status.value,
    )


def amount_text(pico: int) -> str:
    """An amount as decimal text with at least two places; made of ints, which takes a tenth of Decimal's time."""
    sign, pico = ("-", -pico) if pico < 0 else ("", pico)
    whole, rest = divmod(pico, PICO_PER_UNIT)
    places = f"{rest:012d}".rstrip("0")
    return f"{sign}{whole}.{places:0<2}"


def batch_answer(values: Sequence[Any], found: Sequence[EventOutcome | OutlayError]) -> EventsAnswer:
    """The answer to a batch."""
    outcomes = [
        EventOutcome(index=index, id=_id_of(values[index]), outcome=one.code, message=one.message)
        if isinstance(one, OutlayError)
        else one
        for index, one in enumerate(found)
    ]
    refused = sum(isinstance(one, OutlayError) for one in found)
    return EventsAnswer(accepted=len(outcomes) - refused, refused=refused, outcomes=outcomes)


def _id_of(value: Any) -> str:
    return str(value.get("id") or "")[:512] if isinstance(value, Mapping) else ""
