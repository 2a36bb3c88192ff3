"""Prometheus metrics of a poller: age of its data, faults, forecasts and their latency.

| metric                                              | meaning                                                    |
|-----------------------------------------------------|------------------------------------------------------------|
| dejavu_poll_game_data_age_seconds                   | seconds since the feed last updated a live game            |
|   {game_id, home, away}                             |                                                            |
| dejavu_poll_refused_plays                           | plays of a live game that could not be used at the last    |
|   {game_id, home, away}                             | read                                                       |
| dejavu_poll_scoreboard_age_seconds                  | seconds since the scoreboard was read, or since the start  |
| dejavu_poll_faults_total{source, kind}              | faults; source: scoreboard, server, lines, prices or game; |
|                                                     | kind: a `FaultKind`                                        |
| dejavu_poll_forecasts_total{horizon, outcome}       | forecast minutes: new, revision, or missed, including      |
|                                                     | those that had passed when the poller started              |
| dejavu_poll_reports_total{horizon, outcome}         | outcomes accepted by the track record: new, or revision;   |
|                                                     | not those that it had before this poller began or led      |
| dejavu_poll_forecast_latency_seconds                | seconds from the play that completed a pattern to its      |
|                                                     | forecast                                                   |
| dejavu_poll_leads                                   | 1 if this poller leads, 0 if it stands by                  |

Ages are computed at the time of the scrape. Finished games are not included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.formatting import enum_word
from dejavu_client.logs import get_logger
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.address import Address
from dejavu_common.clock import utc_now
from dejavu_common.http_server import serve_wsgi
from dejavu_poller.events import Event, Fault, FaultKind, ForecastMissed, LeadershipChanged, OutcomeReported, Prediction
from dejavu_poller.game_steps import SCOREBOARD
from dejavu_poller.leadership import LeaderRole
from dejavu_poller.poller import LINES, PRICES, SERVER, Poller

LATENCY_BUCKETS = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the latency histogram, in seconds. Polling every ten seconds adds up to ten."""

_SHARED = (SCOREBOARD, SERVER, LINES, PRICES)
"""Sources of faults that concern no single game."""

_log = get_logger()

_label = partial(enum_word, Horizon.DESCRIPTOR)
"""Horizon labels, as in the server's metrics."""


class PollMetrics:
    """Counts a poller's events; pass it to `Poller.add_callback`.

    Args:
        registry: registry of the metrics.
        now: clock of the poller.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], datetime] = utc_now) -> None:
        self._now = now
        self._since = now()  # a poller that takes over reports again what the one before has reported and counted
        self._faults = Counter("dejavu_poll_faults", "Faults.", ["source", "kind"], registry=registry)
        self._forecasts = Counter(
            "dejavu_poll_forecasts", "Forecast minutes of games.", ["horizon", "outcome"], registry=registry
        )
        self._reports = Counter(
            "dejavu_poll_reports",
            "Outcomes accepted by the server's track record.",
            ["horizon", "outcome"],
            registry=registry,
        )
        self._latency = Histogram(
            "dejavu_poll_forecast_latency_seconds",
            "Seconds from the play that completed a pattern to its forecast.",
            registry=registry,
            buckets=LATENCY_BUCKETS,
        )
        # Start all counters at 0, so that a first fault shows as an increase.
        for source in (*_SHARED, "game"):
            for kind in FaultKind:
                self._faults.labels(source, kind)
        for horizon in (HALFTIME, FINAL):
            for outcome in ("new", "revision", "missed"):
                self._forecasts.labels(_label(horizon), outcome)
            for outcome in ("new", "revision"):
                self._reports.labels(_label(horizon), outcome)

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Fault():
                self._faults.labels(event.source if event.source in _SHARED else "game", event.kind).inc()
            case Prediction():
                outcome = "revision" if event.forecast.revision else "new"
                self._forecasts.labels(_label(event.forecast.horizon), outcome).inc()
                if event.latency is not None:
                    self._latency.observe(event.latency)
            case ForecastMissed():
                self._forecasts.labels(_label(event.horizon), "missed").inc(len(event.minutes))
            case LeadershipChanged():
                self._since = self._now()
            case OutcomeReported() if event.outcome.recorded_time.ToDatetime(UTC) >= self._since:
                outcome = "revision" if event.outcome.revision else "new"
                self._reports.labels(_label(event.horizon), outcome).inc()
            case _:
                pass


class _Ages(Collector):
    """Collects the age of a poller's data at each scrape, in a thread other than the poller's."""

    def __init__(self, poller: Poller, now: Callable[[], datetime]) -> None:
        self._poller = poller
        self._now = now
        self._start = now()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the ages."""
        now = self._now()
        games = GaugeMetricFamily(
            "dejavu_poll_game_data_age_seconds",
            "Seconds since the feed last updated a live game.",
            labels=["game_id", "home", "away"],
        )
        refused = GaugeMetricFamily(
            "dejavu_poll_refused_plays",
            "Plays of a live game that could not be used at the last read.",
            labels=["game_id", "home", "away"],
        )
        for game in list(self._poller.games.values()):  # a copy, since the poller may add games
            age = game.age(now)
            if age is not None:
                labels = [game.state.game_id, game.state.home, game.state.away]
                games.add_metric(labels, age)
                refused.add_metric(labels, game.refused_plays)
        yield games
        yield refused
        status = self._poller.leadership
        leads = status is None or status.role is LeaderRole.LEADING
        yield GaugeMetricFamily(
            "dejavu_poll_leads", "Whether this poller works; 0: it waits for another one.", value=leads
        )
        read = self._poller.scoreboard_time or self._start
        yield GaugeMetricFamily(
            "dejavu_poll_scoreboard_age_seconds",
            "Seconds since the scoreboard was last read, or since the start if it never was.",
            value=max(0.0, (now - read).total_seconds()),
        )


def register_metrics(poller: Poller, *, now: Callable[[], datetime] = utc_now) -> CollectorRegistry:
    """Start to measure a poller and return the registry with its metrics.

    Args:
        poller: the poller to measure.
        now: clock of the poller.
    """
    registry = CollectorRegistry()
    poller.add_callback(PollMetrics(registry, now))
    registry.register(_Ages(poller, now))
    return registry


@contextmanager
def serve_poll_metrics(registry: CollectorRegistry, listen: Address) -> Iterator[str]:
    """Serve metrics over HTTP while the context is open.

    Args:
        registry: the metrics to serve.
        listen: address to bind; port 0 for a free one.

    Yields:
        URL of the metrics page.

    Raises:
        OSError: if the address can't be bound.
    """
    with serve_wsgi(make_wsgi_app(registry), listen, warn=_log.warning) as address:
        yield f"http://{address}/metrics"
