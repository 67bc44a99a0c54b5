"""From what a provider answered to what a call used: the one place where each provider's conventions are undone.

The conventions (where a count lies, whether cached tokens are inside the input, how a stream tells its usage)
are data, one file a provider in `data/`; this engine knows no provider. Usage leaves here inclusive: input
tokens contain the cached ones, output tokens the reasoning. Prompts and outputs never do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from outlay.capture.amounts import KEPT_AT_ZERO, WORD, alive, amounts, usage_of
from outlay.capture.amounts import unmapped as fields_unmapped
from outlay.capture.detect import UNKNOWN, Found, address_of, whose
from outlay.capture.leads import Leads, leads_of
from outlay.capture.overlaps import settle
from outlay.capture.paths import (
    Document,
    Skeleton,
    Term,
    at,
    decimal_of,
    measured,
    parse,
    skeleton,
    texts,
)
from outlay.capture.profiles import (
    COMPATIBLE,
    Flavour,
    Part,
    Profile,
    StreamRule,
    common_errors,
    flavours,
    lone_answers,
    whole_answers,
    wrappers,
)
from outlay.capture.requests import parameters_of, request_of
from outlay.capture.streams import Reading, fold, read
from outlay.errors import InvalidInput
from outlay.model import Basis, Parameter, Quantity, Status
from outlay.money import Money, round_half_even

Finding = Literal["usage", "missing", "pending", "none", "unknown"]
"""What an answer told: usage; nothing although it should have; nothing yet; nothing because it uses nothing;
nothing that Outlay recognises.
"""

_NAME_LENGTH_MAX: Final = 256
_NAME: Final = re.compile(rf"[\x21-\x7e]{{1,{_NAME_LENGTH_MAX}}}$")
_ID: Final = parse("id ?? responseId ?? response_id ?? generation_id")
_TICKS: Final = 10**12
_PROBE: Final = StreamRule(lift=(((), ""), (parse("response")[0].steps, ""), (parse("message")[0].steps, "")))
_REQUEST_IDS: Final = parse(
    "header:x-request-id ?? header:request-id ?? header:x-amzn-requestid ?? header:apim-request-id"
)


class Extraction(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer says about its call. Nothing in it is text of a prompt or an output.

    `usage` is inclusive, in Outlay's meters. `service` is the name that served; `requested_service` what was
    asked for, where that differs. `call_key` identifies the call wherever it is seen (provider and response id).
    `unmapped` holds usage fields that Outlay does not know, by their place. `cut` says that a stream ended before its
    end was told. `also` are calls of other services
    that happened inside this one and are billed on their own.
    """

    provider: str
    service: str
    operation: str | None = None
    usage: dict[str, Quantity] = {}
    conditions: dict[str, str] = {}
    status: Status = Status.OK
    error: str | None = None
    reported_cost: Money | None = None
    call_key: str | None = None
    requested_service: str | None = None
    basis: Basis = Basis.MEASURED
    found: Finding = "usage"
    notes: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = {}
    unmapped: dict[str, Quantity] = {}
    cut: bool = False
    also: tuple[Extraction, ...] = ()


class _Answer(msgspec.Struct, kw_only=True):
    """An answer while it is read: the profile and flavour chosen, and every root that terms may name."""

    reading: Reading
    who: Found
    path: str
    document: dict[str, object]
    conditions: dict[str, str]
    flavour: Flavour | None = None
    notes: list[str] = []
    body: object = None
    bones: Skeleton = ()

    @property
    def skeleton(self) -> Skeleton:
        """The bones of the body that is read now."""
        body = self.document.get("body")
        if self.body is not body:
            self.body, self.bones = body, skeleton(body) if type(body) is dict else ()
        return self.bones


def extract(
    response: object,
    *,
    provider: str | None = None,
    service: str | None = None,
    operation: str | None = None,
    url: str | None = None,
    request: object | None = None,
    status_code: int | None = None,
) -> Extraction:
    """Read what a call used from what its provider answered.

    `response` is a body (mapping, JSON text or bytes), an SDK's object, an HTTP response, a boto3 result, or a
    stream that was read: its chunks in a list, or its transcript as text or bytes. The provider is read from
    `url` or from the answer unless it is given; `request` (the request's body) adds parameters, and usage that
    only the request tells, such as the characters of a text that was spoken.

    What is odd in an answer never raises: it is in `notes`. Raises InvalidInput for what is no answer
    (`not_a_response`), a stream that nobody has read (`stream_not_read`), several answers in one list
    (`many_answers`) or arguments of a wrong type (`not_text`).
    """
    for name, value in (("provider", provider), ("service", service), ("operation", operation), ("url", url)):
        if value is not None and not isinstance(value, str):
            raise InvalidInput(f"{name} is {type(value).__name__}; give text", code="not_text", field=name)
    answer = _answer(read(response), provider, service, url, request, status_code)
    return _extraction(answer, operation)


