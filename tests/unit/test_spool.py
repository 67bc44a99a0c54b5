"""The spool keeps what it acknowledged, whatever becomes of its process, and books it once."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from outlay.capture.intake import build_event
from outlay.clock import to_instant
from outlay.errors import InvalidInput, LedgerFull, LedgerReadOnly
from outlay.model import Recorded, UsageEvent
from outlay.spool import Spool, _after_fork_in_parent, _before_fork, _spools

NOW = to_instant("2026-03-10T12:00:00Z")


class Book:
    """Stands where the ledger does: remembers ids, refuses those that start with `bad`."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def record_group(self, events: Sequence[UsageEvent]) -> list[Recorded]:
        outcomes = []
        for at, event in enumerate(events):
            if event.id.startswith("bad"):
                outcomes.append(Recorded(at, event.id, "exists_with_different_usage", message="another body"))
            else:
                self.ids.append(event.id)
                outcomes.append(Recorded(at, event.id, "created"))
        return outcomes


def event(id: str) -> UsageEvent:
    return build_event({"id": id, "provider": "openai", "service": "gpt-4o", "usage": {"input_tokens": 1}}, NOW)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_what_was_appended_is_booked_once_and_the_file_goes(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    for at in range(2_500):
        spool.append(event(f"e{at}"))
    spool.close()
    assert book.ids == [f"e{at}" for at in range(2_500)]
    assert files(tmp_path / "spool") == []
    assert spool.pending() == 0


def test_the_thread_books_without_being_asked(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    spool.append(event("e1"))
    for _ in range(200):
        if book.ids:
            break
        spool._stop.wait(0.02)
    assert book.ids == ["e1"]
    spool.close()


def test_events_of_a_killed_process_are_adopted(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from outlay.capture.intake import build_event
from outlay.spool import Spool
def never(events): import time; time.sleep(60)
spool = Spool(Path({str(tmp_path / "spool")!r}), never)
for at in range(100):
    spool.append(build_event({{"id": f"e{{at}}", "provider": "p", "service": "s"}}, {NOW}))
print("acknowledged", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL
    assert "acknowledged" in died.stdout
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    assert spool.pending() == 100
    assert spool.adopt() == 100
    assert book.ids == [f"e{at}" for at in range(100)]
    assert files(tmp_path / "spool") == []


def test_a_living_processs_file_is_left_alone(tmp_path: Path) -> None:
    def busy(events: Sequence[UsageEvent]) -> list[Recorded]:
        raise LedgerFull

    living = Spool(tmp_path / "spool", busy)
    living.append(event("e1"))
    book = Book()
    other = Spool(tmp_path / "spool", book.record_group)
    assert other.adopt() == 0
    assert other.pending() == 1
    assert book.ids == []
    living._record_group = book.record_group
    living.close()
    assert book.ids == ["e1"]


@pytest.mark.parametrize("when", ["before the lock", "during the lock"])
def test_an_adopter_between_the_making_of_a_file_and_its_lock_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    folder, book = tmp_path / "spool", Book()
    real = fcntl.flock
    others: list[int] = []

    def late(descriptor: int, operation: int) -> None:
        if not others:
            (path,) = folder.glob("*.spool")
            others.append(os.open(path, os.O_RDWR))
            real(others[0], fcntl.LOCK_EX)
            path.unlink()
            if when == "before the lock":
                os.close(others[0])
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    spool = Spool(folder, book.record_group)
    spool.append(event("e1"))
    assert len(files(folder)) == 1  # Not a file that nobody can find again.
    spool.close()
    assert book.ids == ["e1"]


def test_what_cannot_be_booked_stays_for_the_next_opener(tmp_path: Path) -> None:
    def full(events: Sequence[UsageEvent]) -> list[Recorded]:
        raise LedgerFull

    spool = Spool(tmp_path / "spool", full)
    spool.append(event("e1"))
    with pytest.raises(LedgerFull):
        spool.close()
    book = Book()
    assert Spool(tmp_path / "spool", book.record_group).adopt() == 1
    assert book.ids == ["e1"]


def test_an_unfinished_append_hides_nothing_before_it_and_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, Book().record_group)
    spool._draining.acquire()  # the thread waits while the file is looked at
    spool.append(event("e1"))
    spool.append(event("e2"))
    path = next(folder.glob("*.spool"))
    whole = path.read_bytes()
    (folder / "dead.spool").write_bytes(whole[:-3])
    book = Book()
    assert Spool(folder, book.record_group).adopt() == 1
    assert book.ids == ["e1"]
    torn = (folder / "dead.torn").read_bytes()
    assert whole[:-3].endswith(torn)
    spool._draining.release()
    spool.close()


def test_a_flipped_bit_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    spool = Spool(folder, Book().record_group)
    spool._draining.acquire()
    spool.append(event("e1"))
    data = bytearray(next(folder.glob("*.spool")).read_bytes())
    data[-1] ^= 1
    (folder / "dead.spool").write_bytes(bytes(data))
    book = Book()
    assert Spool(folder, book.record_group).adopt() == 0
    assert book.ids == []
    assert (folder / "dead.torn").read_bytes() == bytes(data)
    spool._draining.release()
    spool.close()


def test_what_the_ledger_refuses_is_kept_beside(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    spool.append(event("bad1"))
    spool.append(event("e2"))
    spool.close()
    assert book.ids == ["e2"]
    kept = (tmp_path / "spool" / "rejected.jsonl").read_text()
    assert '"bad1"' in kept
    assert "exists_with_different_usage" in kept


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    spool.append(event("parent-1"))
    child = os.fork()
    if child == 0:
        try:
            spool.append(event("child-1"))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    spool.append(event("parent-2"))
    spool.close()
    left = Spool(tmp_path / "spool", book.record_group)
    left.adopt()
    assert sorted(book.ids) == ["child-1", "parent-1", "parent-2"]


def test_a_folder_that_cannot_be_made_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool", Book().record_group)
    with pytest.raises(Exception, match="spool") as failed:
        spool.append(event("e1"))
    assert type(failed.value).__name__ in (LedgerReadOnly.__name__, "LedgerError")


def test_ctrl_c_between_a_write_and_its_count_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book, real = Book(), os.write
    monkeypatch.setattr("outlay.spool.DRAIN_INTERVAL_S", 60.0)
    spool = Spool(tmp_path / "spool", book.record_group)
    spool.append(event("e1"))

    def interrupted(descriptor: int, data: bytes) -> int:
        real(descriptor, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as once:
        once.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            spool.append(event("e2"))
    spool.append(event("e3"))
    assert spool.pending() == 3
    closing = threading.Thread(target=spool.close, daemon=True)
    closing.start()
    closing.join(30)
    assert not closing.is_alive()
    assert book.ids == ["e1", "e2", "e3"]


def test_under_a_steady_stream_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlay.spool.DRAIN_INTERVAL_S", 60.0)
    monkeypatch.setattr("outlay.spool.RENEWED_BYTES", 2_000)
    folder, book = tmp_path / "spool", Book()
    sizes: list[int] = []

    def while_more_comes(events: Sequence[UsageEvent]) -> list[Recorded]:
        done = book.record_group(events)
        sizes.append(sum(path.stat().st_size for path in folder.iterdir()))
        if len(book.ids) < 1_000:
            for at in range(3):
                spool.append(event(f"e{len(book.ids)}-{at}"))
        return done

    spool = Spool(folder, while_more_comes)
    spool.append(event("e0"))
    spool.drain()
    assert len(book.ids) == len(set(book.ids)) >= 1_000
    assert max(sizes) < 5_000
    assert spool.pending() == 0
    spool.close()
    assert files(folder) == []


def test_a_spool_that_is_closed_while_another_thread_forks_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    spool.append(event("e1"))
    thread = spool._thread
    assert thread is not None
    waits_s: list[float] = []
    # The fork holds it up, so that to wait for it is in vain however long it takes.
    monkeypatch.setattr(thread, "join", lambda timeout: waits_s.append(timeout))
    _before_fork()
    closing = threading.Thread(target=spool.close, daemon=True)
    closing.start()
    while spool in _spools:
        closing.join(0.01)
    later = Spool(tmp_path / "later", book.record_group)
    _after_fork_in_parent()
    closing.join(30)
    assert not closing.is_alive()
    assert len(waits_s) == 1
    assert book.ids == ["e1"]
    later.append(event("e2"))
    later.close()
    assert book.ids == ["e1", "e2"]


def test_zeros_that_a_power_cut_left_are_one_torn_end(tmp_path: Path) -> None:
    def away(events: Sequence[UsageEvent]) -> list[Recorded]:
        raise LedgerFull

    spool = Spool(tmp_path / "spool", away)
    spool.append(event("e1"))
    with pytest.raises(LedgerFull):
        spool.close()
    (name,) = files(tmp_path / "spool")
    with (tmp_path / "spool" / name).open("ab") as file:
        file.write(bytes(4_096))
    book = Book()
    assert Spool(tmp_path / "spool", book.record_group).adopt() == 1
    assert files(tmp_path / "spool") == [Path(name).with_suffix(".torn").name]


def test_what_fails_unforeseen_is_tried_again(tmp_path: Path) -> None:
    book, booked = Book(), threading.Event()
    errors: list[Exception] = [OSError("no space for what is refused")]

    def fails_once(events: Sequence[UsageEvent]) -> list[Recorded]:
        if errors:
            raise errors.pop()
        done = book.record_group(events)
        booked.set()
        return done

    spool = Spool(tmp_path / "spool", fails_once)
    spool.append(event("e1"))
    assert booked.wait(30)
    spool.close()
    assert book.ids == ["e1"]


def test_an_event_that_no_reader_would_take_is_refused_at_once(tmp_path: Path) -> None:
    book = Book()
    spool = Spool(tmp_path / "spool", book.record_group)
    big = build_event({"provider": "openai", "service": "x", "usage": {"input_tokens": 1}, "id": "big"}, NOW)
    with pytest.raises(InvalidInput) as refused:
        spool.append(msgspec.structs.replace(big, error="x" * (1 << 20)))
    assert refused.value.code == "event_too_large"
    spool.append(event("e1"))
    spool.close()
    assert book.ids == ["e1"]


def test_another_users_file_is_left_to_that_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / "1-ab.spool").write_bytes(b"")
    real = os.open

    def forbidden(path: str | Path, *how: int) -> int:
        if str(path).endswith("1-ab.spool"):
            raise PermissionError(errno.EACCES, "not yours")
        return real(path, *how)

    monkeypatch.setattr(os, "open", forbidden)
    book = Book()
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: (folder / "1-ab.spool").stat().st_uid + 1)
        assert Spool(folder, book.record_group).adopt() == 0
    with pytest.raises(LedgerReadOnly):
        Spool(folder, book.record_group).adopt()


def test_a_group_that_is_refused_as_a_whole_is_booked_in_halves(tmp_path: Path) -> None:
    book, sizes = Book(), list[int]()

    def small_bodies(events: Sequence[UsageEvent]) -> list[Recorded]:
        sizes.append(len(events))
        if len(events) > 10:
            raise InvalidInput("the server answered 413")
        if any(event.id == "e17" for event in events):
            raise InvalidInput("this version knows no such meter", code="unknown_meter")
        return book.record_group(events)

    spool = Spool(tmp_path / "spool", small_bodies)
    for at in range(40):
        spool.append(event(f"e{at}"))
    spool.close()
    assert book.ids == [f"e{at}" for at in range(40) if at != 17]
    assert "unknown_meter" in (tmp_path / "spool" / "rejected.jsonl").read_text()


def test_what_a_proxy_refuses_without_a_word_of_the_server_stays(tmp_path: Path) -> None:
    def proxy(events: Sequence[UsageEvent]) -> list[Recorded]:
        raise InvalidInput("the server answered 400")

    spool = Spool(tmp_path / "spool", proxy)
    spool.append(event("e1"))
    with pytest.raises(InvalidInput):
        spool.close()
    book = Book()
    assert Spool(tmp_path / "spool", book.record_group).adopt() == 1
