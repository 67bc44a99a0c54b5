"""A report by a schedule of AWS: the handler of a Lambda function that sends it by SES and tells SNS.

The template `templates/report_lambda.json` makes the function, its schedule and its rights; `outlay report
--lambda-template` prints it. The environment says what is sent and to whom: `outlay.config.ReportFunctionSettings`.
A ledger on PostgreSQL keeps that a report was sent, so that a retry or a second schedule sends it once; behind a
server each run sends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.headerregistry import Address
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from outlay.analytics.own_reports import OwnReport, last_due, read_own_report, with_columns
from outlay.budgets.alerts import Message
from outlay.config import ReportFunctionSettings, load_report_function_settings
from outlay.errors import DeliveryFailed, InvalidInput, LedgerError
from outlay.faces.aws.clients import Clients, CloudFailure
from outlay.faces.notify.smtp import mail_of, read_address
from outlay.faces.reports.letters import letter_of
from outlay.reporting import BY, PERIODS

if TYPE_CHECKING:
    from outlay.api import Ledger

NAME: Final = "lambda"
SUBJECT_MAX: Final = 100
"""How long the subject of an SNS message may be: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html"""

TEXT_BYTES_MAX: Final = 256 * 1024
"""How long an SNS message may be, in bytes: the same page."""

Send = Callable[[Message], None]


def template() -> str:
    """The CloudFormation template of the function, as JSON."""
    return files("outlay.faces.aws").joinpath("templates/report_lambda.json").read_text(encoding="utf-8")


def handler(event: object, context: object) -> dict[str, Any]:
    """Send the report that the environment names; what the schedule sends as `report` says otherwise for one run.

    Raises what went wrong, so that Lambda tries again and its alarm is raised.
    """
    settings = load_report_function_settings()
    told = event.get("report") if isinstance(event, Mapping) else None
    if isinstance(told, Mapping):
        settings = replace(settings, report={**settings.report, **told})
    return send_report(settings, Clients())


def send_report(settings: ReportFunctionSettings, clients: Clients) -> dict[str, Any]:
    """Send a report to all that the settings name. Raises InvalidInput `bad_config`, DeliveryFailed, LedgerError."""
    import outlay

    senders = _senders(settings, clients)
    key = _key(settings, clients)
    with outlay.open(settings.ledger, key=key) as ledger:
        fields = dict(settings.report)
        name = str(fields.pop("name", NAME))
        if settings.ledger.startswith(("http://", "https://")):
            return _send_each_time(ledger, name, fields, senders)
        ledger.channel_settings = senders
        ledger.define_report(name, **fields, recipients=list(senders))
        dispatch = ledger.send_report(name)
        failed = [f"{one.channel}: {one.error}" for one in dispatch.deliveries if one.sent_at is None]
        if failed:
            raise DeliveryFailed(f"report {name} of {dispatch.label} was not sent to {'; '.join(failed)}")
        return {"report": name, "period": dispatch.label, "sent": [one.channel for one in dispatch.deliveries]}


def _send_each_time(
    ledger: Ledger, name: str, fields: Mapping[str, Any], senders: Mapping[str, Send]
) -> dict[str, Any]:
    report = read_own_report(
        name, {**fields, "recipients": list(senders)}, ledger.costs(since=ledger.clock.now()).zone
    )
    message, label = _written(ledger, report)
    for send in senders.values():
        send(message)
    return {"report": name, "period": label, "sent": list(senders)}


def _written(ledger: Ledger, report: OwnReport) -> tuple[Message, str]:
    due = last_due(report, ledger.clock.now())
    _, said = PERIODS[report.period]
    found = ledger.report(
        report.period,
        since=due.window.start,
        until=due.window.end,
        where=report.where,
        by=report.by or BY,
        zone=report.zone,
        title=f"{report.title or f'{said} Cost Report'} - {due.window.label}",
    )
    message = letter_of(with_columns(found, report.columns), report.form)
    return replace(message, key=f"{report.name} {due.window.start}"), due.window.label


def _senders(settings: ReportFunctionSettings, clients: Clients) -> dict[str, Send]:
    found: dict[str, Send] = {}
    if settings.to:
        sender = read_address("OUTLAY_MAIL_FROM", "sender", settings.sender)
        for one in settings.to:
            # A recipient a mail: none sees the others' addresses, and one that bounces holds up nobody.
            found[f"ses {one}"] = partial(
                _by_ses, clients, settings.region, sender, read_address("OUTLAY_MAIL_TO", "recipient", one)
            )
    if settings.topic:
        found["sns"] = partial(_by_sns, clients, settings.topic, _region_of(settings.topic))
    if not found:
        raise InvalidInput(
            "nobody is named: set OUTLAY_MAIL_TO with OUTLAY_MAIL_FROM, or OUTLAY_TOPIC", code="bad_config"
        )
    return found


def _by_ses(clients: Clients, region: str, sender: Address, to: Address, message: Message) -> None:
    _call(
        partial(
            clients.call,
            "ses",
            region,
            "send_raw_email",
            Source=str(sender),
            Destinations=[to.addr_spec],
            RawMessage={"Data": mail_of(message, sender, (to,)).as_bytes()},
        )
    )


def _region_of(topic: str) -> str:
    region = topic.split(":")[3] if topic.count(":") >= 5 else ""
    if not region:
        raise InvalidInput("OUTLAY_TOPIC is no ARN of an SNS topic", code="bad_config", field="OUTLAY_TOPIC")
    return region


def _by_sns(clients: Clients, topic: str, region: str, message: Message) -> None:
    words = message.body.encode()[:TEXT_BYTES_MAX].decode(errors="ignore")
    subject = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in message.title)
    _call(
        partial(clients.call, "sns", region, "publish", TopicArn=topic, Subject=subject[:SUBJECT_MAX], Message=words)
    )


def _call(action: Callable[[], object]) -> None:
    try:
        action()
    except CloudFailure as error:
        raise DeliveryFailed(error.message) from error


def _key(settings: ReportFunctionSettings, clients: Clients) -> str | None:
    if not settings.key_secret:
        return None
    answer = clients.call("secretsmanager", settings.region, "get_secret_value", SecretId=settings.key_secret)
    key = str((answer or {}).get("SecretString", "")).strip()
    if not key:
        raise LedgerError("the secret of OUTLAY_KEY_SECRET holds no text", code="bad_config")
    return key
