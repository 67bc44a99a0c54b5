"""A ledger in memory, one in a file and one behind a server answer alike: figures, receipts, refusals, errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.served import Served

import outlay
from outlay.analytics.advise_stack import Utilisation
from outlay.analytics.stack_file import stack_file_of
from outlay.api import Ledger
from outlay.capture.statements import BilledRow
from outlay.clock import isoformat
from outlay.estimating import PriceText
from outlay.remote import RemoteLedger
from outlay.wire import encoded

CHAT: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "operation": "chat"}
DOLLAR: dict[str, Any] = {"usage": {"output_tokens": 100_000}}  # 100,000 × $10.00 a million = $1.00
BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Say when."}]}

INHERITED = {
    *("add_rate", "attribute", "calls_found", "calls_told", "client_watcher", "keep_call", "keep_extraction"),
    *("alert_link", "channel_maker", "channel_settings", "mail_settings", "own_reports", "report_writer"),
    "suggest_alerts",
    *("allocate", "estimate_scenarios", "estimate_stack", "stack_against"),
    *("estimate", "estimated", "events_seen", "keep_seen"),
    *("record", "record_call", "record_many", "record_response", "track", "tracked", "watch"),
}
"""What needs no word of its own for a server: it stands on what does."""


def _public(kind: type) -> dict[str, Any]:
    return {name: inspect.getattr_static(kind, name) for name in dir(kind) if not name.startswith("_")}


def _own(kind: type, name: str) -> bool:
    return any(name in vars(base) for base in kind.__mro__ if base.__module__.startswith("outlay.remote"))


def test_every_method_of_a_ledger_is_there_for_a_server_with_the_same_signature() -> None:
    here, there = _public(Ledger), _public(RemoteLedger)
    assert here.keys() <= there.keys()
    assert {name for name in here if not _own(RemoteLedger, name)} == INHERITED
    for name, method in here.items():
        if inspect.isfunction(method):
            assert inspect.signature(method) == inspect.signature(there[name]), name


@dataclass
class Told:
    """What a ledger told, step by step, as plain data."""

    steps: list[Any]

    def __call__(self, value: Any) -> None:
        self.steps.append(msgspec.to_builtins(value, enc_hook=repr) if isinstance(value, msgspec.Struct) else value)

    def refused(self, action: Callable[[], Any]) -> None:
        with pytest.raises(outlay.OutlayError) as raised:
            action()
        error = raised.value
        facts = {name: getattr(error, name, None) for name in ("field", "budget", "spent", "asked", "opens_at")}
        self.steps.append((type(error).__name__, error.code, error.message, facts))


def record_and_ask(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    told(ledger.record(**CHAT, **DOLLAR, user="u1", job="v 1/ä?", tags={"arm": "x"}, id="a/b c").as_dict())
    told(ledger.record(**CHAT, **DOLLAR, user="u1", job="v 1/ä?", tags={"arm": "x"}, id="a/b c").outcome)
    told.refused(lambda: ledger.record(**CHAT, usage={"output_tokens": 7}, id="a/b c"))
    told.refused(lambda: ledger.record(provider="openai", service="gpt-4o", usage={"input_tokens": -1}))
    told.refused(lambda: ledger.record(**CHAT, usage={"input_tokens": 1, "cache_read_tokens": 2}))
    told.refused(lambda: ledger.record(**CHAT, **DOLLAR, time="2026-03-10T13:00:00Z"))
    told(
        ledger.record(**CHAT, usage={"output_tokens": 50_000}, user="u2", time="2026-03-09T23:59:59Z", id="c").outcome
    )
    told(ledger.record(provider="openai", service="gpt-unheard-of", usage={"input_tokens": 1}, id="d").as_dict())
    outcomes = ledger.record_many([{**CHAT, **DOLLAR, "id": "e"}, {"provider": "x"}, {**CHAT, "id": "c"}])
    told([(one.index, one.id, one.code, one.amount, one.message) for one in outcomes])
    told(ledger.costs(("day", "user"), quantities=True, percentiles=True).as_dicts())
    told(ledger.costs("tag.arm", where={"user": ["u1", None]}, since="2026-03-09", until="2026-03-11").as_dicts())
    told([row.keys for row in ledger.costs("hour", zone="Asia/Kolkata")])
    told(ledger.costs(where={"user": None}, as_of=timedelta(0)).total.amount)
    told(ledger.top("service", limit=1, minimum="0.10").as_dicts())
    told.refused(lambda: ledger.costs("colour"))
    told(ledger.event("a/b c", day="2026-03-10").explain())
    told(ledger.job("v 1/ä?").as_dict())
    told.refused(lambda: ledger.job("nothing"))
    told.refused(lambda: ledger.request("nothing"))
    told.refused(lambda: ledger.event("nothing"))
    told([receipt.id for receipt in ledger.events(where={"user": ["u1", "u2"]}, since="2026-03-01")])


def correct_and_keep(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    for number in range(3):
        ledger.record(**CHAT, **DOLLAR, id=f"n{number}", customer="acme", user="u1", job="j")
    told(ledger.correct("n0", reason="other customer", customer="globex").as_dict())
    told(ledger.correct("n0", reason="nobody's", customer=None).event.customer)
    told(ledger.cancel("n1", reason="a test").as_dict())
    told.refused(lambda: ledger.cancel("n1", reason="again"))
    told.refused(lambda: ledger.correct("n0", reason="", user="u"))
    told([(one.kind, one.sign, one.reason) for one in ledger.event("n0").versions])
    ledger.finish("j", units=4)
    told(ledger.job("j").cost_per_unit)
    rate: dict[str, Any] = {"provider": "openai", "service": "gpt-4o", "meter": "output_tokens", "per": 1_000_000}
    told(ledger.add_rate(**rate, price="5.00", source="contract", valid_from="2026-03-01").price)
    told.refused(lambda: ledger.add_rate(**rate, price="5000", source="typed wrong"))
    dry = ledger.reprice(dry_run=True)
    told((dry.examined, dry.changed, dry.before, dry.after, dry.rows))
    told(ledger.reprice().difference)
    told(ledger.price(**CHAT, usage={"output_tokens": 1_000_000}).total)
    told([rate.price for rate in ledger.book.rates("openai", "gpt-4o") if rate.origin == "user"])
    ledger.add_exchange_rate(currency="EUR", price="1.25", date="2026-03-01", source="a bank")
    told(ledger.forget(user="u1"))
    told(ledger.costs("user").as_dicts()[0]["events"])
    told.refused(lambda: ledger.forget())
    rows = [
        BilledRow(
            date=datetime(2026, 3, 1, tzinfo=UTC).date(),
            service="Pinecone",
            resource="index",
            cost="12.50",
            quantity="1",
            unit="month",
            provider="pinecone",
        )
    ]
    told(ledger.import_statement(rows, source="bill.csv"))
    told(ledger.import_statement(rows, source="bill.csv").known)
    clock.advance(days=40)
    told(ledger.retain(days=30).entries)
    told(msgspec.structs.replace(ledger.audit(), rollup_cells=0))


def budget_and_reserve(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    told(ledger.budget("day", limit="0.10", window="day", where={"provider": "openai"}, action="refuse", why="trial"))
    told(ledger.budget("each", each="user", tiers={"free": {"day": "0.05"}, "pro": {"day": "1"}}, marks=[50, ">80%"]))
    told.refused(lambda: ledger.budget("bad name!", limit="1", window="day"))
    told.refused(lambda: ledger.budget("x", limit="1", window="fortnight"))
    with ledger.reserve(**CHAT, user="u1", usage={"output_tokens": 5000}, id="r1") as held:
        told((held.id, held.outcome, held.service, held.output_tokens_max, held.bound.total))
        told(ledger.reservation("r1").state)
        told(ledger.reserve(**CHAT, user="u1", usage={"output_tokens": 5000}, id="r1").outcome)
        told(held.settle(usage={"output_tokens": 4000}, tags={"arm": "y"}).as_dict())
    told.refused(lambda: ledger.reserve(**CHAT, usage={"output_tokens": 8000}))
    told(held.settle(usage={"output_tokens": 4000}, tags={"arm": "y"}).outcome)
    told.refused(lambda: held.settle(usage={"output_tokens": 4001}))
    open_one = ledger.reserve(**CHAT, user="u2", body=BODY)
    told((open_one.body, open_one.extend(60)))
    told(ledger.check(**CHAT, usage={"output_tokens": 9000}).refusals[0].code)
    told((ledger.affordable(provider="openai", body=BODY), ledger.bound(provider="openai", body=BODY)))
    told(open_one.release())
    told.refused(lambda: ledger.reservation("nobody"))
    ledger.subject("user", "u1", tier="pro")
    told([(one.key.budget, one.key.subject, one.tier, one.limit, one.spent, one.warning) for one in ledger.budgets()])
    told([one.spent for one in ledger.budgets("each", subject="u1")])
    told(ledger.raise_budget("day", Decimal("0.05"), until="2026-03-12", reason="launch", who="ann"))
    told((ledger.usage_block(user="u1"), ledger.uncovered_budgets()))
    told([one.refusal.code for one in ledger.refusals("day")[1]])
    late = ledger.reserve(**CHAT, usage={"output_tokens": 100}, deadline_s=5, id="late")
    clock.advance(seconds=6)
    told(ledger.expire())
    told((late.settle(usage={"output_tokens": 90}).outcome, ledger.costs().total))
    told([one.name for one in ledger.defined_budgets()])
    ledger.remove_budget("each", why="over")
    told.refused(lambda: ledger.remove_budget("each", why="again"))
    told([(one.who, one.what, one.why) for one in ledger.budget_history("each")])


def watch_and_report(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    told(ledger.alert_rule("day", at="1", marks=[80, 100], where={"provider": "openai"}, owner="ana"))
    told.refused(lambda: ledger.alert_rule("day", kind="noise"))
    told.refused(lambda: ledger.remove_alert_rule("nobody"))
    told(ledger.alert_rule("quiet", kind="silence", minutes=30))
    told([rule.name for rule in ledger.alert_rules()])
    for day in range(3, 11):
        at = f"2026-03-{day:02}T09:00:00Z"
        ledger.record(**CHAT, **DOLLAR, user="u1", feature="x" if day < 8 else None, time=at, id=f"d{day}")
    told(ledger.alerts())
    told(ledger.undelivered_alerts().watched_until)
    told(ledger.snooze_alerts("day", until=timedelta(hours=2)))
    told.refused(lambda: ledger.snooze_alerts("day", until=None))
    for action in (ledger.acknowledge_alert, ledger.resolve_alert, ledger.resend_alert):
        told.refused(partial(action, "nobody"))
    told.refused(lambda: ledger.own_alert("nobody", "ana"))
    told.refused(lambda: ledger.test_channel("nobody"))
    told([(one.window, one.amount, one.fired) for one in ledger.suggest_alerts()])
    ledger.note_day("2026-03-10", "a note")
    ledger.record(**CHAT, **DOLLAR, job="v 1/ä?", time="2026-03-10T09:30:00Z", id="noted")
    ledger.note_job("v 1/ä?", "made twice")
    told.refused(lambda: ledger.note_job("nothing", "words"))
    told.refused(lambda: ledger.note_anomaly("nothing", "words"))
    told.refused(lambda: ledger.notes("user"))
    told((ledger.notes(), ledger.notes("job"), ledger.notes("job", "v 1/ä?"), ledger.notes("anomaly", "x")))
    told(ledger.report("day", running=True))
    told(ledger.report("month", running=True, by=("user",), where={"user": "u1"}, title="Own", zone="Asia/Kolkata"))
    told(ledger.report(since="2026-03-04", until="2026-03-06", by=()))
    told.refused(lambda: ledger.report("fortnight"))
    told.refused(lambda: ledger.report(by=("colour",)))
    told.refused(lambda: ledger.own_report("nobody"))
    told.refused(lambda: ledger.send_report("nobody"))
    told(ledger.report_dispatches())
    told(ledger.forecast("month", by="feature"))
    told.refused(lambda: ledger.forecast("hour"))
    told(ledger.anomalies(since=timedelta(days=3), amount="0.10"))
    told.refused(lambda: ledger.anomalies(amount="-1"))
    told.refused(lambda: ledger.judge_anomaly("nothing-1", "expected", why="a sale"))
    weeks: dict[str, Any] = {"before": ("2026-03-03", "2026-03-06"), "after": ("2026-03-08", None)}
    told(ledger.compare("user", **weeks))
    told(ledger.compare((), **weeks, where_before={"feature": "x"}, where_after={"feature": None}))
    told.refused(lambda: ledger.compare(before=(None, None), after=("2026-03-08", None)))


STACK: dict[str, Any] = {
    "stack": {"name": "app", "region": "us-east-1", "environment": "production"},
    "resource": {
        "database": {"kind": "rds", "instance": "db.t3.small", "storage_gb": Decimal("20.5")},
        "logs": {"kind": "logs", "gb_ingested": 10, "retention_days": 30},
    },
    "scenario": {"small": {"resource.database.instance": "db.t3.micro"}},
}
PRICES = """
[[service]]
provider = "acme"
service = "x"
source = "an offer"
rates = [{ meter = "images", price = "0.25" }]
"""


def advise_and_estimate(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    for number in range(40):
        at = f"2026-03-0{number // 5 + 1}T09:0{number % 5}:00Z"
        usage = {"input_tokens": 20_000, "output_tokens": 60}
        ledger.record(**CHAT, usage=usage, feature="classify", user="u1", job="j", id=f"c{number}", time=at)
    stack = stack_file_of(STACK)
    told.refused(lambda: ledger.advice(days=0))
    told.refused(lambda: ledger.advice(prices="no/such/file.toml", stack=stack))
    busy = [Utilisation(resource="database", metric="cpu", hours=((Decimal("3.5"), Decimal(9)),) * 400)]
    found = ledger.advice(stack=stack, utilisation=busy, prices=PriceText(PRICES, "own"), where={"user": "u1"})
    told(encoded(found).decode())
    told([(one.item.text, one.tick, one.fact) for one in ledger.checklist(found, stack=stack, utilisation=busy)])
    told(len(ledger.checklist(found, facts={"lifecycle": (True, "read")})))
    measure = next(one for one in found.measures if one.where)
    told(ledger.decide_advice(measure, "accepted", why="cheaper", who="ann"))
    told.refused(lambda: ledger.decide_advice(measure, "perhaps"))
    told(ledger.accepted_advice())
    clock.advance(days=2)
    told(encoded(ledger.advice_effect(measure.id)).decode())
    told.refused(lambda: ledger.advice_effect("nothing"))
    steps = [
        {**CHAT, "usage": {"output_tokens": 100_000}},
        {"provider": "acme", "service": "x", "usage": {"images": 2}},
    ]
    told(ledger.estimate_job(steps, prices=PriceText(PRICES), margin_percent="10").amounts)
    told(ledger.estimate_job(steps, prices=PriceText(PRICES), job="j").total)
    told.refused(lambda: ledger.estimate_job([], job="j"))
    told.refused(lambda: ledger.estimate_job(steps, job="j", margin_percent=-1))
    told(ledger.estimate_against("j"))
    told.refused(lambda: ledger.estimate_against("nothing"))
    told([one.change for one in ledger.estimate_scenarios(stack)[1]])


def bill_and_reconcile(ledger: outlay.Ledger, clock: outlay.FrozenClock, told: Told) -> None:
    ledger.record(**CHAT, **DOLLAR, user="u1", time="2026-03-02T09:00:00Z")
    ledger.record(**CHAT, **DOLLAR, time="2026-03-02T10:00:00Z")
    told.refused(lambda: ledger.reconcile())
    row: dict[str, Any] = {"date": date(2026, 3, 2), "resource": "", "quantity": "1", "unit": "month"}
    bill = [
        BilledRow(service="gpt-4o", provider="openai", cost="2.50", **row),
        BilledRow(service="Pinecone", provider="pinecone", cost="12.50", **row),
    ]
    ledger.import_statement(bill, source="march.csv", metered=["openai"])
    told(ledger.statements())
    for one in ledger.statements():
        told.refused(lambda: list(ledger.statement_rows("nothing")))
        told(list(ledger.statement_rows(one.id)))
    told(encoded(ledger.reconcile(dry_run=True)).decode())
    told(ledger.costs(view="reconciled").total)
    told(encoded(ledger.reconcile(provider="openai", since="2026-03-01", until=date(2026, 3, 5))).decode())
    told(ledger.costs(view="reconciled").total)
    told.refused(lambda: ledger.reconcile("no such bill"))
    told.refused(lambda: ledger.reconcile(drift="-1"))
    told(encoded(ledger.allocate("user", where={"provider": "openai"})).decode())
    told.refused(lambda: ledger.allocate("user", rule="fair"))
    told.refused(lambda: ledger.balance("openai"))
    told(ledger.note_balance("openai", "50.00", at="2026-03-01", source="invoice"))
    told(ledger.note_balance("deepseek", Decimal(3)))
    told((ledger.balance("openai", days=7), ledger.balances()))
    told.refused(lambda: ledger.balance("openai", days=0))


def _play(script: Callable[..., None], ledger: outlay.Ledger, clock: outlay.FrozenClock) -> list[Any]:
    told = Told([])
    script(ledger, clock, told)
    return told.steps


SCRIPTS = [
    record_and_ask,
    correct_and_keep,
    budget_and_reserve,
    watch_and_report,
    advise_and_estimate,
    bill_and_reconcile,
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_same_program_is_told_the_same_of_every_ledger(
    script: Callable[..., None], remote: outlay.Ledger, clock: outlay.FrozenClock, tmp_path: Path
) -> None:
    start = clock.now()
    behind_a_server = _play(script, remote, clock)
    clock.set(start)
    with outlay.open("memory:", clock=clock) as memory:
        in_memory = _play(script, memory, clock)
    clock.set(start)
    with outlay.open(str(tmp_path / "other.db"), clock=clock) as file:
        in_a_file = _play(script, file, clock)
    for step, (one, other, third) in enumerate(zip(behind_a_server, in_a_file, in_memory, strict=True)):
        assert one == other == third, step


def test_what_only_the_servers_host_can_do_is_refused_by_name(remote: outlay.Ledger, tmp_path: Path) -> None:
    for action in (
        lambda: remote.backup(tmp_path / "copy.db"),
        lambda: remote.watcher({}),
        lambda: remote.define_report("r", recipients=["a@b.example"]),
        lambda: remote.store.epoch(),
        lambda: remote.recorder.refresh(),
        lambda: remote.reserver.worst(None),  # type: ignore[arg-type]
    ):
        with pytest.raises(outlay.LedgerError) as refused:
            action()
        assert refused.value.code == "not_remote"


def test_doctor_names_the_server_and_what_waits_here(remote: outlay.Ledger, serving: Served) -> None:
    facts = remote.doctor()
    assert facts["server"] == serving.address
    assert facts["waiting_here"] == "0"
    assert facts["currency"] == "USD"


def test_the_prompt_of_a_reserved_request_does_not_leave_the_process(
    remote: RemoteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    tried = remote.transport._tried

    def watching(method: str, path: str, content: bytes | None, *rest: Any) -> Any:
        sent.append(content or b"")
        return tried(method, path, content, *rest)

    monkeypatch.setattr(remote.transport, "_tried", watching)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "the secret of the house"}]}
    remote.budget("b", limit="1", window="day", action="downgrade", downgrade_to=["gpt-4o-mini"])
    with remote.reserve(provider="openai", body=body) as held:
        assert held.body is not None
        assert held.body["max_completion_tokens"] > 0
        held.settle(usage={"output_tokens": 3})
    assert sent
    assert not any(b"secret" in content for content in sent)


def test_what_the_servers_watcher_raised_is_there_for_its_clients(remote: outlay.Ledger, kept: outlay.Ledger) -> None:
    remote.alert_rule("day", above="1", owner="ana")
    remote.record(**CHAT, usage={"output_tokens": 200_000}, user="u1")
    kept.watcher({}).round(timed=True)
    (alert,) = remote.alerts(open_only=True)
    assert [alert] == kept.alerts()
    assert remote.own_alert(alert.id, "bob").owner == "bob"
    assert remote.acknowledge_alert(alert.id, who="ana").acknowledged_by == "ana"
    assert remote.resolve_alert(alert.id) == kept.alerts()[0]
    assert remote.resend_alert(alert.id).state == "resolved"
    assert remote.undelivered_alerts() == kept.undelivered_alerts()
    assert remote.undelivered_alerts().watched_until is not None


def test_a_report_that_the_server_defines_is_asked_for_and_sent_by_its_clients(
    remote: outlay.Ledger, kept: outlay.Ledger
) -> None:
    got: list[Any] = []
    kept.channel_settings = {"list": got.append}
    kept.define_report("daily", recipients=["list"], form="markdown", by=["user"], columns=["Cost"])
    remote.record(**CHAT, **DOLLAR, user="u1", time="2026-03-09T10:00:00Z")
    assert remote.own_report("daily") == kept.own_report("daily")
    sent = remote.send_report("daily")
    assert (sent.label, sent.pending, len(got)) == ("2026-03-09", False, 1)
    assert remote.send_report("daily") == sent
    assert (remote.report_dispatches(), len(got)) == ([sent], 1)
    assert remote.send_report("daily", again=True).deliveries[0].sent_at is not None
    assert len(got) == 2


def test_an_anomaly_is_the_same_here_and_there_and_judged_from_here(
    remote: outlay.Ledger, kept: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    spend: dict[str, Any] = {"provider": "aws", "service": "ECS", "feature": "render"}
    for day in range(40):
        time = isoformat(clock.now() - (40 - day) * 86_400 * 10**6)
        kept.record(**spend, reported_cost="30" if day == 39 else "10", time=time)
    (episode,) = remote.anomalies()
    assert [episode] == kept.anomalies()
    judged = remote.judge_anomaly(episode.id, "expected", why="a sale", who="ana")
    assert (judged.who, judged.why) == ("ana", "a sale")
    assert remote.anomalies() == kept.anomalies() == []
    assert remote.anomalies(judged=True)[0].verdict == "expected"
