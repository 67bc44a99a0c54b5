"""What servers share through the store: keys, the log of changes, leases."""

from __future__ import annotations

from tests.budget_entries import cents, put, reserve
from tests.ledger_entries import NOON

from outlay.ledger.serving_store import KeptKey, Lease, LoggedChange
from outlay.ledger.store import LedgerStore
from outlay.model import Status


def test_a_key_is_kept_and_changed_only_by_who_saw_what_stands(store: LedgerStore) -> None:
    assert store.put_key("k2", b"second", expects=None)
    assert store.put_key("k1", b"first", expects=None)
    assert not store.put_key("k1", b"again", expects=None)
    assert not store.put_key("k1", b"late", expects=b"something older")
    assert store.put_key("k1", b"changed", expects=b"first")
    assert store.access_keys() == [KeptKey("k1", b"changed"), KeptKey("k2", b"second")]


def test_a_key_remembers_its_last_use_whoever_tells_it_last(store: LedgerStore) -> None:
    store.put_key("k1", b"body", expects=None)
    store.note_key_uses({"k1": 200, "nobody": 5})
    store.note_key_uses({"k1": 100})
    assert store.access_keys() == [KeptKey("k1", b"body", 200)]
    store.put_key("k1", b"rotated", expects=b"body")
    assert store.access_keys() == [KeptKey("k1", b"rotated", 200)]


def test_a_key_leaves_the_epoch_alone(store: LedgerStore) -> None:
    """Prices need not be read anew because a key was made or used."""
    before = store.epoch()
    store.put_key("k1", b"body", expects=None)
    store.note_key_uses({"k1": 1})
    store.log_changes([LoggedChange(at=1, who="k1", action="put")])
    store.take_lease("fold", "a", 1, 2)
    assert store.epoch() == before


def test_changes_are_read_newest_first_page_by_page(store: LedgerStore) -> None:
    store.log_changes([LoggedChange(at=at, who="cli", action="PUT", subject=f"b{at}", detail="x") for at in (1, 2)])
    store.log_changes([LoggedChange(at=3, who="k1", action="DELETE", subject="b3")])
    newest = store.logged_changes(2)
    assert [change.subject for change in newest] == ["b3", "b2"]
    assert newest[1].who == "cli"
    assert newest[1].detail == "x"
    assert [change.subject for change in store.logged_changes(2, newest[-1].number)] == ["b1"]
    assert store.logged_changes(2, 1) == []


def test_a_lease_is_one_holders_until_it_ends_or_is_given_up(store: LedgerStore) -> None:
    assert store.lease("watch") is None
    assert store.take_lease("watch", "a", 100, 200)
    assert not store.take_lease("watch", "b", 199, 300)
    assert store.take_lease("watch", "a", 150, 250)
    assert store.lease("watch") == Lease("watch", "a", 250)
    assert store.take_lease("watch", "b", 250, 350)
    store.release_lease("watch", "a")
    assert store.lease("watch") == Lease("watch", "b", 350)
    store.release_lease("watch", "b")
    assert store.lease("watch") is None
    assert store.take_lease("fold", "a", 0, 1)


def test_an_open_reservation_tells_which_call_it_holds(store: LedgerStore) -> None:
    put(store, "day", limit="1.00")
    entry = cents(1, "r1", user="u1", feature="summary", tags={"plan": "pro"})
    reserve(store, entry)
    held = store.held_call("r1")
    assert held is not None
    assert (held.id, held.user, held.feature, held.tags) == ("r1", "u1", "summary", {"plan": "pro"})
    assert held.status is Status.UNSETTLED
    assert store.held_call("nobody") is None
    store.release("r1", NOON)
    assert store.held_call("r1") is None


def test_of_several_who_make_the_same_note_one_does(store: LedgerStore) -> None:
    assert store.put_note("alert", "a", b"1", expects=None, at=10, live=True)
    assert not store.put_note("alert", "a", b"2", expects=None, at=10, live=True)
    assert not store.put_note("alert", "a", b"2", expects=b"0", at=10, live=True)
    assert store.put_note("alert", "a", b"2", expects=b"1", at=10, live=True)
    assert (store.note("alert", "a"), store.note("rule", "a")) == (b"2", None)


def test_notes_come_newest_first_and_live_ones_alone_where_asked(store: LedgerStore) -> None:
    for id, at, live in (("a", 10, True), ("b", 30, False), ("c", 20, True)):
        store.put_note("alert", id, id.encode(), expects=None, at=at, live=live)
    store.put_note("rule", "d", b"d", expects=None, at=40, live=True)
    assert store.notes("alert") == [b"b", b"c", b"a"]
    assert store.notes("alert", live_only=True) == [b"c", b"a"]
    assert store.notes("alert", most=1) == [b"b"]
