"""Mail to those whom an alert is about: a user who nears a limit is told at the user's own address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.headerregistry import Address
from typing import Any, Final

from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Message
from outlay.errors import InvalidInput
from outlay.faces.notify.smtp import SmtpMail, read_address

FIELDS: Final = frozenset(("smtp", "from", "own", "of", "addresses", "except"))
SUBJECT: Final = "{subject}"


class OwnAddressMail:
    """Sends each alert to its own subject, and to nobody else: each mail tells one alert of one subject.

    `own` makes an address of a name: `{subject}` where names are addresses, or `{subject}@example.com`; `addresses`
    are those that it does not make. Who stands in `except` is sent nothing. `of` is what the subjects are: users,
    unless said otherwise; alerts of anything else go nowhere here.
    """

    asked_only = True
    """Only rules that name this channel use it."""

    def __init__(self, name: str, fields: Mapping[str, Any]) -> None:
        """Raises InvalidInput `bad_channel`."""
        unknown = set(fields) - FIELDS
        if unknown:
            raise _wrong(name, f"it takes {', '.join(sorted(FIELDS))}, not {min(unknown)}")
        own, addresses, without = fields.get("own", ""), fields.get("addresses", {}), fields.get("except", [])
        if not isinstance(own, str) or (own and SUBJECT not in own):
            raise _wrong(name, f"own is an address with {SUBJECT} in it")
        if not isinstance(addresses, Mapping) or not (own or addresses):
            raise _wrong(name, 'give own, or addresses = { u42 = "ana@example.com" }, or both')
        if not isinstance(without, list | tuple):
            raise _wrong(name, 'except is a list of names, such as ["u42"]')
        self._name = name
        self._own = own
        self._of = str(fields.get("of", "user"))
        self._without = frozenset(map(str, without))
        self._known = {str(one): read_address(name, "addresses", address) for one, address in addresses.items()}
        sender = fields.get("from")
        self._mail: Callable[[Address], SmtpMail] = lambda to: SmtpMail(
            name, {"smtp": fields["smtp"], "from": sender, "to": str(to)}
        )
        self._mail(read_address(name, "from", sender))  # What is wrong with the server's address is said at once.

    def __call__(self, message: Message) -> None:
        """Tell each subject of its own alerts. Raises DeliveryFailed."""
        for alert in message.alerts:
            to = self._address_of(alert)
            if to is not None:
                self._mail(to)(_told(alert))

    def _address_of(self, alert: Mapping[str, Any]) -> Address | None:
        subject = str(alert["subject"])
        if not subject or alert["each"] != self._of or subject in self._without:
            return None
        if subject in self._known:
            return self._known[subject]
        try:
            return read_address(self._name, "own", self._own.replace(SUBJECT, subject)) if self._own else None
        except InvalidInput:
            # A name that makes no address has none: there is nobody to tell, now or later.
            return None


def _told(alert: Mapping[str, Any]) -> Message:
    """One alert for its subject: without the owner and the page that are of those who run the program."""
    lines = [f"Since {alert['since']}."]
    if alert["causes"]:
        lines.append("Most of it: " + "; ".join(alert["causes"]) + ".")
    severity = Severity(alert["severity"])
    return Message(
        title=alert["title"], body="\n".join(lines), severity=severity, alerts=(dict(alert),), key=alert["id"]
    )


def _wrong(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"channel {name}: {message}", code="bad_channel", field=name)
