"""`dejavu models compare` and `history`: evidence on models, and their changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from dejavu.v1.model_comparison_pb2 import ModelComparison
from dejavu_cli.options import HORIZONS, HorizonName, Json, Replays, Timeout, connect
from dejavu_cli.output.forecast import print_json, show
from dejavu_cli.output.models.changes import print_history
from dejavu_cli.output.models.comparison import print_comparison
from dejavu_client import config
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.connection_options import Target


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
    horizon: Annotated[HorizonName | None, typer.Option(help="Horizon of the forecasts.", show_default="both")] = None,
    replays: Replays = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = config.SCORES_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Compare a model with the champion on exactly the same games and minutes.

    Shows the e-values after each game. An e-value of 20 or more shows its
    statement; it may be checked after every game.
    """
    horizons: Sequence[HorizonName] = ["half", "final"] if horizon is None else [horizon]
    with connect(target, timeout) as client:

        def compared(at: HorizonName, *, with_replays: bool) -> ModelComparison:
            return client.compare_models(
                model, against, horizon=HORIZONS[at], include_replays=with_replays, timeout=timeout
            )

        found = {at: compared(at, with_replays=replays) for at in horizons}
        only_replays = not (replays or any(each.games for each in found.values())) and any(
            compared(at, with_replays=True).games for at in horizons
        )
    for at, comparison in found.items():
        if as_json:
            print_json(comparison, horizon=at)
        else:
            print_comparison(comparison, at)
    if only_replays:
        typer.echo("Only games of replays were forecast by both: see --replays.", err=True)


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
