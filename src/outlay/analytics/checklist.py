"""The seeds' checklist of 24 items in four phases: what a fact ticks, and what only a person can. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import msgspec

from outlay.analytics.advice import Advice, AdviceState


class Tick(StrEnum):
    """Whether an item is done: a fact says yes or no, no fact is known, or it is for a person to say."""

    DONE = "done"
    OPEN = "open"
    UNKNOWN = "unknown"
    BY_HAND = "by hand"


class Item(msgspec.Struct, frozen=True):
    """One item: its phase, its words, and the name of the fact that ticks it (none: by hand)."""

    phase: str
    text: str
    fact: str = ""


class Ticked(msgspec.Struct, frozen=True):
    """An item with what is known of it."""

    item: Item
    tick: Tick
    fact: str


Fact = tuple[bool, str]
"""Whether it holds, and what was found."""

_WEEK, _SHORT, _MEDIUM, _LONG = "week 1", "month 1-2", "month 2-3", "later"

ITEMS: Final = (
    Item(_WEEK, "S3 lifecycle policies are active", "lifecycle"),
    Item(_WEEK, "budget alerts at 50, 80 and 100 %", "budget"),
    Item(_WEEK, "anomaly detection", "anomalies"),
    Item(_WEEK, "cost tracking sheet", "sheet"),
    Item(_WEEK, "daily cost monitoring", "daily"),
    Item(_WEEK, "log verbosity reviewed", "logs"),
    Item(_WEEK, "no unused resources running", "idle"),
    Item(_SHORT, "CPU and memory of ECS monitored", "utilisation"),
    Item(_SHORT, "AI costs tracked per video", "per_unit"),
    Item(_SHORT, "optimisation opportunities identified", "advice"),
    Item(_SHORT, "compression settings tested", "bitrate"),
    Item(_SHORT, "smart caching evaluated", "repeats"),
    Item(_SHORT, "unused S3 objects reviewed and cleaned up"),
    Item(_MEDIUM, "reserved instance for RDS", "reserved_rds"),
    Item(_MEDIUM, "reserved node for ElastiCache", "reserved_elasticache"),
    Item(_MEDIUM, "prompt caching in use", "prompt_caching"),
    Item(_MEDIUM, "video compression optimised", "bitrate_accepted"),
    Item(_MEDIUM, "ECS tasks right-sized if below 50 %", "rightsizing"),
    Item(_MEDIUM, "Compute Savings Plan considered", "savings_plan"),
    Item(_LONG, "CloudFront if more than 50 GB are sent", "cdn"),
    Item(_LONG, "Aurora Serverless evaluated", "aurora"),
    Item(_LONG, "multi-region deployment considered"),
    Item(_LONG, "more aggressive caching"),
    Item(_LONG, "Fargate Spot explored", "spot"),
)


def ticked(facts: Mapping[str, Fact]) -> list[Ticked]:
    """Every item with the fact that ticks it or leaves it open."""
    found: list[Ticked] = []
    for item in ITEMS:
        if not item.fact:
            found.append(Ticked(item, Tick.BY_HAND, ""))
        elif item.fact not in facts:
            found.append(Ticked(item, Tick.UNKNOWN, _missing(item.fact)))
        else:
            done, said = facts[item.fact]
            found.append(Ticked(item, Tick.DONE if done else Tick.OPEN, said))
    return found


def facts_of_advice(measures: Sequence[Advice], rules: Sequence[str], fact: str) -> dict[str, Fact]:
    """A fact that holds when none of these rules has anything open: it was decided, or there was nothing to say."""
    of_rules = [one for one in measures if one.rule in rules]
    still = [one for one in of_rules if one.state is AdviceState.OPEN]
    if still:
        return {fact: (False, f"open: {still[0].title}")}
    decided = [f"{one.rule} {one.state}" for one in of_rules]
    return {fact: (True, ", ".join(dict.fromkeys(decided)) or "nothing to advise")}


def _missing(fact: str) -> str:
    if fact == "lifecycle":
        return "give --aws to read the bucket's rules"
    if fact in ("utilisation", "idle", "rightsizing"):
        return "give a stack and --metrics or --aws for two weeks of CPU and memory"
    return "give a stack"
