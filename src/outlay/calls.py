"""Calls under way: `track` and `tracked` measure them, `attribute` says for whom what runs inside is.

Attribution nests through context variables, so it follows threads' copies and asyncio tasks.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, aclosing, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, TypeVar, cast

from outlay.capture.intake import FIELDS, build_event, read_usage, stopwatch_s
from outlay.clock import Instant
from outlay.errors import InvalidInput, OutlayError
from outlay.model import ATTRIBUTIONS, UsageEvent
from outlay.money import add_exactly
from outlay.receipt import Receipt

Function = TypeVar("Function", bound=Callable[..., Any])
Attribution = dict[str, Any]

Listener = Callable[[Receipt], None]
"""Told of each receipt of what is recorded; it must not fail, and threads may call it at the same time."""

_attribution: ContextVar[Attribution | None] = ContextVar("outlay_attribution", default=None)
_surrounding: ContextVar[Callable[[], Attribution] | None] = ContextVar("outlay_surrounding", default=None)
_listener: ContextVar[Listener | None] = ContextVar("outlay_listener", default=None)
LATE: list[Callable[[], None]] = []
"""What keeps calls that wait to be kept."""

_INHERITED = frozenset((*ATTRIBUTIONS, "step", "tags"))


class CallRecorder(Protocol):
    """What a call needs of the ledger."""

    def record_call(self, fields: Mapping[str, Any], response: object | None, *, measured: bool = False) -> Receipt:
        """Keep a finished call; tolerant of numbers that contradict each other. `measured`: its duration was."""
        ...


def inherited(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """`fields` over what the surrounding `attribute`, `track` and `tracked` say; tags are merged."""
    outer = _attribution.get()
    surrounding = _surrounding.get()
    if surrounding is not None:
        outer = surrounding() if outer is None else _merged(surrounding(), outer)
    return fields if outer is None else _merged(outer, fields)


def _merged(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> Attribution:
    merged = {**outer, **{name: value for name, value in inner.items() if value is not None}}
    if isinstance(outer.get("tags"), Mapping) and isinstance(inner.get("tags"), Mapping):
        merged["tags"] = {**outer["tags"], **inner["tags"]}
    return merged


@contextmanager
def attributed(**attribution: Any) -> Iterator[None]:
    """What is recorded inside is for this user, job, feature, …; inner values win over outer ones.

    Raises InvalidInput `unknown_field` for a name that is no attribution, step or tags.
    """
    check_attribution(attribution)
    token = _attribution.set(dict(inherited(attribution)))
    try:
        yield
    finally:
        _attribution.reset(token)


@contextmanager
def listening(listener: Listener, surrounding: Callable[[], Attribution]) -> Iterator[None]:
    """`listener` is told of all that is recorded inside, `surrounding` asked each time for whom it is.

    What `attributed` says inside wins over `surrounding`. An outer listener goes on being told.
    """
    outer = _listener.get()

    def both(receipt: Receipt) -> None:
        listener(receipt)
        if outer is not None:
            outer(receipt)

    heard, asked = _listener.set(both), _surrounding.set(surrounding)
    try:
        yield
    finally:
        _surrounding.reset(asked)
        _listener.reset(heard)


_observers: tuple[Listener, ...] = ()
_observing = threading.Lock()


def observe(observer: Listener) -> Callable[[], None]:
    """`observer` is told of all that this process records, until the function given back is called."""
    global _observers  # noqa: PLW0603 - a tuple put in the place of the last is read without a lock
    with _observing:
        _observers = (*_observers, observer)

    def stop() -> None:
        global _observers  # noqa: PLW0603 - as above
        with _observing:
            _observers = tuple(one for one in _observers if one is not observer)

    return stop


def is_heard() -> bool:
    """Whether somebody listens to what is recorded here."""
    return _listener.get() is not None


def told(receipt: Receipt) -> Receipt:
    """Tell whoever listens of a receipt, which is given back."""
    for observer in _observers:
        observer(receipt)
    listener = _listener.get()
    if listener is not None:
        listener(receipt)
    return receipt


def check_attribution(attribution: Mapping[str, Any]) -> None:
    """Raises InvalidInput `unknown_field` for a name that is no attribution, step or tags; `bad_text` for tags."""
    unknown = sorted(attribution.keys() - _INHERITED)
    if unknown:
        raise InvalidInput(
            f"{', '.join(unknown)} cannot be attributed; use {', '.join(sorted(_INHERITED))}", code="unknown_field"
        )
    if not isinstance(attribution.get("tags"), Mapping | None):
        raise InvalidInput("tags is a mapping of name to value", code="bad_text", field="tags")


def _attribution_in(fields: Mapping[str, Any]) -> Attribution:
    return {name: value for name, value in fields.items() if name in _INHERITED and value is not None}


class Call:
    """One call under way, in a with block (async too). It is recorded when the block ends, failed or not."""

    def __init__(self, recorder: CallRecorder, fields: dict[str, Any]) -> None:
        """`fields` as for `record`; the attribution among them holds for what runs inside.

        Raises InvalidInput for a field or usage that cannot be right: before the call, which costs, not after it.
        """
        self._recorder = recorder
        self._fields = _known(fields)
        self._usage = read_usage(fields.get("usage") or {})
        self._response: object | None = None
        self._started_s = 0.0
        self._scope: Any = None
        self.receipt: Receipt | None = None

    def usage(self, **usage: Any) -> None:
        """Add to what the call used: `call.usage(runs=1)`. The same meter twice adds up.

        Raises InvalidInput for what cannot be right; the call is then kept as failed, not lost.
        """
        for meter, quantity in read_usage(usage).items():
            self._usage[meter] = add_exactly(self._usage.get(meter, 0), quantity)

    def response(self, response: object) -> None:
        """Read usage, served model and conditions from a provider's response when the block ends."""
        self._response = response

    def set(self, **fields: Any) -> None:
        """Set any other field of `record` that is known only now: conditions, parameters, status, …"""
        self._fields.update(_known(fields))

    def start(self) -> Call:
        """Start the stopwatch. For what cannot be a with block; end it by `finish`."""
        self._started_s = stopwatch_s()
        return self

    def __enter__(self) -> Call:
        self._scope = attributed(**_attribution_in(self._fields))
        self._scope.__enter__()
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.finish(error)
        finally:
            self._scope.__exit__(None, None, None)

    async def __aenter__(self) -> Call:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def finish(self, error: BaseException | None = None) -> None:
        """Record the call, as failed if it ended by `error`, which is never hidden by an error of the ledger's."""
        fields = {**self._fields, "usage": self._usage}
        measured = fields.get("duration_s") is None
        if measured:
            fields["duration_s"] = stopwatch_s() - self._started_s
        if error is not None:
            # Only the type's name: an exception's text may quote the prompt.
            fields["status"] = "failed" if isinstance(error, Exception) else "cancelled"
            fields["error"] = fields.get("error") or type(error).__name__
        try:
            self.receipt = self._recorder.record_call(fields, self._response, measured=measured)
        except OutlayError as failure:
            if error is None:
                raise
            error.add_note(f"outlay kept no event of this call ({failure.code}): {failure.message}")


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(fields.keys() - FIELDS)
    if unknown:
        raise InvalidInput(
            f"event fields {', '.join(unknown)} are not known; put your own under tags", code="unknown_field"
        )
    return fields


