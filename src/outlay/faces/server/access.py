"""Who calls and what they may do: roles, and a scope that no header, parameter or body overrides."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec
from starlette.requests import Request

from outlay.errors import AccessDenied
from outlay.model import ATTRIBUTIONS, UsageEvent

CALLER: Final = "outlay.caller"
"""Where a request's scope bears its Caller."""

UNLOGGED: Final = "outlay.unlogged"
"""Set in a request's scope where its route changes nothing that the log of changes tells."""


class Role(StrEnum):
    """What a key is for. An admin may do all; ingest writes and reserves; read asks."""

    INGEST = "ingest"
    READ = "read"
    ADMIN = "admin"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who sent a request.

    `key` is the key's id, or `token <issuer> <subject>`, or `local` on a server without keys. `scope` maps
    attributions to the one value that this caller writes and reads; it is empty for who may see everything. An
    admin has no scope: what an admin changes holds for all. `tier` is what a token says of its user.
    """

    key: str
    roles: frozenset[Role]
    scope: Mapping[str, str] = {}
    claims: Mapping[str, Any] = {}
    tier: str | None = None
    requests_per_second_max: int | None = None

    def may(self, role: Role) -> bool:
        """Whether this caller has the role; an admin without a scope has all."""
        return role in self.roles or (Role.ADMIN in self.roles and not self.scope)

    def must(self, role: Role) -> None:
        """Raises AccessDenied `wrong_role` unless the caller has the role, `outside_scope` for a scoped admin."""
        if role is Role.ADMIN and self.scope:
            raise AccessDenied(
                "this changes or shows what is everybody's; use a key without a scope", code="outside_scope"
            )
        if not self.may(role):
            raise AccessDenied(
                f"this needs the role {role.value}; the key has {', '.join(sorted(self.roles))}", code="wrong_role"
            )

    def must_see_all(self) -> None:
        """Raises AccessDenied `outside_scope` for a caller who may see only a part."""
        if self.scope:
            raise AccessDenied("this shows everybody's; use a key without a scope", code="outside_scope")

    def attributed(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """`fields` of an event or a reservation with the scope in them.

        Raises AccessDenied `outside_scope` where they say another value.
        """
        if not self.scope:
            return dict(fields)
        for name, value in self.scope.items():
            told = fields.get(name)
            if told is not None and told != value:
                raise AccessDenied(f"this key writes {name} {value!r} only; leave {name} out", code="outside_scope")
        return {**fields, **self.scope}

    def filtered(self, where: Mapping[str, Any] | None) -> dict[str, Any]:
        """A filter with the scope in it. Raises AccessDenied `outside_scope` where it asks for another value."""
        asked = dict(where or {})
        for name, value in self.scope.items():
            told = asked.get(name, value)
            if told != value and (isinstance(told, str) or told is None or set(told) != {value}):
                raise AccessDenied(f"this key reads {name} {value!r} only; leave {name} out", code="outside_scope")
            asked[name] = value
        return asked

    def sees(self, event: UsageEvent) -> bool:
        """Whether an event lies in the scope."""
        return all(getattr(event, name) == value for name, value in self.scope.items())


LOCAL: Final = Caller(key="local", roles=frozenset(Role))
"""Whoever calls a server that has no keys and listens on loopback only."""

SCOPES: Final = frozenset(ATTRIBUTIONS)
"""What a key may be limited to."""


def caller(request: Request) -> Caller:
    """A FastAPI dependency: who calls. The request was let in by the gate before."""
    found: Caller = request.scope[CALLER]
    return found


def unlogged(request: Request) -> None:
    """A FastAPI dependency of a route that is no GET and yet changes nothing, or records only usage."""
    request.scope[UNLOGGED] = True


class require:  # noqa: N801 - it is used as a function: Depends(require("read"))
    """A FastAPI dependency: who calls, if they have the role. Raises AccessDenied (403)."""

    def __init__(self, role: Role | str) -> None:
        """`role` is ingest, read or admin."""
        self.role = Role(role)

    def __call__(self, request: Request) -> Caller:
        """The caller of a request."""
        found = caller(request)
        found.must(self.role)
        return found
