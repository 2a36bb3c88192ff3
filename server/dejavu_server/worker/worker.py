"""Composition root of one worker: models, ledger, streams and services behind one gRPC server.

Use in the process of a test:

    async with Worker(Settings(listen="127.0.0.1:0", ledger=f"sqlite:///{path}")) as worker:
        ...  # worker.address serves

The supervisor starts worker_main.py, which runs a Worker.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Container
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor

from dejavu.ops.v1.operations_service_pb2 import (
    DATABASE_KIND_POSTGRESQL,
    DATABASE_KIND_SQLITE,
    LedgerState,
    ServerInfo,
    ServerSetting,
)
from dejavu_common.clock import utc_now
from dejavu_common.processes import file_limit
from dejavu_ledger.audit.checkpoints import key_path
from dejavu_ledger.url import is_postgres
from dejavu_models.comparison import GateSettings
from dejavu_models.errors import DejavuError
from dejavu_models.forecaster import Forecaster
from dejavu_models.types import AdaptationMode
from dejavu_server.access.authenticator import Authenticator
from dejavu_server.access.policy import SERVICES
from dejavu_server.api.admissions import Admissions
from dejavu_server.api.cache.service import CACHE_SERVICE, CacheService, open_cache
from dejavu_server.api.converters.forecast import forecast_message
from dejavu_server.api.converters.games import game_message
from dejavu_server.api.converters.record import outcome_message
from dejavu_server.api.feed_service import FEED_SERVICE, FeedService
from dejavu_server.api.game_service import GAME_SERVICE, GameService
from dejavu_server.api.handlers import handlers
from dejavu_server.api.health import HEALTH_SERVICE, LEDGER, HealthService
from dejavu_server.api.inference.inference_service import INFERENCE_SERVICE, OpenInferenceService
from dejavu_server.api.interceptors import CallInterceptor, worker_metadata
from dejavu_server.api.lease_service import LEASE_SERVICE, LeaseService
from dejavu_server.api.model_service import MODEL_SERVICE, ModelService, StoredModels
from dejavu_server.api.notification_service import NOTIFICATION_SERVICE, NotificationService
from dejavu_server.api.operations_service import OPERATIONS_SERVICE, OperationsService
from dejavu_server.api.prediction_service import PREDICTION_SERVICE, PredictionService
from dejavu_server.api.record_service import RECORD_SERVICE, RecordService
from dejavu_server.api.reflection import REFLECTION_SERVICES, reflection_handlers
from dejavu_server.api.shared_reads import SharedReads
from dejavu_server.forecasting.batcher import Batcher
from dejavu_server.forecasting.forecast_service import ForecastService
from dejavu_server.forecasting.lifecycle.changes import ModelLifecycle
from dejavu_server.forecasting.lifecycle.evidence import LedgerGate
from dejavu_server.forecasting.lifecycle.follower import ModelFollower
from dejavu_server.forecasting.lifecycle.gatekeeper import Gatekeeper
from dejavu_server.forecasting.lifecycle.loader import ModelLoader
from dejavu_server.forecasting.lifecycle.models import ServingModels
from dejavu_server.forecasting.lifecycle.shadow import ShadowForecaster
from dejavu_server.forecasting.online_updater import OnlineUpdater
from dejavu_server.limits import Limits
from dejavu_server.observability.metrics import Metrics
from dejavu_server.observability.statistics import StatisticsReporter
from dejavu_server.settings import Settings
from dejavu_server.streaming.broadcaster import Broadcaster
from dejavu_server.streaming.game_states import GameStates
from dejavu_server.streaming.games_in_play import GamesInPlay
from dejavu_server.streaming.ledger_manager import LedgerHealth, LedgerManager
from dejavu_server.worker.grpc_options import CHANNEL_OPTIONS, connection_options, max_connections, queue_options
from dejavu_server.worker.grpc_server import GrpcServer
from dejavu_server.worker.models import (
    NOTHING_PRELOADED,
    PreloadedModels,
    configure,
    configure_model,
    load_models,
    warm_up,
    warm_up_model,
)
from dejavu_server.worker.progress import ProgressMonitor
from dejavu_server.worker.ratings_age_metrics import RatingsAge
from dejavu_server.worker.sampler import COVERAGE_DAYS, MetricsSampler
from dejavu_server.worker.signer import CHECKPOINT_SECONDS, Signer
from dejavu_store.bundle_store import ModelStore
from dejavu_store.default_bundles import default_bundle

LIFETIME = timedelta(minutes=5)
"""Time for which a forecast stays current."""

LOOK_SECONDS = 0.05
"""Interval at which a server is checked: gRPC reports a failure only when polled."""


class _Part(Protocol):
    """A part of a worker that runs in tasks."""

    def start(self) -> None:
        """Start it."""

    async def close(self) -> None:
        """End it; may be called again."""


_P = TypeVar("_P", bound=_Part)


def _started(stack: AsyncExitStack, part: _P) -> _P:
    """Start a part, which the stack closes; return it."""
    stack.push_async_callback(part.close)
    part.start()
    return part


_log = structlog.get_logger(__name__)


class _Lifecycle(NamedTuple):
    """Follows and changes the models of a worker with a model store: bundles, roster in force, changes and gate."""

    store: ModelStore
    follower: ModelFollower
    changes: ModelLifecycle
    gate: LedgerGate


class BindError(DejavuError, reason="CANNOT_LISTEN"):
    """The address cannot be bound."""


class Worker:
    """Runs one worker; use it with `async with`, which starts it and drains it on exit.

    Args:
        settings: the settings; port 0 of `listen` picks a free port.
        name: its name, sent to callers.
        registry: the models; by default loaded according to the settings.
        clock: returns the current time, aware and in UTC.
        reuse_port: whether to share the port with other workers.
        make_ledger: whether to create a missing ledger.
        first: whether it is the first worker of its server, which logs common events.
        folder: folder of the server, with the files that its processes share; None: the worker is alone.
        preloaded: models that the process which forked this one has loaded; None: there are none.

    Raises:
        AccessFileError: if a file of keys, certificates or tokens cannot be used.
        BundleError, InvalidLedgerUrl, BindError, OSError: on entry, if it can't start. An unavailable ledger does not
            prevent the start: what-ifs do not need it, and the rest works once it is available (see
            ledger_manager.py).
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "0",
        registry: ServingModels | None = None,
        clock: Callable[[], datetime] = utc_now,
        reuse_port: bool = False,
        make_ledger: bool = True,
        first: bool = True,
        folder: Path | None = None,
        preloaded: PreloadedModels | None = None,
    ) -> None:
        self._settings = settings
        self._name = name
        self._registry = registry
        self.metrics = Metrics()
        """Its metrics."""
        self._statistics = StatisticsReporter(self.metrics, name, folder)
        self._clock = clock
        self._make_ledger = make_ledger
        self._first = first
        self._folder = folder
        self._preloaded = preloaded or NOTHING_PRELOADED
        self._resources = AsyncExitStack()
        self._expiring: dict[str, Callable[[], float]] = {}  # when files of keys and tokens expire, by kind
        self._health = HealthService(SERVICES, parts=[LEDGER])
        self.limits = Limits(settings)
        """Its limits, and the calls in progress."""
        self._admissions = Admissions(self.limits, self.metrics, worker_metadata(name, settings.workers))
        self._calls = CallInterceptor(self.metrics, self._admissions)
        self._server = GrpcServer(
            self._calls,
            admissions=self._admissions,
            options=[
                *CHANNEL_OPTIONS.items(),
                *connection_options(settings),
                *queue_options(settings),
                ("grpc.max_allowed_incoming_connections", max_connections(file_limit(), settings.max_rss)),
                ("grpc.so_reuseport", int(reuse_port)),
            ],
        )
        self._ledger_manager: LedgerManager
        self._progress: ProgressMonitor
        self._online_updater: OnlineUpdater
        self._published = asyncio.Event()
        self._games: GameStates
        self._lifecycle: _Lifecycle | None = None
        self._draining: asyncio.Task[None] | None = None
        self.address = settings.listen
        """HOST:PORT that it serves on."""
        self.models: tuple[str, ...] = ()
        """Versions of its loaded models, the active one first; empty before the start, and with a model store."""

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._resources = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.drain()

    async def _start(self, stack: AsyncExitStack) -> None:
        """Start the parts, each of which the stack closes: first what other parts use, last the port."""
        _started(stack, self._statistics)
        credentials = await self._control_access(stack)  # before models, which take seconds: a file may be broken
        models = await self._open_models(stack)
        batcher = Batcher(self.metrics, alone=lambda: self.limits.one_forecast)
        stack.push_async_callback(batcher.close)
        self._watch(stack, models, batcher)
        settings, ledger = self._settings, self._ledger_manager.current
        signing_key = key_path(settings.ledger, settings.signing_key)
        signer = _started(stack, Signer(ledger, signing_key, seconds=CHECKPOINT_SECONDS, clock=self._clock))
        heartbeat_seconds = settings.heartbeat_seconds
        self._games = _started(stack, GameStates(ledger, self._published, game_message, heartbeat_seconds))
        forecasts = self._forecast_service(stack, models, batcher)
        await self._add_prediction_services(stack, models, forecasts)
        self._add_record_services(models, signer)
        self._add_operator_services()
        await self._listen(credentials)
        self._health.serve()
        _log.info("serving", address=self.address, models=list(models.versions))

    def _watch(self, stack: AsyncExitStack, models: ServingModels, batcher: Batcher) -> None:
        """Start to watch the progress of the threads, and to sample metrics."""
        settings = self._settings
        self.metrics.max_ratings_age.set(timedelta(days=settings.max_ratings_days).total_seconds())
        self.metrics.checkpoint_interval.set(CHECKPOINT_SECONDS)
        _started(stack, RatingsAge(models, self.metrics, self._clock, logs=self._first))
        self._progress = ProgressMonitor(
            lambda: (batcher.activity, *self._ledger_manager.activities),
            settings.hang_seconds,
            self.metrics,
            self._health.set_ready,
        )
        _started(stack, self._progress)
        sampler = MetricsSampler(
            self.metrics,
            batcher,
            self._ledger_manager,
            self._online_updater,
            sample_calls=self._sample,
            backups=Path(settings.backup_folder) if settings.backup_folder else None,
            model=(lambda: models.versions[0] if models.versions else "") if self._first else None,
            clock=self._clock,
        )
        _started(stack, sampler)

    def _forecast_service(self, stack: AsyncExitStack, models: ServingModels, batcher: Batcher) -> ForecastService:
        """Return the service that makes and records forecasts, and start that of challengers."""
        ledger, on_new = self._ledger_manager.current, None
        if self._lifecycle is not None:
            shadows = ShadowForecaster(ledger, batcher, models.shadowing, self.metrics)
            on_new = _started(stack, shadows).put
            holder = f"{server_name()}/{self._name}"[-64:]
            _started(stack, Gatekeeper(ledger, self._lifecycle.gate, self.metrics, holder=holder))
        return ForecastService(
            models, batcher, ledger, self.metrics, lifetime=LIFETIME, on_new=on_new, clock=self._clock
        )

    async def _add_prediction_services(
        self, stack: AsyncExitStack, models: ServingModels, forecasts: ForecastService
    ) -> None:
        """Add the services that forecast, and open the cache."""
        updater = self._online_updater
        what_ifs = await open_cache(
            stack,
            self._settings,
            self.metrics,
            self._folder,
            models=models.models(),
            history=lambda: updater.history + models.token,
            clock=self._clock,
        )
        predictions = PredictionService(
            forecasts,
            self._ledger_manager,
            self._clock,
            models.course,
            what_ifs,
            GamesInPlay(self._games.current, self._clock),
        )
        self._add_service(PREDICTION_SERVICE, predictions, encoded={"StreamPredictions"}, raw={"Predict"})
        self._add_service(INFERENCE_SERVICE, OpenInferenceService(forecasts, models, self._health, self._clock))
        caching = CacheService(
            what_ifs, predictions.predict, self._name, self._settings.workers, self._statistics.server
        )
        self._add_service(CACHE_SERVICE, caching)

    def _add_record_services(self, models: ServingModels, signer: Signer) -> None:
        """Add the services of the record and of its side state."""
        ledger = self._ledger_manager.current
        reads = SharedReads(ledger)
        record = RecordService(ledger, self._clock, signer.checkpoint, reads, models.course)
        self._add_service(RECORD_SERVICE, record)
        self._add_service(MODEL_SERVICE, self._model_service(models, reads))
        self._add_service(LEASE_SERVICE, LeaseService(ledger))
        self._add_service(GAME_SERVICE, GameService(self._games), encoded={"StreamGames"})
        self._add_service(FEED_SERVICE, FeedService(ledger, self.metrics, self._clock))
        self._add_service(NOTIFICATION_SERVICE, NotificationService(ledger, reads))

    def _add_operator_services(self) -> None:
        """Add statistics, health and reflection."""
        settings = self._settings
        common = [ServerSetting(name=name, value=value) for name, value in settings.common().items()]
        operations = OperationsService(
            self._statistics.server,
            server=ServerInfo(name=server_name(), configured_workers=settings.workers, settings=common),
            coverage_days=COVERAGE_DAYS,
            ledger=LedgerState(
                database=DATABASE_KIND_POSTGRESQL if is_postgres(settings.ledger) else DATABASE_KIND_SQLITE,
                caller_games=settings.caller_games or None,
            ),
            clock=self._clock,
        )
        self._add_service(OPERATIONS_SERVICE, operations)
        self._add_service(HEALTH_SERVICE, self._health, complete=False)
        reflection = reflection_handlers([*SERVICES, HEALTH_SERVICE.full_name])
        for name in REFLECTION_SERVICES:
            self._server.add_methods(name, reflection)

    async def _load_models(self) -> ServingModels:
        """Return the models, warmed up and with the settings of this server."""
        settings = self._settings
        registry = self._registry
        if registry is None:
            registry = await asyncio.to_thread(load_models, settings, self._preloaded)
        await asyncio.to_thread(warm_up, registry, self._preloaded)
        self.models = tuple(info.version for info in registry.models())
        configure(registry, settings)
        return registry

    async def _open_models(self, stack: AsyncExitStack) -> ServingModels:
        """Open the ledger and load the models; with a model store, the ledger says which ones."""
        settings = self._settings
        models = ServingModels() if settings.model_store else await self._load_models()
        learned, changed = asyncio.Event(), asyncio.Event()
        self._ledger_manager = LedgerManager(
            settings,
            self.metrics,
            partial(
                Broadcaster,
                encode=partial(forecast_message, explanation=True, course_of=models.course),
                encode_outcome=outcome_message,
                heartbeat_seconds=settings.heartbeat_seconds,
            ),
            self._on_ledger_health,
            committed=(self._published, learned, changed),
            make=self._make_ledger,
        )
        self._online_updater = OnlineUpdater(
            self._ledger_manager.current,
            [models.get(version) for version in self.models],
            mode=None if settings.adaptive == "off" else AdaptationMode(settings.adaptive),
            committed=learned,
        )
        stack.push_async_callback(self._ledger_manager.close)
        await self._ledger_manager.start()
        stack.push_async_callback(self._online_updater.close)
        await self._online_updater.start()
        if settings.model_store:
            await self._follow_roster(stack, models, changed)
        return models

    async def _follow_roster(self, stack: AsyncExitStack, models: ServingModels, committed: asyncio.Event) -> None:
        """Start to follow the roster in the ledger; return once the champion is loaded."""
        settings, ledger = self._settings, self._ledger_manager.current
        store = await asyncio.to_thread(ModelStore.open, settings.model_store, allow_unfit=settings.allow_unfit)

        def prepare(forecaster: Forecaster) -> None:
            configure_model(forecaster, settings)
            warm_up_model(forecaster)

        follower = ModelFollower(
            ledger,
            store,
            models,
            ModelLoader(store, models, self._online_updater, prepare, self.metrics.load_failures.inc),
            bundles=settings.bundles or (default_bundle(),),
            name=(server_name(), self._name),
            on_ready=self._health.set_models_loaded,
            on_roster=self.metrics.roster_sequence.labels(self._name).set,
            committed=committed,
        )
        stack.push_async_callback(follower.close)
        await follower.start()
        gate = LedgerGate(ledger, GateSettings())
        self._lifecycle = _Lifecycle(store, follower, ModelLifecycle(ledger, store, models, follower, gate), gate)

    def _model_service(self, models: ServingModels, reads: SharedReads) -> ModelService:
        lifecycle = self._lifecycle
        if lifecycle is None:
            return ModelService(models, self._clock)
        return ModelService(models, self._clock, StoredModels(lifecycle.changes, lifecycle.store, reads))

    async def _listen(self, credentials: grpc.ServerCredentials | None) -> None:
        """Start to accept calls; without credentials in plain text."""
        host, _, _ = self._settings.listen.rpartition(":")
        try:
            if credentials is None:
                port = self._server.add_insecure_port(self._settings.listen)
            else:
                port = self._server.add_secure_port(self._settings.listen, credentials)
        except RuntimeError as error:
            raise BindError(f"cannot listen on {self._settings.listen}: {error}") from error
        self.address = f"{host}:{port}"
        await self._server.start()

    def _sample(self) -> None:
        """Set the metrics that are read at intervals."""
        self._calls.sample()
        for file, expires in self._expiring.items():
            self.metrics.access_expires.labels(file).set(expires())

    async def _control_access(self, stack: AsyncExitStack) -> grpc.ServerCredentials | None:
        """Start to require tokens if the settings say so; return the port's TLS credentials, None for plain text."""
        settings, on_reload = self._settings, self.metrics.set_access_reload
        if settings.tokens or settings.jwks:
            files = _path(settings.tokens), _path(settings.jwks)
            claims = settings.jwt_issuer, settings.jwt_audience
            tokens = await asyncio.to_thread(Authenticator, *files, *claims, on_reload=on_reload)
            self._admissions.authenticator = tokens
            stack.push_async_callback(tokens.close)
            tokens.start(self._calls.end_unauthorized)
            self._expiring["tokens"] = tokens.next_expiry
        certificate, key = _path(settings.tls_cert), _path(settings.tls_key)
        if certificate is None or key is None:
            return None
        from dejavu_server.access.tls import TlsCredentials, TlsFiles  # noqa: PLC0415 - it loads the parsers of X.509

        files_of_tls = TlsFiles(certificate, key, _path(settings.tls_client_ca))
        tls = _started(stack, await asyncio.to_thread(TlsCredentials, files_of_tls, on_reload))
        self._expiring["tls"] = tls.next_expiry
        return tls.credentials

    def _add_service(
        self, service: ServiceDescriptor, servicer: object, *, complete: bool = True, **as_bytes: Container[str]
    ) -> None:
        self._server.add_methods(service.full_name, handlers(service, servicer, complete=complete, **as_bytes))

    @property
    def has_ledger(self) -> bool:
        """Whether the ledger is open."""
        return self._ledger_manager.is_open

    @property
    def hung_part(self) -> str:
        """Name of the part that has had work and made no progress for `hang_seconds`; empty if none."""
        return self._progress.hung_part

    async def wait_for_failure(self) -> Exception | None:
        """Wait until the gRPC server ends; return the exception if it failed. The process must then exit."""
        try:
            while await self._server.wait_for_termination(LOOK_SECONDS):
                pass
        except Exception as error:  # any exception that ended the server
            return error
        return None

    async def drain(self) -> None:
        """Stop accepting calls, let calls in progress finish within the grace time and end the streams.

        Safe to call more than once, also during a drain: returns when the drain is complete.
        """
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(), name="drain")
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        self._health.drain()
        stopping = asyncio.create_task(self._server.stop(self._settings.grace_seconds))
        await asyncio.sleep(0)  # the server now stops accepting connections, so that no stream reconnects here
        await self._ledger_manager.end_streams()
        self._games.end_streams()
        await self._calls.end_streams()
        if self._lifecycle is not None:
            await self._lifecycle.follower.stop_reporting()
        await stopping
        await self._resources.aclose()
        _log.info("drained")

    def _on_ledger_health(self, ledger: LedgerHealth) -> None:
        self.metrics.ledger_failed.set(not ledger.recording)
        self.metrics.streams_failed.set(not ledger.streaming)
        self._health.set_part(LEDGER, serving=ledger.recording and ledger.streaming)


def server_name() -> str:
    """Return the server name under which its workers report: host and process id of their supervisor."""
    return f"{socket.gethostname()}:{os.getppid()}"


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
