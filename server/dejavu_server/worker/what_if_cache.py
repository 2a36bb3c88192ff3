"""Composes the cache of a worker: its memory, the state shared within its server, and the Redis that servers share."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from google.protobuf.message import DecodeError

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu_common import build
from dejavu_common.installing import install
from dejavu_models.errors import DejavuError
from dejavu_server.api.cache.what_ifs import CachedWhatIfs, answer_of
from dejavu_server.forecasting.cache.answers import Answer, AnswerCache
from dejavu_server.forecasting.cache.fingerprint import fingerprint
from dejavu_server.forecasting.cache.generation import CacheGeneration
from dejavu_server.forecasting.lifecycle.models import Models
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.periodic import PeriodicTask
from dejavu_server.settings import Settings
from dejavu_server.worker.statistics import StatisticsReporter

_MEBIBYTE: Final = 1024 * 1024

_REFRESH_SECONDS: Final = 1.0
"""Interval at which a worker without calls notices that its cached answers are no longer valid."""

SECRET_BYTES: Final = (16, 64)
"""Minimum and maximum length of the secret, in bytes."""


class CacheSecretError(DejavuError):
    """The file of the secret with which servers sign cached answers cannot be used."""

    reason = "CACHE_SECRET"


class CacheNotInstalled(DejavuError):
    """The packages of a shared cache are not installed."""

    reason = "CACHE_NOT_INSTALLED"


async def new_cache(
    stack: AsyncExitStack,
    settings: Settings,
    models: Models,
    metrics: Metrics,
    statistics: StatisticsReporter,
    folder: Path | None,
    workers: int,
    history: Callable[[], bytes],
    clock: Callable[[], datetime],
) -> CachedWhatIfs | None:
    """Return the cache of a worker, started; None if it is off.

    Args:
        stack: closes it.
        settings: settings of the worker.
        models: its models.
        metrics: its metrics.
        statistics: statistics of the server.
        folder: folder of the server; None: the worker is alone.
        workers: number of workers of the server.
        history: returns the identity of the models' learned state and the meaning of their names.
        clock: returns the current time, aware and in UTC.

    Raises:
        CacheSecretError: if the file of the secret cannot be used.
        CacheNotInstalled: if redis-py is needed and not installed.
    """
    if settings.cache == "off":
        return None
    generation = CacheGeneration(folder)
    stack.callback(generation.close)
    shared = None
    if settings.cache != "memory":
        if find_spec("redis") is None:
            raise CacheNotInstalled(f"--cache with a URL needs redis: {install('redis')}")
        # Not at the top: an optional dependency, whose import takes 0.1 s.
        from dejavu_server.forecasting.cache.redis_store import RedisStore, SharedEntries  # noqa: PLC0415

        lasting = [] if settings.model_store else models.models()  # with a store, the models can change
        shared = RedisStore(
            settings.cache,
            SharedEntries(fingerprint(build.release(), settings, lasting), _secret(settings.cache_secret)),
            partial(_read, models, timedelta(seconds=settings.cache_seconds)),
            metrics,
            generation,
            clock,
        )
        stack.push_async_callback(shared.close)
        await shared.start()
    cache = AnswerCache(
        settings.cache_mebibytes * _MEBIBYTE,
        metrics,
        generation,
        statistics.server,
        history=history,
        clock=clock,
        shared=shared,
        workers=workers,
    )
    refreshing = PeriodicTask("cache-refresh", _REFRESH_SECONDS, cache.refresh)
    stack.push_async_callback(refreshing.close)
    refreshing.start()
    return CachedWhatIfs(cache, settings.cache_seconds)


def _read(models: Models, longest: timedelta, data: bytes) -> Answer:
    """Read an answer that another server stored; raise ValueError if no model here can have given it to a what-if."""
    try:
        response = pb.PredictResponse.FromString(data)
    except DecodeError:
        raise ValueError("not a PredictResponse") from None
    forecast = response.forecast
    if forecast.game_id or forecast.sequence or forecast.model_version not in models.versions:
        raise ValueError("not the answer to a what-if by a model of this server")
    try:
        return answer_of(response, longest, data)
    except (KeyError, OverflowError) as error:
        raise ValueError(f"invalid horizon or time: {error}") from None


def _secret(path: str) -> bytes:
    if not path:
        return b""
    least, most = SECRET_BYTES
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise CacheSecretError(f"--cache-secret: cannot read {path}: {error.strerror}") from error
    if not least <= len(secret) <= most:
        raise CacheSecretError(f"--cache-secret: {path} has {len(secret)} bytes; expected {least} to {most}")
    return secret
