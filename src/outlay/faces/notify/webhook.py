"""A webhook: the alerts as JSON, posted to an address and signed, so that its receiver knows who sent them."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec

from outlay.budgets.alerts import Message
from outlay.errors import DeliveryFailed, InvalidInput

TIMEOUT_SECONDS: Final = 10
SIGNATURE: Final = "outlay-signature"
_OK: Final = range(200, 300)


class Webhook:
    """Posts messages to one address.

    The header `outlay-signature` is `t=<seconds since 1970>,v1=<hex>`: HMAC-SHA256 under the secret of the time, a
    full stop and the body. A receiver compares it, and refuses what is older than some minutes.
    """

    def __init__(self, name: str, address: str, secret: str, seconds: Callable[[], float] = time.time) -> None:
        """Raises InvalidInput `bad_channel` for what is no http address. `seconds` is the time that is signed."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"channel {name}: webhook is no http address", code="bad_channel", field=name)
        self._name = name
        self._parts = parts
        self._secret = secret.encode()
        self._seconds = seconds

    def __call__(self, message: Message) -> None:
        """Send it. Raises DeliveryFailed."""
        told = {name: getattr(message, name) for name in ("title", "body", "severity", "alerts")}
        body = msgspec.json.encode(told)
        headers = {
            "content-type": "application/json",
            SIGNATURE: signature(self._secret, int(self._seconds()), body),
        }
        status = self._post(body, headers)
        if status not in _OK:
            raise DeliveryFailed(f"channel {self._name} answered {status}")

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(self._parts.hostname), self._parts.port, timeout=TIMEOUT_SECONDS)
        path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
        try:
            connection.request("POST", path, body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryFailed(f"channel {self._name} cannot be reached: {type(error).__name__}") from error
        finally:
            connection.close()


def signature(secret: bytes, seconds: int, body: bytes) -> str:
    """What `outlay-signature` says of a body sent at a time."""
    digest = hmac.new(secret, b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
