"""Interned names, tag sets and rates: written inside a transaction, remembered only after its COMMIT.

A name that was remembered before its transaction was rolled back would give an id that does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeVar

import msgspec

from outlay.clock import DAY_MICROSECONDS
from outlay.errors import LedgerCorrupt
from outlay.ledger.dialect import Dialect
from outlay.model import Rate

KINDS: Final = (
    "provider",
    "service",
    "operation",
    "feature",
    "environment",
    "user",
    "customer",
    "team",
    "project",
    "job",
    "step",
    "meter",
    "match",
)
"""What names are of; a kind's number is its place here, so new kinds go to the end."""

KIND_NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}
TAG_SETS_A_DAY: Final = 10_000
"""How many new sets of tags are interned on one day; further ones are kept for their entry alone."""

_REMEMBERED_MAX: Final = 200_000
_LEARNED_MIN: Final = 4
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_tags: Final = msgspec.msgpack.Decoder(dict[str, str]).decode
_decode_rate: Final = msgspec.msgpack.Decoder(Rate).decode

Encode = TypeVar("Encode")
TagSet = tuple[tuple[str, str], ...]


class Ids:
    """The ids that an encoder looks up: one mapping a kind, one for rates, one for tag sets."""

    __slots__ = ("kinds", "rates", "tag_sets")

    def __init__(
        self,
        kinds: list[dict[str | None, int]],
        rates: dict[Rate | None, int],
        tag_sets: dict[TagSet, int],
    ) -> None:
        self.kinds = kinds
        self.rates = rates
        self.tag_sets = tag_sets


def _nothing_known() -> Ids:
    return Ids([{None: 0} for _ in KINDS], {None: 0}, {(): 0})


class Interning(dict):  # type: ignore[type-arg]  # a dict of dict's own kinds, one per use below
    """Known ids first, then those that `intern` finds or makes; what is looked up here may go to the memory.

    A negative one belongs to one entry alone, and is asked for again each time.
    """

    def __init__(self, known: Mapping[object, int], intern: Callable[[object], int]) -> None:
        super().__init__()
        self._known = known
        self._intern = intern

    def __missing__(self, name: object) -> int:
        found = self._known.get(name)
        if found is None:
            found = self._intern(name)
        if found > 0:
            self[name] = found
        return found


class NameBook:
    """The memory of names that fits the epoch of a transaction: a new epoch may have renamed some."""

    def __init__(self, dialect: Dialect, tag_sets_a_day: int = TAG_SETS_A_DAY) -> None:
        self._dialect = dialect
        self.tag_sets_a_day = tag_sets_a_day
        self.newest = Names(0, dialect, tag_sets_a_day)

    def at(self, epoch: int) -> Names:
        """The names as of an epoch. One older than the newest gets a memory that nobody shares."""
        newest = self.newest
        if newest.epoch == epoch:
            return newest
        names = Names(epoch, self._dialect, self.tag_sets_a_day)
        if epoch > newest.epoch:
            self.newest = names
        return names


