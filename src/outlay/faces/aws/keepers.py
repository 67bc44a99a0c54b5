"""How each kind of thing is read and written at AWS: one keeper a kind, which knows its service's calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from outlay.faces.aws.clients import Clients
from outlay.faces.aws.keeping_bills import BudgetKeeper, MonitorKeeper, SubscriptionKeeper, find_monitor
from outlay.faces.aws.keeping_stores import LifecycleKeeper, RetentionKeeper, ScheduleKeeper
from outlay.faces.aws.resources import TOPIC, Kind, Resource

Body = dict[str, Any]


class Names:
    """The ARNs that stand behind the names of a definition, asked for once."""

    def __init__(self, clients: Clients) -> None:
        """Nothing is asked until it is needed."""
        self._clients = clients
        self._account = ""

    def account(self, region: str) -> str:
        """The number of the account."""
        if not self._account:
            self._account = self._clients.account(region)
        return self._account

    def topic(self, region: str, name: str) -> str:
        """The ARN of a topic of ours; it follows from its name."""
        return f"arn:{_partition(region)}:sns:{region}:{self.account(region)}:{name}"

    def filled(self, region: str, body: Mapping[str, Any]) -> Body:
        """A body with ARNs in place of the names that stand for them."""
        found: Body = self._filled(region, dict(body))
        return found

    def _filled(self, region: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(region, each) for name, each in value.items()}
        if isinstance(value, list):
            return [self._filled(region, each) for each in value]
        if isinstance(value, str) and value.startswith(TOPIC):
            return self.topic(region, value.removeprefix(TOPIC).removesuffix("}"))
        if isinstance(value, str) and value.startswith("${monitor:"):
            found = find_monitor(self._clients, region, value.removeprefix("${monitor:").removesuffix("}"))
            return value if found is None else found["MonitorArn"]
        return value


def _partition(region: str) -> str:
    return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(region.rpartition("-")[0].rpartition("-")[0], "aws")


class Keeper(Protocol):
    """Reads a thing as its definition has it (None where there is none), writes it, and sees dangers."""

    def read(self, clients: Clients, names: Names, resource: Resource) -> Body | None:
        """What stands."""
        ...

    def write(self, clients: Clients, names: Names, resource: Resource) -> None:
        """Make it stand."""
        ...

    def danger(self, stands: Body | None, resource: Resource) -> str:
        """Why a person must look first; "" where nothing is in the way."""
        ...


class _Safe:
    def danger(self, stands: Body | None, resource: Resource) -> str:
        """Nothing is in the way."""
        return ""


class TopicKeeper(_Safe):
    """An SNS topic and its subscriptions by e-mail; each address has to confirm its own."""

    def read(self, clients: Clients, names: Names, resource: Resource) -> Body | None:
        """See `Keeper`."""
        arn = names.topic(resource.region, resource.name)
        found = clients.call("sns", resource.region, "get_topic_attributes", missing=("NotFound",), TopicArn=arn)
        if found is None:
            return None
        subscribed = clients.all("sns", resource.region, "list_subscriptions_by_topic", "Subscriptions", TopicArn=arn)
        wanted = set(resource.body["emails"])
        emails = {each["Endpoint"] for each in subscribed if each["Protocol"] == "email"}
        return {"emails": sorted(emails & wanted) if wanted <= emails else sorted(emails)}

    def write(self, clients: Clients, names: Names, resource: Resource) -> None:
        """See `Keeper`. Both calls answer the same when they are made again."""
        stands = self.read(clients, names, resource)
        clients.call("sns", resource.region, "create_topic", Name=resource.name)
        arn = names.topic(resource.region, resource.name)
        for email in resource.body["emails"]:
            if stands is None or email not in stands["emails"]:
                told = {"TopicArn": arn, "Protocol": "email", "Endpoint": email}
                clients.call("sns", resource.region, "subscribe", **told)


class AlarmKeeper(_Safe):
    """A CloudWatch alarm; its topic's ARN is known by then."""

    def read(self, clients: Clients, names: Names, resource: Resource) -> Body | None:
        """See `Keeper`."""
        found = clients.all(
            "cloudwatch", resource.region, "describe_alarms", "MetricAlarms", AlarmNames=[resource.name]
        )
        return found[0] if found else None

    def write(self, clients: Clients, names: Names, resource: Resource) -> None:
        """See `Keeper`."""
        clients.call(
            "cloudwatch", resource.region, "put_metric_alarm", **names.filled(resource.region, resource.body)
        )


class DashboardKeeper(_Safe):
    """A CloudWatch dashboard. What AWS finds wrong in its body is an error, though AWS keeps it."""

    def read(self, clients: Clients, names: Names, resource: Resource) -> Body | None:
        """See `Keeper`."""
        missing = ("ResourceNotFound", "DashboardNotFoundError")
        return clients.call(
            "cloudwatch", resource.region, "get_dashboard", missing=missing, DashboardName=resource.name
        )

    def write(self, clients: Clients, names: Names, resource: Resource) -> None:
        """See `Keeper`."""
        clients.call("cloudwatch", resource.region, "put_dashboard", DashboardName=resource.name, **resource.body)


KEEPERS: Final[Mapping[Kind, Keeper]] = {
    Kind.TOPIC: TopicKeeper(),
    Kind.ALARM: AlarmKeeper(),
    Kind.DASHBOARD: DashboardKeeper(),
    Kind.BUDGET: BudgetKeeper(),
    Kind.MONITOR: MonitorKeeper(),
    Kind.SUBSCRIPTION: SubscriptionKeeper(),
    Kind.LIFECYCLE: LifecycleKeeper(),
    Kind.SCHEDULE: ScheduleKeeper(),
    Kind.RETENTION: RetentionKeeper(),
}
