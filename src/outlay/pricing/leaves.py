"""Which reported meters count the same thing, and what is left of each once its parts are taken out.

Of reported meters that contain one another each is reduced to its leaf: what it counts and no reported part
of it does. A leaf is a sum of reported quantities with factors, so it is worked out once for all events that
report the same meters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from outlay.meters import METERS, descendants


def overlaps(meter: str, present: Sequence[str]) -> bool:
    """Whether what `meter` counts may also be counted by a present meter that is neither its whole nor its part."""
    mine = METERS[meter]
    return any(
        other != meter
        and METERS[other].family == mine.family
        and not mine.contains(METERS[other])
        and not METERS[other].contains(mine)
        and not _exclude(dict(mine.dimensions), dict(METERS[other].dimensions))
        for other in present
    )


def _exclude(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether nothing can be counted by both: they differ in a dimension that both fix."""
    return any(other.get(key, value) != value for key, value in one.items())


def leaf_form(meter: str, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(reported meters to take off, reported meters to add back) to leave what only this meter counts."""
    form = _leaf(meter, names)
    minus = [name for name, factor in form.items() for _ in range(-factor) if name != meter]
    plus = [name for name, factor in form.items() for _ in range(factor) if name != meter]
    return tuple(minus), tuple(plus)


def _leaf(meter: str, names: Sequence[str]) -> Counter[str]:
    form: Counter[str] = Counter({meter: 1})
    inner = descendants(meter)
    for name in names:
        if name in inner:
            form.subtract(_leaf(name, names))
    return form


def sum_form(names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """The factors with which reported meters add up to everything they count, each thing once."""
    total: Counter[str] = Counter()
    for name in names:
        total.update(_leaf(name, names))
    return tuple((name, factor) for name, factor in total.items() if factor)
