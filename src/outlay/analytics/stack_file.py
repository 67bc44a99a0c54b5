"""A stack as its file says: resources by kind, AI work by steps, and scenarios that change some of its fields."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import msgspec

from outlay.analytics.stack import SHARES, Resource, Stack, Use, Work
from outlay.analytics.stack_kinds import KINDS, Fields
from outlay.errors import InvalidInput
from outlay.meters import meter_named
from outlay.model import Quantity

Table = dict[str, Any]


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """The stack, the same under each scenario, and what else the file names: a price file beside it, the environment.

    `tables` are the stack's own, for those who change some of its fields.
    """

    stack: Stack
    scenarios: dict[str, Stack]
    prices: str = ""
    environment: str = ""
    tables: dict[str, Any] = {}


def read_stack_file(text: str, name: str) -> StackFile:
    """The stack that a TOML text describes (docs/estimate.md). Raises InvalidInput `bad_stack`, `bad_scenario`."""
    try:
        return stack_file_of(tomllib.loads(text, parse_float=Decimal))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{name} is not TOML: {error}", code="bad_stack") from error


def stack_file_of(tables: Mapping[str, Any]) -> StackFile:
    """The same of the file's tables. Raises InvalidInput `bad_stack` naming the field, `bad_scenario`."""
    base = {name: table for name, table in tables.items() if name != "scenario"}
    scenarios = tables.get("scenario", {})
    if not isinstance(scenarios, Mapping) or not all(isinstance(one, Mapping) for one in scenarios.values()):
        raise InvalidInput('[scenario."name"] holds "path.of.field" = value', code="bad_stack", field="scenario")
    stack = stack_of(base)
    return StackFile(
        stack=stack,
        scenarios={str(title): stack_of(changed(base, changes, str(title))) for title, changes in scenarios.items()},
        prices=str(base.get("stack", {}).get("prices", "")),
        environment=str(base.get("stack", {}).get("environment", "")),
        tables=base,
    )


def changed(tables: Mapping[str, Any], changes: Mapping[str, Any], title: str) -> Table:
    """The tables with some fields changed, each named by its path: `resource.database.purchase`.

    Raises InvalidInput `bad_scenario` for a path whose table is not there.
    """
    copied: Table = _copy(tables)
    for path, value in changes.items():
        *parents, last = str(path).split(".")
        place: Any = copied
        for parent in parents:
            # A step's conditions, say, may be given by the scenario alone; what they belong to must be there.
            if parent == "conditions" and isinstance(place, dict):
                place.setdefault(parent, {})
            if not isinstance(place, dict) or not isinstance(place.get(parent), dict):
                raise InvalidInput(f"scenario {title!r}: there is no {path!r}", code="bad_scenario", field=str(path))
            place = place[parent]
        place[last] = _copy(value)
    return copied


def stack_of(tables: Mapping[str, Any]) -> Stack:
    """The stack that tables describe. Raises InvalidInput `bad_stack`."""
    unknown = sorted(set(tables) - {"stack", "resource", "work"})
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is none of stack, resource, work, scenario", code="bad_stack")
    head = Fields("stack", tables.get("stack", {}))
    region = head.text("region", "")
    margin = head.number("margin_percent", 0)
    title, free = head.text("name", "stack"), head.flag("free_allowances", True)
    head.text("prices", "")
    head.text("environment", "")
    head.finish()
    top = Fields("", tables, region)
    resources = [_resource(fields) for fields in top.tables("resource")]
    work = [_work(fields) for fields in top.tables("work")]
    if not resources and not work:
        raise InvalidInput("a stack has [resource.name] or [work.name] tables", code="bad_stack")
    return Stack(
        name=title,
        resources=tuple(resources),
        work=tuple(work),
        margin_percent=_decimal(margin),
        free_allowances=free,
    )


def _resource(fields: Fields) -> Resource:
    kind = fields.text("kind")
    if kind not in KINDS:
        raise fields.error("kind", f"{kind[:40]!r} is none of {', '.join(KINDS)}")
    fields.region = fields.text("region", fields.region)
    title = fields.text("name", fields.where.rpartition(".")[2])
    reason = fields.text("none", "")
    # For those who ask what it is and how busy it was: see docs/advice.md.
    for name in ("environment", "bucket", "repository", "metrics"):
        fields.raw(name)
    billed = fields.raw("billed_as", [])
    if not isinstance(billed, list) or not all(isinstance(one, str) for one in billed):
        raise fields.error("billed_as", 'is a list such as ["aws/RDS"]')
    makes, known_as = KINDS[kind]
    uses = () if reason else tuple(use for use in makes(fields) if use.usage)
    if not reason:
        fields.finish()
    if not uses and not reason:
        reason = "nothing used"
    names = tuple(one.lower() for one in billed) or tuple(f"aws/{one}" for one in known_as)
    return Resource(name=title, uses=uses, reason=reason, billed_as=names)


def _work(fields: Fields) -> Work:
    duration = fields.number("duration_s", 0)
    units = fields.whole("units")
    title = fields.text("name", fields.where.rpartition(".")[2])
    steps = tuple(_step(step, duration) for step in fields.tables("step"))
    fields.finish()
    if not steps:
        raise fields.error("step", f"is missing: [{fields.where}.step.name] says what one unit is made of")
    return Work(name=title, units=units, steps=steps)


def _step(fields: Fields, duration: Fraction) -> tuple[Use, Decimal]:
    """One step and how often: `times`, or one for every `every_s` begun of the unit's duration."""
    every = fields.number("every_s", 0)
    if every and not duration:
        raise fields.error("every_s", "needs the work's duration_s")
    times = Fraction(ceil(duration / every)) if every else fields.number("times", 1)
    usage = fields.usage() if fields.raw("usage") is not None else {}
    if fields.raw("usage_a_second") is not None:
        # Half a second of a video is billed as such; tokens and characters are whole.
        for meter, quantity in fields.usage("usage_a_second").items():
            usage[meter] = usage.get(meter, 0) + _scaled(quantity, duration)
    use = Use(
        provider=fields.text("provider"),
        service=fields.text("service"),
        usage=usage,
        conditions=fields.conditions(),
        operation=fields.text("operation", "") or None,
        label=fields.where.rpartition(".")[2],
    )
    fields.finish()
    if not use.usage:
        raise fields.error("usage", "is missing: { meter = quantity }")
    meter_named(next(iter(use.usage)))
    return use, _decimal(times)


def _scaled(quantity: Quantity, duration: Fraction) -> Quantity:
    product = Fraction(quantity) * duration
    return int(product) if product.denominator == 1 else _decimal(product)


def _decimal(number: Fraction) -> Decimal:
    return SHARES.divide(number.numerator, number.denominator)


def _copy(value: Any) -> Any:
    return {name: _copy(one) for name, one in value.items()} if isinstance(value, Mapping) else value
