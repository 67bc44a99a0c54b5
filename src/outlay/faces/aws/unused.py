"""What lies in AWS and nothing uses: services at zero, stopped tasks, old images, files that should be gone.

A stack's file says where to look: `metrics = { cluster = "…" }` of a task, `repository` of ECR, `bucket` of S3 with
its prefixes. Nothing is changed. When an object was last read S3 does not tell; when it was written it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from outlay.faces.aws.clients import Clients
from outlay.money import rounding_to, sum_exactly

OLD_DAYS: Final = 90
_GB: Final = 1024**3
_DIGITS: Final = rounding_to(28)

Priced = Callable[[str, Decimal], int]
"""(service, GB) -> picounits a month."""


class Unused(msgspec.Struct, frozen=True, kw_only=True):
    """One finding: what and why, how many GB it holds, and what that costs a month in picounits."""

    kind: str
    name: str
    why: str
    gb: Decimal = Decimal(0)
    cost: int = 0


def find_unused(
    clients: Clients, region: str, tables: Mapping[str, Any], now: datetime, priced: Priced
) -> Iterator[Unused]:
    """All that the stack's resources leave lying about, in the order of the file. Raises CloudFailure."""
    for table in tables.get("resource", {}).values():
        if not isinstance(table, Mapping):
            continue
        cluster = dict(table.get("metrics") or {}).get("cluster")
        if cluster:
            yield from _tasks(clients, region, str(cluster))
        if table.get("repository"):
            yield from _images(clients, region, str(table["repository"]), now, priced)
        if table.get("bucket"):
            yield from _objects(clients, region, str(table["bucket"]), table.get("prefix", {}), now, priced)


def _tasks(clients: Clients, region: str, cluster: str) -> Iterator[Unused]:
    services = clients.all("ecs", region, "list_services", "serviceArns", cluster=cluster)
    for at in range(0, len(services), 10):
        answer = clients.call("ecs", region, "describe_services", cluster=cluster, services=services[at : at + 10])
        for service in (answer or {}).get("services", []):
            if not service["desiredCount"]:
                yield Unused(kind="service", name=service["serviceName"], why="no task is wanted of it")
    stopped = clients.all("ecs", region, "list_tasks", "taskArns", cluster=cluster, desiredStatus="STOPPED")
    if stopped:
        yield Unused(kind="tasks", name=cluster, why=f"{len(stopped)} stopped: look at why they did")


def _images(clients: Clients, region: str, repository: str, now: datetime, priced: Priced) -> Iterator[Unused]:
    images = clients.all("ecr", region, "describe_images", "imageDetails", repositoryName=repository)
    tagged = sorted(
        (one for one in images if one.get("imageTags")), key=lambda one: one["imagePushedAt"], reverse=True
    )
    # The latest with a tag is in use, however old it is.
    old = [one for one in images if not one.get("imageTags")]
    old += [one for one in tagged[1:] if now - one["imagePushedAt"] > timedelta(days=OLD_DAYS)]
    if old:
        gb = _DIGITS.divide(sum_exactly(int(image.get("imageSizeInBytes", 0)) for image in old), _GB)
        why = f"{len(old)} images without a tag or older than {OLD_DAYS} days"
        yield Unused(kind="images", name=repository, why=why, gb=gb, cost=priced("ecr", gb))


def _objects(
    clients: Clients, region: str, bucket: str, prefixes: Mapping[str, Any], now: datetime, priced: Priced
) -> Iterator[Unused]:
    if not prefixes:
        old = _older(clients, region, bucket, "", now, OLD_DAYS)
        yield from _found(bucket, old, f"written more than {OLD_DAYS} days ago", priced)
    for name, table in prefixes.items():
        days = int(Decimal(str(table.get("expires_days", 0))))
        if days:
            # A day of grace: S3 deletes at midnight after the day.
            old = _older(clients, region, bucket, f"{name}/", now, days + 1)
            yield from _found(
                f"{bucket}/{name}", old, f"should be gone after {days} days: does the rule work?", priced
            )


def _older(
    clients: Clients, region: str, bucket: str, prefix: str, now: datetime, days: int
) -> Sequence[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    more: dict[str, Any] = {}
    while True:
        page = clients.call("s3", region, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more) or {}
        found += [one for one in page.get("Contents", []) if now - one["LastModified"] > timedelta(days=days)]
        if not page.get("IsTruncated"):
            return found
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _found(name: str, old: Sequence[Mapping[str, Any]], why: str, priced: Priced) -> Iterator[Unused]:
    if old:
        gb = _DIGITS.divide(sum_exactly(int(one["Size"]) for one in old), _GB)
        yield Unused(kind="objects", name=name, why=f"{len(old)} {why}", gb=gb, cost=priced("s3", gb))
