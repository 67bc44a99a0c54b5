"""What is published to CloudWatch, and that every widget and alarm queries a series which really is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fake_aws import FakeAws, client

import outlay
from outlay.errors import InvalidInput, LedgerError
from outlay.faces.aws.dashboard import dashboard_body
from outlay.faces.aws.definition import Definition, read_definition
from outlay.faces.aws.publishing import BYTES_MAX, DATA_MAX, Publisher, metric_data
from outlay.faces.aws.resources import Kind, resources_of
from outlay.faces.aws.series import Series, emf_logs, values_of
from outlay.instrument.envelope import RequestCost
from outlay.ledger.store import EntryFilter
from outlay.model import Entry

DIMENSIONS = ["Provider", "Operation", "Success", "Service", "Model", "Feature", "Customer", "Team"]
Sent = list[tuple[str, list[dict[str, Any]]]]


def spend(ledger: outlay.Ledger) -> None:
    """Three calls of two providers; a fourth failed."""
    known: Any = {"feature": "story", "customer": "acme", "team": "red", "time": "2026-03-10T11:00:10Z"}
    for provider, operation, cost in (
        ("replicate", "generateImage", "0.0052"),
        ("replicate", "generateImage", "0.0052"),
        ("stability", "upscaleImage", "0.006"),
    ):
        ledger.record(provider=provider, service="m1", operation=operation, reported_cost=cost, **known)
    ledger.record(
        provider="stability",
        service="m1",
        operation="upscaleImage",
        reported_cost="0.006",
        status="failed",
        **known,
    )
    ledger.record(
        provider="openai", service="gpt-4o", operation="chat", usage={"input_tokens": 9, "output_tokens": 4}, **known
    )


def entries_of(ledger: outlay.Ledger) -> list[Entry]:
    return list(ledger.store.entries(EntryFilter(live_only=False)))


def publisher(ledger: outlay.Ledger, definition: Definition, sent: Sent) -> Publisher:
    return Publisher(ledger.store, ledger.clock, definition, lambda namespace, data: sent.append((namespace, data)))


def sums(sent: Sent) -> dict[tuple[str, tuple[tuple[str, str], ...]], Decimal]:
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Decimal] = {}
    for _, data in sent:
        for each in data:
            key = each["MetricName"], tuple((one["Name"], one["Value"]) for one in each["Dimensions"])
            amount = each["StatisticValues"]["Sum"] if "StatisticValues" in each else each["Value"]
            found[key] = found.get(key, Decimal(0)) + Decimal(repr(amount))
    return found


def test_each_set_of_dimensions_has_its_own_sum(memory: outlay.Ledger) -> None:
    spend(memory)
    sent: Sent = []
    publisher(memory, read_definition({"preset": "ai"}), sent).run()
    found = sums(sent)
    # 2 × 0.0052 + 2 × 0.006, and 9 × 2.5 / 10⁶ + 4 × 10 / 10⁶.
    assert found["OperationCost", ()] == Decimal("0.0224625")
    assert found["OperationCost", (("Provider", "replicate"),)] == Decimal("0.0104")
    failed = (("Provider", "stability"), ("Operation", "upscaleImage"), ("Success", "false"))
    assert found["OperationCost", failed] == Decimal("0.006")
    assert found["InputTokens", (("Model", "gpt-4o"),)] == 9


def test_a_minute_of_a_series_is_one_statistic_set(memory: outlay.Ledger) -> None:
    spend(memory)
    definition = read_definition({"preset": "ai"})
    (total,) = [
        datum
        for series, datum in metric_data(entries_of(memory), definition)
        if series.metric == "OperationCost" and not series.dimensions
    ]
    assert total["StatisticValues"] == {
        "SampleCount": 5.0,
        "Sum": 0.0224625,
        "Minimum": 0.0000625,
        "Maximum": 0.006,
    }
    assert total["Timestamp"] == datetime(2026, 3, 10, 11, 0, tzinfo=UTC)


def test_for_percentiles_values_are_sent_at_most_150_at_a_time(memory: outlay.Ledger) -> None:
    for cost in range(1, 302):
        memory.record(provider="p", service="s", reported_cost=f"0.{cost:04}", time="2026-03-10T11:00:00Z")
    table = {"percentiles": True, "preset": "ai"}
    data = [each for _, each in metric_data(entries_of(memory), read_definition(table)) if not each["Dimensions"]]
    assert [len(each["Values"]) for each in data] == [150, 150, 1]
    assert sum(map(sum, (each["Counts"] for each in data))) == 301


def test_a_second_run_sends_only_what_is_new(memory: outlay.Ledger) -> None:
    spend(memory)
    definition, sent = read_definition({"preset": "ai"}), Sent()
    assert publisher(memory, definition, sent).run().entries == 5
    before = len(sent)
    assert publisher(memory, definition, sent).run().entries == 0
    assert len(sent) == before
    memory.record(provider="replicate", service="m1", reported_cost="1", time="2026-03-10T11:30:00Z")
    publisher(memory, definition, sent).run()
    assert sums(sent[before:])["OperationCost", ()] == 1


def test_a_correction_leaves_the_sum_at_what_the_ledger_says(memory: outlay.Ledger) -> None:
    spend(memory)
    first = next(iter(memory.events())).id
    memory.correct(first, reported_cost="0.5", reason="the provider said so")
    sent: Sent = []
    publisher(memory, read_definition({"preset": "ai"}), sent).run()
    assert sums(sent)["OperationCost", ()] == memory.costs().total.amount


def test_a_call_without_a_price_is_no_sample_of_zero(memory: outlay.Ledger) -> None:
    memory.record(provider="nobody", service="unknown", usage={"input_tokens": 5}, time="2026-03-10T11:00:00Z")
    for preset in ("ai", "assistant"):
        found = {value.series.metric for value in values_of(entries_of(memory), read_definition({"preset": preset}))}
        assert found == {"InputTokens"}


def test_requests_keep_within_what_one_call_of_the_api_takes(memory: outlay.Ledger) -> None:
    for number in range(700):
        memory.record(
            provider=f"p{number}", service="s", operation="o" * 200, reported_cost="0.01", time="2026-03-10T11:00:00Z"
        )
    sent: Sent = []
    publisher(memory, read_definition({"preset": "ai"}), sent).run()
    assert len(sent) > 1
    for _, data in sent:
        assert len(data) <= DATA_MAX
        assert len(json.dumps(data, default=str)) <= BYTES_MAX * 1.05 < 1_000_000
    assert sums(sent)["OperationCost", ()] == 7


def test_after_a_crash_at_most_one_request_is_sent_again(memory: outlay.Ledger) -> None:
    for number in range(900):
        memory.record(provider=f"p{number}", service="s", reported_cost="0.01", time="2026-03-10T11:00:00Z")
    definition = read_definition({"preset": "ai"})
    whole: Sent = []
    publisher(memory, definition, whole).run()
    assert len(whole) > 1
    note = memory.store.note("aws-metrics", "outlay")
    assert memory.store.put_note("aws-metrics", "outlay", b"{}", expects=note, at=1, live=False)

    sent: Sent = []

    def dying(namespace: str, data: list[dict[str, Any]]) -> None:
        sent.append((namespace, data))
        if len(sent) == 2:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        Publisher(memory.store, memory.clock, definition, dying).run()
    # The second was taken by AWS, and its answer was lost: it is the one that is sent twice.
    publisher(memory, definition, sent).run()
    assert sent == [whole[0], whole[1], *whole[1:]]


def test_where_several_servers_write_the_newest_wait_a_moment(
    memory: outlay.Ledger, clock: outlay.FrozenClock
) -> None:
    spend(memory)
    sent: Sent = []
    waiting = Publisher(
        memory.store, clock, read_definition({}), lambda space, data: sent.append((space, data)), settle_s=30
    )
    assert waiting.run().entries == 0
    clock.advance(seconds=31)
    assert waiting.run().entries == 5


def test_two_publishers_at_once_are_refused(memory: outlay.Ledger) -> None:
    spend(memory)
    definition, sent = read_definition({"preset": "ai"}), Sent()

    def meddling(namespace: str, data: list[dict[str, Any]]) -> None:
        if not sent:
            publisher(memory, definition, sent).run()

    with pytest.raises(LedgerError, match="another process"):
        Publisher(memory.store, memory.clock, definition, meddling).run()


def test_what_cloudwatch_takes_no_more_is_counted_not_sent(memory: outlay.Ledger) -> None:
    memory.record(provider="p", service="s", reported_cost="1", time="2026-02-20T00:00:00Z")
    memory.record(provider="p", service="s", reported_cost="2", time="2026-03-01T00:00:00Z")
    sent: Sent = []
    assert publisher(memory, read_definition({"preset": "ai"}), sent).run().too_old == 1
    assert sums(sent)["OperationCost", ()] == 2


def test_metrics_of_the_assistant_are_requests_services_and_the_day(memory: outlay.Ledger) -> None:
    told: Any = {"feature": "query", "request": "r1", "time": "2026-03-10T11:00:00Z"}
    memory.record(provider="aws", service="dynamodb", reported_cost="0.0000001", **told)
    memory.record(provider="aws", service="anthropic.claude-3-haiku-20240307-v1:0", reported_cost="0.0231", **told)
    sent: Sent = []
    publisher(memory, read_definition({"preset": "assistant"}), sent).run()
    found = sums(sent)
    assert found["RequestCost", (("Operation", "query"),)] == Decimal("0.0231001")
    assert found["ServiceCost", (("Service", "bedrock"),)] == Decimal("0.0231")
    assert found["ServiceCost", (("Service", "dynamodb"), ("Operation", "requests"))] == Decimal("1E-7")
    assert found["DailyCostAccumulation", ()] == Decimal("0.0231001")


@pytest.mark.parametrize("preset", ["outlay", "ai", "assistant"])
def test_embedded_metrics_and_sent_ones_are_the_same_series(memory: outlay.Ledger, preset: str) -> None:
    definition = read_definition({"preset": preset})
    lines: list[str] = []
    request = RequestCost("r1", operation="query", started_at=memory.clock.now())
    with request.gathering():
        for provider, service in (("aws", "dynamodb"), ("aws", "anthropic.claude-3-haiku-20240307-v1:0")):
            memory.record(
                provider=provider, service=service, reported_cost="0.25", time="2026-03-10T11:00:00Z", feature="query"
            )
    for log in emf_logs(definition):
        log._write = lines.append
        log(request)
    embedded: dict[Any, Any] = {}
    for line in map(json.loads, lines):
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", ()):
            for metric in directive["Metrics"]:
                for names in directive["Dimensions"]:
                    key = metric["Name"], tuple((name, line[name]) for name in names)
                    embedded[key] = embedded.get(key, 0) + line[metric["Name"]]
    sent: Sent = []
    publisher(memory, definition, sent).run()
    costs = {name for name, metric in definition.metrics.items() if metric.of in ("call", "request", "service")}
    assert embedded == {key: float(amount) for key, amount in sums(sent).items() if key[0] in costs}


def queried(definition: Definition) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every series that a widget or an alarm asks for, read from their bodies as CloudWatch does."""
    for widget in dashboard_body(definition)["widgets"]:
        for line in widget["properties"]["metrics"]:
            if isinstance(line[0], str):
                names = [part for part in line[2:] if isinstance(part, str)]
                yield line[0], line[1], frozenset(names[::2])
                continue
            text = line[0]["expression"]
            if found := re.match(r"SEARCH\('\{(.*)\} MetricName=\"(\w+)\"'", text):
                namespace, *names = (part.strip('"') for part in found[1].split(","))
                yield namespace, found[2], frozenset(names)
            elif found := re.match(r'SELECT SUM\("?(\w+)"?\) FROM SCHEMA\((.*?)\)(?: GROUP BY (.*))?$', text):
                namespace, *names = (part.strip().strip('"') for part in found[2].split(","))
                assert set((found[3] or names[0]).split(", ")) <= set(names)
                yield namespace, found[1], frozenset(names)
            else:
                assert text == "m1/PERIOD(m1)*3600"
    for resource in resources_of(definition):
        if resource.kind is Kind.ALARM:
            yield (
                resource.body["Namespace"],
                resource.body["MetricName"],
                frozenset(each["Name"] for each in resource.body["Dimensions"]),
            )


