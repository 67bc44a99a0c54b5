"""`outlay serve` and `outlay keys`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from outlay.errors import InvalidInput, MissingExtra
from outlay.faces.cli.options import JsonOption, LedgerOption, YesOption, read_names, read_pairs
from outlay.faces.cli.session import refuse_remote

if TYPE_CHECKING:
    from outlay.faces.server.keys import AccessKey
    from outlay.faces.server.settings import ServerSettings

keys = typer.Typer(name="keys", help="Keys that a server lets in: shown once, kept as digests.", no_args_is_help=True)

RoleOption = Annotated[
    str, typer.Option("--role", "-r", metavar="ROLES", help="ingest, read, admin; several with commas.")
]
ScopeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--scope",
        "-s",
        metavar="NAME=VALUE",
        help="Only this project, customer, user, …: forced on what the key writes and reads. Repeat for more.",
        show_default=False,
    ),
]
ExpiresOption = Annotated[
    str | None,
    typer.Option("--expires", metavar="TIME", help="A date or time; without it never.", show_default=False),
]
KEYS_HERE: Final = "keeping access keys"


def serve(
    address: Annotated[
        str | None, typer.Argument(help="The ledger: a path or postgresql://…  [default: as --ledger elsewhere]")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen.  [default: 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port, 0 for any.  [default: 8321]", show_default=False)
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the ledger to programs and people over HTTP.

    Without a key in the ledger the server listens on this machine only. Further settings: the table [server] of
    outlay.toml. SIGTERM stops it when all that was sent is answered and written.
    """
    serve_on(address, host, port, log_level, gateway_only=False)


def serve_on(address: str | None, host: str | None, port: int | None, log_level: str, *, gateway_only: bool) -> None:
    """Serve a ledger, or its gateway alone, until told to stop."""
    from msgspec.structs import replace

    from outlay import open_configured
    from outlay.config import load_settings

    needs_server()
    from outlay.faces.gateway.settings import read_gateway_settings
    from outlay.faces.server.serving import serve as run
    from outlay.faces.server.settings import read_server_settings

    if log_level not in ("debug", "info", "warning", "error"):
        raise InvalidInput(
            f"--log-level {log_level[:20]!r} is none of debug, info, warning, error", code="bad_option"
        )
    settings = load_settings()
    server = _chosen(read_server_settings(settings.server), host, port)
    gateway = read_gateway_settings(settings.gateway)
    # A server shares a flush between all who wait, so that surviving a power cut costs next to nothing.
    chosen = replace(settings, ledger=address or settings.ledger, synchronous="full")
    refuse_remote(chosen.ledger, "serving a ledger")
    with open_configured(chosen) as ledger:
        run(ledger, server, gateway, gateway_only=gateway_only, log_level=log_level)


def _chosen(settings: ServerSettings, host: str | None, port: int | None) -> ServerSettings:
    from msgspec.structs import replace

    told: dict[str, Any] = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    return replace(settings, **told)


def needs_server() -> None:
    """Raises MissingExtra where the server's libraries are not installed."""
    import importlib.util

    for module in ("fastapi", "uvicorn", "uvloop", "httptools", "jwt", "zstandard", "prometheus_client"):
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(f"the server needs {module}: pip install 'outlay[server]'")


@keys.command("add")
def add(
    role: RoleOption,
    name: Annotated[str, typer.Option("--name", "-n", help="What the key is for.")] = "",
    scope: ScopeOption = None,
    expires: ExpiresOption = None,
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="N", help="At most N requests a second.", show_default=False)
    ] = None,
    json: JsonOption = False,
    ledger: LedgerOption = None,
) -> None:
    """Make a key. Its text is shown once and kept nowhere."""
    from outlay.faces.cli.session import opened

    needs_server()
    from outlay.faces.server.keys import make_key

    with opened(ledger, create=True, here=KEYS_HERE) as found:
        key, text = make_key(
            found.store,
            found.clock,
            roles=read_names(role),
            scope=read_pairs(scope, "--scope"),
            name=name,
            expires_at=None if expires is None else _instant(found, expires),
            requests_per_second_max=rate,
        )
    _show_new(key, text, json)


@keys.command("list")
def show(json: JsonOption = False, ledger: LedgerOption = None) -> None:
    """Show all keys: what they may do, when they were last used. Never their text."""
    from outlay.faces.cli.session import opened

    needs_server()
    from outlay.faces.server.keys import kept_keys

    with opened(ledger, here=KEYS_HERE) as found:
        now = found.clock.now()
        rows = [_row(key, now) for key in kept_keys(found.store)]
    if json:
        _print_json(rows)
        return
    if not rows:
        print("no keys: a server of this ledger listens on its own machine only")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in rows[0]:
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(str(value or "") for value in row.values()))
    Console().print(table)


@keys.command("rotate")
def rotate(
    id: Annotated[str, typer.Argument(help="The key's id.")],
    grace: Annotated[int, typer.Option(metavar="SECONDS", help="How long the old text stays valid.")] = 86_400,
    json: JsonOption = False,
    ledger: LedgerOption = None,
) -> None:
    """Give a key a new text. The old one stays valid for a while, so that programs can be told."""
    from outlay.faces.cli.session import opened

    needs_server()
    from outlay.faces.server.keys import rotate_key

    with opened(ledger, here=KEYS_HERE) as found:
        key, text = rotate_key(found.store, found.clock, id, grace_s=grace)
    _show_new(key, text, json)


@keys.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The key's id.")], yes: YesOption = False, ledger: LedgerOption = None
) -> None:
    """Take a key out of use for good. Servers refuse it within seconds."""
    from outlay.faces.cli.session import confirm, opened

    needs_server()
    from outlay.faces.server.keys import revoke_key

    confirm(f"Revoke key {id}?", yes)
    with opened(ledger, here=KEYS_HERE) as found:
        revoke_key(found.store, found.clock, id)
    print(f"key {id} is revoked")


def _instant(ledger: Any, text: str) -> int:
    from outlay.faces.cli.when import read_time

    return read_time(text, ledger.clock.now(), ledger.store.home_zone)


def _show_new(key: AccessKey, text: str, json: bool) -> None:
    if json:
        _print_json({"id": key.id, "key": text})
        return
    print(text)
    typer.echo(f"key {key.id}: keep the text above, it is not shown again", err=True)


def _row(key: AccessKey, now: int) -> dict[str, str | None]:
    from outlay.clock import isoformat

    def said(instant: int | None) -> str | None:
        return None if instant is None else isoformat(instant // 1_000_000 * 1_000_000)

    state = "valid"
    if key.revoked_at is not None:
        state = "revoked"
    elif key.expires_at is not None and key.expires_at <= now:
        state = "expired"
    return {
        "id": key.id,
        "name": key.name,
        "roles": ", ".join(key.roles),
        "scope": _pairs(key.scope),
        "state": state,
        "added": said(key.created_at),
        "expires": said(key.expires_at),
        "last_used": said(key.used_at),
    }


def _pairs(scope: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(scope.items()))


def _print_json(value: object) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
