"""The site: finds the page, says who looks, and answers refusals as pages for people and as problems for programs."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import outlay
from outlay.analytics.categories import read_patterns
from outlay.config import load_settings
from outlay.errors import NotFound, OutlayError
from outlay.faces.server import audit, exchange
from outlay.faces.server.access import CALLER, LOCAL, Caller, Role
from outlay.faces.server.gate import header_map
from outlay.faces.server.limits import Receive, Send
from outlay.faces.server.pages import MODULES
from outlay.faces.server.pages.asking import Answering, Asking, Kept, Problem
from outlay.faces.server.pages.assets import DRAWING, Assets
from outlay.faces.server.pages.components import Choice
from outlay.faces.server.pages.sessions import Sessions
from outlay.faces.server.pages.visit import FORM_FIELD, Facts, Page, Visit, address, read_form
from outlay.faces.server.problems import status_of
from outlay.faces.server.routes.answering import in_thread
from outlay.faces.server.state import ServerState

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: a browser would then hide its origin from our own forms too.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
MENU: Final = (
    ("Overview", "/", True),
    ("Explore", "/explore", True),
    ("Jobs", "/jobs", True),
    ("Users & customers", "/people", False),
    ("Budgets", "/budgets", True),
    ("Alerts", "/alerts", False),
    ("Forecast", "/forecast", True),
    ("Compare", "/compare", True),
    ("Advice", "/advice", False),
    ("Price book", "/prices", True),
    ("Cloud & bills", "/cloud", False),
    ("Settings", "/settings", False),
)
"""The pages by name, and whether a visitor who sees only a part may open them."""

WITHIN: Final = {"/anomalies/": "/alerts", "/receipts/": "/explore"}
"""Pages that are reached from another one, under which they stand in the menu."""

SIGN_IN_CODES: Final = ("key_required", "unknown_key", "key_expired", "key_revoked", "bad_token")
DONE: Final = {
    "saved": "Saved.",
    "removed": "Removed.",
    "sent": "A test message was sent.",
    "acknowledged": "Acknowledged: the others see that you know.",
    "resolved": "Resolved.",
    "snoozed": "Snoozed: it is kept, and not sent until then.",
    "decided": "Noted: what it does is measured from now on.",
    "judged": "Noted: others of its kind are not told again.",
    "repriced": "Past calls were rated anew by the price book in force.",
}
"""What a page says after a change, by the word in its address: no other words get there from an address."""


class Site:
    """The dashboard of one server."""

    def __init__(self, state: ServerState, answering: Answering) -> None:
        """`answering` is the application behind, with the routes that customers call."""
        self.state = state
        self.patterns = read_patterns(load_settings().categories)
        self.sessions = Sessions(state)
        self.assets = Assets()
        self._answering = answering
        self._kept = Kept(state)
        self._facts: Facts | None = None
        self._has_bills = False
        self._templates = _templates(self.assets)
        handlers: dict[Any, Any] = {OutlayError: self._refused, HTTPException: self._absent, Exception: self._failed}
        self._app = Starlette(
            routes=[Route(page.path, self._endpoint(page), methods=[page.method]) for page in every_page()],
            exception_handlers=handlers,
        )
        self._firsts = {page.path.split("/")[1] for page in every_page()}

    def serves(self, path: str) -> bool:
        """Whether a path is one of the pages'."""
        return path.removeprefix("/").partition("/")[0] in self._firsts

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> tuple[int, str]:
        """Answer; the status and the page's path."""
        told: list[int] = []

        async def noted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])
            await send(message)

        await self._app(scope, receive, noted)
        return (told or [500])[0], scope.get("outlay.page", "(none)")

    def rendered(self, template: str, **values: Any) -> str:
        """A template with its values."""
        return self._templates.get_template(template).render(**values)

    def menu(self, visit: Visit) -> list[Choice]:
        """The pages that this visitor may open."""
        path = visit.request.url.path
        for begin, menu in WITHIN.items():
            path = menu if path.startswith(begin) else path
        return [
            Choice(text=text, href=href, on=path == href or (href != "/" and path.startswith(f"{href}/")))
            for text, href, for_all in MENU
            if (for_all or visit.sees_all) and (href != "/cloud" or self._has_bills)
        ]

    def said(self, word: str) -> str:
        """What a page says about what was just done."""
        return DONE.get(word, "")

    def admitted(self, headers: dict[bytes, bytes]) -> tuple[Caller, bool]:
        """Who sent a request, and whether their browser vouched for them unasked (a cookie, an open server)."""
        if b"authorization" in headers or b"x-outlay-key" in headers:
            return self.state.gate.admit(headers), False
        credential = self.sessions.credential(headers)
        if credential is None:
            return self.state.gate.admit(headers), True
        return self.state.gate.admit({**headers, b"authorization": b"Bearer " + credential.encode()}), True

    async def visit(self, request: Request, caller: Caller) -> Visit:
        """A visit of a caller."""
        ask = Asking(self._answering, self.state, caller, self._kept)
        if self._facts is None:
            told = await Asking(self._answering, self.state, LOCAL, self._kept).get("/v1/ledger")
            self._facts = Facts(told["currency"], told["zone"], told["version"])
        return Visit(self, request, caller, ask, self._facts, self.state.clock.now())

    # Inner

    def _endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            request.scope["outlay.page"] = page.path
            await in_thread(self.sessions.load)
            headers = header_map(request.scope)
            if page.role == "public":
                return _guarded(await page.handler(await self.visit(request, _NOBODY)))
            caller, ambient = self.admitted(headers)
            request.scope[CALLER] = caller
            await self.state.gate.learn_tier(caller)
            _must(caller, page.role)
            visit = await self.visit(request, caller)
            if visit.sees_all and not self._has_bills:
                self._has_bills = bool(await visit.ask.get("/v1/statements"))
            if page.method == "POST":
                form = await read_form(request)
                if ambient:
                    self.sessions.check_form(caller, headers, form.pop(FORM_FIELD, ""))
                visit.form = form
            return _guarded(await page.handler(visit))

        return endpoint

    async def _refused(self, request: Request, error: Exception) -> Response:
        if not isinstance(error, OutlayError):
            raise error
        status = error.status if isinstance(error, Problem) else status_of(error)
        if not _for_people(request):
            return _guarded(_as_problem(error, status))
        if error.code in SIGN_IN_CODES and request.method == "GET":
            path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            asked = {} if path == "/" else {"next": path}
            said = {} if error.code == "key_required" else {"why": error.code}
            return _guarded(
                Response(status_code=303, headers={"location": address("/signin", {**asked, **said}.items())})
            )
        return await self._said(request, status, error.message, error.code)

    async def _absent(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        code = {404: "no_such_route", 405: "method_not_allowed"}.get(status, "bad_request")
        if not _for_people(request):
            return _guarded(_as_problem(NotFound("there is no such page", code=code), status))
        return await self._said(request, status, "There is no such page.", code)

    async def _failed(self, request: Request, error: Exception) -> Response:
        """What nobody foresaw: logged by its kind and place, told without details."""
        audit.say_failed(request.scope, error)
        return await self._said(request, 500, "The server failed; its log says where.", "server_failed")

    async def _said(self, request: Request, status: int, message: str, code: str) -> Response:
        caller: Caller = request.scope.get(CALLER, _NOBODY)
        visit = await self.visit(request, caller)
        return _guarded(
            visit.render("error.html", status=status, title="This did not work", message=message, code=code)
        )


_NOBODY: Final = Caller(key="nobody", roles=frozenset())
"""Who looks at a page that is for everybody."""


def every_page() -> list[Page]:
    """All pages, in the order in which they are looked for."""
    found: list[Page] = []
    for name in MODULES:
        found += importlib.import_module(f"outlay.faces.server.pages.{name}").PAGES
    return found


def _must(caller: Caller, role: str) -> None:
    caller.must(Role.ADMIN if role == "admin" else Role.READ)
    if role == "read unscoped":
        caller.must_see_all()


def _for_people(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _as_problem(error: OutlayError, status: int) -> Response:
    answer = exchange.problem_answer(error)
    return Response(answer.body, status, {name.decode(): value.decode() for name, value in answer.headers})


def _guarded(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _templates(assets: Assets) -> Environment:
    found = Environment(
        loader=PackageLoader("outlay.faces.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["fingerprint"] = lambda text: hashlib.sha256(str(text).encode()).hexdigest()[:8]
    found.globals.update(asset=assets.url, drawing=assets.url(DRAWING), version=outlay.__version__)
    return found
