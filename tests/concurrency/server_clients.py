"""Retrying clients of a server that is killed meanwhile: what each was told, and what it must therefore find."""

from __future__ import annotations

import http.client
import random
import threading
import time
from typing import Any

import msgspec

CALL: dict[str, Any] = {
    "provider": "openai",
    "service": "gpt-4o",
    "usage": {"output_tokens": 100},
    "project": "kills",
}
COST = "0.001"
"""100 output tokens of gpt-4o at $10.00 a million."""


class RetryingClient(threading.Thread):
    """Sends events and reservations, each with its id, again and again until it is answered."""

    def __init__(self, port: int, number: int, seed: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.number, self.stop = port, number, stop
        self.dice = random.Random(seed + number)
        self.acknowledged: set[str] = set()
        self.reserved: set[str] = set()
        self.settled: set[str] = set()
        self.released: set[str] = set()
        self.retries = 0
        self.refused: list[bytes] = []
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Until told to stop: what is under way then is brought to its end."""
        try:
            self.send_until_stopped()
        finally:
            self.hang_up()

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def send_until_stopped(self) -> None:
        """Events one by one and in batches, and reservations, by chance."""
        sent = 0
        while not self.stop.is_set():
            sent += 1
            id = f"c{self.number}-{sent}"
            way = self.dice.random()
            if way < 0.5:
                self.until_answered("/v1/events", {**CALL, "id": id})
                self.acknowledged.add(id)
            elif way < 0.7:
                batch = [{**CALL, "id": f"{id}-{at}"} for at in range(self.dice.randrange(1, 30))]
                answer = self.until_answered("/v1/events", batch)
                self.acknowledged.update(one["id"] for one in answer["outcomes"] if one.get("cost") == COST)
            else:
                self.hold(f"r-{id}")

    def hold(self, id: str) -> None:
        """Reserve, then settle or release."""
        self.until_answered("/v1/reserve", {**CALL, "id": id, "usage": {"output_tokens": 500}})
        self.reserved.add(id)
        if self.dice.random() < 0.8:
            self.until_answered("/v1/settle", {"id": id, "usage": {"output_tokens": 100}})
            self.settled.add(id)
        else:
            self.until_answered("/v1/release", {"id": id})
            self.released.add(id)

    def until_answered(self, path: str, body: object) -> Any:
        """The answer of a server that has done it; what it refused is kept, and ends the client."""
        text = msgspec.json.encode(body)
        while True:
            try:
                connection = self._connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self._connection = connection
                connection.request("POST", path, text, {"content-type": "application/json"})
                response = connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException):
                self.hang_up()
                self.retries += 1
                time.sleep(self.dice.uniform(0.05, 0.3))
                continue
            if response.status in (200, 201):
                return msgspec.json.decode(answer)
            if response.status not in (429, 503):
                self.refused.append(answer)
                raise SystemExit
            self.retries += 1
            time.sleep(self.dice.uniform(0.05, 0.3))
