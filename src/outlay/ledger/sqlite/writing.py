"""Appending and correcting entries: identity first, then the rows, all in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import apsw
from msgspec.structs import force_setattr

from outlay.clock import DAY_MICROSECONDS
from outlay.errors import InvalidInput
from outlay.ledger import rules, sightings
from outlay.ledger.codec import Decoder, Row, encoder
from outlay.ledger.names import Ids, NameBook, Names
from outlay.ledger.sqlite.connections import Connections, Meta, read_meta
from outlay.ledger.sqlite.statements import Executes, sql
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import Appended, Entry, Outcome, copied

CHANGED_MEANWHILE: Final = "changed_meanwhile"
_CREATED: Final = Outcome.CREATED.value
_SEEN: Final = Outcome.SEEN.value
_KEYS_DROPPED: Final = 1_024
_INSERT_IDENTITY: Final = sql("insert_identity")
_INSERT_ENTRY: Final = sql("insert_entry")
_Key = tuple[int, int]


class Write:
    """One write transaction's view: where its sequence stands and how it encodes and decodes."""

    def __init__(
        self, connection: apsw.Connection, meta: Meta, names: Names, cursor: apsw.Cursor | None = None
    ) -> None:
        """`cursor` is for statements that give at most one row."""
        self.connection = connection
        self.cursor: Executes = cursor or connection
        self.meta = meta
        self.names = names
        self.next_seq = meta.last_seq + 1
        self._decoder: Decoder | None = None
        self.fresh: Ids | None = None
        self.corrections: list[Entry] = []
        self._encode: Callable[[Entry], list[Any]] | None = None

    @property
    def decoder(self) -> Decoder:
        """Turns rows into entries."""
        if self._decoder is None:
            self._decoder = Decoder(self.connection, self.names)
        return self._decoder

    def encode(self, entry: Entry) -> list[Any]:
        """The row of an entry; its new names are interned."""
        if self._encode is None:
            self.fresh = self.names.interning(self.connection, entry.recorded_at)
            self._encode = encoder(self.fresh)
        return self._encode(entry)

    def row(self, entry: Entry) -> list[Any]:
        """The row of an entry, by the names that are known if they suffice."""
        try:
            return self.names.encoder(encoder)(entry)
        except KeyError:
            return self.encode(entry)

    def insert(self, entry: Entry, row: list[Any]) -> Entry:
        """Write one row; the entry as it stands in the ledger."""
        seq = row[0] = self.next_seq
        self.next_seq += 1
        self.cursor.execute(_INSERT_ENTRY, row)
        return _numbered(entry, seq)

    def event(self, root: int) -> list[Entry]:
        """All entries of an event by seq."""
        return [self.decoder.entry(row) for row in self.connection.execute(sql("event_entries"), (root,))]


def prepare(entries: Sequence[Entry], names: Names) -> list[list[Any] | None]:
    """Rows of the entries whose names are all known; None for the others, which a transaction must encode.

    Raises InvalidInput for what cannot be stored.
    """
    rows: list[list[Any] | None] = []
    encode = names.encoder(encoder)
    for entry in entries:
        try:
            rows.append(encode(entry))
        except KeyError:
            rows.append(None)
        except OverflowError as error:
            raise _beyond_64_bits(entry) from error
        except UnicodeEncodeError as error:
            raise rules.bad_text(entry.event) from error
    return rows


def append(
    connections: Connections,
    book: NameBook,
    entries: Sequence[Entry],
    epoch: int | None,
    also: Callable[[Write, list[Appended]], None] | None = None,
) -> list[Appended]:
    """See LedgerStore.append. `also` writes what belongs to the same transaction."""
    try:
        names = book.newest
        rows = prepare(entries, names)
        keys = [(rules.identity_day(entry.event), rules.identity_hash(entry.event.id)) for entry in entries]
        with connections.writing() as connection:
            meta = read_meta(connection)
            if epoch is not None and epoch != meta.epoch:
                raise StaleBook
            write = Write(connection, meta, book.at(meta.epoch), connections.cursor)
            if names.epoch != meta.epoch:
                rows = [None] * len(rows)
            results = _append(write, entries, rows, keys)
            if also is not None:
                also(write, results)
    except OverflowError as error:
        raise _beyond_64_bits(entries[0]) from error
    except UnicodeEncodeError as error:
        raise rules.bad_text(entries[0].event) from error
    if write.fresh is not None:
        write.names.remember(write.fresh)
    return results


def _append(write: Write, entries: Sequence[Entry], rows: list[list[Any] | None], keys: list[_Key]) -> list[Appended]:
    complete = [write.encode(entry) if row is None else row for entry, row in zip(entries, rows, strict=True)]
    if len(entries) > 1:
        appended = _append_all_new(write, entries, complete, keys)
        if appended is not None:
            return appended
    return [_append_one(write, entry, row, key) for entry, row, key in zip(entries, complete, keys, strict=True)]


