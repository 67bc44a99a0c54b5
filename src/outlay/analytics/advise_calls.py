"""Advice on AI calls, each rule from what the ledger saw of one group of calls. Pure: the rating is handed in."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec

from outlay.analytics.advice import Advice, Effort, advice_id, share_of
from outlay.analytics.call_groups import CallGroup, SeenCall, at_rank
from outlay.clock import DAY_MICROSECONDS, MICROSECONDS_PER_SECOND, Instant
from outlay.errors import InvalidInput
from outlay.model import PricingStatus, Quantity, Rating, UsageEvent
from outlay.money import format_pico, round_half_even

Rater = Callable[[UsageEvent], Rating]

CALLS_MIN: Final = 20
"""Fewer calls than this say nothing."""

SIMPLE_OUTPUT_MAX: Final = 300
SIMPLE_INPUT_MAX: Final = 4_000
"""A task is simple if nine in ten of its calls need no more tokens than this, and it does not reason."""

CACHE_PREFIX_MIN: Final = 2_048
CACHE_LIFE: Final = 5 * 60 * MICROSECONDS_PER_SECOND
MAXIMUM_TIMES: Final = 4
GROWTH_MIN: Final = Fraction(3, 2)
OUTLIER_TIMES: Final = 8
REPEAT_LIFE: Final = DAY_MICROSECONDS
RETRIES_SHARE_MIN: Final = 10**9 // 20
"""From a twentieth of what a group costs on, retries are worth telling."""

_FILE: Final = Path(__file__).parent / "data" / "cheaper_models.toml"
_TOKENS: Final = ("input_tokens", "output_tokens")


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """What every rule is told beside the group: how to rate and when, how many of the window make a month.

    What a change would cost is rated at `at`, by the prices of today.
    """

    rate: Rater
    at: Instant
    to_month: Fraction
    currency: str
    cheaper: Mapping[str, str] = {}

    def monthly(self, amount: int) -> int:
        """An amount of the window, a month."""
        return round_half_even(amount * self.to_month.numerator, self.to_month.denominator)

    def money(self, amount: int) -> str:
        """An amount for people."""
        return format_pico(amount, self.currency)


def advise_calls(groups: Sequence[CallGroup], scene: Scene) -> Iterator[Advice]:
    """All that can be said of these groups, group by group."""
    for group in groups:
        if group.calls < CALLS_MIN or group.amount <= 0:
            continue
        for rule in RULES:
            yield from rule(group, scene)


def _advice(
    group: CallGroup,
    scene: Scene,
    rule: str,
    share: tuple[int, int],
    *,
    title: str,
    effort: Effort,
    how: tuple[str, ...],
    assumptions: tuple[str, ...],
    evidence: tuple[tuple[str, str], ...],
    even_without_saving: bool = False,
    where: dict[str, tuple[str, ...]] | None = None,
) -> Iterator[Advice]:
    """The advice, if it saves anything. A maximum costs nothing by itself: it is what a wrong answer may cost."""
    cost = scene.monthly(group.amount)
    made = Advice(
        id=advice_id(rule, group.target),
        rule=rule,
        title=title,
        target=group.target,
        cost=cost,
        share=share,
        effort=effort,
        how=how,
        assumptions=assumptions,
        evidence=(("calls", f"{group.calls:,}"), ("cost a month", scene.money(cost)), *evidence),
        where=group.where if where is None else where,
    )
    if made.saving.high > 0 or even_without_saving:
        yield made


def _at(call: SeenCall) -> int:
    return call.at


def _cheaper_model(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    seen = group.seen
    if at_rank([one.output for one in seen], 90) > SIMPLE_OUTPUT_MAX or not any(one.output for one in seen):
        return
    if at_rank([one.input for one in seen], 90) > SIMPLE_INPUT_MAX or group.usage.get("output_reasoning_tokens"):
        return
    for smaller in _smaller(group.service, scene.cheaper):
        saved = _saved(group, scene, service=smaller)
        if saved:
            yield from _advice(
                group,
                scene,
                "cheaper_model",
                (saved // 2, saved),
                title=f"Use {smaller} instead of {group.service} for {group.feature or group.operation or 'this'}",
                effort=Effort.MEDIUM,
                how=(
                    f"send a tenth of the calls to {smaller}, tagged by release, and compare the answers",
                    "outlay compare --where-before tag.release=… --where-after tag.release=…",
                ),
                assumptions=(
                    "half of the calls, or all, can be answered by the smaller model",
                    "it takes as many tokens",
                ),
                evidence=(
                    ("output tokens, 90 %", f"{at_rank([one.output for one in seen], 90):,} or fewer"),
                    ("input tokens, 90 %", f"{at_rank([one.input for one in seen], 90):,} or fewer"),
                ),
                where=_moved(group, smaller),
            )
            return


def _moved(group: CallGroup, service: str) -> dict[str, tuple[str, ...]]:
    """A filter that still holds when the calls have gone to another service."""
    kept = {name: values for name, values in group.where.items() if name != "service"}
    return kept if len(kept) > 1 else {**kept, "service": (group.service, service)}


def _batch(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    waiting = group.attended_calls * 10 >= group.calls
    if waiting or group.batched_calls or not group.usage.get("output_tokens"):
        return
    saved = _saved(group, scene, processing="batch")
    if saved:
        yield from _advice(
            group,
            scene,
            "batch",
            (saved // 2, saved),
            title=f"Send {group.name} by the batch API",
            effort=Effort.MEDIUM,
            how=("collect the calls and send them as one batch; the answers come within 24 hours",),
            assumptions=("half of these calls, or all, can wait: nine in ten bear no user and no request",),
            evidence=(("calls for a user or request", f"{group.attended_calls:,}"),),
        )


def _caching_pays(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    if any(one.cache_read or one.cache_write for one in group.seen):
        return
    prompt = at_rank([one.input for one in group.seen], 50)
    close = _close_calls(group.seen)
    if prompt < CACHE_PREFIX_MIN or not close:
        return
    found: list[int] = []
    for part in (Fraction(3, 10), Fraction(7, 10)):
        # What is read again costs the price of a read; each first call of a series writes it.
        prefix = int(group.mean("input_tokens") * part)
        read = _saved(group, scene, extra={"cache_read_tokens": prefix})
        written = _saved(group, scene, extra={"cache_write_tokens": prefix}, gains_only=False)
        found.append(max(0, int(read * close + written * (1 - close))))
    if found[1] > 0:
        yield from _advice(
            group,
            scene,
            "caching_pays",
            (found[0], found[1]),
            title=f"Cache the beginning of the prompts of {group.name}",
            effort=Effort.EASY,
            how=("put what is the same in every call first, and mark it to be cached (cache_control, or automatic)",),
            assumptions=("30 to 70 % of a prompt are the same from call to call",),
            evidence=(
                ("input tokens, median", f"{prompt:,}"),
                ("calls within 5 minutes of another", f"{float(100 * close):.0f} %"),
            ),
        )


def _caching_does_not_pay(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    written = sum(one.cache_write * one.calls for one in group.seen)
    if not written:
        return
    without = {meter: quantity for meter, quantity in group.usage.items() if not meter.startswith("cache_")}
    now, then = (_rated(group, scene, usage) for usage in (group.usage, without))
    if now is None or then is None or then >= now:
        return
    saved = share_of(now - then, now)
    read = sum(one.cache_read * one.calls for one in group.seen)
    yield from _advice(
        group,
        scene,
        "caching_does_not_pay",
        (saved, saved),
        title=f"Do not cache the prompts of {group.name}",
        effort=Effort.EASY,
        how=("leave out cache_control, or cache for longer (1 hour) what is asked more rarely",),
        assumptions=("writing to the cache costs more than a plain token, and too little is read again",),
        evidence=(("tokens written to the cache", f"{written:,}"), ("tokens read from it", f"{read:,}")),
    )


def _maximum(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    maxima = [one.maximum for one in group.seen if one.maximum]
    usual = at_rank([one.output for one in group.seen], 99)
    if not maxima or not usual or at_rank(maxima, 50) < MAXIMUM_TIMES * usual:
        return
    cap = 2 * usual
    beyond = sum(max(0, one.output - cap) * one.calls for one in group.seen)
    saved = _part_of_tokens(group, scene, "output_tokens", beyond)
    yield from _advice(
        group,
        scene,
        "maximum",
        (0, saved),
        title=f"Lower max_tokens of {group.name} from {at_rank(maxima, 50):,} to {cap:,}",
        effort=Effort.EASY,
        how=(f"set max_tokens to {cap:,}: twice what 99 of 100 answers need",),
        assumptions=("saves money only where an answer runs away; it lets more calls fit under a hard budget",),
        evidence=(
            ("max_tokens, median", f"{at_rank(maxima, 50):,}"),
            ("output tokens, 99 %", f"{usual:,} or fewer"),
            ("output tokens beyond the new maximum", f"{beyond:,}"),
        ),
        even_without_saving=True,
    )


def _growing_context(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    ordered = sorted(group.seen, key=_at)
    third = len(ordered) // 3
    if third < CALLS_MIN:
        return
    first, last = (at_rank([one.input for one in part], 50) for part in (ordered[:third], ordered[-third:]))
    if not first or last < first * GROWTH_MIN:
        return
    tokens = sum(max(0, one.input - first) * one.calls for one in ordered)
    saved = _part_of_tokens(group, scene, "input_tokens", tokens)
    yield from _advice(
        group,
        scene,
        "growing_context",
        (saved // 2, saved),
        title=f"Keep the context of {group.name} from growing",
        effort=Effort.MEDIUM,
        how=("cut or summarise the history; send only the excerpts that matter",),
        assumptions=("half of what came on top of the first calls' context, or all of it, can go",),
        evidence=(("input tokens, at first", f"{first:,}"), ("input tokens, lately", f"{last:,}")),
    )


def _outlying_inputs(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    usual = at_rank([one.input for one in group.seen], 50)
    largest = at_rank([one.input for one in group.seen], 95)
    if not usual or largest < OUTLIER_TIMES * usual:
        return
    beyond = sum(max(0, one.input - OUTLIER_TIMES * usual) * one.calls for one in group.seen)
    saved = _part_of_tokens(group, scene, "input_tokens", beyond)
    yield from _advice(
        group,
        scene,
        "outlying_inputs",
        (0, saved),
        title=f"Limit the inputs of {group.name}",
        effort=Effort.EASY,
        how=(f"truncate what is sent at {OUTLIER_TIMES * usual:,} tokens, or ask in parts",),
        assumptions=("what is beyond eight times the median can be left out",),
        evidence=(("input tokens, median", f"{usual:,}"), ("input tokens, 95 %", f"{largest:,}")),
    )


def _repeated_prompts(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    last: dict[str, int] = {}
    repeated = calls = 0
    for one in sorted(group.seen, key=_at):
        if one.prompt_hash is None:
            continue
        before = last.get(one.prompt_hash)
        if before is not None and one.at - before <= REPEAT_LIFE:
            repeated += one.amount
            calls += one.calls
        last[one.prompt_hash] = one.at
    if not repeated:
        return
    saved = share_of(repeated, group.amount)
    yield from _advice(
        group,
        scene,
        "repeated_prompts",
        (saved // 2, saved),
        title=f"Keep answers of {group.name} for a day",
        effort=Effort.MEDIUM,
        how=("keep the answer under the hash of the prompt, and give it again",),
        assumptions=("half of the repeated questions, or all, may have the same answer",),
        evidence=(("calls that repeat one of the last day, by hash", f"{calls:,}"),),
    )


def _retries(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    """A step of a job is one thing (a clip, an image): what was called again for it was thrown away."""
    calls: Counter[tuple[str, str]] = Counter()
    again = 0
    for one in sorted(group.seen, key=_at):
        if one.step is not None:
            again += one.amount if calls[one.step] else 0
            calls[one.step] += one.calls
    saved = share_of(again, group.amount)
    if saved < RETRIES_SHARE_MIN:
        return
    (job, step), most = calls.most_common(1)[0]
    yield from _advice(
        group,
        scene,
        "retries",
        (saved // 2, saved),
        title=f"Stop {group.name} from being called again and again for one step",
        effort=Effort.MEDIUM,
        how=(
            f"outlay job {job}",
            "give up after the third try; a budget of each job that refuses stops a loop",
        ),
        assumptions=("half of the calls after the first of a step, or all, can be avoided",),
        evidence=(
            ("calls after the first of a step", f"{calls.total() - len(calls):,}"),
            (f"the most, step {step} of {job}", f"{most:,} calls"),
        ),
    )


def _failures(group: CallGroup, scene: Scene) -> Iterator[Advice]:
    if not group.failed_amount:
        return
    saved = share_of(group.failed_amount, group.amount)
    yield from _advice(
        group,
        scene,
        "failures",
        (saved // 2, saved),
        title=f"Stop paying for failed calls of {group.name}",
        effort=Effort.MEDIUM,
        how=(
            "outlay top --by job --where status=failed",
            "check inputs before the call, wait longer between tries, give up after the third",
        ),
        assumptions=("half of what failed calls cost, or all, can be avoided",),
        evidence=(
            ("failed calls", f"{group.failed_calls:,}"),
            ("what they cost a month", scene.money(scene.monthly(group.failed_amount))),
        ),
    )


RULES: Final = (
    _cheaper_model,
    _batch,
    _caching_pays,
    _caching_does_not_pay,
    _maximum,
    _growing_context,
    _outlying_inputs,
    _repeated_prompts,
    _retries,
    _failures,
)


# What a change would cost


def _saved(
    group: CallGroup,
    scene: Scene,
    *,
    service: str | None = None,
    processing: str | None = None,
    extra: Mapping[str, Quantity] | None = None,
    gains_only: bool = True,
) -> int:
    """The share saved, in billionths, by a change of the mean call; 0 where it cannot be priced.

    Without `gains_only` a loss comes back as a negative share.
    """
    usage: dict[str, Quantity] = {meter: group.mean(meter) for meter in group.usage}
    now = _rated(group, scene, usage)
    then = _rated(group, scene, {**usage, **(extra or {})}, service=service, processing=processing)
    if now is None or then is None or not now:
        return 0
    share = round(Fraction(now - then, now) * 10**9)
    return max(0, share) if gains_only else share


def _rated(
    group: CallGroup,
    scene: Scene,
    usage: Mapping[str, Quantity],
    *,
    service: str | None = None,
    processing: str | None = None,
) -> int | None:
    sample = group.sample
    if sample is None:
        return None
    conditions = {**sample.conditions, **({"processing": processing} if processing else {})}
    event = msgspec.structs.replace(
        sample,
        service=service or sample.service,
        usage=dict(usage),
        conditions=conditions,
        count=1,
        occurred_from=scene.at,
        occurred_to=scene.at,
    )
    try:
        rating = scene.rate(event)
    except InvalidInput:
        # Means are rounded each on its own: a part may then be a token more than its whole.
        return None
    return rating.amount if rating.status is PricingStatus.PRICED else None


def _part_of_tokens(group: CallGroup, scene: Scene, meter: str, tokens: int) -> int:
    """The share of the group's cost that so many tokens of a meter are."""
    usage = {name: quantity for name, quantity in group.usage.items() if name in _TOKENS}
    if not usage.get(meter):
        return 0
    now = _rated(group, scene, usage)
    then = _rated(group, scene, {**usage, meter: max(0, int(usage[meter]) - tokens)})
    return 0 if now is None or then is None else share_of(now - then, group.amount)


def _close_calls(seen: Sequence[SeenCall]) -> Fraction:
    """The share of calls that follow another within the life of a cache."""
    ordered = sorted(one.at for one in seen)
    close = sum(1 for before, after in pairwise(ordered) if after - before <= CACHE_LIFE)
    return Fraction(close, len(ordered)) if ordered else Fraction(0)


def _smaller(service: str, own: Mapping[str, str]) -> list[str]:
    if service in own:
        return [own[service]]
    return next((list(names) for pattern, names in _families() if pattern.search(service.lower())), [])


@cache
def _families() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    tables = tomllib.loads(_FILE.read_text(encoding="utf-8"))["family"]
    return tuple((re.compile(table["pattern"]), tuple(table["smaller"])) for table in tables)
