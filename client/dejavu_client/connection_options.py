"""Options of all commands that call a server: its address, TLS and the file of the token.

The token itself is not an option, because `ps` would show it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import typer

from dejavu_client import access
from dejavu_client.transport.servers import parse_servers
from dejavu_common.address import Address

_META_KEY: Final = "dejavu_client.access"
"""Key of the values of these options in a command's context."""

_TOKEN_VARIABLE: Final = "DEJAVU_TOKEN"  # noqa: S105 - its name

_given: ContextVar[dict[str, Any] | None] = ContextVar("access options", default=None)
"""Values of the options of the running command, by name."""

_CALLING: Final = {"target", "scorecard_from"}
"""Parameters that name a server: a command with one of these parameters gets the options."""


Target = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="HOST:PORT",
        envvar="DEJAVU_TARGET",
        help="Address of the dejavu-server; of several with one ledger: a list, or dns:///NAME:PORT.",
    ),
]


class ClientOptions(TypedDict):
    """Arguments of a client."""

    credentials: access.Credentials | None
    token: access.TokenSource | None
    allow_plaintext_token: bool


def _options(
    tls: Annotated[
        bool,
        typer.Option("--tls", envvar="DEJAVU_TLS", help="Encrypt the connection. Implied by --ca, --cert and --key."),
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="DEJAVU_CA",
            help="Certificates of the authorities to trust, PEM; gRPC's own list by default.",
        ),
    ] = None,
    cert: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="DEJAVU_CERT", help="Own certificate, PEM, for mutual TLS.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(metavar="FILE", envvar="DEJAVU_KEY", help="Private key of --cert, PEM.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            envvar="DEJAVU_TOKEN_FILE",
            help="File with the token that says who calls; read again when it changes. "
            f"Without it, the token in the environment as {_TOKEN_VARIABLE}.",
        ),
    ] = None,
    allow_plaintext_token: Annotated[
        bool,
        typer.Option(
            "--allow-plaintext-token",
            envvar="DEJAVU_ALLOW_PLAINTEXT_TOKEN",
            help="Send the token to another machine without TLS, where others can read it.",
        ),
    ] = False,
) -> None:
    """Declare the options; their values are kept in the context."""


def add_options(command: Any) -> None:
    """Add the options to a command that calls a server, after the parameter that names the server."""
    names = [parameter.name for parameter in command.params]
    if not _CALLING & set(names):
        return
    declared = typer.Typer(add_completion=False)
    declared.command()(_options)
    options: list[Any] = [each for each in typer.main.get_command(declared).params if each.name != "help"]
    for option in options:
        option.expose_value = False
        option.callback = _keep
    index = max(names.index(name) for name in _CALLING & set(names)) + 1
    command.params[index:index] = options


def _keep(ctx: Any, param: Any, value: Any) -> None:
    ctx.meta.setdefault(_META_KEY, {})[param.name] = Path(value) if isinstance(value, str) else value


@contextmanager
def options_given(ctx: Any) -> Iterator[None]:
    """Make a command's options available to `client_options` while the command runs."""
    reset = _given.set(ctx.meta.get(_META_KEY))
    try:
        yield
    finally:
        _given.reset(reset)


def client_options(target: str) -> ClientOptions:
    """Return the arguments of a client for a server, from the options of the running command.

    Raises:
        typer.BadParameter: if the target is an invalid list, a file cannot be read or has unexpected content, or the
            token would be sent in plain text to another machine.
    """
    try:
        parse_servers(target)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--target") from None
    values = _given.get() or {}
    credentials = _credentials(values)
    allowed = bool(values.get("allow_plaintext_token"))
    token, source = _token(values.get("token_file"))
    if token is not None and credentials is None and not allowed and not access.is_local(target):
        raise typer.BadParameter(
            f"the token would be sent to {target} in plain text, where others can read it; give --tls, or "
            "--allow-plaintext-token if something else protects the network",
            param_hint=source,
        )
    return ClientOptions(credentials=credentials, token=token, allow_plaintext_token=allowed)


def tls_files() -> access.ClientTlsFiles | None:
    """Return the files of the running command's TLS options; None without TLS."""
    values = _given.get() or {}
    ca, cert, key = (values.get(name) for name in ("ca", "cert", "key"))
    return access.ClientTlsFiles(ca, cert, key) if values.get("tls") or ca or cert else None


def option_arguments() -> list[str]:
    """Return the options of the running command as arguments, for a child process that calls the same server."""
    values = _given.get() or {}
    names = {name: f"--{name.replace('_', '-')}" for name in values}
    flags = [names[name] for name, value in values.items() if value is True]
    return flags + [
        word for name, value in values.items() if isinstance(value, Path) for word in (names[name], str(value))
    ]


def _credentials(values: dict[str, Any]) -> access.Credentials | None:
    ca, cert, key = (values.get(name) for name in ("ca", "cert", "key"))
    if not (values.get("tls") or ca or cert or key):
        return None
    if (cert is None) != (key is None):
        given, missing = ("--cert", "--key") if key is None else ("--key", "--cert")
        raise typer.BadParameter(f"needs {missing} too", param_hint=given)
    for option, path in (("--ca", ca), ("--cert", cert), ("--key", key)):
        if path is not None:
            _check_readable(path, option)
    try:
        return access.tls_credentials(ca=ca, certificate=cert, key=key)
    except ValueError as error:
        option = "--ca" if str(error).startswith("ca=") else "--cert and --key"
        raise typer.BadParameter(str(error), param_hint=option) from None


def _token(file: Path | None) -> tuple[access.TokenSource | None, str]:
    """Return the token, and the option or environment variable that it came from."""
    if file is not None:
        _check_readable(file, "--token-file")
        try:
            return access.TokenFile(file), "--token-file"
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--token-file") from None
    text = os.environ.get(_TOKEN_VARIABLE)
    if not text:
        return None, ""
    try:
        return access.checked_token(text, "the token"), _TOKEN_VARIABLE
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_TOKEN_VARIABLE) from None


def _check_readable(path: Path, option: str) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {str(path)!r}: {error.strerror or error}", param_hint=option) from None


def address(text: str, option: str) -> Address:
    """Parse a HOST:PORT option into host and port. An IPv6 host is written in brackets.

    Raises:
        typer.BadParameter: if it is not HOST:PORT.
    """
    try:
        return Address.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
