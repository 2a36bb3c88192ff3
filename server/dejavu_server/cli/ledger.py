"""What `dejavu-server ledger` can do with a ledger's files, whether a server runs on them or not.

Nothing here writes to a ledger. What it needs is loaded when a command runs: serving does without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dejavu_models.errors import DejavuError
from dejavu_server.settings import default_ledger

if TYPE_CHECKING:
    from dejavu_server.cli.export_games import Export
    from dejavu_server.ledger import Verification
    from dejavu_server.records import Checkpoint

SHOWN = 20
"""How many games left out people are shown; --json has them all."""

app = typer.Typer(
    name="ledger",
    help="Verifies the ledger, signs its head, writes its games to train on.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, and sound · 1 refused, failed or not sound, with the reason on stderr · 2 wrong usage.",
)

Ledger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="DEJAVU_LEDGER",
        metavar="sqlite:///PATH",
        help="Which ledger.",
        show_default="in the user's state folder",
    ),
]
SigningKey = Annotated[
    str,
    typer.Option(
        "--signing-key",
        envvar="DEJAVU_SIGNING_KEY",
        metavar="PATH",
        help="The ed25519 key (PEM) to sign with; made if absent.",
        show_default="signing-key.pem beside the ledger",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text for people.")]


@app.command()
def verify(
    ledger: Ledger = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint kept earlier (dejavu checkpoint --out FILE)."),
    ] = None,
    public_key: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A key that checkpoints may be signed with (PEM, or hexadecimal); again for more.",
            show_default="any",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Checks every row of the ledger, and that its past is the one of a checkpoint.

    What every row has to be is made again from the chained entries. A chain
    that somebody rebuilt as a whole is as sound: what shows it is a checkpoint
    that was kept where they can't reach it.
    """
    from dejavu_server.cli import checkpoint_files  # noqa: PLC0415 - see the module's docstring
    from dejavu_server.ledger import verify as verify_ledger  # noqa: PLC0415
    from dejavu_server.ledger.audit.signing_key import read_public_key  # noqa: PLC0415

    with _refusing(as_json=as_json):
        keys = [read_public_key(path) for path in public_key or ()]
        kept = None if checkpoint is None else checkpoint_files.read(checkpoint)
        url = ledger or default_ledger()
        found = verify_ledger(url, kept, public_keys=keys)
    if as_json:
        document = {"failed": False, "ledger": url, **asdict(found), "checkpoint": kept and kept.sequence}
        typer.echo(json.dumps(document))
    else:
        typer.echo("\n".join(_told(url, found, kept)))


@app.command()
def checkpoint(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to; - for standard output.")],
    ledger: Ledger = None,
    signing_key: SigningKey = "",
) -> None:
    """Signs the ledger's head and writes it down, as GetCheckpoint does, without a server.

    Keep it where whoever can edit the ledger can't reach it.
    `dejavu-server ledger verify --checkpoint FILE` then shows whether what the
    ledger held is still there.
    """
    from dejavu_server.cli import checkpoint_files  # noqa: PLC0415 - see the module's docstring
    from dejavu_server.forecasting.service import utc_now  # noqa: PLC0415
    from dejavu_server.ledger.audit import checkpoints  # noqa: PLC0415
    from dejavu_server.ledger.audit.signing_key import key_path, load_or_make  # noqa: PLC0415

    with _refusing():
        url = ledger or default_ledger()
        identity, head = checkpoints.read_head(url)
        signed = checkpoints.sign(load_or_make(key_path(url, signing_key)), identity, head, utc_now())
        if str(out) == "-":
            typer.echo(checkpoint_files.to_json(signed), nl=False)
        else:
            checkpoint_files.write(out, signed)
            typer.echo(f"{out}: {identity.ledger_id} at sequence {signed.sequence:,}, key {signed.public_key.hex()}")


