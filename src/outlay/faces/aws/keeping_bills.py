"""AWS Budgets and Cost Anomaly Detection, read and written: services of the account, reached in us-east-1."""

from __future__ import annotations

from typing import Any, Protocol

from outlay.faces.aws.clients import Clients
from outlay.faces.aws.resources import Resource

Body = dict[str, Any]
_NOTIFIED = ("NotificationType", "ComparisonOperator", "Threshold", "ThresholdType")


class _Account(Protocol):
    def account(self, region: str) -> str:
        """The number of the account."""
        ...

    def filled(self, region: str, body: Body) -> Body:
        """A body with ARNs in place of names."""
        ...


class _Safe:
    def danger(self, stands: Body | None, resource: Resource) -> str:
        """Nothing is in the way."""
        return ""


class BudgetKeeper(_Safe):
    """A budget, its notifications, and whom each tells."""

    def read(self, clients: Clients, names: _Account, resource: Resource) -> Body | None:
        """See `Keeper`."""
        region = resource.region
        named: Body = {"AccountId": names.account(region), "BudgetName": resource.name}
        found = clients.call("budgets", region, "describe_budget", missing=("NotFoundException",), **named)
        if found is None:
            return None
        told, emails = [], []
        listed = clients.all("budgets", region, "describe_notifications_for_budget", "Notifications", **named)
        for each in listed:
            plain = _plain(each)
            told.append(plain)
            if resource.body["Emails"]:
                emails.append(self._emails(clients, region, named, plain))
        wanted = resource.body["Emails"]
        same = next((addresses for addresses in emails if addresses != wanted), wanted if told else [])
        return {"CostFilters": {}, **found["Budget"], "Notifications": told, "Emails": same}

    def _emails(self, clients: Clients, region: str, named: Body, notification: Body) -> list[str]:
        told = clients.all(
            "budgets",
            region,
            "describe_subscribers_for_notification",
            "Subscribers",
            missing=("NotFoundException",),
            **named,
            Notification=notification,
        )
        return sorted(each["Address"] for each in told if each["SubscriptionType"] == "EMAIL")

    def write(self, clients: Clients, names: _Account, resource: Resource) -> None:
        """See `Keeper`. AWS sets a budget's notifications apart from it once it stands."""
        region, account = resource.region, names.account(resource.region)
        body = {name: value for name, value in resource.body.items() if name not in ("Notifications", "Emails")}
        subscribers = [{"SubscriptionType": "EMAIL", "Address": email} for email in resource.body["Emails"]]
        stands = self.read(clients, names, resource)
        wanted: list[Body] = resource.body["Notifications"] if subscribers else []
        if stands is None:
            told = [{"Notification": each, "Subscribers": subscribers} for each in wanted]
            clients.call(
                "budgets", region, "create_budget", AccountId=account, Budget=body, NotificationsWithSubscribers=told
            )
            return
        clients.call("budgets", region, "update_budget", AccountId=account, NewBudget=body)
        named: Body = {"AccountId": account, "BudgetName": resource.name}
        others = stands["Emails"] != resource.body["Emails"]
        for each in stands["Notifications"]:
            if others or each not in wanted:
                clients.call("budgets", region, "delete_notification", **named, Notification=each)
        for each in wanted:
            if others or each not in stands["Notifications"]:
                told_once: Body = {"Notification": each, "Subscribers": subscribers}
                clients.call("budgets", region, "create_notification", **named, **told_once)


def _plain(notification: Body) -> Body:
    """A notification as it is written; what AWS leaves out of a kind of threshold is a percentage."""
    found = {"ThresholdType": "PERCENTAGE", **notification}
    return {name: found[name] for name in _NOTIFIED}


def find_monitor(clients: Clients, region: str, name: str) -> Body | None:
    """The monitor of that name; for a monitor by service any one, since an account can have only one."""
    for each in clients.all("ce", region, "get_anomaly_monitors", "AnomalyMonitors"):
        if each["MonitorName"] == name:
            return each
    return None


class MonitorKeeper(_Safe):
    """An anomaly monitor. One by service that stands already, under whatever name, is taken: AWS allows one."""

    def read(self, clients: Clients, names: _Account, resource: Resource) -> Body | None:
        """See `Keeper`."""
        return find_monitor(clients, resource.region, resource.name)

    def write(self, clients: Clients, names: _Account, resource: Resource) -> None:
        """See `Keeper`. AWS changes only a monitor's name, so one that stands is left."""
        if self.read(clients, names, resource) is None:
            clients.call("ce", resource.region, "create_anomaly_monitor", AnomalyMonitor=resource.body)

    def danger(self, stands: Body | None, resource: Resource) -> str:
        """A monitor cannot be made to look at other things; that takes a new one, under another name."""
        if stands is None:
            return ""
        for name in ("MonitorType", "MonitorDimension", "MonitorSpecification"):
            if stands.get(name) != resource.body.get(name):
                return f"AWS cannot change the {name} of a monitor; give the anomaly another name in [aws.anomalies]"
        return ""


class SubscriptionKeeper(_Safe):
    """Who is told of anomalies, from which impact on."""

    def read(self, clients: Clients, names: _Account, resource: Resource) -> Body | None:
        """See `Keeper`."""
        for each in clients.all("ce", resource.region, "get_anomaly_subscriptions", "AnomalySubscriptions"):
            if each["SubscriptionName"] == resource.name:
                told = [{"Type": one["Type"], "Address": one["Address"]} for one in each["Subscribers"]]
                return {**each, "Subscribers": told}
        return None

    def write(self, clients: Clients, names: _Account, resource: Resource) -> None:
        """See `Keeper`."""
        region, stands = resource.region, self.read(clients, names, resource)
        body = names.filled(region, resource.body)
        if stands is None:
            clients.call("ce", region, "create_anomaly_subscription", AnomalySubscription=body)
            return
        clients.call("ce", region, "update_anomaly_subscription", SubscriptionArn=stands["SubscriptionArn"], **body)
