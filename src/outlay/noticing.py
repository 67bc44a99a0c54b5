"""The noticing half of a ledger: what only analysis shows there is to tell. It makes alerts and sends nothing.

Episodes of unusual spend, budgets that a forecast takes over a mark, bills that say something else than the ledger,
and prices of the catalogue that changed for what is in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Final

import msgspec
from msgspec.structs import replace

from outlay.analysing import LedgerAnalysis
from outlay.analytics.anomaly import Episode, same_thing
from outlay.analytics.forecast import Start
from outlay.budgeting import LedgerBudgets
from outlay.budgets.alert_rules import AlertRule, RuleKind
from outlay.budgets.alerts import Alert, alert_id
from outlay.budgets.status import status
from outlay.budgets.terms import Budget
from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.model import Account, Limit, Rate
from outlay.money import Money, decimal_to_pico, format_beside, format_pico, pico_to_decimal
from outlay.recorder import Recorder
from outlay.watcher import Noticed
from outlay.watching import RuleBook, forecasts

ANOMALY_DAYS: Final = 2
"""How far back a look for anomalies reaches: an episode that goes on is found whenever it began."""

IN_USE_DAYS: Final = 30
CAUSES_MAX: Final = 5
RECONCILIATION: Final = "reconciliation"
"""The kind of note in which reconciling keeps what it found: see Reconciled."""

CATALOGUE: Final = "catalogue"
_PRICES: Final = "watched_prices"
_TOLD: Final = "anomaly_told"
TOLD_MOST: Final = 200
"""Among so many of the last episodes that were told one is looked for that is seen again."""

_CALENDAR: Final = ("day", "week", "month", "quarter", "year")


class Reconciled(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider's service was billed and charged in a period, as reconciling notes it.

    Amounts are decimal text; `difference` is billed less charged, and `causes` are its parts.
    """

    period: str
    provider: str
    service: str = ""
    charged: str = "0"
    billed: str = "0"
    difference: str = "0"
    causes: dict[str, str] = {}


class _Price(msgspec.Struct, frozen=True, kw_only=True):
    """One price as it is remembered: of a meter under conditions."""

    meter: str
    under: str
    price: str
    per: int
    currency: str
    origin: str


