"""Live sessions over a websocket: what comes in passes as it is, and each answer that tells its usage is a call.

A session has no end that prices it: the provider tells at the end of every answer what that answer used. So each is
kept when it is told. An answer that had begun when the session closed is kept as cancelled, its usage not known.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from outlay.calls import inherited
from outlay.capture.intake import make_id
from outlay.capture.seen import SESSION_CLOSED, Seen, bare
from outlay.capture.streams import decode
from outlay.errors import OutlayError
from outlay.instrument.clients import safely, say_once
from outlay.instrument.reserved import Stopped, any_hard_in
from outlay.instrument.targets import Entry, Sdk, at_path

if TYPE_CHECKING:
    from outlay.instrument.watching import Watch

Function = Callable[..., Any]
OPEN_MAX: Final = 64
_TELLING: Final = re.compile(rb'(?i)usage|"(?:session|response)\.(?:created|updated|done)"')
_NO_FIELDS: Final[Mapping[str, Any]] = {}
_made: Final[dict[type, type]] = {}


class Live:
    """One session: what it told of itself, which answers have begun, and what they used."""

    def __init__(self, watch: Watch, sdk: Sdk, entry: Entry, provider: str, model: str, url: str) -> None:
        """`model` is what the program asked for; "" where only the session tells it."""
        self.watch = watch
        self._sdk = sdk
        self._entry = entry
        self._provider = provider
        self._url = url
        self._request = {"model": model} if model else {}
        self._session: dict[str, Any] | None = None
        self._begun: dict[str, dict[str, Any]] = {}

    def admit(self) -> None:
        """Ask the hard budgets before the session is opened. Raises BudgetExceeded, or LedgerError where one fails
        closed.

        What a session will use is bounded by nothing, so the smallest call stands for it: a budget that is spent
        refuses, another one lets it in, and what its answers cost beyond the limit is an overrun with a name.
        """
        try:
            if any_hard_in(self.watch):
                safely(self.watch.failures, "asking budgets", self._ask)
        except Stopped as stopped:
            raise stopped.refusal from None

    def _ask(self) -> None:
        ledger = self.watch.ledger
        fields: dict[str, Any] = {"provider": self._provider, "service": self._request.get("model", "realtime")}
        try:
            ledger.reserve(usage={"output_tokens": 1}, operation="realtime", **fields).take().release()
        except OutlayError as refusal:
            raise Stopped(refusal) from None

    def join(self, session: Any) -> None:
        """Look at whatever this session receives from here on."""
        entry = self._entry
        socket = at_path(session, entry.socket)
        original = getattr(socket, entry.receives, None)
        if original is None:
            say_once(
                f"{self._sdk.name}:{entry.owner}.{entry.socket}.{entry.receives}",
                "outlay: this version of %s (%s was tested) receives otherwise; its live sessions are not watched",
                self._sdk.name,
                self._sdk.tested,
            )
            return
        received = self._receiving_async if inspect.iscoroutinefunction(original) else self._receiving
        setattr(socket, entry.receives, functools.update_wrapper(received(original), original))

    def _receiving(self, original: Function) -> Function:
        def receive(*arguments: Any, **named: Any) -> Any:
            message = original(*arguments, **named)
            safely(self.watch.failures, "reading a session", self.take, message)
            return message

        return receive

    def _receiving_async(self, original: Function) -> Function:
        async def receive(*arguments: Any, **named: Any) -> Any:
            message = await original(*arguments, **named)
            safely(self.watch.failures, "reading a session", self.take, message)
            return message

        return receive

    def take(self, message: bytes | str) -> None:
        """One message of the server's: kept is what says who answers, what has begun and what was used."""
        data = message.encode() if isinstance(message, str) else message
        if not _TELLING.search(data):
            return
        frame = decode(data)
        if not isinstance(frame, dict):
            return
        kind, answer = frame.get("type"), _mapping(frame.get("response"))
        id = str(answer.get("id") or "")
        if kind in ("session.created", "session.updated"):
            self._session = bare(frame)
        elif kind == "response.created" and id:
            if len(self._begun) < OPEN_MAX:
                self._begun[id] = bare(frame)
        elif _tells_usage(frame) or _tells_usage(answer):
            self._begun.pop(id, None)
            self._keep(bare(frame), ended=True)
        elif kind == "response.done":
            self._begun.pop(id, None)  # It came to nothing, and nothing was used.

    def over(self) -> None:
        """The session is closed: what had begun will tell no usage any more."""
        while self._begun:
            _, frame = self._begun.popitem()
            safely(self.watch.failures, "recording a session", functools.partial(self._keep, frame, ended=False))

    def _keep(self, frame: dict[str, Any], *, ended: bool) -> None:
        ledger = self.watch.ledger
        now = ledger.clock.now()
        frames = [frame] if self._session is None else [self._session, frame]
        seen = Seen(
            id=make_id(now),
            at=now,
            url=self._url,
            provider=self._provider,
            any_provider=False,
            request=dict(self._request),
            frames=frames,
            headers={},
            status_code=200,
            streamed=True,
            ended=ended,
            opaque=False,
            error="" if ended else SESSION_CLOSED,
            is_get=False,
            fields=dict(inherited(_NO_FIELDS)),
        )
        ledger.keep_seen(seen)


class _Opening:
    """Mixed into an SDK's manager of one session: what its entering gives is watched."""

    outlay_live: Live

    def __enter__(self) -> Any:
        self.outlay_live.admit()
        opening: Any = super()
        session = opening.__enter__()
        safely(self.outlay_live.watch.failures, "watching a session", self.outlay_live.join, session)
        return session

    def __exit__(self, *raised: Any) -> Any:
        opening: Any = super()
        try:
            return opening.__exit__(*raised)
        finally:
            self.outlay_live.over()

    async def __aenter__(self) -> Any:
        import asyncio

        await asyncio.to_thread(self.outlay_live.admit)
        opening: Any = super()
        session = await opening.__aenter__()
        safely(self.outlay_live.watch.failures, "watching a session", self.outlay_live.join, session)
        return session

    async def __aexit__(self, *raised: Any) -> Any:
        opening: Any = super()
        try:
            return await opening.__aexit__(*raised)
        finally:
            self.outlay_live.over()


def _watched(kind: type) -> type:
    """The manager's class with what Outlay does; an instance of it is still one of the SDK's own class."""
    if kind in _made:
        return _made[kind]
    body: dict[str, Any] = {"__doc__": kind.__doc__}
    if "enter" in dir(kind):
        body["enter"] = _Opening.__aenter__ if hasattr(kind, "__aenter__") else _Opening.__enter__
    _made[kind] = type(kind.__name__, (_Opening, kind), body)
    return _made[kind]


def connecting(original: Function, begin: Callable[[object, str], Live | None]) -> Function:
    """Around the method that opens a session. `begin` says by owner and model whether and how it is watched."""

    def connect(self: Any, *arguments: Any, **named: Any) -> Any:
        manager = original(self, *arguments, **named)
        model = named.get("model")
        live = begin(self, model if isinstance(model, str) else "")
        if live is not None:
            safely(live.watch.failures, "watching a session", _mix, manager, live)
        return manager

    return connect


def _mix(manager: Any, live: Live) -> None:
    manager.__class__ = _watched(type(manager))
    manager.outlay_live = live


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tells_usage(frame: Mapping[str, Any]) -> bool:
    return any(name.lower().startswith("usage") and isinstance(value, Mapping) for name, value in frame.items())
