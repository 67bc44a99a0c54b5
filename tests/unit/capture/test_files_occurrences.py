"""Counting identical lines in constant memory."""

from __future__ import annotations

from collections import Counter
from random import Random

from outlay.capture.occurrences import SLOTS_FIRST, Occurrences


def test_occurrences_are_numbered_as_a_plain_counter_would_through_growth() -> None:
    random = Random(5)
    keys = [random.choice((0, 1, 2**64 - 1, random.randrange(2**64))) for _ in range(3 * SLOTS_FIRST)]
    plain: Counter[int] = Counter()
    with Occurrences() as seen:
        for key in keys:
            # A fingerprint of zero shares its slot with one: both are counted, under one name.
            plain[key or 1] += 1
            assert seen.number(key) == plain[key or 1]
