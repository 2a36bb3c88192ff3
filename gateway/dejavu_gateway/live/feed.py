"""The subscriptions of a gateway to its server, and the server's health; all run until the gateway ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import aclosing
from datetime import date
from typing import Final, Protocol

from dejavu.ops.v1.operations_service_pb2 import DISK_STATE_BELOW_RESERVE
from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.record_service_pb2 import ListPredictionsRequest
from dejavu_client import AsyncDejavuClient, DejavuClientError, HealthStatus, InvalidArgumentError, OutOfRangeError
from dejavu_client.errors import CallCancelledError, ResourceExhaustedError, UnimplementedError
from dejavu_client.transport.servers import LEDGER
from dejavu_common.clock import Backoff, utc_now, wait_until_set
from dejavu_common.tasks import BackgroundTask, repeat
from dejavu_gateway.live.event_log import EventLog
from dejavu_gateway.live.games import LiveGames, is_priced
from dejavu_gateway.live.messages import StreamMessage
from dejavu_gateway.live.status import StatusBoard, StatusReport
from dejavu_gateway.logs import get_logger, on_repeat_failed
from dejavu_gateway.messages.encode import JsonObject, dump
from dejavu_gateway.metrics import GatewayMetrics
from dejavu_gateway.settings import GatewaySettings

FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 5.0
TICK_SECONDS: Final = 1.0

log = get_logger()


class Reader(Protocol):
    """A browser, as the feed sees it."""

    def pump(self) -> None:
        """Send what is new."""

    def tick(self, now: float) -> None:
        """Called once a second, with the time by the loop's clock."""

    def end(self) -> None:
        """Ask it to end its stream."""