def _append_all_new(
    write: Write, entries: Sequence[Entry], rows: list[list[Any]], keys: list[_Key]
) -> list[Appended] | None:
    """Append a batch in which every identity is new, in bulk; None (and nothing written) where one is not."""
    own = set(keys)
    probes = [(day, hash63) for entry, (_, hash63) in zip(entries, keys, strict=True) for day in entry.probe_days]
    if len(own) != len(keys) or not own.isdisjoint(probes):
        return None
    connection = write.connection
    if probes and next(connection.executemany(sql("find_identity"), probes), None) is not None:
        return None
    keyed = [at for at, entry in enumerate(entries) if entry.event.call_key is not None]
    if keyed and not _all_unseen(connection, [entries[at] for at in keyed]):
        return None
    first = write.next_seq
    connection.execute("SAVEPOINT batch")
    before = connection.total_changes()
    identities = [(day, hash63, first + at) for at, (day, hash63) in enumerate(keys)]
    identities.sort()  # In key order each page is touched once.
    connection.executemany(sql("insert_identity"), identities)
    if connection.total_changes() - before != len(keys):
        connection.execute("ROLLBACK TO batch")
        connection.execute("RELEASE batch")
        return None
    for at, row in enumerate(rows):
        row[0] = first + at
    connection.executemany(sql("insert_entry"), rows)
    if keyed:
        _keep_keys(connection, [(entries[at], first + at) for at in keyed])
    connection.execute("RELEASE batch")
    write.next_seq = first + len(rows)
    return [Appended(_CREATED, _numbered(entry, first + at)) for at, entry in enumerate(entries)]


def append_within(write: Write, entry: Entry, row: list[Any] | None = None) -> Appended:
    """Append one entry in a transaction that does more. `row` is what `prepare` gave, if its epoch still holds."""
    key = (rules.identity_day(entry.event), rules.identity_hash(entry.event.id))
    return _append_one(write, entry, write.row(entry) if row is None else row, key)


def _append_one(write: Write, entry: Entry, row: list[Any], key: _Key) -> Appended:
    day, hash63 = key
    connection = write.connection
    key_found = None if entry.event.call_key is None else _find_key(connection, entry)
    if not entry.probe_days and key_found is None:
        before = connection.total_changes()
        write.cursor.execute(_INSERT_IDENTITY, (day, hash63, write.next_seq))
        if connection.total_changes() > before:
            keep_key(write, entry, write.next_seq)
            return Appended(_CREATED, write.insert(entry, row))
    known, free = _look_up(write, entry, day, hash63)
    for probe_day in entry.probe_days:
        known = known or _look_up(write, entry, probe_day, hash63)[0]
    if known is not None:
        return known
    if key_found is not None:
        seen = _see_again(write, entry, *key_found)
        if seen.entry is not None:
            # A retry of this capture is known by its own id, even when the key is not looked for any more.
            alias = (day, free, rules.root_of(seen.entry), entry.fingerprint)
            connection.execute(sql("insert_alias"), alias)
        return seen
    keep_key(write, entry, write.next_seq)
    connection.execute(sql("insert_identity"), (day, free, write.next_seq))
    return Appended(_CREATED, write.insert(entry, row))


def see_again(write: Write, entry: Entry) -> Appended | None:
    """What another capture has booked of this entry's call, corrected where this one knows more; None if none has.

    A correction is in `write.corrections`, for whoever counts.
    """
    found = _find_key(write.connection, entry)
    return None if found is None else _see_again(write, entry, *found)


def _see_again(write: Write, entry: Entry, root: int, day: int, digest: bytes) -> Appended:
    write.connection.execute(sql("count_sighting"), (day, digest))
    versions = write.event(root)
    live = rules.live_version(versions)
    if live is None:
        return Appended(_SEEN, versions[-1] if versions else None)
    replacement = sightings.replacement(live, entry)
    if replacement is None:
        return Appended(_SEEN, live)
    amendment = Amendment(live.seq, replacement, entry.recorded_at, sightings.SEEN_AGAIN)
    result, written = amend_within(write, amendment)
    write.corrections += written
    return Appended(_SEEN, result.entry)


def keep_key(write: Write, entry: Entry, root: int) -> None:
    """Remember an entry's call by its key, if it has one."""
    if entry.event.call_key is not None:
        _keep_keys(write.connection, [(entry, root)])


def _find_key(connection: apsw.Connection, entry: Entry) -> tuple[int, int, bytes] | None:
    """The first entry of this call, and where its key stands: a day and a digest."""
    digest = sightings.key_digest(entry.event.call_key or "")
    today = entry.recorded_at // DAY_MICROSECONDS
    days = [today + step for step in sightings.KEY_DAYS]
    found = connection.execute(sql("find_call_key"), (*days, digest)).fetchone()
    if found is None or not sightings.still_known(found[1], entry.recorded_at):
        return None
    return found[0], found[2], digest


