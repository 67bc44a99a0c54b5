"""What all tests share: where recorded input lies, a driven clock, and the choice of the big counts."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
import typer.testing
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import Phase, settings
from hypothesis.internal.conjecture import engine

import outlay

pytest_plugins = ["tests.postgres_server", "tests.postgres_ledgers"]

ROOT = Path(__file__).parent.parent
ANSWER_S = 60.0
SHRINKING_S = 60
SOAK = bool(os.environ.get("OUTLAY_SOAK"))


def pytest_configure() -> None:
    """Let the tests' own clients wait for a machine that does much else: timing is never what they assert.

    What Hypothesis finds is told before the test's own time is over: it would shrink for as long, and then explain.
    """
    assert engine.MAX_SHRINKING_SECONDS > SHRINKING_S
    engine.MAX_SHRINKING_SECONDS = SHRINKING_S
    phases = [phase for phase in Phase if phase is not Phase.explain]
    settings.register_profile("told in time", phases=phases)
    settings.load_profile("told in time")
    # One object is every function's default, so this is the one place where it can be said once.
    DEFAULT_TIMEOUT_CONFIG.connect = DEFAULT_TIMEOUT_CONFIG.read = DEFAULT_TIMEOUT_CONFIG.write = ANSWER_S


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak tests to `make soak`: deselected, so that the closing line counts them, never silently."""
    if SOAK:
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        items[:] = [item for item in items if item not in soak]
        config.hook.pytest_deselected(items=soak)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No test runs on an event loop that another one left on this thread: nothing waits for a commit there.

    Playwright's browsers leave one for as long as they are open; whoever drives a browser names the fixture `page`
    or `browser`.
    """
    drives = {"page", "browser"} & set(getattr(item, "fixturenames", ()))
    if not drives and asyncio._get_running_loop() is not None:
        pytest.fail("an earlier test left an event loop running on this thread: let its fixture end with its module")


@pytest.fixture(scope="session", autouse=True)
def commands_built_once() -> Iterator[None]:
    """The tree of commands is built once and not for every command that a test runs: it takes a fifth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Recorded input: OUTLAY_TEST_DATA, or ../shared/data beside the repository."""
    folder = Path(os.environ.get("OUTLAY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "cassettes").is_dir():
        pytest.skip(f"recorded input is missing: OUTLAY_TEST_DATA names {folder}")
    return folder


@pytest.fixture
def clock() -> outlay.FrozenClock:
    """A clock that stands at noon of 10 March 2026 until a test moves it."""
    return outlay.FrozenClock("2026-03-10T12:00:00Z")


@pytest.fixture
def memory(clock: outlay.FrozenClock) -> Iterator[outlay.Ledger]:
    """A ledger in memory on the driven clock."""
    with outlay.open("memory:", clock=clock) as ledger:
        yield ledger


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, clock: outlay.FrozenClock, tmp_path: Path) -> Iterator[outlay.Ledger]:
    """A ledger on the driven clock, once in memory and once in a file."""
    address = "memory:" if request.param == "memory" else str(tmp_path / "outlay.db")
    with outlay.open(address, clock=clock) as ledger:
        yield ledger