@app.command()
def export(
    out: Annotated[Path, typer.Option(metavar="DIR", file_okay=False, help="Folder for plays_{season}.parquet.")],
    ledger: Ledger = None,
    season: Annotated[
        list[int] | None,
        typer.Option(metavar="YEAR", help="The year in which a season ends; again for more.", show_default="all"),
    ] = None,
    min_minutes: Annotated[
        int,
        typer.Option(min=37, max=47, help="Minutes that must be known; those missing after them are carried forward."),
    ] = 47,
    include_replays: Annotated[
        bool, typer.Option("--include-replays", help="Games of replays and simulated seasons too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace seasons that are already there.")] = False,
    as_json: Json = False,
) -> None:
    """Writes the games that the ledger has seen to their end as seasons to train on.

    A game counts whose final was reported and that was forecast as far as its
    last minute, as it is when it is forecast every minute. The ledger knows
    differentials: the scores written are the least that have them.
    """
    from dejavu_server.cli.export_games import export_games  # noqa: PLC0415 - see the module's docstring

    with _refusing(as_json=as_json):
        done = export_games(
            ledger or default_ledger(),
            out,
            seasons=season or (),
            least_minutes=min_minutes,
            include_replays=include_replays,
            overwrite=overwrite,
        )
    if as_json:
        typer.echo(json.dumps({"failed": False, **asdict(done)}, default=str))
    else:
        typer.echo("\n".join(_written(done)))


@contextmanager
def _refusing(*, as_json: bool = False) -> Iterator[None]:
    """Turns what a user can mend, or has to know, into one line on stderr and exit code 1; a URL that can't be into 2.

    With `as_json` the reason and the message are a document on stdout too.
    """
    from dejavu_server.ledger import InvalidLedgerUrl  # noqa: PLC0415 - see the module's docstring

    try:
        yield
    except InvalidLedgerUrl as error:
        raise typer.BadParameter(str(error), param_hint="--ledger") from None
    except (DejavuError, OSError, ValueError) as error:
        message = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        if as_json:
            reason = error.reason if isinstance(error, DejavuError) else "CANNOT_READ"
            typer.echo(json.dumps({"failed": True, "reason": reason, "message": message}))
        typer.echo(f"dejavu-server: {message}", err=True)
        raise typer.Exit(1) from error


def _told(url: str, found: Verification, kept: Checkpoint | None) -> Iterator[str]:
    yield f"{url}: sound"
    removed = f"; those up to {found.pruned_through:,} were removed" if found.pruned_through else ""
    kinds = f"{found.forecasts:,} forecasts, {found.outcomes:,} outcomes, {found.markets:,} markets"
    yield f"  ledger       {found.ledger_id}"
    yield f"  entries      {found.entries:,} up to sequence {found.sequence:,} ({kinds}){removed}"
    yield f"  hash         {found.hash}"
    yield f"  settlements  {found.settlements:,}, as the outcomes have it"
    yield f"  checkpoints  {found.checkpoints:,} in the ledger" + (", signed with" if found.keys else "")
    yield from (f"               {key}" for key in found.keys)
    yield f"  snapshots    {found.snapshots:,}, as the outcomes teach"
    if kept is None:
        yield "  not held against a checkpoint: a chain rebuilt as a whole would look as sound (--checkpoint FILE)"
    else:
        yield (
            f"  nothing up to {kept.sequence:,} was changed since the checkpoint of {kept.signed_time:%Y-%m-%d %H:%M} "
            "UTC, signed with"
        )
        yield f"               {kept.public_key.hex()}"


def _written(done: Export) -> Iterator[str]:
    for season in done.seasons:
        yield f"{season.path}: {season.games:,} games, {season.rows:,} rows"
    if done.left_out:
        yield f"{len(done.left_out):,} left out:"
        yield from (f"  {game.game_id}: {game.reason}" for game in done.left_out[:SHOWN])
        if len(done.left_out) > SHOWN:
            yield f"  and {len(done.left_out) - SHOWN:,} more"
