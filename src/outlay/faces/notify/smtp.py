"""Mail by SMTP: plain words, HTML beside them, the pictures that it shows inside, and files. It needs no library."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from email.headerregistry import Address
from email.message import EmailMessage, MIMEPart
from email.utils import formatdate, make_msgid
from hashlib import blake2b
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from outlay.budgets.alerts import Message
from outlay.errors import DeliveryFailed, InvalidInput

TIMEOUT_SECONDS: Final = 15
FIELDS: Final = frozenset(("smtp", "from", "to"))
PORTS: Final = {"smtps": 465, "smtp+starttls": 587, "smtp": 25}
"""What the address of a mail server begins with, and its usual port: TLS at once, TLS by STARTTLS, none."""


class SmtpMail:
    """Sends messages as mail.

    `smtp` is `smtps://user:password@host:465`, or `smtp+starttls://…`, or `smtp://…` in clear.
    """

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        """Raises InvalidInput `bad_channel`; what it names holds no password."""
        parts = urlsplit(str(fields.get("smtp", "")))
        if parts.scheme not in PORTS or not parts.hostname:
            raise _wrong(name, f"smtp is no address of a mail server; it begins with {', '.join(PORTS)}")
        to = fields.get("to")
        several = to if isinstance(to, list | tuple) else [to]
        self._name = name
        self._parts = parts
        self._from = read_address(name, "from", fields.get("from"))
        self._to = tuple(read_address(name, "to", one) for one in several)

    def __call__(self, message: Message) -> None:
        """Send it. Raises DeliveryFailed."""
        mail = mail_of(message, self._from, self._to)
        try:
            with self._connected() as server:
                refused = server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            told = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
            raise DeliveryFailed(f"channel {self._name} failed: {type(error).__name__}{told}") from error
        if refused:
            raise DeliveryFailed(f"channel {self._name}: the mail server refused {len(refused)} of the recipients")

    def _connected(self) -> smtplib.SMTP:
        parts = self._parts
        host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        server: smtplib.SMTP
        if parts.scheme == "smtps":
            server = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        else:
            server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
        with ExitStack() as unless_ready:
            unless_ready.callback(server.close)
            if parts.scheme == "smtp+starttls":
                server.starttls(context=ssl.create_default_context())
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            unless_ready.pop_all()
        return server


def mail_of(message: Message, sender: Address, to: tuple[Address, ...]) -> EmailMessage:
    """A message as mail. One with a `key` has an id made of it: sent again after a crash it is known as the same."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = sender
    mail["To"] = to
    mail["Date"] = formatdate(localtime=False)
    if message.key:
        named = "\x00".join((message.key, *(one.addr_spec for one in to)))
        mail["Message-ID"] = f"<{blake2b(named.encode(), digest_size=16).hexdigest()}@{sender.domain}>"
    else:
        mail["Message-ID"] = make_msgid(domain=sender.domain)
    # So that nobody's absence is answered to us.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
        page = mail.get_body(("html",))
        for one in message.files:
            if one.cid and isinstance(page, MIMEPart):
                kind, _, sub = one.kind.partition("/")
                page.add_related(one.body, kind, sub, cid=f"<{one.cid}>", filename=one.name, disposition="inline")
    for one in message.files:
        if not one.cid:
            kind, _, sub = one.kind.partition("/")
            mail.add_attachment(one.body, kind, sub, filename=one.name)
    return mail


def read_address(name: str, field: str, value: object) -> Address:
    """An address of mail, with a name or without. Raises InvalidInput `bad_channel`."""
    if not isinstance(value, str) or "@" not in value or any(letter in value for letter in "\r\n"):
        raise _wrong(name, f"{field} is no address of mail")
    said, _, rest = value.rpartition("<")
    try:
        return Address(said.strip().strip('"'), addr_spec=rest.rstrip("> ") if said else value.strip())
    except (ValueError, IndexError) as error:
        raise _wrong(name, f"{field} is no address of mail") from error


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"channel {name}: {message}", code="bad_channel", field=name)