class Names:
    """One process's memory of names. `known` is read without a lock: it only ever holds committed ids."""

    def __init__(self, epoch: int, dialect: Dialect, tag_sets_a_day: int) -> None:
        self.epoch = epoch
        self._dialect = dialect
        self.known = _nothing_known()
        self.tag_sets_a_day = tag_sets_a_day
        self._names: dict[int, str | None] = {0: None}
        self._tags: dict[int, dict[str, str]] = {0: {}}
        self._rates: dict[int, Rate] = {}
        self._encoder: tuple[Ids, Any] | None = None

    def encoder(self, make: Callable[[Ids], Encode]) -> Encode:
        """What `make` makes of the known ids, made once."""
        made = self._encoder
        if made is None or made[0] is not self.known:
            made = self._encoder = (self.known, make(self.known))
        encode: Encode = made[1]
        return encode

    def interning(self, connection: Any, recorded_at: int) -> Ids:
        """Ids that are looked up or made in a write transaction; hand them to `remember` after its COMMIT."""
        known = self.known

        def of_kind(number: int) -> Callable[[object], int]:
            return lambda name: intern_name(self._dialect, connection, number, str(name))

        return Ids(
            [Interning(known.kinds[number], of_kind(number)) for number in range(len(KINDS))],  # type: ignore[arg-type]  # keys are names
            Interning(known.rates, lambda rate: self._intern_rate(connection, rate)),  # type: ignore[arg-type]  # keys are rates
            Interning(known.tag_sets, lambda tags: self._intern_tags(connection, tags, recorded_at)),  # type: ignore[arg-type]  # keys are tag sets
        )

    def remember(self, fresh: Ids) -> None:
        """Keep what a committed transaction interned."""
        known = self.known
        for known_kind, fresh_kind in zip(known.kinds, fresh.kinds, strict=True):
            known_kind.update(fresh_kind)
        known.rates.update(fresh.rates)
        known.tag_sets.update(fresh.tag_sets)
        largest = max(len(known.rates), len(known.tag_sets), *(len(kind) for kind in known.kinds))
        if largest > _REMEMBERED_MAX:
            self.known = _nothing_known()

    def _intern_tags(self, connection: Any, tags: TagSet, recorded_at: int) -> int:
        body = _encode(dict(tags))
        digest = blake2b(body, digest_size=16).digest()
        row = self._dialect.first(connection, "tag_set_id", (digest,))
        if row is not None:
            return int(row[0])
        day = recorded_at // DAY_MICROSECONDS
        counted = self._dialect.first(connection, "tag_sets_interned", (day,))
        if counted is not None and counted[0] >= self.tag_sets_a_day:
            # Negative: it belongs to this one entry, so it is neither remembered nor found again.
            return -int(self._dialect.only(connection, "insert_tag_set", (None, body))[0])
        self._dialect.first(connection, "count_tag_set", (day,))
        return int(self._dialect.only(connection, "insert_tag_set", (digest, body))[0])

    def _intern_rate(self, connection: Any, rate: object) -> int:
        return int(self._dialect.only(connection, "intern_rate", encode_rate(rate))[0])

    # --- reading

    def learn(self, connection: Any, ids: Iterable[int]) -> None:
        """Read many names at once: one by one, each would be a question to the server."""
        unknown = sorted(set(ids) - self._names.keys())
        if len(unknown) < _LEARNED_MIN:
            return
        if len(self._names) + len(unknown) > _REMEMBERED_MAX:
            self._names = {0: None}
        self._names.update(
            self._dialect.rows(connection, "dimension_names", (msgspec.json.encode(unknown).decode(),))
        )

    def name(self, connection: Any, id: int) -> str | None:
        """The name of an id; None for 0."""
        try:
            return self._names[id]
        except KeyError:
            row = self._dialect.first(connection, "dimension_name", (id,))
            if row is None:
                raise LedgerCorrupt(f"the ledger has lost name {id}; restore a backup") from None
            if len(self._names) > _REMEMBERED_MAX:
                self._names = {0: None}
            found: str = row[0]
            self._names[id] = found
            return found

    def tags(self, connection: Any, id: int) -> dict[str, str]:
        """The tags of a set's id."""
        try:
            return self._tags[id]
        except KeyError:
            row = self._dialect.first(connection, "tag_set_body", (id,))
            if row is None:
                raise LedgerCorrupt(f"the ledger has lost tag set {id}; restore a backup") from None
            if len(self._tags) > _REMEMBERED_MAX:
                self._tags = {0: {}}
            found = _decode_tags(row[0])
            self._tags[id] = found
            return found

    def rate(self, connection: Any, id: int) -> Rate | None:
        """The rate of an id, the same object each time; None for 0."""
        if not id:
            return None
        try:
            return self._rates[id]
        except KeyError:
            row = self._dialect.first(connection, "rate_body", (id,))
            if row is None:
                raise LedgerCorrupt(f"the ledger has lost rate {id}; restore a backup") from None
            if len(self._rates) > _REMEMBERED_MAX:
                self._rates = {}
            found = _decode_rate(row[0])
            self._rates[id] = found
            return found


def intern_name(dialect: Dialect, connection: Any, kind: int, name: str) -> int:
    """The id of a name, made when it is new."""
    # A name that is not remembered is nearly always new, so making it is tried before looking it up.
    row = dialect.first(connection, "intern_dimension", (kind, name)) or dialect.only(
        connection, "dimension_id", (kind, name)
    )
    return int(row[0])


def find_name(dialect: Dialect, connection: Any, kind: int, name: str | None) -> int:
    """The id of a name, 0 for None, −1 where nothing bears it."""
    if name is None:
        return 0
    row = dialect.first(connection, "dimension_id", (kind, name))
    return -1 if row is None else int(row[0])


def encode_tags(tags: Mapping[str, str]) -> tuple[bytes, bytes]:
    """(digest, body) of a tag set."""
    body = _encode(dict(sorted(tags.items())))
    return blake2b(body, digest_size=16).digest(), body


def decode_tags(body: bytes) -> dict[str, str]:
    """The tags of a set's body."""
    return _decode_tags(body)


def encode_rate(rate: object) -> tuple[bytes, bytes]:
    """(digest, body) of a rate."""
    body = _encode(rate)
    return blake2b(body, digest_size=16).digest(), body
