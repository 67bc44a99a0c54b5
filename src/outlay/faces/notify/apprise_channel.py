"""E-mail, Slack, Teams, SMS, PagerDuty, SNS, SES and a hundred more, by Apprise. Needs the extra `notify`.

Apprise reads every address and sends to all but mail servers: what goes there `mailing` writes, and says why.
"""

from __future__ import annotations

import re
import smtplib
from collections.abc import Callable
from typing import Final

from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Message
from outlay.errors import DeliveryFailed, InvalidInput, MissingExtra
from outlay.faces.notify.mailing import People, Server, hand_over, written

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
        self._key, self._told = "", set[str]()

    def __call__(self, message: Message) -> None:
        """Send it. Raises DeliveryFailed."""
        if isinstance(self._service, NotifyEmail) and self._service.pgp_mode == "no":
            self._mail(message, self._service)
        else:
            self._notify(message)

    def _mail(self, message: Message, service: NotifyEmail) -> None:
        """A mail for each recipient that has not got it: one who is refused keeps no other from it."""
        name, sender = map(str, service.from_addr)
        server = Server(
            host=service.smtp_host,
            port=service.port or smtplib.SMTP_PORT,
            encryption=str(service.secure_mode),
            user=service.user or "",
            password=service.password or "",
            verified=service.verify_certificate,
        )
        cc, bcc = tuple(sorted(service.cc)), tuple(sorted(service.bcc))
        refused: list[int] = []
        if message.key != self._key or not message.key:
            self._key, self._told = message.key, set()
        for _, to in service.targets:
            if to in self._told:
                continue
            people = People(name="Outlay" if name in _NAMELESS else name, sender=sender, to=(to,), cc=cc, bcc=bcc)
            codes = hand_over(written(message, people), sender, (to, *cc, *bcc), server)
            refused += codes.values()
            if to not in codes:
                self._told.add(to)
        if refused:
            codes_said = ", ".join(map(str, sorted(set(refused))))
            raise DeliveryFailed(f"channel {self._name}: {len(refused)} recipients were refused ({codes_said})")

    def _notify(self, message: Message) -> None:
        page = _INSIDE.sub("", message.html) if self._takes_html() else ""
        attached: Callable[..., AttachBase] = AttachMemory
        files = [attached(one.body, name=one.name, mimetype=one.kind) for one in message.files]
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

    def _takes_html(self) -> bool:
        schemes: Callable[[], set[str]] = self._service.schemas
        return not _MAIL_SERVICES.isdisjoint(schemes())
