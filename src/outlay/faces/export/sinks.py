"""Where rows are written as they come: CSV, CSV in gzip, Parquet, JSON lines; a file that is not whole never stands.

A row is a mapping of column names to text, None for null. Numbers are text until the last step, so that no digit is
lost on the way; Parquet's decimals have 18 places, which holds every amount of Outlay exactly.
"""

from __future__ import annotations

import csv
import gzip
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Protocol

from outlay.clock import to_datetime, to_instant
from outlay.errors import InvalidInput, MissingExtra
from outlay.faces.export.focus_columns import ColumnKind
from outlay.money import EXACT

Row = Mapping[str, Any]
KindOf = Callable[[str], ColumnKind]

STANDARD_OUTPUT: Final = "-"
BATCH_ROWS: Final = 20_000
"""Rows of a Parquet row group: what is held in memory at once."""

PLACES: Final = 18


class FileForm(StrEnum):
    """How a file is written."""

    CSV = "csv"
    GZIP = "csv.gz"
    PARQUET = "parquet"
    JSONL = "jsonl"


class Sink(Protocol):
    """Takes rows one by one. As a context it keeps the file only if all went well."""

    def write(self, row: Row) -> None:
        """Add a row; a column that the row lacks is null."""
        ...

    def __enter__(self) -> Sink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def form_of_file(path: str) -> FileForm:
    """How a file of that name is written. Raises InvalidInput `unknown_form`."""
    if path == STANDARD_OUTPUT:
        return FileForm.CSV
    for form in (FileForm.GZIP, FileForm.CSV, FileForm.PARQUET, FileForm.JSONL):
        if path.lower().endswith(f".{form.value}"):
            return form
    raise InvalidInput(
        f"{path} ends with none of .csv, .csv.gz, .parquet, .jsonl, which say how it is written", code="unknown_form"
    )


def open_sink(path: str, columns: Sequence[str], kind_of: KindOf, form: FileForm | None = None) -> Sink:
    """A sink by the file's name; `-` is standard output.

    Raises InvalidInput `unknown_form` or `unwritable_file`, MissingExtra where Parquet needs pyarrow.
    """
    chosen = form or form_of_file(path)
    if chosen is FileForm.PARQUET:
        return ParquetSink(path, columns, kind_of)
    if chosen is FileForm.JSONL:
        return JsonSink(path, columns)
    return CsvSink(path, columns, compressed=chosen is FileForm.GZIP)


class _Partial:
    """A file that gets its name when it is whole."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.partial")
        try:
            self.stream: IO[bytes] = self.partial.open("wb")
        except OSError as error:
            raise InvalidInput(f"{path} cannot be written: {error.strerror}", code="unwritable_file") from error

    def finish(self, whole: bool) -> None:
        self.stream.close()
        if whole:
            self.partial.replace(self.path)
        else:
            self.partial.unlink(missing_ok=True)


class CsvSink:
    """CSV as RFC 4180 has it, in UTF-8; null is an empty field."""

    def __init__(self, path: str, columns: Sequence[str], *, compressed: bool = False) -> None:
        """See `open_sink`."""
        import io

        self._columns = columns
        self._partial = None if path == STANDARD_OUTPUT else _Partial(path)
        below: Any = sys.stdout.buffer if self._partial is None else self._partial.stream
        # No time in the head of the gzip, so that the same rows give the same bytes.
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=below, mtime=0) if compressed else None
        self._text = io.TextIOWrapper(self._gzip or below, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, row: Row) -> None:
        """See `Sink`."""
        get = row.get
        self._writer.writerow([get(name) for name in self._columns])

    def __enter__(self) -> CsvSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.flush()
        self._text.detach()
        if self._gzip is not None:
            self._gzip.close()
        if self._partial is not None:
            self._partial.finish(kind is None)
        else:
            sys.stdout.flush()


class JsonSink:
    """A JSON object a line, nulls left out; numbers are exact decimal text."""

    def __init__(self, path: str, columns: Sequence[str] | None = None) -> None:
        """See `open_sink`; without `columns` all that a row has is written."""
        import msgspec

        self._encode = msgspec.json.Encoder().encode
        self._columns = columns
        self._partial = None if path == STANDARD_OUTPUT else _Partial(path)
        self._stream: Any = sys.stdout.buffer if self._partial is None else self._partial.stream

    def write(self, row: Row) -> None:
        """See `Sink`."""
        names = row if self._columns is None else self._columns
        told = {name: row[name] for name in names if row.get(name) is not None}
        self._stream.write(self._encode(told) + b"\n")

    def __enter__(self) -> JsonSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._partial is not None:
            self._partial.finish(kind is None)
        else:
            self._stream.flush()


class ParquetSink:
    """Parquet with exact decimals (38 digits, 18 of them places), UTC times and zstd."""

    def __init__(self, path: str, columns: Sequence[str], kind_of: KindOf) -> None:
        """See `open_sink`."""
        if path == STANDARD_OUTPUT:
            raise InvalidInput("Parquet is written to a file, not to standard output", code="unknown_form")
        self._pa = _pyarrow()
        import pyarrow.parquet

        types = {
            ColumnKind.TEXT: self._pa.string(),
            ColumnKind.JSON: self._pa.string(),
            ColumnKind.DECIMAL: self._pa.decimal128(38, PLACES),
            ColumnKind.TIME: self._pa.timestamp("us", tz="UTC"),
        }
        readers: dict[ColumnKind, Callable[[str], Any]] = {
            ColumnKind.TEXT: str,
            ColumnKind.JSON: str,
            ColumnKind.DECIMAL: parquet_decimal,
            ColumnKind.TIME: lambda text: to_datetime(to_instant(text)),
        }
        self._schema = self._pa.schema([(name, types[kind_of(name)]) for name in columns])
        self._read = [(name, readers[kind_of(name)]) for name in columns]
        self._batch: list[Row] = []
        self._partial = _Partial(path)
        self._writer = pyarrow.parquet.ParquetWriter(self._partial.stream, self._schema, compression="zstd")

    def write(self, row: Row) -> None:
        """See `Sink`."""
        self._batch.append(dict(row))
        if len(self._batch) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        arrays = [self._array(name, read) for name, read in self._read]
        self._writer.write_batch(self._pa.record_batch(arrays, schema=self._schema))
        self._batch.clear()

    def _array(self, name: str, read: Callable[[str], Any]) -> Any:
        kind = self._schema.field(name).type
        values = [row.get(name) or None for row in self._batch]
        if not any(values):
            return self._pa.nulls(len(values), kind)
        # Prices, periods and names repeat from row to row.
        known = {text: read(str(text)) for text in set(values) if text is not None}
        return self._pa.array([None if text is None else known[text] for text in values], type=kind)

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._batch:
            self._flush()
        self._writer.close()
        self._partial.finish(kind is None)


def parquet_decimal(text: str) -> Decimal:
    """A decimal of 18 places. Raises InvalidInput `too_precise` where digits would be lost."""
    value = Decimal(text)
    placed = value.quantize(Decimal(1).scaleb(-PLACES, EXACT), context=EXACT)
    if placed != value:
        raise InvalidInput(
            f"{text[:60]} has more than {PLACES} decimals; write CSV, which keeps all", code="too_precise"
        )
    return placed


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtra("Parquet needs pyarrow: pip install 'outlay[arrow]'") from error
    return pyarrow
