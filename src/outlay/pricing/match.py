"""Finding the service an event means: the provider by its names, the service by the first rule that matches.

The order of the catalogue's rules is kept, because a later, wider rule may match too. What was changed to
make a name match (a region or a date cut off, an ARN taken apart) is said in the rule's text, which goes on
the receipt. A name that no rule matches stays unknown: it never takes another service's price.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from outlay.pricing.catalogue import Clause

_COMPACT_DATE: Final = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
_DATE_SUFFIX: Final = re.compile(r"[-@](20\d{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01]))$")
_ESCAPE: Final = re.compile(r"%([0-9a-f]{2})")
_REGION_PREFIX: Final = re.compile(r"^(us-gov|us|eu|apac|jp|au|ca|in|global)\.(?=[a-z0-9-]+\.)")
_ARN: Final = re.compile(r"^arn:aws[a-z-]*:bedrock:[a-z0-9-]*:\d*:([a-z-]+)/(.+)$")
_OPAQUE_ARN: Final = frozenset({"application-inference-profile", "provisioned-model", "prompt", "prompt-router"})
_RESOURCE_PREFIX: Final = re.compile(r"^(?:publishers/[^/]+/)?(?:tuned)?models/")


def matched_by(clause: Clause, text: str) -> str | None:
    """The words of the rule by which `text` (lower case) matches, or None."""
    word: str = clause[0]
    operand: Any = clause[1]
    if word == "any":
        return next((found for inner in operand if (found := matched_by(inner, text)) is not None), None)
    if word == "all":
        each = [matched_by(inner, text) for inner in operand]
        return None if None in each else " and ".join(found for found in each if found is not None)
    return f"{word} {operand}" if _holds(word, operand, text) else None


def _holds(word: str, operand: str, text: str) -> bool:
    if word == "equals":
        return text == operand
    if word == "starts_with":
        return text.startswith(operand)
    if word == "ends_with":
        return text.endswith(operand)
    if word == "contains":
        return operand in text
    return re.search(operand, text) is not None


def plain(name: str) -> str:
    """A provider's or service's name for comparison: lower case, trimmed."""
    return name.strip().lower()


def provider_spellings(name: str) -> Iterator[str]:
    """The ways in which a provider's name may be written, as given first: `Amazon Bedrock`, `x_ai`, `azure.ai`."""
    given = plain(name)
    yield given
    dashed = re.sub(r"[\s_]+", "-", given)
    if dashed != given:
        yield dashed
    known_as = PROVIDER_ALIASES.get(given) or PROVIDER_ALIASES.get(dashed)
    if known_as is not None:
        yield known_as


PROVIDER_ALIASES: Final[dict[str, str]] = {
    "aws-bedrock": "aws",
    "aws.bedrock": "aws",
    "azure-ai": "azure",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "az.ai.openai": "azure",
    "azure-openai": "azure",
    "claude": "anthropic",
    "dynamodb": "aws",
    "eleven-labs": "elevenlabs",
    "fireworks-ai": "fireworks",
    "gcp": "google",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "grok": "x-ai",
    "kimi": "moonshotai",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "nano-banana": "google",
    "nanobanana": "google",
    "stabilityai": "stability",
    "stability-ai": "stability",
    "stability.ai": "stability",
    "together.ai": "together",
    "x.ai": "x-ai",
    "xai": "x-ai",
    "z.ai": "zai",
    "z-ai": "zai",
    "zhipu": "zhipuai",
}
"""Names that OpenTelemetry, LiteLLM and people give to providers, where the catalogue's own rules know none."""


SERVICE_ALIASES: Final[dict[str, str]] = {
    "amazon api gateway": "api-gateway",
    "amazon cloudfront": "cloudfront",
    "amazon dynamodb": "dynamodb",
    "amazon elasticache": "elasticache",
    "amazon relational database service": "rds",
    "amazon route 53": "route53",
    "amazon simple storage service": "s3",
    "amazon transcribe": "transcribe",
    "amazonapigateway": "api-gateway",
    "amazoncloudfront": "cloudfront",
    "amazoncloudwatch": "cloudwatch",
    "amazondynamodb": "dynamodb",
    "amazonecr": "ecr",
    "amazonelasticache": "elasticache",
    "amazonrds": "rds",
    "amazonroute53": "route53",
    "amazons3": "s3",
    "api gateway": "api-gateway",
    "api_gateway": "api-gateway",
    "apigateway": "api-gateway",
    "aws lambda": "lambda",
    "aws secrets manager": "secrets-manager",
    "awslambda": "lambda",
    "awssecretsmanager": "secrets-manager",
    "cloudwatch logs": "cloudwatch",
    "nano-banana": "gemini-2.5-flash-image",
    "nanobanana": "gemini-2.5-flash-image",
    "nat": "nat-gateway",
    "natgateway": "nat-gateway",
    "route 53": "route53",
    "secretsmanager": "secrets-manager",
}
"""Names under which a bill or a person knows a service of the cards, where no rule of the catalogue knows them."""


class OpaqueName(Exception):
    """The name is an identifier that says nothing about the model behind it."""


def service_spellings(name: str, provider_prefixes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """(name to try, what was done to it), as given first, then ever further from it.

    `provider_prefixes` are the names of the event's provider, which a router may have put before the model's.
    Raises OpaqueName for an ARN that names no model.
    """
    tried: set[str] = set()
    for spelling, done in _steps(plain(name), provider_prefixes):
        if spelling and spelling not in tried:
            tried.add(spelling)
            yield spelling, done


def _steps(given: str, provider_prefixes: frozenset[str]) -> Iterator[tuple[str, str]]:
    name, done = _unwrapped(given)
    yield name, done
    prefix, slash, rest = name.partition("/")
    if slash and prefix in provider_prefixes:
        name, done = rest, _and(done, f"prefix {prefix}/ dropped")
        yield name, done
    rest = _RESOURCE_PREFIX.sub("", name)
    if rest != name:
        name, done = rest, _and(done, "resource path dropped")
        yield name, done
    region = _REGION_PREFIX.match(name)
    if region:
        yield name[region.end() :], _and(done, f"region prefix {region.group()} dropped")
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)
    yield dashed, _and(done, "date written with dashes")
    known_as = SERVICE_ALIASES.get(name)
    if known_as is not None:
        yield known_as, _and(done, f"{name} is {known_as}")
    dated = _DATE_SUFFIX.search(name)
    if dated:
        yield name[: dated.start()], _and(done, f"date {dated.group(1)} dropped")


def _unwrapped(given: str) -> tuple[str, str]:
    name, done = given, ""
    if "%" in name:
        name = plain(_ESCAPE.sub(lambda found: chr(int(found.group(1), 16)), name))
        done = "decoded"
    arn = _ARN.match(name)
    if arn is None:
        return name, done
    kind, resource = arn.groups()
    if kind in _OPAQUE_ARN:
        raise OpaqueName(kind)
    return resource, _and(done, f"from an ARN of {kind}")


def _and(done: str, more: str) -> str:
    return f"{done}, {more}" if done else more
