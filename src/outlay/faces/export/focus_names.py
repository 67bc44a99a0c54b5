"""How FOCUS calls what Outlay names by its own short names: sellers, makers of models, services, units, meters."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

import msgspec

from outlay.meters import METERS

GENERATIVE: Final = ("AI and Machine Learning", "Generative AI")
_OTHER: Final = ("Other", "Other (Other)")

_SELLERS: Final = {
    "ai21": "AI21 Labs",
    "anthropic": "Anthropic",
    "aws": "Amazon Web Services",
    "azure": "Microsoft Azure",
    "cerebras": "Cerebras",
    "cloudflare": "Cloudflare",
    "cohere": "Cohere",
    "deepseek": "DeepSeek",
    "elevenlabs": "ElevenLabs",
    "fireworks": "Fireworks AI",
    "google": "Google",
    "groq": "Groq",
    "meta": "Meta",
    "minimax": "MiniMax",
    "mistral": "Mistral AI",
    "modal": "Modal",
    "moonshotai": "Moonshot AI",
    "openai": "OpenAI",
    "openrouter": "OpenRouter",
    "perplexity": "Perplexity",
    "replicate": "Replicate",
    "runway": "Runway",
    "stability": "Stability AI",
    "together": "Together AI",
    "voyageai": "Voyage AI",
    "x-ai": "xAI",
    "zai": "Z.ai",
}
_MAKERS: Final = (
    ("claude", "Anthropic"),
    ("anthropic", "Anthropic"),
    ("gpt", "OpenAI"),
    ("openai", "OpenAI"),
    ("whisper", "OpenAI"),
    ("dall-e", "OpenAI"),
    ("gemini", "Google"),
    ("veo", "Google"),
    ("imagen", "Google"),
    ("titan", "Amazon"),
    ("nova", "Amazon"),
    ("amazon", "Amazon"),
    ("llama", "Meta"),
    ("mistral", "Mistral AI"),
    ("mixtral", "Mistral AI"),
    ("command", "Cohere"),
    ("cohere", "Cohere"),
    ("deepseek", "DeepSeek"),
    ("grok", "xAI"),
    ("qwen", "Alibaba"),
    ("stable-", "Stability AI"),
    ("stability", "Stability AI"),
)
_CLOUD: Final = (
    ("api gateway", ("Integration", "API Management")),
    ("apigateway", ("Integration", "API Management")),
    ("bedrock", GENERATIVE),
    ("transcribe", ("AI and Machine Learning", "Natural Language Processing")),
    ("aurora", ("Databases", "Relational Databases")),
    ("rds", ("Databases", "Relational Databases")),
    ("dynamodb", ("Databases", "NoSQL Databases")),
    ("elasticache", ("Databases", "Caching")),
    ("ecs", ("Compute", "Containers")),
    ("ecr", ("Compute", "Containers")),
    ("eks", ("Compute", "Containers")),
    ("fargate", ("Compute", "Containers")),
    ("lambda", ("Compute", "Serverless Compute")),
    ("ec2", ("Compute", "Virtual Machines")),
    ("ebs", ("Storage", "Block Storage")),
    ("s3", ("Storage", "Object Storage")),
    ("cloudwatch", ("Management and Governance", "Observability")),
    ("cloudfront", ("Networking", "Content Delivery")),
    ("data transfer", ("Networking", "Network Connectivity")),
    ("elb", ("Networking", "Application Networking")),
    ("elastic load balancing", ("Networking", "Application Networking")),
    ("nat gateway", ("Networking", "Network Connectivity")),
    ("route", ("Networking", "Network Routing")),
    ("vpc", ("Networking", "Network Infrastructure")),
    ("secrets manager", ("Security", "Secret Management")),
    ("kms", ("Security", "Secret Management")),
    ("waf", ("Networking", "Network Security")),
    ("sns", ("Integration", "Messaging")),
    ("sqs", ("Integration", "Messaging")),
    ("ses", ("Integration", "Messaging")),
)
_CLOUDS: Final = ("aws", "azure", "google-cloud", "oracle")
_SKU_METERS: Final = {
    "input_tokens": "Input Tokens",
    "output_tokens": "Output Tokens",
    "cache_read_tokens": "Cache Read Input Tokens",
    "cache_write_tokens": "Cache Write Input Tokens",
}
_PLURALS: Final = {
    "query": "Queries",
    "search": "Searches",
    "GB": "GB",
    "GB-second": "GB-Seconds",
    "read request unit": "ReadRequestUnits",
    "write request unit": "WriteRequestUnits",
    "hosted-zone-month": "HostedZone-Months",
}
_GENERATED: Final = ("tokens", "characters", "messages", "durations", "images", "pixels", "runs", "hardware")
_DATED: Final = re.compile(r"[-@:](20\d\d-?[01]\d-?[0-3]\d)(?=$|[-:])")


class Seller(msgspec.Struct, frozen=True):
    """Who is named on a row: who sells and bills a service, who made the model, what the service is called."""

    name: str
    maker: str
    service_name: str
    category: str
    subcategory: str


@cache
def seller_name(provider: str) -> str:
    """The name by which a provider is known."""
    return _SELLERS.get(provider) or provider.replace("-", " ").replace("_", " ").title()


@cache
def seller_of(provider: str, service: str, meter: str) -> Seller:
    """Who and what stands behind a service of Outlay's names."""
    name = seller_name(provider)
    sells_models = provider in _SELLERS and provider not in _CLOUDS
    if not sells_models:
        plain = " ".join(service.lower().replace("_", " ").replace("-", " ").split())
        for start, kind in _CLOUD:
            if plain.removeprefix("amazon ").startswith(start):
                return Seller(name, name, service, *kind)
        if meter not in METERS or METERS[meter].family not in _GENERATED:
            return Seller(name, name, service, *_OTHER)
    product = "Amazon Bedrock" if provider == "aws" else f"{name} API"
    return Seller(name, maker_of(service) or name, product, *GENERATIVE)


