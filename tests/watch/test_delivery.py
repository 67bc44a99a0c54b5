"""Alerts reach real receivers, once each, whatever crashes in between."""

from __future__ import annotations

import email
import hashlib
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email import policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

import outlay
from outlay.budgets.alerts import ATTEMPTS_MAX, Message
from outlay.clock import FrozenClock
from outlay.errors import DeliveryFailed
from outlay.watcher import Watcher

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise's, where it imports all that it knows."""

SECRET = "a secret of the receiver's"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Receiver:
    """A webhook's other end: keeps what was posted, and answers `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[str, bytes, float]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((self.headers["outlay-signature"], body, time.monotonic()))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/hook?team=a"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def channel(self) -> dict[str, Any]:
        return {"hook": {"webhook": self.address, "secret": SECRET}}

    def titles(self) -> list[str]:
        return [json.loads(body)["title"] for _, body, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


@contextmanager
def spending(path: Path, clock: FrozenClock | None = None) -> Iterator[outlay.Ledger]:
    with outlay.open(path / "a.db", clock=clock or FrozenClock("2026-03-10T10:00:00Z")) as ledger:
        ledger.alert_rule("hour", above="50", window="hour")
        yield ledger


def spend(ledger: outlay.Ledger, amount: str, **fields: Any) -> None:
    ledger.record(provider="openai", service="gpt-4o", reported_cost=amount, **fields)


def test_a_webhook_is_signed_so_that_its_receiver_can_prove_it(tmp_path: Path, receiver: Receiver) -> None:
    with spending(tmp_path) as ledger:
        spend(ledger, "51")
        assert ledger.watcher(receiver.channel).round().sent == 1
    signature, body, _ = receiver.got[0]
    sent_at, told = (part.split("=")[1] for part in signature.split(","))
    assert hmac.new(SECRET.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest() == told
    (alert,) = json.loads(body)["alerts"]
    assert (alert["rule"], alert["amount"], alert["threshold"]) == ("hour", "51.00", "50.00")


@contextmanager
def mail_server() -> Iterator[tuple[int, list[Any]]]:
    """A real mail server: its port, and what came with whom it was for."""
    mails: list[Any] = []

    class Handler:
        async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
            self, server: object, session: object, envelope: Any
        ) -> str:
            mails.append((envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=policy.default)))
            return "250 kept"

    controller = Controller(Handler(), hostname="127.0.0.1", port=(port := free_port()))
    controller.start()
    try:
        yield port, mails
    finally:
        controller.stop()


def test_a_rule_tells_each_user_at_the_user_s_own_address_and_nobody_of_another(tmp_path: Path) -> None:
    with mail_server() as (port, mails), spending(tmp_path) as ledger:
        own = {
            "smtp": f"smtp://127.0.0.1:{port}",
            "from": "outlay@example.com",
            "own": "{subject}@example.com",
            "addresses": {"u2": "Ben <ben@example.org>"},
            "except": ["u3"],
        }
        others: list[Message] = []
        ledger.alert_rule("quota", at="10", each="user", marks=[80, 100], channels=["own"], owner="ops-ana")
        for user in ("u1", "u2", "u3", "not an address"):
            spend(ledger, "9", user=user)
        spend(ledger, "60")  # The fixture's rule, which names no channel, goes to the other one only.
        ledger.watcher({"own": own, "ops": others.append}).round()
    told = {tuple(to): mail for to, mail in mails}
    assert sorted(told) == [("ben@example.org",), ("u1@example.com",)]
    assert (
        told["u1@example.com",]["subject"].strip()
        == "quota: $9.00 of user u1 in 2026-03-10 is at least 80% of $10.00 (daily)"
    )
    body = told["u1@example.com",].get_body(("plain",)).get_content()
    assert "ops-ana" not in body
    assert "u2" not in body
    assert [alert["rule"] for message in others for alert in message.alerts] == ["hour"]


def test_an_alert_arrives_as_e_mail_by_a_real_smtp_server(tmp_path: Path) -> None:
    mails: list[Any] = []

    class Handler:
        async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
            self, server: object, session: object, envelope: Any
        ) -> str:
            mails.append(email.message_from_bytes(envelope.content, policy=policy.default))
            return "250 kept"

    controller = Controller(Handler(), hostname="127.0.0.1", port=(port := free_port()))
    controller.start()
    try:
        url = f"mailto://127.0.0.1:{port}?from=outlay@example.com&to=ops@example.com&mode=insecure"
        with spending(tmp_path) as ledger:
            spend(ledger, "51", user="u1")
            assert ledger.watcher({"mail": {"url": url}}).round().sent == 1
    finally:
        controller.stop()
    assert [mail["subject"] for mail in mails] == ["hour: $51.00 in 2026-03-10T10:00+0000 is over $50.00 (hourly)"]
    assert "user u1 $51.00, 100 %" in " ".join(mails[0].get_body(("plain", "html")).get_content().split())


def test_what_was_decided_before_a_crash_is_sent_after_it(tmp_path: Path, receiver: Receiver) -> None:
    def crash(message: Message) -> None:
        raise KeyboardInterrupt

    with spending(tmp_path) as ledger:
        spend(ledger, "51")
        with pytest.raises(KeyboardInterrupt):
            ledger.watcher({"hook": crash}).round()
        assert ledger.undelivered_alerts().pending == 1
        # The lease of the one that crashed runs out.
        ledger.clock.advance(minutes=2)  # type: ignore[attr-defined]  # It is a FrozenClock.
    with spending(tmp_path, FrozenClock("2026-03-10T10:02:00Z")) as ledger:
        assert ledger.watcher(receiver.channel).round().sent == 1
        assert ledger.undelivered_alerts().pending == 0
    assert len(receiver.got) == 1


def test_of_two_hosts_one_sends_and_each_alert_once(tmp_path: Path, receiver: Receiver) -> None:
    with spending(tmp_path) as first, spending(tmp_path) as second:
        watchers = [ledger.watcher(receiver.channel) for ledger in (first, second)]
        for hour in range(8):
            spend(first if hour % 2 else second, "51")
            with ThreadPoolExecutor(2) as pool:
                rounds = list(pool.map(Watcher.round, watchers))
            assert sorted(one.leading for one in rounds) == [False, True]
            if hour == 3:
                # Whoever leads goes away; the other takes over.
                next(one for one, ran in zip(watchers, (0, 1), strict=True) if one.round().leading).stop()
            for ledger in (first, second):
                ledger.clock.advance(hours=1)  # type: ignore[attr-defined]  # It is a FrozenClock.
    assert len(receiver.got) == len(set(receiver.titles())) == 8


def test_a_channel_that_is_down_is_tried_later_and_later_then_given_up_and_shown(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.status = 503
    clock = FrozenClock("2026-03-10T10:00:00Z")
    with spending(tmp_path, clock) as ledger:
        spend(ledger, "51")
        watcher = ledger.watcher(receiver.channel)
        assert watcher.round().failed == 1
        assert watcher.round().failed == 0  # It is not due again yet.
        for attempt in range(1, ATTEMPTS_MAX):
            clock.advance(seconds=5 * 2 ** (attempt - 1) + 1)
            assert watcher.round().failed == 1
        clock.advance(hours=5)
        assert watcher.round().failed == 0
        assert (ledger.undelivered_alerts().pending, ledger.undelivered_alerts().dead) == (0, 1)
        (alert,) = ledger.alerts()
        assert alert.deliveries[0].error == "channel hook answered 503"
        receiver.status = 200
        ledger.resend_alert(alert.id)
        assert watcher.round().sent == 1
        assert ledger.undelivered_alerts().dead == 0
    assert len(receiver.got) == ATTEMPTS_MAX + 1


def test_a_storm_is_one_message_and_one_dead_channel_does_not_hold_up_another(tmp_path: Path) -> None:
    told: list[Message] = []

    def broken(message: Message) -> None:
        raise DeliveryFailed("gone")

    with spending(tmp_path) as ledger:
        ledger.alert_rule("each", above="1", each="user")
        for number in range(12):
            spend(ledger, "2", user=f"u{number}")
        found = ledger.watcher({"ok": told.append, "broken": broken}).round()
    assert (found.raised, found.sent, found.failed) == (12, 12, 12)
    assert [(message.title[:9], len(message.alerts)) for message in told] == [("12 alerts", 12)]


def test_a_snoozed_rule_is_kept_and_sent_after_its_snooze(tmp_path: Path) -> None:
    told: list[Message] = []
    clock = FrozenClock("2026-03-10T10:00:00Z")
    with spending(tmp_path, clock) as ledger:
        ledger.snooze_alerts("hour", until="2026-03-10T12:00:00Z")
        spend(ledger, "51")
        watcher = ledger.watcher({"list": told.append})
        assert (watcher.round().raised, len(told)) == (1, 0)
        clock.set("2026-03-10T12:00:00Z")
        watcher.round()
        assert len(told) == 1
        (alert,) = ledger.alerts()
        assert ledger.acknowledge_alert(alert.id, who="ana").acknowledged_by == "ana"
        assert ledger.acknowledge_alert(alert.id, who="bob").acknowledged_by == "ana"


def test_a_running_watcher_tells_by_itself(tmp_path: Path, receiver: Receiver) -> None:
    with outlay.open(tmp_path / "a.db") as ledger:
        ledger.alert_rule("hour", above="50", window="hour")
        with ledger.watcher(receiver.channel):
            spend(ledger, "51")
            deadline_s = time.monotonic() + 20
            while not receiver.got and time.monotonic() < deadline_s:
                time.sleep(0.01)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"url": "nonsense"},
        {"webhook": "ftp://x", "secret": "s"},
        {"webhook": "http://x"},
        {"webhook": "x", "a": 1},
        {"smtp": "smtp://h", "from": "a@b.example", "own": "everybody@b.example"},
        {"smtp": "nonsense", "from": "a@b.example", "own": "{subject}"},
        {"smtp": "smtp://h", "from": "a@b.example", "addresses": {"u1": "nobody"}},
        {"smtp": "smtp://h", "from": "a@b.example", "own": "{subject}", "to": "c@b.example"},
    ],
)
def test_a_channel_that_cannot_work_is_refused_by_name(tmp_path: Path, fields: dict[str, Any]) -> None:
    with spending(tmp_path) as ledger, pytest.raises(outlay.InvalidInput) as caught:
        ledger.watcher({"hook": fields})
    assert caught.value.code == "bad_channel"


def test_a_secret_is_read_from_the_environment_and_missed_by_name(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"hook": {"webhook": receiver.address, "secret": "${HOOK_SECRET}"}}
    with spending(tmp_path) as ledger:
        with pytest.raises(outlay.InvalidInput, match="HOOK_SECRET"):
            ledger.watcher(settings)
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        spend(ledger, "51")
        assert ledger.watcher(settings).round().sent == 1


def test_a_round_that_does_not_send_keeps_what_it_finds_for_one_that_does(tmp_path: Path, receiver: Receiver) -> None:
    with spending(tmp_path) as ledger:
        spend(ledger, "51")
        watcher = ledger.watcher(receiver.channel)
        assert (watcher.round(send=False).pending, receiver.got) == (1, [])
        assert watcher.round().sent == 1
