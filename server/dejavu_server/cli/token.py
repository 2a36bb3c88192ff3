"""Commands of `dejavu-server token`, which make, list and revoke the tokens of callers in a file.

A server that runs with `--tokens` follows the file. Commands import their dependencies when they run.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from dejavu_common.clock import utc_now
from dejavu_server.access.caller import AccessScope
from dejavu_server.cli.ledger import FullHelp, exit_on_error
from dejavu_server.cli.options import options

app = typer.Typer(
    cls=FullHelp,
    rich_markup_mode=None,
    name="token",
    help="Make, list and revoke the tokens with which callers prove who they are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done · 1 refused or failed, with the reason on stderr · 2 wrong usage.",
)

_option = options()["tokens"]
Tokens = Annotated[
    Path, typer.Option(_option.flag, envvar=_option.variable, metavar="FILE", help="The file of tokens.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the holder; the ledger records it.")]


@app.command()
def create(
    name: Name,
    tokens: Tokens,
    scope: Annotated[
        list[AccessScope],
        typer.Option(
            help="What the token allows; repeatable. read: the record and streams; predict: what-ifs; record: recorded "
            "forecasts of named games (with predict); outcome: report and withdraw outcomes; models: "
            "register models and change which one answers; admin: the server itself."
        ),
    ],
    days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", min=0.0, max=36_500.0, help="Days until it expires.", show_default="never"),
    ] = None,
) -> None:
    """Make a token and print it, once: the file has only its hash.

    Creates the file, with mode 0600, if it is missing. Give the token to its
    holder as a file, or as DEJAVU_TOKEN.
    """
    from dejavu_server.access import token_file  # noqa: PLC0415 - see the module docstring

    with exit_on_error():
        now = utc_now()
        expires = None if days is None else now + timedelta(days=days)
        token = token_file.create(tokens, name, tuple(dict.fromkeys(scope)), now, expires)
    typer.echo(token)


@app.command("list")
def list_tokens(
    tokens: Tokens,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """List the tokens of the file: names, scopes, dates and states; it has no tokens themselves."""
    from dejavu_server.access import token_file  # noqa: PLC0415 - see the module docstring

    with exit_on_error():
        listed = token_file.load(tokens).tokens
    now = utc_now()
    if as_json:
        documents = [
            {**token.model_dump(mode="json", exclude={"sha256"}), "state": token.state(now)} for token in listed
        ]
        typer.echo(json.dumps({"tokens": documents}))
        return
    width = max((len(token.name) for token in listed), default=0)
    for token in listed:
        scopes = ",".join(each.value for each in token.scopes)
        end = token.revoked or token.expires
        until = "" if end is None else f"  {'revoked' if token.revoked else 'until'} {end:%Y-%m-%d %H:%M} UTC"
        typer.echo(f"{token.name:{width}}  {token.state(now):7}  created {token.created:%Y-%m-%d}  {scopes}{until}")
    if not listed:
        typer.echo(f"{tokens}: no tokens")


@app.command()
def revoke(name: Name, tokens: Tokens) -> None:
    """Revoke the token of a name. A server that runs refuses it within two seconds, and ends its streams."""
    from dejavu_server.access import token_file  # noqa: PLC0415 - see the module docstring

    with exit_on_error():
        token_file.revoke(tokens, name, utc_now())
    typer.echo(f"{name}: revoked")
