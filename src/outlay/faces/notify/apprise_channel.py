"""E-mail, Slack, Teams, SMS, PagerDuty, SNS, SES and a hundred more, by Apprise. Needs the extra `notify`."""

from __future__ import annotations

from typing import Final

from outlay.budgets.alert_rules import Severity
from outlay.budgets.alerts import Message
from outlay.errors import DeliveryFailed, InvalidInput, MissingExtra

try:
    import apprise
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


class AppriseChannel:
    """Sends messages to one of Apprise's addresses, such as `mailtos://user:password@example.com?to=ops@example.com`."""

    def __init__(self, name: str, address: str) -> None:
        """Raises InvalidInput `bad_channel` for an address that Apprise does not know; it is secret, so not said."""
        self._name = name
        self._apprise = apprise.Apprise()
        if not self._apprise.add(address):
            raise InvalidInput(f"channel {name}: Apprise cannot read its url", code="bad_channel", field=name)

    def __call__(self, message: Message) -> None:
        """Send it. Raises DeliveryFailed."""
        try:
            told = self._apprise.notify(
                title=message.title,
                body=message.body,
                notify_type=_KINDS[message.severity],
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:
            # A plug-in for a service of others may raise whatever it likes: it must not end the watch.
            raise DeliveryFailed(f"channel {self._name} failed: {type(error).__name__}") from error
        if not told:
            raise DeliveryFailed(f"channel {self._name} was not told; Apprise's log says why")
