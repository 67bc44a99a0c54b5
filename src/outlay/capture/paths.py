"""The small language in which provider files say where a value lies.

    usage.prompt_tokens_details.cached_tokens      a path; camelCase names match their snake_case spelling too
    usage.inputTokens!                             this spelling only
    promptTokensDetails[modality=TEXT].tokenCount  elements of a list by the value of a key (`1|TEXT` for either)
    output[].content                               every element
    usage.cache_creation.*                         every member
    header:x-amzn-bedrock-input-token-count        from the headers; also request: and url: (groups of its pattern)
    data#count  input#length  usage.ms#milli       how many, how many characters, thousandths
    =1                                             a constant
    a.b ?? c.d                                     the first that is there

A predicate is a path that must be there (`!path`: must not), `path=value`, `path~regular expression`, or
several joined by ` & `. Nothing here ever returns the text of a prompt or an answer unless a path names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Final

import msgspec

from outlay.capture.plain import members
from outlay.model import Quantity

QUANTITY_LIMIT: Final = 10**15
_ROOTS: Final = ("body", "request", "header", "url", "given", "element")
_STEP: Final = re.compile(r"(?P<name>[^\[\].]*)(?P<filter>\[(?P<key>[^\]=]*)(?P<equals>=(?P<value>[^\]]*))?\])?$")
_SNAKE: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_NANO: Final = Decimal("0.000000001")

Document = Mapping[str, object]
"""What a call left behind, by root: body, request, header, url."""


class Step(msgspec.Struct, frozen=True):
    """One member, by its two spellings; then, for a list, which elements: all, or those whose `key` is a value."""

    name: str
    snake: str
    each: bool = False
    key: str | None = None
    values: tuple[str, ...] = ()


class Path(msgspec.Struct, frozen=True):
    """Where a value lies: the root, the steps from it, and what is made of what is found."""

    root: str
    steps: tuple[Step, ...]
    measure: str = ""
    constant: str | None = None


Term = tuple[Path, ...]
"""The alternatives of a term: the first that is there counts."""


def snake(name: str) -> str:
    """`promptTokenCount` as `prompt_token_count`."""
    return _SNAKE.sub(r"_\1", name).lower() if not name.islower() else name


@cache
def parse(text: str) -> tuple[Path, ...]:
    """The alternatives of a term, in order. Raises ValueError for what the language does not know."""
    return tuple(_parse_one(part.strip()) for part in text.split("??"))


def _parse_one(text: str) -> Path:
    if text.startswith("="):
        return Path("body", (), "", text[1:])
    root, colon, rest = text.partition(":")
    if not colon or root not in _ROOTS:
        root, rest = "body", text
    path, _, measure = rest.partition("#")
    if measure not in ("", "count", "length", "milli"):
        raise ValueError(f"{text!r}: #{measure} is no measure")
    return Path(root, tuple(_parse_step(step) for step in _split(path)), measure)


def _split(path: str) -> list[str]:
    steps: list[str] = re.findall(r"(?:[^.\[]|\[[^\]]*\])+", path)
    if ".".join(steps) != path:
        raise ValueError(f"{path!r} is no path")
    return steps


def _parse_step(text: str) -> Step:
    found = _STEP.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no step of a path")
    name, exact = found["name"].removesuffix("!"), found["name"].endswith("!")
    if found["filter"] is None:
        return Step(name, name if exact else snake(name))
    if found["equals"] is None:
        return Step(name, snake(name), each=True)
    return Step(name, snake(name), each=True, key=found["key"], values=tuple(found["value"].split("|")))


def find(value: object, steps: Sequence[Step]) -> Iterable[object]:
    """Every value at the end of the steps that is not null, in order."""
    for index, step in enumerate(steps):
        if step.each or step.name in ("", "*"):
            return _spread(value, steps[index:])
        inner = members(value)
        if inner is None:
            return ()
        found = inner.get(step.name)
        value = inner.get(step.snake) if found is None and step.snake != step.name else found
        if value is None:
            return ()
    return () if value is None else (value,)


def _spread(value: object, steps: Sequence[Step]) -> Iterator[object]:
    """What lies past a step that may lead to more than one member or element."""
    step, rest = steps[0], steps[1:]
    if step.name == "*":
        inner = members(value)
        for member in inner.values() if inner is not None else ():
            yield from find(member, rest)
        return
    named = (value,) if step.name == "" else find(value, (Step(step.name, step.snake),))
    for member in named:
        if isinstance(member, list | tuple):
            for element in member:
                if step.key is None or _chosen(element, step):
                    yield from find(element, rest)


def _chosen(element: object, step: Step) -> bool:
    if step.key == "":
        return scalar_text(element) in step.values
    inner = members(element)
    if inner is None:
        return False
    return scalar_text(inner.get(step.key or "", inner.get(snake(step.key or "")))) in step.values


def scalar_text(value: object) -> str | None:
    """A scalar as the text by which rules compare it, or None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value.value) if hasattr(value, "value") else value
    if isinstance(value, int | float | Decimal):
        return str(value)
    inner = getattr(value, "value", None)
    return inner if isinstance(inner, str) else None


