"""Commands of `dejavu-server ledger`: some read a ledger, the others copy one; all may run while servers use it.

Commands import their dependencies when they run, because serving does not need them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dejavu_common.clock import utc_now
from dejavu_common.files import write_atomic
from dejavu_common.shown_text import unescaped
from dejavu_models.errors import DejavuError
from dejavu_server.cli.options import options
from dejavu_server.settings import default_ledger

if TYPE_CHECKING:
    from dejavu_ledger import Verification
    from dejavu_ledger.copies import StepProgress
    from dejavu_ledger.records import Checkpoint
    from dejavu_server.cli.export_games import Export

_REPORT_SECONDS = 1.0  # between two reports of progress

SHOWN = 20
"""Maximum number of skipped games to print; --json lists all."""


@contextmanager
def exit_on_error(*, as_json: bool = False) -> Iterator[None]:
    """Turn expected errors of the block into one line on stderr and exit code 1.

    Args:
        as_json: whether to print the reason and the message as a JSON document on stdout, too.

    Raises:
        typer.Exit: after a DejavuError, OSError or ValueError.
    """
    try:
        yield
    except (DejavuError, OSError, ValueError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        if as_json:
            reason = error.reason if isinstance(error, DejavuError) else "CANNOT_READ"
            typer.echo(json.dumps({"failed": True, "reason": reason, "message": message}))
        typer.echo(f"dejavu-server: {message}", err=True)
        raise typer.Exit(1) from error


class FullHelp(typer.core.TyperGroup):
    """Lists commands with the first paragraph of their help, uncut at the terminal's width."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command, or None if it is unknown."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
        return command


app = typer.Typer(
    cls=FullHelp,
    rich_markup_mode=None,
    name="ledger",
    help="Verify the ledger, sign its head, export its entries or games, back it up, restore or copy it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done and valid · 1 refused, failed or invalid, with the reason on stderr · 2 wrong usage.",
)


def _server_option(name: str, **more: Any) -> Any:
    """Return an option that a command shares with the server."""
    option = options()[name]
    shown: dict[str, Any] = {"metavar": option.value, "help": option.meaning, "show_default": option.default}
    return typer.Option(option.flag, envvar=option.variable, **shown, **more)


