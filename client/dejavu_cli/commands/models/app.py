"""`dejavu models`: lists models and shows one. The commands that change them are in changes.py."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
import typer.core

from dejavu.v1.model_service_pb2 import ListModelsResponse, Model
from dejavu_cli.commands.models import changes, evidence
from dejavu_cli.commands.models.options import ModelName
from dejavu_cli.options import Json, Timeout, connect
from dejavu_cli.output.forecast import print_json, show
from dejavu_cli.output.models.models import print_lineage, print_model_list, print_model_with_replicas
from dejavu_client.client import DejavuClient
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.connection_options import Target, options_given
from dejavu_client.errors import NotFoundError
from dejavu_common.processes import raise_on_interrupt


class CommandFamily(typer.core.TyperGroup):
    """A command with commands of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run the named command, or the default one if none is named."""
        raise_on_interrupt()
        with options_given(ctx):
            return super().invoke(ctx)


_MOST_ANCESTORS: Final = 50

models = typer.Typer(
    name="models",
    cls=CommandFamily,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@models.callback()
def all_models(
    ctx: typer.Context, target: Target = DEFAULT_TARGET, timeout: Timeout = DEFAULT_TIMEOUT, as_json: Json = False
) -> None:
    """List a server's models, show and compare them, and change which of them answers.

    Without a command, lists them, the active one first.
    A model is named by its version or by an alias: champion, challenger or previous.
    """
    if ctx.invoked_subcommand is None:
        list_models(target, timeout, as_json)
    elif given := [each for each in ctx.command.params if _is_given(ctx, each.name)]:
        # An option before the command would have no effect: the command uses only its own options.
        where = f"give it after the command: dejavu models {ctx.invoked_subcommand} …"
        raise typer.BadParameter(where, param_hint=[each.opts[0] for each in given])


def _is_given(ctx: typer.Context, name: str | None) -> bool:
    source: Any = ctx.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


@models.command("list")
def list_models(target: Target = DEFAULT_TARGET, timeout: Timeout = DEFAULT_TIMEOUT, as_json: Json = False) -> None:
    """List the models, the active one first: those in the server's store, or, without a store, the loaded ones."""
    with connect(target, timeout) as client:
        found = client.list_models()
    show(ListModelsResponse(models=found), print_model_list, as_json=as_json)


@models.command("show")
def show_model(
    model: ModelName = "champion",
    lineage: Annotated[
        bool, typer.Option("--lineage", help="Show where it comes from, with its ancestors as far as they are known.")
    ] = False,
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Show a model: its stage, abilities and metrics, and which workers have it loaded."""
    with connect(target, timeout) as client:
        answer = client.get_model("" if model == "champion" else model)
        ancestors = _ancestors(client, answer.model) if lineage else []
    if as_json:
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


changes.add_commands(models)
evidence.add_commands(models)
