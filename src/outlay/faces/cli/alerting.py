"""`outlay alerts`, `watch` and `tick`: what crossed which rule, what people do about it, and who sends it."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outlay.clock import MICROSECONDS_PER_SECOND, to_datetime
from outlay.errors import InvalidInput
from outlay.faces.cli.exits import ErrorsInOneLine, Exit
from outlay.faces.cli.options import CsvOption, JsonOption, LedgerOption, YesOption, form_of, read_filter
from outlay.faces.cli.render import Column, Table, show
from outlay.faces.cli.session import confirm, opened
from outlay.faces.cli.when import read_time
from outlay.money import Money, pico_to_decimal

if TYPE_CHECKING:
    from outlay.budgets.alert_rules import AlertRule
    from outlay.budgets.alerts import Alert

WHO: Final = "command line"
_COLUMNS: Final = (
    Column("id", "Alert"),
    Column("raised", "Raised"),
    Column("severity", "Severity"),
    Column("state", "State"),
    Column("title", "What"),
    Column("acknowledged_by", "Seen by", when_empty=False),
    Column("owner", "Owner", when_empty=False),
    Column("delivery", "Sent"),
)

alerts = typer.Typer(
    name="alerts",
    help="Alerts: what crossed which rule, whether it was sent, and the rules themselves.",
    no_args_is_help=True,
    cls=ErrorsInOneLine,
)
IdArgument = Annotated[str, typer.Argument(metavar="ALERT", help="The alert's id.")]
RuleArgument = Annotated[str, typer.Argument(metavar="RULE", help="The rule's name.")]


@alerts.command("list")
def list_alerts(
    open_only: Annotated[bool, typer.Option("--open", help="Only those that still hold.")] = False,
    rule: Annotated[str | None, typer.Option("--rule", help="Only of this rule.", show_default=False)] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 50,
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """The newest alerts, and what was not delivered."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        found = book.alerts(open_only=open_only, rule=rule, limit=limit)
        waiting = book.undelivered_alerts()
        zone = book.store.home_zone
    undelivered = waiting.pending + waiting.waiting + waiting.dead
    watch = "" if waiting.watched_until else ", and nobody watches: outlay watch, outlay tick, or a server"
    note = f"alerts undelivered: {undelivered} ({waiting.dead} given up){watch}" if undelivered else ""
    rows = [
        (
            one.id,
            f"{to_datetime(one.raised_at, zone):%Y-%m-%d %H:%M}",
            one.severity.value,
            one.state.value,
            one.title,
            one.acknowledged_by,
            one.owner,
            _delivery(one),
        )
        for one in found
    ]
    show(Table(_COLUMNS, rows, note=note, facts={"undelivered": undelivered}), form)


def _delivery(alert: Alert) -> str:
    if alert.dead:
        return "; ".join(f"{one.channel} gave up: {one.error}" for one in alert.deliveries if one.dead)
    if alert.pending:
        return "waits"
    return "sent" if alert.deliveries else "no channel"


