"""The log of changes: who changed what through a server or the command line, newest first."""

from __future__ import annotations

from typing import Annotated

import msgspec
from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel

from outlay.clock import isoformat
from outlay.faces.server.access import Caller, require
from outlay.faces.server.routes.answering import PROBLEMS, State

router = APIRouter(tags=["access"], responses=PROBLEMS)


class Change(BaseModel):
    """One change. `who` is a key's id, `local`, a token's issuer and subject, or `cli`."""

    number: int
    at: str
    who: str
    action: str
    subject: str
    detail: str


@router.get("/v1/changes", responses={200: {"model": list[Change]}})
async def changes(
    caller: Annotated[Caller, Depends(require("admin"))],
    state: State,
    limit: Annotated[int, Query(description="the most rows", ge=1, le=1_000)] = 100,
    before: Annotated[int | None, Query(description="only numbers under this one", ge=1, lt=2**63)] = None,
) -> Response:
    """Who changed budgets, prices, keys and the like, and when. Usage is no change: it is in the ledger itself."""
    found = await run_sync(lambda: state.ledger.store.logged_changes(limit, before))
    told = [
        {
            "number": one.number,
            "at": isoformat(one.at),
            "who": one.who,
            "action": one.action,
            "subject": one.subject,
            "detail": one.detail,
        }
        for one in found
    ]
    return Response(msgspec.json.encode(told), media_type="application/json")
