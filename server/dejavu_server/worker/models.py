"""Loads and warms up the models of a worker."""

from __future__ import annotations

import structlog

from dejavu_models.betting import StakingPolicy
from dejavu_models.errors import BundleError, BundleUnfit
from dejavu_models.forecast_query import DEFAULT_ALPHA, ForecastQuery, ScorePattern
from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.registry import Registry
from dejavu_server.forecasting.batcher import CHUNK
from dejavu_server.settings import Settings

_log = structlog.get_logger(__name__)


class DuplicateBundle(BundleError):
    """The same bundle was given twice."""

    reason = "BUNDLE_TWICE"


def load_models(settings: Settings) -> Registry:
    """Loads the bundles of the settings; unfit ones only if allowed.

    Raises:
        BundleError: if a bundle can't be loaded, is unfit, or was given twice.
    """
    try:
        return Registry.load(settings.bundles, allow_unfit=settings.allow_unfit)
    except BundleUnfit as error:
        raise BundleUnfit(f"{error} (use --allow-unfit to serve it anyway)") from error
    except ValueError as error:
        raise DuplicateBundle(str(error)) from error


def configure(registry: Registry, settings: Settings) -> None:
    """Applies the settings to every model, and logs which ones are unfit."""
    for info in registry.models():
        configure_model(registry.get(info.version), settings)


def configure_model(forecaster: Forecaster, settings: Settings) -> None:
    """Applies the settings to a model, and logs it if it is unfit."""
    info = forecaster.info
    if not info.approved:
        _log.warning("model_unfit", model=info.version, reason=info.verdict_reason)
    forecaster.max_ratings_days = settings.max_ratings_days
    forecaster.policy = StakingPolicy(
        settings.kelly_fraction, settings.kelly_cap, settings.confidence_threshold, settings.max_edge
    )


def warm_up(registry: Registry) -> None:
    """Warms up every model; see `warm_up_model`."""
    for info in registry.models():
        warm_up_model(registry.get(info.version))


def warm_up_model(forecaster: Forecaster) -> None:
    """Runs single and batched queries on a model, so that no caller pays for first-time initialization."""
    info = forecaster.info
    alpha = max(DEFAULT_ALPHA, info.smallest_alpha)
    for support in info.horizons:
        for slots in {support.min_slots, support.max_slots}:
            query = ForecastQuery(
                ScorePattern((0.0,) * slots), support.horizon, alpha, explain=True, explain_steps=True
            )
            forecaster.check(query)
            forecaster.forecast_many([query])
    longest = max(info.horizons, key=lambda support: support.max_slots)
    for size in (2, CHUNK):
        # All different, because identical queries are computed once.
        patterns = [ScorePattern((game / size, *(0.0,) * (longest.max_slots - 1))) for game in range(size)]
        forecaster.forecast_many([ForecastQuery(pattern, longest.horizon, alpha) for pattern in patterns])
