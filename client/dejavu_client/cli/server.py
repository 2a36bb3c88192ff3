"""`dejavu models` and `dejavu health`: a server's models and health."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dejavu.v1.model_service_pb2 import ListModelsResponse
from dejavu_client.cli.errors import FAILED
from dejavu_client.cli.options import Json, Target, Timeout, connect
from dejavu_client.client import DejavuClient
from dejavu_client.config import DEFAULT_TARGET, DEFAULT_TIMEOUT
from dejavu_client.errors import NotFoundError, UnavailableError
from dejavu_client.output.forecast import print_models, show
from dejavu_client.transport.health import LEDGER, HealthStatus

_BROKEN_LEDGER = "; forecasts with a game id, streams and the record fail, what-ifs do not; see the server's log"


def models(target: Target = DEFAULT_TARGET, timeout: Timeout = DEFAULT_TIMEOUT, as_json: Json = False) -> None:
    """List the models loaded by the server, the active one first."""
    with connect(target, timeout) as client:
        loaded = client.list_models()
    show(ListModelsResponse(models=loaded), print_models, as_json=as_json)


def health(
    service: Annotated[
        str,
        typer.Argument(
            help="Full name of a service, for example dejavu.v1.PredictionService, or dejavu.ledger; "
            "the whole server by default."
        ),
    ] = "",
    target: Target = DEFAULT_TARGET,
    timeout: Timeout = DEFAULT_TIMEOUT,
    as_json: Json = False,
) -> None:
    """Check whether the server accepts calls: exit code 0 if it is SERVING, otherwise 1.

    A server with a broken ledger still serves what-ifs.
    The ledger's health is shown too, but does not change the exit code.
    `dejavu health dejavu.ledger` checks only the ledger.
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
        record = {"status": status, "service": service, "target": target}
        typer.echo(json.dumps(record if service else {**record, "ledger": ledger}))
    else:
        typer.echo(status)
        if ledger is not None:
            typer.echo(f"ledger: {ledger}{_BROKEN_LEDGER if ledger == HealthStatus.NOT_SERVING.name else ''}")
    if hint:
        typer.echo(hint, err=True)
    if status != HealthStatus.SERVING.name:
        raise typer.Exit(FAILED)


def _ledger(client: DejavuClient) -> str | None:
    """Returns the ledger's health; None if the server does not report it."""
    try:
        return client.health(LEDGER).name
    except NotFoundError:
        return None
