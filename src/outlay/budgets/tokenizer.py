"""The one place that names tiktoken: exact token counts of text for the models whose tokenizer is public.

Optional: without the library, or without its data at hand, text is bounded by its bytes.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from outlay.budgets.weigh import CountTokens


@cache
def tiktoken_counter(name: str) -> CountTokens | None:
    """The counter of an encoding such as `o200k_base`, or None where tiktoken or its data is not there.

    At the first use of an encoding tiktoken may fetch its data; a machine without it and without a network gets None.
    """
    try:
        encoding = import_module("tiktoken").get_encoding(name)
    except (ImportError, OSError, ValueError):
        return None
    return lambda text: len(encoding.encode_ordinary(text))
