"""Commands of `dejavu-server ledger` that move a whole ledger or remove its oldest entries.

Each command may run while servers use the ledger. As in `cli.ledger`, dependencies are imported when a command runs.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dejavu_common.clock import utc_now
from dejavu_common.game_day import day_start, parse_day
from dejavu_common.shown_text import unescaped
from dejavu_server.cli.ledger import ClockTolerance, Json, Ledger, SigningKey, app, exit_on_ledger_error
from dejavu_server.settings import default_ledger

if TYPE_CHECKING:
    from dejavu_server.ledger.retention.ledger_copy import StepProgress
    from dejavu_server.ledger.retention.prune_plan import PrunePlan

_REPORT_SECONDS = 1.0


@app.command()
def backup(
    out: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="The new file; never overwritten.")],
    ledger: Ledger = None,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Write the ledger to one new file, while servers record in it.

    The file is a SQLite ledger, also if the ledger is in PostgreSQL. It gets
    its name once all of it has been verified. Keep the signing key with it.
    """
    from dejavu_server.ledger.retention.backup import back_up  # noqa: PLC0415 - see the module docstring

    url = ledger or default_ledger()
    with exit_on_ledger_error(as_json=as_json):
        result = back_up(url, out, Meter(shown=not as_json), timedelta(seconds=clock_tolerance))
    _print(
        as_json,
        {"ledger": url, "file": str(out), **asdict(result)},
        f"{out}: {result.ledger_id}, {result.entries:,} entries up to sequence {result.sequence:,}, verified",
        f"  hash  {result.hash}",
    )


@app.command()
def restore(
    backup: Annotated[Path, typer.Option(metavar="FILE", dir_okay=False, help="A file of `ledger backup`.")],
    ledger: Ledger = None,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Write the ledger of a backup to a new ledger.

    The new ledger has another epoch: resume tokens handed out before expire,
    so that no stream skips what was recorded after the backup.
    """
    from dejavu_server.ledger.retention.backup import restore as restore_ledger  # noqa: PLC0415

    url = ledger or default_ledger()
    with exit_on_ledger_error(as_json=as_json):
        result = restore_ledger(backup, url, Meter(shown=not as_json), timedelta(seconds=clock_tolerance))
    _print(
        as_json,
        {"ledger": url, **asdict(result)},
        f"{url}: {result.ledger_id}, {result.entries:,} entries up to sequence {result.sequence:,}, verified",
        f"  epoch  {result.epoch}: resume tokens issued before expire",
        "  signed by whichever server wrote it; `ledger verify --public-key FILE` tells whether that was yours",
    )


@app.command(name="new-epoch")
def new_epoch(ledger: Ledger = None, as_json: Json = False) -> None:
    """Let all resume tokens of the ledger expire, after its database was restored by its own tools.

    Otherwise a stream would go on after entries that another history had, and
    miss those of this one. Stop all servers of the ledger before.
    """
    from dejavu_server.ledger.retention.backup import renew_epoch  # noqa: PLC0415

    url = ledger or default_ledger()
    with exit_on_ledger_error(as_json=as_json):
        epoch = renew_epoch(url)
    _print(as_json, {"ledger": url, "epoch": epoch}, f"{url}: epoch {epoch}; earlier resume tokens are refused")


@app.command()
def copy(
    to: Annotated[str, typer.Option(metavar="URL", help="The other ledger: a new one, or an unfinished copy.")],
    ledger: Ledger = None,
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Copy the ledger to another database, and compare the copy row by row.

    Repeat it after an interruption, or to add what was recorded since: it goes
    on behind the newest entry of the copy. To move a ledger, stop its servers,
    repeat the command, and start them with the other URL. Resume tokens stay
    valid; if servers record in both ledgers, these diverge.
    """
    from dejavu_server.ledger.database.backends import check_url  # noqa: PLC0415 - see the module docstring
    from dejavu_server.ledger.retention.databases import open_source, open_target, same_database  # noqa: PLC0415
    from dejavu_server.ledger.retention.ledger_copy import copy_ledger  # noqa: PLC0415

    url = ledger or default_ledger()
    with exit_on_ledger_error(as_json=as_json, option="--to"):
        check_url(to)
    with exit_on_ledger_error(as_json=as_json):
        if same_database(url, to):
            raise typer.BadParameter(f"{to} is the ledger itself; expected another database", param_hint="--to")
        with open_source(url) as source, open_target(to, source) as target:
            tolerance = timedelta(seconds=clock_tolerance)
            result = copy_ledger(source, target, report=Meter(shown=not as_json), clock_tolerance=tolerance)
    _print(
        as_json,
        {"ledger": url, "to": to, **asdict(result)},
        f"{to}: {result.ledger_id}, {result.entries:,} entries up to sequence {result.sequence:,}, "
        f"{result.added:,} of them new; equal to {url} row by row",
        f"  hash  {result.hash}",
    )


@app.command()
def prune(
    before: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Remove what was recorded before the evening of this date (YYYY-MM-DD)."),
    ] = None,
    through: Annotated[
        int | None, typer.Option(metavar="SEQUENCE", min=1, help="Remove entries up to this one at most.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them. Without it, says what would be removed.")] = False,
    include_unsettled: Annotated[
        bool, typer.Option("--include-unsettled", help="Remove games whose outcome is missing, too.")
    ] = False,
    ledger: Ledger = None,
    signing_key: SigningKey = "",
    clock_tolerance: ClockTolerance = 120.0,
    as_json: Json = False,
) -> None:
    """Remove the oldest entries, in whole evenings, and keep what models learned from them.

    Shows what would be removed, unless --yes is given. Nothing of the last
    seven days is removed. There is no way back but a backup. From then on,
    scorecards, checkpoints and `verify` say what was removed.
    """
    from dejavu_server.ledger.audit.signing_key import key_path, load_or_create  # noqa: PLC0415
    from dejavu_server.ledger.audit.verification import verify_backend  # noqa: PLC0415
    from dejavu_server.ledger.retention import databases, prune_plan, pruning  # noqa: PLC0415
    from dejavu_server.ledger.retention.ledger_copy import StepProgress  # noqa: PLC0415

    if before is None and through is None:
        raise typer.BadParameter("expected --before DATE, --through SEQUENCE, or both")
    url, meter = ledger or default_ledger(), Meter(shown=not as_json)
    with exit_on_ledger_error(as_json=as_json):
        limit = None if before is None else _evening(before)
        with databases.open_source(url) as source, source.read() as connection:
            statement = pruning.unfinished(connection)
            planned = None
            if statement is None:
                planned = prune_plan.plan(
                    connection, through=through, before=limit, include_unsettled=include_unsettled
                )
        removed = 0
        if yes:
            path = key_path(url, signing_key)
            if not path.exists():
                raise ValueError(f"there is no signing key at {path}; expected the server's (--signing-key)")
            key = load_or_create(path)
            with databases.open_existing(url) as backend:
                if planned is not None:
                    meter(StepProgress("verifying", 0, 0))
                    verify_backend(backend, clock_tolerance=timedelta(seconds=clock_tolerance))
                    statement = pruning.begin(backend, planned, key, utc_now())
                if statement is not None:
                    end = statement.through
                    removed = pruning.remove(backend, statement, lambda at: meter(StepProgress("removing", at, end)))
                meter(StepProgress("done", 0, 0))
    document: dict[str, Any] = {"ledger": url, "done": yes, "removed": removed}
    told: list[str] = []
    if planned is None and statement is not None:
        document |= {"through": statement.through, "interrupted": True}
        told = [f"{url}: the removal of entries up to {statement.through:,} was interrupted"]
        told.append(f"  removed the {removed:,} that were left" if yes else "  --yes removes the rest")
    elif planned is not None:
        document |= _plan_document(planned)
        told = list(_plan_lines(url, planned, done=yes))
    _print(as_json, document, *told)


