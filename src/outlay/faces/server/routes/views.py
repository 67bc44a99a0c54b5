"""What people keep beside the figures: views of the dashboard by name, and words about days."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from outlay.arguments import read_date, read_text
from outlay.clock import Instant, isoformat
from outlay.errors import NotFound
from outlay.faces.server.models import Outcome, Sent, Time
from outlay.faces.server.routes.answering import NAME_MAX, PROBLEMS, Reads, Rules, State, in_thread, plain
from outlay.faces.server.state import ServerState
from outlay.reporting import checked_noted

router = APIRouter(tags=["views"], responses=PROBLEMS)

VIEW: Final = "view"
QUERY_CHARACTERS_MAX: Final = 4_000
ViewName = Annotated[str, Path(description="the view's name", min_length=1, max_length=100)]
On = Annotated[str, Path(description="what the words are about: day, job or anomaly", max_length=16)]
NotedName = Annotated[str | None, Query(description="only of this one", max_length=NAME_MAX)]
Zone = Annotated[str | None, Query(description="that in which anomalies were asked", max_length=64)]
NotedPath = Annotated[
    str, Path(description="a date, a job's name, an anomaly's id", min_length=1, max_length=NAME_MAX)
]
Day = Annotated[str, Path(description="a date such as 2026-03-10", max_length=10)]


class View(msgspec.Struct, frozen=True):
    """A view as it is kept. `gone` ones are forgotten by all but the ledger."""

    name: str
    query: str
    who: str
    at: Instant
    gone: bool = False


class ViewSent(Sent):
    """The query of the page that is to be found again."""

    query: Annotated[str, Field(max_length=QUERY_CHARACTERS_MAX)]


class ViewTold(BaseModel):
    """A saved view."""

    name: str
    query: str
    who: str
    at: Time


class NoteSent(Sent):
    """Words about a day."""

    text: Annotated[str, Field(min_length=1, max_length=512)]


class NoteTold(BaseModel):
    """Words about a day."""

    day: str
    text: str


class NamedNoteTold(BaseModel):
    """Words about a day, a job or an anomaly."""

    name: str
    text: str


@router.get("/v1/views", responses={200: {"model": list[ViewTold]}})
async def views(caller: Reads, state: State) -> Response:
    """Saved views by name. For callers who see the whole ledger: a name may say what others spend."""
    caller.must_see_all()
    found = await in_thread(lambda: [msgspec.json.decode(body, type=View) for body in state.ledger.store.notes(VIEW)])
    kept = sorted((one for one in found if not one.gone), key=lambda one: one.name)
    return plain([{"name": one.name, "query": one.query, "who": one.who, "at": isoformat(one.at)} for one in kept])


@router.put("/v1/views/{name}", responses={200: {"model": ViewTold}})
async def put_view(caller: Rules, state: State, name: ViewName, sent: ViewSent) -> Response:
    """Keep a view by its name; the last one counts."""
    view = View(read_text(name, "name"), sent.query, caller.key, state.clock.now())
    await in_thread(lambda: _put(state, view))
    return plain({"name": view.name, "query": view.query, "who": view.who, "at": isoformat(view.at)})


@router.delete("/v1/views/{name}", responses={200: {"model": Outcome}})
async def remove_view(caller: Rules, state: State, name: ViewName) -> Response:
    """Take a view away."""

    def remove() -> None:
        body = state.ledger.store.note(VIEW, read_text(name, "name"))
        if body is None or msgspec.json.decode(body, type=View).gone:
            raise NotFound(f"no view {name[:60]!r} is saved", code="no_such_view")
        _put(state, View(name, "", caller.key, state.clock.now(), gone=True))

    await in_thread(remove)
    return plain({"outcome": "removed"})


@router.get("/v1/notes", responses={200: {"model": list[NoteTold]}})
async def notes(caller: Reads, state: State) -> Response:
    """People's words about days, the latest said first. For callers who see the whole ledger."""
    caller.must_see_all()
    found = await in_thread(state.ledger.notes)
    return plain([{"day": day, "text": text} for day, text in found.items()])


@router.get("/v1/notes-on/{on}", responses={200: {"model": list[NamedNoteTold]}})
async def notes_on(caller: Reads, state: State, on: On, name: NotedName = None) -> Response:
    """People's words about days, jobs or anomalies, or about one of them, the latest said first. For callers who see
    the whole ledger.
    """
    caller.must_see_all()
    found = await in_thread(lambda: state.ledger.notes(on, name))
    return plain([{"name": name, "text": text} for name, text in found.items()])


@router.put("/v1/notes-on/{on}/{name:path}", responses={200: {"model": NamedNoteTold}})
async def put_note_on(
    caller: Rules, state: State, on: On, name: NotedPath, sent: NoteSent, zone: Zone = None
) -> Response:
    """Attach words to a day, a job or an anomaly: reports show them. The last word counts."""
    checked_noted(on)
    ledger = state.ledger

    def attach() -> None:
        if on == "anomaly":
            ledger.note_anomaly(name, sent.text, zone=zone)
        elif on == "job":
            ledger.note_job(name, sent.text)
        else:
            ledger.note_day(name, sent.text)

    await in_thread(attach)
    return plain({"name": name, "text": sent.text})


@router.put("/v1/notes/{day}", responses={200: {"model": NoteTold}})
async def put_note(caller: Rules, state: State, day: Day, sent: NoteSent) -> Response:
    """Attach words to a day: charts and reports show them. The last word counts."""
    label = read_date(day)
    await in_thread(lambda: state.ledger.note_day(label, sent.text))
    return plain({"day": label.isoformat(), "text": sent.text})


def _put(state: ServerState, view: View) -> None:
    store, body, kept = state.ledger.store, msgspec.json.encode(view), False
    while not kept:
        kept = store.put_note(VIEW, view.name, body, expects=store.note(VIEW, view.name), at=view.at, live=False)
