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
from outlay.money import EXACT, sum_exactly, whole_or_decimal

QUANTITY_LIMIT: Final = 10**15
_ROOTS: Final = ("body", "request", "header", "url", "given", "element")
_STEP: Final = re.compile(r"(?P<name>[^\[\].]*)(?P<filter>\[(?P<key>[^\]=]*)(?P<equals>=(?P<value>[^\]]*))?\])?$")
_SNAKE: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")
_BONELESS: Final = (str, int, float, Decimal, list, tuple)
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
    """Where a value lies: the root, the steps from it, and what is made of what is found.

    `names` are the steps' two spellings where each leads to one member (the second empty where it is the same), and
    None where one leads to several: most paths are walked by them alone.
    """

    root: str
    steps: tuple[Step, ...]
    measure: str = ""
    constant: str | None = None
    names: tuple[tuple[str, str], ...] | None = None


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
    steps = tuple(_parse_step(step) for step in _split(path))
    one = not any(step.each or step.name in ("", "*") for step in steps)
    names = tuple((step.name, step.snake if step.snake != step.name else "") for step in steps) if one else None
    return Path(root, steps, measure, names=names)


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


def at(document: Document, path: Path) -> Iterable[object]:
    """Every value at a path that is not null, in order."""
    value = start = document.get(path.root)
    if path.names is None or start is None:
        return find(start, path.steps)
    for name, other in path.names:
        if type(value) is not dict:
            return find(start, path.steps)
        found = value.get(name)
        if found is None:
            found = value.get(other) if other else None
            if found is None:
                return ()
        value = found
    return (value,)


Skeleton = tuple[tuple[str, object], ...]
"""The members of a mapping without their values: each name with its own skeleton, None for what has no members, True
for what may have any.
"""


def skeleton(value: Mapping[str, object], depth: int = 3) -> Skeleton:
    """A document's bones, which many answers share."""
    return tuple(
        (
            name,
            skeleton(item, depth - 1)
            if type(item) is dict and depth
            else (None if item is None or isinstance(item, _BONELESS) else True),
        )
        for name, item in value.items()
    )


def may_lead(path: Path, bones: Skeleton) -> bool:
    """Whether a path may find anything in a body of these bones."""
    if path.root != "body" or path.constant is not None:
        return True
    held: object = bones
    for step in path.steps:
        if held is True or step.name in ("", "*") or not isinstance(held, tuple):
            return held is not None
        named = dict(held)
        if step.name not in named and step.snake not in named:
            return False
        held = named.get(step.name)
        held = named.get(step.snake) if held is None else held
        if step.each:
            return True
    return True


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
    if type(value) is str:
        return value
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
    if type(value) is int:  # The common case.
        return value if 0 <= value <= QUANTITY_LIMIT else None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    if isinstance(value, int):
        return int(value) if 0 <= value <= QUANTITY_LIMIT else None
    number = decimal_of(value)
    if number is None or not 0 <= number <= QUANTITY_LIMIT:
        return None
    return whole_or_decimal(number.quantize(_NANO, context=EXACT))


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
        found = at(document, path)
        if found == ():
            continue
        amount = _amount(list(found), path.measure)
        if amount is not None:
            return amount
    return None


def _amount(found: list[object], measure: str) -> Quantity | None:
    if measure == "count":
        return sum(len(value) if isinstance(value, list | tuple) else 1 for value in found) or None
    if measure == "length":
        return sum(len(value) for value in found if isinstance(value, str)) or None
    if len(found) == 1 and not measure:
        return quantity_of(found[0])
    numbers = [number for number in map(quantity_of, found) if number is not None]
    if not numbers:
        return None
    total = sum_exactly(numbers)
    return quantity_of(EXACT.divide(total, 1000)) if measure == "milli" else total


def texts(document: Document, alternatives: tuple[Path, ...]) -> Iterator[str]:
    """Every scalar the alternatives find, as text, in order."""
    for path in alternatives:
        if path.constant is not None:
            yield path.constant
            continue
        for value in at(document, path):
            text = scalar_text(value)
            if text:
                yield text


Predicate = Callable[[Document], bool]


def _is_there(document: Document, path: Path) -> bool:
    found = at(document, path)
    return bool(found) if isinstance(found, tuple) else any(True for _ in found)


_needs: Final[dict[Predicate, tuple[Path, ...]]] = {}
"""The paths that must lead somewhere where a predicate holds."""


def may_hold(found: Predicate, bones: Skeleton) -> bool:
    """Whether a predicate may hold of a body of these bones. Most ask for a member that is not there at all."""
    return all(may_lead(path, bones) for path in _needs.get(found, ()))


@cache
def predicate(text: str) -> Predicate:
    """The predicate written as `text`."""
    conditions = [_condition(part.strip()) for part in text.split(" & ")]
    found = _joined([condition for condition, _ in conditions])
    _needs[found] = tuple(path for _, path in conditions if path is not None)
    return found


def _joined(parts: Sequence[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]
    if len(parts) == 2:
        first, second = parts
        return lambda document: first(document) and second(document)
    return lambda document: all(part(document) for part in parts)


def _condition(text: str) -> tuple[Predicate, Path | None]:
    """What is asked, and the path that must lead somewhere for it, if one must."""
    if text.startswith("!"):
        inner, _ = _condition(text[1:])
        return (lambda document: not inner(document)), None
    compared = re.match(r"(?P<path>(?:[^\[=~]|\[[^\]]*\])+)(?P<sign>[=~])(?P<value>.*)$", text)
    if compared is None:
        there = _parse_one(text)
        return (lambda document: _is_there(document, there)), there
    path, value = _parse_one(compared["path"]), compared["value"]
    if compared["sign"] == "=":
        return (lambda document: value in texts(document, (path,))), path
    pattern = re.compile(value)
    return (lambda document: any(pattern.search(found) for found in texts(document, (path,)))), path
