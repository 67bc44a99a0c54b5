"""`outlay aws plan`, `apply` and `check`: what stands at AWS afterwards, and that it is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.fake_aws import FakeAws, client
from typer.testing import CliRunner

import outlay
from outlay.faces.cli.commands import app

DEFINITION = """
[aws]
name = "vn"
region = "us-east-2"
preset = "ai"
emails = ["ops@example.com", "boss@example.com"]

[aws.budgets.monthly]
limit = "60"
tags = { Project = "AI Video Generation Pipeline" }

[aws.anomalies.spikes]
above = "5"
percent = "20"
tags = { Project = "AI Video Generation Pipeline" }

[aws.billing]
month = "60"
day = "3"
"""


def write(text: str = DEFINITION) -> None:
    Path("outlay.toml").write_text(text)


def run(*arguments: str, exits: int = 0) -> Any:
    result = CliRunner().invoke(app, ["aws", *arguments])
    assert result.exit_code == exits, f"{result.output}\n{result.exception!r}"
    return json.loads(result.stdout) if "--json" in arguments else result.output


def actions() -> dict[str, str]:
    result = CliRunner().invoke(app, ["aws", "plan", "--json"])
    return {
        f"{row['kind']} {row['name']} {row['region']}": row["action"] for row in json.loads(result.stdout)["rows"]
    }


def test_what_is_applied_stands_and_a_second_plan_finds_nothing_to_do(cloud: FakeAws) -> None:
    write()
    run("plan", exits=1)
    assert set(actions().values()) == {"create"}
    assert "not_confirmed" in run("apply", exits=2)
    assert not client("cloudwatch").describe_alarms()["MetricAlarms"], "a plan writes nothing"
    run("apply", "--yes")
    assert set(actions().values()) == {"same"}
    run("check")

    alarms = {each["AlarmName"]: each for each in client("cloudwatch").describe_alarms()["MetricAlarms"]}
    assert set(alarms) == {"vn-hourly", "vn-daily"}
    assert (alarms["vn-hourly"]["Threshold"], alarms["vn-hourly"]["Period"]) == (50.0, 3600)
    (topic,) = client("sns").list_topics()["Topics"]
    assert alarms["vn-hourly"]["AlarmActions"] == [topic["TopicArn"]]
    subscribed = client("sns").list_subscriptions_by_topic(TopicArn=topic["TopicArn"])["Subscriptions"]
    assert {each["Endpoint"] for each in subscribed} == {"ops@example.com", "boss@example.com"}
    # AWS' billing metrics are in us-east-1 alone, and so are the alarms on them and the topic that these tell.
    billing = {
        each["AlarmName"]: each for each in client("cloudwatch", "us-east-1").describe_alarms()["MetricAlarms"]
    }
    assert set(billing) == {"vn-aws-month", "vn-aws-day"}
    assert billing["vn-aws-month"]["Dimensions"] == [{"Name": "Currency", "Value": "USD"}]
    assert all(":us-east-1:" in arn for each in billing.values() for arn in each["AlarmActions"])

    assert cloud.budgets["vn-monthly"]["BudgetLimit"] == {"Amount": "60", "Unit": "USD"}
    assert cloud.budgets["vn-monthly"]["CostFilters"] == {
        "TagKeyValue": ["user:Project$AI Video Generation Pipeline"]
    }
    assert cloud.budgets["vn-monthly"]["CostTypes"]["IncludeCredit"] is False
    told = [(each["NotificationType"], each["Threshold"]) for each, _ in cloud.notifications["vn-monthly"]]
    assert told == [("ACTUAL", 50.0), ("ACTUAL", 80.0), ("ACTUAL", 100.0), ("FORECASTED", 100.0)]
    assert [each["MonitorType"] for each in cloud.monitors] == ["CUSTOM"]
    assert list(cloud.subscriptions[0]["ThresholdExpression"]) == ["Or"]


def test_what_somebody_changed_by_hand_is_found_and_put_right(cloud: FakeAws) -> None:
    write()
    run("apply", "--yes")
    alarm = client("cloudwatch").describe_alarms(AlarmNames=["vn-daily"])["MetricAlarms"][0]
    names = ("AlarmName", "Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator")
    client("cloudwatch").put_metric_alarm(Threshold=5000, **{name: alarm[name] for name in names})
    cloud.budgets["vn-monthly"]["BudgetLimit"]["Amount"] = "600.0"
    cloud.notifications["vn-monthly"].pop(0)
    (cloud.subscriptions[0]["Subscribers"]).pop()
    rows = run("check", "--json", exits=1)["rows"]
    wrong = {(row["name"], row["path"]): (row["stands"], row["wanted"]) for row in rows}
    assert wrong["vn-daily", "Threshold"] == ("5000.0", "500.0")
    assert wrong["vn-monthly", "BudgetLimit.Amount"] == ("600.0", "60")
    assert ("vn-monthly", "Notifications") in wrong
    assert ("vn-spikes", "Subscribers") in wrong
    run("apply", "--yes")
    run("check")
    assert len(cloud.notifications["vn-monthly"]) == 4
    assert client("cloudwatch").describe_alarms(AlarmNames=["vn-daily"])["MetricAlarms"][0]["Threshold"] == 500.0


def test_a_changed_threshold_is_the_only_thing_that_a_plan_shows(cloud: FakeAws) -> None:
    write()
    run("apply", "--yes")
    write(DEFINITION + '\n[aws.alarms.hourly]\nabove = "75"\n')
    rows = [row for row in run("plan", "--json", exits=1)["rows"] if row["action"] != "same"]
    shown = {(row["name"], row["path"], row["wanted"]) for row in rows}
    assert shown == {
        ("vn-hourly", "Threshold", "75.0"),
        ("vn-hourly", "AlarmDescription", "AI costs of an hour"),
    } or (shown == {("vn-hourly", "Threshold", "75.0")})


def test_budgets_and_rules_of_the_ledger_are_told_to_aws_where_it_can_hold_them(cloud: FakeAws) -> None:
    write('[aws]\nname = "vn"\nemails = ["ops@example.com"]\n')
    with outlay.open("outlay.db") as ledger:
        ledger.budget("spend", limits={"day": "40", "month": "900"})
        ledger.budget("cloud", limit="60", window="month", where={"provider": "aws"}, marks=["80%", "forecast 100%"])
        ledger.budget("people", limit="5", window="day", each="user")
        ledger.alert_rule("hot", above="7.50", window="hour")
        ledger.alert_rule("openai", above="5", window="hour", where={"provider": "openai"})
        ledger.alert_rule("ana", above="5", window="hour", where={"user": "ana"})
    run("apply", "--yes")
    found = client("cloudwatch", "us-east-1").describe_alarms()["MetricAlarms"]
    alarms = {each["AlarmName"]: each for each in found}
    assert {name: each["Threshold"] for name, each in alarms.items()} == {
        "vn-spend-day": 40.0,
        "vn-rule-hot": 7.5,
        "vn-rule-openai": 5.0,
    }
    assert alarms["vn-rule-openai"]["Dimensions"] == [{"Name": "Provider", "Value": "openai"}]
    assert cloud.budgets["vn-cloud-month"]["TimeUnit"] == "MONTHLY"
    told = [(each["NotificationType"], each["Threshold"]) for each, _ in cloud.notifications["vn-cloud-month"]]
    assert told == [("ACTUAL", 80.0), ("FORECASTED", 100.0)]
    kept = {row["name"] for row in run("plan", "--json")["rows"] if row["action"] == "kept by outlay"}
    assert kept == {"spend-month", "people-day", "rule-ana"}


def test_expiry_of_a_bucket_leaves_others_rules_and_never_touches_uploads(cloud: FakeAws) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="videos", CreateBucketConfiguration={"LocationConstraint": "us-east-2"})
    theirs = {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket="videos", LifecycleConfiguration={"Rules": [theirs]})
    write('[aws]\nname = "vn"\nregion = "us-east-2"\n[aws.buckets.videos]\nbucket = "videos"\nenvironment = "dev"\n')
    run("apply", "--yes")
    run("check")
    rules = s3.get_bucket_lifecycle_configuration(Bucket="videos")["Rules"]
    days = {each["Filter"]["Prefix"]: each["Expiration"]["Days"] for each in rules}
    assert days == {"logs/": 3, "temp/": 1, "generations/": 7, "compositions/": 14}
    # Somebody's rule for the whole bucket would delete what users uploaded.
    everything = {"ID": "all", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 30}}
    s3.put_bucket_lifecycle_configuration(Bucket="videos", LifecycleConfiguration={"Rules": [everything]})
    (row,) = [row for row in run("check", "--json", exits=1)["rows"] if row["kind"] == "bucket lifecycle"]
    assert row["action"] == "refuse"
    assert "uploads/" in row["reason"]
    run("apply", "--yes", exits=1)
    assert s3.get_bucket_lifecycle_configuration(Bucket="videos")["Rules"][0]["ID"] == "all"


def test_hours_of_a_service_and_retention_of_its_log_are_planned_and_checked(cloud: FakeAws) -> None:
    ecs = client("ecs")
    ecs.create_cluster(clusterName="ai-video-cluster")
    ecs.register_task_definition(family="f", containerDefinitions=[{"name": "c", "image": "i", "memory": 128}])
    ecs.create_service(cluster="ai-video-cluster", serviceName="backend", taskDefinition="f", desiredCount=1)
    client("logs").create_log_group(logGroupName="/ecs/dev/backend")
    write(
        '[aws]\nname = "vn"\nregion = "us-east-2"\n[aws.logs]\n"/ecs/dev/backend" = 7\n"/ecs/dev/none" = 7\n'
        '[aws.schedules.dev]\ncluster = "ai-video-cluster"\nservice = "backend"\nzone = "Europe/Berlin"\n'
    )
    run("apply", "--yes", exits=1)
    found = client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    shown = {each["ScheduledActionName"]: (each["Schedule"], each["Timezone"]) for each in found}
    assert shown == {
        "vn-dev-start": ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin"),
        "vn-dev-stop": ("cron(0 20 ? * MON-FRI *)", "Europe/Berlin"),
    }
    tasks = {each["ScheduledActionName"]: each["ScalableTargetAction"]["MaxCapacity"] for each in found}
    assert tasks == {"vn-dev-start": 1, "vn-dev-stop": 0}
    (group,) = client("logs").describe_log_groups()["logGroups"]
    assert group["retentionInDays"] == 7
    (row,) = run("check", "--json", exits=1)["rows"]
    assert (row["action"], row["name"]) == ("refuse", "/ecs/dev/none")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[aws]\npreset = "x"', "unknown_preset"),
        ('[aws]\nnmae = "x"', "bad_aws"),
        ('[aws.metrics.Cost]\nnamespace = "A"\ndimensions = [["Colour"]]', "unknown_dimension"),
        ('[aws.metrics.Cost]\nnamespace = "A"\ndimensions = [["Team", "User"], ["User", "Team"]]', "bad_aws"),
        ('[aws.alarms.a]\nmetric = "Cost"\nabove = "-1"', "bad_aws"),
        ('[aws.alarms.a]\nmetric = "Cost"\nabove = "1"\nwhere = { Team = "red" }', "unpublished_series"),
        ('[aws.logs]\n"/x" = 8', "bad_aws"),
        ('[aws.budgets.monthly]\nlimit = "60"', "bad_aws"),
    ],
)
def test_a_definition_that_cannot_be_right_is_refused_by_name(cloud: FakeAws, text: str, code: str) -> None:
    write(text)
    assert f"[{code}]" in run("plan", exits=2)


def test_without_credentials_the_error_says_what_to_set(cloud: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    write()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    assert "aws_credentials" in run("plan", exits=3)
