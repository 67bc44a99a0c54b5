"""Calls under way: `track` and `tracked` measure them, `attribute` says for whom what runs inside is.

Attribution nests through context variables, so it follows threads' copies and asyncio tasks.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, TypeVar

from outlay.capture.intake import stopwatch_s
from outlay.errors import InvalidInput
from outlay.model import ATTRIBUTIONS
from outlay.receipt import Receipt

Function = TypeVar("Function", bound=Callable[..., Any])
Attribution = dict[str, Any]

_attribution: ContextVar[Attribution | None] = ContextVar("outlay_attribution", default=None)
_INHERITED = frozenset((*ATTRIBUTIONS, "step", "tags"))


class CallRecorder(Protocol):
    """What a call needs of the ledger."""

    def record_call(self, fields: dict[str, Any], response: object | None) -> Receipt:
        """Keep a finished call; tolerant of numbers that contradict each other."""
        ...


def inherited(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """`fields` over what the surrounding `attribute`, `track` and `tracked` say; tags are merged."""
    outer = _attribution.get()
    if outer is None:
        return fields
    merged = {**outer, **{name: value for name, value in fields.items() if value is not None}}
    if outer.get("tags") and fields.get("tags"):
        merged["tags"] = {**outer["tags"], **fields["tags"]}
    return merged


@contextmanager
def attributed(**attribution: Any) -> Iterator[None]:
    """What is recorded inside is for this user, job, feature, …; inner values win over outer ones.

    Raises InvalidInput `unknown_field` for a name that is no attribution, step or tags.
    """
    unknown = sorted(attribution.keys() - _INHERITED)
    if unknown:
        raise InvalidInput(
            f"{', '.join(unknown)} cannot be attributed; use {', '.join(sorted(_INHERITED))}", code="unknown_field"
        )
    token = _attribution.set(dict(inherited(attribution)))
    try:
        yield
    finally:
        _attribution.reset(token)


class Call:
    """One call under way, in a with block (async too). It is recorded when the block ends, failed or not."""

    def __init__(self, recorder: CallRecorder, fields: dict[str, Any]) -> None:
        """`fields` as for `record`; the attribution among them holds for what runs inside."""
        self._recorder = recorder
        self._fields = fields
        self._usage: dict[str, Any] = dict(fields.get("usage") or {})
        self._response: object | None = None
        self._started_s = 0.0
        self._scope: Any = None
        self.receipt: Receipt | None = None

    def usage(self, **usage: Any) -> None:
        """Add to what the call used: `call.usage(runs=1)`. The same meter twice adds up."""
        for meter, quantity in usage.items():
            before = self._usage.get(meter)
            self._usage[meter] = quantity if before is None else before + quantity

    def response(self, response: object) -> None:
        """Read usage, served model and conditions from a provider's response when the block ends."""
        self._response = response

    def set(self, **fields: Any) -> None:
        """Set any other field of `record` that is known only now: conditions, parameters, status, …"""
        self._fields.update(fields)

    def __enter__(self) -> Call:
        scope = {name: value for name, value in self._fields.items() if name in _INHERITED and value is not None}
        self._scope = attributed(**scope)
        self._scope.__enter__()
        self._started_s = stopwatch_s()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        duration_s = stopwatch_s() - self._started_s
        try:
            self._finish(kind, duration_s)
        finally:
            self._scope.__exit__(None, None, None)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _finish(self, kind: type[BaseException] | None, duration_s: float) -> None:
        fields = self._fields
        fields["usage"] = self._usage
        if fields.get("duration_s") is None:
            fields["duration_s"] = duration_s
        if kind is not None:
            # Only the type's name: an exception's text may quote the prompt.
            fields["status"] = "failed" if issubclass(kind, Exception) else "cancelled"
            fields["error"] = fields.get("error") or kind.__name__
        self.receipt = self._recorder.record_call(fields, self._response)


def tracked_function(recorder: CallRecorder, fields: dict[str, Any], usage: Any) -> Callable[[Function], Function]:
    """The decorator behind `ledger.tracked`."""

    def decorate(function: Function) -> Function:
        if "provider" not in fields:
            return _scoped(function, fields)
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def tracked_async(*arguments: Any, **named: Any) -> Any:
                async with Call(recorder, dict(fields)) as call:
                    result = await function(*arguments, **named)
                    _used(call, usage, result)
                    return result

            return tracked_async  # type: ignore[return-value]  # functools.wraps keeps the signature, not the type

        @functools.wraps(function)
        def tracked(*arguments: Any, **named: Any) -> Any:
            with Call(recorder, dict(fields)) as call:
                result = function(*arguments, **named)
                _used(call, usage, result)
                return result

        return tracked  # type: ignore[return-value]  # functools.wraps keeps the signature, not the type

    return decorate


def _used(call: Call, usage: Any, result: Any) -> None:
    if usage is None:
        return
    found: Mapping[str, Any] = usage(result) if callable(usage) else usage
    call.usage(**found)


def _scoped(function: Function, fields: dict[str, Any]) -> Function:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def scoped_async(*arguments: Any, **named: Any) -> Any:
            with attributed(**fields):
                return await function(*arguments, **named)

        return scoped_async  # type: ignore[return-value]  # functools.wraps keeps the signature, not the type

    @functools.wraps(function)
    def scoped(*arguments: Any, **named: Any) -> Any:
        with attributed(**fields):
            return function(*arguments, **named)

    return scoped  # type: ignore[return-value]  # functools.wraps keeps the signature, not the type
