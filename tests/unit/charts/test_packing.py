"""A packed picture has the same pixels."""

from __future__ import annotations

import struct
import zlib
from importlib import import_module

import pytest

from outlay.faces import charts
from outlay.faces.charts.packing import SIGNATURE, packed

BARS = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "data": {"values": [{"a": letter, "b": at} for at, letter in enumerate("abcdef", 1)]},
    "mark": {"type": "bar", "opacity": 0.7},
    "encoding": {
        "x": {"field": "a", "type": "nominal"},
        "y": {"field": "b", "type": "quantitative"},
        "color": {"field": "a", "type": "nominal"},
    },
}


def pixels(png: bytes) -> list[bytes]:
    """Each pixel as four bytes: read line by line, by the book (PNG, 3rd edition, section 9)."""
    at, data, table, seen_through = 8, b"", b"", b""
    header = struct.unpack_from(">IIBBBBB", png, 16)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name, body = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(name + body),)
        data += body if name == b"IDAT" else b""
        table = body if name == b"PLTE" else table
        seen_through = body if name == b"tRNS" else seen_through
        at += 12 + length
    size = {2: 3, 3: 1, 6: 4}[header[3]]
    raw, found = zlib.decompress(data), []
    step = header[0] * size + 1
    for start in range(0, len(raw), step):
        line = bytearray(raw[start + 1 : start + step])
        assert raw[start] in (0, 1)
        for place in range(size, len(line) if raw[start] else 0):
            line[place] = (line[place] + line[place - size]) & 0xFF
        for place in range(0, len(line), size):
            if size > 1:
                found.append(bytes(line[place : place + size]).ljust(4, b"\xff"))
            else:
                index = line[place]
                opacity = seen_through[index] if index < len(seen_through) else 255
                found.append(table[3 * index : 3 * index + 3] + bytes([opacity]))
    return found


@pytest.mark.parametrize("background", ["#ffffff", "transparent"])
def test_no_pixel_changes_and_most_bytes_are_gone(background: str) -> None:
    drawn = import_module("vl_convert").vegalite_to_png({**BARS, "background": background}, scale=1)
    smaller = packed(drawn)
    assert pixels(smaller) == pixels(drawn)
    assert len(smaller) < len(drawn) / 2


def picture(kind: tuple[int, ...], raw: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *kind)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def test_what_cannot_be_packed_is_left_as_it_is() -> None:
    for one in (
        picture((1, 1, 8, 2, 0, 0, 0), b"\x00abc"),
        picture((1, 1, 8, 6, 0, 0, 0), b"\x04abcd"),
    ):
        assert packed(one) == one


@pytest.mark.parametrize("opacity", [0, 255])
def test_a_picture_of_many_colours_keeps_them_all(opacity: int) -> None:
    many = b"".join(struct.pack(">I", colour * 7919)[:3] + bytes([255]) for colour in range(299))
    drawn = picture((300, 1, 8, 6, 0, 0, 0), b"\x00" + many + bytes([1, 2, 3, opacity]))
    assert pixels(packed(drawn)) == pixels(drawn)


def test_a_chart_is_small_enough_for_a_mail() -> None:
    amounts = [7 * at % 50 for at in range(60)]
    assert len(charts.png(charts.sized(charts.sparkline(amounts), 600, 300), scale=2)) < 30_000