def tracked_function(recorder: CallRecorder, fields: dict[str, Any], usage: Any) -> Callable[[Function], Function]:
    """The decorator behind `ledger.tracked`, for functions and generators, sync and async.

    With a provider each run is a call of the ledger; without one it only attributes. A generator runs step by step,
    so that what its consumer records between two steps is not taken for its own.
    """
    if "provider" in fields:
        Call(recorder, fields)
    else:
        check_attribution(fields)

    def decorate(function: Function) -> Function:
        # Each wrapper says by functools.wraps that it is the function, which keeps the signature but not the type.
        return cast("Function", functools.wraps(function)(_wrapper(function, recorder, fields, usage)))

    return decorate


def _wrapper(
    function: Callable[..., Any], recorder: CallRecorder, fields: dict[str, Any], usage: Any
) -> Callable[..., Any]:
    attribution = _attribution_in(fields)
    if inspect.isasyncgenfunction(function):

        async def steps_async(*arguments: Any, **named: Any) -> AsyncGenerator[Any, Any]:
            with _measured(recorder, fields) as call:
                async with aclosing(_AsyncSteps(function(*arguments, **named), attribution)) as inner:
                    async for item in inner:
                        yield item
                _used(call, usage, None)

        return steps_async
    if inspect.isgeneratorfunction(function):

        def steps(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
            with _measured(recorder, fields) as call:
                result = yield from _Steps(function(*arguments, **named), attribution)
                _used(call, usage, result)
                return result

        return steps
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):

        async def run_async(*arguments: Any, **named: Any) -> Any:
            with attributed(**attribution), _measured(recorder, fields) as call:
                result = await function(*arguments, **named)
                _used(call, usage, result)
                return result

        return run_async

    def run(*arguments: Any, **named: Any) -> Any:
        with attributed(**attribution), _measured(recorder, fields) as call:
            result = function(*arguments, **named)
            _used(call, usage, result)
            return result

    return run


