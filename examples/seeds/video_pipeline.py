"""Seed 1: an AI video pipeline. Each clip is booked as it is made, a video knows its cost, and two caps hold.

    python examples/seeds/video_pipeline.py video-7 video-8

The document checks its budget before a call and adds the cost after it, so calls at the same time pass the cap
together. Here a call that would pass a cap is refused before it is sent.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import outlay

# A range in the document (lines 208 to 210): one price a run is chosen from it.
MODELS = {
    "stability-ai/sdxl": ("image", 3, "0.004"),
    "lucataco/animate-diff": ("clip", 2, "0.03"),
    "nightmareai/real-esrgan": ("upscale", 3, "0.002"),
}


def prepare(ledger: outlay.Ledger, day: str = "5.00", month: str = "100.00") -> None:
    """The document's prices and its two caps (lines 863 and 864)."""
    for model, (_, _, price) in MODELS.items():
        if not any(rate.service == model for rate in ledger.book.rates("replicate", model)):
            ledger.add_rate(
                provider="replicate", service=model, meter="runs", price=price, source="seed 1", force=True
            )
    caps: dict[str, Any] = {"limits": {"day": day, "month": month}, "action": "refuse"}
    ledger.budget("replicate", where={"provider": "replicate"}, **caps)


def make_video(ledger: outlay.Ledger, client: Any, video: str) -> outlay.Job:
    """Three images, two clips and three upscalings; what they cost, also where a cap stopped the video."""
    with ledger.attribute(job=video, project="ai-video-pipeline", feature="video"):
        try:
            for model, (name, runs, _) in MODELS.items():
                for number in range(1, runs + 1):
                    with ledger.attribute(step=f"{name}-{number}"):
                        client.run(model, input={"prompt": f"{name} {number}"})
        except outlay.BudgetExceeded as refused:
            print(f"{video}: stopped, {refused.code}")
            ledger.finish(video, units=0, status="stopped")
        else:
            ledger.finish(video, units=1)
    return ledger.job(video)


def main() -> None:
    """Make the videos that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+")
    parser.add_argument("--ledger", type=Path, default=Path("video.db"))
    parser.add_argument("--url", help="another address of Replicate's API")
    parser.add_argument("--day", default="5.00", help="the most that a day may cost")
    options = parser.parse_args()

    import replicate

    client = replicate.Client(base_url=options.url) if options.url else replicate.Client()
    with outlay.open(options.ledger) as ledger:
        prepare(ledger, day=options.day)
        ledger.watch(client)
        for video in options.videos:
            job = make_video(ledger, client, video)
            print(f"{video}: {job.total} in {job.events} calls, a unit {job.cost_per_unit}")
        print(f"today: {ledger.costs(where={'provider': 'replicate'}).total}")


if __name__ == "__main__":
    main()
