"""Where alerts and reports go: channels of outlay.toml made into functions that send a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from outlay.config import with_secrets
from outlay.errors import InvalidInput
from outlay.watcher import Send

MAIL: Final = ("smtp", "from", "to")
OWN: Final = ("own", "addresses")
"""What tells a channel to each alert's own subject from mail to some people."""


def make_channels(settings: Mapping[str, Any]) -> dict[str, Send]:
    """Each channel of `[alerts.channels.<name>]`: `url` is one of Apprise's, `webhook` an http address with `secret`,
    `smtp` a mail server with `from` and `to`, or with `own` or `addresses` for those whom an alert is about.

    `${NAME}` in them is read from the environment. Raises InvalidInput `bad_channel`, `missing_secret`; MissingExtra.
    """
    return {name: _channel(name, with_secrets(fields)) for name, fields in settings.items()}


def _channel(name: str, fields: object) -> Send:
    if isinstance(fields, Mapping) and "smtp" in fields and not set(OWN).isdisjoint(fields):
        from outlay.faces.notify.own_address import OwnAddressMail

        return OwnAddressMail(name, fields)
    if not isinstance(fields, Mapping) or not set(fields) <= {"url", "webhook", "secret", *MAIL}:
        raise _wrong(name, "it takes url, or webhook and secret, or smtp, from and to")
    if sum(kind in fields for kind in ("url", "webhook", "smtp")) != 1:
        raise _wrong(name, "give one of url (one of Apprise's addresses), webhook and smtp")
    if "smtp" in fields:
        from outlay.faces.notify.smtp import SmtpMail

        return SmtpMail(name, fields)
    if "url" in fields:
        from outlay.faces.notify.apprise_channel import AppriseChannel

        return AppriseChannel(name, str(fields["url"]))
    from outlay.faces.notify.webhook import Webhook

    if not fields.get("secret"):
        raise _wrong(name, 'a webhook is signed: give secret, such as "${OUTLAY_WEBHOOK_SECRET}"')
    return Webhook(name, str(fields["webhook"]), str(fields["secret"]))


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"channel {name}: {message}", code="bad_channel", field=name)
