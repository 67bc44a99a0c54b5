"""Mail with pictures inside and plain text beside, as RFC 2387 and RFC 2046 want it.

Apprise could put pictures inside a mail, but writes the plain text itself, one cell of a table to a line, and gives
every attempt an id of its own. So it reads the channel's address (servers, encryption, recipients of a hundred
providers), and what is sent is written here: text, HTML and pictures nested as mail programs expect, and under a
Message-ID that is the message's key, so that a report sent again after a crash is shown once.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.utils import formataddr, formatdate, make_msgid
from hashlib import blake2b
from typing import Final

import msgspec

from outlay.budgets.alerts import Enclosure, Message
from outlay.errors import DeliveryFailed

TIMEOUT_SECONDS: Final = 20


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed over, and as whom. `encryption` is insecure, starttls or ssl."""

    host: str
    port: int
    encryption: str
    user: str = ""
    password: str = ""
    verified: bool = True


class People(msgspec.Struct, frozen=True, kw_only=True):
    """From whom to whom: the sender by name and address, the others by address."""

    name: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()


def written(message: Message, people: People) -> EmailMessage:
    """The mail: plain text, or HTML with the pictures that it shows, as one chooses; other files beside them."""
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = formataddr((people.name, people.sender))
    mail["To"] = ", ".join(people.to)
    if people.cc:
        mail["Cc"] = ", ".join(people.cc)
    mail["Date"] = formatdate()
    domain = people.sender.rpartition("@")[2] or "localhost"
    mail["Message-ID"] = f"<{_token(message)}@{domain}>" if message.key else make_msgid(domain=domain)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(message.body)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
        page = list(mail.iter_parts())[-1]
        for one in message.files:
            if one.cid and isinstance(page, EmailMessage):
                page.add_related(one.body, *_kind(one), cid=f"<{one.cid}>", filename=one.name, disposition="inline")
    for one in message.files:
        if not (one.cid and message.html):
            mail.add_attachment(one.body, *_kind(one), filename=one.name)
    return mail


def _kind(file: Enclosure) -> tuple[str, str]:
    kind, _, subtype = file.kind.partition("/")
    return kind, subtype or "octet-stream"


def _token(message: Message) -> str:
    return blake2b(message.key.encode(), digest_size=16).hexdigest()


def hand_over(mail: EmailMessage, sender: str, to: Iterable[str], server: Server) -> dict[str, int]:
    """Give a mail to a server: the recipients that it did not take, with its codes.

    Raises DeliveryFailed where it takes none, is not reached, or does not know us; what it says is not repeated, for
    it may tell names and passwords.
    """
    try:
        with _connected(server) as smtp:
            refused = smtp.send_message(mail, from_addr=sender, to_addrs=list(to))
    except smtplib.SMTPRecipientsRefused as error:
        return {address: code for address, (code, _) in error.recipients.items()}
    except (OSError, smtplib.SMTPException) as error:
        code = getattr(error, "smtp_code", None)
        told = f"{type(error).__name__}{f' {code}' if code else ''}"
        raise DeliveryFailed(f"the mail server did not take it: {told}") from error
    return {address: code for address, (code, _) in refused.items()}


@contextmanager
def _connected(server: Server) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context()
    if not server.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if server.encryption == "ssl":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=context)
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    with smtp:
        if server.encryption == "starttls":
            smtp.starttls(context=context)
        if server.user and server.password:
            smtp.login(server.user, server.password)
        yield smtp
