"""Exported bills as records: CSV plain, gzip or zip, and Parquet, a few thousand rows at a time."""

from __future__ import annotations

import csv
import importlib
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from outlay.capture.lines import BadLine, Line, delimiter_of, lines_of, open_bytes
from outlay.capture.statement_layouts import Layout, layout_of
from outlay.capture.statement_table import Record, TableReader, records_of
from outlay.capture.statements import BilledRow
from outlay.errors import InvalidInput, MissingExtra

PARQUET: Final = b"PAR1"
_ROWS: Final = 5_000
_BLOCK: Final = 1 << 20


class TableFile(msgspec.Struct, frozen=True):
    """A file that holds a bill as a table: where it is, what it is called, its layout and its columns."""

    path: Path
    name: str
    layout: Layout
    header: list[str]


def table_file(path: Path, name: str) -> TableFile | None:
    """The table in a file; None where it is none that is known.

    Raises MissingExtra for Parquet without pyarrow, InvalidInput `unreadable_file`.
    """
    header = _parquet_header(path) if is_parquet(path) else _csv_header(path)
    layout = layout_of(header)
    return None if layout is None else TableFile(path, name, layout, header)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(4) == PARQUET
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", code="unreadable_file") from error


def digest_of(files: list[TableFile]) -> str:
    """What tells the same files again, whatever they are called."""
    total = blake2b(digest_size=12)
    parts = []
    for file in files:
        own = blake2b(digest_size=32)
        with file.path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                own.update(block)
        parts.append(own.digest())
    for part in sorted(parts):
        total.update(part)
    return total.hexdigest()


def rows_of_table(
    file: TableFile, columns: list[str], provider: str | None, advance: Callable[[int], None]
) -> Iterator[BilledRow | BadLine]:
    """The rows of a table; `columns` are kept of each, in this order. `advance` is told of every row read."""
    reader = TableReader(file.layout, file.header, file.name, provider, columns)
    for count, record in enumerate(_records(file), 1):
        if count % _ROWS == 0:
            advance(_ROWS)
        yield record if isinstance(record, BadLine) else reader.read(record)


def _records(file: TableFile) -> Iterator[Record | BadLine]:
    if is_parquet(file.path):
        yield from _parquet_records(file.path)
        return
    with _unpacked(file.path) as stream:
        lines = lines_of(stream, file.name)
        first = _first_line(lines)
        if first is not None:
            yield from records_of(lines, delimiter_of(first.raw), file.name, len(file.header))


def _csv_header(path: Path) -> list[str]:
    with _unpacked(path) as stream:
        first = _first_line(lines_of(stream, str(path)))
    if first is None:
        return []
    try:
        return next(csv.reader([first.raw], delimiter=delimiter_of(first.raw)), [])
    except csv.Error:
        return []  # A line of JSON, say, with more in one cell than a header ever has.


def _first_line(lines: Iterator[Line | BadLine]) -> Line | None:
    return next((line for line in lines if isinstance(line, Line)), None)


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, out of a zip or gzip where it is one."""
    with ExitStack() as opened:
        if zipfile.is_zipfile(path):
            archive = opened.enter_context(zipfile.ZipFile(path))
            name = next((name for name in archive.namelist() if not name.endswith("/")), None)
            if name is None:
                raise InvalidInput(f"{path} is an empty archive", code="unreadable_file")
            yield opened.enter_context(archive.open(name))
        else:
            yield opened.enter_context(open_bytes(str(path)))


def _parquet() -> Any:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtra("Parquet needs the extra: pip install 'outlay[bills]'") from error


@contextmanager
def _opened_parquet(path: Path) -> Iterator[Any]:
    parquet = _parquet()
    invalid = importlib.import_module("pyarrow").ArrowInvalid
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (OSError, invalid) as error:
        raise InvalidInput(f"{path} is no sound Parquet file: {error}", code="unreadable_file") from error


def _parquet_header(path: Path) -> list[str]:
    with _opened_parquet(path) as file:
        return list(file.schema_arrow.names)


def _parquet_records(path: Path) -> Iterator[Record]:
    number = 0
    with _opened_parquet(path) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            columns = [list(map(text_of, column.to_pylist())) for column in batch.columns]
            for cells in zip(*columns, strict=True):
                number += 1
                yield Record(number, "\t".join(cells), list(cells))


def text_of(value: Any) -> str:
    """A cell of a typed file as the text that a CSV would hold; a float by its shortest digits, never rounded."""
    if value is None:
        return ""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is float:
        return format(Decimal(repr(value)), "f")
    if kind is Decimal:
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | dict):
        return json.dumps(value, default=str)
    return str(value)
