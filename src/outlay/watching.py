"""What there is to alert about: marks in the outbox, entries since the last look, and what only time shows.

Everything here makes alerts and sends nothing. An alert's id says what it is about, so that finding it again, on this
host or another, makes no second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from outlay.budgets.alert_rules import PREFIX, RISE_WINDOWS, AlertRule, RuleKind, Severity, severity_of
from outlay.budgets.alerts import Alert, alert_id
from outlay.budgets.coverage import unpacked
from outlay.budgets.decide import said
from outlay.budgets.definition import mark_said
from outlay.budgets.limits import BudgetIndex
from outlay.budgets.status import ADVERBS, status
from outlay.budgets.terms import Budget
from outlay.clock import DAY_MICROSECONDS, Instant, isoformat, local_day, local_midnight, window_of
from outlay.errors import LedgerError
from outlay.ledger.budget_store import OutboxRow
from outlay.ledger.store import LedgerStore
from outlay.ledger.tallies import matches
from outlay.model import Account, CostQuery, CostRow, Entry, Limit, Mark, PricingStatus, Status
from outlay.money import Money, decimal_to_pico, format_beside, format_pico

CAUSES_MAX: Final = 3
SCANNED_MAX: Final = 20_000
FORECAST_SHARE: Final = 10
"""A forecast is told once a tenth of the window has passed: before that a pace says little."""

SUBJECTS_FORECAST: Final = 20
KNOWN_BEFORE: Final = 7 * DAY_MICROSECONDS

Where = Mapping[str, tuple[str | None, ...]]
Projected = Callable[[Budget, Limit, Account, Instant], int]


class RuleBook:
    """The rules and budgets in force at one look."""

    def __init__(self, store: LedgerStore, rules: Iterable[AlertRule], link: str = "") -> None:
        """`link` is where a person looks further, said in every alert."""
        self.store = store
        self.rules = {rule.name: rule for rule in rules}
        self.index = BudgetIndex(unpacked(one.body) for one in store.budgets() if one.active)
        self.link = link

    def of_kinds(self, *kinds: RuleKind) -> list[AlertRule]:
        """The rules of some kinds."""
        return [rule for rule in self.rules.values() if rule.kind in kinds]

    def rule_of(self, budget: Budget) -> AlertRule | None:
        """The rule whose account a budget is, None for a budget that a person set."""
        return self.rules.get(budget.name.removeprefix(PREFIX)) if budget.name.startswith(PREFIX) else None


def from_outbox(book: RuleBook, row: OutboxRow, now: Instant, *, causes: bool = True) -> Alert | None:
    """The alert of a mark that was crossed, or of an overrun; None where its budget is gone."""
    budget = book.index.budgets.get(row.key.budget)
    if budget is None:
        return None
    rule = book.rule_of(budget)
    limit = _limit_of(book, budget, row)
    where = {**budget.where, **({budget.each: (row.key.subject,)} if budget.each else {})}
    since = limit.window.start if limit else row.at
    found = most_of(book.store, where, since, limit.window.end if limit else now) if causes else ()
    percent = decimal_to_pico(row.what.strip(">%")) // 10**12 if row.kind == "mark" else 0
    severity = severity_of(rule.severity if rule else Severity.ERROR, percent) if percent else Severity.WARNING
    return Alert(
        id=alert_id(row.kind, row.key.budget, row.key.scope, row.key.subject, row.key.window, row.what),
        rule=rule.name if rule else budget.name,
        kind=(rule.kind if rule else "budget") if row.kind == "mark" else row.kind,
        severity=severity,
        title=_title(book, budget, rule, limit, row),
        amount=row.amount,
        threshold=limit.amount if limit else 0,
        unit=budget.meter or book.store.currency,
        since=since,
        until=limit.window.end if limit else None,
        raised_at=now,
        subject=row.key.subject,
        each=budget.each or "",
        window=row.key.window,
        what=row.what,
        causes=found,
        link=book.link,
        owner=rule.owner if rule else "",
    )


def _title(book: RuleBook, budget: Budget, rule: AlertRule | None, limit: Limit | None, row: OutboxRow) -> str:
    amount = _amount(book, budget, row.amount, 0 if limit is None else limit.amount)
    whose = f" of {budget.each} {row.key.subject}" if row.key.subject else ""
    name = rule.name if rule else budget.name
    if row.kind == "overrun":
        return f"{name}: a call was billed {amount} over what was held for it{whose}"
    if limit is None:
        return f"{name}: {amount}{whose} in {row.key.window} crosses {row.what}"
    whole = said(limit.amount, budget.meter, book.store.currency)
    if rule is not None and rule.kind is RuleKind.REQUEST:
        return f"{name}: request {row.key.subject} costs {amount}, over {whole}"
    share = f"{_beyond(row.what)} {whole} ({ADVERBS[limit.window_name]})"
    return f"{name}: {amount}{whose} in {row.key.window} is {share}"


def _amount(book: RuleBook, budget: Budget, amount: int, beside: int) -> str:
    """An amount with the digits that people read; the alert itself bears all of them."""
    currency = book.store.currency
    return format_beside(amount, beside, currency) if budget.meter is None else said(amount, budget.meter, currency)


def _beyond(what: str) -> str:
    """The words for a mark, such as `at least 80% of`."""
    strictly, percent = what.startswith(">"), what.strip(">")
    if percent == "100%":
        return "over" if strictly else "at or over"
    return f"over {percent} of" if strictly else f"at least {percent} of"


def _limit_of(book: RuleBook, budget: Budget, row: OutboxRow) -> Limit | None:
    """The limit whose account the row is of. A late entry's window may not be the one of the row's own time."""
    for at in (row.at, row.at - DAY_MICROSECONDS):
        for limit in book.index.standing(budget, row.key.subject, at, book.store.tier):
            if limit.key.window == row.key.window:
                return limit
    return None


def from_entries(book: RuleBook, entries: Sequence[Entry], now: Instant) -> Iterator[Alert]:
    """The alerts of single calls: dear ones, and those that have no price."""
    rules = book.of_kinds(RuleKind.EVENT, RuleKind.UNPRICED)
    for entry in entries:
        if entry.sign < 0:
            continue
        for rule in rules:
            if matches(entry, rule.where):
                found = (
                    _dear(book, rule, entry, now)
                    if rule.kind is RuleKind.EVENT
                    else _unpriced(book, rule, entry, now)
                )
                if found is not None:
                    yield found


def _dear(book: RuleBook, rule: AlertRule, entry: Entry, now: Instant) -> Alert | None:
    event, amount = entry.event, entry.rating.amount // entry.event.count
    if not rule.passes(amount):
        return None
    currency = book.store.currency
    costs = format_beside(amount, rule.amount, currency)
    title = f"{rule.name}: one call of {event.provider} {event.service} costs {costs}"
    told = [f"{name} {value}" for name in ("feature", "user", "job") if (value := getattr(event, name))]
    return Alert(
        id=alert_id("event", rule.name, event.id, str(event.occurred_from)),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=f"{title}, over {Money(rule.amount, currency)}",
        amount=amount,
        threshold=rule.amount,
        unit=currency,
        since=event.occurred_from,
        until=event.occurred_to,
        raised_at=now,
        subject=event.id,
        causes=tuple(told),
        link=book.link,
        owner=rule.owner,
    )


def _unpriced(book: RuleBook, rule: AlertRule, entry: Entry, now: Instant) -> Alert | None:
    event, rating = entry.event, entry.rating
    if rating.status is PricingStatus.PRICED:
        return None
    window = window_of(event.occurred_from, rule.window, rule.zone)
    reasons = tuple(dict.fromkeys(f"{one.meter}: {one.reason}" for one in rating.unrated))
    return Alert(
        id=alert_id("unpriced", rule.name, event.provider, event.service, window.label),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=f"{rule.name}: usage of {event.provider} {event.service} is {rating.status}: its cost is not known",
        amount=0,
        threshold=0,
        unit=book.store.currency,
        since=event.occurred_from,
        until=window.end,
        raised_at=now,
        subject=f"{event.provider} {event.service}",
        window=window.label,
        causes=reasons[:CAUSES_MAX],
        link=book.link,
        owner=rule.owner,
    )


def by_time(book: RuleBook, now: Instant) -> dict[str, Alert | None]:
    """Of each rule that only time decides, the alert if it holds at `now`, else None."""
    found: dict[str, Alert | None] = {}
    checks = {RuleKind.RATE: _rate, RuleKind.FAILED: _failed, RuleKind.SILENCE: _silence, RuleKind.RISE: _rise}
    for rule in book.of_kinds(*checks):
        found[rule.name] = checks[rule.kind](book, rule, now)
    return found


def _rate(book: RuleBook, rule: AlertRule, now: Instant) -> Alert | None:
    since = now - rule.span
    spent = _total(book.store, rule.where, since, now).amount
    hourly = spent * 60 // rule.minutes
    if not rule.passes(hourly):
        return None
    currency = book.store.currency
    title = f"{rule.name}: {format_beside(hourly, rule.amount, currency)} an hour over {rule.minutes} minutes"
    return _timed(book, rule, f"{title}, over {Money(rule.amount, currency)}", hourly, since, now)


def _rise(book: RuleBook, rule: AlertRule, now: Instant) -> Alert | None:
    """The last whole days against as many before them."""
    days, today = RISE_WINDOWS[rule.window], local_day(now, rule.zone)
    start, middle, end = (local_midnight(today - back, rule.zone) for back in (2 * days, days, 0))
    before, after = (_total(book.store, rule.where, *span).amount for span in ((start, middle), (middle, end)))
    if before <= 0 or not rule.departs(after, before):
        return None
    currency = book.store.currency
    risen = (after - before) * 100 // before
    said_days = "the last day" if days == 1 else f"the last {days} days"
    amount, past = format_beside(after, before, currency), format_pico(before, currency)
    title = f"{rule.name}: {amount} in {said_days}, {risen} % over {past} before"
    alert = _timed(book, rule, title, after, middle, end)
    return msgspec.structs.replace(alert, threshold=before, raised_at=now)


def _failed(book: RuleBook, rule: AlertRule, now: Instant) -> Alert | None:
    window = window_of(now, rule.window, rule.zone)
    where = {**rule.where, "status": (Status.FAILED.value,)}
    row = _total(book.store, where, window.start, window.end)
    if not rule.passes(row.amount):
        return None
    currency = book.store.currency
    amount = format_beside(row.amount, rule.amount, currency)
    title = f"{rule.name}: {row.events} failed calls cost {amount} in {window.label}"
    alert = _timed(book, rule, f"{title}, over {Money(rule.amount, currency)}", row.amount, window.start, now, where)
    id = alert_id("failed", rule.name, window.label)
    return msgspec.structs.replace(alert, id=id, window=window.label, until=window.end)


def _silence(book: RuleBook, rule: AlertRule, now: Instant) -> Alert | None:
    since = now - rule.span
    if _total(book.store, rule.where, since, None).events:
        return None
    # A source that was never heard has not fallen silent.
    if not _total(book.store, rule.where, since - KNOWN_BEFORE, since).events:
        return None
    return _timed(book, rule, f"{rule.name}: nothing was recorded for {rule.minutes} minutes", 0, since, now)


def _timed(
    book: RuleBook,
    rule: AlertRule,
    title: str,
    amount: int,
    since: Instant,
    now: Instant,
    where: Where | None = None,
) -> Alert:
    return Alert(
        id=alert_id(rule.kind, rule.name, isoformat(now)),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=title,
        amount=amount,
        threshold=rule.amount,
        unit=book.store.currency,
        since=since,
        raised_at=now,
        causes=most_of(book.store, rule.where if where is None else where, since, now),
        link=book.link,
        owner=rule.owner,
    )


def forecasts(book: RuleBook, now: Instant, projected: Projected | None = None) -> Iterator[Alert]:
    """The alerts of budgets whose forecast crosses a mark, once a tenth of the window has passed.

    `projected` forecasts what a limit's window will have spent at its end; without it the pace so far goes on.
    """
    projected = projected or _at_this_pace
    for budget in book.index.budgets.values():
        if not any(mark.forecast for mark in budget.marks):
            continue
        limits = list(_standing(book, budget, now))
        accounts = book.store.accounts(limits)
        for limit in limits:
            start, end, _ = limit.window
            if (now - start) * FORECAST_SHARE < end - start:
                continue
            marks = [mark for mark in limit.marks if mark.forecast]
            amount = projected(budget, limit, accounts[limit.key], now) if marks else 0
            for mark in marks:
                if amount >= mark.amount:
                    yield _forecast(book, budget, limit, mark, amount, now)


def _at_this_pace(budget: Budget, limit: Limit, account: Account, now: Instant) -> int:
    return status(limit, account, now).projected


def _standing(book: RuleBook, budget: Budget, now: Instant) -> Iterator[Limit]:
    if budget.each is None:
        yield from book.index.standing(budget, "", now, book.store.tier)
        return
    some = book.index.standing(budget, "", now, book.store.tier)
    subjects = {
        key.subject
        for limit in some
        for key, _ in book.store.fullest(budget.name, limit.key.scope, limit.window_name, now, SUBJECTS_FORECAST)
    }
    for subject in sorted(subjects):
        yield from book.index.standing(budget, subject, now, book.store.tier)


def _forecast(book: RuleBook, budget: Budget, limit: Limit, mark: Mark, projected: int, now: Instant) -> Alert:
    key, (start, end, label) = limit.key, limit.window
    whose = f" of {budget.each} {key.subject}" if key.subject else ""
    whole = said(limit.amount, budget.meter, book.store.currency)
    part = _amount(book, budget, projected, limit.amount)
    where = {**budget.where, **({budget.each: (key.subject,)} if budget.each else {})}
    rule = book.rule_of(budget)
    name = rule.name if rule else budget.name
    return Alert(
        id=alert_id("forecast", key.budget, key.scope, key.subject, key.window, mark_said(mark)),
        rule=name,
        kind="forecast",
        severity=Severity.WARNING,
        title=f"{name}: {label} is expected to end{whose} with {part} of {whole} ({mark_said(mark)})",
        amount=projected,
        threshold=limit.amount,
        unit=budget.meter or book.store.currency,
        since=start,
        until=end,
        raised_at=now,
        subject=key.subject,
        each=budget.each or "",
        window=label,
        what=mark_said(mark),
        causes=most_of(book.store, where, start, now),
        link=book.link,
        owner=rule.owner if rule else "",
    )


def _total(store: LedgerStore, where: Where, since: Instant, until: Instant | None) -> CostRow:
    return store.costs(CostQuery(where=where, since=since, until=until)).total


def most_of(store: LedgerStore, where: Where, since: Instant, until: Instant) -> tuple[str, ...]:
    """What most of it went to; nothing where the ledger would have to read too much to say so."""
    found: list[str] = []
    for by, most in ((("provider", "service"), CAUSES_MAX), (("feature",), 1), (("user",), 1)):
        query = CostQuery(by=by, where=where, since=since, until=until, scan_limit=SCANNED_MAX)
        try:
            table = store.costs(query)
        except LedgerError as error:
            if error.code != "scan_too_large":
                raise
            continue
        rows = sorted(table.rows, key=lambda row: (-row.amount, str(row.keys)))
        named = [row for row in rows if row.amount > 0 and any(row.keys)]
        found += [_cause(by, row, table.total.amount, store.currency) for row in named[:most]]
    return tuple(found)


def _cause(by: tuple[str, ...], row: CostRow, total: int, currency: str) -> str:
    name = " ".join(str(key) for key in row.keys if key)
    share = f", {row.amount * 100 // total} %" if total > 0 else ""
    return f"{name if len(by) > 1 else f'{by[0]} {name}'} {format_pico(row.amount, currency)}{share}"