def _answer(
    reading: Reading,
    provider: str | None,
    service: str | None,
    url: str | None,
    request: object | None,
    status_code: int | None,
) -> _Answer:
    asked, conditions = request_of(request), dict[str, str]()
    reading.status_code = status_code if status_code is not None else reading.status_code
    if len(reading.frames) > 1:
        _refuse_many(reading)
    for wrapper in wrappers() if len(reading.frames) == 1 and _bears_another(reading.frames[0]) else ():
        if wrapper.when({"body": reading.frames[0]}):
            envelope: Document = {"body": reading.frames[0]}
            inner = _first_mapping(envelope, wrapper.body)
            asked = asked or _first_mapping(envelope, wrapper.request) or {}
            told = measured(envelope, wrapper.status_code)
            reading.status_code = int(told) if told is not None else reading.status_code
            reading.frames = [inner] if inner is not None else reading.frames
            conditions.update(wrapper.conditions)
    address = address_of(url or reading.url)
    headers = reading.headers
    if isinstance(headers, dict):  # An HTTP client's own mapping knows no case.
        headers = {str(key).lower(): value for key, value in headers.items()}
    document: dict[str, object] = {"header": headers, "request": asked, "given": {"service": service}}
    probe = document
    if provider is None:  # Else nothing in the body says whose answer it is.
        probe = {**document, "body": fold(reading.frames, _PROBE.lift, "last"), "url": {"host": address.host}}
    who = whose(provider, address, reading.package, probe)
    document["url"] = {**who.groups, "host": address.host}
    answer = _Answer(reading=reading, who=who, path=address.path, document=document, conditions=conditions, notes=[])
    _choose(answer)
    if who.note:
        answer.notes.append(who.note)
    return answer


def _bears_another(frame: Mapping[str, Any]) -> bool:
    """Whether a body may be an envelope: all of them hold their answer under one of these names."""
    return any(name in frame for name in ("response", "result", "recordId", "batch_result"))


def _refuse_many(reading: Reading) -> None:
    """A list of whole answers, or a batch's file, is many calls: as one stream the last would hide the others."""
    frames: list[Document] = [{"body": frame} for frame in reading.frames]
    enveloped = any(w.conditions and all(w.when(frame) for frame in frames) for w in wrappers())
    whole = [frame for frame in frames if any(shape(frame) for shape in whole_answers())]
    alone = sum(any(shape(frame) for shape in lone_answers()) for frame in frames)
    if enveloped or alone > 1 or len({text for frame in whole for text in texts(frame, _ID)}) > 1:
        raise InvalidInput(
            f"{len(frames)} answers were given as one; pass each of them by itself",
            code="many_answers",
            field="response",
        )


def _first_mapping(document: Document, term: Term) -> Mapping[str, Any] | None:
    for path in term:
        for value in at(document, path):
            if isinstance(value, Mapping):
                return value
    return None


def _choose(answer: _Answer) -> None:
    """The first flavour whose shape the body has; else the one whose address it came from."""
    reading, bodies = answer.reading, dict[str, dict[str, Any]]()
    own = flavours(answer.who.profile.file)
    for flavour in (*own, *(() if answer.who.profile.id == COMPATIBLE else flavours(COMPATIBLE))):
        if flavour.when and reading.frames:
            if flavour.stream.text not in bodies:
                bodies[flavour.stream.text] = _body(reading, flavour.stream)
            answer.document["body"] = bodies[flavour.stream.text]
            if any(shape(answer.document) for shape in alive(flavour.when, answer.skeleton)):
                answer.flavour = flavour
                return
    for flavour in own:
        match = flavour.url.search(answer.path) if flavour.url and flavour.by_url else None
        if match and (reading.frames or flavour.binary or not reading.opaque):
            answer.flavour = flavour
            answer.document["body"] = _body(reading, flavour.stream)
            break
    else:
        answer.document["body"] = _body(reading, _PROBE)


def _body(reading: Reading, rule: StreamRule) -> dict[str, Any]:
    """A body as it is; a stream folded by the flavour's rule."""
    if not reading.streamed and len(reading.frames) == 1:
        only = reading.frames[0]
        if not rule.lift[1:] or (rule.only and not any(predicate({"body": only}) for predicate in rule.only)):
            return dict(only)
    frames = [f for f in reading.frames if not rule.only or any(p({"body": f}) for p in rule.only)]
    return fold(frames, rule.lift, rule.numbers)


