"""`dejavu models` and `dejavu health`: what a server holds and how it is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dejavu.v1.model_service_pb2 import ListModelsResponse
from dejavu_client.cli_group import FAILED
from dejavu_client.cli_options import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.errors import NotFoundError, UnavailableError
from dejavu_client.health import HealthStatus
from dejavu_client.render import print_json, print_model


def models(target: Target = DEFAULT_TARGET, timeout: Timeout = DEFAULT_TIMEOUT, as_json: Json = False) -> None:
    """List the models that the server holds, the active one first."""
    with connect(target, timeout) as client:
        held = client.list_models()
    if as_json:
        print_json(ListModelsResponse(models=held))
        return
    for model in held:
        print_model(model)


def health(
    service: Annotated[
        str,
        typer.Argument(
            help="Full name of a service, for instance dejavu.v1.PredictionService; the whole server by default."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Ask whether the server takes calls: exit code 0 if it says SERVING, 1 in every other case."""
    hint = ""
    with connect(target, timeout) as client:
        try:
            status = client.health(service).name
        except NotFoundError:
            status = "SERVICE_UNKNOWN"
        except UnavailableError as error:
            status, hint = "UNREACHABLE", error.message
    typer.echo(json.dumps({"status": status, "service": service, "target": target}) if as_json else status)
    if hint:
        typer.echo(hint, err=True)
    if status != HealthStatus.SERVING.name:
        raise typer.Exit(FAILED)
