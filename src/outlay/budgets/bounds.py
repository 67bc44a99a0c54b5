"""The worst case of a request as it is sent: a bound for each of its parts, in quantities of meters.

What is known of each API and family of models is data (`data/bounds.toml`, with sources); this engine knows no
provider. A bound has no price in it: `worst_case` asks for one at the highest rate that the request can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import lru_cache
from itertools import product
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.budgets.bound_rules import Count, Model, Server, at, first_at, model_of, rules, steps
from outlay.budgets.shapes import Shape, shape_of
from outlay.budgets.terms import Asking, Bound, BoundPart, Quote, Variant
from outlay.budgets.weigh import CountTokens, Found, Weigher
from outlay.errors import InvalidInput
from outlay.meters import ancestors
from outlay.model import BoundKind, Quantity

Tokenizers = Callable[[str], CountTokens | None]
"""The tokenizer of a name such as `o200k_base`, None where it is not installed."""

_SURENESS: Final = (BoundKind.EXACT, BoundKind.UPPER, BoundKind.CONTEXT_WINDOW, BoundKind.UNBOUNDED)
_MEDIUM_METERS: Final = {"image": "input_image_tokens", "audio": "input_audio_tokens", "video": "input_video_tokens"}
_INPUT: Final = "input_tokens"
_OUTPUT: Final = "output_tokens"


class _Request(msgspec.Struct):
    """A request while it is bounded."""

    shape: Shape
    model: Model
    body: Mapping[str, Any]
    service: str
    weigher: Weigher
    parts: list[BoundPart] = []
    given: int | None = None
    outputs: int = 1


def bound(
    provider: str, body: Mapping[str, Any], service: str | None = None, *, tokenizers: Tokenizers | None = None
) -> Bound:
    """The worst case of a request: its body as sent, and the service where the body does not name it.

    With `tokenizers` (see `tokenizer.py`) the text of models whose tokenizer is known is counted exactly, else by its
    bytes. A request of an API that no rule knows is one part without a bound.

    Raises InvalidInput `bad_body` for a body that is no mapping.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput("body is the request's JSON object, as sent", code="bad_body", field="body")
    shape = shape_of(provider, service or str(body.get("model") or ""), body)
    if shape is None:
        return _unknown(provider, service or str(body.get("model") or ""))
    api = shape.api
    name = service or str(first_at(body, api.model) or "")
    model = model_of(name)
    count = tokenizers(model.tokenizer) if tokenizers is not None and model.tokenizer else None
    request = _Request(shape, model, body, name, Weigher(api, count))
    request.given, request.outputs = _given(request), _outputs(request)
    request.parts.extend(_input_parts(request))
    if api.counts:
        request.parts.extend(_counted_parts(request))
    request.parts.extend(_unbounded_parts(request))
    if api.output is not None:
        request.parts.extend(_output_parts(request))
    return _bound(provider, request)


def _unknown(provider: str, service: str) -> Bound:
    note = "no rule knows this API: say the worst case as usage"
    part = BoundPart(name="request", kind=BoundKind.UNBOUNDED, meter=_INPUT, quantity=model_of("").context, note=note)
    window = {_INPUT: part.quantity, _OUTPUT: part.quantity}
    return Bound(
        provider=provider,
        service=service,
        api="",
        kind=BoundKind.UNBOUNDED,
        parts=(part,),
        usage={},
        window_usage=window,
        context_window=model_of("").context,
    )


def _input_parts(request: _Request) -> Iterator[BoundPart]:
    """The parts of the input in the order of the body, the media in it, and what the provider adds on its own."""
    shape, weigher = request.shape, request.weigher
    api, roles = shape.api, shape.roles
    totals: dict[str, int] = {}
    weigher.keys.update(request.body)
    for name, value in request.body.items():
        role = roles.get(name, "other")
        if role and value is not None:
            totals[role] = totals.get(role, 0) + _weight(request, role, value)
    for place in shape.schemas:
        value = at(request.body, place)
        if value is not None:
            totals["schema"] = totals.get("schema", 0) + weigher.literal(value)
    if api.request_tokens:
        totals["template"] = api.request_tokens
    for role, tokens in totals.items():
        yield BoundPart(name=role, kind=BoundKind.UPPER, meter=_INPUT, quantity=tokens)
    yield from (_medium_part(request, found) for found in weigher.found)


