"""Seed 5: flows on Bedrock, each a feature of a category; a report, and what a change saved.

    python examples/seeds/bedrock_flows.py user123

The document compares 60 days with 30 as they are, which shows half the spending as saved; here periods are compared
per day. A flow without a user is booked too: it is shown as used by nobody.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import outlay

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
SONNET = "anthropic.claude-3-5-sonnet-20241022-v2:0"
# The document derives a flow's category from its name; the first rule that holds counts.
CATEGORIES = (("listing", "content"), ("caption", "content"), ("market", "analysis"), ("reply", "assistant"))
Flow = Callable[..., str]


def category_of(name: str) -> str:
    """The kind of work a flow does, by its name."""
    return next((category for part, category in CATEGORIES if part in name.lower()), "other")


def define_prompt(
    ledger: outlay.Ledger, client: Any, *, name: str, model: str, prompt: str, temperature: float, max_tokens: int
) -> Flow:
    """A flow: its calls are of the feature that it is named after."""

    def flow(user: str | None = None, **values: str) -> str:
        with ledger.attribute(user=user, feature=name, tags={"category": category_of(name)}):
            answer = client.converse(
                modelId=model,
                messages=[{"role": "user", "content": [{"text": prompt.format(**values)}]}],
                inferenceConfig={"temperature": temperature, "maxTokens": max_tokens},
            )
        return str(answer["output"]["message"]["content"][0]["text"])

    return flow


def report(ledger: outlay.Ledger, user: str) -> None:
    """Cost, invocations, by category and model, the dearest features."""
    ledger.flush()
    mine = {"user": user}
    whole = ledger.costs(where=mine)
    print(f"{user}: {whole.total} in {whole.events} invocations")
    for title, by in (("category", "tag.category"), ("model", "service"), ("feature", "feature")):
        for row in ledger.costs(by, where=mine).rows:
            print(f"  {title} {row.keys[0]}: {row.cost} ({row.events} calls)")
    nobody = ledger.costs(where={"user": None})
    print(f"(no user): {nobody.total} in {nobody.events} invocations")


def main() -> None:
    """Run each flow a few times for a user, then report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("user")
    parser.add_argument("--ledger", type=Path, default=Path("flows.db"))
    parser.add_argument("--url", help="another address of AWS")
    parser.add_argument("--region", default="us-east-1")
    options = parser.parse_args()

    import boto3

    client = boto3.client("bedrock-runtime", region_name=options.region, endpoint_url=options.url)
    with outlay.open(options.ledger) as ledger:
        ledger.watch(client)
        shared: dict[str, Any] = {"temperature": 0.3, "max_tokens": 2048}
        listing = define_prompt(
            ledger, client, name="listingDescription", model=SONNET, prompt="Describe {home}", **shared
        )
        caption = define_prompt(ledger, client, name="captionWriter", model=HAIKU, prompt="Caption {home}", **shared)
        market = define_prompt(
            ledger, client, name="marketUpdate", model=HAIKU, prompt="Markets in {place}", **shared
        )
        listing(options.user, home="a lighthouse")
        for _ in range(3):
            caption(options.user, home="a lighthouse")
        market(place="Oslo")
        report(ledger, options.user)


if __name__ == "__main__":
    main()
