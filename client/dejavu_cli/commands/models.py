"""`dejavu models`: lists, shows and compares models. The commands that change them are in model_changes.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import typer

from dejavu.v1.model_comparison_pb2 import ModelComparison
from dejavu.v1.model_service_pb2 import ListModelsResponse, Model
from dejavu_cli.commands.model_changes import CHANGES, ModelName, print_history
from dejavu_cli.options import HORIZONS, Call, HorizonName, Replays, ScoresCall, argument, flag, option
from dejavu_cli.output.forecast import print_json
from dejavu_cli.output.model_comparison import print_comparison
from dejavu_cli.output.models import print_lineage, print_model_list, print_model_with_replicas
from dejavu_client.client import DejavuClient
from dejavu_client.errors import NotFoundError

HELP: Final = """List a server's models, show and compare them, and change which of them answers.

Without a command, lists them, the active one first.
A model is named by its version or by an alias: champion, challenger or previous.
"""

_MOST_ANCESTORS: Final = 50


def list_models(call: Call) -> None:
    """List the models, the active one first: those in the server's store, or, without a store, the loaded ones."""
    with call.connect() as client:
        found = client.list_models()
    call.show(ListModelsResponse(models=found), print_model_list)


def show_model(call: Call, model: ModelName = "champion", lineage: Annotated[bool, flag("--lineage")] = False) -> None:
    """Show a model: its stage, abilities and metrics, and which workers have it loaded.

    Args:
        lineage: Show where it comes from, with its ancestors as far as they are known.
    """
    with call.connect() as client:
        answer = client.get_model("" if model == "champion" else model)
        ancestors = _ancestors(client, answer.model) if lineage else []
    if call.as_json:
        for each in [answer.model, *ancestors] if lineage else [answer]:
            print_json(each)
    elif lineage:
        print_lineage([answer.model, *ancestors])
    else:
        print_model_with_replicas(answer)


def _ancestors(client: DejavuClient, model: Model) -> list[Model]:
    """Return the models from which a model was made, newest first, as far as they are registered."""
    found: list[Model] = []
    known = {model.version}
    while (parent := model.lineage.parent_version) and parent not in known and len(found) < _MOST_ANCESTORS:
        try:
            model = client.get_model(parent).model
        except NotFoundError:
            break
        found.append(model)
        known.add(parent)
    return found


def compare_models(
    call: ScoresCall,
    model: Annotated[str, argument("MODEL")] = "",
    against: Annotated[str, option("MODEL", "--against")] = "",
    horizon: Annotated[HorizonName | None, typer.Option(show_default="both")] = None,
    replays: Replays = False,
) -> None:
    """Compare a model with the champion on exactly the same games and minutes.

    Shows the e-values after each game. An e-value of 20 or more shows its
    statement; it may be checked after every game.

    Args:
        model: Version of the model, or an alias; the challenger by default.
        against: What to compare it with: a version, an alias, or "persistence"; the champion by default.
        horizon: Horizon of the forecasts.
    """
    horizons: Sequence[HorizonName] = ["half", "final"] if horizon is None else [horizon]
    with call.connect() as client:

        def compared(at: HorizonName, *, with_replays: bool) -> ModelComparison:
            return client.compare_models(
                model, against, horizon=HORIZONS[at], include_replays=with_replays, timeout=call.timeout
            )

        found = {at: compared(at, with_replays=replays) for at in horizons}
        only_replays = not (replays or any(each.games for each in found.values())) and any(
            compared(at, with_replays=True).games for at in horizons
        )
    for at, comparison in found.items():
        if call.as_json:
            print_json(comparison, horizon=at)
        else:
            print_comparison(comparison, at)
    if only_replays:
        typer.echo("Only games of replays were forecast by both: see --replays.", err=True)


def list_changes(
    call: Call, model: Annotated[str, argument("MODEL")] = "", limit: Annotated[int, option("N", min=1, max=500)] = 50
) -> None:
    """Show the changes of models in the ledger, newest first: what, when, by whom, why and on what evidence.

    Args:
        model: Only changes of this model: its version, or an alias.
        limit: How many changes to show.
    """
    with call.connect() as client:
        answer = client.list_model_changes(model_version=model, page_size=limit)
    call.show(answer, print_history)


models: Final[dict[str, Callable[..., None]]] = {
    "list": list_models,
    "show": show_model,
    **CHANGES,
    "compare": compare_models,
    "history": list_changes,
}
"""The commands; the first is the default."""
