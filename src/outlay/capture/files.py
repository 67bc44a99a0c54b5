"""Files of usage events made the fields that `record` takes: JSONL or CSV, plain or gzip.

Also reads cost entries as older trackers wrote them (timestamp, service, operation, cost, metadata,
video_id): their cost is kept as told (basis reported), their metadata becomes dotted tags. Texts such as
prompts are left out and counted. Reading never stops at a bad line and never loses one.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import partial
from hashlib import blake2b
from itertools import chain
from typing import Any, Final

import msgspec

from outlay.capture.intake import FIELDS
from outlay.capture.lines import BadLine, Contents, FileKind, Row, delimiter_of, rows_of
from outlay.capture.occurrences import Occurrences
from outlay.capture.statements import provider_of
from outlay.clock import isoformat, to_instant
from outlay.errors import InvalidInput
from outlay.meters import METERS, unknown_meter
from outlay.money import EXACT, parse_decimal

TEXT_KEYS: Final = frozenset(
    (
        "answer",
        "body",
        "completion",
        "content",
        "description",
        "dialogue",
        "input",
        "instruction",
        "instructions",
        "lyrics",
        "message",
        "messages",
        "narration",
        "negative_prompt",
        "output",
        "prompt",
        "prompts",
        "query",
        "question",
        "reply",
        "response",
        "result",
        "script",
        "story",
        "summary",
        "system",
        "system_prompt",
        "text",
        "texts",
        "title",
        "topic",
        "transcript",
        "transcription",
    )
)
"""Names under which prompts, outputs and other people's words are kept; such tags are left out by default."""

TEXT_CHARACTERS_MAX: Final = 200
"""A tag's value longer than this is taken for a text, whatever its name."""

IGNORED: Final = frozenset(("receipt", "currency"))
"""What `outlay export` writes beside an event's own fields; it is worked out anew on import."""

_ALIASES: Final = {
    "timestamp": "time",
    "cost": "reported_cost",
    "total_cost": "reported_cost",
    "video_id": "job",
    "job_id": "job",
    "user_id": "user",
    "userId": "user",
    "customer_id": "customer",
    "request_id": "request",
    "requestId": "request",
    "trace_id": "trace",
    "success": "status",
    "metadata": "tags",
}
_PREFIXES: Final = {
    "usage": "usage",
    "tag": "tags",
    "tags": "tags",
    "metadata": "tags",
    "condition": "conditions",
    "conditions": "conditions",
    "parameter": "parameters",
    "parameters": "parameters",
    "receipt": "receipt",
}
_GUARDED: Final = ("=", "+", "@", "\t", "\r")
_DECODER: Final = msgspec.json.Decoder(float_hook=Decimal)
_DECIMALS_MAX: Final = Decimal("1e-12")


class FileEvent(msgspec.Struct, frozen=True):
    """One event of a file: the fields that `record` takes, with its time in UTC and an id that never changes."""

    fields: dict[str, Any]
    source: str
    line: int
    raw: str


class EventReader:
    """Reads files of events. `texts_dropped` counts by name what was left out of the tags.

    `zone` reads naive times; `keep` names tags that are kept though they look like texts.
    """

    def __init__(self, *, zone: str | None = None, keep: frozenset[str] = frozenset()) -> None:
        self.zone = zone
        self.keep = keep
        self.texts_dropped: Counter[str] = Counter()

    def read(self, contents: Contents) -> Iterator[FileEvent | BadLine]:
        """The events of an open file, in order (see `lines.contents_of`).

        Raises InvalidInput for a file that is no file of events: `not_events`, `unknown_column`, `unknown_meter`.
        """
        yield from contents.bad
        with Occurrences() as seen:
            if contents.kind is FileKind.EVENTS_JSONL:
                yield from self._jsonl(contents, seen)
            elif contents.kind is FileKind.EVENTS_CSV:
                yield from self._csv(contents, seen)
            elif contents.kind is FileKind.STATEMENT_CSV:
                raise InvalidInput(f"{contents.source} is a statement; import it as one", code="not_events")

    def _jsonl(self, contents: Contents, seen: Occurrences) -> Iterator[FileEvent | BadLine]:
        for line in chain([contents.first], contents.rest):
            if isinstance(line, BadLine):
                yield line
            else:
                yield self._event(line.number, line.raw, contents.source, seen, partial(_json_object, line.raw))

    def _csv(self, contents: Contents, seen: Occurrences) -> Iterator[FileEvent | BadLine]:
        delimiter = delimiter_of(contents.first.raw)
        names = next(csv.reader([contents.first.raw], delimiter=delimiter))
        columns = [_column(name.strip(), contents.source) for name in names]
        for row in rows_of(contents.rest, delimiter, contents.source, len(columns)):
            if isinstance(row, BadLine):
                yield row
            else:
                yield self._event(row.number, row.raw, contents.source, seen, partial(_csv_object, row, columns))

    def _event(
        self, number: int, raw: str, source: str, seen: Occurrences, decode: Callable[[], dict[str, Any]]
    ) -> FileEvent | BadLine:
        try:
            given = decode()
            fields = _fields_of(given)
            self._drop_texts(fields)
            fields["time"] = self._time(fields)
            if fields.get("id") is None:
                fields["id"] = _content_id(given, seen)
        except InvalidInput as error:
            return BadLine(source, number, error.code, error.message, raw)
        return FileEvent(fields, source, number, raw)

    def _time(self, fields: Mapping[str, Any]) -> str:
        time = fields.get("time")
        if time is None:
            raise InvalidInput(
                "an imported event needs a time, or importing twice would book twice", code="missing_time"
            )
        if not isinstance(time, str):
            raise InvalidInput(f"time {str(time)[:40]} is not ISO 8601 text", code="bad_time", field="time")
        try:
            return isoformat(to_instant(time, self.zone))
        except InvalidInput as error:
            if error.code == "naive_time":
                message = f"time {time[:40]} has no zone; say which with --zone, such as --zone Europe/Berlin"
                raise InvalidInput(message, code="naive_time", field="time") from error
            raise

    def _drop_texts(self, fields: dict[str, Any]) -> None:
        tags = fields.get("tags")
        if tags is None:
            return
        if not isinstance(tags, Mapping):
            raise InvalidInput("tags are an object of name to value", code="bad_text", field="tags")
        flat = dict(_flat(tags, ""))
        kept = {name: value for name, value in flat.items() if name in self.keep or not is_text(name, value)}
        self.texts_dropped.update(name for name in flat if name not in kept)
        fields["tags"] = kept


