"""A report's mail as people get it: sent by SMTP to a real server, its figures the ledger's, its looks as agreed.

Where the looks are meant to change: OUTLAY_WRITE_GOLDEN=1 python -m pytest tests/golden/test_report_mail.py
"""

from __future__ import annotations

import email
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from email import policy
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from msgspec.structs import replace

import outlay
from outlay.analytics.report import Report
from outlay.budgets.alerts import Enclosure
from outlay.clock import FrozenClock
from outlay.errors import DeliveryFailed
from outlay.faces import charts
from outlay.faces.cli.demo.build import build
from outlay.faces.notify import make_channels
from outlay.faces.reports import mail
from outlay.watcher import Send

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise's, where it imports all that it knows."""

HERE = Path(__file__).parent
PERIOD = {"since": "2026-10-19T00:00:00Z", "until": "2026-10-26T00:00:00Z"}


@pytest.fixture(scope="module")
def ledger() -> Iterator[outlay.Ledger]:
    """Two weeks of the demo, seen on the Monday after them."""
    with outlay.open("memory:", clock=FrozenClock("2026-10-26T08:00:00Z")) as ledger:
        build(ledger, date(2026, 10, 12), 14)
        ledger.budget("images", limit="20", window="month", where={"feature": "images"})
        ledger.note_day("2026-10-21", "Release 1.5 & a campaign <b>everywhere</b>")
        yield ledger


@pytest.fixture(scope="module")
def report(ledger: outlay.Ledger) -> Report:
    return ledger.report("week")


@contextmanager
def mail_server() -> Iterator[tuple[int, list[Any]]]:
    """A real SMTP server, and the envelopes that it took."""
    got: list[Any] = []

    class Handler:
        async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
            self, server: object, session: object, envelope: Any, address: str, options: object
        ) -> str:
            if address.startswith("nobody"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
            self, server: object, session: object, envelope: Any
        ) -> str:
            got.append(envelope)
            return "250 kept"

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port, got
    finally:
        controller.stop()


def channel_of(port: int, to: str, user: str = "") -> Send:
    url = f"mailto://{user}127.0.0.1:{port}?from=outlay@example.com&to={to}&mode=insecure"
    return make_channels({"mail": {"url": url}})["mail"]


