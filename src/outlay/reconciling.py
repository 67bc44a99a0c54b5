"""The bills of a ledger: statements in, reconciled with what was called, shared cost given to whom it served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final

import msgspec

from outlay.analytics.allocate import Allocation, AllocationRule, allocation
from outlay.arguments import When, Where, checked_dimensions, read_date, read_text
from outlay.bills import ImportedStatement, import_rows, kept
from outlay.bills.comparing import Reconciliation, reconcile
from outlay.bills.kept import KeptStatement
from outlay.bills.taking import ExchangeOn
from outlay.capture.statements import BilledRow
from outlay.clock import DAY_MICROSECONDS, Instant, date_to_day, day_to_date, local_day
from outlay.errors import InvalidInput, NotFound
from outlay.money import Money, decimal_to_pico, parse_decimal
from outlay.reader import LedgerReader

BALANCE: Final = "balance"
"""The kind of note in which a prepaid balance is kept."""

BURN_DAYS: Final = 14
BALANCES_MAX: Final = 1_000
DRIFT_MAX: Final = "0.005"
CALLS: Final = "calls"


class KeptBalance(msgspec.Struct, frozen=True, kw_only=True):
    """A prepaid balance as it was entered or read: how much there was, when, and who said so."""

    provider: str
    amount: str
    at: Instant
    source: str = "entered"


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A prepaid balance now: what is left, what is spent a day, and when it runs out (None: not at this rate).

    `spent` is what the ledger has charged since `known_at`; `burn` the mean of the last `days` days, both exact.
    """

    provider: str
    left: Money
    known: Money
    known_at: Instant
    spent: Money
    burn: Money
    days: int
    runs_out: date | None
    source: str


