"""The same things as CloudFormation. Every threshold is a parameter: `--parameter-overrides DailyThreshold=25`.

Two templates: `regional` where the application runs, `billing` for us-east-1, where AWS keeps what it knows of the
bill. What belongs to others (buckets, log groups) is changed by `outlay aws apply` alone: a template would own it.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from outlay.errors import InvalidInput
from outlay.faces.aws.definition import BILLING_REGION, Definition
from outlay.faces.aws.resources import TOPIC, Kind, Resource, resources_of

PARTS: Final = ("regional", "billing")
_BILLING: Final = (Kind.BUDGET, Kind.MONITOR, Kind.SUBSCRIPTION)
_NOT_OWNED: Final = (Kind.LIFECYCLE, Kind.RETENTION)
_WORD: Final = re.compile(r"[A-Za-z0-9]+")

Body = dict[str, Any]


def template(definition: Definition, part: str = "regional") -> Body:
    """A template as plain data. Raises InvalidInput `unknown_part`."""
    if part not in PARTS:
        raise InvalidInput(f"part {part[:20]!r} is regional or billing", code="unknown_part")
    made = _Template(definition, part)
    for resource in resources_of(definition):
        if resource.kind not in _NOT_OWNED and _belongs(resource, part, definition):
            made.add(resource)
    return made.body(f"Costs of {definition.name}: {part}, written by outlay aws template")


def _belongs(resource: Resource, part: str, definition: Definition) -> bool:
    if resource.kind in _BILLING or "EstimatedCharges" in json.dumps(resource.body):
        return part == "billing"
    if resource.kind is not Kind.TOPIC:
        return part == "regional"
    if part == "billing":
        # Where all is in one region the regional template's topic cannot be named from here.
        return definition.billing is not None and resource.region == BILLING_REGION
    return bool(definition.alarms) and resource.region == definition.region


class _Template:
    def __init__(self, definition: Definition, part: str) -> None:
        self._definition = definition
        self._part = part
        self._parameters: Body = {}
        self._resources: Body = {}
        self._monitors: dict[str, str] = {}

    def body(self, description: str) -> Body:
        found: Body = {"AWSTemplateFormatVersion": "2010-09-09", "Description": description}
        if self._parameters:
            found["Parameters"] = self._parameters
        return {**found, "Resources": self._resources}

    def add(self, resource: Resource) -> None:
        make = {
            Kind.TOPIC: self._topic,
            Kind.ALARM: self._alarm,
            Kind.DASHBOARD: self._dashboard,
            Kind.BUDGET: self._budget,
            Kind.MONITOR: self._monitor,
            Kind.SUBSCRIPTION: self._subscription,
            Kind.SCHEDULE: self._schedule,
        }[resource.kind]
        make(resource)

    def _short(self, resource: Resource) -> str:
        return _camel(resource.name.removeprefix(f"{self._definition.name}-"))

    def _parameter(self, name: str, default: object, description: str) -> Body:
        kind = "String" if isinstance(default, str) else "Number"
        self._parameters[name] = {"Type": kind, "Default": default, "Description": description}
        return {"Ref": name}

    def _emails(self, emails: list[str]) -> list[Body]:
        return [
            self._parameter(f"AlertEmail{place}", email, "Who is told by e-mail")
            for place, email in enumerate(sorted(emails), 1)
        ]

    def _put(self, id: str, kind: str, properties: Body) -> None:
        self._resources[id] = {"Type": kind, "Properties": properties}

    def _topic(self, resource: Resource) -> None:
        # The billing template may stand in the region of the other: two stacks cannot make one topic.
        both = self._part == "billing" and self._definition.region == BILLING_REGION
        name = f"{resource.name}-billing" if both else resource.name
        endpoints = [{"Protocol": "email", "Endpoint": email} for email in self._emails(resource.body["emails"])]
        self._put("AlertTopic", "AWS::SNS::Topic", {"TopicName": name, "Subscription": endpoints})

    def _alarm(self, resource: Resource) -> None:
        body = dict(resource.body)
        short = self._short(resource)
        threshold = body["Threshold"]
        told = int(threshold) if threshold == int(threshold) else threshold
        body["Threshold"] = self._parameter(f"{short}Threshold", told, body["AlarmDescription"])
        body["AlarmActions"] = [
            {"Ref": "AlertTopic"} if each.startswith(TOPIC) else each for each in body["AlarmActions"]
        ]
        self._put(f"{short}Alarm", "AWS::CloudWatch::Alarm", body)

    def _dashboard(self, resource: Resource) -> None:
        properties = {"DashboardName": resource.name, **resource.body}
        self._put(f"{self._short(resource)}Dashboard", "AWS::CloudWatch::Dashboard", properties)

    def _budget(self, resource: Resource) -> None:
        short, body = self._short(resource), dict(resource.body)
        amount = float(body["BudgetLimit"]["Amount"])
        limit = self._parameter(f"{short}Limit", int(amount) if amount == int(amount) else amount, "USD")
        subscribers = [{"SubscriptionType": "EMAIL", "Address": email} for email in self._emails(body.pop("Emails"))]
        notifications = []
        for each in body.pop("Notifications"):
            name = f"{short}{'Forecast' if each['NotificationType'] == 'FORECASTED' else ''}Percent"
            percent = int(each["Threshold"])
            told = self._parameter(f"{name}{percent}", percent, "Percent of the limit at which it is told")
            notifications.append({"Notification": {**each, "Threshold": told}, "Subscribers": subscribers})
        if not body["CostFilters"]:
            del body["CostFilters"]
        body["BudgetLimit"] = {"Amount": limit, "Unit": "USD"}
        properties: Body = {"Budget": body}
        if subscribers:
            properties["NotificationsWithSubscribers"] = notifications
        self._put(f"{short}Budget", "AWS::Budgets::Budget", properties)

    def _monitor(self, resource: Resource) -> None:
        id = self._monitors[resource.name] = f"{self._short(resource)}Monitor"
        body = dict(resource.body)
        if "MonitorSpecification" in body:
            body["MonitorSpecification"] = json.dumps(body["MonitorSpecification"])
        self._put(id, "AWS::CE::AnomalyMonitor", body)

    def _subscription(self, resource: Resource) -> None:
        short, body = self._short(resource), dict(resource.body)
        text = json.dumps(body["ThresholdExpression"])
        for key, name in (("ABSOLUTE", "Amount"), ("PERCENTAGE", "Percent")):
            found = re.search(rf'(IMPACT_{key}".*?"Values": \[")([^"]+)(")', text)
            if found:
                self._parameter(f"{short}{name}", _number(found[2]), "Impact from which an anomaly is told")
                text = text[: found.start(2)] + f"${{{short}{name}}}" + text[found.end(2) :]
        body["ThresholdExpression"] = {"Fn::Sub": text}
        addresses = self._emails([each["Address"] for each in body["Subscribers"]])
        body["Subscribers"] = [{"Type": "EMAIL", "Address": email} for email in addresses]
        body["MonitorArnList"] = [{"Ref": self._monitors[resource.name]}]
        self._put(f"{short}Subscription", "AWS::CE::AnomalySubscription", body)

    def _schedule(self, resource: Resource) -> None:
        """One scalable target a service: CloudFormation has the actions as properties of the target."""
        body = resource.body
        id = f"{_camel(body['ResourceId'])}Target"
        tasks = body["ScalableTargetAction"]["MaxCapacity"]
        found = self._resources.setdefault(
            id,
            {
                "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                "Properties": {
                    "ServiceNamespace": "ecs",
                    "ResourceId": body["ResourceId"],
                    "ScalableDimension": body["ScalableDimension"],
                    "MinCapacity": 0,
                    "MaxCapacity": 0,
                    "ScheduledActions": [],
                },
            },
        )["Properties"]
        found["MaxCapacity"] = max(found["MaxCapacity"], tasks)
        wanted = ("ScheduledActionName", "Schedule", "Timezone", "ScalableTargetAction")
        found["ScheduledActions"].append({name: body[name] for name in wanted})


def _camel(text: str) -> str:
    return "".join(word[0].upper() + word[1:] for word in _WORD.findall(text))


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value == int(value) else value
