"""One look at one page: who looks, from which zone, what they may ask, and the page that they get."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from outlay.clock import (
    MICROSECONDS_PER_SECOND,
    Instant,
    day_to_date,
    isoformat,
    local_day,
    to_datetime,
    to_instant,
    zone_info,
)
from outlay.errors import InvalidInput
from outlay.faces.server.access import LOCAL, Caller, Role
from outlay.faces.server.pages.asking import Asking
from outlay.faces.server.pages.components import Amount, Choice, Choices, Moment
from outlay.faces.server.pages.sessions import cookies

if TYPE_CHECKING:
    from outlay.faces.server.pages.site import Site

ZONE_COOKIE: Final = "outlay_zone"
THEME_COOKIE: Final = "outlay_theme"
FORM_BYTES_MAX: Final = 64 * 1024
FORM_FIELD: Final = "form_token"
"""The field of a form that says that it is ours."""

_GZIP_FROM_BYTES: Final = 1_000

Handler = Callable[["Visit"], Awaitable[Response]]


class Page(NamedTuple):
    """A page: who may open it ("public", "read", "read unscoped" or "admin") and what answers."""

    method: str
    path: str
    role: str
    handler: Handler


class Period(NamedTuple):
    """A range of whole days of the ledger's zone: [since, until)."""

    name: str
    label: str
    since: date
    until: date

    @property
    def days(self) -> int:
        """How many days."""
        return (self.until - self.since).days

    @property
    def before(self) -> Period:
        """The range of the same length that ends where this one begins."""
        length = self.until - self.since
        return Period(
            "", f"the {self.days} days before" if self.days > 1 else "the day before", self.since - length, self.since
        )

    @property
    def span(self) -> dict[str, str]:
        """As the routes take it."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


PERIODS: Final = {
    "today": "Today",
    "yesterday": "Yesterday",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
    "month": "This month",
    "last-month": "Last month",
}


class Facts(NamedTuple):
    """What holds for the whole ledger."""

    currency: str
    zone: str
    version: str


class Visit:
    """What a page's function gets."""

    def __init__(self, site: Site, request: Request, caller: Caller, ask: Asking, facts: Facts, now: Instant) -> None:
        """Made by the site for each request."""
        self.site = site
        self.request = request
        self.caller = caller
        self.ask = ask
        self.facts = facts
        self.now = now
        told = cookies({b"cookie": request.headers.get("cookie", "").encode("latin-1")})
        self.zone = _zone(told.get(ZONE_COOKIE, ""), facts.zone)
        theme = told.get(THEME_COOKIE, "")
        self.theme = theme if theme in ("light", "dark") else ""
        self.query: Mapping[str, str] = dict(request.query_params)
        self.form: dict[str, str] = {}

    # Who looks

    @property
    def sees_all(self) -> bool:
        """Whether nothing is hidden from this visitor."""
        return not self.caller.scope

    @property
    def may_change(self) -> bool:
        """Whether this visitor may set budgets, rules and prices."""
        return self.sees_all and self.caller.may(Role.ADMIN)

    @property
    def signed_in(self) -> bool:
        """Whether there is a session to end."""
        return self.caller is not LOCAL

    # What they ask

    @property
    def today(self) -> date:
        """The ledger's present day."""
        return day_to_date(local_day(self.now, self.facts.zone))

    def period(self, default: str = "30d") -> Period:
        """The range of days that the address names. Raises InvalidInput `bad_time`."""
        since, until = self.query.get("since", ""), self.query.get("until", "")
        if since or until:
            return self.between(since or str(self.today - timedelta(days=29)), until or str(self.today))
        name = self.query.get("period", default)
        return period_named(name if name in PERIODS else default, self.today)

    def between(self, since: str, until: str) -> Period:
        """The days from the first to the last, both of them in it. Raises InvalidInput `bad_time`."""
        first, last = _date(since), _date(until)
        if last < first:
            raise InvalidInput("the last day lies before the first", code="time_reversed", field="until")
        return Period("", f"{first} to {last}" if first != last else str(first), first, last + timedelta(days=1))

    def day_of(self, text: str) -> date:
        """The ledger's day of a time."""
        return day_to_date(local_day(to_instant(text), self.facts.zone))

    def where(self) -> list[tuple[str, str]]:
        """The filters of the address, as the routes take them."""
        return [(name, value) for name, value in self.request.query_params.multi_items() if name.startswith("where.")]

    def sides(self) -> list[tuple[str, str]]:
        """The filters of one side of a comparison: `before.feature=…`, `after.service=…`."""
        pairs = self.request.query_params.multi_items()
        return [(name, value) for name, value in pairs if name.startswith(("before.", "after."))]

    def span(self, default: str = "30d") -> tuple[str, str]:
        """Since and until of the address, as the routes take them: days, or the one hour that `hour` names."""
        hour = self.query.get("hour", "")
        if hour:
            since = to_instant(hour, self.facts.zone)
            return isoformat(since), isoformat(since + 3_600 * MICROSECONDS_PER_SECOND)
        period = self.period(default)
        return period.since.isoformat(), period.until.isoformat()

    def here(self, **changes: str | None) -> str:
        """This page's address with some of its parameters changed; None takes one away."""
        kept = [(name, value) for name, value in self.request.query_params.multi_items() if name not in changes]
        return address(self.request.url.path, [*kept, *((name, value) for name, value in changes.items() if value)])

    def periods(self, default: str = "30d", names: Sequence[str] = tuple(PERIODS)) -> Choices:
        """The ranges to choose from."""
        on = self.period(default).name
        return Choices(
            "Period",
            [
                Choice(text=PERIODS[name], href=self.here(period=name, since=None, until=None), on=name == on)
                for name in names
            ],
        )

    # What they get

    def amount(self, value: str | Decimal, *, signed: bool = False, href: str = "") -> Amount:
        """Money of the ledger."""
        text = value if isinstance(value, str) else format(value, "f")
        return Amount(text, self.facts.currency, signed, href)

    def moment(self, value: str | None) -> Moment | str:
        """A time in the viewer's zone."""
        return "" if value is None else Moment(value, self.zone)

    def local(self, at: Instant) -> str:
        """Now, for a heading."""
        return f"{to_datetime(at, self.zone):%H:%M}"

    @property
    def now_iso(self) -> str:
        """Now, in ISO 8601."""
        return isoformat(self.now)

    def render(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page of a template."""
        html = self.site.rendered(template, visit=self, **values).encode()
        return self.sent(html, "text/html; charset=utf-8", status)

    def sent(self, body: bytes, media_type: str, status: int = 200) -> Response:
        """An answer, compressed where that is worth it."""
        headers = {"cache-control": "no-store", "vary": "accept-encoding, cookie"}
        if len(body) > _GZIP_FROM_BYTES and "gzip" in self.request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 5, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(body, status, headers, media_type)

    def page(self, title: str, blocks: Sequence[Any], *, status: int = 200, lead: str = "", **more: Any) -> Response:
        """A page of blocks, one under another."""
        said = self.site.said(self.query.get("done", ""))
        return self.render("page.html", status=status, title=title, blocks=blocks, lead=lead, done=said, **more)

    def part(self, blocks: Sequence[Any]) -> Response:
        """Blocks for a page that stands already."""
        return self.render("part.html", blocks=blocks)

    def go(self, path: str, **query: str) -> Response:
        """Send the visitor on, after something was changed."""
        return self.go_to(address(path, query.items()))

    def go_to(self, where: str) -> Response:
        """Send the visitor on to an address of this site."""
        return Response(status_code=303, headers={"location": where})

    @property
    def form_token(self) -> str:
        """What a form of this visitor bears."""
        return self.site.sessions.form_token(self.caller)


def period_named(name: str, today: date) -> Period:
    """A range by its name."""
    tomorrow, first = today + timedelta(days=1), today.replace(day=1)
    if name == "today":
        return Period(name, "today", today, tomorrow)
    if name == "yesterday":
        return Period(name, "yesterday", today - timedelta(days=1), today)
    if name == "month":
        return Period(name, f"{today:%B %Y}", first, tomorrow)
    if name == "last-month":
        before = (first - timedelta(days=1)).replace(day=1)
        return Period(name, f"{before:%B %Y}", before, first)
    days = int(name.removesuffix("d"))
    return Period(name, f"the last {days} days", tomorrow - timedelta(days=days), tomorrow)


def address(path: str, pairs: Any) -> str:
    """A path with its query."""
    query = urlencode([(name, value) for name, value in pairs if value])
    return f"{path}?{query}" if query else path


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises InvalidInput `body_too_large`."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_MAX:
            raise InvalidInput("this form is too long", code="body_too_large")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))


def _zone(told: str, home: str) -> str:
    name = told.replace("%2F", "/")
    if not name:
        return home
    try:
        zone_info(name)
    except InvalidInput:
        return home
    return name


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{text[:40]!r} is not a date such as 2026-03-10", code="bad_time") from error