def _evening(text: str) -> datetime:
    """Return the time, in UTC, at which the evening of a date begins.

    Raises:
        typer.BadParameter: if it is not a date.
    """
    try:
        return day_start(parse_day(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a date; expected YYYY-MM-DD", param_hint="--before") from None


def _plan_document(plan: PrunePlan) -> dict[str, Any]:
    values = {**asdict(plan), "through": plan.through.sequence, "hash": plan.through.hash.hex()}
    values |= {"after": plan.after.sequence, "head": plan.head.sequence, "games": len(plan.games)}
    return values | {name: values[name] and values[name].isoformat() for name in ("before", "first_day", "last_day")}


def _plan_lines(url: str, plan: PrunePlan, *, done: bool) -> Iterator[str]:
    kinds = f"{plan.forecasts:,} forecasts, {plan.outcomes:,} outcomes, {plan.markets:,} markets"
    if plan.shadows or plan.model_changes:
        kinds += (
            f", {plan.shadows:,} shadows, {plan.model_changes:,} changes of models, which are kept beside the entries"
        )
    days = f", {plan.first_day} to {plan.last_day}" if plan.first_day else ""
    yield f"{url}: {'removed' if done else 'would remove'} {plan.entries:,} entries of {len(plan.games):,} games{days}"
    remain = plan.head.sequence - plan.through.sequence
    yield f"  entries   {plan.after.sequence + 1:,} to {plan.through.sequence:,} ({kinds}); {remain:,} remain"
    yield f"  verified from  the checkpoint at {plan.through.sequence:,}, signed {plan.before:%Y-%m-%d %H:%M} UTC"
    yield f"  hash      {plan.through.hash.hex()}"
    if plan.unsettled:
        yield f"  without an outcome: {', '.join(plan.unsettled)}"
    if plan.limited_by:
        yield f"  not more, since {plan.limited_by}"
    if done:
        yield "  new entries will use the space; a copy to a new file takes less (docs/operations.md)"
    else:
        yield "  nothing was removed: take a backup, then repeat with --yes"


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
