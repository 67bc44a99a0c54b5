"""The same PNG in a fraction of its bytes, so that a mail with pictures stays small.

What draws the charts filters every line by its neighbour, which flat areas and few colours compress badly under. Here
the pixels are written again, unfiltered, and where they are few colours as places in a table. No pixel changes.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
COLOURS_MOST: Final = 256
_HEADER: Final = struct.Struct(">IIBBBBB")
_RGBA: Final = (8, 6, 0, 0, 0)
"""Eight bits, red, green, blue and opacity, not interlaced: the only kind that is packed."""

_PIXEL: Final = 4
_OPAQUE: Final = 255
_ORDER: Final[Literal["little", "big"]] = sys.byteorder
"""In which a pixel is one number, so that lines are compared by the pixel."""


def packed(png: bytes) -> bytes:
    """The picture with fewer bytes; as it was where it is of another kind."""
    chunks = list(_chunks(png))
    width, height, *kind = _HEADER.unpack(chunks[0][1])
    if tuple(kind) != _RGBA:
        return png
    raw = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    lines = _lines(raw, width * _PIXEL)
    if lines is None or len(lines) != height:
        return png
    colours = {colour for line in lines for colour in set(memoryview(line).cast("I"))}
    colour_type, tables, pixels = _indexed(lines, colours) if len(colours) <= COLOURS_MOST else _plain(lines)
    parts = [
        (b"IHDR", _HEADER.pack(width, height, 8, colour_type, 0, 0, 0)),
        *((name, body) for name, body in chunks if name == b"pHYs"),
        *tables,
        (b"IDAT", zlib.compress(pixels, 9)),
        (b"IEND", b""),
    ]
    return SIGNATURE + b"".join(_chunk(name, body) for name, body in parts)


_Written = tuple[int, list[tuple[bytes, bytes]], bytes]
"""A kind of picture, the tables that it needs, and its lines."""


def _indexed(lines: list[bytes], colours: set[int]) -> _Written:
    """Each pixel as its place in a table; those that can be seen through come first, so that their table is short."""
    table = sorted((colour.to_bytes(_PIXEL, _ORDER) for colour in colours), key=lambda one: (one[3], one))
    places = {int.from_bytes(colour, _ORDER): at for at, colour in enumerate(table)}
    pixels = b"".join(b"\x00" + bytes(map(places.__getitem__, memoryview(line).cast("I"))) for line in lines)
    opacity = bytes(colour[3] for colour in table if colour[3] < _OPAQUE)
    tables = [(b"PLTE", b"".join(colour[:3] for colour in table)), *([(b"tRNS", opacity)] if opacity else [])]
    return 3, tables, pixels


def _plain(lines: list[bytes]) -> _Written:
    """The pixels as they are, without their opacity if nothing can be seen through."""
    if any(line[3::_PIXEL].strip(bytes([_OPAQUE])) for line in lines):
        return 6, [], b"".join(b"\x00" + line for line in lines)
    found = []
    for line in lines:
        opaque = bytearray(len(line) // _PIXEL * 3)
        for channel in range(3):
            opaque[channel::3] = line[channel::_PIXEL]
        found.append(b"\x00" + bytes(opaque))
    return 2, [], b"".join(found)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _lines(raw: bytes, length: int) -> list[bytes] | None:
    """The lines without their filter, None where one has another than "none" or "by the pixel to the left"."""
    lines = []
    for start in range(0, len(raw), length + 1):
        line = raw[start + 1 : start + 1 + length]
        if raw[start] == 1:
            whole = bytearray(length)
            for channel in range(_PIXEL):
                whole[channel::_PIXEL] = bytes(value & 0xFF for value in accumulate(line[channel::_PIXEL]))
            line = bytes(whole)
        elif raw[start]:
            return None
        lines.append(line)
    return lines
