"""Requests to an Outlay server: its key, retries, and its problems made the errors that a file would raise."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec

from outlay import errors
from outlay.errors import BudgetExceeded, InvalidInput, LedgerClosed, LedgerError, MissingExtra, OutlayError
from outlay.wire import EXACT, received_custom

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("outlay.remote")

TRIES_MAX: Final = 3
PAUSE_S: Final = 0.05
AWAY_S: Final = 0.5
CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
RETRY_AFTER_S_MAX: Final = 5.0
BUSY: Final = (429, 502, 503, 504)
"""Statuses that say: nothing was done, try again."""

Answer = TypeVar("Answer")
Parameters = Mapping[str, str | list[str]]
_FACTS: Final = ("spent", "reserved", "limit", "asked")


class ServerUnreachable(LedgerError):
    """The Outlay server cannot be reached; what was to be recorded is kept and sent later."""

    code = "server_unreachable"


def not_remote(what: str) -> LedgerError:
    """The error for what only the server's own host can do."""
    return LedgerError(f"{what} is out of reach from here; do this on the server's host", code="not_remote")


class Transport:
    """One server and one key. Safe to share between threads and across forks."""

    def __init__(self, address: str, key: str | None) -> None:
        """`address` is the server's `http(s)://host[:port][/path]`; `key` goes into each request's Authorization."""
        self.address = address.rstrip("/")
        self._headers = {"accept": EXACT, "user-agent": "outlay-python"}
        if key:
            self._headers["authorization"] = f"Bearer {key}"
        self._httpx = _httpx()
        self._clients: dict[int, httpx.Client] = {}
        self._away_until_s = 0.0
        self.closed = False

    @property
    def is_away(self) -> bool:
        """Whether the server was out of reach a moment ago, so that asking again so soon is in vain."""
        return time.monotonic() < self._away_until_s

    def ask(self, path: str, kind: type[Answer], parameters: Parameters | None = None) -> Answer:
        """GET, its answer read as `kind`."""
        return self.send("GET", path, kind, parameters=parameters)

    def send(
        self,
        method: str,
        path: str,
        kind: type[Answer],
        body: object = None,
        *,
        parameters: Parameters | None = None,
        exact: bool = False,
        repeatable: bool = True,
        answer_s: float = ANSWER_S,
        tries: int = TRIES_MAX,
    ) -> Answer:
        """One request, tried again while that can do no harm: always if it is `repeatable`, else only before it was
        received. Raises the server's error, or ServerUnreachable.
        """
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"content-type": EXACT if exact else "application/json"}
        timeout = self._httpx.Timeout(answer_s, connect=CONNECT_S)
        answer = self._tried(method, path, content, headers, parameters, timeout, repeatable, tries)
        if answer.status_code >= 400:
            raise error_of(answer.status_code, answer.content)
        try:
            found: Answer = decoder(cast("Any", kind)).decode(answer.content or b"null")
        except msgspec.DecodeError as error:
            raise LedgerError(
                f"{self.address}{path} answered what this version cannot read ({error}); use the server's version",
                code="bad_answer",
            ) from error
        return found

    def text(self, path: str, parameters: Parameters | None = None) -> bytes:
        """GET, its answer as it came."""
        answer = self._tried("GET", path, None, {}, parameters, self._httpx.Timeout(ANSWER_S), True, TRIES_MAX)
        if answer.status_code >= 400:
            raise error_of(answer.status_code, answer.content)
        return answer.content

    def close(self) -> None:
        """Close the connections; further requests raise LedgerClosed."""
        self.closed = True
        for process, client in list(self._clients.items()):
            if process == os.getpid():
                client.close()
        self._clients.clear()

    def _tried(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        parameters: Parameters | None,
        timeout: httpx.Timeout,
        repeatable: bool,
        tries: int,
    ) -> httpx.Response:
        for left in range(tries - 1, -1, -1):
            try:
                answer = self._client().request(
                    method, self.address + path, content=content, headers=headers, params=parameters, timeout=timeout
                )
            except self._httpx.TransportError as error:
                before = isinstance(error, self._httpx.ConnectError | self._httpx.ConnectTimeout)
                if not left or not (repeatable or before):
                    self._away_until_s = time.monotonic() + AWAY_S
                    raise ServerUnreachable(
                        f"{self.address} cannot be reached ({type(error).__name__}); is `outlay serve` running there?"
                    ) from error
                time.sleep(PAUSE_S * random.uniform(0.5, 1.5))
                continue
            if answer.status_code in BUSY and left and not _refuses(answer):
                time.sleep(_pause_s(answer.headers.get("retry-after")))
                continue
            if answer.status_code in (502, 503, 504) and not _is_problem(answer):
                self._away_until_s = time.monotonic() + AWAY_S
                raise ServerUnreachable(f"{self.address} answers {answer.status_code}: its Outlay cannot be reached")
            self._away_until_s = 0.0
            return answer
        raise ServerUnreachable(f"{self.address} was not asked")

    def _client(self) -> httpx.Client:
        """This process's client: connections must not be shared with a process that was forked off."""
        if self.closed:
            raise LedgerClosed
        process = os.getpid()
        client = self._clients.get(process)
        if client is None:
            # Reading the certificates takes a quarter of a second, which only https needs.
            verify = self.address.startswith("https://")
            client = self._httpx.Client(headers=self._headers, follow_redirects=False, verify=verify)
            self._clients[process] = client
        return client


