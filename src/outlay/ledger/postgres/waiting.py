"""One write transaction: what it knows of the ledger, and the entries that wait to be written.

They wait under provisional numbers: a batch is decided in memory, entry by entry and in order, and written all
at once: one round trip for identities, one COPY for rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from msgspec.structs import force_setattr
from psycopg.errors import UniqueViolation

from outlay.clock import DAY_MICROSECONDS
from outlay.ledger import rules, sightings
from outlay.ledger.codec import Decoder, encoder
from outlay.ledger.names import Ids, Names
from outlay.ledger.postgres.connections import Meta, Undone
from outlay.ledger.postgres.names import interned
from outlay.ledger.postgres.statements import Connection, blobs, numbered, only, rows, run, sql, whole_numbers
from outlay.model import Entry, copied

COPIED_FROM: Final = 8
"""From how many rows on they are copied; fewer are quicker as one statement each."""

PROVISIONAL: Final = 1 << 62
"""Numbers from here on stand for entries that wait to be written."""

_SEQ_AT: Final = 0
_CORRECTS_AT: Final = 9
_KEYS_DROPPED_MIN: Final = 2
_NULL: Final = "\\N"
Key = tuple[int, int]
"""(UTC day, 63 bits of an id's hash)."""


class Identity(NamedTuple):
    """What stands at a key: the first entry of its event; `root_day` where another capture had booked the call."""

    seq: int
    fingerprint: bytes
    root_day: int | None


class CallKey(NamedTuple):
    """What stands at a call's key: the first entry of the event that booked it, and its day."""

    root: int
    root_day: int
    recorded_at: int
    seen: int = 0

    @property
    def day(self) -> int:
        """The UTC day of recorded_at, under which the key is kept."""
        return self.recorded_at // DAY_MICROSECONDS


class Write:
    """One write transaction: what it knows of the ledger, and what waits to be written."""

    def __init__(self, connection: Connection, meta: Meta, names: Names) -> None:
        self.connection = connection
        self.meta = meta
        self.names = names
        self.decoder = Decoder(connection, names)
        self.fresh: Ids | None = None
        self.corrections: list[Entry] = []
        self._versions: dict[int, list[Entry]] = {}
        self._waiting: list[tuple[Entry, list[Any] | None]] = []
        self._identities: dict[Key, Identity] = {}
        self._looked_up: dict[Key, Identity | None] = {}
        self._call_keys: dict[bytes, CallKey] = {}
        self._looked_up_keys: dict[bytes, CallKey | None] = {}

    # --- encoding

    def encode(self, entries: Sequence[Entry]) -> list[list[Any]]:
        """The rows of entries; their new names are interned."""
        ids = interned(self.connection, self.names, entries)
        encode = encoder(ids)
        encoded = [encode(entry) for entry in entries]
        self.fresh = ids if self.fresh is None else _joined(self.fresh, ids)
        return encoded

    # --- reading

    def event(self, root: int, day: int | None = None) -> list[Entry]:
        """All entries of an event by seq, those that wait included. `day` is that of its identity, where known."""
        found = self._versions.get(root)
        if found is None:
            if day is None:
                columns = rows(self.connection, "event_entries", (root,))
            else:
                bounds = (day * DAY_MICROSECONDS, (day + 1) * DAY_MICROSECONDS)
                columns = rows(self.connection, "events_on", ([root], *bounds))
            found = self._versions[root] = self.decoder.entries(columns)
        return found

    def read_events(self, roots: Iterable[tuple[int, int]]) -> None:
        """Read many events at once: (day, root) of each."""
        by_day: dict[int, list[int]] = {}
        for day, root in roots:
            if root not in self._versions:
                by_day.setdefault(day, []).append(root)
        for day, wanted in by_day.items():
            self._versions.update((root, []) for root in wanted)
            bounds = (day * DAY_MICROSECONDS, (day + 1) * DAY_MICROSECONDS)
            for entry in self.decoder.entries(rows(self.connection, "events_on", (wanted, *bounds))):
                self._versions[rules.root_of(entry)].append(entry)

    # --- writing

    def add(self, entry: Entry, row: list[Any] | None = None) -> Entry:
        """Let an entry wait to be written; it bears a provisional number."""
        waiting = _numbered(entry, PROVISIONAL + len(self._waiting))
        self._waiting.append((waiting, row))
        self._versions.setdefault(rules.root_of(waiting), []).append(waiting)
        return waiting

    def flush(self) -> Callable[[Entry], Entry]:
        """Write what waits; a function that gives an entry as it stands in the ledger."""
        waiting, self._waiting = self._waiting, []
        seqs = [seq for (seq,) in rows(self.connection, "next_seqs", (len(waiting),))] if waiting else []

        def seq_of(seq: int) -> int:
            return seqs[seq - PROVISIONAL] if seq >= PROVISIONAL else seq

        self._write_identities(seq_of)
        self._write_call_keys(seq_of)
        if not waiting:
            return _as_it_is
        bare = [entry for entry, row in waiting if row is None]
        encoded = iter(self.encode(bare)) if bare else iter(())
        written: list[Entry] = []
        complete: list[list[Any]] = []
        for at, (entry, known) in enumerate(waiting):
            row = next(encoded) if known is None else known
            row[_SEQ_AT] = seqs[at]
            if row[_CORRECTS_AT] is not None:
                row[_CORRECTS_AT] = seq_of(row[_CORRECTS_AT])
                entry = _numbered(entry, seqs[at])  # noqa: PLW2901  # the copy is what is written
                force_setattr(entry, "corrects", row[_CORRECTS_AT])
            else:
                force_setattr(entry, "seq", seqs[at])
            complete.append([*row, self.meta.xact])
            written.append(entry)
        _insert(self.connection, complete)
        self._versions.clear()
        self._looked_up.clear()
        self._looked_up_keys.clear()
        self.corrections = [_final(entry, written) for entry in self.corrections]
        return lambda entry: _final(entry, written)

    # --- identities

    def look_up(self, keys: Iterable[Key]) -> None:
        """Read what stands at many keys, and the events behind them, at once."""
        wanted = [key for key in set(keys) if key not in self._looked_up]
        if not wanted:
            return
        self._looked_up.update(dict.fromkeys(wanted))
        found = []
        for day, hash63, seq, fingerprint, root_day in rows(self.connection, "find_identities", _bound(wanted)):
            self._looked_up[day, hash63] = Identity(seq, fingerprint, root_day)
            found.append((day if root_day is None else root_day, seq))
        self.read_events(found)

    def identity(self, key: Key) -> Identity | None:
        """What stands at a key, what waits included."""
        waiting = self._identities.get(key)
        if waiting is not None:
            return waiting
        if key not in self._looked_up:
            self.look_up([key])
        return self._looked_up[key]

    def identify(self, key: Key, identity: Identity) -> None:
        """Let an identity wait to be written."""
        self._identities[key] = identity

    def lock(self, keys: Iterable[Key]) -> None:
        """Keep others from correcting the events of these identities until this transaction ends."""
        ordered = sorted(set(keys))
        if ordered:
            for _ in rows(self.connection, "lock_identities", _bound(ordered)):
                pass

    def read_anew(self, root: int, day: int) -> list[Entry]:
        """An event's entries, others' corrections included that came before this transaction locked it."""
        if not any(entry.seq >= PROVISIONAL for entry in self._versions.get(root, ())):
            self._versions.pop(root, None)
        return self.event(root, day)

    # --- calls' keys

    def look_up_calls(self, entries: Iterable[Entry]) -> None:
        """Read what stands at the keys of many calls, and the events behind them, at once."""
        digests: set[bytes] = set()
        days: set[int] = set()
        for entry in entries:
            digests.add(sightings.key_digest(entry.event.call_key or ""))
            days.update(entry.recorded_at // DAY_MICROSECONDS + step for step in sightings.KEY_DAYS)
        self._looked_up_keys.update((digest, None) for digest in digests)
        for digest, *found in rows(self.connection, "find_call_keys", (sorted(days), list(digests))):
            self._looked_up_keys[digest] = CallKey(*found)
        self.read_events((key.root_day, key.root) for key in self._looked_up_keys.values() if key is not None)

    def sighted(self, entry: Entry) -> CallKey | None:
        """What another capture has booked of this entry's call, counted as seen once more; None if none has."""
        digest = sightings.key_digest(entry.event.call_key or "")
        waiting = self._call_keys.get(digest)
        if waiting is None and digest not in self._looked_up_keys:
            self.look_up_calls([entry])
        found = waiting or self._looked_up_keys[digest]
        if found is None or not sightings.still_known(found.recorded_at, entry.recorded_at):
            return None
        if waiting is not None:
            self._call_keys[digest] = waiting._replace(seen=waiting.seen + 1)
        else:
            run(self.connection, "count_sighting", (found.day, digest))
        return found

    def keep_key(self, entry: Entry, root: int, root_day: int) -> None:
        """Remember a call by its key, if the entry has one, once what waits is written."""
        if entry.event.call_key is not None:
            digest = sightings.key_digest(entry.event.call_key)
            self._call_keys[digest] = CallKey(root, root_day, entry.recorded_at)

    # --- a batch in which all is new

    def all_new(self, keys: Sequence[Key], probed: Sequence[Key]) -> bool:
        """Whether nothing stands at any of these keys, they all differ, and none is another's to be looked up."""
        own = set(keys)
        return len(own) == len(keys) and own.isdisjoint(probed) and not any(map(self.identity, (*keys, *probed)))

    def insert_new(self, entries: Sequence[Entry], complete: Sequence[list[Any]], keys: Sequence[Key]) -> list[Entry]:
        """Write entries of which nothing is known, without deciding one by one."""
        seqs = [seq for (seq,) in rows(self.connection, "next_seqs", (len(entries),))]
        found = sorted(zip(keys, seqs, [entry.fingerprint for entry in entries], strict=True))
        self._identities = {key: Identity(seq, fingerprint, None) for key, seq, fingerprint in found}
        self._write_identities(lambda seq: seq)
        ready = []
        for row, seq in zip(complete, seqs, strict=True):
            row[_SEQ_AT] = seq
            ready.append([*row, self.meta.xact])
        _insert(self.connection, ready)
        self._looked_up.clear()
        return [_numbered(entry, seq) for entry, seq in zip(entries, seqs, strict=True)]

    def insert_if_free(self, entry: Entry, row: Sequence[Any], key: Key) -> Entry | None:
        """Write one entry at once; None, and nothing is written, where its id stands on one of its days."""
        day, hash63 = key
        bound = ([day, *entry.probe_days], hash63, *row[1:], self.meta.xact)
        (seq,) = only(self.connection, "append_one", bound)
        return None if seq is None else _numbered(entry, seq)

    # --- what waits, written

    def _write_identities(self, seq_of: Callable[[int], int]) -> None:
        identities, self._identities = sorted(self._identities.items()), {}
        if not identities:
            return
        if len(identities) >= COPIED_FROM:
            _copy_identities(self.connection, [(*key, one, seq_of(one.seq)) for key, one in identities])
            return
        made = run(
            self.connection,
            "insert_identities",
            (
                whole_numbers([day for (day, _), _ in identities]),
                whole_numbers([hash63 for (_, hash63), _ in identities]),
                whole_numbers([seq_of(one.seq) for _, one in identities]),
                blobs([one.fingerprint for _, one in identities]),
                whole_numbers([one.root_day for _, one in identities]),
            ),
        )
        if made != len(identities):
            # Another host wrote one of them since they were looked up.
            raise Undone

    def _write_call_keys(self, seq_of: Callable[[int], int]) -> None:
        """Remember calls by their keys; twice as many that are too old go, so that they never pile up."""
        keys = sorted(((one.day, digest, one) for digest, one in self._call_keys.items()), key=lambda key: key[:2])
        self._call_keys = {}
        if not keys:
            return
        run(
            self.connection,
            "put_call_keys",
            (
                [day for day, _, _ in keys],
                [digest for _, digest, _ in keys],
                [one.recorded_at for *_, one in keys],
                [seq_of(one.root) for *_, one in keys],
                [one.root_day for *_, one in keys],
                [one.seen for *_, one in keys],
            ),
        )
        oldest = keys[-1][0] + min(sightings.KEY_DAYS)
        run(self.connection, "drop_call_keys", (oldest, max(_KEYS_DROPPED_MIN, 2 * len(keys))))


def _copy_identities(connection: Connection, identities: Iterable[tuple[int, int, Identity, int]]) -> None:
    """Write identities in the order of their keys, for half of what an INSERT with its look for conflicts costs."""
    lines = [
        f"{day}\t{hash63}\t{seq}\t\\\\x{fingerprint.hex()}\t{_NULL if root_day is None else root_day}\n"
        for day, hash63, (_, fingerprint, root_day), seq in identities
    ]
    try:
        with connection.cursor().copy(sql("copy_identities")) as copy:
            copy.write("".join(lines))
    except UniqueViolation as error:
        # Another host wrote one of them since they were looked up.
        raise Undone from error


def _bound(keys: Sequence[Key]) -> tuple[str, str, list[int]]:
    """Keys as bound to a look-up, with their days apart: by those the server leaves partitions out."""
    days = [day for day, _ in keys]
    return whole_numbers(days), whole_numbers([hash63 for _, hash63 in keys]), sorted(set(days))


def _insert(connection: Connection, complete: Sequence[list[Any]]) -> None:
    if len(complete) < COPIED_FROM:
        for row in complete:
            run(connection, "insert_entry", row)
        return
    with connection.cursor().copy(numbered(sql("copy_entries"))) as copy:
        for row in complete:
            copy.write_row(row)


def _joined(first: Ids, second: Ids) -> Ids:
    for ours, theirs in zip(first.kinds, second.kinds, strict=True):
        ours.update(theirs)
    first.rates.update(second.rates)
    first.tag_sets.update(second.tag_sets)
    return first


def _as_it_is(entry: Entry) -> Entry:
    return entry


def _final(entry: Entry, written: Sequence[Entry]) -> Entry:
    return written[entry.seq - PROVISIONAL] if entry.seq >= PROVISIONAL else entry


def _numbered(entry: Entry, seq: int) -> Entry:
    """A copy that bears its seq."""
    numbered_entry = copied(entry)
    force_setattr(numbered_entry, "seq", seq)
    return numbered_entry