def is_text(name: str, value: object) -> bool:
    """Whether a tag holds somebody's words, by the last part of its name or its length. Numbers never do."""
    if not isinstance(value, str):
        return False
    last = name.rsplit(".", 1)[-1].lower().replace("-", "_")
    wordy = last in TEXT_KEYS or last.endswith(("_prompt", "_text", "_transcript", "_content"))
    return wordy or len(value) > TEXT_CHARACTERS_MAX


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", msgspec.json.encode(value).decode()
        elif isinstance(value, Decimal):
            yield f"{prefix}{name}", str(value)
        elif value is not None:
            yield f"{prefix}{name}", value


def _json_object(raw: str) -> dict[str, Any]:
    try:
        value = _DECODER.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the line is not JSON: {error}", code="bad_json") from error
    if not isinstance(value, dict):
        raise InvalidInput("the line is JSON, but not an object", code="bad_json")
    return value


def _csv_object(row: Row, columns: list[tuple[str, str | None]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for (field, inner), cell in zip(columns, row.cells, strict=True):
        if not cell:
            continue
        # Spreadsheets and our own export write an apostrophe before what would be run as a formula.
        text = cell[1:] if cell[0] == "'" and cell[1:2] in _GUARDED else cell
        if inner is not None:
            fields.setdefault(field, {})[inner] = text
        else:
            fields[field] = _whole(text) if field == "count" else text
    return fields


def _column(name: str, source: str) -> tuple[str, str | None]:
    """Which field a CSV column fills: (field, None), or (usage, meter) and the like for what has parts."""
    prefix, dot, inner = name.partition(".")
    if dot and prefix in _PREFIXES and inner:
        field = _PREFIXES[prefix]
        if field == "usage" and inner not in METERS:
            raise unknown_meter(inner)
        return field, inner
    if name in METERS:
        return "usage", name
    if name in FIELDS - {"usage", "tags", "conditions", "parameters"} or name in _ALIASES or name in IGNORED:
        return name, None
    raise InvalidInput(
        f"column {name[:60]!r} of {source} is no field of an event; name your own columns tag.{name[:40]}",
        code="unknown_column",
    )


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InvalidInput(f"count {text[:40]!r} is not a whole number", code="bad_count", field="count") from error


def _fields_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `record` takes, from a line that may use other trackers' names."""
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if name in IGNORED:
            continue
        field = _ALIASES.get(name, name)
        if field in fields:
            raise InvalidInput(f"the line gives {field} twice", code="field_twice", field=field)
        fields[field] = value
    if "status" in fields and "success" in given:
        fields["status"] = _status_of(fields["status"])
    if fields.get("reported_cost") is not None:
        fields["reported_cost"] = _told(fields["reported_cost"])
        if not fields.get("usage"):
            fields.setdefault("basis", "reported")
    _name_seller(fields)
    parameters = fields.get("parameters")
    if isinstance(parameters, dict):
        # A setting such as a temperature is no amount: it is kept as the JSON number it was.
        fields["parameters"] = {
            name: float(value) if isinstance(value, Decimal) else value for name, value in parameters.items()
        }
    return fields


def _name_seller(fields: dict[str, Any]) -> None:
    provider, service = fields.get("provider"), fields.get("service")
    if not provider and isinstance(service, str) and service:
        fields["provider"] = provider_of(service)
    elif not service and isinstance(provider, str) and provider and "reported_cost" in fields:
        # Some trackers know only whom they paid; the seller then stands for the service.
        fields["service"] = provider


def _status_of(success: object) -> str:
    verdict = success.lower() if isinstance(success, str) else success
    if verdict in (True, "true", "1", "yes"):
        return "ok"
    if verdict in (False, "false", "0", "no"):
        return "failed"
    raise InvalidInput("success is neither true nor false", code="unknown_status", field="status")


def _told(value: object) -> Decimal:
    """The cost as told. A number with more than 12 decimals is a float's shadow and is rounded to them."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidInput("cost is not a number", code="not_a_number", field="reported_cost")
    cost = parse_decimal(value.removeprefix("$") if isinstance(value, str) else Decimal(value), "cost")
    if cost < 0:
        raise InvalidInput("cost is negative; a call never earns", code="negative_cost", field="reported_cost")
    return cost if -int(cost.as_tuple().exponent) <= 12 else cost.quantize(_DECIMALS_MAX, context=EXACT)


def _content_id(given: Mapping[str, Any], seen: Occurrences) -> str:
    """An id made of the line's content as it was read and which occurrence in its file it is.

    The file's name is no part of it: a copy of the file, or the same file packed, books nothing twice.
    """
    digest = blake2b(msgspec.json.encode(given, order="sorted"), digest_size=16)
    occurrence = seen.number(int.from_bytes(digest.digest()[:8], "big"))
    if occurrence > 1:
        digest.update(b"\0%d" % occurrence)
    return f"import-{digest.hexdigest()}"
