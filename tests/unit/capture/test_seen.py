"""What is kept of a call on its way: all that the providers' files read, and no text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from outlay.capture import paths, profiles
from outlay.capture.extract import extract
from outlay.capture.seen import HEADERS, KEPT_NAMES, bare, bare_request

_COMPARED = re.compile(r"(?P<path>(?:[^\[=~]|\[[^\]]*\])+)[=~]")
_TEXTUAL = ("service", "requested", "key", "error", "conditions", "code", "parameters")
_PREDICATES = ("when", "failed", "cancelled", "pending", "only", "ends", "signs", "sure_signs", "whole", "alone")


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Every (root, name) under which a file reads a text."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in _PREDICATES:
                for text in _texts(item):
                    for part in text.split(" & "):
                        compared = _COMPARED.match(part.strip().lstrip("!"))
                        yield from _last(compared["path"]) if compared else ()
            elif name in _TEXTUAL:
                for text in _texts(item):
                    yield from _last(text)
            yield from _named(item)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, str):
        yield from (("body", key) for key in re.findall(r"\[(\w+)=", value))


def _last(term: str) -> Iterator[tuple[str, str]]:
    for path in paths.parse(term):
        if path.steps and path.constant is None:
            yield path.root, path.steps[-1].name or "."


def test_every_name_under_which_a_file_reads_a_text_is_kept() -> None:
    read = {
        one
        for file in profiles.DATA.glob("*.toml")
        for one in _named(tomllib.loads(file.read_text()))
        if one[0] in ("body", "request", "element", "header")
    }
    assert len(read) > 50
    only_whether = {"error", "errors"}  # Not what they say: a text that was left out is there all the same.
    assert {name for root, name in read if root != "header"} - KEPT_NAMES - only_whether - {"."} == set()


def test_every_header_that_a_file_reads_is_kept() -> None:
    text = "\n".join(file.read_text() for file in profiles.DATA.glob("*.toml"))
    assert set(re.findall(r"header:([a-z0-9-]+)", text)) <= HEADERS


def test_no_text_of_a_prompt_an_output_or_an_argument_is_kept() -> None:
    body = {
        "id": "msg_1",
        "model": "claude-sonnet-4-5",
        "content": [
            {"type": "text", "text": "secret"},
            {"type": "tool_use", "name": "look_up", "input": {"name": "secret", "card": 4111, "size": "small"}},
        ],
        "secret": "secret",
        "usage": {"input_tokens": 12, "service_tier": "standard"},
    }
    assert bare(body) == {
        "id": "msg_1",
        "model": "claude-sonnet-4-5",
        "content": [
            {"type": "text", "text": "-"},
            {"type": "tool_use", "name": "look_up", "input": {"name": "-", "size": "small"}},
        ],
        "secret": "-",
        "usage": {"input_tokens": 12, "service_tier": "standard"},
    }


def test_of_a_request_stays_how_it_wants_to_be_served_and_how_long_its_text_is() -> None:
    request = {
        "model": "tts-1",
        "input": "secret",
        "voice": "alloy",
        "user": "secret",
        "messages": ["secret"],
        "n": 2,
    }
    assert bare_request(request) == {"model": "tts-1", "input": "------", "messages": [], "n": 2}
    assert bare_request({"input": "x" * 20_000}) is None


def test_what_an_answer_says_in_the_other_spelling_is_kept_too() -> None:
    usage = {"prompt_token_count": 4, "candidates_token_count": 2, "total_token_count": 6, "traffic_type": "FLEX"}
    answer = {
        "model_version": "gemini-2.5-pro",
        "candidates": [{"content": {"text": "hello"}}],
        "usage_metadata": usage,
    }
    whole, kept = extract(answer), extract(bare(answer))
    assert (kept.service, kept.conditions, kept.usage) == (whole.service, whole.conditions, whole.usage)
    assert kept.service == "gemini-2.5-pro"
    assert bare(answer)["candidates"] == [{"content": {"text": "-"}}]


def test_the_model_of_a_bedrock_agent_is_kept() -> None:
    step = {"modelInvocationInput": {"foundationModel": "amazon.nova-pro-v1:0", "text": "a question"}}
    used = {"modelInvocationOutput": {"metadata": {"usage": {"inputTokens": 3, "outputTokens": 2}}}}
    traces = [{"trace": {"agentAliasId": "A", "trace": {"orchestrationTrace": part}}} for part in (step, used)]
    assert extract([bare(trace) for trace in traces]).service == "amazon.nova-pro-v1:0"
