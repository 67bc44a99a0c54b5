"""Retouch: an image editor. Each operation on an image is one call to one of three providers."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from outlay.faces.cli.demo.company import UNKNOWN_DAYS, Day, Fields, Work, drawn_customer, drawn_second
from outlay.faces.cli.demo.sellers import (
    CORE,
    DIFFUSION,
    ENLARGE,
    INPAINT,
    PAINTER,
    STYLE,
    UNKNOWN,
    UPSCALER,
    Seller,
)
from outlay.faces.cli.demo.video import IMAGE_TOKENS

OPERATIONS_A_DAY: Final = 72.0
FAILS: Final = 0.03


class Tool(NamedTuple):
    """One of the editor's tools: how often it is used, what it calls, and what a call uses."""

    weight: int
    operation: str
    seller: Seller
    meter: str


TOOLS: Final = (
    Tool(26, "generate_image", DIFFUSION, "hardware_seconds"),
    Tool(14, "upscale_image", UPSCALER, "hardware_seconds"),
    Tool(14, "edit_image", PAINTER, "output_image_tokens"),
    Tool(12, "generate_image", CORE, "images"),
    Tool(8, "upscale_image", ENLARGE, "images"),
    Tool(10, "inpaint", INPAINT, "images"),
    Tool(8, "style_transfer", STYLE, "images"),
)


def edits_of(day: Day) -> list[Fields]:
    """The day's operations, a few of them failed and tried again."""
    random = day.random("retouch")
    events: list[Fields] = []
    for number in range(day.volume(OPERATIONS_A_DAY, random)):
        events += _edit(day, number, random)
    if day.index in UNKNOWN_DAYS:
        events += _trials(day, random)
    return events


def _edit(day: Day, number: int, random: Random) -> list[Fields]:
    customer = drawn_customer(random)
    tool = random.choices(TOOLS, [tool.weight for tool in TOOLS])[0]
    name = day.name("edit", number)
    work = Work(
        day,
        drawn_second(random),
        name,
        project="retouch",
        team="imaging",
        customer=customer.name,
        user=random.choice(customer.users),
        feature=tool.operation.replace("_", "-"),
        request=f"request-{name}",
    )
    fails = tool.meter == "hardware_seconds" and random.random() < FAILS
    if fails:
        seconds = random.randint(1, 3)
        work.call(
            tool.seller,
            tool.operation,
            {"hardware_seconds": seconds},
            seconds,
            status="failed",
            error="the provider timed out",
            tags={"attempt": "1"},
        )
    usage, seconds_used = _usage(tool, random)
    work.call(tool.seller, tool.operation, usage, seconds_used, **({"tags": {"attempt": "2"}} if fails else {}))
    return work.events


def _usage(tool: Tool, random: Random) -> tuple[dict[str, object], float]:
    seconds = random.randint(2, 7)
    if tool.meter == "hardware_seconds":
        return {"hardware_seconds": seconds}, seconds
    if tool.meter == "images":
        return {"images": 1}, seconds
    tokens = {"output_tokens": IMAGE_TOKENS, "output_image_tokens": IMAGE_TOKENS}
    return {"input_tokens": random.randint(280, 520), **tokens}, seconds


def _trials(day: Day, random: Random) -> list[Fields]:
    """Somebody tries a model of which no price is known."""
    work = Work(
        day,
        14 * 3600,
        day.name("trial", 0),
        project="retouch",
        team="imaging",
        customer="quiet-press",
        user="lena",
        feature="generate-image",
    )
    for _ in range(random.randint(2, 4)):
        work.call(UNKNOWN, "generate_image", {"images": 1}, random.uniform(3, 8))
    return work.events