SETS = st.lists(st.frozensets(st.sampled_from(DIMENSIONS), max_size=3), min_size=1, max_size=4, unique=True).map(
    lambda sets: [sorted(names) for names in sets]
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=SETS, shares=SETS, tokens=SETS, where=st.lists(st.sampled_from(DIMENSIONS), max_size=2, unique=True))
def test_every_widget_and_alarm_asks_for_a_series_that_is_published(
    memory: outlay.Ledger, calls: Any, shares: Any, tokens: Any, where: list[str]
) -> None:
    if not entries_of(memory):
        spend(memory)
    metrics = {
        "Spent": {"namespace": "Acme/AI", "of": "call", "dimensions": calls},
        "Shares": {"namespace": "Acme/AI", "of": "service", "dimensions": shares},
        "InputTokens": {"namespace": "Acme/AI", "of": "input_tokens", "dimensions": tokens},
    }
    alarm = {"metric": "Spent", "above": "1", "where": dict.fromkeys(where, "x")}
    table = {"preset": "outlay", "metrics": {"Cost": False, "OutputTokens": False, **metrics}}
    if sorted(where) in calls:
        definition = read_definition({**table, "alarms": {"a": alarm}})
    else:
        with pytest.raises(InvalidInput, match="not published"):
            read_definition({**table, "alarms": {"a": alarm}})
        definition = read_definition(table)
    published = {
        (value.series.namespace, value.series.metric, frozenset(name for name, _ in value.series.dimensions))
        for value in values_of(entries_of(memory), definition)
    }
    asked = set(queried(definition))
    assert asked
    assert asked <= published


