"""The one table of what is watched: which SDK, the method through which all its calls go, the HTTP client below it.

A new SDK is a new row. Names are text, so that nothing is imported: a row whose module the program did not import
is passed over, one whose class or method is not there is said once and leaves the SDK as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Final

import msgspec


class Style(StrEnum):
    """How a method is called, and so how it is wrapped."""

    SYNC = "sync"
    ASYNC = "async"
    CONTEXT = "context manager"
    ASYNC_CONTEXT = "async context manager"
    BOTOCORE = "botocore"
    GENAI = "one attempt over aiohttp"
    SESSION = "live session"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One method through which calls go. Paths lead from the method's `self`.

    `holder` is the object that bears a watch's mark, `http` the HTTP client by which the method sends. What opens a
    live session gives one whose `socket` (a path, "" for itself) has a method that `receives`.
    """

    module: str
    owner: str
    method: str
    style: Style
    http: str = ""
    holder: str = ""
    socket: str = ""
    receives: str = ""


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A class of clients that people watch, and the paths from one to the objects that bear the mark."""

    module: str
    owner: str
    holders: tuple[str, ...] = ("",)


class Sdk(msgspec.Struct, frozen=True, kw_only=True):
    """One SDK. `tested` is the newest version that the tests ran with.

    `provider` is whose answers it gives where neither the address nor (`any_provider`) the answer tells another;
    `providers` names it for single classes.
    """

    name: str
    package: str
    tested: str
    provider: str
    calls: str
    entries: tuple[Entry, ...]
    clients: tuple[Client, ...]
    any_provider: bool = False
    providers: Mapping[str, str] = {}


def _stainless(package: str) -> tuple[Entry, ...]:
    module = f"{package}._base_client"
    return (
        Entry(module=module, owner="SyncAPIClient", method="request", style=Style.SYNC, http="_client"),
        Entry(module=module, owner="AsyncAPIClient", method="request", style=Style.ASYNC, http="_client"),
    )


def _live(module: str, *owners: str, holder: str, socket: str, receives: str) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            module=module,
            owner=owner,
            method="connect",
            style=Style.SESSION,
            holder=holder,
            socket=socket,
            receives=receives,
        )
        for owner in owners
    )


def _stainless_clients(package: str) -> tuple[Client, ...]:
    return tuple(Client(module=f"{package}._base_client", owner=one) for one in ("SyncAPIClient", "AsyncAPIClient"))


def _fern(package: str) -> Iterator[Entry]:
    module = f"{package}.core.http_client"
    for owner, plain, stream in (
        ("HttpClient", Style.SYNC, Style.CONTEXT),
        ("AsyncHttpClient", Style.ASYNC, Style.ASYNC_CONTEXT),
    ):
        yield Entry(module=module, owner=owner, method="request", style=plain, http="httpx_client")
        yield Entry(module=module, owner=owner, method="stream", style=stream, http="httpx_client")


def _speakeasy(module: str, *owners: str) -> Iterator[Entry]:
    for owner, method, style, http in (
        (owners[0], "do_request", Style.SYNC, "client"),
        (owners[-1], "do_request_async", Style.ASYNC, "async_client"),
    ):
        yield Entry(
            module=module,
            owner=owner,
            method=method,
            style=style,
            http=f"sdk_configuration.{http}",
            holder="sdk_configuration",
        )


def _clients(module: str, *owners: str, holders: tuple[str, ...] = ("",)) -> tuple[Client, ...]:
    return tuple(Client(module=module, owner=owner, holders=holders) for owner in owners)


_GENAI: Final = "google.genai._api_client"

SDKS: Final = (
    Sdk(
        name="openai",
        package="openai",
        tested="3.54.0",
        provider="openai",
        calls="chat, responses, embeddings, images, transcription, speech, realtime, batch results; Azure OpenAI",
        any_provider=True,
        providers={"AzureOpenAI": "azure", "AsyncAzureOpenAI": "azure", "BedrockOpenAI": "aws"},
        entries=(
            *_stainless("openai"),
            *_live(
                "openai.resources.realtime.realtime",
                "Realtime",
                "AsyncRealtime",
                holder="_client",
                socket="",
                receives="recv_bytes",
            ),
        ),
        clients=_stainless_clients("openai"),
    ),
    Sdk(
        name="anthropic",
        package="anthropic",
        tested="2.12.0",
        provider="anthropic",
        calls="messages, streams, batch results; on Bedrock and Vertex",
        providers={
            "AnthropicBedrock": "aws",
            "AsyncAnthropicBedrock": "aws",
            "AnthropicVertex": "google",
            "AsyncAnthropicVertex": "google",
        },
        entries=_stainless("anthropic"),
        clients=_stainless_clients("anthropic"),
    ),
    Sdk(
        name="groq",
        package="groq",
        tested="1.7.0",
        provider="groq",
        calls="chat, transcription, speech",
        entries=_stainless("groq"),
        clients=_stainless_clients("groq"),
    ),
    Sdk(
        name="google-genai",
        package="google.genai",
        tested="3.4.0",
        provider="google",
        calls="generate_content, streams, embeddings, images, interactions, live sessions; Gemini API and Vertex AI",
        entries=(
            Entry(module=_GENAI, owner="BaseApiClient", method="_request", style=Style.SYNC, http="_httpx_client"),
            Entry(
                module=_GENAI,
                owner="BaseApiClient",
                method="_async_request",
                style=Style.ASYNC,
                http="_async_httpx_client",
            ),
            Entry(module=_GENAI, owner="BaseApiClient", method="_async_request_once", style=Style.GENAI),
            *_speakeasy("google.genai._gaos.basesdk", "BaseSDK", "AsyncBaseSDK"),
            *_live("google.genai.live", "AsyncLive", holder="_api_client", socket="_ws", receives="recv"),
        ),
        clients=_clients("google.genai.client", "Client", "AsyncClient", holders=("_api_client",)),
    ),
    Sdk(
        name="boto3",
        package="botocore",
        tested="1.44.5",
        provider="aws",
        calls="bedrock-runtime: converse, invoke_model and both streams",
        entries=(Entry(module="botocore.client", owner="BaseClient", method="_make_api_call", style=Style.BOTOCORE),),
        clients=_clients("botocore.client", "BaseClient"),
    ),
    Sdk(
        name="mistralai",
        package="mistralai",
        tested="3.7.0",
        provider="mistral",
        calls="chat, streams, embeddings, OCR; on Azure and Google Cloud",
        providers={"MistralAzure": "azure", "MistralGCP": "google"},
        entries=tuple(
            entry
            for part in ("mistralai.client", "mistralai.azure.client", "mistralai.gcp.client")
            for entry in _speakeasy(f"{part}.basesdk", "BaseSDK")
        ),
        clients=tuple(
            Client(module=f"{part}.sdk", owner=owner, holders=("sdk_configuration",))
            for part, owner in (
                ("mistralai.client", "Mistral"),
                ("mistralai.azure.client", "MistralAzure"),
                ("mistralai.gcp.client", "MistralGCP"),
            )
        ),
    ),
    Sdk(
        name="cohere",
        package="cohere",
        tested="7.3.1",
        provider="cohere",
        calls="chat, streams, embed, rerank; v1 and v2",
        entries=tuple(_fern("cohere")),
        clients=(
            *_clients("cohere.base_client", "BaseCohere", holders=("_client_wrapper.httpx_client",)),
            *_clients("cohere.base_client", "AsyncBaseCohere", holders=("_client_wrapper.httpx_client",)),
        ),
    ),
    Sdk(
        name="elevenlabs",
        package="elevenlabs",
        tested="2.78.0",
        provider="elevenlabs",
        calls="text to speech, streams, speech to text, sound effects",
        entries=tuple(_fern("elevenlabs")),
        clients=(
            *_clients("elevenlabs.base_client", "BaseElevenLabs", holders=("_client_wrapper.httpx_client",)),
            *_clients("elevenlabs.base_client", "AsyncBaseElevenLabs", holders=("_client_wrapper.httpx_client",)),
        ),
    ),
    Sdk(
        name="replicate",
        package="replicate",
        tested="1.0.7",
        provider="replicate",
        calls="run, predictions",
        entries=(
            Entry(module="replicate.client", owner="Client", method="_request", style=Style.SYNC, http="_client"),
            Entry(
                module="replicate.client",
                owner="Client",
                method="_async_request",
                style=Style.ASYNC,
                http="_async_client",
            ),
        ),
        clients=_clients("replicate.client", "Client"),
    ),
)
"""Every SDK that is watched."""

BOTO_SERVICES: Final = frozenset({"bedrock-runtime"})
"""The AWS services whose clients are watched."""


def sdk_of(client: object) -> tuple[Sdk, Client] | None:
    """The row of a client's class, by its name alone; None for a stranger's."""
    names = {(one.__module__, one.__qualname__) for one in type(client).__mro__}
    for sdk in SDKS:
        for found in sdk.clients:
            if (found.module, found.owner) in names:
                return sdk, found
    return None


def at_path(start: object, path: str) -> object | None:
    """What lies at a dotted path of attributes, or None where the SDK has changed its shape."""
    found: object | None = start
    for name in path.split(".") if path else ():
        found = getattr(found, name, None)
    return found
