"""The providers' files: what each provider's responses look like, compiled when first needed.

A file in `data/` is one provider: a head (names, addresses, signs by which its answers are known) and flavours,
one for each shape of answer. Heads are read together, at the first response whose provider must be found; the
flavours of a provider when its first response comes. A new provider is a new file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Any, Final

import msgspec

from outlay.capture.paths import Path, Predicate, Step, Term, parse, predicate, snake
from outlay.meters import meter_named

DATA: Final = FilePath(__file__).parent / "data"
COMPATIBLE: Final = "compatible"
COMMON: Final = "_common"


class StreamRule(msgspec.Struct, frozen=True):
    """How a stream's frames become one body: which frames, which parts of them, which number counts."""

    only: tuple[Predicate, ...] = ()
    lift: tuple[tuple[tuple[Step, ...], str], ...] = (((), ""),)
    numbers: str = "last"
    ends: tuple[Predicate, ...] = ()
    text: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What another service did inside the call: where it lies, its name, what it used."""

    each: Term
    service: tuple[Term, ...]
    operation: str | None
    usage: Mapping[str, tuple[Term, ...]]


class Flavour(msgspec.Struct, frozen=True, kw_only=True):
    """One shape of answer: how it is known, and where everything in it lies.

    `rest` is the kind of output that no count but the total tells, where there is one.
    `by_url` says that its address alone makes an answer its own; a variety of another flavour of the file is known by
    its shape only.
    """

    name: str
    operation: str | None
    when: tuple[Predicate, ...]
    url: re.Pattern[str] | None
    by_url: bool
    uses_nothing: bool
    binary: bool
    service: tuple[Term, ...]
    requested: tuple[Term, ...]
    key: Term
    usage: Mapping[str, tuple[Term, ...]]
    otherwise: tuple[Mapping[str, tuple[Term, ...]], ...]
    total: Term
    rest: str
    roots: tuple[Term, ...]
    understood: frozenset[str]
    conditions: Mapping[str, Term]
    condition_values: Mapping[str, Mapping[str, str]]
    failed: tuple[Predicate, ...]
    cancelled: tuple[Predicate, ...]
    pending: tuple[Predicate, ...]
    error: Term
    cost: Term
    cost_scale: int
    currency: str
    stream: StreamRule
    advice: str
    parts: tuple[Part, ...]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's head."""

    id: str
    file: str
    title: str = ""
    named: str = ""
    aliases: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    sure_signs: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    strip: tuple[str, ...] = ()
    opaque: tuple[str, ...] = ()


class Wrapper(msgspec.Struct, frozen=True, kw_only=True):
    """An envelope around an answer, such as a batch's: how it is known, and where the answer lies in it."""

    when: Predicate
    body: Term
    request: Term = ()
    status_code: Term = ()
    conditions: Mapping[str, str] = {}


@cache
def heads() -> Mapping[str, Profile]:
    """Every provider's head by its id, in the order of the files' names."""
    found: dict[str, Profile] = {}
    for path in sorted(DATA.glob("[a-z]*.toml")):
        head = msgspec.convert({**_head(path), "file": path.stem}, Profile)
        found[head.id] = head
    return found


def _head(path: FilePath) -> dict[str, Any]:
    """The head alone: parsing a whole file takes ten times as long."""
    import tomllib

    text = path.read_text(encoding="utf-8")
    return tomllib.loads(text[: text.find("[[flavour]]")] if "[[flavour]]" in text else text)


@cache
def _tables(file: str) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((DATA / f"{file}.toml").read_text(encoding="utf-8"))


@cache
def wrappers() -> tuple[Wrapper, ...]:
    """The envelopes that any provider's answer may come in."""
    return tuple(
        Wrapper(
            when=predicate(table["when"]),
            body=parse(table["body"]),
            request=parse(table["request"]) if "request" in table else (),
            status_code=parse(table["status_code"]) if "status_code" in table else (),
            conditions=table.get("conditions", {}),
        )
        for table in _tables(COMMON)["wrapper"]
    )


@cache
def parameters() -> Mapping[str, Term]:
    """Where a request says how it wants to be served: name to term."""
    return {name: parse(term) for name, term in _tables(COMMON)["parameters"].items()}


@cache
def common_errors() -> tuple[tuple[Predicate, ...], Term]:
    """How a refusal is known in any provider's answer, and where its code lies."""
    table = _tables(COMMON)["errors"]
    return tuple(map(predicate, table["failed"])), parse(table["code"])


@cache
def whole_answers() -> tuple[Predicate, ...]:
    """How an answer that is whole by itself is known from a chunk of one."""
    return tuple(map(predicate, _tables(COMMON)["many"]["whole"]))


@cache
def lone_answers() -> tuple[Predicate, ...]:
    """How an answer is known that is never a chunk, whether or not it bears an id."""
    return tuple(map(predicate, _tables(COMMON)["many"]["alone"]))


