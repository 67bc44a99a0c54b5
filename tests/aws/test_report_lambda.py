"""The scheduled report on AWS: the template as CloudFormation takes it, the handler against SES and SNS."""

from __future__ import annotations

import email
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import policy
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from moto import mock_aws
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends
from tests.served import served

import outlay
from outlay.config import load_report_function_settings
from outlay.errors import DeliveryFailed, InvalidInput
from outlay.faces.aws import report_lambda
from outlay.faces.aws.clients import Clients

REGION = "eu-central-1"
RIGHTS = {
    "send_raw_email": "ses:SendRawEmail",
    "publish": "sns:Publish",
    "get_secret_value": "secretsmanager:GetSecretValue",
}
"""What the handler calls, and what IAM calls the right to."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, str]]:
    """An account with a topic that a queue hears, and a sender that SES knows."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "OUTLAY_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("OUTLAY_SPOOL", str(tmp_path / "waiting"))
    with mock_aws():
        topic = boto3.client("sns", REGION).create_topic(Name="costs")["TopicArn"]
        queue = boto3.client("sqs", REGION).create_queue(QueueName="heard")["QueueUrl"]
        arn = f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:heard"
        boto3.client("sns", REGION).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        boto3.client("ses", REGION).verify_email_identity(EmailAddress="outlay@example.com")
        yield {"topic": topic, "queue": queue}


