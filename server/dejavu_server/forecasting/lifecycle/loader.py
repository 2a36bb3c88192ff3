"""Loads models in a thread, one at a time, and unloads them, while the others answer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

import structlog

from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.replicas import MAX_ERROR, LoadFailure
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_store.bundle_store import ModelStore

RETRY_SECONDS: Final = 30.0
"""Pause before a model that could not be loaded is tried again, unless a new wish asks for it."""

_ONE_AT_A_TIME: Final = threading.Lock()
"""Held while a thread of this process loads a bundle: numpy parses the headers of arrays with `ast`, and CPython 3.11
raises SystemError if two threads do that at once."""

_log = structlog.get_logger(__name__)


class ModelLoader:
    """Loads models, warms them up, and gives them their settings and online state.

    Args:
        store: has the bundles.
        models: takes the loaded models.
        updater: keeps their online state.
        prepare: warms a model up and gives it the settings of the server; called in a thread.
        on_failure: called for each model that could not be loaded.
    """

    def __init__(
        self,
        store: ModelStore,
        models: ServingModels,
        updater: OnlineUpdater,
        prepare: Callable[[Forecaster], None],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._models = models
        self._updater = updater
        self._prepare = prepare
        self._on_failure = on_failure

    def is_due(self, version: str, wish: str) -> bool:
        """Return whether to load a model now: it is not loaded, and was not tried recently, or not for this wish."""
        if self._models.is_loaded(version):
            return False
        failure = self._models.failures.get(version)
        if failure is None or wish not in ("", failure.wish):
            return True
        return time.monotonic() - failure.tried >= RETRY_SECONDS

    async def load(self, version: str, wish: str = "") -> None:
        """Load a model, unless it is loaded; a failure is kept and logged."""
        if self._models.is_loaded(version):
            return
        began = time.monotonic()
        try:
            forecaster = await asyncio.to_thread(self._load_now, version)
            await self._updater.add(forecaster)
        except Exception as error:
            self._on_failure()
            expected = isinstance(error, DejavuError)
            text = str(error) if expected else f"{type(error).__name__}: {error}"
            self._models.failures[version] = LoadFailure(wish, text[:MAX_ERROR], time.monotonic())
            _log.error("model_load_failed", model=version, reason=text, exc_info=None if expected else error)
            return
        self._models.failures.pop(version, None)
        self._models.add(forecaster)
        _log.info("model_loaded", model=version, seconds=round(time.monotonic() - began, 3))

    def _load_now(self, version: str) -> Forecaster:
        with _ONE_AT_A_TIME:
            forecaster = self._store.load(version)
        self._prepare(forecaster)
        return forecaster

    def unload(self, versions: Collection[str]) -> None:
        """Unload models; calls in progress keep theirs."""
        for version in versions:
            self._models.remove(version)
            self._updater.remove(version)
            _log.info("model_unloaded", model=version)

    def forget_failures(self, wanted: Collection[str]) -> None:
        """Drop the load failures of models that are no longer wanted."""
        for version in self._models.failures.keys() - set(wanted):
            del self._models.failures[version]
