"""Appending and correcting entries: names first, then identities, then the rows, all in one transaction.

Other hosts write at the same time. Everybody takes their locks in one order: names, the buckets of ids that are
looked up on several days, identities by key, accounts by key. What cannot be ordered is undone by the server and run
again. Within a transaction new entries wait in memory under provisional numbers, and are written all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from outlay.errors import InvalidInput
from outlay.ledger import rules, sightings
from outlay.ledger.codec import encoder
from outlay.ledger.names import KIND_NUMBERS, NameBook, Names
from outlay.ledger.postgres.connections import Connections, Meta
from outlay.ledger.postgres.statements import Connection, rows
from outlay.ledger.postgres.waiting import PROVISIONAL, Identity, Key, Write
from outlay.ledger.store import Amendment, StaleBook
from outlay.model import Appended, Entry, Outcome

CHANGED_MEANWHILE: Final = "changed_meanwhile"
_CREATED: Final = Outcome.CREATED.value
_SEEN: Final = Outcome.SEEN.value
_BUCKETS: Final = 256
_JOB: Final = KIND_NUMBERS["job"]
_USER: Final = KIND_NUMBERS["user"]


def prepare(entries: Sequence[Entry], names: Names) -> list[list[Any] | None]:
    """Rows of the entries whose names are all known; None for the others, which a transaction must encode.

    Raises InvalidInput for what cannot be stored.
    """
    prepared: list[list[Any] | None] = []
    encode = encoder(names.known)
    jobs, users = names.known.kinds[_JOB], names.known.kinds[_USER]
    for entry in entries:
        if entry.event.job not in jobs or entry.event.user not in users:
            prepared.append(None)  # Most that is new is seen at once.
            continue
        try:
            prepared.append(encode(entry))
        except KeyError:
            prepared.append(None)
        except OverflowError as error:
            raise beyond_64_bits(entry) from error
        except UnicodeEncodeError as error:
            raise rules.bad_text(entry.event) from error
    return prepared


def append(
    connections: Connections,
    book: NameBook,
    entries: Sequence[Entry],
    epoch: int | None,
    also: Callable[[Write, list[Appended]], None] | None = None,
) -> list[Appended]:
    """See LedgerStore.append. `also` writes what belongs to the same transaction."""
    names = book.newest
    with storable(entries):
        prepared = prepare(entries, names)

        def work(connection: Connection, meta: Meta) -> tuple[Write, list[Appended]]:
            write = begin(connection, meta, book, epoch)
            known = prepared if write.names is names else None
            results = append_within(write, entries, known)
            if also is not None:
                also(write, results)
            return write, results

        write, results = connections.write(work)
    remember(write)
    return results


def begin(connection: Connection, meta: Meta, book: NameBook, epoch: int | None = None) -> Write:
    """What a function given to `Connections.write` begins with. Raises StaleBook if `epoch` is not the store's."""
    if epoch is not None and epoch != meta.epoch:
        raise StaleBook
    return Write(connection, meta, book.at(meta.epoch))


def remember(write: Write) -> None:
    """After COMMIT: keep the names that were made."""
    if write.fresh is not None:
        write.names.remember(write.fresh)


@contextmanager
def storable(entries: Sequence[Entry]) -> Iterator[None]:
    """Name what cannot be stored. Raises InvalidInput `number_too_large` or `bad_text`."""
    try:
        yield
    except OverflowError as error:
        raise beyond_64_bits(entries[0]) from error
    except UnicodeEncodeError as error:
        raise rules.bad_text(entries[0].event) from error


def append_within(
    write: Write, entries: Sequence[Entry], prepared: Sequence[list[Any] | None] | None = None
) -> list[Appended]:
    """Append entries, in order, in a transaction that may do more."""
    complete = _complete(write, entries, prepare(entries, write.names) if prepared is None else prepared)
    keys = [key_of(entry) for entry in entries]
    keyed = [entry for entry in entries if entry.event.call_key is not None]
    _lock_ids(write, entries, keys)
    if len(entries) == 1 and not keyed:
        written = write.insert_if_free(entries[0], complete[0], keys[0])
        if written is not None:
            return [Appended(_CREATED, written)]
    probed = [(day, hash63) for entry, (_, hash63) in zip(entries, keys, strict=True) for day in entry.probe_days]
    write.look_up([*keys, *probed])
    if keyed:
        write.look_up_calls(keyed)
    if not keyed and write.all_new(keys, probed):
        return [Appended(_CREATED, entry) for entry in write.insert_new(entries, complete, keys)]
    results = [_append_one(write, entry, row, key) for entry, row, key in zip(entries, complete, keys, strict=True)]
    final = write.flush()
    return [Appended(one.code, None if one.entry is None else final(one.entry)) for one in results]


def _complete(write: Write, entries: Sequence[Entry], known: Sequence[list[Any] | None]) -> list[list[Any]]:
    """Every entry's row: those that were not known are encoded here, their new names made."""
    bare = [entry for entry, row in zip(entries, known, strict=True) if row is None]
    encoded = iter(write.encode(bare) if bare else ())
    return [next(encoded) if row is None else row for row in known]


def key_of(entry: Entry) -> Key:
    """The key of an entry's identity."""
    return rules.identity_day(entry.event), rules.identity_hash(entry.event.id)


def _lock_ids(write: Write, entries: Sequence[Entry], keys: Sequence[Key]) -> None:
    """Let nobody else look for the same id on other days, or for the same call, until this transaction ends."""
    buckets: set[int] = set()
    for entry, (_, hash63) in zip(entries, keys, strict=True):
        if entry.probe_days:
            buckets.add(1 + hash63 % _BUCKETS)
        if entry.event.call_key is not None:
            buckets.add(1 + sightings.key_digest(entry.event.call_key)[0])
    if buckets:
        for _ in rows(write.connection, "lock_ids", (sorted(buckets),)):
            pass


