"""What runs and what is stored, read and written: a bucket's lifecycle, a service's hours, a log's retention."""

from __future__ import annotations

from typing import Any, Final

from outlay.faces.aws.clients import Clients, CloudFailure
from outlay.faces.aws.resources import Resource

Body = dict[str, Any]
_OURS: Final = "outlay-"


class LifecycleKeeper:
    """The rules of a bucket whose ids begin with outlay-; all others stay as they are.

    A bucket has one list of rules, which is written whole: what others made is read and written again.
    """

    def read(self, clients: Clients, names: object, resource: Resource) -> Body | None:
        """See `Keeper`."""
        rules = self._rules(clients, resource)
        ours = [each for each in rules if str(each.get("ID", "")).startswith(_OURS)]
        if not ours and resource.body["Rules"]:
            return None if not rules else {"Rules": [], "Never": resource.body["Never"], "All": rules}
        return {"Rules": ours, "Never": resource.body["Never"], "All": rules}

    def _rules(self, clients: Clients, resource: Resource) -> list[Body]:
        found = clients.call(
            "s3",
            resource.region,
            "get_bucket_lifecycle_configuration",
            missing=("NoSuchLifecycleConfiguration",),
            Bucket=resource.name,
        )
        return [] if found is None else found.get("Rules", [])

    def write(self, clients: Clients, names: object, resource: Resource) -> None:
        """See `Keeper`."""
        others = [each for each in self._rules(clients, resource) if not str(each.get("ID", "")).startswith(_OURS)]
        clients.call(
            "s3",
            resource.region,
            "put_bucket_lifecycle_configuration",
            Bucket=resource.name,
            LifecycleConfiguration={"Rules": [*others, *resource.body["Rules"]]},
        )

    def danger(self, stands: Body | None, resource: Resource) -> str:
        """Somebody's rule would delete what is never to go."""
        for rule in (stands or {}).get("All", []):
            prefix = prefix_of(rule)
            if rule.get("Status") != "Enabled" or not _deletes(rule):
                continue
            for guarded in resource.body["Never"]:
                if prefix.startswith(guarded) or guarded.startswith(prefix):
                    return f"rule {rule.get('ID')} deletes what is under {prefix!r}, and {guarded!r} is never to go"
        return ""


def prefix_of(rule: Body) -> str:
    """The prefix that a rule is for; "" is the whole bucket."""
    found = rule.get("Filter", {})
    return str(found.get("Prefix", found.get("And", {}).get("Prefix", rule.get("Prefix", ""))))


def _deletes(rule: Body) -> bool:
    return bool({"Days", "Date"} & set(rule.get("Expiration", {})))


class ScheduleKeeper:
    """A scheduled action of Application Auto Scaling that sets how many tasks an ECS service runs."""

    def read(self, clients: Clients, names: object, resource: Resource) -> Body | None:
        """See `Keeper`."""
        body = resource.body
        found = clients.all(
            "application-autoscaling",
            resource.region,
            "describe_scheduled_actions",
            "ScheduledActions",
            ServiceNamespace="ecs",
            ResourceId=body["ResourceId"],
            ScheduledActionNames=[resource.name],
        )
        return found[0] if found else None

    def write(self, clients: Clients, names: object, resource: Resource) -> None:
        """See `Keeper`. A service has to be registered first; one that is keeps its own bounds."""
        body, region = resource.body, resource.region
        target = {name: body[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        listed = clients.all(
            "application-autoscaling",
            region,
            "describe_scalable_targets",
            "ScalableTargets",
            ServiceNamespace="ecs",
            ResourceIds=[body["ResourceId"]],
        )
        if not listed:
            tasks = self._running(clients, resource)
            bounds = {"MinCapacity": 0, "MaxCapacity": max(tasks, body["ScalableTargetAction"]["MaxCapacity"])}
            clients.call("application-autoscaling", region, "register_scalable_target", **target, **bounds)
        clients.call("application-autoscaling", region, "put_scheduled_action", **body)

    def _running(self, clients: Clients, resource: Resource) -> int:
        _, cluster, service = resource.body["ResourceId"].split("/")
        found = clients.call(
            "ecs",
            resource.region,
            "describe_services",
            missing=("ClusterNotFoundException",),
            cluster=cluster,
            services=[service],
        )
        if found is None or not found["services"]:
            raise CloudFailure(f"there is no service {service} in cluster {cluster}", code="no_such_service")
        return int(found["services"][0]["desiredCount"])

    def danger(self, stands: Body | None, resource: Resource) -> str:
        """Nothing is in the way."""
        return ""


class RetentionKeeper:
    """How long a log group keeps its lines. One without retention keeps them for ever, and is paid for."""

    def read(self, clients: Clients, names: object, resource: Resource) -> Body | None:
        """See `Keeper`."""
        listed = clients.all(
            "logs", resource.region, "describe_log_groups", "logGroups", logGroupNamePrefix=resource.name
        )
        return next((each for each in listed if each["logGroupName"] == resource.name), None)

    def write(self, clients: Clients, names: object, resource: Resource) -> None:
        """See `Keeper`."""
        clients.call("logs", resource.region, "put_retention_policy", **resource.body)

    def danger(self, stands: Body | None, resource: Resource) -> str:
        """A group that does not stand is made by what writes into it, not by us."""
        return "" if stands is not None else "there is no such log group; it is made when the service first logs"
