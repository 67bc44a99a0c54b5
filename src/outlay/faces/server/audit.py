"""The log of changes: every request that changed something is in it before its answer goes out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec

from outlay.faces.server.access import CALLER, UNLOGGED, Caller
from outlay.faces.server.limits import Message, Send
from outlay.faces.server.state import ServerState
from outlay.ledger.serving_store import LoggedChange

_SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
_NAMELESS: Final = ("/v1/subjects", "/v1/forget")
"""Routes whose path names people: the log keeps that something was changed, not whose name it was."""


class Outgoing:
    """An answer on its way: headers are added, and a change is logged before its answer is sent."""

    def __init__(
        self, send: Send, scope: MutableMapping[str, Any], state: ServerState, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """`headers` are added where the answer does not say otherwise."""
        self.status = 500
        self._send = send
        self._scope = scope
        self._state = state
        self._headers = headers
        self._held: list[Message] | None = None if scope["method"] in _SAFE_METHODS else []

    async def __call__(self, message: Message) -> None:
        """Take one message of the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(one for one in self._headers if one[0] not in told)]
        if self._held is None:
            await self._send(message)
        else:
            self._held.append(message)

    async def finish(self) -> None:
        """Log the change, then let its answer go."""
        if self._held is None:
            return
        if self.status < 400 and not self._scope.get(UNLOGGED):
            await asyncio.to_thread(self._state.ledger.store.log_changes, [self._change()])
        for message in self._held:
            await self._send(message)

    def _change(self) -> LoggedChange:
        caller: Caller = self._scope[CALLER]
        template = str(getattr(self._scope.get("route"), "path", self._scope["path"]))
        named = self._scope.get("path_params") or {}
        if template.startswith(_NAMELESS):
            named = {name: value for name, value in named.items() if name != "name"}
        return LoggedChange(
            at=self._state.clock.now(),
            who=caller.key,
            action=self._scope["method"],
            subject=template,
            detail=msgspec.json.encode({name: str(value) for name, value in named.items()}).decode(),
        )


def say_failed(scope: MutableMapping[str, Any], error: Exception) -> None:
    """Log an error that nobody foresaw."""
    route = str(getattr(scope.get("route"), "path", "(none)"))
    logging.getLogger("outlay.server").error(
        "a request failed", exc_info=error, extra={"outlay_fields": {"route": route, "method": scope["method"]}}
    )
