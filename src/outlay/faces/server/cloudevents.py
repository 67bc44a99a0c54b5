"""CloudEvents 1.0 in: structured, batched and binary. The data of each is an event as `/v1/events` takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from outlay.errors import InvalidInput
from outlay.faces.server.limits import BadRequest, read_json
from outlay.faces.server.settings import ServerSettings

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
_VERSION_HEADER: Final = b"ce-specversion"
_REQUIRED: Final = ("id", "source", "type")


def is_one(content_type: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request brings CloudEvents."""
    return content_type in (STRUCTURED, BATCHED) or _VERSION_HEADER in headers


def read(
    body: bytes, content_type: str, headers: Mapping[bytes, bytes], settings: ServerSettings
) -> tuple[list[Any], bool]:
    """The fields of each event, or the error that says why it has none; and whether it was one by itself.

    Raises BadRequest `bad_json`, `too_deep`, `too_many_events`.
    """
    if content_type == BATCHED:
        values = read_json(body, settings.depth_max)
        if not isinstance(values, list):
            raise BadRequest("a batch of CloudEvents is an array", code="bad_json")
        if len(values) > settings.events_max:
            raise BadRequest(f"a request may bring {settings.events_max:,} events", code="too_many_events")
        return [_fields(value) for value in values], False
    if content_type == STRUCTURED:
        return [_fields(read_json(body, settings.depth_max))], True
    told: dict[str, Any] = {
        name[3:].decode("latin-1"): unquote(value.decode("latin-1"))
        for name, value in headers.items()
        if name.startswith(b"ce-")
    }
    return [_fields({**told, "data": read_json(body, settings.depth_max)})], True


def _fields(value: Any) -> dict[str, Any] | InvalidInput:
    """The fields of `record`: the data, and from the envelope what the data does not say.

    The id is the source's and the envelope's together, as CloudEvents has it; the subject is the customer.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("data"), Mapping):
        return InvalidInput("a CloudEvent has data: an object with the fields of an event", code="bad_cloudevent")
    if value.get("specversion") != "1.0":
        return InvalidInput("this CloudEvent's specversion is not 1.0", code="bad_cloudevent")
    missing = [name for name in _REQUIRED if not isinstance(value.get(name), str) or not value[name]]
    if missing:
        return InvalidInput(f"a CloudEvent needs {', '.join(missing)}", code="bad_cloudevent")
    fields: dict[str, Any] = {"id": f"{value['source']}#{value['id']}", **value["data"]}
    for name, told in (("time", value.get("time")), ("customer", value.get("subject"))):
        if told is not None and name not in fields:
            fields[name] = told
    return fields
