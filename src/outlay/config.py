"""Settings from `outlay.toml` and the environment: the only reader of os.environ.

The environment wins over the file, and what a program passes wins over both. The file is `outlay.toml` in the
working directory or a parent, or what OUTLAY_CONFIG names.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from outlay.errors import InvalidInput

FILE_NAME = "outlay.toml"
_SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a process is told about its ledger. Each field is also an environment variable OUTLAY_<FIELD>."""

    ledger: str = "outlay.db"
    currency: str = "USD"
    zone: str = "UTC"
    synchronous: str = "normal"
    prices: str | None = None
    prices_age_days_max: int = 31
    estimate: str | None = None
    categories: dict[str, list[str]] = {}
    metered: list[str] = []
    budgets: dict[str, dict[str, Any]] = {}
    server: dict[str, Any] = {}
    gateway: dict[str, Any] = {}
    alerts: dict[str, Any] = {}
    aws: dict[str, Any] = {}
    mail: dict[str, Any] = {}
    reports: dict[str, Any] = {}


class ClientSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client of a server is told by the environment alone: its key, and where events wait for the server."""

    key: str | None
    spool: Path


def load_client_settings(environment: Mapping[str, str] | None = None) -> ClientSettings:
    """OUTLAY_KEY, and OUTLAY_SPOOL or the user's own folder for what programs must not lose (XDG_STATE_HOME)."""
    environment = os.environ if environment is None else environment
    state = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    folder = environment.get("OUTLAY_SPOOL") or str(Path(state) / "outlay")
    return ClientSettings(key=environment.get("OUTLAY_KEY") or None, spool=Path(folder).expanduser())


class ReportFunctionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the AWS Lambda function that sends a report is told by its environment alone.

    `report` are the fields of a report as in outlay.toml, less its recipients: mail goes by SES from `sender` to each
    of `to`, a short text to the SNS `topic`. `key_secret` names the secret that holds the server's key.
    """

    ledger: str
    report: dict[str, Any]
    sender: str = ""
    to: tuple[str, ...] = ()
    topic: str = ""
    key_secret: str = ""
    region: str = "us-east-1"


def load_report_function_settings(environment: Mapping[str, str] | None = None) -> ReportFunctionSettings:
    """OUTLAY_LEDGER, OUTLAY_REPORT (JSON), OUTLAY_MAIL_FROM, OUTLAY_MAIL_TO (with commas), OUTLAY_TOPIC,
    OUTLAY_KEY_SECRET. Raises InvalidInput `bad_config` naming what is missing or cannot be read.
    """
    environment = os.environ if environment is None else environment
    ledger = environment.get("OUTLAY_LEDGER", "")
    if not ledger:
        raise InvalidInput("OUTLAY_LEDGER names no ledger", code="bad_config", field="OUTLAY_LEDGER")
    try:
        report = msgspec.json.decode(environment.get("OUTLAY_REPORT") or "{}", type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise InvalidInput(f"OUTLAY_REPORT is no JSON object: {error}", code="bad_config") from error
    to = environment.get("OUTLAY_MAIL_TO", "")
    return ReportFunctionSettings(
        ledger=ledger,
        report=report,
        sender=environment.get("OUTLAY_MAIL_FROM", ""),
        to=tuple(one.strip() for one in to.split(",") if one.strip()),
        topic=environment.get("OUTLAY_TOPIC", ""),
        key_secret=environment.get("OUTLAY_KEY_SECRET", ""),
        region=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
    )


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Where files are kept that can be made again (XDG_CACHE_HOME)."""
    environment = os.environ if environment is None else environment
    return Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "outlay"


def load_settings(folder: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in force. Raises InvalidInput `bad_config` naming the file and the field."""
    environment = os.environ if environment is None else environment
    path = _find(folder or Path.cwd(), environment.get("OUTLAY_CONFIG"))
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{path} is not TOML: {error}", code="bad_config") from error
    values.update(_from_environment(environment))
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{path or 'the environment'}: {error}", code="bad_config") from error


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: environment[f"OUTLAY_{name.upper()}"]
        for name in ("ledger", "currency", "zone", "synchronous", "prices", "prices_age_days_max", "estimate")
        if environment.get(f"OUTLAY_{name.upper()}")
    }


def with_secrets(value: Any, environment: Mapping[str, str] | None = None) -> Any:
    """A setting in which `${NAME}` stands for what the environment holds: a file need not hold a password.

    Raises InvalidInput `missing_secret` naming what is not set.
    """
    environment = os.environ if environment is None else environment
    if isinstance(value, dict):
        return {name: with_secrets(one, environment) for name, one in value.items()}
    if isinstance(value, list):
        return [with_secrets(one, environment) for one in value]
    if not isinstance(value, str):
        return value

    def told(found: re.Match[str]) -> str:
        if found[1] not in environment:
            raise InvalidInput(f"the environment has no {found[1]}, which outlay.toml names", code="missing_secret")
        return environment[found[1]]

    return _SECRET.sub(told, value)


def _find(folder: Path, named: str | None) -> Path | None:
    if named:
        path = Path(named)
        if not path.is_file():
            raise InvalidInput(f"OUTLAY_CONFIG names {path}, which is no file", code="bad_config")
        return path
    for candidate in (folder, *folder.parents):
        path = candidate / FILE_NAME
        if path.is_file():
            return path
    return None
