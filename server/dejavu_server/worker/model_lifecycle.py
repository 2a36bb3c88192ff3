"""Composes the model lifecycle of a worker, for a server with a model store."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple

from dejavu_ledger.ledger import CurrentLedger
from dejavu_models.comparison import GateSettings
from dejavu_models.forecaster import Forecaster
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.follower import ModelFollower
from dejavu_server.forecasting.lifecycle.gatekeeper import Gatekeeper
from dejavu_server.forecasting.lifecycle.loader import ModelLoader
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.shadow import ShadowForecaster
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.observability.metrics import Metrics
from dejavu_server.settings import Settings
from dejavu_server.worker.models import configure_model, warm_up_model
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle


class Lifecycle(NamedTuple):
    """Follows and changes the models of a worker.

    Attributes:
        store: the bundles.
        models: the loaded models and the roster in force.
        follower: loads models and puts changes in force.
        changes: records changes.
        updater: keeps the online state of the models.
        gate: judges the models by their recorded forecasts.
    """

    store: ModelStore
    models: ServingModels
    follower: ModelFollower
    changes: ModelLifecycle
    updater: OnlineUpdater
    gate: LedgerGate

    def history(self) -> bytes:
        """Return bytes that identify the models' learned state and the meaning of their names."""
        return self.updater.history + self.models.token


async def follow_roster(
    stack: AsyncExitStack,
    settings: Settings,
    models: ServingModels,
    ledger: CurrentLedger,
    updater: OnlineUpdater,
    metrics: Metrics,
    *,
    worker: str,
    committed: asyncio.Event,
    on_ready: Callable[[bool], None],
) -> Lifecycle:
    """Start to follow the roster; return once the champion is loaded.

    Args:
        stack: stops it.
        settings: settings of the worker.
        models: the loaded models, none at first.
        ledger: the ledger; open, unless it cannot be opened at present.
        updater: keeps the online state of the models.
        metrics: metrics of the worker.
        worker: name of the worker.
        committed: set after every commit that may have added more than forecasts.
        on_ready: called with whether the champion is loaded.

    Raises:
        InvalidModelStore: if the store's address cannot be used.
        ChampionUnavailable: if it cannot be loaded.
    """
    store = await asyncio.to_thread(ModelStore.open, settings.model_store, allow_unfit=settings.allow_unfit)
    gate = LedgerGate(ledger, GateSettings())

    def prepare(forecaster: Forecaster) -> None:
        configure_model(forecaster, settings)
        warm_up_model(forecaster)

    loader = ModelLoader(store, models, updater, prepare, metrics.load_failures.inc)
    follower = ModelFollower(
        ledger,
        store,
        models,
        loader,
        bundles=settings.bundles or (default_bundle(),),
        name=(server_name(), worker),
        on_ready=on_ready,
        on_roster=metrics.roster_sequence.labels(worker).set,
        committed=committed,
    )
    stack.push_async_callback(follower.close)
    await follower.start()
    changes = ModelLifecycle(ledger, store, models, follower, gate)
    return Lifecycle(store, models, follower, changes, updater, gate)


def watch_challengers(
    stack: AsyncExitStack,
    settings: Settings,
    lifecycle: Lifecycle,
    ledger: CurrentLedger,
    batcher: Batcher,
    metrics: Metrics,
    *,
    worker: str,
) -> ShadowForecaster:
    """Start to make and judge the shadow forecasts of challengers; return the ShadowForecaster that makes them.

    Args:
        stack: stops it.
        settings: settings of the worker.
        lifecycle: its models.
        ledger: the ledger.
        batcher: computes forecasts.
        metrics: metrics of the worker.
        worker: name of the worker.
    """
    models = lifecycle.models

    def making() -> list[Forecaster]:
        return [models.choose().forecaster, *models.challengers()]

    shadows = ShadowForecaster(ledger, batcher, making, metrics)
    stack.push_async_callback(shadows.close)
    shadows.start()
    gatekeeper = Gatekeeper(ledger, lifecycle.gate, metrics, holder=f"{server_name()}/{worker}"[-64:])
    stack.push_async_callback(gatekeeper.close)
    gatekeeper.start()
    return shadows


def server_name() -> str:
    """Return the server name under which its workers report: host and process id of their supervisor."""
    return f"{socket.gethostname()}:{os.getppid()}"
