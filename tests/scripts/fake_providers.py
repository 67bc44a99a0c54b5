"""A local server that stands for all providers of the example programs: it answers by path, as their APIs do."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

PNG = b"\x89PNG\r\n\x1a\n"
JSON = "application/json"


class FakeProviders:
    """What every example asks for; `paths` are the requests that came, in order."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._numbers = count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body for one request."""
        number = next(self._numbers)
        self.paths.append(path)
        if headers.get("x-amz-target", "").startswith("DynamoDB"):
            return 200, JSON, _dynamodb(headers["x-amz-target"], json.loads(body))
        if path.startswith("/model/"):
            return 200, JSON, _bedrock(path)
        if ":generateContent" in path:
            return 200, JSON, _gemini(number, json.loads(body))
        if path.endswith("/predictions"):
            return 201, JSON, _prediction(number, path)
        if path.startswith(("/v1/text-to-speech", "/v1/images")) or "/image-operations/" in path:
            return (500, JSON, b"{}") if path.endswith("/outpaint") else (200, "image/png", PNG)
        return 404, JSON, b"{}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, content_type, answer = fake.answer(self.path, headers, body)
                self.send_response(status)
                self.send_header("content-type", content_type)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST  # noqa: N815 - http.server's own names

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        return Handler


def _prediction(number: int, path: str) -> bytes:
    """A prediction that is done at once, as Replicate answers one that is waited for."""
    _, _, owner, name, _ = path.removeprefix("/v1").split("/")
    model = f"{owner}/{name}"
    id = f"prediction{number}"
    answer = {
        "id": id,
        "model": model,
        "version": "hidden",
        "input": {},
        "output": "https://replicate.delivery/x.png",
        "logs": "",
        "error": None,
        "status": "succeeded",
        "created_at": "2026-11-22T10:00:00.000Z",
        "started_at": "2026-11-22T10:00:00.100Z",
        "completed_at": "2026-11-22T10:00:02.500Z",
        "metrics": {"predict_time": 2.4},
        "urls": {"get": f"https://api.replicate.com/v1/predictions/{id}", "cancel": "https://api.replicate.com/c"},
    }
    return json.dumps(answer).encode()


def _gemini(number: int, request: dict[str, Any]) -> bytes:
    """A story is 100 tokens in and 500 out, a script 200 and 800; a title tells no usage at all."""
    asked = request["contents"][0]["parts"][0]["text"]
    answer: dict[str, Any] = {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "A lamp in the fog"}]}, "finishReason": "STOP"}
        ],
        "modelVersion": "gemini",
        "responseId": f"gemini-{number}",
    }
    told = {"story": (100, 500), "script": (200, 800)}.get(asked.partition(" ")[0])
    if told is not None:
        prompt, candidates = told
        total = prompt + candidates
        counts = {"promptTokenCount": prompt, "candidatesTokenCount": candidates, "totalTokenCount": total}
        answer["usageMetadata"] = counts
    return json.dumps(answer).encode()


def _bedrock(path: str) -> bytes:
    if "titan-embed" in path:
        return json.dumps({"embedding": [0.1, 0.2], "inputTextTokenCount": 45}).encode()
    message = {"message": {"role": "assistant", "content": [{"text": "Hold the button."}]}}
    usage = {"inputTokens": 1_200, "outputTokens": 642, "totalTokens": 1_842}
    if not re.search("sonnet", path):
        usage = {"inputTokens": 400, "outputTokens": 100, "totalTokens": 500}
    answer = {"output": message, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 900}}
    return json.dumps(answer).encode()


def _dynamodb(target: str, request: dict[str, Any]) -> bytes:
    found: dict[str, Any] = {"Item": {"used": {"N": "14"}}} if target.endswith("GetItem") else {}
    if request.get("ReturnConsumedCapacity") == "TOTAL":
        found["ConsumedCapacity"] = {"TableName": request["TableName"], "CapacityUnits": 1.0}
    return json.dumps(found).encode()
