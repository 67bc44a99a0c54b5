"""What a bill's words mean: which meter a unit counts, who sells, which measured service a billed one is. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from outlay.capture.statements import meter_of_unit

_SELLERS: Final = (
    ("amazon", "aws"),
    ("aws", "aws"),
    ("anthropic", "anthropic"),
    ("google", "google"),
    ("gcp", "google"),
    ("microsoft", "azure"),
    ("azure", "azure"),
    ("openai", "openai"),
    ("oracle", "oracle"),
    ("replicate", "replicate"),
)
"""How a bill's provider begins, and the provider's name in the ledger."""

_TOKENS: Final = re.compile(r"^(?P<count>1000000|1000|1m|1k|million|thousand|100k|)[ -]*tokens?$")
_SIZES: Final = {"": 1, "1k": 1_000, "1000": 1_000, "thousand": 1_000, "100k": 100_000}
_MILLION: Final = 1_000_000

_CACHE_READ: Final = re.compile(r"cache[ _-]*(?:d[ _-]*)?(?:read|input|hit)|cached|read[ _-]*cache", re.IGNORECASE)
_CACHE_WRITE: Final = re.compile(r"cache[ _-]*(?:write|creation)", re.IGNORECASE)
_OUTPUT: Final = re.compile(r"output|completion|response|generated", re.IGNORECASE)
_INPUT: Final = re.compile(r"input|prompt|embedding", re.IGNORECASE)
_HOUR_LONG: Final = re.compile(r"1[ _-]?h", re.IGNORECASE)

_ALIASES: Final = {
    "simple storage service": "s3",
    "elastic container service": "ecs",
    "elastic container registry": "ecr",
    "relational database service": "rds",
    "elastic load balancing": "alb",
    "secrets manager": "secrets-manager",
    "api gateway": "api-gateway",
    "route 53": "route53",
    "simple queue service": "sqs",
    "simple notification service": "sns",
    "simple email service": "ses",
    "ec2 container registry": "ecr",
}
_BRAND: Final = re.compile(r"^(?:amazon|aws)\s*", re.IGNORECASE)
_CODE: Final = re.compile(r"^(?:amazon|aws)(?=[A-Z0-9])")
_NOT_A_LETTER: Final = re.compile(r"[^a-z0-9]+")
_MODEL_SELLER: Final = re.compile(r"bedrock", re.IGNORECASE)
_BEDROCK_SERVICE: Final = re.compile(r"^(?:[a-z]{2,6}\.)?[a-z0-9]+\.[a-z0-9]")
_SHORTEST: Final = 3


@lru_cache(maxsize=4_096)
def seller_of(name: str) -> str:
    """The ledger's name of a bill's provider; its own name in small letters where it is none of the known."""
    plain = " ".join(name.lower().split())
    for start, provider in _SELLERS:
        if plain.startswith(start):
            return provider
    return plain.replace(" ", "-")


@lru_cache(maxsize=65_536)
def meter_and_size(unit: str, words: str) -> tuple[str | None, int]:
    """The meter that a unit counts and how much of it one unit is, `words` being what else the row says of itself.

    `1K tokens` of `USE1-Claude3-input-tokens` is (input_tokens, 1000). A unit that nothing is known of counts none.
    """
    plain = " ".join(unit.lower().replace(",", "").split())
    found = _TOKENS.match(plain)
    if found is None:
        if plain in ("token-hours", "count", ""):
            return None, 1
        meter = meter_of_unit(unit)
        # A bill's seconds are anything's: only a call's own meter tells whose.
        return (None if meter == "audio_seconds" else meter), 1
    return token_meter(words), _SIZES.get(found["count"], _MILLION)


def token_meter(words: str) -> str | None:
    """The token meter that a line item, usage type or description speaks of."""
    if _CACHE_WRITE.search(words):
        return "cache_write_1h_tokens" if _HOUR_LONG.search(words) else "cache_write_tokens"
    if _CACHE_READ.search(words):
        return "cache_read_tokens"
    if _OUTPUT.search(words):
        return "output_tokens"
    return "input_tokens" if _INPUT.search(words) else None


@lru_cache(maxsize=65_536)
def bare_name(service: str) -> str:
    """A service's name as cards write it: `Amazon Simple Storage Service` and `AmazonS3` are both `s3`."""
    plain = _CODE.sub("", _BRAND.sub("", service.strip()) or service).lower()
    return _ALIASES.get(plain, _NOT_A_LETTER.sub("-", plain).strip("-"))


def calls_named(
    billed_service: str, sku: str, resource: str, called_services: Iterable[str], provider: str
) -> frozenset[str]:
    """Which services that calls are recorded under, of the same provider, a row of a bill pays for.

    The one that it names; where it names none but its seller (`Replicate`, `Amazon Bedrock`), all that this sells.
    """
    services = list(called_services)
    named = frozenset(each for each in services if _names(billed_service, resource, each))
    if named:
        return named
    if _MODEL_SELLER.search(billed_service):
        return _models_named(sku or billed_service, [each for each in services if _BEDROCK_SERVICE.match(each)])
    return frozenset(services) if bare_name(billed_service) == provider else frozenset()


def _names(billed_service: str, resource: str, called_service: str) -> bool:
    called = bare_name(called_service)
    for name in (billed_service, resource):
        bare = bare_name(name)
        # A dated version is billed where its alias was called, and the other way round.
        if bare and (bare == called or _is_version(bare, called) or _is_version(called, bare)):
            return True
    return False


def _is_version(name: str, alias: str) -> bool:
    if len(alias) < _SHORTEST:
        return False
    rest = name.removeprefix(alias)
    return rest != name and rest.startswith("-") and rest[1:2].isdigit()


def _models_named(words: str, models: Sequence[str]) -> frozenset[str]:
    """The models that a usage type names; all of them where it names no family of models.

    `USE1-Claude3.5Sonnet-input-tokens` names `anthropic.claude-3-5-sonnet-20241022-v2:0`. Where none bears the whole
    name, those are taken that bear every part of it: `TitanEmbeddingV2-Text` is `amazon.titan-embed-text-v2:0`.
    """
    family = next((each for each in _FAMILIES if each in words.lower()), None)
    if family is None:
        return frozenset(models)
    name = _END.split(words[words.lower().index(family) :], maxsplit=1)[0]
    whole = _NOT_A_LETTER.sub("", name.lower())
    plain = {model: _NOT_A_LETTER.sub("", model.lower()) for model in models}
    found = frozenset(model for model in models if whole in plain[model])
    if found:
        return found
    parts = [part.lower()[:_LETTERS_TOLD] for part in _PARTS.findall(name)]
    return frozenset(model for model in models if all(part in plain[model] for part in parts))


_FAMILIES: Final = ("claude", "nova", "titan", "llama", "mistral", "mixtral", "command", "embed", "jamba", "deepseek")
_END: Final = re.compile(r"[-_ ]?(?:input|output|cache)", re.IGNORECASE)
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]|\d+")
_LETTERS_TOLD: Final = 5