def yesterday() -> datetime:
    return datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A ledger in which $42.50 were spent yesterday."""
    with outlay.open(tmp_path / "a.db") as ledger:
        ledger.record(provider="openai", service="gpt-4o", reported_cost="42.50", user="u1", time=yesterday())
    return str(tmp_path / "a.db")


def told(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    for name, value in environment.items():
        monkeypatch.setenv(f"OUTLAY_{name}", value)
    return report_lambda.handler({}, None)


def heard(queue: str) -> list[dict[str, Any]]:
    messages = boto3.client("sqs", REGION).receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
    return [json.loads(one["Body"]) for one in messages.get("Messages", [])]


def mails() -> list[Any]:
    sent = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages
    return [email.message_from_string(one.raw_data, policy=policy.default) for one in sent]


def test_the_report_of_yesterday_goes_by_ses_and_sns_once(
    aws: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "LEDGER": address,
        "REPORT": '{"period": "day", "form": "markdown", "at": "00:00", "by": ["user"]}',
        "MAIL_FROM": "outlay@example.com",
        "MAIL_TO": "ana@example.com, bob@example.com",
        "TOPIC": aws["topic"],
    }
    day = yesterday().date().isoformat()
    answer = told(monkeypatch, **settings)
    assert answer == {
        "report": "lambda",
        "period": day,
        "sent": ["ses ana@example.com", "ses bob@example.com", "sns"],
    }
    assert [(mail["to"], mail["subject"]) for mail in mails()] == [
        ("ana@example.com", f"Daily Cost Report - {day}"),
        ("bob@example.com", f"Daily Cost Report - {day}"),
    ]
    assert "$42.50" in mails()[0].get_body(("plain",)).get_content()
    (message,) = heard(aws["queue"])
    assert (message["Subject"], "$42.50" in message["Message"]) == (f"Daily Cost Report - {day}", True)
    # Lambda may call twice for one event: nothing is sent again.
    assert told(monkeypatch, **settings) == answer
    assert (len(mails()), heard(aws["queue"])) == (2, [])


def test_behind_a_server_the_key_comes_from_a_secret(
    aws: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from outlay.faces.server.keys import make_key

    with outlay.open(address) as ledger:
        _, key = make_key(ledger.store, ledger.clock, roles=["read"])
        secret = boto3.client("secretsmanager", REGION).create_secret(Name="outlay", SecretString=f"{key}\n")
        with served(ledger) as server:
            answer = told(
                monkeypatch,
                LEDGER=server.address,
                KEY_SECRET=secret["ARN"],
                TOPIC=aws["topic"],
                REPORT='{"at": "00:00", "form": "markdown", "columns": ["Cost"]}',
            )
    assert answer["sent"] == ["sns"]
    assert "$42.50" in heard(aws["queue"])[0]["Message"]


def test_what_aws_refuses_fails_the_run_so_that_it_is_tried_again(
    aws: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeliveryFailed, match="send_raw_email"):
        told(
            monkeypatch,
            LEDGER=address,
            REPORT='{"at": "00:00", "form": "markdown"}',
            MAIL_FROM="nobody@elsewhere.example",
            MAIL_TO="ana@example.com",
        )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OUTLAY_LEDGER": "a.db"},
        {"OUTLAY_LEDGER": "a.db", "OUTLAY_REPORT": "[1]", "OUTLAY_TOPIC": "arn:aws:sns:eu-central-1:1:t"},
        {"OUTLAY_LEDGER": "a.db", "OUTLAY_TOPIC": "costs"},
        {"OUTLAY_LEDGER": "a.db", "OUTLAY_MAIL_TO": "ana@example.com"},
    ],
)
def test_an_environment_that_cannot_be_right_is_refused_by_name(
    aws: dict[str, str], environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def run() -> None:
        report_lambda.send_report(load_report_function_settings(environment), Clients())

    with pytest.raises(InvalidInput) as caught:
        run()
    assert caught.value.code in ("bad_config", "bad_channel")


@pytest.mark.filterwarnings("ignore:Tried to parse:UserWarning")
def test_cloudformation_makes_the_function_its_schedule_and_its_rights(
    aws: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MOTO_ALLOW_NONEXISTENT_REGION", "true")
    s3 = boto3.client("s3", REGION)
    s3.create_bucket(Bucket="code", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="code", Key="outlay-report.zip", Body=b"PK")
    given = {
        "CodeBucket": "code",
        "Ledger": "https://outlay.example",
        "KeySecret": f"arn:aws:secretsmanager:{REGION}:{DEFAULT_ACCOUNT_ID}:secret:outlay",
        "Period": "week",
        "MailFrom": "outlay@example.com",
        "MailTo": "ana@example.com",
        "AlarmMail": "ops@example.com",
    }
    parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in given.items()]
    cloud = boto3.client("cloudformation", REGION)
    cloud.create_stack(StackName="report", TemplateBody=report_lambda.template(), Parameters=parameters)
    resources: list[Any] = list(cloud.describe_stack_resources(StackName="report")["StackResources"])
    made = {one["LogicalResourceId"]: one for one in resources if "LogicalResourceId" in one}
    function = boto3.client("lambda", REGION).get_function(FunctionName=made["Function"]["PhysicalResourceId"])
    told = function["Configuration"]["Environment"]["Variables"]
    settings = load_report_function_settings(told)
    assert settings.report == {
        "name": "report",
        "period": "week",
        "zone": "UTC",
        "form": "html",
        "at": "00:00",
    }
    assert (settings.ledger, settings.to, settings.sender) == (
        "https://outlay.example",
        ("ana@example.com",),
        "outlay@example.com",
    )
    assert settings.topic == made["Topic"]["PhysicalResourceId"]
    module, _, name = function["Configuration"]["Handler"].rpartition(".")
    assert (module, callable(getattr(report_lambda, name))) == (report_lambda.__name__, True)


def test_the_schedule_is_one_that_eventbridge_takes(aws: dict[str, str]) -> None:
    # moto's CloudFormation knows no schedules and alarms: what the template says is given to their own calls.
    told = json.loads(report_lambda.template())["Resources"]["When"]["Properties"]
    roles = {"Arn": f"arn:aws:lambda:{REGION}:{DEFAULT_ACCOUNT_ID}:function:f"}
    roles["RoleArn"] = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/r"
    given = {
        **told,
        "ScheduleExpression": "cron(0 8 ? * MON *)",
        "ScheduleExpressionTimezone": "Europe/Berlin",
        "Target": {**told["Target"], **roles},
    }
    scheduler: Any = boto3.client("scheduler", REGION)
    assert scheduler.create_schedule(Name="report", **given)["ScheduleArn"]
    kept = scheduler.get_schedule(Name="report")
    assert (kept["ScheduleExpressionTimezone"], kept["FlexibleTimeWindow"]) == ("Europe/Berlin", {"Mode": "OFF"})


def test_a_run_that_failed_raises_an_alarm_of_the_functions_errors(aws: dict[str, str]) -> None:
    told = json.loads(report_lambda.template())["Resources"]["Failed"]["Properties"]
    dimensions = [{"Name": "FunctionName", "Value": "f"}]
    cloudwatch: Any = boto3.client("cloudwatch", REGION)
    given = {**told, "AlarmActions": [aws["topic"]], "Dimensions": dimensions}
    cloudwatch.put_metric_alarm(AlarmName="failed", **given)
    (kept,) = cloudwatch.describe_alarms()["MetricAlarms"]
    assert (kept["Namespace"], kept["MetricName"], kept["Threshold"]) == ("AWS/Lambda", "Errors", 1.0)


def test_each_call_has_its_right_and_each_right_its_call() -> None:
    body = json.loads(report_lambda.template())
    policies = json.dumps(body["Resources"]["Role"]["Properties"]["Policies"])
    granted = {right for right in re.findall(r'"(\w+:\w+)"', policies) if not right.startswith(("AWS:", "ses:From"))}
    called = set(re.findall(r'"(send_raw_email|publish|get_secret_value)"', Path(report_lambda.__file__).read_text()))
    assert called == set(RIGHTS)
    assert granted - {"ses:SendEmail"} == set(RIGHTS.values())


def test_what_is_sent_is_of_the_shape_that_aws_documents() -> None:
    session = botocore.session.get_session()
    for service, operation, names in (
        ("ses", "SendRawEmail", {"Source", "Destinations", "RawMessage"}),
        ("sns", "Publish", {"TopicArn", "Subject", "Message"}),
        ("secretsmanager", "GetSecretValue", {"SecretId"}),
    ):
        shape = session.get_service_model(service).operation_model(operation).input_shape
        assert shape is not None
        assert names <= set(shape.members)
