"""A program that imports Outlay and has its own idea of decimal arithmetic: what it was told, line by line."""

from __future__ import annotations

import decimal
import sys
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parents[2] / "examples"
EVERY = list(Context().traps)
BUT_HARMLESS = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.Inexact, decimal.Rounded]

CONTEXTS: dict[str, Callable[[], Context]] = {
    "own": lambda: Context(),
    "short": lambda: Context(prec=3, rounding=decimal.ROUND_UP),
    "trapped": lambda: Context(prec=9, traps=EVERY),
    "narrow": lambda: Context(prec=2, Emax=2, Emin=-2, rounding=decimal.ROUND_FLOOR, traps=BUT_HARMLESS),
    "silent": lambda: Context(prec=1, Emax=1, Emin=-1, rounding=decimal.ROUND_CEILING, traps=[], clamp=1),
}


def keep(ledger: Any) -> Iterator[object]:
    """Record, price, correct and track fractions, told as Decimals, floats and texts."""
    from outlay import InvalidInput

    whisper = {"provider": "openai", "service": "whisper-1", "user": "ann"}
    yield ledger.record(**whisper, usage={"audio_seconds": Decimal("12345.678901234")}, id="1").total
    yield ledger.record(**whisper, usage={"audio_seconds": "12345.678901234"}, id="1").outcome
    yield ledger.record(**whisper, usage={"audio_seconds": 1234567.891}, duration_s=1.23456789).total
    yield ledger.record(**whisper, usage={"audio_seconds": 1}, reported_cost=0.1234567890123).total
    for wrong in ("12345.6789012345", "NaN", "twelve"):
        try:
            ledger.record(**whisper, usage={"audio_seconds": wrong})
        except InvalidInput as error:
            yield error.code
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [],
        "usage": {"prompt_tokens": 123456789, "completion_tokens": 98765, "total_tokens": 123555554},
    }
    yield ledger.record_response(body, provider="openai", user="bob").total
    yield ledger.price(**whisper, usage={"audio_seconds": Decimal("7.123456789")}, count=1234567).explain()
    yield ledger.correct("1", reason="half", usage={"audio_seconds": Decimal("6172.839450617")}).total
    with ledger.track(**whisper, usage={"audio_seconds": Decimal("1.000000001")}) as call:
        call.usage(audio_seconds=Decimal("99999.123456789"))
    assert call.receipt is not None
    yield call.receipt.total
    yield ledger.record(provider="acme", service="box", usage={"hours": Decimal("12345.678901234")}).total


def cap(ledger: Any) -> Iterator[object]:
    """Budgets of money and of a meter: reserve, settle, refuse, and how full they are."""
    from outlay import BudgetExceeded

    ledger.budget("all", limits={"month": "123.456789"}, marks=["33.25%", "80"])
    ledger.budget("heard", each="user", meter="audio_seconds", limits={"day": "123456.789012345"}, action="refuse")
    asked = {"provider": "openai", "service": "whisper-1", "user": "eve"}
    with ledger.reserve(**asked, usage={"audio_seconds": Decimal("123400.123456789")}) as held:
        yield held.settle(usage={"audio_seconds": Decimal("123000.987654321")}).total
    try:
        ledger.reserve(**asked, usage={"audio_seconds": Decimal("455.801358025")})
    except BudgetExceeded as refusal:
        yield str(refusal)
    yield ledger.usage_block(user="eve", meter="audio_seconds")
    for name, subject in (("all", None), ("heard", "eve"), ("heard", None)):
        yield ledger.budgets(name, subject=subject)


def ask(ledger: Any) -> Iterator[object]:
    """Costs, analysis, a bill, a report, an estimate and an export."""
    from outlay.analytics.stack_file import read_stack_file
    from outlay.capture.statements import BilledRow
    from outlay.faces.export.charges import Chosen, Tally, charges_of
    from outlay.faces.export.focus import Account, focus_rows
    from outlay.faces.export.usage import customer_usage, read_markup, usage_row
    from outlay.meters import METERS

    yield ledger.costs(by=("user", "meter"), quantities=True).as_dicts()
    yield ledger.costs(by="day", quantities=True, percentiles=True).as_dicts()
    for provider, service, meter, quantity in (
        ("aws", "Amazon RDS", "hours", "98765.4321098765"),
        ("openai", "whisper-1", "audio_seconds", "1430344.123456789"),
    ):
        row = BilledRow(
            date=date(2026, 3, 10),
            service=service,
            resource="",
            cost="143.123456789012",
            quantity=quantity,
            unit=METERS[meter].unit,
            meter=meter,
            provider=provider,
            sku=meter,
        )
        yield ledger.import_statement([row], source=f"bill of {provider}", zone="UTC")
    found = ledger.reconcile()
    yield [(name, service, str(one.billed), one.causes) for name, service, one in found.by_service()]
    yield ledger.report("day", running=True)
    yield ledger.forecast("month")
    yield ledger.anomalies(amount="0.01")
    yield ledger.compare(before=("2026-03-09", "2026-03-10"), after=("2026-03-10", "2026-03-11"))
    yield ledger.allocate("user", rule="usage")
    file = read_stack_file((EXAMPLES / "stack.toml").read_text(), "stack.toml")
    yield ledger.estimate_stack(file.stack)
    yield ledger.estimate_job(
        [{"provider": "openai", "service": "whisper-1", "usage": {"audio_seconds": Decimal("7.123456789")}}],
        margin_percent="12.345678",
    ).total
    chosen, tally = Chosen(), Tally()
    yield list(focus_rows(charges_of(ledger.events(), chosen, tally), Account(), tally))
    yield [usage_row(one) for one in customer_usage(ledger.events(), chosen, read_markup(["12.3456"]), "USD", tally)]
    yield ledger.audit()


def main(name: str, *addresses: str) -> None:
    """Print all that ledgers at these addresses answer while the program's contexts are those of this name."""
    decimal.setcontext(CONTEXTS[name]())
    if name != "own":
        decimal.DefaultContext.prec = 2  # What every thread that Outlay starts would begin with.
    import outlay

    for address in addresses:
        clock = outlay.FrozenClock("2026-03-10T12:00:00Z")
        answers: list[object] = []
        with outlay.open(address, clock=clock) as ledger:
            ledger.add_rate(provider="acme", service="box", meter="hours", price="0.0123456789", increment="0.123456")
            for part in (keep, cap, ask):
                answers.extend(part(ledger))
        with decimal.localcontext(Context()):
            for answer in answers:
                sys.stdout.write(f"{answer!s}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
