"""The CloudFormation templates, and the Logs Insights queries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from outlay.errors import InvalidInput
from outlay.faces.aws.definition import read_definition
from outlay.faces.aws.insights import check_query, queries, spike_filter
from outlay.faces.aws.template import PARTS, template
from outlay.faces.cli.commands import app

TABLE: dict[str, Any] = {
    "name": "vn",
    "region": "us-east-2",
    "emails": ["ops@example.com", "boss@example.com"],
    "budgets": {"monthly": {"limit": "60", "tags": {"Project": "AI Video Generation Pipeline"}}},
    "anomalies": {"spikes": {"tags": {"Project": "AI Video Generation Pipeline"}}, "all": {"percent": None}},
    "billing": {"day": "3", "month": "60"},
    "schedules": {"dev": {"cluster": "c", "service": "s"}},
    "buckets": {"videos": {"bucket": "videos"}},
    "logs": {"/ecs/dev": 7},
}


def written(preset: str, **changes: Any) -> dict[str, dict[str, Any]]:
    definition = read_definition({**TABLE, "preset": preset, **changes})
    return {part: template(definition, part) for part in PARTS}


def test_cloudformation_finds_nothing_wrong_with_the_templates(tmp_path: Path) -> None:
    for preset in ("outlay", "ai", "assistant"):
        for region in ("us-east-1", "us-east-2"):
            for part, body in written(preset, region=region).items():
                (tmp_path / f"{preset}-{region}-{part}.json").write_text(json.dumps(body))
    lint = Path(sys.executable).parent / "cfn-lint"
    files = sorted(map(str, tmp_path.glob("*.json")))
    done = subprocess.run(
        [str(lint), "--regions", "us-east-1", "--", *files], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_every_threshold_is_a_parameter_with_the_definition_as_its_default() -> None:
    regional, billing = written("assistant", environment="dev").values()
    told = {name: each["Default"] for name, each in {**regional["Parameters"], **billing["Parameters"]}.items()}
    assert told == {
        "DailyThreshold": 10,
        "RequestThreshold": 0.5,
        "BedrockThreshold": 1,
        "AwsDayThreshold": 3,
        "AwsMonthThreshold": 60,
        "MonthlyLimit": 60,
        "MonthlyPercent50": 50,
        "MonthlyPercent80": 80,
        "MonthlyPercent100": 100,
        "MonthlyForecastPercent100": 100,
        "SpikesAmount": 5,
        "SpikesPercent": 20,
        "AllAmount": 5,
        "AlertEmail1": "boss@example.com",
        "AlertEmail2": "ops@example.com",
    }
    for body in (regional, billing):
        for each in body["Resources"].values():
            if each["Type"] == "AWS::CloudWatch::Alarm":
                assert set(each["Properties"]["Threshold"]) == {"Ref"}
                assert each["Properties"]["AlarmActions"] == [{"Ref": "AlertTopic"}]


def test_what_others_own_is_in_no_template() -> None:
    kinds = {each["Type"] for body in written("ai").values() for each in body["Resources"].values()}
    assert kinds == {
        "AWS::SNS::Topic",
        "AWS::CloudWatch::Alarm",
        "AWS::CloudWatch::Dashboard",
        "AWS::Budgets::Budget",
        "AWS::CE::AnomalyMonitor",
        "AWS::CE::AnomalySubscription",
        "AWS::ApplicationAutoScaling::ScalableTarget",
    }


def test_a_days_cost_is_what_the_month_grew_by() -> None:
    """EstimatedCharges is the sum of the month: an alarm on it above $3 fires on the second day for good."""
    alarm = written("ai")["billing"]["Resources"]["AwsDayAlarm"]["Properties"]
    month, day = alarm["Metrics"]
    assert month["MetricStat"]["Metric"]["Dimensions"] == [{"Name": "Currency", "Value": "USD"}]
    assert (month["MetricStat"]["Stat"], month["MetricStat"]["Period"]) == ("Maximum", 86_400)
    assert (month["ReturnData"], day["ReturnData"]) == (False, True)
    assert day["Expression"] == "IF(DIFF(month) < 0, month, DIFF(month))"


def test_the_four_queries_can_run_and_name_what_emf_writes() -> None:
    found = queries()
    assert list(found) == ["daily_cost", "dearest_users", "cost_by_operation", "tokens_by_model"]
    assert "avg(total_cost) as avg_cost_per_request" in found["cost_by_operation"]
    assert "by userId" in queries({"user_id": "userId"})["dearest_users"]
    assert spike_filter("1.0") == "{ $.total_cost > 1.0 }"


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("stats sum(a) as cost, count(*) as n by b | eval c = cost / n", "eval"),
        ("stats sum(total_cost) as daily_cost by bin(1d) | sort @timestamp desc", "@timestamp"),
        ("stats total_cost by user_id", "aggregate"),
        ("fields a | filter ispresent(a", "parenthesis"),
        ("fields a | | limit 5", "empty command"),
        ("fields a | limit ten", "no number"),
        ("filter a = 'x | limit 5", "quote"),
    ],
)
def test_a_query_that_would_not_run_is_refused(query: str, why: str) -> None:
    with pytest.raises(InvalidInput, match="cannot run") as caught:
        check_query(query)
    assert why in caught.value.message


@pytest.mark.parametrize(
    "query",
    [
        "fields @timestamp, total_cost | sort @timestamp desc | limit 20",
        "filter message like /a|b(c/ | stats count(*) as n by bin(5m) | sort n desc",
        "stats max(cost) as c by bin(1h) as hour, user_id | stats avg(c) as d by user_id | sort d",
    ],
)
def test_a_query_that_runs_is_let_through(query: str) -> None:
    check_query(query)


def test_the_commands_need_neither_a_ledger_nor_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, exits: int = 0, input: str | None = None) -> str:
        result = CliRunner().invoke(app, ["aws", *arguments], input=input)
        assert result.exit_code == exits, result.output
        return result.output

    (tmp_path / "outlay.toml").write_text('[aws]\nname = "vn"\npreset = "ai"\n[aws.billing]\nday = "3"\n')
    assert "HourlyAlarm" in json.loads(run("template"))["Resources"]
    assert "AwsDayAlarm" in json.loads(run("template", "billing"))["Resources"]
    assert "unknown_part" in run("template", "everything", exits=2)
    assert "| limit 10" in run("queries")
    assert "bad_query" in run("queries", "--check", "-", exits=2, input="fields a | eval b = a")
    run("queries", "--check", "-", input="fields a | limit 5")
