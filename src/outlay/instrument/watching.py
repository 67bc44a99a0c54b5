"""A watch: which ledger keeps the calls of a client, how, and by which mark a client is known to be watched."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from outlay.errors import InvalidInput
from outlay.instrument.clients import Failures, say_once
from outlay.instrument.targets import BOTO_SERVICES, Sdk, at_path, sdk_of

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.budgets.limits import BudgetIndex
    from outlay.instrument.reserved import Held

MARK: Final = "_outlay_watch"
HELD_MAX: Final = 1_000
LOOK_S: Final = 0.25


class Watch:
    """What is done with the calls that are seen: one for each watched client, one for `instrument_all`."""

    def __init__(self, ledger: Ledger | None, *, write_maximum: bool = True, ask_usage: bool = True) -> None:
        """`ledger` None is the process's own, opened at the first call."""
        self._ledger = ledger
        self.write_maximum = write_maximum
        self.ask_usage = ask_usage
        self.failures = Failures()
        self.failures.counted = ledger.capture_failures if ledger is not None else None
        self._held: dict[str, Held] = {}
        self._looked_s = 0.0

    def budgets(self, ledger: Ledger) -> BudgetIndex:
        """The budgets in force. Those that another process sets are seen within a quarter of a second; a reservation
        always looks again.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return ledger.reserver.index
        index = ledger.reserver.refresh()
        self._looked_s = now_s
        return index

    def hold(self, call_key: str, held: Held) -> None:
        """Keep a reservation of work that still runs, until an answer tells its end. The oldest go first."""
        if len(self._held) >= HELD_MAX:
            self._held.pop(next(iter(self._held)))
        self._held[call_key] = held

    @property
    def holds(self) -> bool:
        """Whether reservations of work that still runs wait for its end."""
        return bool(self._held)

    def held_for(self, call_key: str | None) -> Held | None:
        """The reservation that waits for this answer, if any; it is handed out once."""
        return self._held.pop(call_key, None) if call_key and self._held else None

    @property
    def ledger(self) -> Ledger:
        """The ledger that keeps the calls."""
        if self._ledger is not None:
            return self._ledger
        import outlay

        ledger = outlay.current_ledger()
        self.failures.counted = ledger.capture_failures
        return ledger


def watch(client: object, ledger: Ledger, **settings: Any) -> None:
    """Watch one client: as `ledger.watch`. A client that is watched already goes over to this ledger."""
    unknown = sorted(settings.keys() - {"write_maximum", "ask_usage"})
    if unknown:
        raise InvalidInput(f"watch has no setting {', '.join(unknown)}", code="unknown_field", field=unknown[0])
    found = sdk_of(client)
    if found is None or not _is_watchable(client, found[0]):
        raise InvalidInput(
            f"{type(client).__module__}.{type(client).__qualname__} is no client that Outlay knows: see "
            "docs/instrument.md, or keep its calls by ledger.record_response",
            code="unknown_client",
            field="client",
        )
    from outlay.instrument.patching import attend

    sdk, row = found
    attend(sdk)
    made = Watch(ledger, **settings)
    for path in row.holders:
        holder = at_path(client, path)
        if holder is None:
            say_once(f"{sdk.name}:{path}", "outlay: %s has no %s; this client is not watched", sdk.name, path)
            continue
        # Marked on the object itself: other clients of the class are not touched.
        holder.__dict__[MARK] = made


def _is_watchable(client: Any, sdk: Sdk) -> bool:
    if sdk.package != "botocore":
        return True
    service = at_path(client, "meta.service_model.service_name")
    return service in BOTO_SERVICES


def mark_of(holder: object) -> Watch | None:
    """The watch that an object bears itself; its class's is none of its own."""
    found = getattr(holder, "__dict__", {}).get(MARK)
    return found if isinstance(found, Watch) else None
