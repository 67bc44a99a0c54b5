"""`outlay import`: files of events and statements into the ledger, losing no line."""

from __future__ import annotations

import base64
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.exits import Exit
from outlay.faces.cli.options import CsvOption, JsonOption, LedgerOption, form_of
from outlay.faces.cli.render import Form, pairs, show, write_json
from outlay.faces.cli.session import opened, progress

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.bills import ImportedStatement
    from outlay.capture.files import EventReader, FileEvent
    from outlay.capture.lines import BadLine, Contents
    from outlay.faces.bills.booking import Booking
    from outlay.faces.bills.deliveries import Delivery

_STEP: Final = 1_000


PathsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Files or folders of JSONL, CSV or Parquet, gzip too; s3:// and the like; - for standard input.",
    ),
]
NaiveZoneOption = Annotated[
    str | None,
    typer.Option("--zone", metavar="ZONE", help="The IANA zone of times that name none.", show_default=False),
]
KeepTagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="TAG",
        help="Keep this tag though it looks like somebody's words (prompt, topic, text, … are left out).",
        show_default=False,
    ),
]
RejectsOption = Annotated[
    str | None,
    typer.Option(
        "--rejects",
        metavar="PATH",
        help="Where lines go that could not be booked.  [default: beside the input]",
        show_default=False,
    ),
]
SellerOption = Annotated[
    str | None,
    typer.Option("--provider", help="Who sells what a statement lists, where that is unknown.", show_default=False),
]
MeteredOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metered",
        metavar="NAME",
        help="A provider or service whose calls are recorded one by one; its billed rows wait.",
        show_default=False,
    ),
]
RestatesOption = Annotated[
    str | None,
    typer.Option(
        "--restates",
        metavar="WHAT",
        help="What a statement replaces of earlier ones: the rows it names, or its whole period.  "
        "[default: period for a provider's complete export, else rows]",
        show_default=False,
    ),
]


