"""Pages of a provider's JSON API, with patience: what is busy or broken for a moment is asked again."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from outlay.errors import LedgerError, MissingExtra
from outlay.faces.bills.deliveries import read_json

ATTEMPTS: Final = 5
PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 60.0
ANSWER_S: Final = 60.0
PAGES_MAX: Final = 10_000
_AGAIN: Final = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))


class Api(msgspec.Struct, frozen=True):
    """One provider's API: its address, the headers that open it, and how long to wait between attempts."""

    name: str
    address: str
    headers: Mapping[str, str]
    pause_s: float = PAUSE_S

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """One answer; numbers with a fraction stay text.

        Of a further page's address only the path counts, so that the key goes to nobody else.
        Raises LedgerError `source_unreachable`, `source_refused`.
        """
        httpx = _httpx()
        parts = urlsplit(path)
        url = f"{self.address.rstrip('/')}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        pause = self.pause_s
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS
            try:
                answer = httpx.get(url, params=parameters, headers=dict(self.headers), timeout=ANSWER_S)
            except httpx.TransportError as error:
                if last:
                    raise LedgerError(f"{self.name} cannot be reached: {error}", code="source_unreachable") from error
            else:
                if answer.status_code < 400:
                    return self._body(answer.content)
                if last or answer.status_code not in _AGAIN:
                    raise self._refusal(answer.status_code)
                pause = max(pause, _told_s(answer.headers.get("retry-after")))
            time.sleep(min(pause, PAUSE_S_MAX))
            pause *= 2
        raise LedgerError(f"{self.name} cannot be reached", code="source_unreachable")

    def _body(self, content: bytes) -> Any:
        try:
            return read_json(content)
        except ValueError as error:
            raise LedgerError(
                f"{self.name} answered with something that is no JSON", code="source_refused"
            ) from error

    def _refusal(self, status: int) -> LedgerError:
        hint = "; an admin key with the right to read costs is needed" if status in (401, 403) else ""
        return LedgerError(f"{self.name} answered {status}{hint}", code="source_refused")

    def pages(self, path: str, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """All pages of a list that says `has_more` and `next_page`."""
        token: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = self.get(path, {**parameters, **token})
            yield page
            if not page.get("has_more") or not page.get("next_page"):
                return
            token = {"page": page["next_page"]}


def _told_s(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0


def _httpx() -> Any:
    try:
        return importlib.import_module("httpx")
    except ImportError as error:
        raise MissingExtra("a provider's cost API needs the extra: pip install 'outlay[remote]'") from error
