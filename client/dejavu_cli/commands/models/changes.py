"""`dejavu models load`, `unload`, `promote`, `rollback` and `retire`: change models."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from dejavu.v1 import model_service_pb2 as pb
from dejavu_cli.commands.models.options import CHANGE_TIMEOUT, ModelName, Reason
from dejavu_cli.options import Json, Timeout, connect
from dejavu_cli.output.forecast import show
from dejavu_cli.output.models.changes import change_text, print_line
from dejavu_client.config import DEFAULT_TARGET
from dejavu_client.connection_options import Target

_Changed: TypeAlias = (
    pb.LoadModelResponse
    | pb.UnloadModelResponse
    | pb.PromoteModelResponse
    | pb.RollbackModelResponse
    | pb.RetireModelResponse
)


def add_commands(group: typer.Typer) -> None:
    """Add the commands to the group."""
    for command in (load, unload, promote, rollback, retire):
        group.command(command.__name__)(command)


def load(
    model: ModelName,
    reason: Reason = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = CHANGE_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Stage a model: every worker loads it and makes shadow forecasts with it.

    Its bundle must be in the server's model store (`dejavu-trainer publish`).
    A new model is verified, and registered. Changes nothing if a worker
    cannot load it.
    """
    with connect(target, timeout) as client:
        show(client.load_model(model, reason=reason, timeout=timeout), _print_change, as_json=as_json)


def unload(
    model: ModelName,
    reason: Reason = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = CHANGE_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Unstage a model: all workers unload it."""
    with connect(target, timeout) as client:
        show(client.unload_model(model, reason=reason, timeout=timeout), _print_change, as_json=as_json)


def promote(
    model: ModelName,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it without evidence that it is not worse; recorded as such.")
    ] = False,
    reason: Reason = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = CHANGE_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Make a staged model the champion on all workers, at one position of the ledger.

    Refused without evidence that it is not worse than the champion: see `dejavu models compare`.
    """
    with connect(target, timeout) as client:
        answer = client.promote_model(model, reason=reason, force=force, timeout=timeout)
    show(answer, _print_change, as_json=as_json)


def rollback(
    from_version: Annotated[
        str,
        typer.Option(
            "--from", metavar="VERSION", help="Roll back only if this is the champion, so that repeating it is safe."
        ),
    ] = "",
    reason: Reason = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = CHANGE_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Make the previous model the champion again, and retire the one that replaced it."""
    with connect(target, timeout) as client:
        answer = client.rollback_model(from_version=from_version, reason=reason, timeout=timeout)
    show(answer, _print_change, as_json=as_json)


def retire(
    model: ModelName,
    reason: Reason = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = CHANGE_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Retire a model that answers no requests."""
    with connect(target, timeout) as client:
        show(client.retire_model(model, reason=reason, timeout=timeout), _print_change, as_json=as_json)


def _print_change(answer: _Changed) -> None:
    done = change_text(answer.change) if answer.HasField("change") else "no change: already in this state"
    print_line(done)
