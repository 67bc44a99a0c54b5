"""The spool: an append-only, checksummed file per process, in front of the ledger.

An append survives kill -9 as soon as it returns. The process drains its own file into the ledger in
groups; a file whose process is gone is adopted by the next opener, which sees that its lock is free.
Draining twice is harmless: every event bears its id, and the ledger recognises it.

A record is a little-endian length, a CRC-32 of the payload, and the payload: one UsageEvent as MessagePack.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from outlay.capture.plain import ODD
from outlay.capture.seen import Seen
from outlay.errors import InvalidInput, LedgerClosed, LedgerError, LedgerFull, LedgerReadOnly, OutlayError
from outlay.model import Recorded, UsageEvent

logger = logging.getLogger("outlay.spool")

DRAIN_GROUP: Final = 1_000
DRAIN_INTERVAL_S: Final = 0.05
RENEWED_BYTES: Final = 1 << 20
"""A file is begun anew when this much of it is booked: under a steady stream it is never empty, when it is cut."""

_HEADER: Final = struct.Struct("<II")
_PAYLOAD_BYTES_MAX: Final = 1 << 20

_SEEN: Final = b"\xc1"
"""The first byte of a call as it was seen; MessagePack never begins with it."""

RecordGroup = Callable[[Sequence[UsageEvent]], list[Recorded]]
"""Books a group of events; the outcomes in order."""

EventsSeen = Callable[[Seen], list[UsageEvent]]
"""The events of a call as it was seen."""


class Spool:
    """This process's spool file in a folder, and the adopter of files that dead processes left there."""

    def __init__(self, folder: Path, record_group: RecordGroup, events_seen: EventsSeen | None = None) -> None:
        """`folder` is made at the first append; `record_group` books what is drained, `events_seen` reads what was
        only seen.
        """
        # A program may go to another folder: what is spooled lies where the next one to open this ledger looks.
        self._folder = folder.absolute()
        self._record_group = record_group
        self._events_seen = events_seen
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(UsageEvent).decode
        self._descriptor = -1
        self._path: Path | None = None
        self._written = 0
        self._drained = 0
        self._pending = 0
        self._unsure = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        _spools.append(self)

    def append(self, event: UsageEvent) -> None:
        """Keep one event, surviving kill -9 from here on. Raises LedgerFull or LedgerReadOnly."""
        self._append(self._encode(event))

    def append_seen(self, seen: Seen) -> bool:
        """Keep a call as it was seen, as durably; False for one that is too long to be kept so, or where nobody could
        read it again.
        """
        if self._events_seen is None:
            return False
        payload = _SEEN + self._encode(seen)
        if len(payload) > _PAYLOAD_BYTES_MAX:
            return False
        self._append(payload)
        return True

    def _append(self, payload: bytes) -> None:
        if len(payload) > _PAYLOAD_BYTES_MAX:
            raise InvalidInput(
                f"an event of {len(payload):,} bytes is too large; keep big data elsewhere", code="event_too_large"
            )
        record = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
        with self._lock:
            if self._descriptor < 0:
                self._open()
            self._write(record)
            if self._thread is None:
                self._start()

    def drain(self) -> int:
        """Book everything that waits in this process's file; how many events were booked."""
        if self._path is None:
            return 0
        with self._draining:
            return self._drain_own()

    def adopt(self) -> int:
        """Book and remove the files of processes that are gone; how many events were booked."""
        booked = 0
        for path in self._others():
            booked += self._adopt_file(path)
        return booked

    def adopt_or_leave(self) -> int:
        """The same for an opener, whom it does not fail: what cannot be booked now stays for the next one."""
        try:
            return self.adopt()
        except OutlayError as error:
            logger.warning("what programs that ended left in %s is not booked yet (%s)", self._folder, error.code)
            return 0

    def pending(self) -> int:
        """How many events wait in all files of the folder: this process's, living others' and dead ones'."""
        waiting = self._pending if self._path is not None else 0
        for path in self._others():
            try:
                data = path.read_bytes()
            except (FileNotFoundError, PermissionError):
                continue  # Booked meanwhile, or another user's.
            waiting += sum(1 for _ in _records(data)[0])
        return waiting

    def close(self) -> None:
        """Drain, stop the thread and remove the file. What cannot be booked stays for the next opener."""
        self._stop.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)
        if self in _spools:
            _spools.remove(self)
        try:
            self.drain()
        finally:
            with self._lock:
                self._release()

    def _open(self) -> None:
        try:
            # A group may share a ledger; others write nothing here that would be booked, whatever the umask.
            self._folder.mkdir(mode=0o775, exist_ok=True)
            self._descriptor, self._path = _claimed_in(self._folder)
        except OSError as error:
            raise _translated(error, self._folder) from error
        self._written = self._drained = self._pending = 0
        self._unsure = False

    def _write(self, record: bytes) -> None:
        if self._unsure:
            self._make_sure()
        self._unsure = True
        try:
            written = os.write(self._descriptor, record)
        except OSError as error:
            self._unsure = False  # Nothing was written.
            raise _translated(error, self._folder) from error
        if written != len(record):
            # A torn record would hide those after it, so the file is cut back to its last whole one.
            os.ftruncate(self._descriptor, self._written)
            self._unsure = False
            raise LedgerFull(f"the spool {self._folder} could not take the whole event; the disk is full")
        self._written += written
        self._pending += 1
        if self._pending == 1:
            self._wake.set()
        self._unsure = False

    def _make_sure(self) -> None:
        """Count anew what waits, and cut off what is torn: Ctrl-C, or what else a signal raises, came between a write
        and its count.
        """
        if self._drained > os.fstat(self._descriptor).st_size:
            self._drained = 0
        payloads, length = _records(_read_from(self._descriptor, self._drained))
        os.ftruncate(self._descriptor, self._drained + length)
        self._written = self._drained + length
        self._pending = len(payloads)
        self._wake.set()
        self._unsure = False

    def _start(self) -> None:
        self._wake.set()
        self._thread = threading.Thread(target=self._drain_forever, name="outlay-spool", daemon=True)
        self._thread.start()

    def _drain_forever(self) -> None:
        try:
            self._drain_until_stopped()
        finally:
            # Whatever ended it: the next append starts another.
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _drain_until_stopped(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            # A short pause gathers a group, so that many events share one commit.
            if self._stop.wait(DRAIN_INTERVAL_S):
                return
            try:
                self.drain()
            except LedgerClosed:
                return  # As at the end of the process. What waits stays in the file for the next opener.
            except (OutlayError, OSError) as error:
                # The events stay in the file and are tried again; the ledger may be busy, or the disk full, for now.
                code = error.code if isinstance(error, OutlayError) else type(error).__name__
                logger.warning("spool not drained yet (%s); its events are kept", code)
                if self._stop.wait(1.0):
                    return
                self._wake.set()

    def _drain_own(self) -> int:
        booked = 0
        while True:
            with self._lock:
                if self._descriptor < 0:
                    return booked
                if self._unsure:
                    self._make_sure()
                start, end = self._drained, self._written
                data = os.pread(self._descriptor, end - start, start) if end > start else b""
            if not data:
                return booked
            payloads, consumed = _records(data)
            booked += self._book(payloads)
            if consumed < len(data) and self._path is not None:
                # The disk gave other bytes back than were written: what cannot be read hides what comes after it.
                self._keep_torn(self._path, data[consumed:])
                consumed = len(data)
            with self._lock:
                if self._unsure:
                    self._make_sure()
                self._unsure = True
                self._drained = start + consumed
                self._pending -= len(payloads)
                if self._drained == self._written:
                    os.ftruncate(self._descriptor, 0)
                    self._written = self._drained = self._pending = 0
                elif self._drained >= max(RENEWED_BYTES, self._written - self._drained):
                    self._renew()
                self._unsure = False

    def _renew(self) -> None:
        """Go on in a new file, which begins with what is not booked yet; the other one goes. Where that fails, the
        present one stays.
        """
        rest = _read_from(self._descriptor, self._drained)
        try:
            descriptor, path = _claimed_in(self._folder)
            whole = os.write(descriptor, rest) == len(rest)
        except OSError:
            return
        if not whole:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            return
        old, before = self._descriptor, self._path
        self._descriptor, self._path = descriptor, path
        self._written, self._drained = len(rest), 0
        if before is not None:
            before.unlink(missing_ok=True)
        os.close(old)

    def _book(self, payloads: Sequence[bytes]) -> int:
        booked = 0
        for start in range(0, len(payloads), DRAIN_GROUP):
            group = self._decoded(payloads[start : start + DRAIN_GROUP])
            for event, recorded in zip(group, self._recorded(group), strict=True):
                if recorded.message:
                    self._reject(event, recorded)
                else:
                    booked += 1
        return booked

    def _recorded(self, group: Sequence[UsageEvent]) -> list[Recorded]:
        """The outcomes of a group, in halves where it is refused as a whole: as one body too large for what stands
        before a server, or for the fault of one event, which must not hold up the others.
        """
        if not group:
            return []
        try:
            return self._record_group(group)
        except InvalidInput as error:
            if len(group) > 1:
                half = len(group) // 2
                return self._recorded(group[:half]) + self._recorded(group[half:])
            if error.code == InvalidInput.code:
                raise  # Nobody who knows events said that.
            return [Recorded(0, group[0].id, error.code, message=error.message)]

    def _decoded(self, payloads: Sequence[bytes]) -> list[UsageEvent]:
        events = []
        for payload in payloads:
            try:
                if payload[:1] == _SEEN:
                    events.extend(self._read_seen(payload[1:]))
                else:
                    events.append(self._decode(payload))
            except (msgspec.DecodeError, *ODD):
                # Sound bytes that this version cannot read, so another version's: kept, not guessed at.
                self._keep_torn(self._folder / f"unread-{os.urandom(4).hex()}", payload)
        return events

    def _read_seen(self, payload: bytes) -> list[UsageEvent]:
        seen = _decode_seen(payload)
        return [] if self._events_seen is None else self._events_seen(seen)

    def _reject(self, event: UsageEvent, recorded: Recorded) -> None:
        """Keep what the ledger refused (a reused id with another body), so that nothing is lost."""
        line = msgspec.json.encode({"code": recorded.code, "message": recorded.message, "event": event})
        with (self._folder / "rejected.jsonl").open("ab") as file:
            file.write(line + b"\n")
        logger.warning("event %s was refused as %s; it is kept in %s", event.id, recorded.code, file.name)

    def _others(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.glob("*.spool") if path != self._path)

    def _adopt_file(self, path: Path) -> int:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        except OSError as error:
            if isinstance(error, PermissionError) and path.stat().st_uid != os.geteuid():
                return 0  # Another user's program: the next one of that user adopts it.
            raise _translated(error, path) from error
        try:
            if not _try_lock(descriptor):
                return 0
            data = _read_from(descriptor, 0)
            payloads, consumed = _records(data)
            booked = self._book(payloads)
            if consumed < len(data):
                self._keep_torn(path, data[consumed:])
            path.unlink(missing_ok=True)
            return booked
        finally:
            os.close(descriptor)

    def _keep_torn(self, path: Path, tail: bytes) -> None:
        torn = path.with_suffix(".torn")
        with torn.open("ab") as file:
            file.write(tail)
        logger.warning("%d bytes of an unfinished append are kept in %s", len(tail), torn)

    def _release(self) -> None:
        if self._descriptor < 0:
            return
        if self._path is not None and self._drained == self._written:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor, self._path = -1, None

    def _forked(self) -> None:
        """In a forked child: the file, its lock and the thread are the parent's. Start anew at the next append."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path, self._thread = -1, None, None
        self._written = self._drained = self._pending = 0
        self._unsure = False
        self._lock, self._draining = threading.Lock(), threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()


_decode_seen = msgspec.msgpack.Decoder(Seen).decode
_spools: list[Spool] = []
_forking = threading.Lock()
_held: list[Spool] = []
"""Whose locks are held by a fork under way: meanwhile another thread may make a spool, or close one of these."""


def _before_fork() -> None:
    _forking.acquire()
    _held[:] = _spools
    for spool in _held:
        # Held across the fork, so that no append is half done in the child's copy of the state.
        spool._lock.acquire()


def _after_fork_in_parent() -> None:
    for spool in _held:
        spool._lock.release()
    _held.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    for spool in {*_held, *_spools}:
        spool._forked()
    _held.clear()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def _claimed_in(folder: Path) -> tuple[int, Path]:
    """Make and lock a file, another one where an adopter came between the two. It took the file for a dead process's,
    and what were appended to a file that is unlinked would be lost with this process.
    """
    while True:
        path = folder / f"{os.getpid()}-{os.urandom(6).hex()}.spool"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if _try_lock(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)


def _records(data: bytes) -> tuple[list[bytes], int]:
    """The whole, sound records at the start of `data`, and how many bytes they take."""
    payloads: list[bytes] = []
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if not 0 < length <= _PAYLOAD_BYTES_MAX or end > len(data):
            break
        payload = data[at + _HEADER.size : end]
        if zlib.crc32(payload) != checksum:
            break
        payloads.append(payload)
        at = end
    return payloads, at


def _read_from(descriptor: int, start: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size - start, start) if size > start else b""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _translated(error: OSError, path: Path) -> LedgerError:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return LedgerFull(f"the disk of {path} is full; free space and try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return LedgerReadOnly(f"{path} cannot be written; check its permissions")
    return LedgerError(f"the spool {path} failed: {error.strerror}")
