"""Manuals: an assistant that answers questions about machines. One request is several calls in the cloud."""

from __future__ import annotations

from random import Random
from typing import Final

from outlay.faces.cli.demo.company import Day, Fields, Outcome, Work, drawn_customer, drawn_second
from outlay.faces.cli.demo.sellers import ANSWERER, BUCKET, EMBEDDER, FUNCTION, GATEWAY, TABLE, TRANSCRIBER

QUESTIONS_A_DAY: Final = 15.0
SPOKEN: Final = 0.18
CUT_OFF: Final = 0.02
GB_OF_MEMORY: Final = 0.25
INDEXING_WEEKDAY: Final = 2
CHUNKS_A_MANUAL: Final = (12, 30)


def answers_of(day: Day) -> tuple[list[Fields], list[Outcome]]:
    """The day's questions, and on Wednesdays the manuals that are taken in."""
    random = day.random("manuals")
    events: list[Fields] = []
    outcomes: list[Outcome] = []
    for number in range(day.volume(QUESTIONS_A_DAY, random)):
        events += _question(day, number, random)
    if day.date.weekday() == INDEXING_WEEKDAY:
        for number in range(random.randint(1, 3)):
            job = day.name("manual", number)
            events += _indexing(day, job, random)
            outcomes.append(Outcome(job, 1, "ok", events[-1]["time"]))
    return events, outcomes


def _question(day: Day, number: int, random: Random) -> list[Fields]:
    customer = drawn_customer(random)
    name = day.name("question", number)
    work = Work(
        day,
        drawn_second(random),
        name,
        project="manuals",
        team="support",
        customer=customer.name,
        user=random.choice(customer.users),
        request=name,
        feature="answers",
    )
    work.call(GATEWAY, "request", {"requests": 1}, 0.002)
    if random.random() < SPOKEN:
        _spoken(work, random)
    words = random.randint(9, 40)
    work.call(EMBEDDER, "embed_question", {"input_tokens": words}, 0.12)
    work.call(TABLE, "read_limits", {"read_request_units": 1}, 0.006)
    answer = {"input_tokens": words + random.randint(900, 2_600), "output_tokens": random.randint(180, 720)}
    seconds = random.uniform(1.2, 4.5)
    if random.random() < CUT_OFF:
        # The stream broke off: what had been read and written by then is charged.
        cut = {**answer, "output_tokens": answer["output_tokens"] // 4}
        work.call(ANSWERER, "answer", cut, seconds / 3, status="failed", error="the stream broke off")
    work.call(ANSWERER, "answer", answer, seconds, parameters={"max_tokens": 1_024})
    work.call(TABLE, "write_usage", {"write_request_units": 1}, 0.008)
    _function(work, round(seconds + 0.4, 3))
    return work.events


def _function(work: Work, seconds: float) -> None:
    gb_seconds = f"{seconds * GB_OF_MEMORY:.4f}"
    work.call(FUNCTION, "execution", {"gb_seconds": gb_seconds, "requests": 1}, seconds)


def _spoken(work: Work, random: Random) -> None:
    seconds = random.randint(16, 50)
    work.call(BUCKET, "put_audio", {"put_requests": 1}, 0.05, feature="voice-questions")
    work.call(TRANSCRIBER, "speech_to_text", {"audio_seconds": seconds}, seconds / 3, feature="voice-questions")


def _indexing(day: Day, job: str, random: Random) -> list[Fields]:
    second = 5 * 3600 + random.randrange(3_600)
    work = Work(day, second, job, job=job, project="manuals", team="support", feature="indexing")
    work.call(BUCKET, "put_manual", {"put_requests": 1}, 0.2)
    for chunk in range(random.randint(*CHUNKS_A_MANUAL)):
        tokens = random.randint(5_000, 8_000)
        work.call(EMBEDDER, "embed_page", {"input_tokens": tokens}, 0.5, step=f"chunk-{chunk + 1}")
    return work.events
