"""The edge between Outlay and a user's call: what fails here is counted and said once, and never fails the call."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from outlay.errors import OutlayError

logger = logging.getLogger("outlay.instrument")
Answer = TypeVar("Answer")
_said: set[str] = set()
_saying = threading.Lock()


class Failures:
    """Where failures of one watch are counted: the ledger's own counter, once there is a ledger."""

    def __init__(self) -> None:
        self.counted: Any = None

    def note(self, what: str, error: BaseException) -> None:
        """Count a failure, and say it once a process. Only the type's name: a text may quote the prompt."""
        code = error.code if isinstance(error, OutlayError) else type(error).__name__
        if self.counted is not None:
            self.counted[f"{what}: {code}"] += 1
        say_once(f"{what}:{code}", "outlay: %s failed (%s); the call went on as if unwatched", what, code)


def say_once(key: str, text: str, *arguments: object) -> None:
    """Log a warning the first time that `key` is given."""
    with _saying:
        if key in _said:
            return
        _said.add(key)
    logger.warning(text, *arguments)


def safely(failures: Failures, what: str, function: Callable[..., Answer], *arguments: Any) -> Answer | None:
    """What `function` gives, or None where it failed: the one place that takes any exception of Outlay's own."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever fails in Outlay, the program's call goes on
        failures.note(what, error)
        return None
