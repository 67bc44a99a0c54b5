"""Files, disks and folders that are not right: each has its named error, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.ledger_entries import make_entry

from outlay.errors import (
    InvalidInput,
    LedgerBusy,
    LedgerCorrupt,
    LedgerError,
    LedgerFull,
    LedgerReadOnly,
    UnsafeFilesystem,
)
from outlay.ledger.sqlite import SqliteStore, connections, folder
from outlay.ledger.sqlite.failures import translate
from outlay.ledger.sqlite.filesystem import filesystem_type
from outlay.ledger.store import EntryFilter
from outlay.model import CostQuery

ROOT = os.geteuid() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 2 MB."""
    if not ROOT:
        pytest.skip("mounting a small filesystem needs root")
    point = tmp_path / "disk"
    point.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(point)], check=False)
    if mounted.returncode:
        pytest.skip("this system does not let us mount")
    yield point
    subprocess.run(["umount", "-l", str(point)], check=True)


def test_a_full_disk_is_said_and_the_ledger_goes_on_when_there_is_space(small_disk: Path) -> None:
    store = SqliteStore(small_disk / "a.db", fold_behind=False)
    acknowledged = 0
    with pytest.raises(LedgerFull, match="free some"):  # noqa: PT012  one of these appends is the one that fails
        for number in range(100):
            store.append([make_entry(f"e{number}-{n}", error="x" * 200) for n in range(100)])
            acknowledged += 100
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert len(list(store.entries(EntryFilter()))) == acknowledged
    assert store.append([make_entry("after")])[0].code == "created"
    assert store.audit().findings == ()
    store.close()


