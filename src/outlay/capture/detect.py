"""Whose answer is it: by signs that are sure, the address, the SDK's package, then the shape of the body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from outlay.capture.paths import Document, Predicate, Skeleton, may_hold, predicate, skeleton
from outlay.capture.profiles import COMPATIBLE, Profile, heads
from outlay.errors import InvalidInput

UNKNOWN: Final = "unknown"
_PORT: Final = re.compile(r":\d+$")


class Address(msgspec.Struct, frozen=True):
    """The parts of a URL that say something: host and path, decoded; never the query, which may hold a key."""

    host: str = ""
    path: str = ""

    @property
    def place(self) -> str:
        """Host and path together, as the patterns in the files read them."""
        return self.host + self.path


class Found(msgspec.Struct, frozen=True):
    """The profile, the provider's name for the ledger, and what the address's pattern told.

    A `stranger` is an address that no file names, with an answer that looks like none of them.
    """

    profile: Profile
    provider: str
    groups: Mapping[str, str] = {}
    note: str = ""
    stranger: bool = False


@lru_cache(maxsize=512)
def address_of(url: str | None) -> Address:
    """Read a URL, with or without its scheme. Raises InvalidInput `bad_url` for what is none."""
    if not url:
        return Address()
    try:
        parts = urlsplit(url if "//" in url[:12] else f"//{url}")
    except ValueError as error:
        raise InvalidInput(
            "url is no address, such as https://api.openai.com/v1/responses", code="bad_url"
        ) from error
    host = parts.netloc.rpartition("@")[2].lower()
    return Address(_PORT.sub("", host), unquote(parts.path))


def whose(given: str | None, address: Address, package: str, document: Document) -> Found:
    """The profile to read with. A provider the caller names is the provider, whatever the body looks like."""
    if given is not None:
        profile = by_name(given)
        groups = _groups(profile, address) if profile else None
        return Found(profile or heads()[COMPATIBLE], given, groups or {})
    bones = _bones(document)
    for profile, sign in _sure_signs(bones):
        if sign(document):
            return _found(profile, _groups(profile, address) or {})
    placed = _placed(address)
    if placed is not None:
        return placed
    return _by_shape(address, package, document, bones)


def _by_shape(address: Address, package: str, document: Document, bones: Skeleton) -> Found:
    shaped = _shaped(document, bones)
    packaged = _of_package(package)
    both = [profile for profile in shaped if profile in packaged]
    chosen = both or shaped or list(packaged)
    if chosen:
        elsewhere = f"read as {chosen[0].id} by its shape: no file names {address.host}" if address.host else ""
        return msgspec.structs.replace(_found(chosen[0], {}), note=elsewhere)
    if address.host:
        return Found(heads()[COMPATIBLE], address.host, {}, f"no file names {address.host}", stranger=True)
    return Found(heads()[COMPATIBLE], UNKNOWN, {}, "the provider is not known: give provider= or url=")


@lru_cache(maxsize=512)
def _placed(address: Address) -> Found | None:
    """The first profile that names this address."""
    for profile in heads().values():
        groups = _groups(profile, address)
        if groups is not None:
            return _found(profile, groups)
    return None


def _bones(document: Document) -> Skeleton:
    body = document.get("body")
    return skeleton(body) if type(body) is dict else ()


def _shaped(document: Document, bones: Skeleton) -> list[Profile]:
    """The profiles one of whose signs the document bears."""
    body = document.get("body")
    model = body.get("model") if isinstance(body, Mapping) else None
    known = type(model) is str
    held = set(_of_model(model)) if isinstance(model, str) and known else set[int]()
    for number, sign, of_model in _signs(bones):
        if not (of_model and known) and sign(document):
            held.add(number)
    return [profile for number, profile in enumerate(heads().values()) if number in held] if held else []


@lru_cache(maxsize=512)
def _of_model(model: str) -> frozenset[int]:
    """Whose signs that ask for nothing but the model's name hold for this one."""
    document = {"body": {"model": model}}
    signs = _signs((("model", None),))
    return frozenset(number for number, sign, of_model in signs if of_model and sign(document))


@lru_cache(maxsize=512)
def _signs(bones: Skeleton) -> tuple[tuple[int, Predicate, bool], ...]:
    """Every sign that a body of these bones may bear: whose it is, and whether it asks for the model's name alone."""
    return tuple(
        (number, predicate(sign), sign.startswith("model~") and " & " not in sign)
        for number, profile in enumerate(heads().values())
        for sign in profile.signs
        if may_hold(predicate(sign), bones)
    )


@lru_cache(maxsize=512)
def _sure_signs(bones: Skeleton) -> tuple[tuple[Profile, Predicate], ...]:
    return tuple(
        (profile, predicate(sign))
        for profile in heads().values()
        for sign in profile.sure_signs
        if may_hold(predicate(sign), bones)
    )


@lru_cache(maxsize=512)
def _of_package(package: str) -> tuple[Profile, ...]:
    root = package.partition(".")[0]
    return tuple(profile for profile in heads().values() if _packaged(profile, package, root))


def _packaged(profile: Profile, package: str, root: str) -> bool:
    return root in profile.packages or any("." in name and package.startswith(name) for name in profile.packages)


def _found(profile: Profile, groups: Mapping[str, str]) -> Found:
    named = re.sub(r"\{(\w+)\}", lambda match: groups.get(match[1], ""), profile.named) if groups else ""
    return Found(profile, named or profile.id, groups)


@lru_cache(maxsize=512)
def is_known_host(url: str) -> bool:
    """Whether a provider's file names the host of this address."""
    return _placed(address_of(url)) is not None


@lru_cache(maxsize=512)
def by_name(name: str) -> Profile | None:
    """The profile of a provider's name or alias, however it is spelled."""
    return _names().get(_plain(name))


@cache
def _names() -> Mapping[str, Profile]:
    return {_plain(name): profile for profile in heads().values() for name in (profile.id, *profile.aliases)}


def _plain(name: str) -> str:
    return re.sub(r"[\s_./-]+", "-", name.strip().lower())


def _groups(profile: Profile, address: Address) -> dict[str, str] | None:
    if not address.host:
        return None
    for pattern in profile.hosts:
        match = _pattern(pattern).search(address.place)
        if match:
            return {name: value for name, value in match.groupdict().items() if value}
    return None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
