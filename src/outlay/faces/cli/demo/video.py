"""Clipmaker: one job is one video, made of a story, a script, images, voice lines and clips."""

from __future__ import annotations

from random import Random
from typing import Final

from outlay.faces.cli.demo.company import RUNAWAY_DAY, Day, Fields, Outcome, Work, drawn_customer, drawn_second
from outlay.faces.cli.demo.sellers import CLIPS, PAINTER, VOICE, WRITER

VIDEOS_A_DAY: Final = 5.5
IMAGE_TOKENS: Final = 1_290
"""The output tokens of one image of gemini-2.5-flash-image up to 1024 × 1024."""

CLIP_FAILS: Final = 0.05
VIDEO_FAILS: Final = 0.04
RUNAWAY_JOB: Final = f"video-{RUNAWAY_DAY:03d}-loop"
RUNAWAY_IMAGES: Final = 2_400
RUNAWAY_BEGINS_S: Final = 1 * 3600 + 12 * 60
RUNAWAY_STEP_S: Final = 5.5


def videos_of(day: Day) -> tuple[list[Fields], list[Outcome]]:
    """The day's videos: their calls, and what each came to."""
    random = day.random("clipmaker")
    events: list[Fields] = []
    outcomes: list[Outcome] = []
    for number in range(day.volume(VIDEOS_A_DAY, random)):
        job = day.name("video", number)
        made, done = _video(day, job, random)
        events += made
        ended = made[-1]["time"]
        outcomes.append(Outcome(job, 1, "ok", ended) if done else Outcome(job, 0, "failed", ended))
    if day.index == RUNAWAY_DAY:
        events += _runaway(day, random)
        outcomes.append(Outcome(RUNAWAY_JOB, 0, "cancelled", events[-1]["time"]))
    return events, outcomes


def _video(day: Day, job: str, random: Random) -> tuple[list[Fields], bool]:
    customer = drawn_customer(random)
    work = Work(
        day,
        drawn_second(random),
        job,
        job=job,
        project="clipmaker",
        team="studio",
        customer=customer.name,
        user=random.choice(customer.users),
        request=f"request-{job}",
        tags={"length": random.choice(("15s", "30s", "60s"))},
    )
    _write(work, random)
    for image in range(random.randint(4, 7)):
        _image(work, f"image-{image + 1}", random)
    for line in range(random.randint(3, 6)):
        characters = random.randint(140, 420)
        usage = {"characters": characters}
        work.call(VOICE, "speak", usage, characters / 60, feature="voice", step=f"line-{line + 1}")
    if random.random() < VIDEO_FAILS:
        return work.events, False
    for clip in range(random.randint(3, 5)):
        _clip(work, f"clip-{clip + 1}", random)
    return work.events, True


def _write(work: Work, random: Random) -> None:
    thinking = random.randint(200, 900)
    story = {
        "input_tokens": random.randint(300, 900),
        "output_tokens": thinking + random.randint(900, 1_800),
        "output_reasoning_tokens": thinking,
    }
    warm = {"parameters": {"temperature": 0.9}}
    work.call(WRITER, "write_story", story, random.uniform(4, 9), feature="story", **warm)
    script = {
        "input_tokens": 2_400 + random.randint(900, 1_800),
        "cache_read_tokens": 2_400,
        "output_tokens": random.randint(1_100, 2_200),
    }
    cool = {"parameters": {"temperature": 0.4}}
    work.call(WRITER, "write_script", script, random.uniform(5, 11), feature="script", **cool)


def _image(work: Work, step: str, random: Random) -> None:
    usage = {
        "input_tokens": random.randint(60, 160),
        "output_tokens": IMAGE_TOKENS,
        "output_image_tokens": IMAGE_TOKENS,
    }
    work.call(PAINTER, "generate_image", usage, random.uniform(5, 12), feature="images", step=step)


def _clip(work: Work, step: str, random: Random) -> None:
    if random.random() < CLIP_FAILS:
        # The provider charges for the hardware until the moment it fails.
        seconds = random.randint(3, 20)
        usage = {"hardware_seconds": seconds}
        failed = {"status": "failed", "error": "the model ran out of memory", "tags": {"attempt": "1"}}
        work.call(CLIPS, "generate_clip", usage, seconds, feature="clips", step=step, **failed)
    seconds = random.randint(22, 48)
    work.call(CLIPS, "generate_clip", {"hardware_seconds": seconds}, seconds, feature="clips", step=step)


def _runaway(day: Day, random: Random) -> list[Fields]:
    """A check that is never content: it has the same image drawn again, all night, until somebody looks."""
    work = Work(
        day,
        RUNAWAY_BEGINS_S,
        RUNAWAY_JOB,
        job=RUNAWAY_JOB,
        project="clipmaker",
        team="studio",
        customer="fjord-outdoor",
        user="goran",
        feature="images",
        tags={"loop": "quality-check"},
    )
    for attempt in range(RUNAWAY_IMAGES):
        usage = {
            "input_tokens": random.randint(60, 160),
            "output_tokens": IMAGE_TOKENS,
            "output_image_tokens": IMAGE_TOKENS,
        }
        tries = {"parameters": {"attempt": attempt + 1}}
        work.call(PAINTER, "generate_image", usage, RUNAWAY_STEP_S, step="image-1", **tries)
    return work.events