@cache
def maker_of(service: str) -> str | None:
    """Who made a model, by its name, whoever serves it; None where the name does not tell."""
    parts = re.split(r"[./]", service.lower())
    return next((maker for part in parts for start, maker in _MAKERS if part.startswith(start)), None)


def model_version(service: str) -> str | None:
    """The date in a model's name, which is its version; None where it has none."""
    found = _DATED.search(service)
    return found[1] if found else None


@cache
def sku_of(meter: str) -> str:
    """The part of a SkuId that names what is counted: `cache_read_tokens` is `cache-read`."""
    return meter.removesuffix("_tokens").replace("_", "-")


@cache
def sku_meter(meter: str) -> str:
    """A meter's name as SkuMeter has it."""
    return _SKU_METERS.get(meter) or meter.replace("_", " ").title()


@cache
def unit_name(meter: str) -> str:
    """A meter's unit in FOCUS' unit format: `Tokens`, `GB-Hours`, `Requests`."""
    unit = METERS[meter].unit
    if unit in _PLURALS:
        return _PLURALS[unit]
    # vCPU and GB keep their capitals.
    words = "-".join(part.title() if part.islower() else part for part in unit.split("-"))
    return f"{words}s"


def token_facts(meter: str) -> dict[str, str]:
    """TokenDirection and TokenCacheAction of a token meter, nothing for another."""
    found = METERS.get(meter)
    if found is None or found.family != "tokens":
        return {}
    told = dict(found.dimensions)
    facts = {"TokenDirection": told["direction"].title()}
    if told["direction"] == "input":
        action = {"cache_read": "Read", "cache_write": "Write"}.get(told.get("token_type", ""), "Uncached")
        facts["TokenCacheAction"] = action
    return facts
