"""AWS Budgets and Cost Explorer's anomalies, where moto has none: a small server that speaks their JSON protocol.

Every request and every answer is checked against botocore's own model of the service, so that the fake takes and says
only what AWS would. It holds what was put into it, and nothing else of AWS' behaviour.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import botocore
import botocore.session
from botocore.validate import ParamValidator

Body = dict[str, Any]
REGION = "us-east-2"
_TARGETS = {"AWSBudgetServiceGateway": "budgets", "AWSInsightsIndexService": "ce"}


class NotFound(Exception):
    """What is asked for is not there."""


class FakeAws:
    """What stands: budgets with their notifications and subscribers, anomaly monitors and subscriptions."""

    def __init__(self) -> None:
        session = botocore.session.get_session()
        self.models = {name: session.get_service_model(name) for name in _TARGETS.values()}
        self.calls: list[str] = []
        self.budgets: dict[str, Body] = {}
        self.notifications: dict[str, list[tuple[Body, list[Body]]]] = {}
        self.monitors: list[Body] = []
        self.subscriptions: list[Body] = []

    def answer(self, target: str, body: Body) -> Body:
        prefix, _, operation = target.partition(".")
        model = self.models[_TARGETS[prefix.partition("_")[0]]].operation_model(operation)
        self._check(body, model.input_shape, f"request {operation}")
        self.calls.append(operation)
        method: Callable[[Body], Body] = getattr(self, botocore.xform_name(operation))
        answer = method(body)
        self._check(answer, model.output_shape, f"answer {operation}")
        return answer

    def _check(self, body: Body, shape: Any, what: str) -> None:
        report = ParamValidator().validate(body, shape)
        assert not report.has_errors(), f"{what}: {report.generate_report()}"

    # Budgets

    def create_budget(self, body: Body) -> Body:
        name = body["Budget"]["BudgetName"]
        self.budgets[name] = body["Budget"]
        told = body.get("NotificationsWithSubscribers", [])
        assert len(told) <= 10, "AWS takes at most 10 notifications"
        self.notifications[name] = [(each["Notification"], each["Subscribers"]) for each in told]
        return {}

    def update_budget(self, body: Body) -> Body:
        self.budgets[body["NewBudget"]["BudgetName"]] = body["NewBudget"]
        return {}

    def describe_budget(self, body: Body) -> Body:
        if body["BudgetName"] not in self.budgets:
            raise NotFound
        return {"Budget": {**self.budgets[body["BudgetName"]], "CalculatedSpend": _NOTHING_SPENT}}

    def describe_notifications_for_budget(self, body: Body) -> Body:
        # AWS adds a state of its own.
        return {
            "Notifications": [
                {**each, "NotificationState": "OK"} for each, _ in self.notifications[body["BudgetName"]]
            ]
        }

    def describe_subscribers_for_notification(self, body: Body) -> Body:
        for each, subscribers in self.notifications[body["BudgetName"]]:
            if each == body["Notification"]:
                return {"Subscribers": subscribers}
        raise NotFound

    def create_notification(self, body: Body) -> Body:
        self.notifications[body["BudgetName"]].append((body["Notification"], body["Subscribers"]))
        return {}

    def delete_notification(self, body: Body) -> Body:
        kept = [pair for pair in self.notifications[body["BudgetName"]] if pair[0] != body["Notification"]]
        self.notifications[body["BudgetName"]] = kept
        return {}

    # Cost Anomaly Detection

    def create_anomaly_monitor(self, body: Body) -> Body:
        arn = f"arn:aws:ce::123456789012:anomalymonitor/{len(self.monitors)}"
        self.monitors.append({**body["AnomalyMonitor"], "MonitorArn": arn})
        return {"MonitorArn": arn}

    def get_anomaly_monitors(self, body: Body) -> Body:
        return _page(self.monitors, "AnomalyMonitors", body)

    def create_anomaly_subscription(self, body: Body) -> Body:
        known = {each["MonitorArn"] for each in self.monitors}
        assert set(body["AnomalySubscription"]["MonitorArnList"]) <= known, "a monitor that does not stand"
        arn = f"arn:aws:ce::123456789012:anomalysubscription/{len(self.subscriptions)}"
        self.subscriptions.append({**body["AnomalySubscription"], "SubscriptionArn": arn})
        return {"SubscriptionArn": arn}

    def get_anomaly_subscriptions(self, body: Body) -> Body:
        return _page(self.subscriptions, "AnomalySubscriptions", body)

    def update_anomaly_subscription(self, body: Body) -> Body:
        for each in self.subscriptions:
            if each["SubscriptionArn"] == body["SubscriptionArn"]:
                each.update(body)
        return {"SubscriptionArn": body["SubscriptionArn"]}


_NOTHING_SPENT = {"ActualSpend": {"Amount": "0.0", "Unit": "USD"}}


def _page(found: list[Body], key: str, body: Body) -> Body:
    """One a page, so that whoever reads has to go on."""
    at = int(body.get("NextPageToken", "0"))
    page: Body = {key: found[at : at + 1]}
    if at + 1 < len(found):
        page["NextPageToken"] = str(at + 1)
    return page


@contextmanager
def fake_aws() -> Iterator[tuple[str, FakeAws]]:
    """The fake's address and what it holds."""
    fake = FakeAws()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            try:
                status, answer = 200, fake.answer(self.headers["X-Amz-Target"], body)
            except NotFound:
                status, answer = 400, {"__type": "NotFoundException", "Message": "there is none"}
            except AssertionError as error:
                status, answer = 400, {"__type": "ValidationException", "Message": str(error)}
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def client(service: str, region: str = REGION) -> Any:
    """boto3's client of whatever the environment names."""
    return boto3.client(service, region_name=region)
