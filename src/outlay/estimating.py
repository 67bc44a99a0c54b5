"""The estimating half of a ledger: what a stack will cost a month, what a job will cost, and what they did cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from outlay.analysing import LedgerAnalysis
from outlay.analytics.against import BilledComparison, beside_bill
from outlay.analytics.estimate import (
    EstimateComparison,
    JobEstimate,
    KeptEstimate,
    compare_estimate,
    estimate_job,
    kept,
)
from outlay.analytics.stack import Difference, Span, Stack, StackEstimate, differences, price_stack
from outlay.analytics.stack_file import StackFile, read_stack_file
from outlay.analytics.volumes import shipped_volumes
from outlay.arguments import When, read_text
from outlay.capture.intake import build_event
from outlay.clock import DAY_MICROSECONDS
from outlay.errors import InvalidInput, NotFound
from outlay.model import Rating, UsageEvent
from outlay.money import parse_decimal
from outlay.pricing.book import PriceBook
from outlay.pricing.card import read_price_file
from outlay.pricing.ends import End
from outlay.pricing.rate import rate
from outlay.recorder import Recorder

ESTIMATE: Final = "estimate"
"""The kind of note under which a job's estimate is kept."""

MARGIN_PERCENT_MAX: Final = 1_000


class PriceText(NamedTuple):
    """A price file's text, where the file itself is elsewhere."""

    text: str
    name: str = "sent"


Prices = str | Path | PriceText | None
"""A price file: its path, or its text."""


class LedgerEstimates(LedgerAnalysis):
    """What a ledger says a thing will cost before it is made."""

    recorder: Recorder

    @property
    def book(self) -> PriceBook:
        """The price book in force."""
        return self.recorder.refresh()

    def estimate_job(
        self,
        steps: Sequence[Mapping[str, Any]],
        *,
        margin_percent: str | Decimal | int = 0,
        job: str | None = None,
        prices: Prices = None,
    ) -> JobEstimate:
        """Price a job before it is made: each step has the fields of `record`, `count` for calls alike.

        A price that is a range makes a low and a high total. With `job` the estimate is kept under that name, the
        last word counts, and `estimate_against` later compares it with what the job cost. `prices` is a price file
        that holds for this estimate only. Raises InvalidInput as `record` does.
        """
        now = self.clock.now()
        margin = read_margin(margin_percent)
        if not steps:
            raise InvalidInput("an estimate has at least one step", code="missing_field", field="steps")
        events = [_step(fields, at, now, self.currency) for at, fields in enumerate(steps)]
        found = estimate_job(events, self._both_ends(prices), margin_percent=margin, currency=self.currency)
        if job is not None:
            body = msgspec.json.encode(kept(found, read_text(job, "job"), now))
            while not self.store.put_note(
                ESTIMATE, job, body, expects=self.store.note(ESTIMATE, job), at=now, live=False
            ):
                pass
        return found

    def estimate_against(self, job: str) -> EstimateComparison:
        """A job's kept estimate beside what it cost so far. Raises NotFound `no_such_estimate`, `no_such_job`."""
        body = self.store.note(ESTIMATE, read_text(job, "job"))
        if body is None:
            raise NotFound(f"no estimate is kept for job {job[:60]!r}", code="no_such_estimate")
        made = self.job(job)
        actual = [(one.event.provider, one.event.service, one.rating.amount) for one in made.receipts]
        return compare_estimate(msgspec.json.decode(body, type=KeptEstimate), actual, self.currency)

    def estimate_stack(self, stack: Stack, *, prices: Prices = None) -> StackEstimate:
        """A stack's month and year by the prices in force, and by a price file that holds for this estimate only."""
        return self._priced_stacks([stack], prices)[0]

    def estimate_scenarios(self, file: StackFile, *, prices: Prices = None) -> tuple[StackEstimate, list[Difference]]:
        """The stack of a file, and what each of its scenarios would change."""
        base, *others = self._priced_stacks([file.stack, *file.scenarios.values()], prices)
        return base, differences(base, dict(zip(file.scenarios, others, strict=True)))

    def stack_against(
        self, estimate: StackEstimate, *, since: When, until: When = None, units: Mapping[str, int] | None = None
    ) -> BilledComparison:
        """A stack's estimate for a period beside what the ledger holds of it, row by row.

        `units` says how many units of each work were really made. Raises InvalidInput `empty_period`.
        """
        first, last = self._period((since, until), self._zone_or_home(None))
        rows = self.costs(("provider", "service"), since=first, until=last).rows
        billed = {(str(row.keys[0]), str(row.keys[1])): row.amount for row in rows}
        return beside_bill(estimate, billed, Fraction(last - first, DAY_MICROSECONDS), units)

    def _priced_stacks(self, stacks: Sequence[Stack], prices: Prices) -> list[StackEstimate]:
        now, span = self.clock.now(), self._both_ends(prices)
        return [price_stack(stack, span, shipped_volumes(), at=now, currency=self.currency) for stack in stacks]

    def _both_ends(self, prices: Prices) -> Span:
        book = self.book
        if prices is not None:
            # Told last, so that where the ledger has a price for the same thing this file's holds.
            sent = prices if isinstance(prices, PriceText) else price_text(prices)
            told = read_price_file(sent.text, sent.name, recorded_at=self.clock.now())
            book = book.with_rates((*book.user_rates, *told.rates))
        low, high = book.at(End.LOW), book.at(End.HIGH)

        def span(event: UsageEvent) -> tuple[Rating, Rating]:
            return rate(event, low), rate(event, high)

        return span


def price_text(path: str | Path) -> PriceText:
    """A price file, read. Raises InvalidInput `no_such_file`."""
    return PriceText(_text_of(path), str(path))


def load_stack(path: str | Path) -> StackFile:
    """A stack's file. Raises InvalidInput `no_such_file`, `bad_stack`, `bad_scenario`."""
    return read_stack_file(_text_of(path), str(path))


def read_margin(value: str | Decimal | int) -> Decimal:
    """A margin in percent, from 0 to 1,000. Raises InvalidInput `bad_margin`."""
    if isinstance(value, bool) or not isinstance(value, str | Decimal | int):
        raise InvalidInput("margin_percent is a number such as '10'", code="bad_margin", field="margin_percent")
    margin = parse_decimal(str(value), "margin_percent")
    if not 0 <= margin <= MARGIN_PERCENT_MAX:
        raise InvalidInput("margin_percent is from 0 to 1,000", code="bad_margin", field="margin_percent")
    return margin


def _step(fields: Mapping[str, Any], at: int, now: int, currency: str) -> tuple[str, UsageEvent]:
    if not isinstance(fields, Mapping):
        raise InvalidInput("a step is the fields of one call, as for record", code="bad_event", field="steps")
    event = build_event(fields, now, currency, id=f"step-{at + 1}")
    return event.step or event.operation or event.service, event


def _text_of(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InvalidInput(f"{path} cannot be read: {why}", code="no_such_file") from error
