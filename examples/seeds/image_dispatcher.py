"""Seed 2: a dispatcher of image operations. Who did what with which provider, for how much, as CloudWatch metrics.

    python examples/seeds/image_dispatcher.py u42:replicate:generateImage u42:stability:inpaint

The document takes one cent for an operation that it does not know, charges what failed, and publishes its metric
with three dimensions only, so that its widgets and alarms stay empty. Here the first is `unpriced`, the second is a
failed call, and the metric is published in all the sets that are read.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import httpx

import outlay
from outlay.instrument.emf import EmfLog
from outlay.instrument.envelope import RequestCost

PRICES = Path(__file__).with_name("prices.toml")


class Dispatcher:
    """Sends an operation to a provider."""

    def __init__(self, ledger: outlay.Ledger, url: str) -> None:
        self._ledger = ledger
        self._client = httpx.Client(base_url=url)
        self._log = EmfLog(
            "VisualNeurons/AI",
            per="call",
            metric="OperationCost",
            dimensions=[[], ["Provider"], ["Provider", "Operation", "Success"]],
            names={"user_id": "userId", "total_cost": "cost"},
            message="Operation cost tracked",
        )

    def handle(self, event: dict[str, Any]) -> bytes:
        """What the document's Lambda does: the operation, and its cost in any case."""
        user = event.get("identity", {}).get("claims", {}).get("sub")
        arguments = event["arguments"]
        provider, operation = arguments.get("provider", "replicate"), arguments["operation"]
        request = RequestCost(event["id"], attribution={"user": user})
        try:
            with (
                request.gathering(),
                self._ledger.track(provider=provider, service="image-operations", operation=operation) as call,
            ):
                answer = self._client.post(f"/{provider}/image-operations/{operation}", json=arguments)
                answer.raise_for_status()
                call.usage(images=1)
                return answer.content
        finally:
            self._log(request)


def main() -> None:
    """Dispatch operations, each as user:provider:operation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", nargs="+")
    parser.add_argument("--ledger", type=Path, default=Path("images.db"))
    parser.add_argument("--url", required=True, help="the address under which the providers are reached")
    options = parser.parse_args()
    with outlay.open(options.ledger) as ledger:
        ledger.add_prices(PRICES, force=True)
        dispatcher = Dispatcher(ledger, options.url)
        for number, text in enumerate(options.operations):
            user, provider, operation = text.split(":")
            identity = {"claims": {"sub": user}} if user else {}
            arguments = {"provider": provider, "operation": operation}
            try:
                dispatcher.handle({"id": f"request-{number}", "identity": identity, "arguments": arguments})
            except httpx.HTTPStatusError as error:
                print(f"{text}: failed with {error.response.status_code}")
        for row in ledger.costs(by=("provider",)).rows:
            print(f"{row.keys[0]}: {row.cost} in {row.events} calls, {row.failed} failed, {row.unpriced} unpriced")


if __name__ == "__main__":
    main()
