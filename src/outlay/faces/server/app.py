"""The application: raw ASGI in front (access, limits, hot routes, headers), FastAPI behind it for all else."""

from __future__ import annotations

import importlib
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

import outlay
from outlay.api import Ledger
from outlay.errors import InvalidInput, NotFound, OutlayError
from outlay.faces.gateway.relay import ROUTE, Gateway
from outlay.faces.gateway.settings import GatewaySettings
from outlay.faces.gateway.targets import PREFIX as GATEWAY
from outlay.faces.server import audit, exchange, health, hot, routes
from outlay.faces.server.access import CALLER, Role
from outlay.faces.server.gate import Gate, header_map
from outlay.faces.server.limits import Disconnected, Receive, Send
from outlay.faces.server.metrics import Metrics
from outlay.faces.server.problems import problem, problem_headers, status_of
from outlay.faces.server.reserving import Reserve, Settle
from outlay.faces.server.settings import ServerSettings
from outlay.faces.server.state import STATE, ServerState
from outlay.faces.server.upkeep import Upkeep
from outlay.faces.server.writer import Writer

if TYPE_CHECKING:
    from outlay.faces.server.pages.asking import Answering
    from outlay.faces.server.pages.site import Site

Scope = MutableMapping[str, Any]

PUBLIC: Final = frozenset(("/healthz", "/readyz", "/openapi.json", "/docs"))
"""What is answered to whoever asks: nothing there comes from the ledger."""