Ledger = Annotated[str, _server_option("ledger", default_factory=default_ledger)]
SigningKey = Annotated[str, _server_option("signing_key")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text for people.")]
ClockTolerance = Annotated[
    float,
    typer.Option(
        "--clock-tolerance",
        metavar="SECONDS",
        min=0.0,
        max=1e9,
        help="How far the times of entries may contradict checkpoints; more if the clock was set back.",
    ),
]


@app.command()
def verify(
    ledger: Ledger,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A checkpoint saved earlier (dejavu checkpoint --out FILE).")
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A key that may have signed checkpoints (PEM or hexadecimal); repeatable.",
            show_default="any",
        ),
    ] = None,
    clock_tolerance: ClockTolerance = 120.0,
    restored: Annotated[
        bool, typer.Option("--restored", help="The ledger was restored from a backup since the checkpoint.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify every row of the ledger, and its history against a checkpoint.

    Recomputes every row from the chained entries. A chain that was rebuilt as
    a whole also passes; detecting that takes a checkpoint stored out of reach
    of those who can edit the ledger.
    """
    from dejavu_ledger import verify as verify_ledger  # noqa: PLC0415
    from dejavu_ledger.audit.checkpoints import read_public_key  # noqa: PLC0415
    from dejavu_server.cli import checkpoint_files  # noqa: PLC0415 - see the module docstring

    with exit_on_ledger_error(as_json=as_json):
        keys = [read_public_key(path) for path in public_key or ()]
        expected = None if checkpoint is None else checkpoint_files.read(checkpoint)
        tolerance = timedelta(seconds=clock_tolerance)
        result = verify_ledger(ledger, expected, public_keys=keys, clock_tolerance=tolerance, restored=restored)
    if as_json:
        document = {"failed": False, "ledger": ledger, **asdict(result), "checkpoint": expected and expected.sequence}
        typer.echo(json.dumps(document))
    else:
        typer.echo("\n".join(_verification_lines(ledger, result, expected)))


@app.command()
def checkpoint(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Output file; - for standard output.")],
    ledger: Ledger,
    signing_key: SigningKey = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite the file of --out; an older checkpoint proves more.")
    ] = False,
) -> None:
    """Sign the head of the ledger and write it to a file, like GetCheckpoint but without a server.

    Store the file out of reach of those who can edit the ledger.
    `dejavu-server ledger verify --checkpoint FILE` then shows whether the
    ledger still has everything up to that point.
    """
    from dejavu_ledger.audit import checkpoints  # noqa: PLC0415
    from dejavu_ledger.audit.checkpoints import key_path, load_or_create  # noqa: PLC0415
    from dejavu_server.cli import checkpoint_files  # noqa: PLC0415 - see the module docstring

    with exit_on_ledger_error():
        if str(out) != "-" and out.exists() and not force:
            raise ValueError(f"{out} exists, and an earlier checkpoint proves more: use another name, or --force")
        identity, head = checkpoints.read_head(ledger)
        signed = checkpoints.sign(load_or_create(key_path(ledger, signing_key)), identity, head, utc_now())
        text = checkpoint_files.to_json(signed)
        if str(out) == "-":
            typer.echo(text, nl=False)
        else:
            write_atomic(out, text.encode())
            typer.echo(f"{out}: {identity.ledger_id} at sequence {signed.sequence:,}, key {signed.public_key.hex()}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder for plays_{season}.parquet.")],
    ledger: Ledger,
    season: Annotated[
        list[int] | None,
        typer.Option(metavar="YEAR", help="Year in which the season ends; repeatable.", show_default="all"),
    ] = None,
    min_minutes: Annotated[
        int, typer.Option(min=37, max=47, help="Minimum known minutes; the last value fills missing later ones.")
    ] = 47,
    include_replays: Annotated[
        bool, typer.Option("--include-replays", help="Include games of replays and simulated seasons.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    as_json: Json = False,
) -> None:
    """Export the completed games of the ledger as training seasons.

    Includes games with a reported final and forecasts up to the last minute,
    as forecasting every minute produces. The ledger stores differentials: the
    exported scores are the lowest ones with these differentials.
    """
    from dejavu_server.cli.export_games import export_games  # noqa: PLC0415 - see the module docstring

    with exit_on_ledger_error(as_json=as_json):
        result = export_games(
            ledger,
            out,
            seasons=season or (),
            min_minutes=min_minutes,
            include_replays=include_replays,
            overwrite=overwrite,
        )
    if as_json:
        typer.echo(json.dumps({"failed": False, **asdict(result)}, default=str))
    else:
        typer.echo("\n".join(_export_lines(result)))


@app.command("export-entries")
def export_entries(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Output file; - for standard output.")],
    ledger: Ledger,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Export every entry with its hash, one JSON object a line.

    With the file, others recompute the chain of hashes and compare it with a
    checkpoint: examples/python/check_ledger does. It contains the record
    as it is: forecasts, outcomes, markets, shadows and changes of models.
    """
    from dejavu_server.cli.export_entries import STANDARD_OUTPUT  # noqa: PLC0415 - see the module docstring
    from dejavu_server.cli.export_entries import export_entries as export  # noqa: PLC0415

    with exit_on_ledger_error():
        last = export(ledger, out, overwrite=overwrite)
    if out != STANDARD_OUTPUT:
        typer.echo(f"{out}: the entries up to sequence {last.sequence:,}, hash {last.hash.hex()}")


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


@contextmanager
def exit_on_ledger_error(*, as_json: bool = False, option: str = "--ledger") -> Iterator[None]:
    """Do the same as `exit_on_error`; also turn an invalid URL, given by `option`, into exit code 2."""
    from dejavu_ledger import InvalidLedgerUrl  # noqa: PLC0415 - see the module docstring

    with exit_on_error(as_json=as_json):
        try:
            yield
        except InvalidLedgerUrl as error:
            raise typer.BadParameter(str(error), param_hint=option) from None


def _verification_lines(url: str, result: Verification, expected: Checkpoint | None) -> Iterator[str]:
    yield f"{url}: valid"
    kinds = f"{result.forecasts:,} forecasts, {result.outcomes:,} outcomes, {result.markets:,} markets"
    if result.shadows or result.model_changes:
        kinds += f", {result.shadows:,} shadows, {result.model_changes:,} changes of models"
    yield f"  ledger       {result.ledger_id}"
    yield f"  entries      {result.sequence:,} ({kinds})"
    yield f"  hash         {result.hash}"
    yield f"  settled      {result.settled:,} forecasts, whose outcome stands"
    yield f"  checkpoints  {result.checkpoints:,} in the ledger" + (", signed with" if result.keys else "")
    yield from (f"               {key}" for key in result.keys)
    yield f"  snapshots    {result.snapshots:,}, consistent with the outcomes"
    if expected is None:
        yield "  not compared with a checkpoint: a chain rebuilt as a whole would also be valid (--checkpoint FILE)"
    else:
        yield (
            f"  nothing up to {expected.sequence:,} was changed since the checkpoint of "
            f"{expected.signed_time:%Y-%m-%d %H:%M} UTC, signed with"
        )
        yield f"               {expected.public_key.hex()}"


def _export_lines(result: Export) -> Iterator[str]:
    for season in result.seasons:
        yield f"{season.path}: {season.games:,} games, {season.rows:,} rows"
    if result.left_out:
        yield f"{len(result.left_out):,} skipped:"
        yield from (f"  {game.game_id}: {game.reason}" for game in result.left_out[:SHOWN])
        if len(result.left_out) > SHOWN:
            yield f"  and {len(result.left_out) - SHOWN:,} more"
