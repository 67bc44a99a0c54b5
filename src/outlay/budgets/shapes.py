"""The shape of a request: the names of its members. Most requests share one, and most rules are about members that
are not there, so what may bear on a shape is found once and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, Final

import msgspec

from outlay.budgets.bound_rules import Api, Steps, at, rules, steps

_SHAPES_KEPT: Final = 1_024
_SERVICE_LENGTH_MAX: Final = 256
"""Longer names are looked up each time: what is kept must stay small whatever clients send."""


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The rules of one API without those about members that a request does not have.

    `roles` are the members' parts in the template, empty for settings; `when` and `without` decide whether this API
    is meant at all. `conditions` are each a name, its place, and what the values there may come to be billed as.
    """

    api: Api
    when: tuple[Steps, ...]
    without: tuple[Steps, ...]
    roles: Mapping[str, str]
    schemas: tuple[Steps, ...]
    references: tuple[Steps, ...]
    tools: tuple[str, ...]
    given: tuple[Steps, ...]
    outputs: tuple[Steps, ...]
    above: tuple[Steps, ...]
    conditions: tuple[tuple[str, Steps, Mapping[str, tuple[str, ...]]], ...]


def shape_of(provider: str, service: str, body: Mapping[str, Any]) -> Shape | None:
    """The shape of a request by the first API whose requests look like this one."""
    told = provider.strip().lower(), service.lower(), tuple(filter(_names().__contains__, body))
    long = len(provider) + len(service) > _SERVICE_LENGTH_MAX
    for shape in _found(*told) if long else _shapes(*told):
        if all(at(body, place) is not None for place in shape.when) and not any(
            at(body, place) is not None for place in shape.without
        ):
            return shape
    return None


@cache
def _names() -> frozenset[str]:
    """Every name that a rule asks for."""
    return frozenset(name for api in rules().apis for name in _asked_of(api))


def _asked_of(api: Api) -> set[str]:
    places = (*api.when, *api.without, *api.schemas, *api.stored, *api.server.fields)
    dotted = (*api.conditions.values(), *_output(api, "fields"), *_output(api, "outputs"), *_output(api, "above"))
    return {*api.fields, *(place[0] for place in (*places, *map(steps, dotted)))}


def _output(api: Api, name: str) -> tuple[str, ...]:
    found: tuple[str, ...] = () if api.output is None else getattr(api.output, name)
    return found


def _found(provider: str, service: str, names: tuple[str, ...]) -> tuple[Shape, ...]:
    there = frozenset(names)
    return tuple(
        _shape(api, there)
        for api in _apis_of(provider)
        if (api.services is None or api.services.search(service)) and all(place[0] in there for place in api.when)
    )


_shapes: Final = lru_cache(maxsize=_SHAPES_KEPT)(_found)


@lru_cache(maxsize=256)
def _apis_of(provider: str) -> tuple[Api, ...]:
    return tuple(api for api in rules().apis if api.providers.search(provider))


def _shape(api: Api, there: frozenset[str]) -> Shape:
    def among(places: tuple[Steps, ...]) -> tuple[Steps, ...]:
        return tuple(place for place in places if place[0] in there)

    def dotted(name: str) -> tuple[Steps, ...]:
        return among(tuple(map(steps, _output(api, name))))

    silent = dict.fromkeys((*api.settings, *(steps(place)[0] for place in _output(api, "fields"))), "")
    return Shape(
        api=api,
        when=api.when,
        without=among(api.without),
        roles={**silent, **api.fields},
        schemas=among(api.schemas),
        references=among((*api.stored, *api.server.fields)),
        tools=tuple(name for name, role in api.fields.items() if role == "tools" and name in there),
        given=dotted("fields"),
        outputs=dotted("outputs"),
        above=dotted("above"),
        conditions=tuple(
            (name, steps(place), api.reach.get(name, {}))
            for name, place in api.conditions.items()
            if steps(place)[0] in there or "" in api.reach.get(name, {})
        ),
    )