def test_a_full_file_is_said_without_a_small_disk(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", fold_behind=False)
    store.append([make_entry("a")])
    with store._connections.vacating() as connection:
        connection.execute(f"PRAGMA max_page_count = {connection.pragma('page_count')}")
    with pytest.raises(LedgerFull):
        store.append([make_entry(f"e{n}", error="x" * 200) for n in range(1_000)])
    assert [entry.event.id for entry in store.entries(EntryFilter())] == ["a"]
    store.close()


def test_a_folder_that_cannot_be_written_is_said(small_disk: Path) -> None:
    SqliteStore(small_disk / "a.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("a.db", "new.db"):
        with pytest.raises(LedgerReadOnly, match="cannot be written"):
            SqliteStore(small_disk / name)


@pytest.mark.skipif(ROOT, reason="permissions do not bind root; the read-only filesystem is tested instead")
def test_a_file_without_write_permission_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    SqliteStore(path).close()
    path.chmod(0o400)
    with pytest.raises(LedgerReadOnly):
        SqliteStore(path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as raised:
        SqliteStore(tmp_path / "nowhere" / "a.db")
    assert raised.value.code == "cannot_open"


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(LedgerCorrupt, match="is a folder"):
        SqliteStore(tmp_path)


def test_text_is_no_ledger_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 500)
    with pytest.raises(LedgerCorrupt, match="not a sound ledger"):
        SqliteStore(path)
    assert path.read_text() == "Dear diary, " * 500


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    store = SqliteStore(tmp_path / "a.db")
    assert store.append([make_entry("a")])[0].code == "created"
    store.close()


def look_at_all_of(path: Path) -> None:
    store = SqliteStore(path)
    store.audit()
    list(store.entries(EntryFilter()))


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.append([make_entry(f"e{n}") for n in range(3_000)])
    store.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(LedgerCorrupt):
        look_at_all_of(path)


def test_pages_overwritten_with_rubbish_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path, fold_behind=False)
    store.append([make_entry(f"e{n}") for n in range(3_000)])
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(path.stat().st_size - 4096 * 4))
    with pytest.raises(LedgerCorrupt):
        look_at_all_of(path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_filesystem_is_refused_before_anything_is_written(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UnsafeFilesystem, match=kind):
        SqliteStore(tmp_path / "a.db", filesystem=lambda path: kind)
    assert list(tmp_path.iterdir()) == []


def test_the_deepest_last_mount_names_the_filesystem(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\n"
        "rubbish\n"
        f"host:/x {tmp_path}/data nfs4 rw 0 0\n"
        f"/dev/b {tmp_path}/data/local\\040disk xfs rw 0 0\n"
        f"tmpfs {tmp_path}/over tmpfs rw 0 0\n"
        f"host:/y {tmp_path}/over nfs rw 0 0\n"
    )
    assert filesystem_type(tmp_path / "a.db", mounts) == "ext4"
    assert filesystem_type(tmp_path / "data" / "a.db", mounts) == "nfs4"
    assert filesystem_type(tmp_path / "data" / "local disk" / "a.db", mounts) == "xfs"
    assert filesystem_type(tmp_path / "over" / "a.db", mounts) == "nfs"
    assert filesystem_type(tmp_path, tmp_path / "no such file") == "unknown"


def test_a_lock_held_for_too_long_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BUSY_SECONDS_MAX", 0.05)
    store = SqliteStore(tmp_path / "a.db")
    other = apsw.Connection(str(tmp_path / "a.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerBusy, match="try again"):
        store.append([make_entry("a")])
    other.execute("ROLLBACK")
    other.close()
    assert store.append([make_entry("a")])[0].code == "created"
    store.close()


def test_a_reader_is_interrupted_when_it_takes_too_long(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db")
    with pytest.raises(LedgerError) as raised, store._connections.reading(-1.0) as connection:
        connection.execute("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT sum(x) FROM n")
    assert raised.value.code == "query_too_slow"
    store.close()


def test_what_the_disk_says_is_told_apart() -> None:
    assert translate(apsw.IOError("disk I/O error"), "a.db").code == "io_failed"
    short = apsw.IOError("disk I/O error")
    vars(short)["extendedresult"] = apsw.SQLITE_IOERR_SHORT_READ
    assert isinstance(translate(short, "a.db"), LedgerCorrupt)
    assert translate(apsw.SQLError("no such table"), "a.db").code == "store_failed"
    assert isinstance(translate(apsw.ReadOnlyError("readonly"), "a.db"), LedgerReadOnly)


def test_a_background_fold_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "WAKE_AT", 1)
    monkeypatch.setattr(connections, "BUSY_SECONDS_MAX", 0.05)
    store = SqliteStore(tmp_path / "a.db")
    other = apsw.Connection(str(tmp_path / "a.db"))
    store.append([make_entry("a")])
    store._folder.join()
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerBusy):
        store.append([make_entry("b")])
    other.execute("ROLLBACK")
    store.append([make_entry("c")])
    store._folder.join()
    assert store.costs(CostQuery(by=("provider",))).total.events == 2
    other.close()
    store.close()


def test_a_bad_setting_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as raised:
        SqliteStore(tmp_path / "a.db", synchronous="off")
    assert raised.value.code == "bad_setting"
    with pytest.raises(InvalidInput) as raised:
        SqliteStore(tmp_path / "a.db", zone="Mars/Base")
    assert raised.value.code == "unknown_zone"
    assert list(tmp_path.iterdir()) == []


def test_full_synchronous_flushes_each_commit(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", synchronous="full")
    with store._connections.vacating() as connection:
        assert connection.pragma("synchronous") == 2
        assert connection.pragma("auto_vacuum") == 2
        assert connection.pragma("journal_mode") == "wal"
    store.close()


def test_a_damaged_entry_is_said(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "a.db", fold_behind=False)
    store.append([make_entry("a")])
    for column in ("body", "lines"):
        with store._connections.writing() as connection:
            connection.execute(f"UPDATE entry SET {column} = x'ff00'")
        with pytest.raises(LedgerCorrupt, match="entry 1"):
            list(store.entries(EntryFilter()))
    with pytest.raises(LedgerCorrupt, match="a packed entry"):
        store.fold()
    with pytest.raises(LedgerCorrupt, match="a packed entry"):
        store.audit()
    store.close()


@pytest.mark.parametrize("table", ["dimension", "rate", "tag_set", "meta"])
def test_a_lost_name_is_said(tmp_path: Path, table: str) -> None:
    path = tmp_path / "a.db"
    store = SqliteStore(path)
    store.append([make_entry("a", tags={"x": "y"})])
    store.close()
    store = SqliteStore(path, fold_behind=False)
    with store._connections.writing() as connection:
        connection.execute(f"DELETE FROM {table}")
    with pytest.raises(LedgerCorrupt, match="has lost"):
        list(store.entries(EntryFilter()))
    store.close()