@alerts.command("check")
def check(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """Look once, send nothing, and exit with 1 if an alert is open: for cron and CI."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        watcher = book.watcher()
        watcher.round(timed=True, send=False)
        watcher.stop()
        found = book.alerts(open_only=True)
    rows = [(one.id, one.severity.value, one.title) for one in found]
    columns = (Column("id", "Alert"), Column("severity", "Severity"), Column("title", "What"))
    show(Table(columns, rows, note="" if rows else "no alert is open", facts={"open": len(found)}), form)
    if found:
        raise typer.Exit(Exit.FINDING)


@alerts.command("rules")
def rules(ledger: LedgerOption = None, json: JsonOption = False, csv: CsvOption = False) -> None:
    """The rules in force."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        found, currency = book.alert_rules(), book.currency
    columns = (
        Column("name", "Rule"),
        Column("kind", "Kind"),
        Column("amount", "Amount", right=True),
        Column("window", "Window"),
        Column("where", "Where"),
        Column("severity", "Severity"),
    )
    rows = [
        (one.name, one.kind.value, Money(one.amount, currency), _window(one), _where(one), one.severity.value)
        for one in found
    ]
    show(Table(columns, rows, note="" if rows else "no rule is set; outlay alerts suggest proposes some"), form)


def _window(rule: AlertRule) -> str:
    return f"{rule.minutes} minutes" if rule.minutes else rule.window


def _where(rule: AlertRule) -> str:
    told = [f"{name}={'|'.join(value or '' for value in values)}" for name, values in rule.where.items()]
    return ", ".join([*told, *([f"each {rule.each}"] if rule.each else [])]) or "all"


@alerts.command("set")
def set_rule(
    rule: RuleArgument,
    kind: Annotated[
        str,
        typer.Option(
            "--kind",
            help="spend, request, event, rate, rise, failed, unpriced, silence, anomaly, drift or price.",
        ),
    ] = "spend",
    above: Annotated[
        str | None, typer.Option("--above", metavar="AMOUNT", help="Told over it.", show_default=False)
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="AMOUNT", help="Told at it, too.", show_default=False)
    ] = None,
    window: Annotated[str | None, typer.Option("--window", help="hour, day, month, …", show_default=False)] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", "-w", metavar="NAME=VALUE", help="Only such calls.", show_default=False),
    ] = None,
    each: Annotated[str | None, typer.Option("--each", help="For each user, feature, …", show_default=False)] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option("--mark", metavar="PERCENT", help="Also told at this share.", show_default=False),
    ] = None,
    forecast: Annotated[
        list[str] | None,
        typer.Option("--forecast", metavar="PERCENT", help="Told when it will end there.", show_default=False),
    ] = None,
    minutes: Annotated[
        int | None, typer.Option("--minutes", help="How far to look back.", show_default=False)
    ] = None,
    percent: Annotated[
        int | None,
        typer.Option("--percent", help="Of an anomaly, a rise, a drift: from so much on.", show_default=False),
    ] = None,
    need: Annotated[
        str | None, typer.Option("--need", help="both thresholds, or either of them.", show_default=False)
    ] = None,
    severity: Annotated[str, typer.Option("--severity", help="info, warning, error or critical.")] = "error",
    owner: Annotated[str, typer.Option("--owner", help="Who sees to it.", show_default=False)] = "",
    ledger: LedgerOption = None,
) -> None:
    """Set a rule: outlay alerts set hourly --above 50 --window hour"""
    fields: dict[str, Any] = {
        "kind": kind,
        "above": above,
        "at": at,
        "window": window and window.replace("-", " "),
        "each": each,
        "where": read_filter(where),
        "marks": mark,
        "forecast": forecast,
        "minutes": minutes,
        "percent": percent,
        "need": need,
        "severity": severity,
        "owner": owner,
    }
    with opened(ledger) as book:
        found = book.alert_rule(rule, who=WHO, **{name: one for name, one in fields.items() if one is not None})
    print(f"{found.name}: {found.kind} rule is in force")


@alerts.command("remove")
def remove_rule(rule: RuleArgument, yes: YesOption = False, ledger: LedgerOption = None) -> None:
    """Take a rule out of force; its alerts stay."""
    confirm(f"Remove the alert rule {rule}?", yes)
    with opened(ledger) as book:
        book.remove_alert_rule(rule, who=WHO)


@alerts.command("ack")
def acknowledge(
    id: IdArgument, who: Annotated[str, typer.Option("--who", help="Who saw it.")] = WHO, ledger: LedgerOption = None
) -> None:
    """Say that you have seen it."""
    with opened(ledger) as book:
        print(f"{id}: seen by {book.acknowledge_alert(id, who=who).acknowledged_by}")


@alerts.command("own")
def own(
    id: IdArgument, owner: Annotated[str, typer.Argument(help="Who sees to it.")], ledger: LedgerOption = None
) -> None:
    """Say who sees to it."""
    with opened(ledger) as book:
        print(f"{id}: owned by {book.own_alert(id, owner).owner}")