def _extraction(answer: _Answer, operation: str | None) -> Extraction:
    flavour, document = answer.flavour, answer.document
    if flavour is None:
        return _unrecognised(answer, operation)
    if flavour.url is not None and (match := flavour.url.search(answer.path)):
        groups = {name: value for name, value in match.groupdict().items() if value}
        document["url"] = {**_mapping(document["url"]), **groups}
    leads = leads_of(flavour, answer.skeleton, _REQUEST_IDS)
    status, error = _status(answer, flavour, leads)
    service, requested = _services(answer, leads.service, leads.requested)
    pending = not answer.reading.streamed and any(predicate(document) for predicate in leads.pending)
    usage, assumed = ({}, list[str]()) if pending else usage_of(document, answer.skeleton, flavour, status)
    answer.notes.extend(assumed)
    found = _finding(flavour, usage, status, pending)
    key = _key(answer, leads)
    unmapped = dict(fields_unmapped(flavour, leads.roots, document)) if leads.roots else {}
    cost = _cost(answer, flavour, leads, usage)
    cut = _cut(answer, flavour)
    _note_stream(answer, flavour, usage, found)
    if cut:
        answer.notes.append("the stream was cut: its end was not seen, so the usage may be what was told so far")
    answer.notes.extend(f"usage field {name} = {value} is not known" for name, value in unmapped.items() if value)
    also = tuple(_parts(answer, leads.parts, status, key)) if leads.parts else ()
    return Extraction(
        provider=answer.who.provider,
        service=service,
        operation=operation or flavour.operation,
        usage=usage,
        conditions=_conditions(answer, flavour, leads),
        status=status,
        error=error,
        reported_cost=cost,
        call_key=None if flavour.uses_nothing else key,
        requested_service=requested,
        basis=Basis.ESTIMATED if found in ("missing", "pending", "unknown") else Basis.MEASURED,
        found=found,
        notes=tuple(dict.fromkeys(answer.notes)),
        parameters=parameters_of(document["request"]),
        unmapped=unmapped,
        cut=cut,
        also=also,
    )