def _append_one(write: Write, entry: Entry, row: list[Any], key: Key) -> Appended:
    day, hash63 = key
    known, free = _known(write, entry, day, hash63)
    for probe_day in entry.probe_days:
        known = known or _known(write, entry, probe_day, hash63)[0]
    if known is not None:
        return known
    if entry.event.call_key is not None:
        seen = see_again(write, entry)
        if seen is not None:
            if seen.entry is not None:
                # A retry of this capture is known by its own id, even when the key is not looked for any more.
                root = Identity(rules.root_of(seen.entry), entry.fingerprint, rules.identity_day(seen.entry.event))
                write.identify((day, free), root)
            return seen
    waiting = write.add(entry, row)
    write.identify((day, free), Identity(waiting.seq, entry.fingerprint, None))
    write.keep_key(entry, waiting.seq, day)
    return Appended(_CREATED, waiting)


def _known(write: Write, entry: Entry, day: int, hash63: int) -> tuple[Appended | None, int]:
    """What stands at an id's identity on a day, or None and the hash that is free for it."""
    while True:
        found = write.identity((day, hash63))
        if found is None:
            return None, hash63
        versions = write.event(found.seq, day if found.root_day is None else found.root_day)
        if not versions:
            return Appended(rules.dropped_code(found.fingerprint, entry), None), hash63
        if found.root_day is not None:
            code = rules.dropped_code(found.fingerprint, entry)
            live = rules.live_version(versions) or versions[-1]
            return Appended(_SEEN if code == Outcome.EXISTS else code, live), hash63
        if versions[0].event.id == entry.event.id:
            return Appended(rules.conflict_code(versions[0], entry), versions[0]), hash63
        hash63 = rules.next_hash(hash63)


def see_again(write: Write, entry: Entry) -> Appended | None:
    """What another capture has booked of this entry's call, corrected where this one knows more; None if none has.

    A correction is in `write.corrections`, for whoever counts.
    """
    found = write.sighted(entry)
    if found is None:
        return None
    versions = write.event(found.root, found.root_day)
    if versions and found.root < PROVISIONAL:
        write.lock([key_of(versions[0])])
        versions = write.read_anew(found.root, found.root_day)
    live = rules.live_version(versions)
    if live is None:
        return Appended(_SEEN, versions[-1] if versions else None)
    replacement = sightings.replacement(live, entry)
    if replacement is None:
        return Appended(_SEEN, live)
    written = _correct(write, live, Amendment(live.seq, replacement, entry.recorded_at, sightings.SEEN_AGAIN))
    write.corrections += written
    return Appended(_SEEN, written[-1])


def amend(
    connections: Connections,
    book: NameBook,
    amendments: Sequence[Amendment],
    also: Callable[[Write, list[Entry]], None] | None = None,
) -> list[Appended]:
    """See LedgerStore.amend. `also` is given all entries that were written, within the same transaction."""

    def work(connection: Connection, meta: Meta) -> tuple[Write, list[Appended]]:
        write = begin(connection, meta, book)
        amended = amend_within(write, amendments)
        if also is not None:
            also(write, [entry for _, written in amended for entry in written])
        return write, [result for result, _ in amended]

    try:
        write, results = connections.write(work)
    except OverflowError as error:
        raise InvalidInput("a correction holds a number beyond 64 bits", code="number_too_large") from error
    except UnicodeEncodeError as error:
        raise InvalidInput("a correction holds text that is not valid Unicode", code="bad_text") from error
    remember(write)
    return results


def amend_within(write: Write, amendments: Sequence[Amendment]) -> list[tuple[Appended, list[Entry]]]:
    """Write corrections in a transaction that may do more; what became of each, and the entries written for it."""
    columns = rows(write.connection, "entries_by_seq", ([one.expects for one in amendments],))
    expected = {entry.seq: entry for entry in map(write.decoder.entry, columns)}
    write.lock(key_of(entry) for entry in expected.values())
    write.read_events((key_of(entry)[0], rules.root_of(entry)) for entry in expected.values())
    amended = [_amend_one(write, amendment, expected.get(amendment.expects)) for amendment in amendments]
    final = write.flush()
    return [
        (Appended(one.code, None if one.entry is None else final(one.entry)), [final(entry) for entry in written])
        for one, written in amended
    ]


def _amend_one(write: Write, amendment: Amendment, expected: Entry | None) -> tuple[Appended, list[Entry]]:
    versions = [] if expected is None else write.event(rules.root_of(expected), key_of(expected)[0])
    if not versions:
        return Appended(CHANGED_MEANWHILE, None), []
    live = rules.live_version(versions)
    if live is None or live.seq != amendment.expects:
        return Appended(CHANGED_MEANWHILE, versions[-1]), []
    written = _correct(write, live, amendment)
    return Appended(_CREATED, written[-1]), written


def _correct(write: Write, live: Entry, amendment: Amendment) -> list[Entry]:
    replacement = rules.replacement_of(live, amendment)
    written = [write.add(rules.reversal_of(live, amendment.recorded_at, amendment.reason))]
    if replacement is not None:
        written.append(write.add(replacement))
    return written


def beyond_64_bits(entry: Entry) -> InvalidInput:
    """The error for a number that no store holds."""
    return InvalidInput(
        f"event {entry.event.id[:60]!r} holds a number beyond 64 bits; check its usage, times and parameters",
        code="number_too_large",
    )
