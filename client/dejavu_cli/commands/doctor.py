"""`dejavu doctor`: checks an installation and says what to do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from dejavu_cli.doctor.findings import DOCUMENTS, Finding, Severity
from dejavu_cli.doctor.installation_checks import examine_installation
from dejavu_cli.doctor.server_checks import DoctorAccess
from dejavu_cli.errors import FAILED
from dejavu_cli.options import Call, option
from dejavu_client.connection_options import client_options, tls_files
from dejavu_client.formatting import pluralize
from dejavu_client.transport.servers import parse_servers
from dejavu_common.rich_console import Console
from dejavu_common.shown_text import visible


def doctor(
    call: Call,
    page: Annotated[str, option("URL", "--page")] = "",
    poller: Annotated[list[str] | None, option("URL", "--poller")] = None,
) -> None:
    """Check an installation and say what to do: exit code 1 if there is a fault, 0 otherwise.

    Checks each server of the target: reach, TLS, token, clock, release, workers, calls, ledger, disk, model.
    Then the poller, its feed and its games, and whether the servers agree. Nothing is recorded.

    Args:
        page: Also check the page there, for example http://HOST:8080.
        poller: Also check the metrics of a poller, for example http://HOST:9465; repeatable, once for each poller.
    """
    options = client_options(call.target)
    access = DoctorAccess(**options, tls=tls_files())
    findings = list(
        examine_installation(parse_servers(call.target), access, call.timeout, page=page, pollers=poller or ())
    )
    (print_json if call.as_json else print_findings)(findings)
    if any(each.severity is Severity.FAULT for each in findings):
        raise typer.Exit(FAILED)


_WIDTHS: Final = (len("warning"), len("checkpoint"))

_STYLES: Final = {Severity.OK: "green", Severity.WARNING: "yellow", Severity.FAULT: "bold red"}


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings for people, under the address of each server, and then their number."""
    console = Console(highlight=False)
    for number, (server, group) in enumerate(itertools.groupby(findings, lambda each: each.server)):
        if number:
            console.print(Text(visible(server, line=True) or "installation", style="bold"))
        console.print(_table(list(group)))
    counts = {severity: sum(each.severity is severity for each in findings) for severity in Severity}
    faults, warnings = (pluralize(counts[each], each.value) for each in (Severity.FAULT, Severity.WARNING))
    worst = next((each for each in reversed(Severity) if counts[each]), Severity.OK)
    console.print(Text(f"{faults}, {warnings}, {counts[Severity.OK]} ok", style=_STYLES[worst]))
    if counts[Severity.FAULT] > 1:  # checks come in an order in which a fault may cause the later ones
        first = next(each for each in findings if each.severity is Severity.FAULT)
        place = visible(first.server, line=True) or "the installation"
        console.print(Text(f"begin with {first.check} of {place}: others may follow from it", style="bold"))
    if any(each.section for each in findings):
        console.print(Text(f"pages: {DOCUMENTS}", style="dim"))


def print_json(findings: Sequence[Finding]) -> None:
    """Print findings for programs, one object a line."""
    for each in findings:
        fields = {
            "check": each.check,
            "severity": each.severity.value,
            "server": each.server,
            "message": each.message,
            "remedy": each.remedy,
            "see": each.section and DOCUMENTS + each.section,
        }
        typer.echo(json.dumps(fields))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for width in _WIDTHS:
        table.add_column(no_wrap=True, width=width)
    table.add_column(overflow="fold")
    for each in findings:
        text = Text(visible(each.message, line=True))
        if each.remedy:
            see = f" ({each.section})" if each.section else ""
            text.append(f"\n→ {visible(each.remedy, line=True)}{see}", style="dim")
        table.add_row(Text(each.severity.value, style=_STYLES[each.severity]), Text(each.check), text)
    return table
