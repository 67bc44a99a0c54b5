"""The rows of `data/bounds.toml`, compiled when first needed: what requests look like, what models take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

DATA: Final = Path(__file__).parent / "data" / "bounds.toml"
Steps = tuple[str, ...]


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request makes the provider fetch or run things: fields, services, tools not the caller's.

    A tool is the caller's own if its type matches `own_types` or, where it says none, if it bears one of `own_keys`.
    Those whose type matches `builtin_types` are run by the caller too, but the provider writes a prompt of
    `builtin_tokens` for each.
    """

    fields: tuple[Steps, ...] = ()
    services: re.Pattern[str] | None = None
    own_keys: frozenset[str] = frozenset()
    own_types: re.Pattern[str] | None = None
    builtin_types: re.Pattern[str] | None = None
    builtin_tokens: int = 0
    meters: Mapping[str, str] = {}
    uses: int = 1


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """How an API is told the most it may put out. `above` is a field whose value a maximum must exceed."""

    fields: tuple[str, ...] = ()
    write: str | None = None
    covers_reasoning: bool = True
    outputs: tuple[str, ...] = ()
    above: tuple[str, ...] = ()


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """A meter that the request itself fixes: how many elements or characters lie at `at`, or the number there.

    `measure` is count, length or value; `default` stands where nothing lies; the result is divided by `per`, upwards.
    Elements longer than `chunk_bytes` count once for each such piece.
    """

    meter: str
    at: tuple[str, ...] = ()
    measure: str = "value"
    default: int = 0
    per: int = 1
    chunk_bytes: int = 0
    kind: str = "exact"


class Api(msgspec.Struct, frozen=True, kw_only=True):
    """One API: whose requests these are, and what each part of one may come to."""

    name: str
    providers: re.Pattern[str]
    services: re.Pattern[str] | None
    when: tuple[Steps, ...]
    without: tuple[Steps, ...]
    source: str
    model: tuple[str, ...]
    fields: Mapping[str, str]
    settings: frozenset[str]
    schemas: tuple[Steps, ...]
    words: frozenset[str]
    request_tokens: int
    message_tokens: int
    tools_tokens: int
    tool_tokens: int
    tokens_per_byte: int
    normalised: bool
    stored: tuple[Steps, ...]
    session: bool
    server: Server
    output: Output | None
    counts: tuple[Count, ...]
    inside: Mapping[str, tuple[str, ...]]
    writes_when: frozenset[str]
    conditions: Mapping[str, str]
    reach: Mapping[str, Mapping[str, tuple[str, ...]]]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What a family of models takes: its largest context window, most output, and tokens of one image by detail."""

    match: str
    context: int
    output: int | None = None
    image: Mapping[str, int] = {}
    audio_tokens_per_s: int = 0
    reasons: bool = True
    tokenizer: str = ""
    source: str = ""


class Medium(msgspec.Struct, frozen=True, kw_only=True):
    """How a part that is not text is known: by its `type`, or by a `key` it bears and what it says of its format."""

    name: str
    types: frozenset[str] = frozenset()
    key: str = ""
    formats: str = ""
    format_at: tuple[str, ...] = ()
    data_at: tuple[str, ...] = ()
    detail_at: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """All of the file."""

    apis: tuple[Api, ...]
    models: tuple[tuple[re.Pattern[str], Model], ...]
    media: tuple[tuple[Medium, re.Pattern[str]], ...]
    text_formats: re.Pattern[str]
    audio_bytes_per_s_min: int


@cache
def rules() -> Rules:
    """The rules, read once a process."""
    import tomllib

    tables = tomllib.loads(DATA.read_text(encoding="utf-8"))
    by_name: dict[str, dict[str, Any]] = {}
    for table in tables["api"]:
        by_name[table["name"]] = _laid_over(by_name[table["like"]], table) if "like" in table else table
    models = [msgspec.convert(row, Model, strict=True) for row in tables["model"]]
    media = [msgspec.convert(row, Medium) for row in tables["medium"]]
    return Rules(
        apis=tuple(map(_api, by_name.values())),
        models=tuple((re.compile(model.match), model) for model in models),
        media=tuple((medium, re.compile(medium.formats)) for medium in media),
        text_formats=re.compile(tables["text_formats"]),
        audio_bytes_per_s_min=tables["audio_bytes_per_s_min"],
    )


def _laid_over(base: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in table.items():
        inner = merged.get(key)
        merged[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def steps(text: str) -> Steps:
    """A dotted place in a request, as its steps."""
    return tuple(text.split("."))


def _places(table: Mapping[str, Any], key: str) -> tuple[Steps, ...]:
    return tuple(map(steps, table.get(key, ())))


def _pattern(table: Mapping[str, Any], key: str) -> re.Pattern[str] | None:
    return re.compile(table[key]) if table.get(key) else None


def _api(table: Mapping[str, Any]) -> Api:
    return Api(
        name=table["name"],
        providers=re.compile(table["providers"]),
        services=_pattern(table, "services"),
        when=_places(table, "when"),
        without=_places(table, "without"),
        source=table["source"],
        model=tuple(table.get("model", ("model",))),
        fields=table.get("fields", {}),
        settings=frozenset(table.get("settings", ())),
        schemas=_places(table, "schemas"),
        words=frozenset(table.get("words", ())),
        request_tokens=table.get("request_tokens", 0),
        message_tokens=table.get("message_tokens", 0),
        tools_tokens=table.get("tools_tokens", 0),
        tool_tokens=table.get("tool_tokens", 0),
        tokens_per_byte=table.get("tokens_per_byte", 1),
        normalised=table.get("normalised", False),
        stored=_places(table, "stored"),
        session=table.get("session", False),
        server=_server(table.get("server", {})),
        output=msgspec.convert(table["output"], Output) if table.get("output") else None,
        counts=tuple(msgspec.convert(row, Count) for row in table.get("count", ())),
        inside={whole: tuple(parts) for whole, parts in table.get("inside", {}).items()},
        writes_when=frozenset(table.get("writes_when", ())),
        conditions=table.get("conditions", {}),
        reach={
            name: {told: tuple(reached) for told, reached in values.items()}
            for name, values in table.get("reach", {}).items()
        },
    )


def _server(table: Mapping[str, Any]) -> Server:
    return Server(
        fields=_places(table, "fields"),
        services=_pattern(table, "services"),
        own_keys=frozenset(table.get("own_keys", ())),
        own_types=_pattern(table, "own_types"),
        builtin_types=_pattern(table, "builtin_types"),
        builtin_tokens=table.get("builtin_tokens", 0),
        meters=table.get("meters", {}),
        uses=table.get("uses", 1),
    )


@lru_cache(maxsize=4096)
def model_of(service: str) -> Model:
    """The first family whose pattern is in the service's name; the last row is for names that none knows."""
    name = service.strip().lower()
    return next(model for pattern, model in rules().models if pattern.search(name))


def at(body: object, place: Steps) -> Any:
    """What lies at a place, None where nothing does."""
    for step in place:
        if type(body) is not dict and not isinstance(body, Mapping):
            return None
        body = body.get(step)
    return body


def first_at(body: object, places: tuple[str, ...]) -> Any:
    """What lies at the first of several dotted places where anything lies."""
    for place in places:
        found = at(body, steps(place))
        if found is not None:
            return found
    return None
