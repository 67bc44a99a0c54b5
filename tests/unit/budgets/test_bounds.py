"""The worst case of requests, worked by hand from the rows of bounds.toml."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import pytest

from outlay.budgets.bound_rules import model_of, rules
from outlay.budgets.bounds import bound, itemised, with_output, worst_case, written
from outlay.budgets.shapes import shape_of
from outlay.budgets.terms import Bound
from outlay.budgets.tokenizer import tiktoken_counter
from outlay.budgets.weigh import CountTokens
from outlay.errors import InvalidInput
from outlay.meters import METERS, ancestors
from outlay.model import BoundKind, Quantity

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}


def chat(**fields: Any) -> Bound:
    return bound("openai", {"model": "gpt-4o", "messages": HELLO, **fields})


def parts(found: Bound) -> dict[str, Quantity]:
    return {part.name: part.quantity for part in found.parts}


def asked_with(**part: Any) -> Bound:
    return bound("google", {"contents": [{"role": "user", "parts": [part]}]}, "gemini-2.5-flash")


def test_a_chat_is_its_text_its_template_and_its_maximum_of_output() -> None:
    """`user` 4 + 1, `Hello` 5 + 1, 8 for the message: 19; 96 for the template; 50 of output."""
    found = chat(max_tokens=50, temperature=0.5)
    assert parts(found) == {"messages": 19, "template": 96, "output": 50}
    assert found.usage == found.window_usage == {"input_tokens": 115, "output_tokens": 50}
    assert (found.kind, found.output_given, found.output_tokens_max) == (BoundKind.UPPER, True, 50)
    assert (found.output_field, found.context_window) == ("max_completion_tokens", 128_000)


def test_output_is_times_the_outputs_and_never_more_than_the_model_gives() -> None:
    assert chat(max_completion_tokens=50, n=3).usage["output_tokens"] == 150
    assert chat(max_completion_tokens=99_999).usage["output_tokens"] == 16_384
    assert chat(max_tokens=True, n=0).usage["output_tokens"] == 16_384, "no number is no maximum"
    assert chat(max_tokens="-5").usage["output_tokens"] == 16_384
    assert chat(max_tokens="many").usage["output_tokens"] == 16_384
    unknown = bound("nobody", {"model": "unheard-of", "messages": HELLO})
    assert parts(unknown)["output"] == 10_485_760
    assert unknown.kind is BoundKind.CONTEXT_WINDOW


def test_a_field_that_no_rule_names_is_counted_as_text() -> None:
    extra = {"shiny_new_field": {"text": "x" * 1000}}
    assert chat(**extra).usage["input_tokens"] - chat().usage["input_tokens"] > 1000
    assert chat(metadata={"a": "x" * 1000}).usage == chat().usage, "settings are shown to no model"
    assert chat(response_format=None).usage == chat().usage


def test_tools_bring_their_schema_and_the_provider_s_own_prompt() -> None:
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    shown = '{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}'
    assert parts(chat(tools=[tool]))["tools"] == 160 + 32 + len(shown) + 1
    assert "tools" not in parts(chat(tools=[])) or parts(chat(tools=[]))["tools"] == 0


@pytest.mark.parametrize(
    ("model", "detail", "tokens"),
    [
        # gpt-4o: 85, or 85 + 8 × 170 = 1,445 for 768 × 2,048; gpt-4o-mini: 2,833 + 8 × 5,667 = 48,169.
        ("gpt-4o", "low", 85),
        ("gpt-4o", "high", 1_445),
        ("gpt-4o", "auto", 1_445),
        ("gpt-4o-mini", "low", 2_833),
        ("gpt-4o-mini", "high", 48_169),
    ],
)
def test_an_image_is_bounded_by_its_detail_whatever_its_size(model: str, detail: str, tokens: int) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": detail}}
    found = bound("openai", {"model": model, "messages": [{"role": "user", "content": [image]}]})
    assert parts(found)["image"] == tokens
    assert found.usage["input_image_tokens"] == tokens
    assert found.usage["input_tokens"] == parts(found)["messages"] + 96 + tokens


def test_a_response_s_image_has_its_detail_beside_its_address() -> None:
    image = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"}
    found = bound("openai", {"model": "gpt-4o", "input": [{"role": "user", "content": [image]}]})
    assert (found.api, parts(found)["image"]) == ("openai-responses", 85)


def test_an_image_to_a_model_of_which_no_row_tells_images_may_fill_its_window() -> None:
    found = bound("openai", {"model": "gpt-3.5-turbo", "messages": [{"content": [IMAGE]}]})
    assert parts(found)["image"] == 16_385


def test_sound_is_bounded_by_its_bytes_and_a_document_by_the_window() -> None:
    """16,000 base64 characters are 12,000 bytes, at 160 a second at most 75 s: (75 + 1) × 32 tokens."""
    sound = asked_with(inlineData={"mimeType": "audio/flac", "data": "A" * 16_000})
    assert parts(sound)["audio"] == 76 * 32
    assert sound.usage["input_audio_tokens"] == 76 * 32
    linked = asked_with(fileData={"mimeType": "audio/flac", "fileUri": "gs://a/b"})
    assert (parts(linked)["audio"], linked.kind) == (1_048_576, BoundKind.CONTEXT_WINDOW)
    film = asked_with(fileData={"mimeType": "video/mp4", "fileUri": "gs://a/b"})
    paper = asked_with(inlineData={"mimeType": "application/pdf", "data": "AAAA"})
    assert parts(film)["video"] == parts(paper)["document"] == 1_048_576
    assert paper.usage["input_tokens"] == 1_048_576, "no input exceeds the window"


def test_a_plain_document_is_bounded_by_its_text() -> None:
    notes = asked_with(inlineData={"mimeType": "text/plain", "data": "QUJD"})
    assert parts(notes)["document"] == 3 + 16
    source = {"type": "text", "media_type": "text/plain", "data": "two words"}
    body = {"messages": [{"role": "user", "content": [{"type": "document", "source": source}]}], "max_tokens": 1}
    assert parts(bound("anthropic", body, "claude-sonnet-4-5"))["document"] == 9 + 16
    given = {"document": {"format": "txt", "source": {"bytes": b"abc"}}}
    found = bound("aws", {"messages": [{"role": "user", "content": [given]}]}, "us.amazon.nova-lite-v1:0")
    assert parts(found)["document"] == 3 + 24
    remote = {
        "type": "document",
        "source": {"type": "url", "media_type": "text/plain", "data": "https://a.example/b"},
    }
    body = {"messages": [{"role": "user", "content": [remote]}], "max_tokens": 1}
    assert parts(bound("anthropic", body, "claude-sonnet-4-5"))["document"] == 1_000_000


@pytest.mark.parametrize(
    ("provider", "body", "part"),
    [
        ("openai", {"model": "gpt-5", "input": "Hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("openai", {"model": "gpt-5", "input": "Hi", "prompt": {"id": "pmpt_1"}}, "prompt"),
        ("openai", {"model": "gpt-5", "input": "Hi", "tools": [{"type": "web_search"}]}, "web_search"),
        ("openai", {"model": "gpt-5", "input": "Hi", "reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ("openai", {"model": "gpt-4o-search-preview", "messages": HELLO}, "server tools"),
        ("perplexity", {"model": "sonar-pro", "messages": HELLO}, "server tools"),
        ("openai", {"type": "session.update", "session": {"model": "gpt-realtime"}}, "session"),
        ("google", {"contents": [], "cachedContent": "cachedContents/1"}, "cachedContent"),
        ("google", {"contents": [], "tools": [{"googleSearch": {}}]}, "googleSearch"),
        (
            "anthropic",
            {"messages": HELLO, "tools": [{"type": "web_search_20250305", "name": "w"}]},
            "web_search_20250305",
        ),
        ("aws", {"messages": [], "toolConfig": {"tools": [{"systemTool": {"name": "c"}}]}}, "systemTool"),
        ("xai", {"model": "grok-4", "messages": [], "tools": [{"code_execution": {}}]}, "code_execution"),
        ("nobody", {"question": "?"}, "request"),
    ],
)
def test_what_the_request_does_not_hold_has_no_bound(provider: str, body: dict[str, Any], part: str) -> None:
    found = bound(provider, body)
    assert found.kind is BoundKind.UNBOUNDED
    (named, *_) = [one for one in found.parts if one.kind is BoundKind.UNBOUNDED and one.name == part]
    assert named.quantity >= 1
    assert found.window_usage["input_tokens"] >= found.usage.get("input_tokens", 0) + found.context_window


def test_a_server_tool_s_uses_are_counted_and_bounded_by_max_uses() -> None:
    tool = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    found = bound("anthropic", {"model": "claude-opus-4-6", "messages": HELLO, "tools": [tool], "max_tokens": 9})
    assert found.window_usage["web_searches"] == 3
    assert "web_searches" not in found.usage
    own = {"type": "bash_20250124", "name": "bash"}
    mine = bound("anthropic", {"model": "claude-opus-4-6", "messages": HELLO, "tools": [own], "max_tokens": 9})
    assert mine.kind is BoundKind.UPPER
    assert mine.usage["input_tokens"] > 2500


def test_tools_that_are_no_table_are_the_caller_s_own() -> None:
    assert bound("anthropic", {"model": "claude-3-opus", "messages": HELLO, "tools": ["?"]}).kind is BoundKind.UPPER
    assert (
        bound("google", {"contents": [], "tools": {"functionDeclarations": []}}, "gemini-2.0").kind is BoundKind.UPPER
    )


def test_reasoning_that_no_maximum_covers_is_bounded_by_itself() -> None:
    said = {"messages": HELLO, "max_tokens": 20}
    thinks = bound("x-ai", {"model": "grok-4-fast-reasoning", **said})
    plain = bound("x-ai", {"model": "grok-4-fast-non-reasoning", **said})
    assert parts(thinks)["reasoning"] == 2_000_000
    assert not thinks.output_covers_reasoning
    assert "reasoning" not in parts(plain)
    assert plain.usage["output_tokens"] == 20
    assert (thinks.kind, plain.kind) == (BoundKind.CONTEXT_WINDOW, BoundKind.UPPER)


def test_a_thinking_budget_says_what_the_maximum_must_exceed() -> None:
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 4000}}
    found = bound("anthropic", {"model": "claude-sonnet-4-5", "messages": HELLO, "max_tokens": 5000, **thinking})
    assert (found.output_tokens_least, found.usage["output_tokens"]) == (4000, 5000)


@pytest.mark.parametrize(
    ("provider", "service", "body", "field"),
    [
        ("openai", "o3", {"messages": HELLO}, "max_completion_tokens"),
        ("mistral", "mistral-large", {"messages": HELLO}, "max_tokens"),
        ("openai", "gpt-5", {"input": "Hi"}, "max_output_tokens"),
        ("anthropic", "claude-opus-4-6", {"messages": HELLO}, "max_tokens"),
        ("anthropic", "claude-2", {"prompt": "Hi"}, "max_tokens_to_sample"),
        ("google", "gemini-2.5-pro", {"contents": []}, "generationConfig.maxOutputTokens"),
        ("aws", "amazon.nova-lite-v1:0", {"messages": []}, "inferenceConfig.maxTokens"),
        ("aws", "amazon.titan-text-express-v1", {"inputText": ""}, "textGenerationConfig.maxTokenCount"),
        ("aleph-alpha", "luminous-base", {"prompt": "Hi"}, "maximum_tokens"),
        ("openai", "text-embedding-3-small", {"input": "Hi"}, None),
    ],
)
def test_a_maximum_is_written_where_the_api_reads_it(
    provider: str, service: str, body: dict[str, Any], field: str | None
) -> None:
    found = bound(provider, body, service)
    assert found.output_field == field
    if field is None:
        with pytest.raises(InvalidInput) as refused:
            written(body, found, 77)
        assert refused.value.code == "no_output_field"
        return
    sent = written(body, found, 77)
    again = bound(provider, sent, service)
    assert (again.output_given, again.usage["output_tokens"]) == (True, 77)
    assert again.usage.get("input_tokens") == found.usage.get("input_tokens"), "the maximum is no text"
    assert field.split(".")[0] not in body


def test_writing_a_maximum_keeps_what_stands_beside_it() -> None:
    body = {"contents": [], "generationConfig": {"temperature": 0}}
    sent = written(body, bound("google", body, "gemini-2.5-pro"), 5)
    assert sent == {"contents": [], "generationConfig": {"temperature": 0, "maxOutputTokens": 5}}
    assert body == {"contents": [], "generationConfig": {"temperature": 0}}


def test_a_schema_inside_the_settings_is_text() -> None:
    schema = {"responseSchema": {"type": "OBJECT"}}
    found = bound("google", {"contents": [], "generationConfig": schema}, "gemini-2.5-pro")
    assert parts(found)["schema"] == len('{"type": "OBJECT"}') + 1


def test_bytes_bound_text_and_a_tokenizer_that_normalises_counts_the_longer_form() -> None:
    """U+FDFA is 3 bytes and 33 after NFKC; a JSON of it is shown escaped or normalised, whichever is longer."""
    ligature = "\ufdfa"

    def of(provider: str, content: object) -> int:
        found = bound(provider, {"model": "m", "messages": [{"content": content}]})
        return int(parts(found)["messages"])

    assert of("openai", ligature) - of("openai", "") == 3
    assert of("mistral", ligature) - of("mistral", "") == 33
    assert of("openai", "\ud800") - of("openai", "") == 3, "half a pair is text too"
    assert of("mistral", {"name": ligature * 9}) > 9 * 33
    assert of("openai", {"name": ligature}) == len('{"name": "\\ufdfa"}') + 1 + 8
    assert of("openai", 12) == 2 + 1 + 8


def test_a_known_tokenizer_counts_the_text_exactly() -> None:
    asked: list[str] = []

    def tokenizers(name: str) -> CountTokens | None:
        asked.append(name)
        return lambda text: len(text.split())

    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "one two three"}], "tools": [{"a": "b c"}]}
    found = bound("openai", body, tokenizers=tokenizers)
    assert asked == ["o200k_base"]
    assert parts(found)["messages"] == (1 + 1) + (3 + 1) + 8
    assert parts(found)["tools"] == (3 + 1) + 160 + 32
    assert parts(bound("anthropic", {"model": "claude-opus-4-6", "messages": HELLO}, tokenizers=tokenizers))
    assert asked == ["o200k_base"], "a model whose tokenizer is not public is bounded by bytes"
    assert bound("openai", body, tokenizers=lambda name: None) == bound("openai", body)


def test_tiktoken_counts_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Encoding:
        def encode_ordinary(self, text: str) -> list[int]:
            return [1] * len(text)

    def get_encoding(name: str) -> Encoding:
        if name == "away":
            raise OSError("no network")
        return Encoding()

    module = ModuleType("tiktoken")
    module.get_encoding = get_encoding  # type: ignore[attr-defined]  # a stand-in for the library
    tiktoken_counter.cache_clear()
    monkeypatch.setitem(sys.modules, "tiktoken", module)
    counter = tiktoken_counter("o200k_base")
    assert counter is not None
    assert counter("abc") == 3
    assert tiktoken_counter("away") is None
    monkeypatch.setitem(sys.modules, "tiktoken", None)
    assert tiktoken_counter("cl100k_base") is None
    tiktoken_counter.cache_clear()


@pytest.mark.parametrize(
    ("provider", "body", "usage"),
    [
        (
            "openai",
            {"model": "dall-e-3", "prompt": "a cat", "n": 2},
            {"input_tokens": 5 + 1 + 64, "output_images": 2},
        ),
        ("openai", {"model": "dall-e-3", "prompt": "a cat"}, {"input_tokens": 70, "output_images": 1}),
        ("openai", {"model": "tts-1", "voice": "alloy", "input": "Hello"}, {"characters": 5}),
        ("tavily", {"query": "?"}, {"requests": 1}),
        ("cohere", {"query": "?", "documents": []}, {}),
        # 101 documents, one of 600 bytes that may be three pieces: 103 pieces are 2 searches.
        ("cohere", {"query": "?", "documents": ["x" * 600, *["y"] * 100]}, {"rerank_searches": 2}),
    ],
)
def test_meters_that_the_request_fixes(provider: str, body: dict[str, Any], usage: dict[str, Quantity]) -> None:
    assert bound(provider, body).usage == usage


def test_a_body_must_be_a_table() -> None:
    with pytest.raises(InvalidInput) as refused:
        bound("openai", ["no", "table"])  # type: ignore[arg-type]  # what a caller may pass
    assert refused.value.code == "bad_body"


def quote_of(rates: Mapping[str, int]) -> Callable[[Mapping[str, Quantity], Mapping[str, str]], int | None]:
    """Picounits by leaf: a part with a rate of its own is taken out of its whole; conditions multiply."""

    def quote(usage: Mapping[str, Quantity], conditions: Mapping[str, str]) -> int | None:
        if conditions.get("service_tier") == "unheard-of":
            return None
        factor = 2 if conditions.get("service_tier") == "priority" else 1
        inner = {m: q for m, q in usage.items() if m in rates and any(outer in usage for outer in ancestors(m))}
        total = sum(int(q) * rates[m] for m, q in inner.items())
        for meter in set(usage) - set(inner):
            if any(outer in usage for outer in ancestors(meter)):
                continue
            rest = int(usage[meter]) - sum(int(q) for m, q in inner.items() if meter in ancestors(m))
            assert rest >= 0, "parts never exceed their whole"
            total += rest * rates[meter]
        return factor * total

    return quote


RATES = {"input_tokens": 2, "output_tokens": 10, "input_image_tokens": 5, "cache_write_1h_tokens": 4}


def test_the_worst_case_is_the_dearest_way_in_which_the_parts_may_be_billed() -> None:
    plain = chat(max_tokens=50)
    assert worst_case(plain, quote_of(RATES)).amount == 4 * 115 + 10 * 50, "all input written to the cache"
    assert worst_case(plain, quote_of({**RATES, "output_reasoning_tokens": 30})).amount == 4 * 115 + 30 * 50
    auto = chat(max_tokens=50, service_tier="auto")
    assert worst_case(auto, quote_of(RATES)).amount == 2 * (4 * 115 + 10 * 50), "auto may be served as priority"
    flexible = chat(max_tokens=50, service_tier="priority")
    assert worst_case(flexible, quote_of(RATES)).amount == 2 * (4 * 115 + 10 * 50)


def test_requests_with_the_same_members_are_bounded_each_by_its_own_values() -> None:
    """What is kept of a shape is which rules may matter; a member that is there and null is as one that is not."""
    flex = bound("openai", {"model": "gpt-4o", "messages": HELLO, "max_tokens": 50, "n": 2, "service_tier": "flex"})
    auto = bound("openai", {"model": "gpt-4o", "messages": HELLO, "max_tokens": 70, "n": None, "service_tier": None})
    assert (flex.usage["output_tokens"], auto.usage["output_tokens"]) == (100, 70)
    assert {one.conditions.get("service_tier") for one in flex.variants} == {"flex", "default"}
    assert auto == bound("openai", {"model": "gpt-4o", "messages": HELLO, "max_tokens": 70})
    assert bound("openai", {"model": "gpt-4o", "messages": None, "input": "Hello"}).api != flex.api


def test_only_ways_of_billing_that_have_a_rate_are_tried() -> None:
    tried: list[Mapping[str, Quantity]] = []

    def quote(usage: Mapping[str, Quantity], conditions: Mapping[str, str]) -> int | None:
        tried.append(usage)
        return quote_of(RATES)(usage, conditions)

    found = chat(max_tokens=50)
    assert worst_case(found, quote, priced=set(RATES)).amount == worst_case(found, quote_of(RATES)).amount
    assert tried == [{"input_tokens": 115, "output_tokens": 50}, {**found.usage, "cache_write_1h_tokens": 115}]


def test_images_are_priced_as_images_beside_text_that_is_written_to_the_cache() -> None:
    found = bound("openai", {"model": "gpt-4o", "messages": [{"content": [IMAGE]}], "max_tokens": 1})
    text = int(found.usage["input_tokens"]) - 85
    assert worst_case(found, quote_of(RATES)).amount == 85 * 5 + text * 4 + 10


def test_what_is_not_bounded_is_priced_at_the_model_s_window_apart() -> None:
    asking = worst_case(bound("openai", {"model": "gpt-5", "input": "Hi", "conversation": "c"}), quote_of(RATES))
    assert asking.unbounded
    assert asking.amount is not None
    assert asking.window_amount == asking.amount + 400_000 * 2
    assert asking.window_usage["input_tokens"] == int(asking.usage["input_tokens"]) + 400_000
    assert not worst_case(chat(), quote_of(RATES)).window_usage


def test_a_request_without_any_price_has_no_amount() -> None:
    assert worst_case(chat(), lambda usage, conditions: None).amount is None
    assert worst_case(chat(service_tier="unheard-of"), quote_of(RATES)).amount is None


def test_an_allotment_takes_the_place_of_the_model_s_maximum() -> None:
    found = with_output(chat(n=2), 1024)
    assert found.usage == {"input_tokens": 115, "output_tokens": 2048}
    assert (parts(found)["output"], found.output_tokens_max) == (2048, 1024)
    unknown = with_output(bound("nobody", {"model": "unheard-of", "messages": HELLO}), 1024)
    assert unknown.kind is BoundKind.UPPER


def test_the_amounts_of_the_parts_sum_to_the_worst_case() -> None:
    for found in (
        chat(max_tokens=50, messages=[{"content": [IMAGE, "a cat"]}]),
        bound("openai", {"model": "gpt-5", "input": "Hi", "conversation": "c"}),
    ):
        priced = itemised(found, quote_of(RATES))
        asking = worst_case(found, quote_of(RATES))
        amounts = [part.amount for part in priced.parts]
        assert None not in amounts
        assert sum(amount or 0 for amount in amounts) == (asking.window_amount or asking.amount)
    assert {part.amount for part in itemised(chat(), lambda usage, conditions: None).parts} == {None}


def test_every_row_of_the_file_is_sound() -> None:
    """Every meter is known, every family has a window, every API a source, and the last model takes any name."""
    for api in rules().apis:
        assert api.source.startswith("https://")
        named = [*api.inside, *(inner for several in api.inside.values() for inner in several)]
        named += [*api.server.meters.values(), *(count.meter for count in api.counts)]
        assert set(named) <= set(METERS), api.name
        assert all(whole in ancestors(inner) for whole, several in api.inside.items() for inner in several)
        assert api.output is None or api.output.write is not None
    windows = [model.context for _, model in rules().models]
    assert model_of("a name that nobody knows").context == max(windows)
    assert all(model.output is None or model.output <= model.context for _, model in rules().models)
    assert shape_of("nobody", "x", {"nothing": 1}) is None


@pytest.mark.parametrize(
    ("service", "context", "output"),
    [
        ("gpt-4o-mini-2024-07-18", 128_000, 16_384),
        ("openai/gpt-4.1-mini", 1_047_576, 32_768),
        ("o3-mini-2025-01-31", 200_000, 100_000),
        ("gpt-5-nano-2025-08-07", 400_000, 128_000),
        ("gpt-5.6-sol", 1_050_000, 128_000),
        ("claude-3-opus-20240229", 200_000, 4_096),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, 128_000),
        ("claude-opus-4-20250514", 200_000, 32_000),
        ("claude-opus-4-1-20250805", 200_000, 32_000),
        ("claude-opus-4-5-20251101", 1_000_000, 64_000),
        ("claude-sonnet-4-5-20250929", 1_000_000, 64_000),
        ("anthropic/claude-4.5-sonnet-20250929", 1_000_000, 64_000),
        ("claude-opus-4-6", 1_000_000, 128_000),
        ("claude-sonnet-5", 1_000_000, 128_000),
        ("models/gemini-2.0-flash-exp", 1_048_576, 8_192),
        ("gemini-3-pro-preview", 1_048_576, 65_536),
        ("llama3-8b-8192", 8_192, 8_192),
        ("command-r7b-12-2024", 262_144, 32_768),
    ],
)
def test_a_service_is_found_among_the_families(service: str, context: int, output: int) -> None:
    found = model_of(service)
    assert (found.context, found.output) == (context, output)


def test_no_window_is_smaller_than_a_catalogue_knows_it() -> None:
    """1,400 windows that genai-prices tells, each against the row that its name finds."""
    from genai_prices import data_snapshot

    told = [
        (model.id, model.context_window)
        for provider in data_snapshot.get_snapshot().providers
        for model in provider.models
        if model.context_window
    ]
    assert len(told) > 1400
    assert {name: window for name, window in told if window > model_of(name).context} == {}


def test_pictures_that_are_billed_one_by_one_are_counted_by_what_is_asked_for() -> None:
    body = {"input": {"prompt": "a cat", "num_outputs": 4}}
    assert parts(bound("replicate", body, "black-forest-labs/flux-schnell")) == {"runs": 1, "output_images": 4}
    assert parts(bound("replicate", {"input": {}}, "black-forest-labs/flux-schnell"))["output_images"] == 1