@contextmanager
def _measured(recorder: CallRecorder, fields: dict[str, Any]) -> Iterator[Call | None]:
    """A call of the ledger from here to the end of the block, or nothing where no provider is named."""
    if "provider" not in fields:
        yield None
        return
    call = Call(recorder, dict(fields)).start()
    with ExitStack() as ending:
        ending.push(lambda _kind, error, _traceback: call.finish(error))
        yield call


class _Steps(Generator[Any, Any, Any]):
    """A generator each of whose steps runs under an attribution."""

    def __init__(self, inner: Generator[Any, Any, Any], attribution: Attribution) -> None:
        self._inner = inner
        self._attribution = attribution

    def send(self, value: Any) -> Any:
        with attributed(**self._attribution):
            return self._inner.send(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        with attributed(**self._attribution):
            return self._inner.throw(kind if value is None else value)


class _AsyncSteps(AsyncGenerator[Any, Any]):
    """The same for an asynchronous generator."""

    def __init__(self, inner: AsyncGenerator[Any, Any], attribution: Attribution) -> None:
        self._inner = inner
        self._attribution = attribution

    async def asend(self, value: Any) -> Any:
        with attributed(**self._attribution):
            return await self._inner.asend(value)

    async def athrow(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        with attributed(**self._attribution):
            return await self._inner.athrow(kind if value is None else value)

    async def aclose(self) -> None:
        with attributed(**self._attribution):
            await self._inner.aclose()


def _used(call: Call | None, usage: Any, result: Any) -> None:
    if usage is None or call is None:
        return
    call.usage(**(usage(result) if callable(usage) else usage))


def keep_late() -> None:
    """Keep what waits to be kept, before a ledger is asked or closed."""
    for keep in LATE:
        keep()


def event_of_made(call: Mapping[str, Any], at: Instant, currency: str, id: str) -> UsageEvent:
    """The event of a call that was made. For whom it was may be what no event can bear, as a stranger's header; what
    it cost is kept all the same. Raises InvalidInput for anything else.
    """
    known = dict(call)
    while True:
        try:
            return build_event(known, at, currency, id=id)
        except InvalidInput as error:
            field = (error.field or "").partition(".")[0]
            if field not in _INHERITED or known.pop(field, None) is None:
                raise