def read(envelope: Any) -> EmailMessage:
    found = email.message_from_bytes(envelope.content, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


@pytest.fixture(scope="module")
def received(report: Report) -> EmailMessage:
    message = mail.message(report, link="https://outlay.example.com/reports", key="week 2026-W43")
    with mail_server() as (port, got):
        channel_of(port, "ops@example.com")(message)
    return read(got[0])


def page_of(received: EmailMessage) -> str:
    body = received.get_body(("html",))
    assert body is not None
    return str(body.get_content())


class Tables(HTMLParser):
    """The rows of a page: for each cell its text and, where it is rounded, the exact amount."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[tuple[str, str]]] = []
        self._cell: list[str] | None = None
        self._exact = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self._cell, self._exact = [], ""
        elif tag == "span":
            self._exact = dict(attrs).get("title") or self._exact

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None and self.rows:
            text = " ".join("".join(self._cell).split())
            self.rows[-1].append((text, self._exact or text))
            self._cell = None


def test_the_figures_of_the_mail_are_those_of_costs(ledger: outlay.Ledger, received: EmailMessage) -> None:
    found = {
        cells[0][0]: cells for cells in Tables(page_of(received)).rows if len(cells) > 1 and cells[1][0][:1] == "$"
    }
    for by in ("provider", "feature"):
        for row in ledger.costs(by, **PERIOD).rows[:8]:  # type: ignore[arg-type]  # These are two times.
            cells = found[row.keys[0] or f"(no {by})"]
            assert cells[1][1] == str(row.cost), f"{by} {row.keys[0]}"
    whole = str(ledger.costs(**PERIOD).total)  # type: ignore[arg-type]  # These are two times.
    assert found["Total"][1][1] == whole
    assert whole in page_of(received)


def test_the_mail_looks_as_agreed(received: EmailMessage) -> None:
    page = re.sub(r">\s*<", ">\n<", page_of(received)).replace("\r\n", "\n").strip() + "\n"
    text = received.get_body(("plain",))
    assert text is not None
    for name, found in (
        ("report_mail.html", page),
        ("report_mail.txt", str(text.get_content()).replace("\r\n", "\n")),
    ):
        golden = HERE / name
        if os.environ.get("OUTLAY_WRITE_GOLDEN"):
            golden.write_text(found, encoding="utf-8")
        assert found == golden.read_text(encoding="utf-8"), f"{name} differs: look at it, then write it anew"


def test_a_mail_program_finds_text_a_page_and_the_pictures_inside_it(received: EmailMessage) -> None:
    assert received.get_content_type() == "multipart/alternative"
    assert received["Auto-Submitted"] == "auto-generated"
    assert [part.get_content_type() for part in received.iter_parts()] == ["text/plain", "multipart/related"]
    page = list(received.iter_parts())[1]
    assert isinstance(page, EmailMessage)
    parts = list(page.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/html", "image/png", "image/png"]
    shown = re.findall(r'src="cid:([^"]+)"', page_of(received))
    assert [part["Content-ID"] for part in parts[1:]] == [f"<{name}>" for name in shown]
    for part in parts[1:]:
        assert part.get_content_disposition() == "inline"
        assert part.get_content().startswith(b"\x89PNG")


def test_the_mail_fetches_nothing_and_tells_nobody_who_reads_it(received: EmailMessage) -> None:
    page = page_of(received)
    assert re.findall(r'(?:src|href|url\()="?([^":]+):', page) == ["cid", "cid", "https"]
    assert "<script" not in page
    assert "<b>everywhere" not in page
    # Gmail cuts off what is longer than 102 kB.
    assert len(page.encode()) < 102_000


def test_every_picture_is_described_for_those_who_do_not_see_it(received: EmailMessage) -> None:
    said = re.findall(r'<img [^>]*alt="([^"]+)"', page_of(received))
    assert len(said) == 2
    assert said[0].startswith("Spend by day and provider. Mon 2026-10-19 to Sun 2026-10-25")


def test_a_mail_that_is_sent_again_bears_the_same_id(report: Report, received: EmailMessage) -> None:
    with mail_server() as (port, got):
        channel_of(port, "ops@example.com")(mail.message(report, key="week 2026-W43"))
    assert read(got[0])["Message-ID"] == received["Message-ID"]


def test_one_refused_recipient_keeps_no_other_from_the_mail_and_nobody_gets_it_twice(report: Report) -> None:
    message = mail.message(report, key="week 2026-W43")
    with mail_server() as (port, got):
        channel = channel_of(port, "nobody@example.com,ana@example.com")
        for _ in range(2):
            with pytest.raises(DeliveryFailed, match="1 of 2 did not get it"):
                channel(message)
    assert [one.rcpt_tos for one in got] == [["ana@example.com"]]


def test_a_mail_with_copies_goes_by_apprise_its_pictures_inside_too(report: Report) -> None:
    with mail_server() as (port, got):
        channel_of(port, "ops@example.com&cc=boss@example.com")(mail.message(report))
    assert got[0].rcpt_tos == ["ops@example.com", "boss@example.com"]
    received = read(got[0])
    shown = re.findall(r'src="cid:([^"]+)"', page_of(received))
    parts = [part for part in received.walk() if part.get_content_type() == "image/png"]
    assert [part["Content-ID"] for part in parts] == [f"<{name}>" for name in shown]


def test_a_server_that_cannot_be_reached_is_said_without_its_secrets(report: Report) -> None:
    channel = channel_of(1, "a@example.com", user="user:s3cret@")
    with pytest.raises(DeliveryFailed) as caught:
        channel(mail.message(report))
    assert "s3cret" not in str(caught.value)
    assert "ConnectionRefusedError" in str(caught.value)


def test_a_file_that_is_no_picture_goes_beside_the_page(report: Report) -> None:
    message = mail.message(report)
    sheet = Enclosure(name="report.csv", kind="text/csv", body=b"a,b\n")
    with mail_server() as (port, got):
        channel_of(port, "x@example.com")(replace(message, files=(*message.files, sheet)))
    attached = list(read(got[0]).iter_attachments())
    assert [part.get_filename() for part in attached] == ["report.csv"]


def test_the_same_is_a_page_for_a_browser_with_its_pictures_drawn_in_it(report: Report) -> None:
    page = mail.page(report)
    assert "cid:" not in page
    assert page.count("data:image/svg+xml;base64,") == 2
    assert str(report.total) in page


def test_without_what_draws_a_mail_has_its_tables(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "can_draw", lambda: False)
    message = mail.message(report)
    assert message.files == ()
    assert "<img" not in message.html
    assert "gemini-2.5-flash-image" in message.html
