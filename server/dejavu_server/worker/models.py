"""Loads and warms up the models of a worker."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import structlog

from dejavu_models.errors import BundleError
from dejavu_models.forecast_query import DEFAULT_ALPHA, ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.settings import Settings
from dejavu_store.bundle import MANIFEST, load_bundle
from dejavu_store.default_bundles import served_bundle

_log = structlog.get_logger(__name__)


class DuplicateBundle(BundleError, reason="BUNDLE_TWICE"):
    """The same bundle was given twice."""


class PreloadedModels:
    """Warmed-up models of bundles, loaded by the process that forked this one.

    Args:
        loaded: content of the manifest, and the model, by the folder of the bundle.
    """

    def __init__(self, loaded: Mapping[Path, tuple[bytes, Forecaster]]) -> None:
        self._loaded = dict(loaded)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the bundles."""
        return tuple(self._loaded)

    def __contains__(self, forecaster: Forecaster) -> bool:
        return any(each is forecaster for _, each in self._loaded.values())

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Load and warm up the bundles of the settings, except those that cannot be loaded.

        Each worker tries to load the missing ones again and reports the error. With a model store, nothing is
        preloaded: each worker loads the models that the ledger names.
        """
        loaded = {}
        for folder in () if settings.model_store else settings.bundles or (served_bundle(),):
            with contextlib.suppress(BundleError, OSError):
                manifest = (folder / MANIFEST).read_bytes()
                forecaster = load_bundle(folder, allow_unfit=settings.allow_unfit)
                if (folder / MANIFEST).read_bytes() == manifest:  # not replaced meanwhile
                    warm_up_model(forecaster)
                    loaded[folder] = manifest, forecaster
        return cls(loaded)

    def get(self, folder: Path) -> Forecaster | None:
        """Return the model of the bundle that is in a folder now; None if this bundle was not preloaded.

        The manifest, which has the hash of each file, identifies the bundle.
        """
        if folder not in self._loaded:
            return None
        manifest, forecaster = self._loaded[folder]
        try:
            return forecaster if (folder / MANIFEST).read_bytes() == manifest else None
        except OSError:
            return None


NOTHING_PRELOADED: Final = PreloadedModels({})


def load_models(settings: Settings, preloaded: PreloadedModels = NOTHING_PRELOADED) -> ServingModels:
    """Load the bundles of the settings; unfit ones only if allowed.

    Without bundles in the settings, all workers of a fork server use the bundle that it loaded, not a newer refresh.

    Args:
        settings: settings of the worker.
        preloaded: models that need not be loaded if their bundles are still the same.

    Raises:
        BundleError: if a bundle can't be loaded, is unfit, or was given twice.
    """
    folders = settings.bundles or preloaded.folders or (served_bundle(),)
    loaded = [preloaded.get(folder) or load_bundle(folder, allow_unfit=settings.allow_unfit) for folder in folders]
    if len({each.version for each in loaded}) < len(loaded):
        raise DuplicateBundle(
            "two bundles have the same version and would give the same forecasts: list each only once"
        )
    return ServingModels(loaded)


def configure(registry: ServingModels, settings: Settings) -> None:
    """Apply the settings to every model, and log which ones are unfit."""
    for info in registry.models():
        configure_model(registry.get(info.version), settings)


def configure_model(forecaster: Forecaster, settings: Settings) -> None:
    """Apply the settings to a model, and log it if it is unfit."""
    info = forecaster.info
    if not info.approved:
        _log.warning("model_unfit", model=info.version, reason=info.verdict_reason)
    forecaster.max_ratings_days = settings.max_ratings_days


def warm_up(registry: ServingModels, preloaded: PreloadedModels = NOTHING_PRELOADED) -> None:
    """Warm up every model that was not preloaded; see `warm_up_model`."""
    for version in registry.versions:
        forecaster = registry.get(version)
        if forecaster not in preloaded:
            warm_up_model(forecaster)


def warm_up_model(forecaster: Forecaster) -> None:
    """Run single and batched queries on a model, so that no caller pays for first-time initialization."""
    info = forecaster.info
    alpha = max(DEFAULT_ALPHA, info.smallest_alpha)
    for support in info.horizons:
        for slots in {support.min_slots, support.max_slots}:
            query = ForecastQuery(ScorePattern((0.0,) * slots), support.horizon, alpha, explain=True)
            forecaster.check(query)
            forecaster.forecast_many([query])
    longest = max(info.horizons, key=lambda support: support.max_slots)
    for size in (2, CHUNK):
        # All different, because identical queries are computed once.
        patterns = [ScorePattern((game / size, *(0.0,) * (longest.max_slots - 1))) for game in range(size)]
        forecaster.forecast_many([ForecastQuery(pattern, longest.horizon, alpha) for pattern in patterns])