class LedgerNoticing(LedgerBudgets, LedgerAnalysis):
    """What a ledger notices by analysis."""

    recorder: Recorder

    def _notice(self, book: RuleBook, now: Instant, still_open: Sequence[Alert]) -> Noticed:
        """What there is to tell at `now`. `still_open` are the alerts that held so far."""
        alerts = [*forecasts(book, now, self._projected_at_end)]
        going_on: set[str] = set()
        for rule in book.of_kinds(RuleKind.ANOMALY):
            for episode in self._unusual(rule, now):
                alert = _anomaly(book, rule, self._as_told(rule, episode), now)
                alerts.append(alert)
                if episode.goes_on:
                    going_on.add(alert.id)
        for rule in book.of_kinds(RuleKind.DRIFT):
            alerts += self._drifts(book, rule, now)
        if rules := book.of_kinds(RuleKind.PRICE):
            alerts += self._changed_prices(book, rules, now)
        going_on |= {one.id for one in alerts if one.kind == RuleKind.DRIFT}
        lasting = {
            one.id for one in still_open if one.until is None and one.kind in (RuleKind.ANOMALY, RuleKind.DRIFT)
        }
        return Noticed(tuple(alerts), frozenset(lasting - going_on))

    def _projected_at_end(self, budget: Budget, limit: Limit, account: Account, now: Instant) -> int:
        """What a limit's window will have spent at its end, in 10⁻¹² of its unit.

        Money by the day, week, month, quarter or year is forecast from the weeks before; a count, a shorter window
        and what has no past go on at the window's own pace.
        """
        if budget.meter is None and limit.window_name in _CALENDAR and limit.window.start <= now < limit.window.end:
            where = {**budget.where, **({budget.each: (limit.key.subject,)} if budget.each else {})}
            found = self.forecast(limit.window_name, where=where, zone=budget.zone).total
            if found.learned not in (Start.NONE, Start.COLD):
                return account.spent + max(found.rest, 0)
        return status(limit, account, now, self.currency).projected

    def _unusual(self, rule: AlertRule, now: Instant) -> list[Episode]:
        found = self.anomalies(
            since=now - ANOMALY_DAYS * DAY_MICROSECONDS,
            amount=pico_to_decimal(rule.amount),
            percent=rule.percent,
            need=rule.need,
            where=rule.where,
            zone=rule.zone,
        )
        return [one for one in found if rule.departs(one.actual, one.expected)]

    def _as_told(self, rule: AlertRule, episode: Episode) -> Episode:
        """The episode under the id by which it was told before, if it was.

        With each new hour an episode may be seen to have begun elsewhere, or to be a feature's and not a service's:
        it is the same thing.
        """
        for body in self.store.notes(_TOLD, most=TOLD_MOST):
            named, told = msgspec.json.decode(body, type=tuple[str, Episode])
            if named == rule.name and same_thing(told, episode):
                longer = replace(told, until=max(told.until, episode.until), causes=episode.causes)
                if longer != told:
                    self._keep_told(rule.name, longer)
                return replace(episode, id=told.id)
        self._keep_told(rule.name, episode)
        return episode

    def _forget_in_told(self, name: str, instead: str) -> None:
        """Take a person's or customer's name out of the episodes that were told."""
        for body in self.store.notes(_TOLD, most=1_000_000):
            rule, told = msgspec.json.decode(body, type=tuple[str, Episode])
            causes = tuple(replace(one, value=instead) if one.value == name else one for one in told.causes)
            without = replace(told, keys=tuple(instead if key == name else key for key in told.keys), causes=causes)
            if without != told:
                self._keep_told(rule, without)

    def _keep_told(self, rule: str, episode: Episode) -> None:
        body, key, at, kept = msgspec.json.encode((rule, episode)), f"{rule} {episode.id}", self.clock.now(), False
        while not kept:
            kept = self.store.put_note(_TOLD, key, body, expects=self.store.note(_TOLD, key), at=at, live=False)

    def _drifts(self, book: RuleBook, rule: AlertRule, now: Instant) -> Iterator[Alert]:
        for body in self.store.notes(RECONCILIATION, live_only=True):
            found = msgspec.json.decode(body, type=Reconciled)
            charged, billed = decimal_to_pico(found.charged), decimal_to_pico(found.billed)
            named = {"provider": found.provider, "service": found.service}
            covered = all(named[name] in values for name, values in rule.where.items())
            # A bill far below what was charged is as wrong as one far above it.
            if covered and rule.departs(max(charged, billed), min(charged, billed)):
                yield _drift(book, rule, found, (charged, billed), now)

    def _changed_prices(self, book: RuleBook, rules: Sequence[AlertRule], now: Instant) -> Iterator[Alert]:
        used = self.costs(("provider", "service"), since=now - IN_USE_DAYS * DAY_MICROSECONDS, until=now + 1)
        prices = self.recorder.refresh()
        for provider, service in sorted((row.keys[0] or "", row.keys[1] or "") for row in used.rows):
            present = _in_force(prices.rates(provider, service), now)
            key = f"{provider} {service}"
            before = self.store.note(_PRICES, key)
            body = msgspec.json.encode(present)
            if body == before:
                continue
            if before is not None:
                changes = _changes(msgspec.json.decode(before, type=list[_Price]), present)
                named = {"provider": provider, "service": service}
                for rule in rules if changes else ():
                    if all(named[name] in values for name, values in rule.where.items()):
                        yield _price(book, rule, (provider, service), changes, now)
            self.store.put_note(_PRICES, key, body, expects=before, at=now, live=False)


