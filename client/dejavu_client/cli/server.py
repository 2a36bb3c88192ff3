"""`dejavu models` and `dejavu health`: what a server holds and how it is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dejavu.v1.model_service_pb2 import ListModelsResponse
from dejavu_client.cli.errors import FAILED
from dejavu_client.cli.options.common import DEFAULT_TARGET, DEFAULT_TIMEOUT, Json, Target, Timeout, connect
from dejavu_client.client import DejavuClient
from dejavu_client.errors import NotFoundError, UnavailableError
from dejavu_client.output.forecast import print_json, print_model
from dejavu_client.transport.health import LEDGER, HealthStatus


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
            help="Full name of a service, for instance dejavu.v1.PredictionService, or dejavu.ledger; "
            "the whole server by default."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Ask whether the server takes calls: exit code 0 if it says SERVING, 1 in every other case.

    A server whose ledger can't be used still serves what-ifs; that is told beside, and has no part in the exit code.
    `dejavu health dejavu.ledger` asks for the ledger alone.
    """
    hint, ledger = "", None
    with connect(target, timeout) as client:
        try:
            status = client.health(service).name
            if not service and status == HealthStatus.SERVING.name:
                ledger = _ledger(client)
        except NotFoundError:
            status = "SERVICE_UNKNOWN"
        except UnavailableError as error:
            status, hint = "UNREACHABLE", error.message
    if as_json:
        told = {"status": status, "service": service, "target": target}
        typer.echo(json.dumps(told if service else {**told, "ledger": ledger}))
    else:
        typer.echo(status)
        if ledger == HealthStatus.NOT_SERVING.name:
            typer.echo("ledger: NOT_SERVING, so forecasts that name a game and streams fail; the server's log says why")
    if hint:
        typer.echo(hint, err=True)
    if status != HealthStatus.SERVING.name:
        raise typer.Exit(FAILED)


def _ledger(client: DejavuClient) -> str | None:
    """The ledger's health; None from a server that does not tell."""
    try:
        return client.health(LEDGER).name
    except NotFoundError:
        return None
