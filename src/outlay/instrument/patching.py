"""Putting the wrappers into the SDKs' classes: once, when they are imported, and out again."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from outlay.instrument.clients import say_once
from outlay.instrument.targets import SDKS, Entry, Sdk
from outlay.instrument.watching import Watch
from outlay.instrument.wrapping import unhook, wrapper

_lock = threading.RLock()
_patched: Final[dict[Entry, tuple[type, Any]]] = {}
_default: list[Watch] = []
_attended: Final[set[str]] = set()


def attend(sdk: Sdk) -> None:
    """Wrap the methods of an SDK's classes, now and as soon as a module of it is imported later."""
    with _lock:
        _attended.add(sdk.name)
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        patch(sdk)


def patch(sdk: Sdk) -> None:
    """Wrap the methods of an SDK's classes whose modules are imported; those that are wrapped are left."""
    with _lock:
        for entry in sdk.entries:
            module = sys.modules.get(entry.module)
            if module is not None and entry not in _patched:
                _patch(sdk, entry, module)


def _patch(sdk: Sdk, entry: Entry, module: ModuleType) -> None:
    owner = getattr(module, entry.owner, None)
    original = getattr(owner, "__dict__", {}).get(entry.method)
    if not isinstance(owner, type) or not callable(original):
        say_once(
            f"{entry.module}.{entry.owner}.{entry.method}",
            "outlay: this version of %s (%s was tested) has no %s.%s.%s; calls through it are not watched",
            sdk.name,
            sdk.tested,
            entry.module,
            entry.owner,
            entry.method,
        )
        return
    setattr(owner, entry.method, wrapper(sdk, entry, original, default_watch))
    _patched[entry] = (owner, original)


def default_watch() -> Watch | None:
    """The watch of `instrument_all`, while it is in force."""
    return _default[0] if _default else None


def instrument(watch: Watch) -> list[str]:
    """Watch every SDK that is installed: those imported now, and others as soon as they are."""
    with _lock:
        if _default:
            unhook(_default[0])
        _default[:] = [watch]
        for sdk in SDKS:
            attend(sdk)
    return instrumented_sdks()


def instrumented_sdks() -> list[str]:
    """The SDKs of the table that are installed here."""
    return [sdk.name for sdk in SDKS if _is_installed(sdk.package)]


def _is_installed(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False  # Not even its parent is there.


def uninstrument() -> None:
    """Undo `instrument_all`: the SDKs' classes are as they were. Clients given to `watch` go unwatched from here on,
    until they are given to it again.
    """
    with _lock:
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
        for entry, (owner, original) in _patched.items():
            setattr(owner, entry.method, original)
        _patched.clear()
        _attended.clear()
        if _default:
            unhook(_default.pop())


class _Finder(MetaPathFinder):
    """Finds nothing itself: it wraps a module of the table as soon as the program has imported it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            loader.exec_module = _executing(loader.exec_module, fullname)
        return spec


def _executing(original: Callable[[ModuleType], None], name: str) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        original(module)
        for sdk in SDKS:
            if sdk.name in _attended and any(entry.module == name for entry in sdk.entries):
                patch(sdk)

    return exec_module


_MODULES: Final = frozenset(entry.module for sdk in SDKS for entry in sdk.entries)
_finder: Final = _Finder()