def _all_unseen(connection: apsw.Connection, entries: Sequence[Entry]) -> bool:
    if len({entry.event.call_key for entry in entries}) != len(entries):
        return False
    return all(_find_key(connection, entry) is None for entry in entries)


def _keep_keys(connection: apsw.Connection, entries: Sequence[tuple[Entry, int]]) -> None:
    """Remember calls by their keys. Now and then old ones go, more of them than came, so that they never pile up."""
    keys = []
    for entry, root in entries:
        at, digest = entry.recorded_at, sightings.key_digest(entry.event.call_key or "")
        keys.append((at // DAY_MICROSECONDS, digest, at, root))
    keys.sort()  # In key order each page is touched once.
    connection.executemany(sql("put_call_key"), keys)
    # One digest in 256 begins so: a sweep costs a single call next to nothing.
    sweeps = sum(digest[0] == 0 for _, digest, _, _ in keys)
    if sweeps:
        connection.execute(sql("drop_call_keys"), (keys[0][0] + min(sightings.KEY_DAYS), sweeps * _KEYS_DROPPED))


def _look_up(write: Write, entry: Entry, day: int, hash63: int) -> tuple[Appended | None, int]:
    """What stands at an id's identity on a day, or None and the hash that is free for it."""
    while True:
        found = write.connection.execute(sql("find_identity"), (day, hash63)).fetchone()
        if found is None:
            return None, hash63
        seq, own_fingerprint = found
        if own_fingerprint is not None:
            return _seen_before(write, entry, seq, own_fingerprint), hash63
        columns = write.connection.execute(sql("entry"), (seq,)).fetchone()
        if columns is not None and columns[1] == entry.event.id:
            kept = write.decoder.entry(columns)
            return Appended(rules.conflict_code(kept, entry), kept), hash63
        hash63 = rules.next_hash(hash63)


def _seen_before(write: Write, entry: Entry, root: int, own_fingerprint: bytes) -> Appended:
    """What is known of an id whose entry retention has dropped, or that came after another capture of its call."""
    versions = write.event(root)
    code = rules.dropped_code(own_fingerprint, entry)
    if not versions:
        return Appended(code, None)
    return Appended(_SEEN if code == Outcome.EXISTS else code, rules.live_version(versions) or versions[-1])


def amend(
    connections: Connections,
    book: NameBook,
    amendments: Sequence[Amendment],
    also: Callable[[Write, list[Entry]], None] | None = None,
) -> list[Appended]:
    """See LedgerStore.amend. `also` is given all entries that were written, within the same transaction."""
    try:
        with connections.writing() as connection:
            meta = read_meta(connection)
            write = Write(connection, meta, book.at(meta.epoch))
            amended = [amend_within(write, amendment) for amendment in amendments]
            if also is not None:
                also(write, [entry for _, written in amended for entry in written])
    except OverflowError as error:
        raise InvalidInput("a correction holds a number beyond 64 bits", code="number_too_large") from error
    except UnicodeEncodeError as error:
        raise InvalidInput("a correction holds text that is not valid Unicode", code="bad_text") from error
    if write.fresh is not None:
        write.names.remember(write.fresh)
    return [result for result, _ in amended]


def amend_within(write: Write, amendment: Amendment) -> tuple[Appended, list[Entry]]:
    """Write one correction in a transaction that does more; what became of it, and the entries written."""
    columns = write.connection.execute(sql("entry"), (amendment.expects,)).fetchone()
    if columns is None:
        return Appended(CHANGED_MEANWHILE, None), []
    row = Row._make(columns)
    versions = write.event(row.seq if row.corrects is None else row.corrects)
    live = rules.live_version(versions)
    if live is None or live.seq != amendment.expects:
        return Appended(CHANGED_MEANWHILE, versions[-1]), []
    replacement = rules.replacement_of(live, amendment)
    reversal = rules.reversal_of(live, amendment.recorded_at, amendment.reason)
    written = [write.insert(reversal, write.encode(reversal))]
    if replacement is not None:
        written.append(write.insert(replacement, write.encode(replacement)))
    return Appended(_CREATED, written[-1]), written


def _numbered(entry: Entry, seq: int) -> Entry:
    """A copy that bears its seq."""
    numbered = copied(entry)
    force_setattr(numbered, "seq", seq)
    return numbered


def _beyond_64_bits(entry: Entry) -> InvalidInput:
    return InvalidInput(
        f"event {entry.event.id[:60]!r} holds a number beyond 64 bits; check its usage, times and parameters",
        code="number_too_large",
    )