def _weight(request: _Request, role: str, value: object) -> int:
    api, weigher = request.shape.api, request.weigher
    elements: Sequence[object] = value if isinstance(value, list | tuple) else (value,)
    if role == "tools":
        several = list(_tools(elements))
        fixed = api.tools_tokens if several else 0
        return fixed + sum(_tool_weight(request, tool) for tool in several)
    if role in ("messages", "system"):
        return weigher.template(value) + api.message_tokens * len(elements)
    return weigher.template(value) if role == "text" else weigher.literal(value)


def _tools(elements: Sequence[object]) -> Iterator[object]:
    """The tools one by one: a mapping under `tools` holds them in a list of its own."""
    for element in elements:
        inner = element.get("tools") if isinstance(element, Mapping) else None
        if isinstance(inner, list | tuple):
            yield from inner
        else:
            yield element


def _tool_weight(request: _Request, tool: object) -> int:
    api = request.shape.api
    server = api.server
    kind = str(tool.get("type") or "") if isinstance(tool, Mapping) else ""
    builtin = server.builtin_types is not None and server.builtin_types.search(kind) is not None
    return request.weigher.literal(tool) + api.tool_tokens + (server.builtin_tokens if builtin else 0)


def _medium_part(request: _Request, found: Found) -> BoundPart:
    """An image by its detail, audio and plain documents by their bytes; else no more than the model's window."""
    model = request.model
    meter = _MEDIUM_METERS.get(found.medium, _INPUT)
    if found.medium == "image" and model.image:
        tokens = model.image.get(found.detail, max(model.image.values()))
        return BoundPart(name="image", kind=BoundKind.UPPER, meter=meter, quantity=tokens, note=found.detail)
    if found.bytes is not None and found.medium == "audio" and model.audio_tokens_per_s:
        seconds = -(-found.bytes // rules().audio_bytes_per_s_min)
        tokens = min(model.audio_tokens_per_s * (seconds + 1), model.context)
        return BoundPart(
            name="audio", kind=BoundKind.UPPER, meter=meter, quantity=tokens, note=f"{seconds} s at most"
        )
    if found.bytes is not None and found.medium == "document" and rules().text_formats.search(found.format):
        tokens = found.bytes + request.shape.api.message_tokens
        return BoundPart(name="document", kind=BoundKind.UPPER, meter=meter, quantity=tokens, note=found.format)
    note = "its size cannot be told from the request"
    return BoundPart(name=found.medium, kind=BoundKind.CONTEXT_WINDOW, meter=meter, quantity=model.context, note=note)


def _counted_parts(request: _Request) -> Iterator[BoundPart]:
    for count in request.shape.api.counts:
        quantity = -(-_counted(request.body, count) // count.per)
        if quantity:
            yield BoundPart(name=count.meter, kind=BoundKind(count.kind), meter=count.meter, quantity=quantity)


def _counted(body: Mapping[str, Any], count: Count) -> int:
    value = first_at(body, count.at)
    if count.measure == "length" and isinstance(value, str):
        return len(value)
    if count.measure == "count" and isinstance(value, list | tuple):
        return len(value) + (sum(len(str(one)) // count.chunk_bytes for one in value) if count.chunk_bytes else 0)
    number = _whole(value)
    return count.default if number is None else number


def _whole(value: object) -> int | None:
    """A whole number that a request says, also as text; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return int(str(value))
    except ValueError:
        return None


def _unbounded_parts(request: _Request) -> Iterator[BoundPart]:
    """References to what the provider keeps, what it runs on its own, and sessions; each taken as one window."""
    api, body, context = request.shape.api, request.body, request.model.context
    for place in request.shape.references:
        if at(body, place):
            name = ".".join(place)
            yield _without_bound(name, context, "what the provider holds or fetches is not in the request")
    if api.session:
        yield _without_bound("session", context, "a session is billed by what is said in it")
    if api.server.services is not None and api.server.services.search(request.service.lower()):
        yield _without_bound("server tools", context, "this service uses tools of its own")
    tools = [tool for name in request.shape.tools for tool in _tools_at(body, name)]
    for kind, tool in ((_server_tool(api.server, tool), tool) for tool in tools):
        if kind is not None:
            uses = _whole(tool.get("max_uses") if isinstance(tool, Mapping) else None) or api.server.uses
            yield _without_bound(
                kind, context * uses, "a tool of the provider's reads what it likes, again each round"
            )
            for word, meter in api.server.meters.items():
                if word in kind:
                    yield BoundPart(name=kind, kind=BoundKind.UNBOUNDED, meter=meter, quantity=uses, note="uses")


def _tools_at(body: Mapping[str, Any], name: str) -> list[object]:
    value = body.get(name)
    return list(_tools(value if isinstance(value, list | tuple) else () if value is None else (value,)))


def _without_bound(name: str, quantity: int, note: str) -> BoundPart:
    return BoundPart(name=name, kind=BoundKind.UNBOUNDED, meter=_INPUT, quantity=quantity, note=note)


def _server_tool(server: Server, tool: object) -> str | None:
    """The name of a tool that the provider runs, None for the caller's own."""
    if not isinstance(tool, Mapping):
        return None
    kind = str(tool.get("type") or "")
    if kind and (server.own_types is not None or server.builtin_types is not None):
        patterns = (server.own_types, server.builtin_types)
        return None if any(pattern is not None and pattern.search(kind) for pattern in patterns) else kind
    if any(tool.get(key) is not None for key in server.own_keys):
        return None
    return kind or " ".join(map(str, tool)) or "tool"


def _output_parts(request: _Request) -> Iterator[BoundPart]:
    given, outputs = request.given, request.outputs
    output = request.shape.api.output
    model = request.model
    if given is not None:
        least = given if model.output is None else min(given, model.output)
        yield _output("output", BoundKind.UPPER, least * outputs, "the request's maximum")
        if output is not None and not output.covers_reasoning and model.reasons:
            kind = BoundKind.CONTEXT_WINDOW if model.output is None else BoundKind.UPPER
            most = (model.output or model.context) * outputs
            yield _output("reasoning", kind, most, "the request's maximum leaves the reasoning out")
    elif model.output is not None:
        yield _output("output", BoundKind.UPPER, model.output * outputs, "no maximum in the request: the model's")
    else:
        note = "no maximum in the request, none known of the model: its context window"
        yield _output("output", BoundKind.CONTEXT_WINDOW, model.context * outputs, note)


def _output(name: str, kind: BoundKind, quantity: int, note: str) -> BoundPart:
    return BoundPart(name=name, kind=kind, meter=_OUTPUT, quantity=quantity, note=note)


def _given(request: _Request) -> int | None:
    found = (at(request.body, place) for place in request.shape.given)
    number = _whole(next((one for one in found if one is not None), None))
    return number if number is not None and number > 0 else None


def _outputs(request: _Request) -> int:
    return max([1, *(number for place in request.shape.outputs if (number := _whole(at(request.body, place))))])


def _bound(provider: str, request: _Request) -> Bound:
    api, model, parts = request.shape.api, request.model, tuple(request.parts)
    bounded = [part for part in parts if part.kind is not BoundKind.UNBOUNDED]
    usage = _usage(bounded, model.context)
    window_usage = dict(usage)
    for part in parts:
        if part.kind is BoundKind.UNBOUNDED:
            window_usage[part.meter] = window_usage.get(part.meter, 0) + part.quantity
    given = request.given
    return Bound(
        provider=provider,
        service=request.service,
        api=api.name,
        kind=max((part.kind for part in parts), key=_SURENESS.index, default=BoundKind.EXACT),
        parts=parts,
        usage=usage,
        window_usage=window_usage,
        variants=_variants(request),
        output_field=api.output.write if api.output else None,
        output_given=given is not None,
        output_tokens_max=given if given is not None else model.output,
        output_tokens_least=_least(request),
        output_covers_reasoning=api.output.covers_reasoning if api.output else True,
        outputs=request.outputs,
        context_window=model.context,
        source=api.source,
    )


def _usage(parts: Sequence[BoundPart], context: int) -> dict[str, Quantity]:
    """The sum of parts by meter; a part counts in what contains its meter too. No input exceeds the window."""
    usage: dict[str, Quantity] = {}
    for part in parts:
        meter = part.meter
        if _INPUT in ancestors(meter):
            usage[_INPUT] = usage.get(_INPUT, 0) + part.quantity
        usage[meter] = usage.get(meter, 0) + part.quantity
    if _INPUT in usage:
        inner = sum([amount for meter, amount in usage.items() if _INPUT in ancestors(meter)], start=0)
        usage[_INPUT] = min(usage[_INPUT], max(context, inner))
    return usage


def _least(request: _Request) -> int:
    return max((_whole(at(request.body, place)) or 0 for place in request.shape.above), default=0)


def _variants(request: _Request) -> tuple[Variant, ...]:
    """Every way in which the parts may come to be billed: the dearest of these bounds all mixtures of them."""
    api = request.shape.api
    cached = not api.writes_when or not api.writes_when.isdisjoint(request.weigher.keys)
    conditions: list[tuple[str, tuple[str, ...]]] = []
    for name, place, reach in request.shape.conditions:
        told = at(request.body, place)
        reached = reach.get(str(told or ""), (str(told),) if told else ())
        if reached:
            conditions.append((name, reached))
    return _combined(api.name, cached, tuple(conditions))


@lru_cache(maxsize=1024)
def _combined(
    api_name: str, cached: bool, conditions: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[Variant, ...]:
    """Each whole as it is or as one of its kinds, under each combination of conditions."""
    inside = next(api.inside for api in rules().apis if api.name == api_name)
    kinds = [
        [None, *((meter, whole) for meter in inner if cached or whole != _INPUT)] for whole, inner in inside.items()
    ]
    met = [[(name, value) for value in reached] for name, reached in conditions]
    return tuple(
        Variant(dict(pair for pair in chosen if pair is not None), dict(under))
        for chosen in product(*kinds)
        for under in product(*met)
    )


def with_output(found: Bound, tokens: int) -> Bound:
    """The bound with at most `tokens` for each output: what an allotment makes of a request without a maximum."""
    quantity = tokens * found.outputs
    parts = tuple(
        replace(part, quantity=quantity, kind=BoundKind.UPPER, note="allotted", amount=None)
        if part.meter == _OUTPUT and part.name == "output"
        else part
        for part in found.parts
    )
    before = sum((part.quantity for part in found.parts if part.name == "output"), start=0)
    return replace(
        found,
        parts=parts,
        kind=max((part.kind for part in parts), key=_SURENESS.index),
        usage=_moved(found.usage, quantity - before),
        window_usage=_moved(found.window_usage, quantity - before),
        output_tokens_max=tokens,
    )


def _moved(usage: Mapping[str, Quantity], by: Quantity) -> dict[str, Quantity]:
    return {meter: amount + by if meter == _OUTPUT else amount for meter, amount in usage.items()}


def written(body: Mapping[str, Any], found: Bound, tokens: int) -> dict[str, Any]:
    """The request with its maximum of output written where its API wants it. The body given is left as it is.

    Raises InvalidInput `no_output_field` where the API has no such field.
    """
    if found.output_field is None:
        raise InvalidInput(f"{found.api or 'this API'} has no field for a maximum of output", code="no_output_field")
    *outer, last = steps(found.output_field)
    copy = dict(body)
    place = copy
    for step in outer:
        inner = place.get(step)
        place[step] = dict(inner) if isinstance(inner, Mapping) else {}
        place = place[step]
    place[last] = tokens
    return copy


def worst_case(found: Bound, quote: Quote, *, priced: Set[str] | None = None) -> Asking:
    """The most that the request can cost: the dearest of its variants, as what limits are asked for.

    `quote` prices one usage under conditions, None where it has no price: a way of billing that the service does not
    offer. Where none has a price the amount is None. `priced` are the meters for which the service has a rate of
    their own, if that is known: the others are charged as what contains them, so they need not be tried.
    """
    variants: Sequence[Variant] = found.variants
    if priced is not None:
        variants = [one for one in variants if one.inside.keys() <= priced]
    unbounded = found.kind is BoundKind.UNBOUNDED
    return Asking(
        amount=_dearest(found.usage, variants, quote),
        usage=found.usage,
        unbounded=unbounded,
        window_amount=_dearest(found.window_usage, variants, quote) if unbounded else None,
        window_usage=found.window_usage if unbounded else {},
    )


def _dearest(usage: Mapping[str, Quantity], variants: Sequence[Variant], quote: Quote) -> int | None:
    """The most that the usage costs as one of the variants: all of a whole as one kind, or its parts apart from it.

    What a call really uses is a mixture of these, and no mixture costs more than the dearest of its extremes.
    """
    inner = {meter: amount for meter, amount in usage.items() if not usage.keys().isdisjoint(ancestors(meter))}
    wholes = {meter: amount for meter, amount in usage.items() if meter not in inner} if inner else usage
    dearest: int | None = None
    for variant in variants:
        for billed in _billed(wholes, inner, variant):
            amount = quote(billed, variant.conditions)
            if amount is not None and (dearest is None or amount > dearest):
                dearest = amount
    return dearest


def _billed(
    wholes: Mapping[str, Quantity], inner: Mapping[str, Quantity], variant: Variant
) -> Iterator[Mapping[str, Quantity]]:
    """The usage as a variant may bill it."""
    told = {meter: whole for meter, whole in variant.inside.items() if whole in wholes}
    yield {**wholes, **{meter: wholes[whole] for meter, whole in told.items()}} if told else wholes
    if inner:
        apart = {whole: sum(inner[m] for m in inner if whole in ancestors(m)) for whole in wholes}
        rest = {meter: wholes[whole] - apart[whole] for meter, whole in told.items() if meter not in inner}
        yield {**wholes, **inner, **{meter: amount for meter, amount in rest.items() if amount > 0}}


def itemised(found: Bound, quote: Quote) -> Bound:
    """The bound with an amount on each part: what it adds to those before it, so that they sum to the whole.

    The amounts are those of the dearest variant, the unbounded parts at the model's context window.
    """
    best = max(found.variants, key=lambda variant: _dearest(found.window_usage, (variant,), quote) or 0)
    parts, before = [], 0
    seen: list[BoundPart] = []
    for part in found.parts:
        seen.append(part)
        usage = _usage([replace(one, kind=BoundKind.UPPER) for one in seen], _uncapped(found))
        amount = _dearest(usage, (best,), quote)
        parts.append(replace(part, amount=None if amount is None else amount - before))
        before = before if amount is None else amount
    return replace(found, parts=tuple(parts))


def _uncapped(found: Bound) -> int:
    """The most input of all parts together: one window, and one more for each part without a bound."""
    return max(int(found.window_usage.get(_INPUT, 0)), found.context_window)