def _anomaly(book: RuleBook, rule: AlertRule, episode: Episode, now: Instant) -> Alert:
    currency = book.store.currency
    named = " ".join(key or f"(no {by})" for by, key in zip(episode.by, episode.keys, strict=True))
    share = "" if episode.percent is None else f", {round(episode.percent)} %"
    actual = format_beside(episode.actual, episode.expected, currency)
    expected = format_pico(episode.expected, currency)
    impact = format_pico(episode.impact, currency)
    title = f"{rule.name}: {named} costs {actual} where {expected} was expected ({impact}{share} more)"
    return Alert(
        id=alert_id("anomaly", rule.name, episode.id),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=title,
        amount=episode.actual,
        threshold=episode.expected,
        unit=currency,
        since=episode.since,
        until=None if episode.goes_on else episode.until,
        raised_at=now,
        subject=named,
        what=episode.id,
        causes=tuple(
            f"{one.dimension} {one.value} {format_pico(one.rise, currency)} more"
            for one in episode.causes[:CAUSES_MAX]
        ),
        link=book.link,
        owner=rule.owner,
    )


def _drift(book: RuleBook, rule: AlertRule, found: Reconciled, sides: tuple[int, int], now: Instant) -> Alert:
    charged, billed = (Money(side, book.store.currency) for side in sides)
    named = " ".join(filter(None, (found.provider, found.service)))
    return Alert(
        id=alert_id("drift", rule.name, found.period, found.provider, found.service),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=f"{rule.name}: {named} was billed {billed} for {found.period}, the ledger says {charged}",
        amount=sides[1],
        threshold=sides[0],
        unit=book.store.currency,
        since=now,
        raised_at=now,
        subject=named,
        window=found.period,
        causes=tuple(f"{name} {amount}" for name, amount in list(found.causes.items())[:CAUSES_MAX]),
        link=book.link,
        owner=rule.owner,
    )


def _price(book: RuleBook, rule: AlertRule, of: tuple[str, str], changes: tuple[str, ...], now: Instant) -> Alert:
    named = " ".join(of)
    more = f", and {len(changes) - 1} more" if len(changes) > 1 else ""
    return Alert(
        id=alert_id("price", rule.name, *of, *changes),
        rule=rule.name,
        kind=rule.kind,
        severity=rule.severity,
        title=f"{rule.name}: {named} has another price: {changes[0]}{more}",
        amount=0,
        threshold=0,
        unit=book.store.currency,
        since=now,
        until=now + DAY_MICROSECONDS,
        raised_at=now,
        subject=named,
        causes=changes[:CAUSES_MAX],
        link=book.link,
        owner=rule.owner,
    )


def _in_force(rates: Iterable[Rate], now: Instant) -> list[_Price]:
    """The first of the rates of each meter under the same conditions: the one that is charged."""
    found: dict[tuple[str, str], _Price] = {}
    for rate in rates:
        begun = rate.valid_from is None or rate.valid_from <= now
        if begun and (rate.valid_to is None or now < rate.valid_to):
            under = _under(rate)
            price = _Price(
                meter=rate.meter,
                under=under,
                price=format(rate.price, "f"),
                per=rate.per,
                currency=rate.currency,
                origin=rate.origin,
            )
            found.setdefault((rate.meter, under), price)
    return [found[key] for key in sorted(found)]


def _under(rate: Rate) -> str:
    parts = [f"{name}={value}" for name, value in sorted(rate.conditions.items())]
    parts += [f"context>{rate.context_over}"] if rate.context_over else []
    parts += [f"hours {rate.hours_from}-{rate.hours_to}"] if rate.hours_from is not None else []
    return ", ".join(parts)


def _changes(before: Sequence[_Price], after: Sequence[_Price]) -> tuple[str, ...]:
    """In words, what the catalogue says otherwise. A price that the user set is the user's own doing."""
    known: Mapping[tuple[str, str], _Price] = {(one.meter, one.under): one for one in before}
    told = []
    for one in after:
        was = known.get((one.meter, one.under))
        if was is None or not was.origin == one.origin == CATALOGUE:
            continue
        if Fraction(one.price) / one.per != Fraction(was.price) / was.per or one.currency != was.currency:
            under = f" ({one.under})" if one.under else ""
            told.append(
                f"{one.meter}{under} {was.price} is now {one.price} {one.currency} per {one.per:,}"
                if was.per == one.per
                else f"{one.meter}{under} {was.price} per {was.per:,} is now {one.price} per {one.per:,}"
            )
    return tuple(told)
