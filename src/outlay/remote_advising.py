"""The advising half of a ledger behind a server: advice, decisions on it, estimates that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from outlay.advising import DAYS, AdviceReport, LedgerAdvice, check_days
from outlay.analytics.advice import Advice, AdviceEffect, AdviceState
from outlay.analytics.advise_stack import Utilisation
from outlay.analytics.checklist import Fact, Ticked
from outlay.analytics.estimate import EstimateComparison, JobEstimate
from outlay.analytics.stack_file import StackFile
from outlay.arguments import Where, read_text, read_where
from outlay.errors import InvalidInput
from outlay.estimating import Prices, PriceText, price_text, read_margin
from outlay.remote_transport import Transport
from outlay.wire import encoded, sendable


class RemoteAdvice(LedgerAdvice):
    """What a ledger advises and estimates, worked out by its server."""

    transport: Transport

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
        """As `Ledger.advice`; files are read here."""
        check_days(days)
        self._flush()
        body: dict[str, Any] = {"days": days, "where": read_where(where), "cheaper": dict(cheaper or {})}
        busy: dict[str, dict[str, Any]] = {}
        for one in utilisation:
            busy.setdefault(one.resource, {})[one.metric] = sendable(one.hours)
        body |= {"utilisation": busy, "prices": _prices(prices)}
        body["stack"] = None if stack is None else sendable(stack.tables)
        return self.transport.send("POST", "/v1/advice", AdviceReport, body, answer_s=600)

    def decide_advice(
        self, advice: Advice, state: AdviceState | str, *, why: str = "", who: str = "program"
    ) -> Advice:
        """As `Ledger.decide_advice`."""
        body = {"advice": advice, "state": str(state), "why": why, "who": who}
        return self.transport.send("POST", "/v1/advice-decisions", Advice, body)

    def accepted_advice(self) -> list[Advice]:
        """As `Ledger.accepted_advice`."""
        return self.transport.ask("/v1/accepted-advice", list[Advice])

    def advice_effect(self, id: str) -> AdviceEffect:
        """As `Ledger.advice_effect`."""
        self._flush()
        return self.transport.ask(f"/v1/advice/{_quoted(read_text(id, 'id'))}/effect", AdviceEffect)

    def checklist(
        self,
        report: AdviceReport,
        *,
        stack: StackFile | None = None,
        utilisation: Sequence[Utilisation] = (),
        facts: Mapping[str, Fact] | None = None,
    ) -> list[Ticked]:
        """As `Ledger.checklist`."""
        self._flush()
        tables = None if stack is None else sendable(stack.tables)
        body = {"report": report, "stack": tables, "utilisation": list(utilisation), "facts": dict(facts or {})}
        return self.transport.send("POST", "/v1/told-checklist", list[Ticked], msgspec.Raw(encoded(body)))

    def estimate_job(
        self,
        steps: Sequence[Mapping[str, Any]],
        *,
        margin_percent: str | Decimal | int = 0,
        job: str | None = None,
        prices: Prices = None,
    ) -> JobEstimate:
        """As `Ledger.estimate_job`; a price file is read here."""
        if job is None:
            return super().estimate_job(steps, margin_percent=margin_percent, prices=prices)
        body = {
            "steps": sendable(steps),
            "margin_percent": str(read_margin(margin_percent)),
            "prices": _prices(prices),
        }
        if not steps:
            raise InvalidInput("an estimate has at least one step", code="missing_field", field="steps")
        return self.transport.send("PUT", f"/v1/estimates/{_quoted(read_text(job, 'job'))}", JobEstimate, body)

    def estimate_against(self, job: str) -> EstimateComparison:
        """As `Ledger.estimate_against`."""
        self._flush()
        return self.transport.ask(f"/v1/estimates/{_quoted(read_text(job, 'job'))}", EstimateComparison)


def _prices(prices: Prices) -> dict[str, str] | None:
    if prices is None:
        return None
    sent = prices if isinstance(prices, PriceText) else price_text(Path(prices))
    return {"text": sent.text, "name": sent.name}


def _quoted(name: str) -> str:
    return quote(name, safe="")
