"""The advising half of a ledger: what may be saved, what was said to it, what it did, and the checklist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from outlay.analytics.advice import (
    Advice,
    AdviceEffect,
    AdviceState,
    JointSaving,
    PlannedMonth,
    joint,
    plan,
)
from outlay.analytics.advise_calls import Scene, advise_calls
from outlay.analytics.advise_stack import Changes, StackScene, Utilisation, advise_stack
from outlay.analytics.against import beside_bill
from outlay.analytics.call_groups import CallGroup, grouped
from outlay.analytics.checklist import Fact, Ticked, facts_of_advice, ticked
from outlay.analytics.stack import StackEstimate, price_stack
from outlay.analytics.stack_file import StackFile, changed, stack_of
from outlay.analytics.stack_kinds import DAYS_A_MONTH
from outlay.analytics.volumes import shipped_volumes
from outlay.arguments import Where, read_text, read_where
from outlay.clock import DAY_MICROSECONDS, Instant
from outlay.errors import InvalidInput, NotFound
from outlay.estimating import LedgerEstimates, Prices
from outlay.ledger.store import EntryFilter
from outlay.model import Basis
from outlay.pricing.rate import rate
from outlay.reserving import Reserver
from outlay.watcher import LEASE

ADVICE: Final = "advice"
"""The kind of note under which decisions on advice are kept."""

DAYS: Final = 30
CALLS_MAX: Final = 50_000
"""So many calls, the latest, are looked at one by one."""

JOBS_MAX: Final = 1_000
"""So many jobs, the dearest, are asked whether they are finished."""

DAYS_BEFORE: Final = 28
"""Over how many days before a decision its effect is measured."""


class AdviceReport(msgspec.Struct, frozen=True, kw_only=True):
    """All measures, the one that saves the most first; what they save together, and month by month.

    `cost` is what everything costs a month: by the ledger, and by the estimate what the ledger does not hold. `calls`
    is how many calls were looked at, in `days` days.
    """

    measures: tuple[Advice, ...]
    joint: JointSaving
    plan: tuple[PlannedMonth, ...]
    cost: int
    calls: int
    days: Fraction
    currency: str


def check_days(days: int) -> None:
    """Raises InvalidInput `bad_days`."""
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= 366:
        raise InvalidInput("advice looks at 1 to 366 whole days", code="bad_days", field="days")


class LedgerAdvice(LedgerEstimates):
    """What a ledger advises, and what became of it."""

    reserver: Reserver

    def advice(
        self,
        *,
        days: int = DAYS,
        where: Where = None,
        stack: StackFile | None = None,
        prices: Prices = None,
        utilisation: Sequence[Utilisation] = (),
        cheaper: Mapping[str, str] | None = None,
    ) -> AdviceReport:
        """What may be saved, with what it rests on (docs/advice.md).

        AI calls of the last `days` days are looked at one by one, at most the latest 50,000. A `stack` (see
        `load_stack`) adds advice on its resources, at its prices and those of a file; `utilisation` is what metrics
        say of them. `cheaper` maps a model to the smaller one to propose. Raises InvalidInput `bad_days`.
        """
        check_days(days)
        now = self.clock.now()
        since = now - days * DAY_MICROSECONDS
        groups, since, calls = self._call_groups(where, since)
        span = Fraction(max(1, now - since), DAY_MICROSECONDS)
        to_month = DAYS_A_MONTH / span
        book = self.book
        scene = Scene(
            rate=lambda event: rate(event, book),
            at=now,
            to_month=to_month,
            currency=self.currency,
            cheaper=cheaper or {},
        )
        found, beyond = list(advise_calls(groups, scene)), 0
        if stack is not None:
            on_stack, beyond = self._on_stack(stack, prices, utilisation, now)
            found += on_stack
        measures = sorted((self._decided(one) for one in found), key=lambda one: (-sum(_ends(one)), one.id))
        spent = self.costs((), where=where, since=now - days * DAY_MICROSECONDS).table.total.amount
        cost = round(Fraction(spent) * DAYS_A_MONTH / days) + beyond
        return AdviceReport(
            measures=tuple(measures),
            joint=joint(measures),
            plan=tuple(plan(measures, cost)),
            cost=cost,
            calls=calls,
            days=span,
            currency=self.currency,
        )

    def decide_advice(
        self, advice: Advice, state: AdviceState | str, *, why: str = "", who: str = "program"
    ) -> Advice:
        """Accept or dismiss a measure, or open it again; the last word counts and `advice_effect` measures from it.

        Raises InvalidInput `bad_state`.
        """
        if state not in tuple(AdviceState):
            raise InvalidInput(f"state is one of {', '.join(AdviceState)}", code="bad_state", field="state")
        now = self.clock.now()
        said = f"{who}: {why}" if why else who
        decided = replace(advice, state=AdviceState(state), decided_at=now, why=read_text(said, "why"))
        body = msgspec.json.encode(decided)
        live = decided.state is AdviceState.ACCEPTED
        while not self.store.put_note(
            ADVICE, advice.id, body, expects=self.store.note(ADVICE, advice.id), at=now, live=live
        ):
            pass
        return decided

    def accepted_advice(self) -> list[Advice]:
        """What was accepted, the latest first."""
        return [msgspec.json.decode(body, type=Advice) for body in self.store.notes(ADVICE, live_only=True)]

    def advice_effect(self, id: str) -> AdviceEffect:
        """What an accepted measure did: the four weeks before it was accepted, and the time since.

        Raises NotFound `no_such_advice`, InvalidInput `not_measurable` for one that no filter of the ledger tells.
        """
        body = self.store.note(ADVICE, read_text(id, "id"))
        kept = None if body is None else msgspec.json.decode(body, type=Advice)
        if kept is None or kept.state is not AdviceState.ACCEPTED or kept.decided_at is None:
            raise NotFound(f"no accepted advice {id[:60]!r} is known", code="no_such_advice")
        if not kept.where:
            raise InvalidInput(f"{kept.target} is in no row of the ledger yet", code="not_measurable", field="id")
        at, now = kept.decided_at, self.clock.now()
        before = self.costs((), where=kept.where, since=at - DAYS_BEFORE * DAY_MICROSECONDS, until=at).table.total
        after = self.costs((), where=kept.where, since=at).table.total
        return AdviceEffect(
            id=id,
            accepted_at=at,
            days_before=Fraction(DAYS_BEFORE),
            days_after=Fraction(max(1, now - at), DAY_MICROSECONDS),
            cost_before=before.amount,
            cost_after=after.amount,
            calls_before=before.events,
            calls_after=after.events,
            promised=kept.saving,
        )

    def checklist(
        self,
        report: AdviceReport,
        *,
        stack: StackFile | None = None,
        utilisation: Sequence[Utilisation] = (),
        facts: Mapping[str, Fact] | None = None,
    ) -> list[Ticked]:
        """The seeds' 24 items, ticked from facts: the ledger's, the stack's, and `facts` read elsewhere."""
        known = {**self._ledger_facts(report), **_stack_facts(report, stack, utilisation)}
        return ticked({**known, **(facts or {})})

    # Inner

    def _call_groups(self, where: Where, since: Instant) -> tuple[list[CallGroup], Instant, int]:
        """The groups, from when on they were looked at, and how many calls that were."""
        self._flush()
        chosen = EntryFilter(since=since, where=read_where(where), newest_first=True)
        entries = list(self.store.entries(chosen, limit=CALLS_MAX))
        if len(entries) == CALLS_MAX:
            since = min(entry.event.occurred_from for entry in entries)
        # What was only billed is no call of anybody's.
        seen = [(entry.event, entry.rating) for entry in entries if entry.basis not in (Basis.BILLED, Basis.ADJUSTED)]
        return grouped(seen), since, len(seen)

    def _on_stack(
        self, stack: StackFile, prices: Prices, utilisation: Sequence[Utilisation], now: Instant
    ) -> tuple[list[Advice], int]:
        """The advice, and what the rows that the ledger does not hold are estimated at a month."""
        span, volumes = self._both_ends(prices), shipped_volumes()

        def price(changes: Changes) -> StackEstimate:
            described = stack_of(changed(stack.tables, changes, "advice"))
            return price_stack(described, span, volumes, at=now, currency=self.currency)

        base = price({})
        actual, services, beyond = self._actual(base, now)
        scene = StackScene(
            tables=stack.tables,
            price=price,
            environment=stack.environment,
            utilisation=utilisation,
            actual=actual,
            services=services,
        )
        return list(advise_stack(scene)), beyond

    def _actual(
        self, estimate: StackEstimate, now: Instant
    ) -> tuple[dict[str, int], dict[str, dict[str, tuple[str, ...]]], int]:
        """What rows of the stack really cost a month, by which filter the ledger tells it, and what it does not hold.

        Only of rows that a bill tells apart from the others.
        """
        rows = self.costs(("provider", "service"), since=now - DAYS * DAY_MICROSECONDS).rows
        billed = {(str(row.keys[0]), str(row.keys[1])): row.amount for row in rows}
        named = {f"{provider}/{service}".lower(): (provider, service) for provider, service in billed}
        actual: dict[str, int] = {}
        services: dict[str, dict[str, tuple[str, ...]]] = {}
        beyond = 0
        for row in beside_bill(estimate, billed, DAYS_A_MONTH).rows:
            if not row.actual:
                beyond += row.estimated.low
            if row.actual > 0 and any(one.name == row.name for one in estimate.rows):
                actual[row.name] = round(Fraction(row.actual) * DAYS_A_MONTH / DAYS)
                pairs = [named[name] for name in row.services]
                services[row.name] = {
                    "provider": tuple(dict.fromkeys(provider for provider, _ in pairs)),
                    "service": tuple(service for _, service in pairs),
                }
        return actual, services, beyond

    def _decided(self, advice: Advice) -> Advice:
        body = self.store.note(ADVICE, advice.id)
        if body is None:
            return advice
        kept = msgspec.json.decode(body, type=Advice)
        return replace(advice, state=kept.state, decided_at=kept.decided_at, why=kept.why)

    def _ledger_facts(self, report: AdviceReport) -> dict[str, Fact]:
        now = self.clock.now()
        since = now - DAYS * DAY_MICROSECONDS
        days = len(self.costs(("day",), since=since).rows)
        cached = self.costs(("meter",), where={"meter": "cache_read_tokens"}, since=since, quantities=True).rows
        jobs = [row.keys[0] for row in self.costs(("job",), since=since).rows if row.keys[0] is not None]
        outcomes = self.store.job_outcomes(jobs[:JOBS_MAX]) if jobs else {}
        made = [job for job, outcome in outcomes.items() if outcome.units]
        measures = report.measures
        repeats = ("repeated_prompts", "caching_pays", "caching_does_not_pay")
        return {
            "sheet": (days > 0, f"{days} days of costs: outlay report month --form csv"),
            "per_unit": (bool(made), f"{len(made):,} finished jobs of the last {DAYS} days know their cost"),
            "prompt_caching": (
                bool(cached),
                "tokens were read from a cache" if cached else "none was read from a cache",
            ),
            "advice": (True, f"{len(measures)} measures"),
            **facts_of_advice(measures, repeats, "repeats"),
            **self._guard_facts(),
        }

    def _guard_facts(self) -> dict[str, Fact]:
        """What stands guard: budgets with the seeds' marks, a limit for the day, somebody who watches."""
        budgets = list(self.reserver.refresh().budgets.values())
        marked = [
            one.name for one in budgets if {50, 80, 100} <= {mark.percent for mark in one.marks if not mark.forecast}
        ]
        daily = [
            one.name for one in budgets if any(limit.window == "day" for tier in one.tiers for limit in tier.limits)
        ]
        lease = self.store.lease(LEASE)
        watched = lease is not None and lease.until > self.clock.now()
        return {
            "budget": (bool(marked), _named(marked) or "no budget with these marks"),
            "daily": (bool(daily), _named(daily) or "no budget or rule by the day"),
            "anomalies": (watched, "watched now" if watched else "nobody watches: outlay watch, or tick by cron"),
        }


