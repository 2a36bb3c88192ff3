"""What a poller does, for Prometheus: how old its data is, what goes wrong, what is forecast and how soon.

| metric                                              | meaning                                                    |
|-----------------------------------------------------|------------------------------------------------------------|
| dejavu_poll_game_data_age_seconds                   | since the feed last told something new of a game under way |
|   {game_id, home, away}                             |                                                            |
| dejavu_poll_scoreboard_age_seconds                  | since the scoreboard was read, or the start if it never was|
| dejavu_poll_faults_total{source, kind}              | faults; source: scoreboard or game, kind: a `FaultKind`    |
| dejavu_poll_forecasts_total{horizon, outcome}       | minutes of games: new, revision, or missed, those included |
|                                                     | that had gone by when the poller was started               |
| dejavu_poll_reports_total{horizon, outcome}         | outcomes that the server's record took: new, or revision   |
| dejavu_poll_forecast_latency_seconds                | from the play that completed a pattern to its forecast     |

Ages are those of the moment when they are asked for. A game that is over is not among them any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dejavu_client.poller.events import Event, Fault, FaultKind, ForecastMissed, OutcomeReported, Prediction
from dejavu_client.poller.poller import Poller
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_feed.clock import utc_now

LATENCY_BUCKETS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the latency histogram, in seconds; a poll of every ten seconds adds as much."""
_SCOREBOARD = "scoreboard"
_LABELS = {HALFTIME: "halftime", FINAL: "final"}
"""Horizons as the server's metrics call them."""


class PollMetrics:
    """Counts what a poller tells; give it to `Poller.emit`.

    Args:
        registry: where the figures are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._faults = Counter("dejavu_poll_faults", "Faults.", ["source", "kind"], registry=registry)
        self._forecasts = Counter(
            "dejavu_poll_forecasts", "Forecasts of minutes of games.", ["horizon", "outcome"], registry=registry
        )
        self._reports = Counter(
            "dejavu_poll_reports", "Outcomes that the server's record took.", ["horizon", "outcome"], registry=registry
        )
        self._latency = Histogram(
            "dejavu_poll_forecast_latency_seconds",
            "From the play that completed a pattern to its forecast.",
            registry=registry,
            buckets=LATENCY_BUCKETS,
        )
        # From the start at 0, so that a first fault is a rise.
        for source in (_SCOREBOARD, "game"):
            for kind in FaultKind:
                self._faults.labels(source, kind)
        for horizon in (HALFTIME, FINAL):
            for outcome in ("new", "revision", "missed"):
                self._forecasts.labels(_LABELS[horizon], outcome)
            for outcome in ("new", "revision"):
                self._reports.labels(_LABELS[horizon], outcome)

    def __call__(self, event: Event) -> None:
        """Counts an event."""
        match event:
            case Fault():
                self._faults.labels(_SCOREBOARD if event.source == _SCOREBOARD else "game", event.kind).inc()
            case Prediction():
                outcome = "revision" if event.forecast.revision else "new"
                self._forecasts.labels(_LABELS[event.forecast.horizon], outcome).inc()
                if event.latency is not None:
                    self._latency.observe(event.latency)
            case ForecastMissed():
                self._forecasts.labels(_LABELS[event.horizon], "missed").inc(len(event.minutes))
            case OutcomeReported():
                outcome = "revision" if event.outcome.revision else "new"
                self._reports.labels(_LABELS[event.horizon], outcome).inc()
            case _:
                pass


class _Ages(Collector):
    """How old a poller's data is, at the moment when it is asked: in another thread than the poller's."""

    def __init__(self, poller: Poller, now: Callable[[], datetime]) -> None:
        self._poller = poller
        self._now = now
        self._start = now()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The ages."""
        now = self._now()
        games = GaugeMetricFamily(
            "dejavu_poll_game_data_age_seconds",
            "Since the feed last told something new of a game under way.",
            labels=["game_id", "home", "away"],
        )
        for game in list(self._poller.games.values()):  # a copy, since the poller goes on
            age = game.age(now)
            if age is not None:
                games.add_metric([game.state.game_id, game.state.home, game.state.away], age)
        yield games
        read = self._poller.scoreboard_time or self._start
        yield GaugeMetricFamily(
            "dejavu_poll_scoreboard_age_seconds",
            "Since the scoreboard was last read, or since the start if it never was.",
            value=max(0.0, (now - read).total_seconds()),
        )


def measure(poller: Poller, *, now: Callable[[], datetime] = utc_now) -> CollectorRegistry:
    """Counts what a poller does from now on; the registry has its figures.

    Args:
        poller: whose figures they are.
        now: its clock.
    """
    registry = CollectorRegistry()
    poller.emit(PollMetrics(registry))
    registry.register(_Ages(poller, now))
    return registry


@contextmanager
def served(registry: CollectorRegistry, host: str, port: int) -> Iterator[str]:
    """Serves figures over HTTP until its end; port 0 takes a free one.

    Returns:
        The address of the page.

    Raises:
        OSError: if the address can't be bound.
    """
    server, thread = start_http_server(port, host, registry)
    try:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