@alerts.command("resolve")
def resolve(id: IdArgument, ledger: LedgerOption = None) -> None:
    """Say that it is over."""
    with opened(ledger) as book:
        print(f"{id}: {book.resolve_alert(id).state}")


@alerts.command("resend")
def resend(id: IdArgument, ledger: LedgerOption = None) -> None:
    """Try again where sending it was given up."""
    with opened(ledger) as book:
        book.resend_alert(id)
    print(f"{id}: is sent again by whoever watches")


@alerts.command("snooze")
def snooze(
    rule: RuleArgument,
    hours: Annotated[int, typer.Option("--hours", min=1, help="For how long.")] = 24,
    ledger: LedgerOption = None,
) -> None:
    """Send nothing new of a rule for some hours; what it finds is kept, and sent after."""
    with opened(ledger) as book:
        until = book.snooze_alerts(rule, until=book.clock.now() + hours * 3_600 * MICROSECONDS_PER_SECOND)
        print(f"{rule}: silent until {to_datetime(until, book.store.home_zone).isoformat()}")


@alerts.command("test")
def send_test(
    channel: Annotated[str, typer.Argument(help="A channel of outlay.toml.")], ledger: LedgerOption = None
) -> None:
    """Send a message that says it is a test."""
    with opened(ledger) as book:
        book.test_channel(channel)
    print(f"{channel}: told")


@alerts.command("suggest")
def suggest(
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="How far to look back.")] = "90d",
    ledger: LedgerOption = None,
    json: JsonOption = False,
    csv: CsvOption = False,
) -> None:
    """Thresholds that the ledger's past proposes, and how often each would have fired."""
    form = form_of(json, csv)
    with opened(ledger) as book:
        now = book.clock.now()
        span = now - read_time(since, now, book.store.home_zone)
        if span <= 0:
            raise InvalidInput("--since does not lie in the past", code="time_reversed")
        found = book.suggest_alerts(days=max(1, -(-span // (86_400 * MICROSECONDS_PER_SECOND))))
        currency = book.currency
    columns = (
        Column("window", "Window"),
        Column("above", "Above", right=True),
        Column("fired", "Would have fired", right=True),
        Column("proposed", "Proposed"),
        Column("usual", "99 % stayed within", right=True),
        Column("most", "Dearest", right=True),
    )
    rows = [
        (
            one.window,
            Money(amount, currency),
            fired,
            "yes" if amount == one.amount else "",
            Money(one.usual, currency),
            Money(one.most, currency),
        )
        for one in found
        for amount, fired in sorted([(one.amount, one.fired), *one.others])
    ]
    best = [
        f"outlay alerts set by-{one.window} --above {pico_to_decimal(one.amount)} --window {one.window}"
        for one in found
    ]
    note = "; ".join(best) if found else "too little was spent to say: a window needs 7 of its kind"
    show(Table(columns, rows, note=note), form)


def tick(ledger: LedgerOption = None, json: JsonOption = False) -> None:
    """Look once and send what is due, reports too: for cron. Exits with 1 if an alert is open or something unsent."""
    with opened(ledger) as book:
        watcher = book.watcher()
        found = watcher.round(timed=True)
        watcher.stop()
        unsent = sum(one.pending or one.dead for one in book.report_dispatches())
    names = ("raised", "sent", "failed", "pending", "open")
    columns = (
        Column("leading", "Watched here"),
        *(Column(name, name.capitalize(), right=True) for name in names),
        Column("reports", "Reports unsent", right=True),
    )
    row = ("yes" if found.leading else "no, by another host", *(getattr(found, name) for name in names), unsent)
    show(Table(columns, [row]), form_of(json, csv=False))
    if found.failed or found.pending or found.open or unsent:
        raise typer.Exit(Exit.FINDING)


def watch(ledger: LedgerOption = None) -> None:
    """Watch and send until stopped by SIGTERM or SIGINT. Of several that watch one ledger one works."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    with opened(ledger) as book, book.watcher() as watcher:
        channels = ", ".join(sorted(watcher.channels)) or "no channel"
        print(f"watching {book.store.address}; alerts go to {channels}", flush=True)
        stopping.wait()
