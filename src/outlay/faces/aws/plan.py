"""What would change, then the change, then a look at what stands: the same comparison before and after.

A thing is compared by what the definition says of it; what AWS adds of its own, and what others made, is left alone.
Nothing is ever deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from outlay.errors import OutlayError
from outlay.faces.aws.clients import Clients
from outlay.faces.aws.keepers import KEEPERS, Names
from outlay.faces.aws.resources import Kind, Resource


class Action(StrEnum):
    """What is to be done about a thing. `refuse` is a danger that a person must look at."""

    CREATE = "create"
    CHANGE = "change"
    SAME = "same"
    REFUSE = "refuse"


class Difference(msgspec.Struct, frozen=True):
    """One place where what stands is not what is wanted."""

    path: str
    stands: str
    wanted: str


class Change(msgspec.Struct, frozen=True):
    """What is to be done about one thing, and why."""

    resource: Resource
    action: Action
    differences: tuple[Difference, ...] = ()
    reason: str = ""


class Applied(msgspec.Struct, frozen=True):
    """What became of a change: empty `failure` and no `differences` once it stands as wanted."""

    change: Change
    failure: str = ""
    differences: tuple[Difference, ...] = ()


def plan(clients: Clients, resources: Iterable[Resource]) -> list[Change]:
    """What is to be done. It reads only. Raises CloudFailure."""
    names = Names(clients)
    return [_change(clients, names, resource) for resource in resources]


def _change(clients: Clients, names: Names, resource: Resource) -> Change:
    keeper = KEEPERS[resource.kind]
    stands = keeper.read(clients, names, resource)
    reason = keeper.danger(stands, resource)
    if reason:
        return Change(resource, Action.REFUSE, (), reason)
    if stands is None:
        return Change(resource, Action.CREATE)
    found = tuple(differences(stands, names.filled(resource.region, resource.body)))
    return Change(resource, Action.CHANGE if found else Action.SAME, found)


def apply(clients: Clients, changes: Iterable[Change]) -> Iterator[Applied]:
    """Do what is to be done, one by one in order, and read each back; a failure does not stop the rest."""
    names = Names(clients)
    for change in changes:
        if change.action in (Action.CREATE, Action.CHANGE):
            yield _apply(clients, names, change)


def _apply(clients: Clients, names: Names, change: Change) -> Applied:
    keeper = KEEPERS[change.resource.kind]
    try:
        keeper.write(clients, names, change.resource)
        after = _change(clients, names, change.resource)
    except OutlayError as error:
        return Applied(change, error.message)
    if after.action is Action.SAME:
        return Applied(change)
    return Applied(change, after.reason or "it does not stand as it was written", after.differences)


def differences(stands: Any, wanted: Any, path: str = "") -> Iterator[Difference]:
    """Where what stands differs in what is wanted; lists of names are sets."""
    if isinstance(wanted, Mapping) and isinstance(stands, Mapping):
        for name, value in wanted.items():
            yield from differences(stands.get(name), value, f"{path}.{name}" if path else name)
    elif _canonical(stands) != _canonical(wanted):
        yield Difference(path, _shown(stands), _shown(wanted))


def _canonical(value: Any) -> Any:
    """A value in which 60, 60.0 and "60.00" are one number, and a list has no order."""
    if isinstance(value, Mapping):
        return {name: _canonical(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return sorted((_canonical(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str) and value[:1] in "{[":
        return _of_json(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _of_json(text: str) -> Any:
    try:
        return _canonical(json.loads(text))
    except ValueError:
        return text


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= 120 else f"{text[:117]}…"


def kinds(changes: Iterable[Change]) -> dict[Kind, int]:
    """How many things of each kind are to be made or changed."""
    found: dict[Kind, int] = {}
    for change in changes:
        if change.action in (Action.CREATE, Action.CHANGE):
            found[change.resource.kind] = found.get(change.resource.kind, 0) + 1
    return found
