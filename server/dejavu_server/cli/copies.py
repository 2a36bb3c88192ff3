"""Commands of `dejavu-server ledger` that copy a whole ledger.

Each command may run while servers use the ledger. As in `cli.ledger`, dependencies are imported when a command runs.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dejavu_common.shown_text import unescaped
from dejavu_server.cli.ledger import ClockTolerance, Json, Ledger, app, exit_on_ledger_error

if TYPE_CHECKING:
    from dejavu_ledger.copies import StepProgress

_REPORT_SECONDS = 1.0


@app.command()
def backup(
    out: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="The new file; never overwritten.")],
    ledger: Ledger,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Write the ledger to one new file, while servers record in it.

    The file is a SQLite ledger, also if the ledger is in PostgreSQL. It gets
    its name once all of it has been verified. Keep the signing key with it.
    """
    from dejavu_ledger.copies import back_up  # noqa: PLC0415 - see the module docstring

    with exit_on_ledger_error(as_json=as_json):
        result = back_up(ledger, out, Meter(shown=not as_json), timedelta(seconds=clock_tolerance))
    _print(
        as_json,
        {"ledger": ledger, "file": str(out), **asdict(result)},
        f"{out}: {result.ledger_id}, {result.sequence:,} entries, verified",
        f"  hash  {result.hash}",
    )


@app.command()
def restore(
    backup: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="A file of `ledger backup`.")],
    ledger: Ledger,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Write the ledger of a backup to a new ledger.

    The new ledger has another epoch: resume tokens handed out before expire,
    so that no stream skips what was recorded after the backup.
    """
    from dejavu_ledger.copies import restore as restore_ledger  # noqa: PLC0415

    with exit_on_ledger_error(as_json=as_json):
        result = restore_ledger(backup, ledger, Meter(shown=not as_json), timedelta(seconds=clock_tolerance))
    _print(
        as_json,
        {"ledger": ledger, **asdict(result)},
        f"{ledger}: {result.ledger_id}, {result.sequence:,} entries, verified",
        f"  epoch  {result.epoch}: resume tokens issued before expire",
        "  signed by whichever server wrote it; `ledger verify --public-key FILE` tells whether that was yours",
    )


@app.command(name="new-epoch")
def new_epoch(ledger: Ledger, as_json: Json = False) -> None:
    """Let all resume tokens of the ledger expire, after its database was restored by its own tools.

    Otherwise a stream would go on after entries that another history had, and
    miss those of this one. Stop all servers of the ledger before.
    """
    from dejavu_ledger.copies import renew_epoch  # noqa: PLC0415

    with exit_on_ledger_error(as_json=as_json):
        epoch = renew_epoch(ledger)
    _print(as_json, {"ledger": ledger, "epoch": epoch}, f"{ledger}: epoch {epoch}; earlier resume tokens are refused")


@app.command()
def copy(
    to: Annotated[str, typer.Option(metavar="URL", help="The other ledger: a new one, or an unfinished copy.")],
    ledger: Ledger,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Copy the ledger to another database, and verify the copy.

    Repeat it after an interruption, or to add what was recorded since: it goes
    on behind the newest entry of the copy. To move a ledger, stop its servers,
    repeat the command, and start them with the other URL. Resume tokens stay
    valid; if servers record in both ledgers, these diverge.
    """
    from dejavu_ledger.copies import copy_ledger, open_target  # noqa: PLC0415
    from dejavu_ledger.database.backends import check_url, read_only_ledger, same_database  # noqa: PLC0415

    with exit_on_ledger_error(as_json=as_json, option="--to"):
        check_url(to)
    with exit_on_ledger_error(as_json=as_json):
        if same_database(ledger, to):
            raise typer.BadParameter(f"{to} is the ledger itself; expected another database", param_hint="--to")
        with read_only_ledger(ledger) as source, open_target(to, source) as target:
            tolerance = timedelta(seconds=clock_tolerance)
            result = copy_ledger(source, target, report=Meter(shown=not as_json), clock_tolerance=tolerance)
    _print(
        as_json,
        {"ledger": ledger, "to": to, **asdict(result)},
        f"{to}: {result.ledger_id}, {result.sequence:,} entries, {result.added:,} of them new; verified",
        f"  hash  {result.hash}",
    )


def _print(as_json: bool, document: dict[str, Any], *lines: str) -> None:
    """Print a result for programs or for people."""
    typer.echo(json.dumps({"failed": False, **document}) if as_json else "\n".join(lines))


class Meter:
    """Shows the progress of a command on stderr: once a second at most, in one line of a terminal.

    Args:
        shown: whether to show progress at all.
    """

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + _REPORT_SECONDS
        self._step = ""

    def __call__(self, progress: StepProgress) -> None:
        """Take note of progress."""
        now = time.monotonic()
        if not self._shown or (now < self._next and progress.step == self._step):
            return
        self._next, self._step = now + _REPORT_SECONDS, progress.step
        far = f" {progress.sequence:,} of {progress.head:,}" if progress.head else ""
        if self._terminal:
            terminal = unescaped(sys.stderr)
            terminal.write(f"\r\x1b[K{progress.step}{far}" if progress.step != "done" else "\r\x1b[K")
            terminal.flush()
        elif progress.step != "done":
            typer.echo(f"{progress.step}{far}", err=True)