def quantity_of(value: object) -> Quantity | None:
    """A count or measure: a whole number where it is one, else a Decimal of at most 9 places.

    None for what is no number, negative, not finite, or beyond any bill.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, int):
        return int(value) if 0 <= value <= QUANTITY_LIMIT else None
    number = decimal_of(value)
    if number is None or not 0 <= number <= QUANTITY_LIMIT:
        return None
    return int(number) if number == number.to_integral_value() else number.quantize(_NANO).normalize()


def is_number(value: object) -> bool:
    """Whether a value is a number, of whatever size and sign: true and false are none."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def decimal_of(value: object) -> Decimal | None:
    """A finite Decimal, floats by their shortest text; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d[\d.]*(?:[eE][+-]?\d{1,3})?\s*", value):
        return None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except ArithmeticError:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < 40 else None


def measured(document: Document, alternatives: tuple[Path, ...]) -> Quantity | None:
    """The quantity a term tells: what its first alternative that is there sums to, or None."""
    for path in alternatives:
        if path.constant is not None:
            return quantity_of(path.constant)
        amount = _amount(list(find(document.get(path.root), path.steps)), path.measure)
        if amount is not None:
            return amount
    return None


def _amount(found: list[object], measure: str) -> Quantity | None:
    if measure == "count":
        return sum(len(value) if isinstance(value, list | tuple) else 1 for value in found) or None
    if measure == "length":
        return sum(len(value) for value in found if isinstance(value, str)) or None
    numbers = [number for number in map(quantity_of, found) if number is not None]
    if not numbers:
        return None
    total: Quantity = sum(numbers)
    return quantity_of(Decimal(total) / 1000) if measure == "milli" else total


def texts(document: Document, alternatives: tuple[Path, ...]) -> Iterator[str]:
    """Every scalar the alternatives find, as text, in order."""
    for path in alternatives:
        if path.constant is not None:
            yield path.constant
            continue
        for value in find(document.get(path.root), path.steps):
            text = scalar_text(value)
            if text:
                yield text


Predicate = Callable[[Document], bool]


@cache
def predicate(text: str) -> Predicate:
    """The predicate written as `text`."""
    parts = tuple(_condition(part.strip()) for part in text.split(" & "))
    return lambda document: all(part(document) for part in parts)


def _condition(text: str) -> Predicate:
    if text.startswith("!"):
        inner = _condition(text[1:])
        return lambda document: not inner(document)
    compared = re.match(r"(?P<path>(?:[^\[=~]|\[[^\]]*\])+)(?P<sign>[=~])(?P<value>.*)$", text)
    if compared is None:
        path = _parse_one(text)
        return lambda document: any(True for _ in find(document.get(path.root), path.steps))
    path, value = _parse_one(compared["path"]), compared["value"]
    if compared["sign"] == "=":
        return lambda document: value in texts(document, (path,))
    pattern = re.compile(value)
    return lambda document: any(pattern.search(found) for found in texts(document, (path,)))
