"""For your own tests: what did this code cost, and was every call booked? A pytest plugin.

    def test_a_summary_stays_cheap(outlay_ledger, assert_cost):
        summarise(text, ledger=outlay_ledger)
        assert_cost(at_most="0.01", calls=1)

The ledger is in memory, empty for each test, and is what `outlay.current_ledger()` gives meanwhile. Installed with
Outlay; where plugins are not loaded by themselves, `pytest -p outlay.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from unittest.mock import NonCallableMock

import pytest

from outlay.errors import InvalidInput
from outlay.money import parse_decimal

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.receipt import Receipt

Amount = str | int | Decimal


class CostAssertion:
    """Asserts what was recorded since the test began. `mocked` counts answers that were a mock: none is booked."""

    def __init__(self, ledger: Ledger) -> None:
        """Looks at all of `ledger`, or at what `where` chooses of it."""
        self._ledger = ledger
        self.mocked = 0

    def __call__(
        self,
        exactly: Amount | None = None,
        *,
        at_most: Amount | None = None,
        at_least: Amount | None = None,
        calls: int | None = None,
        mocked: int | None = None,
        unpriced: int = 0,
        where: Mapping[str, Any] | None = None,
    ) -> Decimal:
        """The cost, once everything holds that is given; else an AssertionError that shows every call's arithmetic.

        Amounts are in the ledger's currency, as text such as "0.0035": a float would not be exact. Unless `unpriced`
        allows for them, there may be no calls without a price, since they are in no sum, and none that a wrapper
        saw but could not book. Raises InvalidInput for an amount or a `where` that cannot be read.
        """
        self._ledger.flush()
        costs = self._ledger.costs(where=where)
        total, whole = costs.total.amount, costs.table.total
        unsure = whole.unpriced + whole.incomplete
        wrong = [
            *self._off("exactly", exactly, total, total.__eq__),
            *self._off("at most", at_most, total, total.__le__),
            *self._off("at least", at_least, total, total.__ge__),
        ]
        if calls is not None and whole.events != calls:
            wrong.append(f"made {whole.events} calls, not {calls}")
        if mocked is not None and self.mocked != mocked:
            wrong.append(f"made {self.mocked} mocked calls, not {mocked}")
        if unsure != unpriced:
            wrong.append(f"made {unsure} calls without a whole price, not {unpriced}")
        if self._ledger.capture_failures:
            wrong.append(f"made calls that could not be booked: {dict(self._ledger.capture_failures)}")
        if wrong:
            raise AssertionError(f"this code {'; it '.join(wrong)}\n{self.explain()}")
        return total

    def _off(
        self, name: str, limit: Amount | None, total: Decimal, holds: Callable[[Decimal], bool]
    ) -> Iterator[str]:
        if isinstance(limit, float):
            raise InvalidInput(
                f"{limit} is a float, which is not exact; give text such as '0.0035'", code="float_money"
            )
        if limit is not None and not holds(parse_decimal(str(limit), "amount")):
            yield f"cost {total:f}, not {name} {limit}"

    @property
    def receipts(self) -> list[Receipt]:
        """The receipts of all calls, oldest first."""
        self._ledger.flush()
        return list(self._ledger.events())

    def explain(self) -> str:
        """Every call's arithmetic."""
        return "\n".join(receipt.explain() for receipt in self.receipts) or "(no call was recorded)"


@pytest.fixture
def outlay_ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty ledger in memory, which is the process's own for the time of the test."""
    import outlay

    with outlay.open("memory:") as ledger:
        monkeypatch.setattr(outlay, "_current", ledger)
        yield ledger


@pytest.fixture
def assert_cost(outlay_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> CostAssertion:
    """Asserts what the test's code cost: `assert_cost("0.0035", calls=1)`."""
    assertion = CostAssertion(outlay_ledger)
    record_response = outlay_ledger.record_response

    def counted(response: object, **fields: Any) -> Any:
        if not isinstance(response, NonCallableMock):
            return record_response(response, **fields)
        # A mock tells no usage: what it stands for was not paid for.
        assertion.mocked += 1
        return outlay_ledger.price(provider=fields.get("provider") or "mock", service=fields.get("service") or "mock")

    monkeypatch.setattr(outlay_ledger, "record_response", counted)
    return assertion
