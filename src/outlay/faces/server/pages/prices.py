"""The price book: rates with their dates and sources, usage without a price and how it is put right."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.responses import Response

from outlay.faces.server.pages.asking import Problem
from outlay.faces.server.pages.components import (
    NONE,
    Action,
    Badge,
    Card,
    Count,
    Field,
    Form,
    Link,
    Notice,
    Prose,
    Several,
    Table,
    columns,
    folded,
)
from outlay.faces.server.pages.overview import into
from outlay.faces.server.pages.visit import Page, Visit, address

ROWS: Final = 200


async def prices(visit: Visit) -> Response:
    """What is in force, what has no price, what to look at."""
    return await _page(visit)


async def _page(visit: Visit, problem: str = "", status: int = 200) -> Response:
    provider, service = visit.query.get("provider", ""), visit.query.get("service", "")
    used, found = await asyncio.gather(
        visit.ask.get("/v1/costs", *visit.where(), by="provider,service", limit=2_000),
        visit.ask.get(
            "/v1/prices",
            provider=provider or None,
            service=service or None,
            origin=None if provider else "user",
            limit=ROWS,
            cursor=visit.query.get("cursor"),
        ),
    )
    blocks: list[Any] = [Notice(problem, "bad")] if problem else []
    blocks.append(Card(title="Usage without a price", blocks=_unpriced(visit, used["rows"])))
    blocks.append(
        Card(
            title="Rates of what was used",
            note="services with spend",
            blocks=folded(_used(visit, used["rows"]), 12),
        )
    )
    blocks.append(
        Card(title="First and last seen", note="services by their calls", part="/parts/services", height=280)
    )
    blocks.append(_rates(visit, found, provider, service))
    if visit.sees_all:
        check = await visit.ask.get("/v1/prices/check")
        blocks.append(
            Card(
                title="To be looked at",
                note="old prices, prices without a source, sources that differ",
                blocks=folded(_check(check["findings"]), 8),
            )
        )
    if visit.may_change:
        blocks.append(
            Card(
                title="Add a price of your own", note="it beats the catalogue from its date on", blocks=[_form(visit)]
            )
        )
    return visit.page("Price book", blocks, status=status, lead=f"catalogue {found['catalogue'][:12]}")


def _unpriced(visit: Visit, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    found = [row for row in rows if row["unpriced"] or row["incomplete"]]
    told = [
        (
            f"{row['keys']['provider']} / {row['keys']['service']}",
            Count(str(row["unpriced"] + row["incomplete"]), "calls"),
            Several(
                (
                    Link(
                        "Which calls",
                        address(
                            "/explore",
                            [
                                ("where.provider", row["keys"]["provider"]),
                                ("where.service", row["keys"]["service"]),
                                ("period", "90d"),
                                ("by", "calls"),
                            ],
                        ),
                    ),
                )
            ),
            Link(
                "Give it a price",
                address(
                    "/prices", [("for_provider", row["keys"]["provider"]), ("for_service", row["keys"]["service"])]
                )
                + "#add",
            )
            if visit.may_change
            else "",
        )
        for row in found
    ]
    table = Table(
        caption="Usage without a price",
        columns=columns("Service", ">Calls", "Look", "Put right"),
        rows=told,
        empty="Everything that was used has a price.",
    )
    if not found:
        return [table]
    words = Prose(
        "These calls are kept and never counted as free. Add a price below, then rate the past by the book in force."
    )
    again = (
        Action("Rate past calls by the book in force", "/prices", (("reprice", "yes"),)) if visit.may_change else ""
    )
    return [table, words, again] if again else [table, words]


def _used(visit: Visit, rows: Sequence[Mapping[str, Any]]) -> Table:
    told = [
        (
            Link(
                f"{row['keys']['provider']} / {row['keys']['service']}",
                visit.here(provider=row["keys"]["provider"], service=row["keys"]["service"], cursor=None),
            ),
            visit.amount(row["cost"]),
            Count(str(row["events"])),
            Badge("has calls without a price", "warn")
            if row["unpriced"] or row["incomplete"]
            else Badge("priced", "good"),
        )
        for row in rows[:50]
    ]
    return Table(caption="Services with spend", columns=columns("Service", ">Spent", ">~Calls", "Price"), rows=told)


def _rates(visit: Visit, found: Mapping[str, Any], provider: str, service: str) -> Card:
    rows = [
        (
            f"{one['provider']} / {one['service']}",
            one["meter"].replace("_", " "),
            f"{one['price']} {one['currency']}" + (f" / {one['per']:,}" if one["per"] != 1 else ""),
            ", ".join(f"{name} {value}" for name, value in one["conditions"].items()) or "",
            Several(
                (_from(visit, one["valid_from"]), *(("to", visit.moment(one["valid_to"])) if one["valid_to"] else ()))
            ),
            _source(one),
            Badge("yours", "accent") if one["origin"] == "user" else Badge("catalogue"),
        )
        for one in found["rates"]
    ]
    table = Table(
        caption="Rates",
        columns=columns("Service", "Meter", ">Price", "~If", "~Since", "~Source", "Whose"),
        rows=rows,
        empty="No price of your own yet: all come from the catalogue. Choose a service above to see its rates.",
    )
    more = Link("The next rates", visit.here(cursor=found["next"])) if found["next"] else None
    title = f"Rates of {provider} / {service}" if provider else "Your own rates"
    return Card(
        title=title,
        note="with dates and sources, past ones too",
        blocks=folded(table, 30),
        more=more,
        id="rates",
    )


def _from(visit: Visit, text: str | None) -> Any:
    return "ever" if text is None else visit.moment(text)


def _source(one: Mapping[str, Any]) -> Any:
    text = one["source"] or NONE
    dated = one["source_date"] or ""
    if text.startswith("https://"):
        return Link(text.removeprefix("https://").partition("/")[0], text, dated)
    return f"{text} {dated}".strip()


def _check(findings: Sequence[Mapping[str, str]]) -> Table:
    rows = [
        (
            Badge(one["code"].replace("_", " "), "warn"),
            f"{one['provider']} / {one['service']}",
            one["meter"].replace("_", " "),
            one["message"],
        )
        for one in findings[:50]
    ]
    return Table(
        caption="Prices to be looked at",
        columns=columns("What", "Service", "~Meter", "Why"),
        rows=rows,
        empty="Nothing: every price in use is dated, sourced and undisputed.",
    )


def _form(visit: Visit) -> Form:
    return Form(
        action="/prices",
        button="Add the price",
        fields=(
            Field(name="provider", label="Provider", value=visit.query.get("for_provider", ""), required=True),
            Field(name="service", label="Service", value=visit.query.get("for_service", ""), required=True),
            Field(name="meter", label="Meter", required=True, hint="such as input_tokens, images"),
            Field(name="price", label="Price", required=True),
            Field(name="per", label="Per", value="1", hint="1000000 for a million tokens"),
            Field(name="valid_from", label="From", kind="date", hint="empty: for all time"),
            Field(name="source", label="Source", hint="where it is written"),
        ),
    )


async def change(visit: Visit) -> Response:
    """Add a price, or rate the past by the book in force."""
    form = visit.form
    if "reprice" in form:
        await visit.ask.send("POST", "/v1/reprice", {"dry_run": False, "reason": "price book page"})
        return visit.go("/prices", done="repriced")
    body: dict[str, Any] = {
        name: form[name].strip() for name in ("provider", "service", "meter", "price", "source") if form.get(name)
    }
    body["per"] = int(form["per"]) if form.get("per", "").isdecimal() else 1
    if form.get("valid_from"):
        body["valid_from"] = form["valid_from"]
    try:
        await visit.ask.send("POST", "/v1/prices", body)
    except Problem as problem:
        return await _page(visit, problem.message, problem.status)
    return visit.go("/prices", done="saved", provider=body.get("provider", ""), service=body.get("service", ""))


__all__: Sequence[str] = ("PAGES", "into")

PAGES: Final = (
    Page("GET", "/prices", "read", prices),
    Page("POST", "/prices", "admin", change),
)
