"""Programs that the concurrency tests start: each is one process that writes to a ledger file.

python store_programs.py NAME LEDGER [ARGUMENT …]
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.ledger_entries import NOON, make_entry

from outlay.errors import OpenedBeforeFork
from outlay.ledger.sqlite import SqliteStore
from outlay.ledger.store import EntryFilter


def opened(path: str) -> SqliteStore:
    return SqliteStore(Path(path))


def write_for_ever(path: str, name: str, acknowledged: str, seed: str) -> None:
    """Append batches, and note each id in a file once the store has acknowledged it. Only a kill ends it.

    What the last life left unacknowledged is sent again with the same ids, as a client would.
    """
    dice = random.Random(int(seed))
    store = opened(path)
    notes = Path(acknowledged)
    done = len(notes.read_text().splitlines()) if notes.exists() else 0
    out = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        size = dice.choice([1, 1, 1, 7, 60])
        batch = [make_entry(f"{name}-{n}", NOON, user=name, job=f"job {n % 20}") for n in range(done, done + size)]
        results = store.append(batch)
        assert {result.code for result in results} <= {"created", "exists"}
        os.write(out, "".join(f"{entry.event.id}\n" for entry in batch).encode())
        done += size
        if dice.random() < 0.05:
            store.fold(dice.randrange(1, 500))


def open_and_close(path: str, seconds: str) -> None:
    """What a command line does: open, ask, close; again and again."""
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        store = opened(path)
        store.epoch()
        store.close()
        time.sleep(0.005)


def fork_and_close_in_parent(path: str) -> None:
    """The parent writes one, forks and closes; the child writes 110 on the inherited store."""
    store = opened(path)
    store.append([make_entry("parent")])
    child = os.fork()
    if child == 0:
        time.sleep(0.1)  # The parent has closed by now.
        for number in range(110):
            store.append([make_entry(f"child-{number}")])
        os._exit(0)
    store.close()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def fork_workers_and_leave(path: str, workers: str, each: str) -> None:
    """A parent whose other thread is writing forks workers; all of them write; the parent ends first."""
    store = opened(path)
    stop = threading.Event()
    written = [0]

    def keep_writing() -> None:
        while not stop.is_set():
            store.append([make_entry(f"thread-{written[0]}")])
            written[0] += 1

    writer = threading.Thread(target=keep_writing)
    writer.start()
    for worker in range(int(workers)):
        time.sleep(0.02)
        if os.fork() == 0:
            for number in range(int(each)):
                store.append([make_entry(f"worker-{worker}-{number}")])
            Path(f"{path}.done-{worker}").touch()
            os._exit(0)
    stop.set()
    writer.join()
    Path(f"{path}.thread").write_text(str(written[0]))


def work_in_pool(path: str, each: str) -> None:
    """multiprocessing by fork, with the store open in the parent."""
    store = opened(path)
    store.append([make_entry("parent")])

    def work(worker: int) -> None:
        for number in range(int(each)):
            store.append([make_entry(f"pool-{worker}-{number}")])

    context = multiprocessing.get_context("fork")
    pool = [context.Process(target=work, args=(worker,)) for worker in range(3)]
    for process in pool:
        process.start()
    for number in range(int(each)):
        store.append([make_entry(f"parent-{number}")])
    for process in pool:
        process.join()
    sys.exit(max(abs(process.exitcode or 0) for process in pool))


def fork_in_c(path: str) -> None:
    """A fork that no hook sees: the child's use is refused, and its ordinary end harms nothing."""
    store = opened(path)
    store.append([make_entry("before")])
    list(store.entries(EntryFilter()))  # A reader's connection crosses too.
    child = ctypes.CDLL(None).fork()
    if child == 0:
        try:
            store.append([make_entry("never")])
        except OpenedBeforeFork as error:
            store.close()
            print(error.code, flush=True)
            sys.exit(0)
        sys.exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for number in range(50):
        store.append([make_entry(f"after-{number}")])
    print(len(list(store.entries(EntryFilter()))), flush=True)
    os._exit(status)  # Without closing, as a killed parent would end.


def fork_while_reading(path: str) -> None:
    """Threads ask and append while the process forks again and again: nobody deadlocks or errs."""
    store = opened(path)
    stop = threading.Event()
    failures: list[BaseException] = []

    def ask(number: int) -> None:
        count = 0
        try:
            while not stop.is_set():
                list(store.entries(EntryFilter(), 5))
                store.append([make_entry(f"asker-{number}-{count}")])
                count += 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for number in range(20):
        child = os.fork()
        if child == 0:
            store.append([make_entry(f"forked-{number}")])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    stop.set()
    for thread in threads:
        thread.join()
    print(failures, flush=True)
    os._exit(1 if failures else 0)


def drop_days(path: str) -> None:
    """Retention of everything before the last two days, to be killed in the middle."""
    store = opened(path)
    Path(f"{path}.dropping").touch()
    store.retain(NOON // 86_400_000_000 - 1, NOON)
    Path(f"{path}.dropped").touch()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