def _unrecognised(answer: _Answer, operation: str | None) -> Extraction:
    """Nothing here is an answer that any file describes: said, with what was looked for, and kept."""
    names = ", ".join(dict.fromkeys(flavour.name for flavour in flavours(answer.who.profile.file)))
    status, error = _status(answer, None, None)
    service, requested = _services(answer, tuple(map(parse, ("model ?? given:service", "request:model"))), ())
    found: Finding = "unknown" if status is Status.OK else "none"
    if status is Status.OK and answer.reading.opaque and answer.who.stranger:
        answer.notes.append("the answer is no JSON and its address is no provider's: taken as using nothing")
        found = "none"
    elif status is Status.OK:
        what = "the answer is no JSON" if answer.reading.opaque else "the answer has no usage that is known"
        answer.notes.append(f"{what}: looked for {answer.who.profile.title or answer.who.profile.id}'s {names}")
    return Extraction(
        provider=answer.who.provider,
        service=service,
        operation=operation,
        conditions=answer.conditions,
        status=status,
        error=error,
        requested_service=requested,
        basis=Basis.ESTIMATED if found == "unknown" else Basis.MEASURED,
        found=found,
        notes=tuple(answer.notes),
        parameters=parameters_of(answer.document["request"]),
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _finding(flavour: Flavour, usage: Mapping[str, Quantity], status: Status, pending: bool) -> Finding:
    if flavour.uses_nothing:
        return "none"
    if usage and not pending:
        return "usage"
    if pending:
        return "pending"
    return "missing" if status is Status.OK else "none"


def _status(answer: _Answer, flavour: Flavour | None, leads: Leads | None) -> tuple[Status, str | None]:
    """What became of the call, and a refusal's code: a word of the provider's, never its message."""
    failed, codes = common_errors()
    document, http = answer.document, answer.reading.status_code
    if leads is not None and any(one(document) for one in leads.cancelled):
        return Status.CANCELLED, None
    told = alive(failed, answer.skeleton) if leads is None else leads.failed
    refused = http is not None and http >= 400
    if not refused and not any(predicate(document) for predicate in told):
        return Status.OK, None
    terms = (*(flavour.error if flavour is not None else ()), *codes)
    code = next((text for text in texts(document, terms) if WORD.match(text)), None)
    return Status.FAILED, code or (f"http_{http}" if refused else "error")


def _services(answer: _Answer, served: tuple[Term, ...], asked: tuple[Term, ...]) -> tuple[str, str | None]:
    """The name that served, and the first other name that was asked for."""
    profile = answer.who.profile
    names = [name for term in served for name in _names(answer.document, term, profile)]
    clear = names
    if profile.opaque:
        clear = [name for name in names if not any(re.search(pattern, name) for pattern in profile.opaque)]
    if names and not clear:
        answer.notes.append(f"{names[0]} names no model: give service=, or price it by this name")
    service = next(iter((*clear, *names)), UNKNOWN)
    others = (name for term in asked for name in _names(answer.document, term, profile))
    return service, next((name for name in others if name != service), None)


def _names(document: Document, term: Term, profile: Profile) -> Iterator[str]:
    for text in texts(document, term):
        name = _name(text, profile.strip) if len(text) <= _NAME_LENGTH_MAX else ""
        if name:
            yield name


@lru_cache(maxsize=4096)
def _name(text: str, strip: tuple[str, ...]) -> str:
    """A service's name without what its provider puts around it; empty for what is no name."""
    if not _NAME.match(text):
        return ""
    for pattern in strip:
        text = re.sub(pattern, "", text)
    return text


def _conditions(answer: _Answer, flavour: Flavour, leads: Leads) -> dict[str, str]:
    found = {}
    for name, term in leads.conditions.items():
        spelled = flavour.condition_values.get(name, {})
        text = next((text for text in texts(answer.document, term) if WORD.match(text)), "")
        value = spelled.get(text, text)
        if value:
            found[name] = value
    return {**found, **answer.conditions}


def _key(answer: _Answer, leads: Leads) -> str | None:
    """Provider and response id, else the id of the request in the headers."""
    text = next((text for text in texts(answer.document, leads.key) if _NAME.match(text)), None)
    return f"{answer.who.provider}:{text}" if text else None


def _cost(answer: _Answer, flavour: Flavour, leads: Leads, usage: Mapping[str, Quantity]) -> Money | None:
    """What the provider says the call cost. Zero beside usage is kept as told, and said to be suspect."""
    for path in leads.cost:
        for value in at(answer.document, path):
            amount = decimal_of(value)
            if amount is not None and amount >= 0:
                if not amount and any(usage.values()):
                    answer.notes.append("the provider reported a cost of 0 with usage: suspect, so price the usage")
                numerator, denominator = amount.as_integer_ratio()
                return Money(round_half_even(numerator * _TICKS, denominator * flavour.cost_scale), flavour.currency)
    return None


def _cut(answer: _Answer, flavour: Flavour) -> bool:
    """Whether a stream stopped before it said its end."""
    reading, ends = answer.reading, flavour.stream.ends
    if not reading.streamed or not ends or reading.ended:
        return False
    return not any(end({"body": frame}) for end in ends for frame in reversed(reading.frames))


def _note_stream(answer: _Answer, flavour: Flavour, usage: Mapping[str, Quantity], found: Finding) -> None:
    reading, rule = answer.reading, flavour.stream
    if reading.streamed and rule.numbers == "sum" and rule.only:
        each = ({"body": fold([frame], rule.lift, "last")} for frame in reading.frames)
        answers = sum(measured(one, flavour.total) is not None for one in each)
        if answers > 1:
            answer.notes.append(f"{answers} answers of one session are summed")
    if reading.streamed and usage and not any(usage.values()):
        answer.notes.append("all usage of the stream is zero: kept as told, not estimated")
    if found == "missing" and not any("was told as" in note for note in answer.notes):
        answer.notes.append(f"the answer bears no usage{': ' if flavour.advice else ''}{flavour.advice}")


def _parts(answer: _Answer, parts: tuple[Part, ...], status: Status, key: str | None) -> Iterator[Extraction]:
    """The calls of other services inside this one."""
    for part in parts:
        elements = [found for path in part.each for found in at(answer.document, path)]
        for number, element in enumerate(elements, 1):
            yield from _part(answer, part, {**answer.document, "element": element}, status, f"{key}#{number}")


def _part(answer: _Answer, part: Part, document: dict[str, object], status: Status, key: str) -> Iterator[Extraction]:
    usage = dict(amounts(document, part.usage, status))
    notes = tuple(settle(usage))
    names = [name for term in part.service for name in _names(document, term, answer.who.profile)]
    if any(usage.values()):
        service = names[0] if names else UNKNOWN
        answer.notes.append(f"{service} worked inside this call and is billed on its own: see `also`")
        kept = {meter: amount for meter, amount in usage.items() if amount or meter in KEPT_AT_ZERO}
        yield Extraction(
            provider=answer.who.provider,
            service=service,
            operation=part.operation,
            usage=kept,
            conditions=answer.conditions,
            call_key=None if key.startswith("None") else key,
            notes=notes,
        )
