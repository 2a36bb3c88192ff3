"""Options of all commands that call a server: its address, TLS and the file of the token.

The token itself is not an option, because `ps` would show it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import typer

from dejavu_client import access
from dejavu_client.config import DEFAULT_TARGET
from dejavu_client.transport.servers import parse_servers
from dejavu_common.address import Address

_TOKEN_VARIABLE: Final = "DEJAVU_TOKEN"  # noqa: S105 - its name


class ClientOptions(TypedDict):
    """Arguments of a client."""

    credentials: access.Credentials | None
    token: access.TokenSource | None
    allow_plaintext_token: bool


def _file(variable: str) -> Any:
    return typer.Option(metavar="FILE", envvar=variable)


@dataclass(frozen=True, kw_only=True)
class ConnectionOptions:
    """Options of all commands that call a server.

    Attributes:
        target: Address of the dejavu-server; of several with one ledger: a list, or dns:///NAME:PORT.
        tls: Encrypt the connection. Implied by --ca, --cert and --key.
        ca: Certificates of the authorities to trust, PEM; gRPC's own list by default.
        cert: Own certificate, PEM, for mutual TLS.
        key: Private key of --cert, PEM.
        token_file: File with the token that says who calls; read again when it changes. Without it, the token in the
            environment as DEJAVU_TOKEN.
        allow_plaintext_token: Send the token to another machine without TLS, where others can read it.
    """

    target: Annotated[str, typer.Option("--target", metavar="HOST:PORT", envvar="DEJAVU_TARGET")] = DEFAULT_TARGET
    tls: Annotated[bool, typer.Option("--tls", envvar="DEJAVU_TLS")] = False
    ca: Annotated[Path | None, _file("DEJAVU_CA")] = None
    cert: Annotated[Path | None, _file("DEJAVU_CERT")] = None
    key: Annotated[Path | None, _file("DEJAVU_KEY")] = None
    token_file: Annotated[Path | None, _file("DEJAVU_TOKEN_FILE")] = None
    allow_plaintext_token: Annotated[
        bool, typer.Option("--allow-plaintext-token", envvar="DEJAVU_ALLOW_PLAINTEXT_TOKEN")
    ] = False

    def client_options(self, target: str = "") -> ClientOptions:
        """Return the arguments of a client for a server.

        Args:
            target: address of the server; empty for that of the options.

        Raises:
            typer.BadParameter: if the target is an invalid list, a file cannot be read or has unexpected content, or
                the token would be sent in plain text to another machine.
        """
        target = target or self.target
        try:
            parse_servers(target)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--target") from None
        credentials, allowed = self._credentials(), self.allow_plaintext_token
        token, source = _token(self.token_file)
        if token is not None and credentials is None and not allowed and not access.is_local(target):
            raise typer.BadParameter(
                f"the token would be sent to {target} in plain text, where others can read it; give --tls, or "
                "--allow-plaintext-token if something else protects the network",
                param_hint=source,
            )
        return ClientOptions(credentials=credentials, token=token, allow_plaintext_token=allowed)

    @property
    def tls_files(self) -> access.ClientTlsFiles | None:
        """The files of TLS; None without TLS."""
        return access.ClientTlsFiles(self.ca, self.cert, self.key) if self.tls or self.ca or self.cert else None

    def arguments(self) -> list[str]:
        """Return the options but for the target as arguments, for a child process that calls the same server."""
        given = {f"--{each.name.replace('_', '-')}": getattr(self, each.name) for each in fields(ConnectionOptions)}
        flags = [option for option, value in given.items() if value is True]
        return flags + [
            word for option, value in given.items() if isinstance(value, Path) for word in (option, str(value))
        ]

    def _credentials(self) -> access.Credentials | None:
        if not (self.tls or self.ca or self.cert or self.key):
            return None
        if (self.cert is None) != (self.key is None):
            given, missing = ("--cert", "--key") if self.key is None else ("--key", "--cert")
            raise typer.BadParameter(f"needs {missing} too", param_hint=given)
        for option, path in (("--ca", self.ca), ("--cert", self.cert), ("--key", self.key)):
            if path is not None:
                _check_readable(path, option)
        try:
            return access.tls_credentials(ca=self.ca, certificate=self.cert, key=self.key)
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
