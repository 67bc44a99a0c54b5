"""Every SDK as programs use it: how a client is made, how a recorded call is made through it, what is then seen."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from tests.cassettes import Exchange


class Sdk(NamedTuple):
    """One SDK, sync or async: how a client is made for an address."""

    name: str
    asynchronous: bool
    make: Callable[[str], Any]


class Call(NamedTuple):
    """One kind of call: which recorded exchanges are its, and how the client makes it from their request."""

    sdk: str
    label: str
    host: str
    path: str
    make: Callable[[Any, Mapping[str, Any], Exchange], Any]


def clients() -> list[Sdk]:
    """All SDKs. Their modules are imported here, so that a test that needs none pays for none."""
    import anthropic
    import boto3
    import botocore.config
    import cohere
    import elevenlabs
    import groq
    import mistralai.client as mistralai
    import openai
    import replicate.client
    from google import genai

    def gemini(url: str) -> Any:
        return genai.Client(api_key="k", http_options=genai.types.HttpOptions(base_url=url))

    def bedrock(url: str) -> Any:
        return boto3.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=botocore.config.Config(retries={"max_attempts": 2, "mode": "standard"}),
        )

    def azure(kind: Any) -> Callable[[str], Any]:
        return lambda url: kind(api_key="k", azure_endpoint=url, api_version="2024-06-01")

    return [
        Sdk("openai", False, lambda url: openai.OpenAI(api_key="k", base_url=url + "/v1")),
        Sdk("openai", True, lambda url: openai.AsyncOpenAI(api_key="k", base_url=url + "/v1")),
        Sdk("azure", False, azure(openai.AzureOpenAI)),
        Sdk("azure", True, azure(openai.AsyncAzureOpenAI)),
        Sdk("anthropic", False, lambda url: anthropic.Anthropic(api_key="k", base_url=url)),
        Sdk("anthropic", True, lambda url: anthropic.AsyncAnthropic(api_key="k", base_url=url)),
        Sdk("groq", False, lambda url: groq.Groq(api_key="k", base_url=url)),
        Sdk("groq", True, lambda url: groq.AsyncGroq(api_key="k", base_url=url)),
        Sdk("google", False, gemini),
        Sdk("google", True, gemini),
        Sdk("aws", False, bedrock),
        Sdk("mistral", False, lambda url: mistralai.Mistral(api_key="k", server_url=url)),
        Sdk("mistral", True, lambda url: mistralai.Mistral(api_key="k", server_url=url)),
        Sdk("cohere", False, lambda url: cohere.ClientV2(api_key="k", base_url=url)),
        Sdk("cohere", True, lambda url: cohere.AsyncClientV2(api_key="k", base_url=url)),
        Sdk("cohere v1", False, lambda url: cohere.Client(api_key="k", base_url=url)),
        Sdk("cohere v1", True, lambda url: cohere.AsyncClient(api_key="k", base_url=url)),
        Sdk("replicate", False, lambda url: replicate.client.Client(api_token="k", base_url=url)),
        Sdk("elevenlabs", False, lambda url: elevenlabs.ElevenLabs(api_key="k", base_url=url)),
        Sdk("elevenlabs", True, lambda url: elevenlabs.AsyncElevenLabs(api_key="k", base_url=url)),
    ]


def _known(function: Any, body: Mapping[str, Any]) -> Any:
    """Call with the request's members: those that the method does not name go by extra_body."""
    names = inspect.signature(function).parameters
    named = {name: value for name, value in body.items() if name in names}
    extra = {name: value for name, value in body.items() if name not in names}
    return function(**named, extra_body=extra) if extra else function(**named)