def import_files(
    paths: PathsArgument,
    zone: NaiveZoneOption = None,
    keep: KeepTagOption = None,
    rejects: RejectsOption = None,
    provider: SellerOption = None,
    metered: MeteredOption = None,
    restates: RestatesOption = None,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Book files of events and statements.

    Events are JSONL or CSV. A statement is a FOCUS export, an AWS cost and usage report, an answer of Cost
    Explorer or of OpenAI's or Anthropic's cost API, or CSV with the columns Date,Service,Resource,Cost,Usage,Unit;
    what a file is, it says itself.
    Importing the same again books nothing twice. A line that cannot be booked goes to a rejects file with
    its reason, and the exit code is 1.
    """
    from outlay.capture.files import EventReader
    from outlay.config import load_settings
    from outlay.faces.bills.deliveries import delivered

    form = form_of(json, csv)
    reader = EventReader(zone=zone, keep=frozenset(keep or ()))
    always = [*load_settings().metered, *(metered or ())]
    tally = Tally()
    with opened(ledger, create=True) as book, progress("importing") as advance:
        for path in paths:
            with Rejects(path, rejects) as bin, delivered(path) as found:
                book_delivery(book, found, reader, Importing(tally, bin, advance, provider, zone, always, restates))
            tally.rejects_file = bin.written_to or tally.rejects_file
        tally.texts = reader.texts_dropped
        show_tally(tally, book.currency, form)
    if tally.rejected:
        raise typer.Exit(Exit.FINDING)


class Tally(msgspec.Struct):
    """What an import did, in counts."""

    files: int = 0
    lines: int = 0
    created: int = 0
    exists: int = 0
    charged: int = 0
    waiting: int = 0
    restated: int = 0
    reversed: int = 0
    unpriced: int = 0
    pico: int = 0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    texts: Counter[str] = msgspec.field(default_factory=Counter)
    rejects_file: str | None = None


class Rejects:
    """The file of lines that could not be booked; made only when there is one.

    Each is a JSON line: source, line, code, reason, and the line as it was (`raw`, or `raw_base64` where it is
    not UTF-8). A second import of the same file writes it anew; from standard input it is added to, since the
    lines stand nowhere else.
    """

    def __init__(self, input: str, chosen: str | None) -> None:
        from outlay.capture.lines import REJECTS_SUFFIX, STANDARD_INPUT

        piped = input == STANDARD_INPUT or "://" in input
        beside = f"outlay-import{REJECTS_SUFFIX}" if piped else f"{input.rstrip('/')}{REJECTS_SUFFIX}"
        self.path = Path(chosen or beside)
        self.mode = "ab" if piped or chosen else "wb"
        self.written_to: str | None = None
        self._file: IO[bytes] | None = None

    def add(self, bad: BadLine) -> None:
        """Keep one line. Raises InvalidInput `unwritable_rejects`."""
        if self._file is None:
            try:
                self._file = self.path.open(self.mode)
            except OSError as error:
                raise InvalidInput(
                    f"{self.path} cannot be written ({error.strerror}); say with --rejects where bad lines go",
                    code="unwritable_rejects",
                ) from error
            self.written_to = str(self.path)
        body: dict[str, Any] = {"source": bad.source, "line": bad.line, "code": bad.code, "reason": bad.reason}
        data = bad.raw.encode("utf-8", "surrogateescape")
        try:
            body["raw"] = data.decode()
        except UnicodeDecodeError:
            body["raw_base64"] = base64.b64encode(data).decode()
        self._file.write(msgspec.json.encode(body) + b"\n")

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class Importing(msgspec.Struct, frozen=True):
    """What one file's booking needs beside the file."""

    tally: Tally
    rejects: Rejects
    advance: Any
    provider: str | None
    zone: str | None
    metered: list[str]
    restates: str | None = None


def book_delivery(book: Ledger, found: Delivery, reader: EventReader, to: Importing) -> None:
    """Book what lies at one address: the tables of a bill, answers of cost APIs, files of anything else."""
    from outlay.capture.lines import contents_of, open_bytes
    from outlay.faces.bills.booking import book_body, book_tables

    to.tally.files += len(found.tables) + len(found.bodies)
    if found.tables:
        booking = booking_of(to)
        for booked in book_tables(book, found.tables, found.whole, booking):
            count_statement(booked, found.tables[0].name, to)
        to.tally.lines += booking.lines
    for name, body in found.bodies:
        booking = booking_of(to)
        answer = book_body(book, body, name, booking)
        if answer is not None:
            count_statement(answer, name, to)
        to.tally.lines += booking.lines
    for name, path in found.others:
        with open_bytes(str(path)) as stream:
            book_file(book, contents_of(stream, name), reader, to)


def booking_of(to: Importing) -> Booking:
    """How a bill of this import is booked."""
    from outlay.faces.bills.booking import Booking

    return Booking(
        reject=lambda bad: _reject(bad, to),
        advance=to.advance,
        provider=to.provider,
        metered=to.metered,
        restates=to.restates,
    )


def book_file(book: Ledger, contents: Contents, reader: EventReader, to: Importing) -> None:
    """Book one file, whatever it holds, and count what became of it."""
    from outlay.capture.lines import FileKind

    to.tally.files += 1
    if contents.kind is FileKind.STATEMENT_CSV:
        book_statement(book, contents, to)
    else:
        book_events(book, reader.read(contents), to)


def book_events(book: Ledger, events: Iterator[FileEvent | BadLine], to: Importing) -> None:
    """Book events in groups; what the ledger refuses is rejected with its line."""
    from outlay.capture.lines import BadLine
    from outlay.model import PricingStatus

    waiting: deque[FileEvent] = deque()

    def usable() -> Iterator[dict[str, Any]]:
        for found in events:
            to.tally.lines += 1
            if to.tally.lines % _STEP == 0:
                to.advance(_STEP)
            if isinstance(found, BadLine):
                _reject(found, to)
            else:
                waiting.append(found)
                yield found.fields

    for outcome in book.record_stream(usable()):
        line = waiting.popleft()
        if outcome.code == "created":
            to.tally.created += 1
            to.tally.pico += outcome.amount
            to.tally.unpriced += outcome.pricing_status is PricingStatus.UNPRICED
        elif outcome.code in ("exists", "seen"):
            to.tally.exists += 1
        else:
            _reject(BadLine(line.source, line.line, outcome.code, outcome.message, line.raw), to)


def book_statement(book: Ledger, contents: Contents, to: Importing) -> None:
    """Book a bill: rows of unmetered services are charged, those of metered ones wait for reconciliation."""
    from outlay.capture.statements import read_statement
    from outlay.faces.bills.booking import book_statement as booked_of

    booking = booking_of(to)
    rows = read_statement(contents, provider=to.provider)
    booked = booked_of(book, rows, contents.source, to.zone, booking)
    to.tally.lines += booking.lines
    if booked is not None:
        count_statement(booked, contents.source, to)


def count_statement(booked: ImportedStatement, source: str, to: Importing) -> None:
    """Count what became of a statement; rows that it held twice and conflicts are rejected with their reason."""
    from outlay.capture.lines import BadLine

    to.tally.charged += booked.charged
    to.tally.waiting += booked.waiting
    to.tally.restated += booked.restated
    to.tally.reversed += booked.reversed
    to.tally.exists += booked.known
    to.tally.pico += booked.amount.pico
    for number in booked.repeated:
        reason = "a row with the same key came before; a row of a bill is used once"
        _reject(BadLine(source, number, "repeated_row", reason, ""), to)
    for conflict in booked.conflicts:
        code = conflict.rsplit(": ", 1)[-1]
        _reject(BadLine(source, 0, code, f"{conflict}; somebody else changed it meanwhile: import it again", ""), to)


def _reject(bad: BadLine, to: Importing) -> None:
    to.tally.rejected[bad.code] += 1
    to.rejects.add(bad)


def show_tally(tally: Tally, currency: str, form: Form) -> None:
    """Say what the import did."""
    from outlay.money import Money

    facts: dict[str, Any] = {
        "files": tally.files,
        "lines": tally.lines,
        "events_booked": tally.created,
        "rows_charged": tally.charged,
        "rows_waiting": tally.waiting,
        "charges_restated": tally.restated,
        "charges_reversed": tally.reversed,
        "known_already": tally.exists,
        "unpriced": tally.unpriced,
        "cost_booked": Money(tally.pico, currency),
        "rejected": sum(tally.rejected.values()),
        "texts_left_out": sum(tally.texts.values()),
    }
    if form is Form.JSON:
        reasons = {"rejected_by_reason": dict(tally.rejected), "texts_by_name": dict(tally.texts)}
        write_json({**facts, **reasons, "rejects_file": tally.rejects_file})
        return
    if form is Form.TABLE:
        facts = {name.replace("_", " "): value for name, value in facts.items() if value or name == "lines"}
        for code, count in tally.rejected.most_common():
            facts[f"  rejected: {code}"] = count
        for name, count in tally.texts.most_common():
            facts[f"  left out: {name}"] = count
        if tally.rejects_file:
            facts["rejects file"] = tally.rejects_file
    show(pairs("", facts.items()), form)
