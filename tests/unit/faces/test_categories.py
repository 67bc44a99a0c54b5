"""Categories: ordered patterns, applied when the question is asked."""

from __future__ import annotations

import pytest

from outlay.analytics.categories import category_of, fields_needed, group_by_category, read_patterns
from outlay.errors import InvalidInput
from outlay.model import CostRow

PATTERNS = read_patterns(
    {"writing": ["feature:story*", "*script*"], "images": ["operation:*IMAGE*"], "rest": ["job:*"]}
)


@pytest.mark.parametrize(
    ("feature", "operation", "job", "category"),
    [
        ("Story-board", "generate_image", "v1", "writing"),
        ("board", "generate_image", "v1", "images"),
        (None, "write_script_2", None, "writing"),
        ("board", "chat", "transcript-7", "writing"),
        ("board", "chat", "v1", "rest"),
        ("my-story", None, None, None),
        (None, None, None, None),
    ],
)
def test_the_first_category_whose_pattern_matches_wins(
    feature: str | None, operation: str | None, job: str | None, category: str | None
) -> None:
    assert category_of({"feature": feature, "operation": operation, "job": job}, PATTERNS) == category


def test_only_the_fields_that_patterns_look_at_are_asked_for() -> None:
    assert fields_needed(read_patterns({"a": ["operation:x"], "b": ["feature:y"]})) == ("feature", "operation")
    assert fields_needed(PATTERNS) == ("feature", "operation", "job")


def test_groups_of_one_category_are_added_and_nothing_is_lost() -> None:
    rows = [
        CostRow(keys=("d1", "story"), amount=5, events=1, quantities={"images": 2}, basis={"measured": 5}),
        CostRow(keys=("d1", "story-2"), amount=7, events=2, failed=1, quantities={"images": 1}, basis={"billed": 7}),
        CostRow(keys=("d1", "other"), amount=11, events=3, unpriced=1),
        CostRow(keys=("d2", "story"), amount=13, events=4),
    ]
    patterns = read_patterns({"writing": ["feature:story*"]})
    grouped = group_by_category(("day", "feature"), ("day", "category"), rows, patterns)
    assert [(row.keys, row.amount, row.events) for row in grouped] == [
        (("d1", "writing"), 12, 3),
        (("d1", None), 11, 3),
        (("d2", "writing"), 13, 4),
    ]
    assert grouped[0].quantities == {"images": 3}
    assert grouped[0].basis == {"measured": 5, "billed": 7}
    kept = group_by_category(("day", "feature"), ("category",), rows, patterns, only=[None])
    assert [(row.keys, row.amount) for row in kept] == [((None,), 11)]


@pytest.mark.parametrize("text", ["user:ana", "feature:", ""])
def test_a_pattern_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_patterns({"a": [text]})
    assert caught.value.code == "bad_category"