def _gemini(method: str) -> Callable[[Any, Mapping[str, Any], Exchange], Any]:
    def call(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
        model = re.search(r"/models/([^/:]+):", exchange.path)
        assert model is not None
        return getattr(client.models, method)(model=model[1], contents="Hello")

    return call


def _bedrock(method: str) -> Callable[[Any, Mapping[str, Any], Exchange], Any]:
    def call(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
        model = re.search(r"/model/([^/]+)/", exchange.path)
        assert model is not None
        name = model[1].replace("%3A", ":").replace("%2F", "/")
        if method.startswith("converse"):
            return getattr(client, method)(modelId=name, messages=[{"role": "user", "content": [{"text": "Hello"}]}])
        return getattr(client, method)(modelId=name, body=json.dumps(body))

    return call


def _mistral_chat(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    del exchange
    messages = [{"role": "user", "content": "Hello"}]
    chat = client.chat.stream if body.get("stream") else client.chat.complete
    return chat(model=body["model"], messages=messages)


def _mistral_chat_async(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    del exchange
    messages = [{"role": "user", "content": "Hello"}]
    chat = client.chat.stream_async if body.get("stream") else client.chat.complete_async
    return chat(model=body["model"], messages=messages)


def _cohere_chat(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    del exchange
    named = {"model": body.get("model", "command-r"), "messages": [{"role": "user", "content": "Hello"}]}
    return client.chat_stream(**named) if body.get("stream") else client.chat(**named)


def _cohere_chat_v1(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    del exchange
    named = {"model": body.get("model", "command"), "message": "Hello"}
    return client.chat_stream(**named) if body.get("stream") else client.chat(**named)


def _cohere_embed(client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    del exchange
    return client.embed(model=body["model"], texts=["a"], input_type="search_document", embedding_types=["float"])


def calls() -> list[Call]:
    """The table: SDK × call. Which of them stream is told by the recording."""
    openai = "api.openai.com"
    return [
        Call("openai", "chat", openai, "/chat/completions$", lambda c, b, e: _known(c.chat.completions.create, b)),
        Call("openai", "responses", openai, "/responses$", lambda c, b, e: _known(c.responses.create, b)),
        Call("openai", "embeddings", openai, "/embeddings$", lambda c, b, e: _known(c.embeddings.create, b)),
        Call("openai", "images", openai, "/images/generations$", lambda c, b, e: _known(c.images.generate, b)),
        Call(
            "azure",
            "chat",
            ".openai.azure.com",
            "/chat/completions$",
            lambda c, b, e: _known(c.chat.completions.create, {"model": "test", **b}),
        ),
        Call(
            "azure",
            "embeddings",
            ".openai.azure.com",
            "/embeddings$",
            lambda c, b, e: _known(c.embeddings.create, {"model": "test", **b}),
        ),
        Call(
            "anthropic", "messages", "api.anthropic.com", "/messages$", lambda c, b, e: _known(c.messages.create, b)
        ),
        Call(
            "groq", "chat", "api.groq.com", "/chat/completions$", lambda c, b, e: _known(c.chat.completions.create, b)
        ),
        Call("google", "generate", "googleapis.com", ":generateContent$", _gemini("generate_content")),
        Call(
            "google",
            "generate stream",
            "googleapis.com",
            ":streamGenerateContent$",
            _gemini("generate_content_stream"),
        ),
        Call("aws", "converse", "bedrock-runtime", "/converse$", _bedrock("converse")),
        Call("aws", "converse_stream", "bedrock-runtime", "/converse-stream$", _bedrock("converse_stream")),
        Call("aws", "invoke_model", "bedrock-runtime", "/invoke$", _bedrock("invoke_model")),
        Call(
            "aws",
            "invoke_model stream",
            "bedrock-runtime",
            "/invoke-with-response-stream$",
            _bedrock("invoke_model_with_response_stream"),
        ),
        Call("mistral", "chat", "api.mistral.ai", "/chat/completions$", _mistral_chat),
        Call(
            "mistral",
            "embeddings",
            "api.mistral.ai",
            "/embeddings$",
            lambda c, b, e: c.embeddings.create(model=b["model"], inputs=b["input"]),
        ),
        Call("cohere", "chat", "api.cohere.com", "/v2/chat$", _cohere_chat),
        Call("cohere", "embed", "api.cohere.com", "/v2/embed$", _cohere_embed),
        Call(
            "cohere",
            "rerank",
            "api.cohere.com",
            "/v2/rerank$",
            lambda c, b, e: c.rerank(model=b["model"], query="q", documents=["a"]),
        ),
        Call("cohere v1", "chat", "api.cohere.com", "/v1/chat$", _cohere_chat_v1),
        Call(
            "cohere v1",
            "rerank",
            "api.cohere.com",
            "/v1/rerank$",
            lambda c, b, e: c.rerank(model=b.get("model"), query="q", documents=["a"]),
        ),
        Call(
            "replicate",
            "predictions",
            "api.replicate.com",
            "/predictions$",
            lambda c, b, e: c.predictions.create(version="v", input={"prompt": "x"}),
        ),
    ]


def made(sdk: Sdk, call: Call, client: Any, exchange: Exchange) -> Any:
    """Make the call and read all of what comes: what the program saw, as plain data."""
    body = exchange.request
    if isinstance(body, bytes | str):
        body = json.loads(body)
    assert isinstance(body, Mapping)
    if not sdk.asynchronous:
        try:
            return _read(call.make(client, body, exchange))
        finally:
            close(client)
    return asyncio.run(_made_async(sdk, call, client, body, exchange))


async def _made_async(sdk: Sdk, call: Call, client: Any, body: Mapping[str, Any], exchange: Exchange) -> Any:
    if sdk.name == "google":
        made = call.make(client.aio, body, exchange)
    elif sdk.name == "mistral":
        if call.label == "chat":
            made = _mistral_chat_async(client, body, exchange)
        else:
            made = client.embeddings.create_async(model=body["model"], inputs=body["input"])
    else:
        made = call.make(client, body, exchange)
    try:
        answer = await made if inspect.isawaitable(made) else made
        return await _read_async(answer)
    finally:
        await _closed(client)


PATHS = (
    "_client",
    "_async_client",
    "_api_client._httpx_client",
    "_api_client._async_httpx_client",
    "sdk_configuration.client",
    "sdk_configuration.async_client",
    "_client_wrapper.httpx_client.httpx_client",
    "_endpoint.http_session",
)


def close(client: Any) -> None:
    """Close the connections below a client."""
    for found in _below(client):
        if hasattr(found, "close") and not inspect.iscoroutinefunction(found.close):
            found.close()


async def _closed(client: Any) -> None:
    if hasattr(client, "aio"):
        await client.aio.aclose()
    for found in _below(client):
        if hasattr(found, "aclose"):
            await found.aclose()
        elif hasattr(found, "close"):
            found.close()


def _below(client: Any) -> Iterator[Any]:
    for path in PATHS:
        found = client
        for name in path.split("."):
            found = getattr(found, name, None)
        if found is not None:
            yield found


def _read(answer: Any) -> Any:
    if isinstance(answer, Mapping):
        return {name: _read(value) for name, value in answer.items() if name != "ResponseMetadata"}
    if hasattr(answer, "read") and not hasattr(answer, "model_dump"):
        return answer.read()
    if hasattr(answer, "model_dump") or isinstance(answer, str | bytes | int | float | list | None):
        return plain(answer)
    return [plain(item) for item in answer]


async def _read_async(answer: Any) -> Any:
    if hasattr(answer, "__aiter__"):
        return [plain(item) async for item in answer]
    return plain(answer)


def plain(value: Any) -> Any:
    """Anything an SDK gives, as data that can be compared, unset members apart from those that are null."""
    if hasattr(value, "model_dump"):
        shown = value.model_dump(exclude_unset=True, warnings=False)
        shown.pop("sdk_http_response", None)  # It has the date of the answer.
        return shown
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
