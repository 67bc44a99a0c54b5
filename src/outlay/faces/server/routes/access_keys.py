"""Access keys: who may ask and write. A key's text is told once, when it is made or rotated."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.arguments import read_when
from outlay.clock import Instant, isoformat
from outlay.faces.server.access import CALLER, UNLOGGED
from outlay.faces.server.keys import AccessKey, kept_keys, make_key, revoke_key, rotate_key
from outlay.faces.server.models import Sent, Time
from outlay.faces.server.routes.answering import PROBLEMS, Rules, State, in_thread, plain

router = APIRouter(tags=["access"], responses=PROBLEMS)

KeyId = Annotated[str, Path(description="the key's id", max_length=64)]


class KeySent(Sent):
    """A key to make: its roles, and what it is limited to."""

    roles: Annotated[list[str], Field(min_length=1, max_length=3, examples=[["read"]])]
    scope: Annotated[dict[str, str], Field(default_factory=dict)]
    name: Annotated[str, Field(max_length=200)] = ""
    expires: Annotated[str | None, Field(max_length=64)] = None


class KeyTold(BaseModel):
    """A key as it stands; `text` only in the answer that made it."""

    id: str
    name: str
    roles: list[str]
    scope: dict[str, str]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    used_at: Time | None
    text: str | None = None


@router.get("/v1/keys", responses={200: {"model": list[KeyTold]}})
async def keys(caller: Rules, state: State) -> Response:
    """Every key that ever was, with its last use; none of their texts."""
    found = await in_thread(lambda: kept_keys(state.ledger.store))
    return plain([_told(key) for key in found])


@router.post("/v1/keys", responses={200: {"model": KeyTold}})
async def add_key(request: Request, caller: Rules, state: State, sent: KeySent) -> Response:
    """Make a key. Its text is in this answer and nowhere else."""
    ledger = state.ledger

    def make() -> tuple[AccessKey, str]:
        expires = read_when(sent.expires, ledger.store.home_zone, ledger.clock)
        found = make_key(
            ledger.store,
            ledger.clock,
            roles=sent.roles,
            scope=sent.scope,
            name=sent.name,
            expires_at=expires,
            who=request.scope[CALLER].key,
        )
        state.gate.load()
        return found

    request.scope[UNLOGGED] = True  # It is in the log of changes by `make_key`, with more than a path says.
    key, text = await in_thread(make)
    return plain({**_told(key), "text": text})


@router.post("/v1/keys/{id}/rotate", responses={200: {"model": KeyTold}})
async def rotate(request: Request, caller: Rules, state: State, id: KeyId) -> Response:
    """Give a key a new text; the one before holds for a day."""
    ledger = state.ledger

    def renew() -> tuple[AccessKey, str]:
        found = rotate_key(ledger.store, ledger.clock, id, who=request.scope[CALLER].key)
        state.gate.load()
        return found

    request.scope[UNLOGGED] = True
    key, text = await in_thread(renew)
    return plain({**_told(key), "text": text})


@router.post("/v1/keys/{id}/revoke", responses={200: {"model": KeyTold}})
async def revoke(request: Request, caller: Rules, state: State, id: KeyId) -> Response:
    """Take a key out of use for good."""
    ledger = state.ledger

    def end() -> AccessKey:
        found = revoke_key(ledger.store, ledger.clock, id, who=request.scope[CALLER].key)
        state.gate.load()
        return found

    request.scope[UNLOGGED] = True
    return plain(_told(await in_thread(end)))


def _told(key: AccessKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": [role.value for role in key.roles],
        "scope": key.scope,
        "created_at": isoformat(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
        "used_at": _time(key.used_at),
    }


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else isoformat(instant)
