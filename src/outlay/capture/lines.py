"""Files as numbered raw lines: plain or gzip, one file, a folder of them, or standard input.

A line that cannot be used becomes a BadLine that keeps it whole; reading goes on.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from outlay.errors import InvalidInput

LINE_BYTES_MAX: Final = 1 << 20
STANDARD_INPUT: Final = "-"
REJECTS_SUFFIX: Final = ".rejects.jsonl"
STATEMENT_COLUMNS: Final = ("date", "service", "resource", "cost", "usage", "unit")
"""The columns of a statement, in any order and case; `provider` and `currency` may stand beside them."""

_GZIP_MAGIC: Final = b"\x1f\x8b"
_QUOTED_LINES_MAX: Final = 50
_BYTE_ORDER_MARK: Final = "\ufeff"


class BadLine(msgspec.Struct, frozen=True):
    """A line that was not booked: where it stands, a stable code, the reason in words, and the line itself.

    Bytes that are not UTF-8 stand in `raw` as lone surrogates, so nothing of the line is lost.
    """

    source: str
    line: int
    code: str
    reason: str
    raw: str


class FileKind(StrEnum):
    """What a file holds, told by its first line."""

    EVENTS_JSONL = "events in JSONL"
    EVENTS_CSV = "events in CSV"
    STATEMENT_CSV = "a statement in CSV"
    EMPTY = "nothing"


class Line(msgspec.Struct, frozen=True):
    """One physical line, without its line end; the first is number 1."""

    number: int
    raw: str


class Row(msgspec.Struct, frozen=True):
    """One CSV record: its cells, the physical line it starts at, and its text."""

    number: int
    raw: str
    cells: list[str]


class Contents(NamedTuple):
    """An open file whose first line has been looked at: its kind, that line, the bad ones before it, the rest."""

    source: str
    kind: FileKind
    first: Line
    bad: list[BadLine]
    rest: Iterator[Line | BadLine]

    def lines(self) -> Iterator[Line | BadLine]:
        """All lines, from the first on."""
        yield from self.bad
        if self.kind is not FileKind.EMPTY:
            yield self.first
        yield from self.rest


def files_under(address: str) -> list[str]:
    """The files to read for `-`, a file, or a folder (sorted by path; hidden and rejects files left out).

    Raises InvalidInput `no_such_file` or `empty_folder`.
    """
    if address == STANDARD_INPUT:
        return [STANDARD_INPUT]
    path = Path(address)
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.is_file() and _wanted(file, path))
        if not found:
            raise InvalidInput(f"folder {address} holds no files to import", code="empty_folder")
        return found
    if not path.exists():
        raise InvalidInput(f"{address} does not exist; give a file, a folder or - ", code="no_such_file")
    return [address]


def _wanted(file: Path, folder: Path) -> bool:
    inside = file.relative_to(folder)
    return not any(part.startswith(".") for part in inside.parts) and not file.name.endswith(REJECTS_SUFFIX)


@contextmanager
def open_bytes(address: str) -> Iterator[IO[bytes]]:
    """The unpacked bytes of a file or of standard input; gzip is known by its first bytes, not by its name.

    Raises InvalidInput `unreadable_file`.
    """
    piped = address == STANDARD_INPUT
    with ExitStack() as opened:
        try:
            stream = opened.enter_context(open(0 if piped else address, "rb", closefd=not piped))
            if stream.peek(2)[:2] == _GZIP_MAGIC:
                stream = opened.enter_context(io.BufferedReader(gzip.GzipFile(fileobj=stream)))
        except OSError as error:
            raise InvalidInput(f"{address} cannot be read: {error.strerror}", code="unreadable_file") from error
        yield stream


def contents_of(stream: IO[bytes], source: str) -> Contents:
    """What an open binary stream holds. Raises InvalidInput `json_array`."""
    lines = lines_of(stream, source)
    bad: list[BadLine] = []
    for line in lines:
        if isinstance(line, Line):
            return Contents(source, kind_of(line.raw), line, bad, lines)
        bad.append(line)
    return Contents(source, FileKind.EMPTY, Line(0, ""), bad, lines)


def kind_of(header: str) -> FileKind:
    """What a file holds, by its first line that is not blank."""
    if not header.strip():
        return FileKind.EMPTY
    if header.lstrip().startswith("{"):
        return FileKind.EVENTS_JSONL
    if header.lstrip().startswith("["):
        raise InvalidInput(
            "the file is one JSON array; write one object a line instead (jq -c '.[]' does)", code="json_array"
        )
    cells = next(csv.reader([header], delimiter=delimiter_of(header)), [])
    return FileKind.STATEMENT_CSV if is_statement_header(cells) else FileKind.EVENTS_CSV


def is_statement_header(cells: Sequence[str]) -> bool:
    """Whether a CSV header is a bill's: all six columns, whatever their order and case."""
    return set(STATEMENT_COLUMNS) <= {cell.strip().lower() for cell in cells}


