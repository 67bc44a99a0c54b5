"""However many rules there are, each is watched and each can be silenced."""

from __future__ import annotations

import outlay
from outlay.budgets.alert_rules import AlertRule, RuleKind
from outlay.watcher import AlertBook


def test_no_rule_goes_unwatched_because_there_are_many(memory: outlay.Ledger) -> None:
    book = AlertBook(memory.store)
    for number in range(1_001):
        book.put_rule(AlertRule(name=f"r{number:04}", kind=RuleKind.SPEND, amount=1), number)
        book.snooze(f"r{number:04}", 10, number)
    assert [rule.name for rule in book.rules()] == [f"r{number:04}" for number in range(1_001)]
    assert len(book.snoozed()) == 1_001
