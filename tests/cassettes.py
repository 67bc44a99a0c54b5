"""Every recorded exchange with a provider, read from the cassettes under OUTLAY_TEST_DATA."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import yaml


class Exchange(NamedTuple):
    """One request and its answer: `body` as bytes of the wire, parsed JSON, or a list of frames of a session."""

    file: str
    host: str
    url: str | None
    path: str
    request: object
    status: int | None
    content_type: str
    headers: Mapping[str, str]
    body: Any

    @property
    def label(self) -> str:
        return f"{self.file}: {self.host}{self.path}"


@cache
def exchanges(folder: Path) -> tuple[Exchange, ...]:
    """All exchanges in the cassettes of `folder`, in the order of file names."""
    root = folder / "cassettes"
    return tuple(exchange for path in sorted(root.rglob("*.yaml")) for exchange in _of_file(path, root))


def _of_file(path: Path, root: Path) -> Iterator[Exchange]:
    recorded = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)["interactions"]
    name = str(path.relative_to(root))
    if "direction" in recorded[0]:
        yield _session(name, recorded)
        return
    for interaction in recorded:
        if "response_sample" in interaction:
            sample = interaction["response_sample"]["json"]
            yield Exchange(
                name, "api.x.ai", "https://api.x.ai", "", interaction["request_sample"]["json"], None, "", {}, sample
            )
        else:
            yield _http(name, interaction)


def _session(name: str, recorded: list[dict[str, Any]]) -> Exchange:
    received = [frame["data"] for frame in recorded if frame["direction"] == "received"]
    first = next((frame["data"] for frame in recorded if frame["direction"] == "sent"), None)
    return Exchange(name, "(websocket)", None, "", first, None, "websocket", {}, received)


def _http(name: str, interaction: dict[str, Any]) -> Exchange:
    request, response = interaction["request"], interaction["response"]
    parts = urlsplit(request["uri"])
    headers = {key.lower(): _text(values[0]) for key, values in response["headers"].items() if values}
    body = response["parsed_body"] if "parsed_body" in response else response["body"]["string"]
    return Exchange(
        name,
        parts.netloc,
        request["uri"],
        parts.path,
        request.get("parsed_body", request.get("body")),
        response["status"]["code"],
        headers.get("content-type", ""),
        headers,
        body.encode() if isinstance(body, str) else body,
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def parsed(exchange: Exchange) -> Any:
    """The body as JSON where it is one, else None."""
    if not isinstance(exchange.body, bytes):
        return exchange.body
    data = gzip.decompress(exchange.body) if exchange.body[:2] == b"\x1f\x8b" else exchange.body
    try:
        return json.loads(data)
    except ValueError:
        return None