SECURITY_HEADERS: Final[list[tuple[bytes, bytes]]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
"""Added to every answer that does not say otherwise itself."""

_STATED: Final = frozenset((b"cache-control", b"content-security-policy"))
_ANSWERED_CODES: Final = {404: "no_such_route", 405: "method_not_allowed"}


def create_app(
    ledger: Ledger,
    settings: ServerSettings | None = None,
    gateway: GatewaySettings | None = None,
    *,
    gateway_only: bool = False,
) -> Service:
    """The server's ASGI application over an open ledger, which its caller closes.

    `gateway_only` leaves all out but the gateway, its health and the receipts of what went through it.
    """
    settings = settings or ServerSettings()
    metrics = Metrics()
    writer = Writer(ledger, metrics, queue_events_max=settings.queue_events_max)
    state = ServerState(ledger, settings, writer, Gate(ledger, settings), metrics)
    writer.together[Reserve] = state.reservations.reserve
    writer.together[Settle] = state.reservations.settle
    return Service(state, Gateway(state, gateway or GatewaySettings(master_key="")), gateway_only=gateway_only)


class Service:
    """The ASGI application. `state` is what its routes share, `resources` the FastAPI application behind."""

    def __init__(self, state: ServerState, gateway: Gateway, *, gateway_only: bool) -> None:
        """Made by `create_app`."""
        self.state = state
        self.gateway = gateway
        self._gateway_only = gateway_only
        self.resources = _resources()
        self._upkeep = Upkeep(state)
        self._site = None if gateway_only else _site(state, self._answer_resource)
        state.metrics.gauges["outlay_queue_events"] = (
            "Events that wait for the writer.",
            lambda: state.writer.waiting,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live through one lifespan."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    # --- one request

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = time.perf_counter()
        path, method = scope["path"], scope["method"]
        headers = header_map(scope)
        scope[STATE] = self.state
        route, status = "(failed)", 500
        try:
            if path.startswith(GATEWAY):
                route = ROUTE
                status = await self.gateway.answer(scope, headers, receive, send)
            elif self._gateway_only and path not in health.ROUTES and not path.startswith("/v1/receipts/"):
                raise NotFound("this is a gateway: it answers /gateway/UPSTREAM/…", code="no_such_route")
            elif path in health.ROUTES or path in hot.HOT:
                route = path
                answer = await self._answer_hot(path, method, scope, headers, receive)
                status = answer.status
                await _send_whole(send, answer)
            elif self._site is not None and self._site.serves(path):
                status, route = await self._site(scope, receive, send)
            else:
                if path not in PUBLIC:
                    scope[CALLER] = caller = self.state.gate.admit(headers)
                    await self.state.gate.learn_tier(caller)
                status, route = await self._answer_resource(scope, receive, send)
        except Disconnected:
            status = 499
        except OutlayError as error:
            answer = exchange.problem_answer(error)
            status, route = answer.status, "(refused)"
            await _send_whole(send, answer)
        finally:
            self.state.metrics.answered(route, method, status, time.perf_counter() - began_s)

    async def _answer_hot(
        self, path: str, method: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> exchange.Answer:
        try:
            public = health.ROUTES.get(path)
            if public is not None:
                _check_method(method, "GET")
                if path not in PUBLIC:
                    caller = self.state.gate.admit(headers)
                    caller.must(Role.READ)
                    caller.must_see_all()
                return await public(self.state)
            found = hot.HOT[path]
            caller = self.state.gate.admit(headers)
            _check_method(method, "POST")
            caller.must(found.role)
            if caller.tier is not None:
                await self.state.gate.learn_tier(caller)
            return await found.handler(
                self.state, exchange.Incoming(scope=scope, headers=headers, receive=receive, caller=caller)
            )
        except Disconnected:
            raise
        except OutlayError as error:
            return exchange.problem_answer(error)

    async def _answer_resource(self, scope: Scope, receive: Receive, send: Send) -> tuple[int, str]:
        """The status and the route's template."""
        outgoing = audit.Outgoing(send, scope, self.state, SECURITY_HEADERS)
        try:
            await self.resources(scope, receive, outgoing)
        finally:
            await outgoing.finish()
        found = scope.get("route")
        return outgoing.status, getattr(found, "path", "(none)")

    # --- the life of the server

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._upkeep.start()
            await self.gateway.start()
        except OutlayError as error:
            await send({"type": "lifespan.startup.failed", "message": f"{error.message} [{error.code}]"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.gateway.stop()
        await self._upkeep.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _site(state: ServerState, answering: Answering) -> Site | None:
    """The pages; none where the library that renders them is not installed: all else is served then."""
    try:
        from outlay.faces.server.pages.site import Site
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        return None
    return Site(state, answering)


def _resources() -> FastAPI:
    """The FastAPI application with the routers of `routes`."""
    app = FastAPI(
        title="Outlay",
        version=outlay.__version__,
        description="The ledger of what an AI application spends.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    for name in routes.MODULES:
        app.include_router(importlib.import_module(f"{routes.__name__}.{name}").router)
    app.add_exception_handler(OutlayError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)
    return app


def _check_method(method: str, only: str) -> None:
    if method != only:
        raise InvalidInput(f"this route takes {only} only", code="method_not_allowed")


async def _send_whole(send: Send, answer: exchange.Answer) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    headers = [*answer.headers, length, *SECURITY_HEADERS]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _problem(error: OutlayError, **more: Any) -> Response:
    body = exchange.json_answer({**problem(error), **more}).body
    headers = {name.decode(): value.decode() for name, value in problem_headers(error)}
    return Response(body, status_of(error), headers)


async def _refused(request: Request, error: Exception) -> Response:
    if not isinstance(error, OutlayError):
        raise error
    return _problem(error)


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = [{"where": [str(part) for part in one["loc"]], "message": one["msg"]} for one in error.errors()]
    where = ".".join(found[0]["where"][1:]) if found else ""
    message = f"{where}: {found[0]['message']}" if found else "the request is not valid"
    return _problem(InvalidInput(message, field=where or None), errors=found)


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _ANSWERED_CODES.get(error.status_code, "bad_request")
    kind: type[OutlayError] = NotFound if error.status_code == 404 else InvalidInput
    found = {**problem(kind(str(error.detail), code=code)), "status": error.status_code}
    headers = {"content-type": "application/problem+json", **(error.headers or {})}
    return Response(exchange.json_answer(found).body, error.status_code, headers)


async def _failed(request: Request, error: Exception) -> Response:
    """What nobody foresaw: logged by its kind and place, told without details."""
    audit.say_failed(request.scope, error)
    answer = _problem(OutlayError("the server failed; its log says where", code="server_failed"))
    # The error goes on to uvicorn, which hangs up after it: the client must not send more on this connection.
    answer.headers["connection"] = "close"
    return answer
