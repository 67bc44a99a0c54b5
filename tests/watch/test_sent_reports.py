"""Reports of outlay.toml reach a real mail server once, whoever sends them and whatever crashes in between."""

from __future__ import annotations

import email
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from typer.testing import CliRunner

import outlay
from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import ATTEMPTS_MAX, Enclosure, Message
from outlay.clock import FrozenClock
from outlay.errors import DeliveryFailed, InvalidInput, MissingExtra
from outlay.faces.cli.commands import app
from outlay.faces.notify import make_channels

ROOT = Path(__file__).parent.parent.parent
PROGRAM = Path(__file__).with_name("report_program.py")
BEFORE, LATER = "2026-03-16T07:59:30Z", "2026-03-16T08:04:00Z"
WITHIN_S = 60


class Mailbox:
    """A mail server that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[list[str]] = []
        mailbox = self

        class Handler:
            async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
                self, server: object, session: object, envelope: Any
            ) -> str:
                mail = email.message_from_bytes(envelope.content, policy=policy.default)
                assert isinstance(mail, EmailMessage)
                mailbox.mails.append(mail)
                mailbox.to.append(list(envelope.rcpt_tos))
                return "250 kept"

        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        self.controller = Controller(Handler(), hostname="127.0.0.1", port=port)
        self.address = f"smtp://127.0.0.1:{port}"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    found = Mailbox()
    found.controller.start()
    yield found
    found.controller.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a ledger that several processes open, with a week's calls in it."""
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    if request.param == "sqlite":
        address = str(tmp_path / "a.db")
    else:
        make: Callable[[], str] = request.getfixturevalue("new_postgres_url")
        address = make()
    with outlay.open(address, clock=FrozenClock("2026-03-11T12:00:00Z")) as ledger:
        spend(ledger, "40", user="u1")
        spend(ledger, "2.50", user="u2")
    return address


def spend(ledger: outlay.Ledger, amount: str, **fields: Any) -> None:
    ledger.record(provider="openai", service="gpt-4o", reported_cost=amount, **fields)


def host(address: str, mail_server: str, now: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROGRAM), address, mail_server, now]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
    )