class LiveFeed:
    """Follows a server's stream and health until closed.

    Args:
        client: client of the server.
        settings: settings of the gateway.
        metrics: metrics of the gateway.

    Attributes:
        log: the newest events; replaced after the server's ledger was replaced.
        games: the newest states and prices of games.
        board: the status of the server.
        begun: set once the log has begun, after the current forecasts.
    """

    def __init__(self, client: AsyncDejavuClient, settings: GatewaySettings, metrics: GatewayMetrics) -> None:
        self.client = client
        self.settings = settings
        self.metrics = metrics
        self.log = self._new_log()
        self.games = LiveGames()
        self.board = StatusBoard(client.target, self._on_status, time.monotonic)
        self.draining = False
        self.begun = asyncio.Event()
        self._answers = asyncio.Event()  # set when the server answers again, so that the rest of a pause is skipped
        self._readers = set[Reader]()
        self._unpriced = set[str]()  # games with a new forecast of the end, whose prices were not asked for
        self._recorded = asyncio.Event()
        self._has_prices = False  # until one is seen, nobody is asked for those of moments
        self._tasks = [BackgroundTask() for _ in range(5)]

    def start(self) -> None:
        """Start to follow the server."""
        follow, games, prices, health, tick = self._tasks
        follow.start(self._follow(), "upstream")
        games.start(self._follow_games(), "games")
        prices.start(self._follow_prices(), "prices")
        seconds = self.settings.poll_seconds
        health.start(repeat(seconds, self._check_health, on_repeat_failed("health"), at_once=True), "health")
        tick.start(repeat(TICK_SECONDS, self._tick, on_repeat_failed("tick")), "tick")

    async def close(self) -> None:
        """Stop following the server."""
        for task in self._tasks:
            await task.end()

    def drain(self) -> None:
        """End the streams of all browsers, and of later ones."""
        self.draining = True
        for reader in list(self._readers):
            reader.end()

    @contextlib.contextmanager
    def registered(self, reader: Reader) -> Iterator[None]:
        """Wake a browser for each event and change of the status, until the end of the block."""
        self._readers.add(reader)
        if self.draining:
            reader.end()
        try:
            yield
        finally:
            self._readers.discard(reader)

    @property
    def evening(self) -> date:
        """The day that is shown as tonight."""
        return self.settings.evening or self.games.evening(self.log.days())

    def status_message(self) -> StreamMessage:
        """Return the status as it is sent to a browser."""
        return StreamMessage("status", dump(self.status()))

    def status(self) -> JsonObject:
        """Return the status as JSON."""
        return self.board.report.as_json(self.log.newest_time, demo=self.settings.demo, evening=self.evening)

    def _new_log(self) -> EventLog:
        return EventLog(self.settings.limits.replay_events, self.settings.limits.replay_bytes)

    def _wake_all(self) -> None:
        for reader in self._readers:
            reader.pump()

    def _on_status(self, report: StatusReport) -> None:
        write = log.info if report.reason.value == "OK" else log.warning
        write("status_changed", reason=report.reason.value, message=report.message, streaming=report.streaming)
        self.metrics.streaming.set(report.streaming)
        self._wake_all()

    async def _follow(self) -> None:
        """Read the stream, connection after connection; start with the newest forecasts if its position is unknown."""
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        while True:
            pause = 0.0
            try:
                stream = self.client.stream_predictions(
                    resume_token=self.log.token, include_current=True, heartbeats=True, reconnect=False
                )
                async with aclosing(stream) as responses:
                    async for response in responses:
                        backoff.reset()
                        self._take(response)
            except DejavuClientError as error:
                await self._check_health()  # otherwise a server that is gone would count as one that answers
                self.board.update(stream=error)
                pause = min(error.retry_after or 0.0, LONGEST_DELAY)
                if isinstance(error, OutOfRangeError | InvalidArgumentError):
                    log.warning("stream_starts_anew", reason=error.reason, message=error.message)
                    self.log = self._new_log()
                    self._wake_all()
            except Exception:
                log.exception("stream_failed")
            self.metrics.reconnects.inc()
            self._answers.clear()
            await wait_until_set(self._answers, max(pause, backoff.next()))

    async def _follow_games(self) -> None:
        """Follow the states of games. The status says why, while none come."""
        backoff = Backoff(FIRST_DELAY, LONGEST_DELAY)
        while True:
            try:
                async with aclosing(self.client.stream_games(heartbeats=True)) as responses:
                    async for response in responses:
                        backoff.reset()
                        if response.HasField("game") and self._takes(response.game):
                            self._wake_all()
            except DejavuClientError as error:
                log.info("games_not_streamed", reason=error.reason, message=error.message)
            except Exception:
                log.exception("games_failed")
            await asyncio.sleep(backoff.next())

    async def _follow_prices(self) -> None:
        """Ask for the prices recorded with new forecasts of the end, once for all browsers: the stream has none."""
        while True:
            await self._recorded.wait()
            self._recorded.clear()
            while self._unpriced:
                request = ListPredictionsRequest(
                    game_id=self._unpriced.pop(), horizon=HORIZON_FINAL, page_size=1, owners_only=True
                )
                try:
                    page = await self.client.call(request)
                    if any(self.games.take_priced(each) for each in page.predictions if is_priced(each)):
                        self._has_prices = True
                        self._wake_all()
                except DejavuClientError as error:
                    log.info("prices_not_read", reason=error.reason, message=error.message)
                except Exception:
                    log.exception("prices_failed")

    def _takes(self, game: Game) -> bool:
        """Take the state of a game, unless it cannot be shown; return whether it is new."""
        try:
            return self.games.take(game)
        except ValueError as error:
            log.warning("game_not_shown", game_id=game.game_id[:10], error=str(error)[:200])
            return False

    def _take(self, response: StreamPredictionsResponse) -> None:
        # Anything but a heartbeat is an event of a known kind: the subscription passes on no others.
        event = self.log.accept(response)
        self.board.update(stream=True, heard=time.monotonic())
        if event is not None:
            self.metrics.received.inc()
            if self.log.begun:
                self.metrics.lag.observe(max(0.0, (utc_now() - event.time).total_seconds()))
                is_moment = response.forecast.HasField("moment")
                if response.forecast.horizon == HORIZON_FINAL and (self._has_prices or not is_moment):
                    self._unpriced.add(event.game_id)
                    self._recorded.set()
            self._wake_all()
        elif self.log.end == 0:
            self._wake_all()  # the log may just have begun
        if self.log.begun:
            self.begun.set()

    async def _check_health(self) -> None:
        server = await self._health("")
        if isinstance(server, CallCancelledError | ResourceExhaustedError):
            return  # a server that refuses checks under a flood of them is there; the stream shows if it is not
        reachable = isinstance(server, HealthStatus)
        if server is HealthStatus.SERVING and self.board.view.server is not HealthStatus.SERVING:
            self._answers.set()
        self.board.update(server=server, ledger=await self._health(LEDGER) if reachable else server)

    async def _health(self, service: str) -> HealthStatus | DejavuClientError:
        try:
            return await self.client.health(service, timeout=self.settings.poll_seconds)
        except UnimplementedError:
            return await self._health_by_stats(service)
        except DejavuClientError as error:
            return error

    async def _health_by_stats(self, service: str) -> HealthStatus | DejavuClientError:
        """Return the health where a proxy before the server forwards no health checks."""
        try:
            stats = await self.client.get_service_stats(timeout=self.settings.poll_seconds)
        except DejavuClientError as error:
            return error
        lag, disk = stats.ledger_lag, stats.ledger.disk
        without = lag.workers_without or disk == DISK_STATE_BELOW_RESERVE
        return HealthStatus.NOT_SERVING if service == LEDGER and without else HealthStatus.SERVING

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        for reader in list(self._readers):
            reader.tick(now)
