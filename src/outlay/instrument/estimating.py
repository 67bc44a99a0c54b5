"""Keeping calls of which nobody tells the usage: estimated from what was sent and received, and marked so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlay.api import ENCODING
from outlay.budgets.tokenizer import tiktoken_counter
from outlay.capture.estimates import estimate_audio_seconds, estimate_tokens
from outlay.model import Quantity

if TYPE_CHECKING:
    from outlay.api import Ledger
    from outlay.receipt import Receipt


def record_estimated(
    ledger: Ledger,
    *,
    input_text: str | None = None,
    output_text: str | None = None,
    audio_bytes: int | None = None,
    rule: str | None = None,
    **fields: Any,
) -> Receipt:
    """Keep a call by the length of its texts (`rule`: characters, words or tiktoken) and of its recording.

    Without `rule` it is the ledger's, `characters` if it has none. `fields` as for `record`; usage that is given is
    kept beside the estimate. The event's basis is `estimated`, its texts are not kept. Raises InvalidInput as
    `record` does.
    """
    usage: dict[str, Quantity] = dict(fields.pop("usage", None) or {})
    usage |= estimated_usage(input_text, output_text, audio_bytes, rule or ledger.estimate or "characters")
    return ledger.record(**{**fields, "usage": usage, "basis": "estimated"})


def estimated_usage(
    input_text: str | None = None,
    output_text: str | None = None,
    audio_bytes: int | None = None,
    rule: str = "characters",
) -> dict[str, Quantity]:
    """About what texts and a recording use: input_tokens, output_tokens, audio_seconds."""
    count = tiktoken_counter(ENCODING) if rule == "tiktoken" else None
    usage: dict[str, Quantity] = {}
    if input_text is not None:
        usage["input_tokens"] = estimate_tokens(input_text, rule, count)
    if output_text is not None:
        usage["output_tokens"] = estimate_tokens(output_text, rule, count)
    if audio_bytes is not None:
        usage["audio_seconds"] = estimate_audio_seconds(audio_bytes)
    return usage
