"""An alert reaches a telephone: by SNS, as Apprise asks it, against moto's."""

from __future__ import annotations

import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sns.models import sns_backends

import outlay
from outlay.clock import FrozenClock

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
"""Apprise's, where it imports all that it knows."""

REGION, NUMBER = "eu-central-1", "+14155550100"


@mock_aws
def test_an_alert_is_an_sms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY")
    url = f"sns://AKIAIOSFODNN7EXAMPLE/${{AWS_SECRET}}/{REGION}/{NUMBER}"
    with outlay.open("memory:", clock=FrozenClock("2026-03-10T10:00:00Z")) as ledger:
        ledger.alert_rule("hour", above="50", window="hour")
        ledger.record(provider="openai", service="gpt-4o", reported_cost="51", user="u1")
        assert ledger.watcher({"phone": {"url": url}}).round().sent == 1
    (sent,) = sns_backends[DEFAULT_ACCOUNT_ID][REGION].sms_messages.values()
    assert sent[0] == NUMBER
    assert "$51.00 in 2026-03-10T10:00+0000 is over $50.00" in sent[1]
