"""Structured logs: one JSON object a line. No body, no query, no header, no key is ever in one."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import msgspec

from outlay.clock import isoformat

_FIELDS: Final = "outlay_fields"
logger: Final = logging.getLogger("outlay.server")


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Of an exception its kind and where it was raised, not its text, which may quote a request."""
        line: dict[str, Any] = {
            "time": isoformat(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, _FIELDS, {}))
        if record.exc_info and record.exc_info[1] is not None:
            line["error"], line["raised_at"] = _kind_and_place(record.exc_info[1])
        return msgspec.json.encode(line).decode()


def _kind_and_place(error: BaseException) -> tuple[str, str]:
    place, last = error.__traceback__, None
    while place is not None:
        last, place = place, place.tb_next
    if last is None:
        return type(error).__name__, ""
    return type(error).__name__, f"{last.tb_frame.f_globals.get('__name__', '?')}:{last.tb_lineno}"


def say(level: int, message: str, **fields: object) -> None:
    """Log a message with fields of its own."""
    logger.log(level, message, extra={_FIELDS: fields})


def set_up(level: str = "info") -> None:
    """Send this process's logs to stderr as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        found = logging.getLogger(name)
        found.handlers[:] = []
        found.propagate = name != "uvicorn.access"