def error_of(status: int, content: bytes) -> OutlayError:
    """The error that a problem document tells, of the class and with the facts that it had where it was raised."""
    try:
        told = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    message = str(told.get("detail") or told.get("title") or f"the server answered {status}")
    code = str(told.get("code") or "") or None
    kind = _class_of(str(told.get("error") or ""), status)
    if issubclass(kind, BudgetExceeded):
        return _refusal(told)
    if issubclass(kind, InvalidInput):
        return kind(message, code=code, field=told.get("field"))
    if issubclass(kind, errors.EventConflict):
        return kind(message, code=code, id=str(told.get("id") or ""), field=str(told.get("field") or ""))
    return kind(message, code=code)


def _class_of(name: str, status: int) -> type[OutlayError]:
    found = getattr(errors, name, None)
    if isinstance(found, type) and issubclass(found, OutlayError):
        return found
    if status == 404:
        return errors.NotFound
    return InvalidInput if status in (400, 413, 415, 422) else errors.Refused if status < 500 else LedgerError


def _refusal(told: Mapping[str, Any]) -> BudgetExceeded:
    facts: dict[str, Any] = {name: str(told.get(name) or "") for name in ("budget", "subject", "window", "unit")}
    facts |= {name: Decimal(str(told.get(name) or 0)) for name in _FACTS}
    opens = told.get("opens_at")
    facts["opens_at"] = None if opens is None else datetime.fromisoformat(str(opens))
    facts["others"] = tuple(_refusal(other) for other in told.get("others") or ())
    return BudgetExceeded(str(told.get("detail") or "") or None, code=told.get("code"), **facts)


def _refuses(answer: httpx.Response) -> bool:
    """Whether a budget said so: asking again at once would not help, and waiting is the caller's to decide."""
    return _is_problem(answer) and b'"code":"budget_' in answer.content


def _is_problem(answer: httpx.Response) -> bool:
    return str(answer.headers.get("content-type", "")).startswith("application/problem+json")


def _pause_s(told: str | None) -> float:
    try:
        return min(max(float(told or PAUSE_S), PAUSE_S), RETRY_AFTER_S_MAX)
    except ValueError:
        return PAUSE_S


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The reader of a kind of answer."""
    return msgspec.json.Decoder(kind, dec_hook=received_custom)


def _httpx() -> ModuleType:
    try:
        import httpx
    except ImportError as error:
        raise MissingExtra("a ledger behind a server needs httpx: pip install 'outlay[remote]'") from error
    return httpx