class LedgerBills(LedgerReader):
    """What a ledger does with bills."""

    def import_statement(
        self,
        rows: Iterable[BilledRow],
        *,
        source: str,
        zone: str | None = None,
        metered: Sequence[str] = (),
        restates: str = "rows",
        covers: tuple[date, date] | None = None,
        digest: str = "",
        format: str = "CSV",
        columns: Sequence[str] = (),
        exchange_on: ExchangeOn | None = None,
    ) -> ImportedStatement:
        """Keep a provider's bill. Rows of services that the ledger measures itself wait for reconciliation, the rest
        are charged with basis `billed`, by day and group. Dates are local to `zone` (the home zone).

        What an earlier bill said of the same rows is reversed and charged anew; with restates="period" this one
        replaces all that was said of its provider, accounts and invoices' months, or of the days `covers`. Importing
        twice changes nothing; `digest` tells the same file without reading it. `columns` names the cells that rows
        keep. A row in another currency needs `exchange_on(currency, day)`. Raises InvalidInput `empty_statement`,
        `currency_mismatch`, `bad_choice`.
        """
        self._flush()
        return import_rows(
            self.store,
            self.clock,
            rows,
            source=source,
            zone=zone or self.store.home_zone,
            metered=metered,
            restates=restates,
            covers=covers,
            digest=digest,
            format=format,
            columns=columns,
            exchange_on=exchange_on,
        )

    def statements(self) -> list[KeptStatement]:
        """The bills that were taken in, in order, with what each covers and its totals by currency."""
        return kept.statements(self.store)

    def statement_rows(self, statement: str) -> Iterator[dict[str, str]]:
        """Every row of an exported bill as it was received, column to text, but for columns that may name a person.

        Raises NotFound `no_such_statement`.
        """
        for each in kept.statements(self.store):
            if each.id == statement:
                return kept.rows_of(self.store, each)
        raise NotFound(f"no statement {statement[:40]} was imported", code="no_such_statement")

    def reconcile(
        self,
        statement: str | None = None,
        *,
        provider: str | None = None,
        since: date | str | None = None,
        until: date | str | None = None,
        drift: str | Decimal = DRIFT_MAX,
        dry_run: bool = False,
    ) -> Reconciliation:
        """Make the ledger say what the bills in force say, and tell why they differed from what was called.

        All statements of the provider count, those of the days from `since` to before `until` (ISO dates in the
        bill's zone; else the days of the statement, by its id or source, or of all). Metered services get adjustments
        (billed less called, by day), what no call is recorded of is charged as billed. Doing it again changes nothing
        but what changed since. A service that differs by more than the share `drift` is noted for rules of the kind
        drift. A dry run writes nothing. Raises NotFound `no_such_statement`.
        """
        self._flush()
        share = parse_decimal(drift if isinstance(drift, str | Decimal) else "", "drift")
        if share < 0:
            raise InvalidInput("drift is a share from 0, such as 0.005", code="not_a_number", field="drift")
        return reconcile(
            self.store,
            self.clock.now(),
            statement=statement,
            provider=provider,
            days=(_day(since), _day(until)),
            share_max=Fraction(share),
            dry_run=dry_run,
        )

    def allocate(
        self,
        to: str,
        *,
        rule: str = AllocationRule.USAGE.value,
        where: Where = None,
        by: str | None = None,
        weights: Mapping[str, str | int | Decimal] | None = None,
        since: When = None,
        until: When = None,
        zone: str | None = None,
    ) -> Allocation:
        """Give the cost that bears no `to` (a feature, customer, job, …) to those that do; nothing is written.

        `where` says which cost is shared; of it, what bears a `to` is that one's own. The rule is `even`, `usage` (by
        each one's own cost in the period, or `by` a meter's quantity or "calls"), or `weight` (by `weights`). What is
        given sums to what was shared, to the picounit. Raises InvalidInput `bad_choice`, `missing_field`,
        `negative_weight`, `no_receiver`.
        """
        (name,) = checked_dimensions(to, times=False)
        if rule not in list(AllocationRule):
            raise InvalidInput(
                f"rule is even, usage or weight, not {str(rule)[:40]!r}", code="bad_choice", field="rule"
            )
        if (rule == AllocationRule.WEIGHT) != (weights is not None):
            raise InvalidInput(
                "the rule weight takes weights, and no other does", code="missing_field", field="weights"
            )
        told = self.costs((name,), where=where, since=since, until=until, zone=zone)
        own = {row.keys[0]: row.amount for row in told.rows if row.keys[0] is not None}
        shared = sum(row.amount for row in told.rows if row.keys[0] is None)
        chosen: Mapping[str, int | Decimal | Fraction]
        if weights is not None:
            chosen = {read_text(each, name): parse_decimal(str(weight), "weight") for each, weight in weights.items()}
        elif rule == AllocationRule.EVEN:
            chosen = dict.fromkeys(self._receivers(name, since, until, zone), 1)
        else:
            chosen = self._used(name, by, since, until, zone)
        return allocation(name, rule, shared, own, chosen, self.currency)

    def _receivers(self, to: str, since: When, until: When, zone: str | None) -> list[str]:
        rows = self.costs((to,), since=since, until=until, zone=zone).rows
        return [row.keys[0] for row in rows if row.keys[0] is not None]

    def _used(self, to: str, by: str | None, since: When, until: When, zone: str | None) -> dict[str, Fraction]:
        """What each used in the period: its own cost (never less than nothing), its calls, or a meter's quantity."""
        meter = by not in (None, "cost", CALLS)
        rows = self.costs(
            (to,), where={"meter": by} if meter else None, since=since, until=until, zone=zone, quantities=meter
        ).rows
        used: dict[str, Fraction] = {}
        for row in rows:
            if row.keys[0] is None:
                continue
            if meter:
                used[row.keys[0]] = Fraction(Decimal((row.quantities or {}).get(str(by), 0)))
            else:
                used[row.keys[0]] = Fraction(max(0, row.events if by == CALLS else row.amount))
        return used

    def note_balance(
        self, provider: str, amount: str | Decimal | Money, *, at: When = None, source: str = "entered"
    ) -> Balance:
        """Say what a prepaid balance is (now, or `at`): a top-up is the balance after it."""
        provider = read_text(provider, "provider")
        known = Money(decimal_to_pico(amount), self.currency)
        now = self.clock.now()
        instant = now if at is None else self._instant(at)
        body = KeptBalance(
            provider=provider, amount=f"{known.amount:f}", at=now if instant is None else instant, source=source
        )
        id = f"{provider} {body.at} {now}"
        self.store.put_note(BALANCE, id, msgspec.json.encode(body), expects=None, at=now, live=False)
        return self.balance(provider)

    def balance(self, provider: str, *, days: int = BURN_DAYS) -> Balance:
        """What is left of a prepaid balance, and the day it runs out. Raises NotFound `no_balance`."""
        checked_days(days)
        known = self._known_balance(provider)
        now = self.clock.now()
        spent = self._spent_between(provider, known.at, now + 1)
        since = now - days * DAY_MICROSECONDS
        burn = Money(self._spent_between(provider, since, now + 1).pico // days, self.currency)
        amount = Money.of(known.amount, self.currency)
        left = amount - spent
        runs_out = None
        if left.pico <= 0:
            runs_out = day_to_date(local_day(now, self.store.home_zone))
        elif burn.pico > 0 and left.pico // burn.pico < _DAYS_AHEAD_MAX:
            runs_out = day_to_date(local_day(now, self.store.home_zone) + left.pico // burn.pico)
        return Balance(
            provider=provider,
            left=left,
            known=amount,
            known_at=known.at,
            spent=spent,
            burn=burn,
            days=days,
            runs_out=runs_out,
            source=known.source,
        )

    def balances(self) -> list[Balance]:
        """Every prepaid balance that is known."""
        notes = self.store.notes(BALANCE, most=BALANCES_MAX)
        providers = {msgspec.json.decode(body, type=KeptBalance).provider for body in notes}
        return [self.balance(provider) for provider in sorted(providers)]

    def _known_balance(self, provider: str) -> KeptBalance:
        notes = [msgspec.json.decode(body, type=KeptBalance) for body in self.store.notes(BALANCE, most=BALANCES_MAX)]
        found = [each for each in notes if each.provider == provider]
        if not found:
            raise NotFound(
                f"no balance of {provider[:60]} is known; enter it with outlay balance {provider[:60]} --set",
                code="no_balance",
            )
        return max(found, key=lambda each: each.at)

    def _spent_between(self, provider: str, since: Instant, until: Instant) -> Money:
        return self.costs((), where={"provider": provider}, since=since, until=until).total


_DAYS_AHEAD_MAX: Final = 36_525


def checked_days(days: int) -> None:
    """Raises InvalidInput `bad_days` for what is no whole number from 1."""
    if isinstance(days, bool) or not isinstance(days, int) or days < 1:
        raise InvalidInput("days is a whole number from 1", code="bad_days", field="days")


def _day(value: date | str | None) -> int | None:
    return None if value is None else date_to_day(read_date(value))