@cache
def flavours(file: str) -> tuple[Flavour, ...]:
    """A provider's flavours: its own, then those its head includes, in order."""
    tables = _tables(file)
    own = [_inherited(table, file) for table in tables.get("flavour", ())]
    names = {table["name"] for table in own}
    for reference in tables.get("include", ()):
        source, _, name = reference.partition(".")
        own.extend(
            _inherited(table, source)
            for table in _tables(source).get("flavour", ())
            if name in ("*", table["name"]) and table["name"] not in names
        )
    return tuple(_compiled(table) for table in own)


def _inherited(table: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The table laid over the flavour it is like."""
    like = table.get("like")
    if like is None:
        return dict(table)
    source, _, name = like.rpartition(".")
    base = next(other for other in _tables(source or file)["flavour"] if other["name"] == name)
    merged = _inherited(base, source or file)
    merged["variety"] = not source and "url" not in table
    for key, value in table.items():
        inner = merged.get(key)
        merged[key] = {**inner, **value} if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _compiled(table: Mapping[str, Any]) -> Flavour:
    usage = _usage(table.get("usage", {}))
    otherwise = tuple({**usage, **_usage(other)} for other in table.get("otherwise", ()))
    parts = tuple(
        Part(
            each=parse(part["each"]),
            service=tuple(map(parse, part["service"])),
            operation=part.get("operation", table.get("operation")),
            usage=_usage(part["usage"]),
        )
        for part in table.get("part", ())
    )
    return Flavour(
        name=table["name"],
        operation=table.get("operation"),
        when=tuple(map(predicate, table.get("when", ()))),
        url=re.compile(table["url"]) if "url" in table else None,
        by_url="url" in table and not table.get("variety", False),
        uses_nothing=table.get("uses_nothing", False),
        binary=table.get("binary", False),
        service=tuple(map(parse, table.get("service", _tables(COMMON)["service"]))),
        requested=tuple(map(parse, table.get("requested", _tables(COMMON)["requested"]))),
        key=parse(table.get("key", "id")),
        usage=usage,
        otherwise=otherwise,
        total=parse(table["total"]) if "total" in table else (),
        rest=meter_named(table["rest"]).name if "rest" in table else "",
        roots=tuple(parse(root) for root in table.get("roots", ())),
        understood=_understood(table, parts),
        conditions={name: parse(term) for name, term in table.get("conditions", {}).items()},
        condition_values=table.get("condition_values", {}),
        failed=tuple(map(predicate, table.get("failed", ()))),
        cancelled=tuple(map(predicate, table.get("cancelled", ()))),
        pending=tuple(map(predicate, table.get("pending", ()))),
        error=parse(table["error"]) if "error" in table else (),
        cost=parse(table["cost"]) if "cost" in table else (),
        cost_scale=table.get("cost_scale", 1),
        currency=table.get("currency", "USD"),
        stream=_stream(table.get("stream", {})),
        advice=table.get("advice", ""),
        parts=parts,
    )


def _usage(table: Mapping[str, list[str]]) -> dict[str, tuple[Term, ...]]:
    """Terms by meter; a meter that Outlay does not know is a mistake in the file, found here."""
    return {meter_named(name).name: tuple(map(parse, terms)) for name, terms in table.items() if terms}


def _stream(table: Mapping[str, Any]) -> StreamRule:
    lift = []
    for text in table.get("lift", ["."]):
        source, _, name = text.partition("->")
        lift.append((() if source.strip() == "." else parse(source.strip())[0].steps, name.strip()))
    return StreamRule(
        only=tuple(map(predicate, table.get("only", ()))),
        lift=tuple(lift),
        numbers=table.get("numbers", "last"),
        ends=tuple(map(predicate, table.get("ends", ()))),
        text=repr(sorted((key, str(value)) for key, value in table.items() if key != "ends")),
    )


def _understood(table: Mapping[str, Any], parts: tuple[Part, ...]) -> frozenset[str]:
    """The places of a body that this flavour reads or knows to cost nothing; `x.*` is all that lies under x."""
    usages = [table.get("usage", {}), *table.get("otherwise", ())]
    terms = [term for usage in usages for terms in usage.values() for term in terms]
    terms += [table[key] for key in ("total", "cost") if key in table]
    terms += list(table.get("conditions", {}).values())
    found = {place(path) for term in terms for path in parse(term) if path.root == "body"}
    found |= {place(path) + ".*" for part in parts for path in part.each}
    return frozenset(found | {plain_place(name) for name in table.get("known", ())})


def place(path: Path) -> str:
    """A path as a place: names in one spelling, without which elements of a list are meant."""
    return ".".join(step.snake for step in path.steps if step.name not in ("", "."))


def plain_place(text: str) -> str:
    """A place written in a file, in the same spelling."""
    return ".".join(snake(name) for name in text.split("."))
