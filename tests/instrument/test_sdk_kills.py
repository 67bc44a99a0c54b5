"""kill -9 of a program with a watched client: every call whose answer it had is booked, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.playback_server import playing, whole

import outlay

KILLED = 3

PROGRAM = """
import sys, openai, outlay
ledger = outlay.open(sys.argv[1])
client = ledger.watch(openai.OpenAI(api_key="k", base_url=sys.argv[2] + "/v1"))
while True:
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    print(answer.id, flush=True)
"""


def _answers() -> list[dict[str, object]]:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    message = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    base = {"object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [message], "usage": usage}
    return [{"id": f"chatcmpl-{number}", **base} for number in range(5_000)]


def test_what_was_answered_is_booked_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "outlay.db"
    answered: list[str] = []
    with playing(*map(whole, _answers())) as server:
        for _ in range(KILLED):
            command = [sys.executable, "-c", PROGRAM, str(path), server.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
                assert program.stdout is not None
                answered.append(program.stdout.readline().strip())
                time.sleep(0.2)
                os.kill(program.pid, signal.SIGKILL)
                answered.extend(line.strip() for line in program.stdout if line.endswith("\n"))
    with outlay.open(path) as ledger:
        booked = [str(receipt.event.call_key).removeprefix("openai:") for receipt in ledger.events()]
    assert len(answered) >= KILLED
    assert set(answered) <= set(booked)
    assert len(booked) == len(set(booked))
    assert len(booked) <= len(answered) + KILLED  # At most the one under way each time had not been printed yet.
