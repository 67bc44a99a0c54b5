"""Metrics and alarms that go together, by name: what `[aws]` of outlay.toml starts from.

`ai` is a service that tells one cost an operation of a provider; `assistant` one that tells a request's cost, the
services' shares of it and the day's sum. Thresholds are those of their environments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Tables = dict[str, Any]

_ASSISTANT_DAY: Final = {"dev": "10", "prod": "50", "claude4": "25"}
_ASSISTANT_REQUEST: Final = {"dev": "0.50", "prod": "1.00", "claude4": "2.00"}


def _tokens(namespace: str) -> Tables:
    sets = [[], ["Model"]]
    return {
        "InputTokens": {"namespace": namespace, "of": "input_tokens", "dimensions": sets, "unit": "Count"},
        "OutputTokens": {"namespace": namespace, "of": "output_tokens", "dimensions": sets, "unit": "Count"},
    }


def _outlay(environment: str) -> Tables:
    sets = [[], ["Provider"], ["Provider", "Operation"], ["Feature"]]
    return {"metrics": {"Cost": {"namespace": "Outlay", "dimensions": sets}, **_tokens("Outlay")}}


def _ai(environment: str) -> Tables:
    namespace = "VisualNeurons/AI"
    sets = [[], ["Provider"], ["Provider", "Operation", "Success"]]
    return {
        "metrics": {"OperationCost": {"namespace": namespace, "dimensions": sets}, **_tokens(namespace)},
        "alarms": {
            "hourly": {"metric": "OperationCost", "above": "50", "description": "AI costs of an hour"},
            "daily": {
                "metric": "OperationCost",
                "above": "500",
                "period_s": 86_400,
                "description": "AI costs of a day, UTC",
            },
        },
    }


def _assistant(environment: str) -> Tables:
    namespace = "Manuel/Costs"
    return {
        "metrics": {
            "RequestCost": {"namespace": namespace, "of": "request", "dimensions": [[], ["Operation"]]},
            "ServiceCost": {
                "namespace": namespace,
                "of": "service",
                "dimensions": [["Service"], ["Service", "Operation"]],
            },
            "DailyCostAccumulation": {"namespace": namespace, "of": "day"},
            **_tokens(namespace),
        },
        "alarms": {
            "daily": {
                "metric": "DailyCostAccumulation",
                "above": _ASSISTANT_DAY.get(environment, _ASSISTANT_DAY["prod"]),
                "statistic": "Maximum",
                "period_s": 300,
                "description": "Cost of the day so far",
            },
            "request": {
                "metric": "RequestCost",
                "above": _ASSISTANT_REQUEST.get(environment, _ASSISTANT_REQUEST["prod"]),
                "statistic": "Maximum",
                "period_s": 300,
                "description": "Cost of one request",
            },
            "bedrock": {
                "metric": "ServiceCost",
                "above": "1.00",
                "period_s": 300,
                "where": {"Service": "bedrock"},
                "description": "Bedrock costs of five minutes",
            },
        },
    }


PRESETS: Final[Mapping[str, Callable[[str], Tables]]] = {"outlay": _outlay, "ai": _ai, "assistant": _assistant}

EXPIRY_DAYS: Final[Mapping[str, Mapping[str, int | str]]] = {
    "dev": {"temp/": 1, "generations/": 7, "compositions/": 14, "uploads/": "never"},
    "prod": {"temp/": 7, "generations/": 30, "compositions/": 90, "uploads/": "never"},
}
"""Which prefixes of a bucket of videos go after how many days, where `[aws.buckets.…]` says none of its own."""
