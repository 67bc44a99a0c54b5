"""CPU and memory of two weeks, published to CloudWatch and read again; buckets' rules from S3."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.unit.faces.test_commands import run_json

import outlay
from outlay.errors import InvalidInput
from outlay.faces.aws.clients import Clients
from outlay.faces.aws.unused import find_unused
from outlay.faces.aws.usage_metrics import read_lifecycle, read_utilisation, series_of

REGION = "us-east-2"
NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0)

STACK = """
[stack]
region = "us-east-2"
[resource.backend]
kind = "fargate"
vcpu = 1
memory_gb = 2
metrics = { cluster = "films", service = "backend" }
[resource.database]
kind = "rds"
instance = "db.t4g.micro"
metrics = { database = "films", memory_gb = 2 }
[resource.bucket]
kind = "s3"
gb = 5
bucket = "films-1"
"""


def publish(cloudwatch: Any, namespace: str, name: str, dimensions: dict[str, str], *values: float) -> None:
    """The values in each of the last 336 whole hours, and in the next two: the clock may strike before it is read."""
    end = NOW.replace(minute=0)
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    data = [
        {
            "MetricName": name,
            "Dimensions": named,
            "Timestamp": end - timedelta(hours=hour, minutes=30),
            "Value": value,
        }
        for hour in range(-2, 14 * 24)
        for value in values
    ]
    for at in range(0, len(data), 500):
        cloudwatch.put_metric_data(Namespace=namespace, MetricData=data[at : at + 500])


@pytest.fixture
def published(cloud: object) -> Clients:
    """Two weeks of a task and a database in an empty account (tests/aws/conftest.py), and a bucket without rules."""
    cloudwatch, s3 = (boto3.client(name, region_name=REGION) for name in ("cloudwatch", "s3"))
    task = {"ClusterName": "films", "ServiceName": "backend"}
    publish(cloudwatch, "AWS/ECS", "CPUUtilization", task, 10.5, 30.5)
    publish(cloudwatch, "AWS/ECS", "MemoryUtilization", task, 40.0)
    publish(cloudwatch, "AWS/RDS", "FreeableMemory", {"DBInstanceIdentifier": "films"}, 1.5 * 1024**3, 1024**3)
    s3.create_bucket(Bucket="films-1", CreateBucketConfiguration={"LocationConstraint": REGION})
    return Clients()


def test_what_was_published_is_read_by_the_hour(published: Clients) -> None:
    found = {
        (one.resource, one.metric): one for one in read_utilisation(published, REGION, tomllib.loads(STACK), NOW)
    }
    cpu = found["backend", "cpu"]
    assert (len(cpu.hours), cpu.hours[0]) == (336, (Decimal("20.5"), Decimal("30.5")))
    # 1.5 and 1 GB free of 2: 37.5 % used on average, 50 % at most
    assert found["database", "memory"].hours[0] == (Decimal("37.5"), Decimal("50"))
    # Nobody published the database's CPU: it is not known, and not nothing.
    assert ("database", "cpu") not in found


def test_the_advice_of_the_command_rests_on_them(published: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTLAY_LEDGER", raising=False)
    Path("stack.toml").write_text(STACK)
    outlay.open("outlay.db").close()
    found = run_json("advise", "stack.toml", "--aws", "--ledger", "outlay.db")
    halved = next(row for row in found["rows"] if row["id"].startswith("rightsizing"))
    assert (halved["cost"], halved["saving"]) == ("36.0401", "18.02005")
    listed = {row["item"]: row["tick"] for row in run_json("advise", "stack.toml", "--aws", "--checklist")["rows"]}
    assert listed["S3 lifecycle policies are active"] == "open"
    assert listed["CPU and memory of ECS monitored"] == "done"


def test_a_bucket_is_ticked_by_an_active_rule(published: Clients) -> None:
    tables = {"resource": {"bucket": {"bucket": "films-1"}}}
    assert read_lifecycle(published, REGION, tables) == (False, "no active rule in films-1")
    rule = {"ID": "temp", "Status": "Enabled", "Filter": {"Prefix": "temp/"}, "Expiration": {"Days": 7}}
    boto3.client("s3", region_name=REGION).put_bucket_lifecycle_configuration(
        Bucket="films-1", LifecycleConfiguration={"Rules": [rule]}
    )
    assert read_lifecycle(published, REGION, tables) == (True, "active in films-1")
    assert read_lifecycle(published, REGION, {"resource": {}}) is None


def test_names_that_tell_no_metric_are_refused() -> None:
    with pytest.raises(InvalidInput, match="cluster and service"):
        series_of("resource.x", {"cluster": "films"})
    assert [one.namespace for one in series_of("resource.x", {"node": "cache-1"})] == ["AWS/ElastiCache"] * 2
    assert [one.metric for one in series_of("resource.x", {"function": "answer"})] == ["memory"]


# What nothing uses

UNUSED = """
[stack]
region = "us-east-2"
[resource.backend]
kind = "fargate"
vcpu = 1
memory_gb = 2
metrics = { cluster = "films", service = "backend" }
[resource.images]
kind = "ecr"
gb = 1
repository = "films"
[resource.bucket]
kind = "s3"
bucket = "films-1"
[resource.bucket.prefix]
uploads = { gb = 1 }
temp = { gb = 1, measured_days = 7, expires_days = 7 }
"""


def test_what_nothing_uses_is_listed_with_its_cost(cloud: object) -> None:
    ecs, ecr, s3 = (boto3.client(name, region_name=REGION) for name in ("ecs", "ecr", "s3"))
    ecs.create_cluster(clusterName="films")
    ecs.register_task_definition(family="backend", containerDefinitions=[{"name": "a", "image": "a", "memory": 128}])
    for name, wanted in (("backend", 1), ("preview", 0)):
        ecs.create_service(cluster="films", serviceName=name, taskDefinition="backend", desiredCount=wanted)
    ecr.create_repository(repositoryName="films")
    for number in (1, 2):
        manifest = {"schemaVersion": 2, "layers": [], "config": {"digest": f"sha256:{number:064x}", "size": 1}}
        ecr.put_image(
            repositoryName="films",
            imageManifest=json.dumps(manifest),
            imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
            imageTag=f"v{number}",
        )
    s3.create_bucket(Bucket="films-1", CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in ("uploads/a", "temp/b", "temp/c"):
        s3.put_object(Bucket="films-1", Key=key, Body=b"x" * 1024**2)

    def priced(service: str, gb: Decimal) -> int:
        return round(gb * 23_000_000_000)

    tables, today = tomllib.loads(UNUSED), datetime.now(UTC)
    now = find_unused(Clients(), REGION, tables, today, priced)
    assert [(one.kind, one.name) for one in now] == [("service", "preview")]
    later = {one.kind: one for one in find_unused(Clients(), REGION, tables, today + timedelta(days=91), priced)}
    # Two files of 1 MB of temp/, which should be gone after a week; uploads/ are never deleted. 2 / 1024 × 0.023
    left = later["objects"]
    assert (left.name, left.gb, left.cost) == ("films-1/temp", Decimal(2) / 1024, 44_921_875)
    assert left.why == "2 should be gone after 7 days: does the rule work?"
    # Of two old images the latest is in use.
    assert later["images"].why == "1 images without a tag or older than 90 days"
