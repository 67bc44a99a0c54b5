"""`outlay gateway` and `outlay gateway keys`."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from outlay.errors import InvalidInput
from outlay.faces.cli.options import JsonOption, LedgerOption, YesOption, read_pairs
from outlay.faces.cli.serving import ExpiresOption, ScopeOption, needs_server

gateway = typer.Typer(
    name="gateway", help="Serve the gateway by itself, and keep provider keys for it.", invoke_without_command=True
)
keys = typer.Typer(
    name="keys", help="Provider keys, kept encrypted and given out as virtual keys.", no_args_is_help=True
)
gateway.add_typer(keys)

VAULT_HERE: Final = "keeping provider keys"


@gateway.callback()
def run(
    context: typer.Context,
    ledger: LedgerOption = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen.  [default: 127.0.0.1]", show_default=False)
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port, 0 for any.  [default: 8321]", show_default=False)
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Serve the gateway alone: /gateway/UPSTREAM/…, its health, and the receipts of what went through it.

    `outlay serve` has it too. Upstreams and settings: the table [gateway] of outlay.toml.
    """
    if context.invoked_subcommand is None:
        from outlay.faces.cli.serving import serve_on

        serve_on(ledger, host, port, log_level, gateway_only=True)


@keys.command("add")
def add(
    upstream: Annotated[str, typer.Argument(help="The upstream that the key is for, such as openai.")],
    name: Annotated[str, typer.Option("--name", "-n", help="What the virtual key is for.")] = "",
    scope: ScopeOption = None,
    expires: ExpiresOption = None,
    rate: Annotated[
        int | None, typer.Option("--rate", metavar="N", help="At most N requests a second.", show_default=False)
    ] = None,
    json: JsonOption = False,
    ledger: LedgerOption = None,
) -> None:
    """Keep a provider's key, read from standard input, and print the virtual key that stands for it.

    The key is encrypted under OUTLAY_MASTER_KEY. The virtual key is shown once and kept nowhere.
    """
    from outlay.faces.cli.session import opened
    from outlay.faces.cli.when import read_time

    needs_server()
    from outlay.faces.gateway.upstreams import Upstreams
    from outlay.faces.gateway.vault import Seal, keep_provider_key

    settings = _settings()
    seal = Seal(settings.master_key)
    Upstreams(settings)[upstream]
    with opened(ledger, create=True, here=VAULT_HERE) as found:
        kept, text = keep_provider_key(
            found.store,
            found.clock,
            seal,
            upstream,
            _secret(),
            name=name,
            scope=read_pairs(scope, "--scope"),
            expires_at=None if expires is None else read_time(expires, found.clock.now(), found.store.home_zone),
            requests_per_second_max=rate,
        )
    if json:
        _print_json({"id": kept.id, "upstream": kept.upstream, "key": text})
        return
    print(text)
    typer.echo(f"virtual key {kept.id} for {upstream}: keep the text above, it is not shown again", err=True)


@keys.command("list")
def show(json: JsonOption = False, ledger: LedgerOption = None) -> None:
    """Show the provider keys that are kept: for what, since when. Never a key."""
    from outlay.clock import isoformat
    from outlay.faces.cli.session import opened

    needs_server()
    from outlay.faces.gateway.vault import kept_provider_keys

    with opened(ledger, here=VAULT_HERE) as found:
        rows = [
            {
                "id": one.id,
                "upstream": one.upstream,
                "name": one.name,
                "ending": one.ending and f"…{one.ending}",
                "scope": ", ".join(f"{name}={value}" for name, value in sorted(one.scope.items())),
                "state": "valid" if one.revoked_at is None else "revoked",
                "added": isoformat(one.created_at // 1_000_000 * 1_000_000),
            }
            for one in kept_provider_keys(found.store)
        ]
    if json:
        _print_json(rows)
        return
    if not rows:
        print("no provider keys are kept: programs bring their own, or the configuration has them")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*row.values())
    Console().print(table)


@keys.command("revoke")
def revoke(
    id: Annotated[str, typer.Argument(help="The virtual key's id.")],
    yes: YesOption = False,
    ledger: LedgerOption = None,
) -> None:
    """Take a virtual key out of use for good, and forget the provider's key behind it."""
    from outlay.faces.cli.session import confirm, opened

    needs_server()
    from outlay.faces.gateway.vault import revoke_provider_key

    confirm(f"Revoke virtual key {id}?", yes)
    with opened(ledger, here=VAULT_HERE) as found:
        revoke_provider_key(found.store, found.clock, id)
    print(f"virtual key {id} is revoked")


def _settings() -> Any:
    from outlay.config import load_settings
    from outlay.faces.gateway.settings import read_gateway_settings

    return read_gateway_settings(load_settings().gateway)


def _secret() -> str:
    """The provider's key from standard input: a command line is seen by others, and kept in a history."""
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("The provider's key", hide_input=True))
    text = sys.stdin.readline().strip()
    if not text:
        raise InvalidInput("give the provider's key on standard input", code="bad_provider_key")
    return text


def _print_json(value: object) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
