"""What a request says about its call: how it wanted to be served. Never what it asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, TypeGuard

from outlay.capture.paths import Term, at
from outlay.capture.plain import members
from outlay.capture.profiles import parameters
from outlay.capture.streams import decode
from outlay.model import Parameter

_FORM_FIELD: Final = re.compile(r'name="(\w{1,40})"\r?\n(?:[\w-]+:[^\r\n]*\r?\n)*\r?\n([^\r\n]{1,80})\r?\n')
_BITS_MAX: Final = 64
_LONG_NUMBER_MAX: Final = 64
"""Characters of a number that no integer of the ledger holds; hexadecimal, which has no limit of digits."""

_WORD: Final = re.compile(r"[A-Za-z0-9_.:/@+-]{1,64}$")


def request_of(request: object | None) -> Mapping[str, Any]:
    """A request's body as a mapping: JSON, an SDK's object, or the short fields of a form; else empty."""
    if request is None:
        return {}
    if isinstance(request, bytes | bytearray):
        request = bytes(request).decode("utf-8", "replace")
    if isinstance(request, str):
        if request.startswith("--"):
            return dict(_FORM_FIELD.findall(request))
        request = decode(request)
    return members(request) or {}


def parameters_of(request: object) -> dict[str, Parameter]:
    """The parameters a request bears: numbers, switches and single words."""
    found: dict[str, Parameter] = {}
    if not request:
        return found
    document = {"body": request}
    named = request if isinstance(request, Mapping) else {}
    terms, told_by = _terms()
    for place in sorted({place for member in ("", *named) for place in told_by.get(member, ())}):
        name, term = terms[place]
        for path in term:
            told = at(document, path)
            value = next(filter(_is_parameter, told), None) if told else None
            if value is not None:
                found[name] = _kept(value)
                break
    return found


@cache
def _terms() -> tuple[list[tuple[str, Term]], dict[str, list[int]]]:
    """The parameters' terms in order, and which of them each member of a request may tell; under "" those of none."""
    found = list(parameters().items())
    told_by: dict[str, list[int]] = {}
    for place, (_, term) in enumerate(found):
        for path in term:
            for member in path.names[0] if path.names else ("",):
                if member or not path.names:
                    told_by.setdefault(member, []).append(place)
    return found, told_by


def _kept(value: str | int | float | Decimal) -> Parameter:
    """A parameter as an event can bear it: what a provider may refuse must not keep a call out of the ledger."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, int) and value.bit_length() >= _BITS_MAX:
        return f"{value:#x}"[:_LONG_NUMBER_MAX]
    return value


def _is_parameter(value: object) -> TypeGuard[str | int | float | Decimal]:
    return isinstance(value, (int, float, Decimal)) or (isinstance(value, str) and bool(_WORD.match(value)))
