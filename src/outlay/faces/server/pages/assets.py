"""The files that pages load: compressed once, named by their content, kept by browsers for good."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from outlay.config import cache_folder
from outlay.errors import MissingExtra, NotFound

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
DRAWING: Final = "drawing"
"""The name under which the library that draws charts is served."""

_BUNDLER: Final = "vl-convert-python"
_MAKE: Final = "import sys, vl_convert; sys.stdout.write(vl_convert.javascript_bundle())"
_MAKING_SECONDS_MAX: Final = 120


class Asset(msgspec.Struct, frozen=True):
    """A file as it is sent, gzipped."""

    body: bytes
    media_type: str


class Assets:
    """Every file under its name with a digest in it."""

    def __init__(self) -> None:
        """Reads the files; the library that draws charts is made later, see `drawing`."""
        self._files: dict[str, Asset] = {}
        self._names: dict[str, str] = {}
        self._making = asyncio.Lock()
        for path in sorted(FOLDER.iterdir()):
            if path.suffix in TYPES:
                self._add(path.name, path.read_bytes())
        self._drawing = f"{DRAWING}.{_digest(_bundler_version().encode())}.js"

    def url(self, name: str) -> str:
        """Where a file is served."""
        return f"/static/{self._drawing if name == DRAWING else self._names[name]}"

    async def get(self, name: str) -> Asset:
        """A file by its name with the digest. Raises NotFound `no_such_file`."""
        if name == self._drawing:
            return await self.drawing()
        found = self._files.get(name)
        if found is None:
            raise NotFound("there is no such file", code="no_such_file")
        return found

    async def drawing(self) -> Asset:
        """Vega, Vega-Lite and Vega-Embed in one file, made once for this version and kept in the cache folder.

        Raises MissingExtra where the extra `charts` is not installed.
        """
        async with self._making:
            found = self._files.get(self._drawing)
            if found is None:
                body = await asyncio.to_thread(_kept_or_made, cache_folder() / f"{self._drawing}.gz")
                found = self._files[self._drawing] = Asset(body, TYPES[".js"])
            return found

    def _add(self, name: str, body: bytes) -> None:
        stem, _, ending = name.rpartition(".")
        named = f"{stem}.{_digest(body)}.{ending}"
        self._names[name] = named
        self._files[named] = Asset(gzip.compress(body, 9, mtime=0), TYPES[f".{ending}"])


def _kept_or_made(path: Path) -> bytes:
    if path.is_file():
        return path.read_bytes()
    body = gzip.compress(_made(), 9, mtime=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
        Path(name).replace(path)
    except OSError:
        # A folder that cannot be written costs the next start some seconds, and nothing else.
        return body
    return body


def _made() -> bytes:
    """The bundle, made in a process of its own: it takes more memory than a server should keep."""
    if not _bundler_version():
        raise MissingExtra("charts need vl-convert-python: pip install 'outlay[charts]'")
    done = subprocess.run(  # noqa: S603 - this interpreter, with words that are written above
        [sys.executable, "-c", _MAKE], capture_output=True, timeout=_MAKING_SECONDS_MAX, check=False
    )
    if done.returncode:
        raise MissingExtra("the library that draws charts could not be made by vl-convert-python")
    return done.stdout


def _bundler_version() -> str:
    try:
        return importlib.metadata.version(_BUNDLER)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:12]