def delimiter_of(header: str) -> str:
    """The sign between a header's columns: comma, else semicolon, else tab."""
    return max(",;\t", key=lambda sign: (header.count(sign), sign == ","))


def lines_of(stream: IO[bytes], source: str) -> Iterator[Line | BadLine]:
    """Every line that is not blank. An over-long line, one that is not UTF-8, or a broken end is a BadLine."""
    number = 0
    while True:
        try:
            data = stream.readline()
        except (EOFError, zlib.error, OSError) as error:
            reason = f"the file breaks off after line {number}: {error}"
            yield BadLine(source, number + 1, "broken_file", reason, "")
            return
        if not data:
            return
        number += 1
        line = _line(data, number, source)
        if line is not None:
            yield line


def _line(data: bytes, number: int, source: str) -> Line | BadLine | None:
    data = data.rstrip(b"\r\n")
    if not data.strip():
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raw = data.decode("utf-8", "surrogateescape")
        return BadLine(source, number, "not_utf8", "the line is not UTF-8 text; save the file as UTF-8", raw)
    if number == 1:
        text = text.removeprefix(_BYTE_ORDER_MARK)
    if len(data) > LINE_BYTES_MAX:
        reason = f"the line has {len(data):,} bytes; at most {LINE_BYTES_MAX:,} are read"
        return BadLine(source, number, "line_too_long", reason, text)
    return Line(number, text)


def rows_of(lines: Iterator[Line | BadLine], delimiter: str, source: str, width: int) -> Iterator[Row | BadLine]:
    """CSV records of `width` cells. A quoted cell may span lines; a quote astray costs its own line, not the rest."""
    waiting: deque[Line | BadLine] = deque()

    def following() -> Line | BadLine | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (first := following()) is not None:
        if isinstance(first, BadLine):
            yield first
            continue
        text, more = _quoted_to_the_end(first.raw, following)
        row = _row(first.number, text, delimiter, source, width)
        if isinstance(row, BadLine) and more:
            # What was taken for the rest of a quoted cell may be good lines: only the first is given up.
            waiting.extendleft(reversed(more))
            row = BadLine(source, first.number, "bad_csv", "a quote opens and does not close as it should", first.raw)
        yield row


def _quoted_to_the_end(text: str, following: Callable[[], Line | BadLine | None]) -> tuple[str, list[Line | BadLine]]:
    """The text of a record whose last quote may close on a later line, and the further lines that were taken."""
    more: list[Line | BadLine] = []
    while text.count('"') % 2 and len(more) < _QUOTED_LINES_MAX:
        after = following()
        if after is None:
            break
        more.append(after)
        if isinstance(after, BadLine):
            break
        text = f"{text}\n{after.raw}"
    return text, more


def _row(number: int, text: str, delimiter: str, source: str, width: int) -> Row | BadLine:
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error as error:
        return BadLine(source, number, "bad_csv", f"the line is not CSV: {error}", text)
    if len(cells) != width:
        reason = f"the line has {len(cells)} cells under {width} columns"
        return BadLine(source, number, "bad_csv", reason, text)
    return Row(number, text, [cell.strip() for cell in cells])
