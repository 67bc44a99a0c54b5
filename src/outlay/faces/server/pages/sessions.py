"""Who looks: a key or token that was typed once, sealed in a cookie that no script reads and no other site sends."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

from cryptography.fernet import Fernet, InvalidToken

from outlay.clock import MICROSECONDS_PER_SECOND
from outlay.errors import AccessDenied, InvalidInput
from outlay.faces.server.access import Caller
from outlay.faces.server.state import ServerState

COOKIE: Final = "outlay_session"
SECONDS: Final = 12 * 3_600
"""How long a session lasts; a key that is revoked meanwhile ends it at once."""

CREDENTIAL_CHARACTERS_MAX: Final = 2_800
"""What fits into a cookie of 4,096 bytes when it is sealed."""

_FOREIGN: Final = AccessDenied("this form is not from this page; load the page again", code="foreign_form")
_NOTE: Final = ("pages", "seal")


class Sessions:
    """Seals credentials and signs forms. Its secret is the ledger's, so all servers of one ledger agree."""

    def __init__(self, state: ServerState) -> None:
        """The secret is read, or made, by `load`."""
        self._state = state
        self._secret: bytes = b""

    def load(self) -> None:
        """Read the secret from the ledger; make it if this is the first server that needs one."""
        if self._secret:
            return
        store, now = self._state.ledger.store, self._state.clock.now()
        kept = store.note(*_NOTE)
        if kept is None:
            store.put_note(*_NOTE, base64.b64encode(secrets.token_bytes(32)), expects=None, at=now, live=False)
            kept = store.note(*_NOTE)
        self._secret = base64.b64decode(kept or b"")

    def seal(self, credential: str) -> str:
        """A cookie's value. Raises InvalidInput `token_too_long`."""
        if len(credential) > CREDENTIAL_CHARACTERS_MAX:
            raise InvalidInput("this token is too long for a session; get one with fewer claims", code="bad_token")
        return self._box().encrypt_at_time(credential.encode(), self._seconds()).decode()

    def credential(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The key or token in a request's cookie; None without one, or where it is too old or not ours."""
        sealed = cookies(headers).get(COOKIE)
        if not sealed:
            return None
        try:
            return self._box().decrypt_at_time(sealed.encode(), SECONDS, self._seconds()).decode()
        except (InvalidToken, UnicodeError):
            return None

    def form_token(self, caller: Caller) -> str:
        """What a form of this caller must bear."""
        return hmac.new(self._secret, b"form " + caller.key.encode(), hashlib.sha256).hexdigest()[:40]

    def check_form(self, caller: Caller, headers: Mapping[bytes, bytes], token: str) -> None:
        """Raises AccessDenied `foreign_form` for a form that this server did not give to this caller."""
        self.check_origin(headers)
        if not hmac.compare_digest(token.encode(), self.form_token(caller).encode()):
            raise _FOREIGN

    def check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises AccessDenied `foreign_form` for a form on another site's page."""
        origin, host = headers.get(b"origin"), headers.get(b"host", b"")
        if origin is not None and origin.partition(b"://")[2] != host:
            raise _FOREIGN
        if headers.get(b"sec-fetch-site", b"same-origin") not in (b"same-origin", b"none"):
            raise _FOREIGN

    def _box(self) -> Fernet:
        return Fernet(base64.urlsafe_b64encode(self._secret))

    def _seconds(self) -> int:
        return self._state.clock.now() // MICROSECONDS_PER_SECOND


def cookies(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The cookies of a request."""
    try:
        found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1"))
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in found.items()}