def test_the_widgets_of_the_presets_are_those_that_were_asked_for() -> None:
    def titles(preset: str) -> list[str]:
        return [
            each["properties"]["title"] for each in dashboard_body(read_definition({"preset": preset}))["widgets"]
        ]

    assert titles("ai") == ["Hourly AI Costs ($)", "Cost Rate ($/hour)", "Cost by Provider ($)", "Tokens"]
    assert titles("assistant")[2:] == [
        "Request Costs ($)",
        "Service Breakdown ($)",
        "Cost of the Day so Far ($)",
        "Tokens",
    ]


def test_moto_answers_with_the_sums_that_were_sent(cloud: FakeAws, tmp_path: Any) -> None:
    from typer.testing import CliRunner

    from outlay.faces.cli.commands import app

    (tmp_path / "outlay.toml").write_text('[aws]\npreset = "ai"\nregion = "us-east-2"\n')
    with outlay.open("outlay.db") as ledger:
        for cost in ("0.25", "0.5"):
            ledger.record(provider="replicate", service="m1", operation="generateImage", reported_cost=cost)
    done = CliRunner().invoke(app, ["aws", "publish", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["entries"] == 2
    listed = client("cloudwatch").list_metrics(Namespace="VisualNeurons/AI")["Metrics"]
    sets = {tuple(each["Name"] for each in metric["Dimensions"]) for metric in listed}
    assert sets == {(), ("Provider",), ("Provider", "Operation", "Success")}
    now = datetime.now(UTC)
    # moto takes a series for all that have its dimensions and more, so the fullest is asked for.
    full = {"Provider": "replicate", "Operation": "generateImage", "Success": "true"}
    found = client("cloudwatch").get_metric_statistics(
        Namespace="VisualNeurons/AI",
        MetricName="OperationCost",
        Dimensions=[{"Name": name, "Value": value} for name, value in full.items()],
        StartTime=now.replace(hour=0, minute=0),
        EndTime=datetime.fromtimestamp(now.timestamp() + 3600, UTC),
        Period=86_400,
        Statistics=["Sum"],
    )["Datapoints"]
    assert sum(each["Sum"] for each in found) == 0.75
    assert json.loads(CliRunner().invoke(app, ["aws", "publish", "--json"]).stdout)["entries"] == 0


def test_a_value_is_made_what_the_api_takes() -> None:
    with outlay.open("memory:") as ledger:
        ledger.record(provider="p", service="s", operation=":Größe" + "x" * 500, reported_cost="1")
        definition = read_definition({"preset": "ai"})
        series: list[Series] = [value.series for value in values_of(entries_of(ledger), definition)]
    (value,) = {value for each in series for name, value in each.dimensions if name == "Operation"}
    assert value.startswith("?Gr??ex")
    assert value.isascii()