def _stack_facts(
    report: AdviceReport, stack: StackFile | None, utilisation: Sequence[Utilisation]
) -> dict[str, Fact]:
    if stack is None:
        return {}
    resources: Mapping[str, Mapping[str, Any]] = stack.tables.get("resource", {})
    measures = report.measures
    facts = {
        **facts_of_advice(measures, ("logs",), "logs"),
        **facts_of_advice(measures, ("bitrate",), "bitrate"),
        **facts_of_advice(measures, ("savings_plan",), "savings_plan"),
        **facts_of_advice(measures, ("spot",), "spot"),
        **facts_of_advice(measures, ("cdn",), "cdn"),
    }
    accepted = [one for one in measures if one.rule == "bitrate" and one.state is AdviceState.ACCEPTED]
    facts["bitrate_accepted"] = (bool(accepted), "accepted" if accepted else "not accepted yet")
    for kind in ("rds", "elasticache"):
        bought = [name for name, one in resources.items() if one.get("kind") == kind and one.get("purchase")]
        facts[f"reserved_{kind}"] = (bool(bought), ", ".join(bought) or "bought by the hour")
    priced = any(
        "aurora" in {use.service for use in row.uses} for one in stack.scenarios.values() for row in one.resources
    )
    facts["aurora"] = (
        priced,
        "a scenario of the stack prices it" if priced else "no scenario of the stack prices it",
    )
    if utilisation:
        known = sorted({one.resource for one in utilisation})
        facts["utilisation"] = (True, f"two weeks of {', '.join(known)}")
        facts |= facts_of_advice(measures, ("idle",), "idle")
        facts |= facts_of_advice(measures, ("rightsizing",), "rightsizing")
    return facts


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _ends(advice: Advice) -> tuple[int, int]:
    return advice.saving.low, advice.saving.high


def read_utilisation(tables: Mapping[str, Any]) -> list[Utilisation]:
    """Utilisation as a JSON file holds it: {"backend": {"cpu": [[average, maximum], …], "memory": […]}}.

    Raises InvalidInput `bad_metrics`.
    """
    found: list[Utilisation] = []
    for resource, metrics in tables.items():
        if not isinstance(metrics, Mapping):
            raise InvalidInput(f"metrics of {resource[:40]} are no table", code="bad_metrics")
        for metric, hours in metrics.items():
            try:
                pairs = tuple((Decimal(str(average)), Decimal(str(maximum))) for average, maximum in hours)
            except (ArithmeticError, TypeError, ValueError) as error:
                raise InvalidInput(
                    f"{metric} of {resource[:40]} is a list of [average, maximum] in percent", code="bad_metrics"
                ) from error
            found.append(Utilisation(resource=resource, metric=str(metric), hours=pairs))
    return found