def told(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == word


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_hosts_that_live_through_the_moment_send_one_mail(shared: str, mailbox: Mailbox) -> None:
    hosts = [host(shared, mailbox.address, BEFORE) for _ in range(2)]
    try:
        for one in hosts:
            told(one, "ready")
        assert mailbox.mails == []
        for one in hosts:
            go(one)
        for one in hosts:
            told(one, "done")
            assert one.wait(WITHIN_S) == 0
    finally:
        for one in hosts:
            one.kill()
            one.communicate()
    (mail,) = mailbox.mails
    assert mail["subject"] == "Weekly Cost Report - 2026-W11"
    assert mail["to"] == "ana@example.com"
    body = mail.get_body(("plain",))
    assert body is not None
    assert "$42.50" in body.get_content()


def test_a_report_that_a_crash_interrupted_is_sent_by_another_host(shared: str, mailbox: Mailbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(WITHIN_S)
        first = host(shared, f"smtp://127.0.0.1:{silent.getsockname()[1]}", BEFORE)
        told(first, "ready")
        go(first)
        # It has decided and begun to send: the mail server hears it and does not answer.
        connection, _ = silent.accept()
        first.send_signal(signal.SIGKILL)
        first.communicate()
        connection.close()
    second = host(shared, mailbox.address, LATER)
    try:
        told(second, "ready")
        assert second.communicate("\n", WITHIN_S)[0].strip() == "done"
    finally:
        second.kill()
    assert [mail["subject"] for mail in mailbox.mails] == ["Weekly Cost Report - 2026-W11"]


@pytest.fixture
def ledger(mailbox: Mailbox) -> Iterator[outlay.Ledger]:
    with outlay.open("memory:", clock=FrozenClock(BEFORE)) as ledger:
        ledger.mail_settings = {"smtp": mailbox.address, "from": "Outlay <outlay@example.com>"}
        yield ledger


def at(ledger: outlay.Ledger, moment: str) -> None:
    ledger.clock.set(moment)  # type: ignore[attr-defined]  # It is a FrozenClock.


def test_what_was_due_before_a_report_was_defined_is_not_sent(ledger: outlay.Ledger, mailbox: Mailbox) -> None:
    at(ledger, "2026-03-16T09:00:00Z")
    ledger.define_report("daily", recipients=["a@b.example"], form="markdown")
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    assert mailbox.mails == []
    at(ledger, "2026-03-17T08:00:00Z")
    watcher.round(timed=True)
    watcher.round(timed=True)
    assert [mail["subject"] for mail in mailbox.mails] == ["Daily Cost Report - 2026-03-16"]


def test_a_recipient_that_refuses_is_tried_again_then_given_up_and_shown_and_the_others_get_it_once(
    ledger: outlay.Ledger,
) -> None:
    got: list[Message] = []

    def broken(message: Message) -> None:
        raise DeliveryFailed("gone")

    ledger.channel_settings = {"list": got.append, "broken": broken}
    ledger.define_report("daily", recipients=["list", "broken"], form="csv", at="08:00")
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    at(ledger, "2026-03-16T08:00:00Z")
    for attempt in range(ATTEMPTS_MAX):
        watcher.round(timed=True)
        (dispatch,) = ledger.report_dispatches()
        assert [one.attempts for one in dispatch.deliveries] == [1, attempt + 1]
        ledger.clock.advance(seconds=5 * 2**attempt + 1)  # type: ignore[attr-defined]  # It is a FrozenClock.
    assert (dispatch.pending, dispatch.dead, dispatch.deliveries[1].error) == (False, True, "gone")
    assert len(got) == 1
    (enclosed,) = got[0].files
    assert (enclosed.name, enclosed.body[:25]) == ("Daily-Cost-Report-2026-03-15.csv", b"section,row,column,value\n")
    ledger.send_report("daily", again=True)
    assert len(got) == 2


def test_a_report_says_what_costs_says_of_what_was_asked_for(ledger: outlay.Ledger) -> None:
    at(ledger, "2026-03-11T12:00:00Z")
    spend(ledger, "40", user="u1", environment="prod")
    spend(ledger, "7", user="u1", environment="dev")
    at(ledger, BEFORE)
    ledger.channel_settings = {"list": lambda message: None}
    ledger.define_report(
        "prod",
        period="week",
        by=["user", "provider,service"],
        where={"environment": "prod"},
        columns=["cost", "Calls"],
        recipients="list",
        title="Production",
    )
    report = ledger.own_report("prod")
    at(ledger, LATER)
    assert (report.title, str(report.total)) == ("Production - 2026-W10", "$0.00")
    report = ledger.own_report("prod")
    assert (report.title, str(report.total)) == ("Production - 2026-W11", "$40.00")
    users = next(one for one in report.sections if one.name == "user")
    assert (users.columns, [list(map(str, row)) for row in users.rows]) == (
        ("User", "Cost", "Calls"),
        [["u1", "$40.00", "1"]],
    )


def test_a_picture_lies_inside_the_mail_that_shows_it(mailbox: Mailbox) -> None:
    send = make_channels(
        {"m": {"smtp": mailbox.address, "from": "o@example.com", "to": ["a@b.example", "c@d.example"]}}
    )
    picture = Enclosure(name="days.png", kind="image/png", body=b"\x89PNG", cid="days")
    table = Enclosure(name="days.csv", kind="text/csv", body=b"a,b\n")
    message = Message(
        title="Report\nof a day",
        body="plain words",
        severity=Severity.INFO,
        html='<p>ä <img src="cid:days"></p>',
        files=(picture, table),
        key="daily 1",
    )
    send["m"](message)
    send["m"](message)
    mail = mailbox.mails[0]
    assert mailbox.to[0] == ["a@b.example", "c@d.example"]
    # Sent again after a crash it bears the same id, by which many programs show it once.
    assert mail["message-id"] == mailbox.mails[1]["message-id"]
    assert (mail["subject"], mail.get_content_type()) == ("Report of a day", "multipart/mixed")
    kinds = [part.get_content_type() for part in mail.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "image/png", "text/csv"]
    inline = next(part for part in mail.walk() if part.get_content_type() == "image/png")
    assert (inline["content-id"], inline.get_content_disposition()) == ("<days>", "inline")
    assert [part.get_filename() for part in mail.iter_attachments()] == ["days.csv"]


@pytest.mark.parametrize(
    "fields",
    [
        {"smtp": "http://x", "from": "a@b.example", "to": "c@d.example"},
        {"smtp": "smtp://x", "to": "c@d.example"},
        {"smtp": "smtp://x", "from": "a@b.example", "to": "nobody"},
        {"smtp": "smtp://x", "from": "a@b.example", "to": "c@d.example\r\nBcc: e@f.example"},
        {"smtp": "smtp://x", "url": "json://x"},
    ],
)
def test_mail_that_cannot_work_is_refused_by_name(fields: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        make_channels({"mail": fields})
    assert caught.value.code == "bad_channel"


def test_a_mail_server_that_is_away_is_a_delivery_that_failed_and_its_password_is_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    fields = {"smtp": f"smtp://user:secret@127.0.0.1:{port}", "from": "o@example.com", "to": "a@b.example"}
    send = make_channels({"m": fields})["m"]
    with pytest.raises(DeliveryFailed, match="ConnectionRefusedError") as caught:
        send(Message(title="x", body="y", severity=Severity.INFO))
    assert "secret" not in str(caught.value)


def test_the_commands_send_by_what_outlay_toml_says(
    tmp_path: Path, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAIL_SERVER", mailbox.address)
    (tmp_path / "outlay.toml").write_text(
        '[mail]\nsmtp = "${MAIL_SERVER}"\nfrom = "outlay@example.com"\n'
        '[reports.weekly-finance]\nperiod = "week"\nform = "markdown"\nrecipients = ["ana@example.com"]\n'
        '[alerts.rules.daily]\nabove = "1"\n'
        '[alerts.channels.post]\nsmtp = "${MAIL_SERVER}"\nfrom = "outlay@example.com"\nto = "ops@example.com"\n'
    )
    with outlay.open_configured() as ledger:
        spend(ledger, "2")

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, list(arguments))
        return result.exit_code, result.output

    assert run("tick")[0] == 1  # An alert is open, and was sent.
    assert mailbox.to == [["ops@example.com"]]
    for words in ("sent at", "sent at"):
        code, said = run("report", "--send", "weekly-finance")
        assert (code, words in said) == (0, True)
    assert mailbox.to[1:] == [["ana@example.com"]]
    assert "weekly-finance" in run("report", "--sent")[1]
    assert run("report", "--send", "nobody")[0] == 4
    assert run("report", "--send", "weekly-finance", "--again")[0] == 0
    assert len(mailbox.mails) == 3


def test_tick_says_by_its_exit_code_that_a_report_was_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "outlay.toml").write_text(
        f'[mail]\nsmtp = "smtp://127.0.0.1:{port}"\nfrom = "outlay@example.com"\n'
        '[reports.daily]\nform = "markdown"\nrecipients = ["ana@example.com"]\n'
    )
    with outlay.open_configured():
        pass
    assert CliRunner().invoke(app, ["tick"]).exit_code == 0
    assert CliRunner().invoke(app, ["report", "--send", "daily"]).exit_code == 1
    assert CliRunner().invoke(app, ["tick"]).exit_code == 1


def test_a_look_that_sends_nothing_sends_no_report_either(ledger: outlay.Ledger, mailbox: Mailbox) -> None:
    ledger.define_report("daily", recipients=["a@b.example"], form="markdown")
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    at(ledger, LATER)
    watcher.round(timed=True, send=False)
    assert mailbox.mails == []
    watcher.round(timed=True)
    assert len(mailbox.mails) == 1


def test_a_report_that_cannot_be_written_is_tried_again_and_holds_up_nothing(
    ledger: outlay.Ledger, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(report: object, form: str) -> Message:
        raise MissingExtra("needs what is not installed")

    monkeypatch.setattr(outlay.Ledger, "report_writer", staticmethod(broken))
    ledger.define_report("daily", recipients=["a@b.example"], form="markdown")
    ledger.alert_rule("quiet", kind="price")
    watcher = ledger.watcher({})
    watcher.round(timed=True)
    at(ledger, LATER)
    watcher.round(timed=True)
    (dispatch,) = ledger.report_dispatches()
    assert (dispatch.pending, dispatch.deliveries[0].error) == (True, "needs what is not installed")


def test_nobody_is_left_waiting_after_a_watch_that_ran_on_its_thread(ledger: outlay.Ledger, mailbox: Mailbox) -> None:
    ledger.define_report("daily", recipients=["a@b.example"], form="markdown")
    with ledger.watcher({}):
        deadline_s = time.monotonic() + WITHIN_S
        while ledger.store.note("report_seen", "daily") is None and time.monotonic() < deadline_s:
            time.sleep(0.02)
        at(ledger, "2026-03-16T08:00:30Z")
        while not mailbox.mails and time.monotonic() < deadline_s:
            time.sleep(0.02)
    assert len(mailbox.mails) == 1
