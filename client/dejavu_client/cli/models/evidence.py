"""`dejavu models compare` and `history`: evidence on models, and their changes."""

from __future__ import annotations

from typing import Annotated

import typer

from dejavu_client import config
from dejavu_client.cli.options import HORIZONS, HorizonName, Json, Replays, Target, Timeout, connect
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.output.forecast import show
from dejavu_client.output.models.changes import print_history
from dejavu_client.output.models.comparison import print_comparison


def add_commands(group: typer.Typer) -> None:
    """Add the commands to the group."""
    for command in (compare, history):
        group.command(command.__name__)(command)


def compare(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Version of the model, or an alias; the challenger by default.")
    ] = "",
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="MODEL",
            help='What to compare it with: a version, an alias, or "persistence"; the champion by default.',
        ),
    ] = "",
    horizon: Annotated[HorizonName, typer.Option(help="Horizon of the forecasts.")] = "half",
    replays: Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = config.SCORES_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Compare a model with the champion on exactly the same games and minutes.

    Shows the e-values after each game. An e-value of 20 or more shows its
    statement; it may be checked after every game.
    """
    with connect(target, timeout) as client:
        comparison = client.compare_models(
            model, against, horizon=HORIZONS[horizon], include_replays=replays, timeout=timeout
        )
    show(comparison, print_comparison, as_json=as_json)


def history(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Only changes of this model: its version, or an alias.")
    ] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=500, help="How many changes to show.")] = 50,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show the changes of models in the ledger, newest first: what, when, by whom, why and on what evidence."""
    with connect(target, timeout) as client:
        answer = client.list_model_changes(model_version=model, page_size=limit)
    show(answer, print_history, as_json=as_json)
