"""The door and what stands behind no page: sign-in, sign-out, files, live receipts, tables as CSV."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from starlette.responses import JSONResponse, Response

from outlay.errors import OutlayError
from outlay.faces.server.limits import Receive, Send
from outlay.faces.server.pages.sessions import COOKIE, SECONDS
from outlay.faces.server.pages.visit import Page, Visit, read_form

_SAID: Final = {
    "unknown_key": "This key is not known here. Check it, or ask for a new one.",
    "key_expired": "This key has expired. Ask for a new one.",
    "key_revoked": "This key was revoked. Ask for a new one.",
    "bad_token": "This token is not valid here, or no more. Get a new one.",
    "foreign_form": "Sign in from this page.",
}
_FOREVER: Final = "public, max-age=31536000, immutable"


async def door(visit: Visit) -> Response:
    """The form."""
    return _door(visit, visit.query.get("next", ""), visit.query.get("why", ""))


async def sign_in(visit: Visit) -> Response:
    """Take a key or token; seal it into the session's cookie."""
    request, site = visit.request, visit.site
    form = await read_form(request)
    credential, following = form.get("credential", "").strip(), form.get("next", "")
    try:
        site.sessions.check_origin(dict(request.headers.raw))
        site.state.gate.admit({b"authorization": b"Bearer " + credential.encode(), b"host": b"localhost"})
        sealed = site.sessions.seal(credential)
    except OutlayError as error:
        return _door(visit, following, error.code, 422)
    answer = visit.go(_own_path(following))
    answer.set_cookie(
        COOKIE,
        sealed,
        max_age=SECONDS,
        path="/",
        httponly=True,
        samesite="strict",
        secure=_is_secure(request.headers),
    )
    return answer


async def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.site.sessions.check_origin(dict(visit.request.headers.raw))
    answer = visit.go("/signin")
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


async def session(visit: Visit) -> Response:
    """Whether this browser has a session that holds."""
    try:
        visit.site.admitted(dict(visit.request.headers.raw))
    except OutlayError:
        return JSONResponse({"signed_in": False})
    return JSONResponse({"signed_in": True})


async def file(visit: Visit) -> Response:
    """A stylesheet, a script, a picture: named by its content, so it is kept for good."""
    found = await visit.site.assets.get(visit.request.path_params["name"])
    headers = {"content-encoding": "gzip", "cache-control": _FOREVER, "vary": "accept-encoding"}
    return Response(found.body, 200, headers, found.media_type)


async def live(visit: Visit) -> Response:
    """Receipts as they are recorded."""
    return PassedOn(visit, "/v1/live", after=visit.query.get("after", ""))


async def csv(visit: Visit) -> Response:
    """Costs in groups, as a file for a spreadsheet."""
    return PassedOn(visit, "/v1/costs", "format=csv")


class PassedOn(Response):
    """The answer of a route to this visitor, as it comes."""

    def __init__(self, visit: Visit, path: str, query: str = "", after: str = "") -> None:
        """`query` is put before the page's own; `after` is the place that a stream begins behind."""
        super().__init__()
        self._visit = visit
        self._path = path
        self._query = query
        self._after = after

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let the route answer; what the site says of every answer holds for this one too."""
        given = [
            (name, value) for name, value in self.raw_headers if name not in (b"content-length", b"content-type")
        ]

        async def passed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(one for one in given if one[0] not in told)]
            await send(message)

        query = "&".join(part for part in (self._query, scope["query_string"].decode()) if part)
        await self._visit.ask.passed_on(self._path, query, self._from_place(scope), receive, passed)

    def _from_place(self, scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        known = any(name == b"last-event-id" for name, _ in scope["headers"])
        if known or not self._after:
            return scope
        return {**scope, "headers": [*scope["headers"], (b"last-event-id", self._after.encode("latin-1", "replace"))]}


def _door(visit: Visit, following: str, why: str, status: int = 200) -> Response:
    said = _SAID.get(why, "This did not work: check the key or token." if why else "")
    return visit.render("signin.html", status=status, title="Sign in", next=_own_path(following), said=said)


def _own_path(path: str) -> str:
    """Where to go on: a path of this server, and nothing else."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"


def _is_secure(headers: Any) -> bool:
    return bool(headers.get("x-forwarded-proto", "") == "https")


PAGES: Final = (
    Page("GET", "/signin", "public", door),
    Page("POST", "/signin", "public", sign_in),
    Page("POST", "/signout", "public", sign_out),
    Page("GET", "/session", "public", session),
    Page("GET", "/static/{name}", "public", file),
    Page("GET", "/live", "read", live),
    Page("GET", "/csv/costs", "read", csv),
)
