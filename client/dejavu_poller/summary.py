"""Summary of an evening: forecasts of each horizon compared with the outcomes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_poller.watched_game import WatchedGame


@dataclass(frozen=True, slots=True)
class HorizonSummary:
    """Statistics of one horizon. Only the newest forecast of each minute counts.

    Errors and scores are computed per game and then averaged over the settled games, as in the track record; None
    without any. Forecasts of one game succeed or fail together, so the number of games determines how reliable the
    means are.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        games: number of games with a forecast.
        forecasts: number of forecasts.
        missed: number of minutes that passed without a forecast.
        settled_games: number of these games whose outcome is known.
        settled: number of forecasts of the settled games.
        covered: number of settled forecasts whose interval contains the outcome.
        nominal: nominal coverage of their intervals.
        error, persistence_error: mean absolute error in points, of the forecasts and of persistence.
        brier, leader_brier: mean Brier score of the probability that the home team leads (at the final: wins), of the
            forecasts and of assuming that the current leader stays ahead for certain.
    """

    horizon: Horizon.ValueType
    games: int
    forecasts: int
    missed: int
    settled_games: int
    settled: int
    covered: int
    nominal: float | None
    error: float | None
    persistence_error: float | None
    brier: float | None
    leader_brier: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Statistics of an evening.

    Attributes:
        games: number of games.
        horizons: statistics of each forecast horizon.
        latencies: seconds from the feed to the forecast, ascending.
    """

    games: int
    horizons: tuple[HorizonSummary, ...]
    latencies: tuple[float, ...]

    @property
    def forecasts(self) -> int:
        """Number of forecasts of all horizons."""
        return sum(horizon.forecasts for horizon in self.horizons)

    @property
    def missed(self) -> int:
        """Number of missed forecasts of all horizons."""
        return sum(horizon.missed for horizon in self.horizons)


def summarize(games: Iterable[WatchedGame], horizons: Iterable[Horizon.ValueType]) -> Summary:
    """Compute the statistics of an evening so far."""
    watched = list(games)
    return Summary(
        games=len(watched),
        horizons=tuple(_summarize(watched, horizon) for horizon in horizons),
        latencies=tuple(sorted(chain.from_iterable(game.latencies for game in watched))),
    )


def _summarize(games: Sequence[WatchedGame], horizon: Horizon.ValueType) -> HorizonSummary:
    watched = [game.horizons[horizon] for game in games if horizon in game.horizons]
    outcomes = [each.outcome for each in watched if each.outcome is not None]
    settled = list(chain.from_iterable(outcome.forecasts for outcome in outcomes))
    return HorizonSummary(
        horizon=horizon,
        games=sum(bool(each.forecasts) for each in watched),
        forecasts=sum(len(each.forecasts) for each in watched),
        missed=sum(each.missed for each in watched),
        settled_games=len(outcomes),
        settled=len(settled),
        covered=sum(outcome.covered for outcome in outcomes),
        nominal=_mean([each.forecast.coverage_probability for each in settled]),
        error=_mean([outcome.error for outcome in outcomes]),
        persistence_error=_mean([outcome.persistence_error for outcome in outcomes]),
        brier=_mean([outcome.brier for outcome in outcomes]),
        leader_brier=_mean([outcome.leader_brier for outcome in outcomes]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
