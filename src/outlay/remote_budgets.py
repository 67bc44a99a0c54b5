"""The budgeting half of a ledger behind a server."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from outlay.arguments import When, read_text, read_when
from outlay.budgeting import SUBJECTS_SHOWN, WAIT_SECONDS_MAX, LedgerBudgets
from outlay.budgets.decide import fails_open
from outlay.budgets.definition import read_budget
from outlay.budgets.limits import dimensions_of
from outlay.budgets.terms import Asking, Budget, BudgetChange, BudgetStatus, Decision
from outlay.clock import WindowName, isoformat
from outlay.errors import InvalidInput, LedgerError
from outlay.holding import Reservation
from outlay.ledger.budget_store import KeptReservation, NotedRefusal
from outlay.model import UsageEvent
from outlay.money import Money
from outlay.reader import loop_runs
from outlay.remote_reserving import Asked, RemoteReservation, RemoteReserver
from outlay.remote_transport import Transport
from outlay.reserving import WorstCase
from outlay.wire import LedgerFacts, SentRefusals, SentWorth, sendable

_WHO = "program"


class RemoteBudgets(LedgerBudgets):
    """What a ledger does about budgets, done by its server."""

    transport: Transport
    budgets_told: RemoteReserver
    _facts: LedgerFacts | None
    _zone: str

    # Budgets

    def budget(self, name: str, *, why: str = "", who: str = _WHO, **fields: Any) -> Budget:
        """As `Ledger.budget`."""
        read_budget(name, fields)
        self._flush()
        body = {"why": why, "who": who, "fields": sendable(fields)}
        found = self.transport.send("PUT", _path(name), Budget, body)
        self.budgets_told.look_again()
        return found

    def remove_budget(self, name: str, *, why: str, who: str = _WHO) -> None:
        """As `Ledger.remove_budget`."""
        told: dict[str, str | list[str]] = {"why": read_text(why, "why"), "who": who}
        self.transport.send("DELETE", _path(name), Any, parameters=told, repeatable=False)
        self.budgets_told.look_again()

    def raise_budget(
        self,
        name: str,
        amount: str | Decimal | int | Money,
        *,
        until: When,
        reason: str,
        window: WindowName | None = None,
        subject: str | None = None,
        who: str = _WHO,
    ) -> Budget:
        """As `Ledger.raise_budget`. Tried once only: a second raise would add as much again."""
        zone = self._zone
        if isinstance(until, timedelta):
            end: int | None = self.clock.now() + until // timedelta(microseconds=1)
        else:
            end = None if until is None else read_when(until, zone, self.clock)
        if end is None:
            raise InvalidInput("a raise has an end: give until", code="missing_field", field="until")
        # A date means its midnight in the budget's own zone, which the server knows.
        dated = until if isinstance(until, str) and len(until.strip()) == 10 else isoformat(end)
        body = {"amount": sendable(amount), "until": dated, "reason": reason, "window": window, "subject": subject}
        return self.transport.send("POST", _path(name, "raises"), Budget, {**body, "who": who}, repeatable=False)

    def budget_history(self, name: str) -> tuple[BudgetChange, ...]:
        """As `Ledger.budget_history`."""
        return self.transport.ask(_path(name, "history"), tuple[BudgetChange, ...])

    def subject(self, kind: str, name: str, *, tier: str) -> None:
        """As `Ledger.subject`."""
        path = f"/v1/subjects/{_quoted(read_text(kind, 'kind'))}/{_quoted(read_text(name, 'name'))}"
        self.transport.send("PUT", path, Any, {"tier": read_text(tier, "tier")})

    # Before a call

    def reserve(
        self,
        *,
        body: Mapping[str, Any] | None = None,
        wait_s: float | None = None,
        deadline_s: float | None = None,
        **fields: Any,
    ) -> Reservation:
        """As `Ledger.reserve`. The request's bound is worked out here: its prompt does not leave this process."""
        if wait_s is not None and not 0 <= wait_s <= WAIT_SECONDS_MAX:
            raise InvalidInput(f"wait_s is {wait_s}; use 0 to {WAIT_SECONDS_MAX}", code="bad_wait", field="wait_s")
        if deadline_s is not None and deadline_s <= 0:
            raise InvalidInput("deadline_s is more than 0", code="bad_wait", field="deadline_s")
        asked = Asked(self, fields, body)  # type: ignore[arg-type]  # RemoteLedger is one
        reservation = RemoteReservation(self, asked, wait_s, deadline_s)  # type: ignore[arg-type]  # RemoteLedger is one
        return reservation if loop_runs() else reservation.take()

    def bound(self, *, body: Mapping[str, Any] | None = None, **fields: Any) -> WorstCase:
        """As `Ledger.bound`."""
        return self.worst_case(fields, body)

    def check(self, *, body: Mapping[str, Any] | None = None, **fields: Any) -> Decision:
        """As `Ledger.check`."""
        found = self._worth(fields, body, "decision").decision
        if found is None:
            raise LedgerError("the server gave no decision; use the server's version", code="bad_answer")
        return found

    def affordable(self, *, body: Mapping[str, Any], **fields: Any) -> int | None:
        """As `Ledger.affordable`."""
        return self._worth(fields, body, "affordable").affordable

    def expire(self) -> int:
        """As `Ledger.expire`."""
        return self.transport.send("POST", "/v1/reservations/expire", dict[str, int])["expired"]

    def reservation(self, id: str) -> KeptReservation:
        """As `Ledger.reservation`."""
        return self.transport.ask(f"/v1/reservations/{_quoted(read_text(id, 'id'))}", KeptReservation)

    # How budgets stand

    def defined_budgets(self) -> list[Budget]:
        """As `Ledger.defined_budgets`."""
        return self.transport.ask("/v1/budgets-in-force", list[Budget], {"whole": "true"})

    def budgets(
        self, name: str | None = None, *, subject: str | None = None, fullest: int = SUBJECTS_SHOWN
    ) -> list[BudgetStatus]:
        """As `Ledger.budgets`."""
        self._flush()
        told: dict[str, str | list[str]] = {"fullest": str(fullest)}
        if subject is not None:
            told["subject"] = subject
        path = "/v1/budgets" if name is None else _path(name, "status")
        return self.transport.ask(path, list[BudgetStatus], told)

    def usage_block(self, *, meter: str | None = None, **dimensions: str) -> dict[str, object]:
        """As `Ledger.usage_block`."""
        self._flush()
        told: dict[str, str | list[str]] = {f"where.{name}": str(value) for name, value in dimensions.items()}
        if meter is not None:
            told["meter"] = meter
        found = self.transport.ask("/v1/usage", dict[str, Any], told)
        # A money limit comes as text, a count as a number: the same kinds as from a ledger at hand.
        kept = ("warning",)
        return {
            name: Decimal(value) if isinstance(value, str) and name not in kept else value
            for name, value in found.items()
        }

    def refusals(self, name: str) -> tuple[int, list[NotedRefusal]]:
        """As `Ledger.refusals`."""
        found = self.transport.ask(_path(name, "refusals"), SentRefusals)
        return found.count, list(found.refusals)

    def uncovered_budgets(self) -> list[str]:
        """As `Ledger.uncovered_budgets`."""
        return self.transport.ask("/v1/uncovered-budgets", list[str])

    # What a reservation needs

    def fails_open(self, event: UsageEvent) -> bool:
        """Whether a call may go while the server is away: every refusing budget that covers it says so.

        It is as the server said last; a process that never heard of its budgets lets nothing go.
        """
        asking = Asking(amount=0, calls=event.count)
        limits = self.budgets_told.known.limits(dimensions_of(event), self.clock.now(), asking)
        return self._facts is not None and fails_open(limits)

    def worst_case(self, fields: Mapping[str, Any], body: Mapping[str, Any] | None) -> WorstCase:
        """What a call may cost at most."""
        return self._worth(fields, body, "").bound

    def _worth(self, fields: Mapping[str, Any], body: Mapping[str, Any] | None, wanted: str) -> SentWorth:
        asked = Asked(self, fields, body)  # type: ignore[arg-type]  # RemoteLedger is one
        told: dict[str, str | list[str]] = {"wanted": wanted} if wanted else {}
        return self.transport.send("POST", "/v1/bound", SentWorth, asked.sent(), parameters=told, exact=True)


def _path(name: str, rest: str = "") -> str:
    return f"/v1/budgets/{_quoted(name)}" + (f"/{rest}" if rest else "")


def _quoted(name: str) -> str:
    return quote(str(name), safe="")
