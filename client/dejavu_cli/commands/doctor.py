"""`dejavu doctor`: checks an installation and says what to do."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu_cli.doctor.findings import Severity
from dejavu_cli.doctor.installation_checks import examine_installation
from dejavu_cli.doctor.server_checks import DoctorAccess
from dejavu_cli.errors import FAILED
from dejavu_cli.options import Json, Timeout
from dejavu_cli.output.findings import print_findings, print_json
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.connection_options import Target, client_options, tls_files
from dejavu_client.transport.servers import parse_servers


def doctor(
    page: Annotated[
        str, typer.Option("--page", metavar="URL", help="Also check the page there, for example http://HOST:8080.")
    ] = "",
    poller: Annotated[
        list[str] | None,
        typer.Option(
            "--poller",
            metavar="URL",
            help="Also check the metrics of a poller, for example http://HOST:9465; repeatable, once for each poller.",
        ),
    ] = None,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Check an installation and say what to do: exit code 1 if there is a fault, 0 otherwise.

    Checks each server of the target: reach, TLS, token, clock, release, workers, calls, ledger, disk, model.
    Then the poller, its feed and its games, and whether the servers agree. Nothing is recorded.
    """
    options = client_options(target)
    access = DoctorAccess(**options, tls=tls_files())
    findings = list(examine_installation(parse_servers(target), access, timeout, page=page, pollers=poller or ()))
    (print_json if as_json else print_findings)(findings)
    if any(each.severity is Severity.FAULT for each in findings):
        raise typer.Exit(FAILED)
