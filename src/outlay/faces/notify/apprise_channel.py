"""E-mail, Slack, Teams, SMS, PagerDuty, SNS, SES and a hundred more, by Apprise. Needs the extra `notify`.

Apprise reads every address and sends to all but mail servers. It could put pictures inside a mail, but writes the
plain text beside it itself, one cell of a table to a line, and gives every attempt an id of its own: so `smtp` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote

from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Message
from outlay.errors import DeliveryFailed, InvalidInput, MissingExtra
from outlay.faces.notify.smtp import PORTS, SmtpMail

try:
    import apprise
    from apprise.attachment.base import AttachBase
    from apprise.attachment.memory import AttachMemory
    from apprise.plugins.email.base import NotifyEmail
except ImportError as error:
    raise MissingExtra(
        "a channel with a url needs Apprise: pip install 'outlay[notify]'; a webhook needs nothing"
    ) from error

_KINDS: Final = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.ERROR: apprise.NotifyType.FAILURE,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


_MAIL_SERVICES: Final = frozenset(
    ("ses", "sendgrid", "mailgun", "sparkpost", "smtp2go", "resend", "brevo", "postmark", "o365", "azure")
)
"""Services that send mail by their own API: they take HTML and files, but no pictures inside."""

_NAMELESS: Final = ("False", "None", "", "Apprise")
"""What Apprise has for a sender's name where the address gives none."""

_SCHEMES: Final = {"insecure": "smtp", "starttls": "smtp+starttls", "ssl": "smtps"}
"""Apprise's words for how a connection is kept secret, in those of `smtp`."""

_INSIDE: Final = re.compile(r'<img src="cid:[^>]*>')


class AppriseChannel:
    """Sends messages to one of Apprise's addresses, such as `mailtos://user:password@example.com?to=ops@example.com`."""

    def __init__(self, name: str, address: str) -> None:
        """Raises InvalidInput `bad_channel` for an address that Apprise does not know; it is secret, so not said."""
        self._name = name
        self._apprise = apprise.Apprise()
        if not self._apprise.add(address):
            raise InvalidInput(f"channel {name}: Apprise cannot read its url", code="bad_channel", field=name)
        self._service = self._apprise[0]
        self._mails = dict(_mails(name, self._service)) if isinstance(self._service, NotifyEmail) else {}
        self._key, self._told = "", set[str]()

    def __call__(self, message: Message) -> None:
        """Send it. Raises DeliveryFailed."""
        if self._mails:
            self._mail(message)
        else:
            self._notify(message)

    def _mail(self, message: Message) -> None:
        """A mail for each recipient that has not got it: one who is refused keeps no other from it."""
        if message.key != self._key or not message.key:
            self._key, self._told = message.key, set()
        failures = []
        for to, mail in self._mails.items():
            if to in self._told:
                continue
            try:
                mail(message)
            except DeliveryFailed as error:
                failures.append(error)
            else:
                self._told.add(to)
        if failures:
            raise DeliveryFailed(f"{failures[0].message}; {len(failures)} of {len(self._mails)} did not get it")

    def _notify(self, message: Message) -> None:
        page = self._page(message)
        attached: Callable[..., AttachBase] = AttachMemory
        files = [attached(one.body, name=one.cid or one.name, mimetype=one.kind) for one in message.files]
        try:
            told = self._apprise.notify(
                title=message.title,
                body=page or message.body,
                notify_type=_KINDS[message.severity],
                body_format=apprise.NotifyFormat.HTML if page else apprise.NotifyFormat.TEXT,
                attach=files or None,
            )
        except Exception as error:
            # A plug-in for a service of others may raise whatever it likes: it must not end the watch.
            raise DeliveryFailed(f"channel {self._name} failed: {type(error).__name__}") from error
        if not told:
            raise DeliveryFailed(f"channel {self._name} was not told; Apprise's log says why")

    def _page(self, message: Message) -> str:
        """The HTML for a service that mails: with its pictures if that is a mail server, else without."""
        if isinstance(self._service, NotifyEmail):
            self._service.inline = True
            return message.html
        schemes: Callable[[], set[str]] = self._service.schemas
        return "" if _MAIL_SERVICES.isdisjoint(schemes()) else _INSIDE.sub("", message.html)


def _mails(name: str, service: NotifyEmail) -> Iterator[tuple[str, SmtpMail]]:
    """For each recipient what mails to it; for none where Apprise does what `smtp` cannot: copies, PGP, any
    certificate.
    """
    if service.cc or service.bcc or service.pgp_mode != "no" or not service.verify_certificate:
        return
    scheme = _SCHEMES[str(service.secure_mode)]
    user, password = (quote(str(word or ""), safe="") for word in (service.user, service.password))
    login = f"{user}:{password}@" if password else ""
    said, sender = map(str, service.from_addr)
    for _, to in service.targets:
        fields = {
            "smtp": f"{scheme}://{login}{service.smtp_host}:{service.port or PORTS[scheme]}",
            "from": f"{'Outlay' if said in _NAMELESS else said} <{sender}>",
            "to": str(to),
        }
        yield str(to), SmtpMail(name, fields)
