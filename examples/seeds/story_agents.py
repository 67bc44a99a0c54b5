"""Seed 3: agents that find stories, paint and speak; a FastAPI application that says what each video cost.

    python examples/seeds/story_agents.py --url https://… --port 8000

The document's ledger of costs forgets a video when the process ends, answers month 13 with nothing, and guesses two
tokens a word. Here costs survive, bad dates are refused, and what a provider reports counts; only where it reports
nothing is a guess kept, marked `estimated`. With `use_real=False` nothing is called and nothing is booked.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, HTTPException

import outlay
from outlay.instrument.asgi import OutlayMiddleware

PRICES = Path(__file__).with_name("prices.toml")
GEMINI = "/v1beta/models/gemini:generateContent"


class Agents:
    """The three agents share a client and a ledger."""

    def __init__(self, ledger: outlay.Ledger, client: httpx.AsyncClient, *, use_real: bool = True) -> None:
        self._ledger = ledger
        self._client = client
        self._use_real = use_real

    async def write(self, operation: str, prompt: str) -> str:
        """A text of Gemini's."""
        if not self._use_real:
            return f"a made-up {operation}"
        body = {"contents": [{"parts": [{"text": prompt}]}]}
        answer = (await self._client.post(GEMINI, json=body)).raise_for_status().json()
        self._ledger.record_response(
            answer, provider="google", service="gemini", operation=operation, request_body=body, estimate="words"
        )
        return str(answer["candidates"][0]["content"]["parts"][0]["text"])

    async def paint(self, prompt: str) -> bytes:
        """A picture of Nano Banana's."""
        async with self._ledger.track(provider="google", service="nano-banana", operation="image_generation") as call:
            answer = await self._client.post("/v1/images", json={"prompt": prompt})
            call.usage(images=1)
            return answer.raise_for_status().content

    async def speak(self, text: str) -> bytes:
        """A voice of ElevenLabs'."""
        async with self._ledger.track(provider="elevenlabs", service="text-to-speech", operation="voice") as call:
            answer = await self._client.post("/v1/text-to-speech/voice-1", json={"text": text})
            call.usage(characters=len(text))
            return answer.raise_for_status().content


def build(ledger: outlay.Ledger, url: str, *, use_real: bool = True) -> FastAPI:
    """The application: one route that makes a video, and the document's three that say what was spent."""
    client = httpx.AsyncClient(base_url=url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> Any:
        yield
        await client.aclose()

    app = FastAPI(title="story agents", lifespan=lifespan)
    agents = Agents(ledger, client, use_real=use_real)

    @app.post("/videos/{video_id}")
    async def make_video(video_id: str, topic: str, stories: int = 3, images: int = 5) -> dict[str, Any]:
        with ledger.attribute(job=video_id, project="ai-video-pipeline"):
            title = await agents.write("title", f"A title for {topic}")
            found = [
                await agents.write("story_generation", f"story {number} on {topic}") for number in range(stories)
            ]
            script = await agents.write("script_generation", f"script of {len(found)} stories")
            if use_real:
                for number in range(images):
                    await agents.paint(f"scene {number}: {script}")
                await agents.speak("x" * 1_200)
        ledger.finish(video_id, units=1)
        return {"video_id": video_id, "title": title, "stories": len(found)}

    @app.get("/analytics/costs/daily")
    def daily(target_date: date | None = None) -> dict[str, Any]:
        day = target_date or datetime.now(UTC).date()
        return {"date": day.isoformat(), **_spent(ledger, since=day, until=date.fromordinal(day.toordinal() + 1))}

    @app.get("/analytics/costs/monthly")
    def monthly(year: int, month: int) -> dict[str, Any]:
        try:
            first = date(year, month, 1)
            after = date(year + month // 12, month % 12 + 1, 1)
        except ValueError as error:
            raise HTTPException(422, f"{year}-{month} is no month") from error
        return {"year": year, "month": month, **_spent(ledger, since=first, until=after)}

    @app.get("/analytics/costs/video/{video_id}")
    def video(video_id: str) -> dict[str, Any]:
        try:
            job = ledger.job(video_id)
        except outlay.NotFound as error:
            raise HTTPException(404, str(error)) from error
        services = {service: float(cost.amount) for (_, service), cost in job.by_service.items()}
        return {"video_id": video_id, "costs_by_service": services, "total": float(job.total.amount)}

    app.add_middleware(OutlayMiddleware, ledger=ledger, envelope=True)
    return app


def _spent(ledger: outlay.Ledger, **period: Any) -> Mapping[str, Any]:
    ledger.flush()
    costs = ledger.costs("service", **period)
    services = {str(row.keys[0]): float(row.cost.amount) for row in costs.rows}
    return {"costs_by_service": services, "total": float(costs.total.amount)}


def main() -> None:
    """Serve the application."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ledger", type=Path, default=Path("stories.db"))
    parser.add_argument("--url", required=True, help="the address under which the providers are reached")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()

    import uvicorn

    with outlay.open(options.ledger, prices=PRICES) as ledger:
        uvicorn.run(build(ledger, options.url), port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
