"""What an evening adds up to: each horizon's forecasts, held against what came."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.poller.watched_game import WatchedGame


@dataclass(frozen=True, slots=True)
class HorizonSummary:
    """One horizon in figures. Forecasts are the newest ones of their minutes.

    Errors and scores are means over the games whose horizon has come, of each game's mean, as in the record; None
    without any. Forecasts of one game come out well or badly together: how much they say is judged by the number of
    games.

    Attributes:
        horizon: `HALFTIME` or `FINAL`.
        games: how many games have a forecast.
        forecasts: how many there are.
        missed: how many minutes went by without theirs.
        settled_games: for how many of the games the horizon has come.
        settled: how many forecasts these have.
        held: for how many of these the interval held.
        nominal: the rate that their intervals promise.
        error, persistence_error: mean absolute error in points, of the forecasts and of repeating the lead.
        brier, leader_brier: mean Brier score of the probability that the home team leads (at the end: wins), of the
            forecasts and of taking the leader to stay ahead for certain.
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
    """An evening in figures.

    Attributes:
        games: how many games it has.
        horizons: the figures of each horizon that is forecast.
        latencies: seconds from the feed to the forecast, ascending.
    """

    games: int
    horizons: tuple[HorizonSummary, ...]
    latencies: tuple[float, ...]

    @property
    def forecasts(self) -> int:
        """How many forecasts there are, of all horizons."""
        return sum(horizon.forecasts for horizon in self.horizons)

    @property
    def missed(self) -> int:
        """How many forecasts were missed, of all horizons."""
        return sum(horizon.missed for horizon in self.horizons)


def summarize(
    games: Iterable[WatchedGame], horizons: Iterable[Horizon.ValueType], latencies: Iterable[float]
) -> Summary:
    """The figures of an evening so far."""
    watched = list(games)
    return Summary(
        games=len(watched),
        horizons=tuple(_summarize(watched, horizon) for horizon in horizons),
        latencies=tuple(sorted(latencies)),
    )


def _summarize(games: Sequence[WatchedGame], horizon: Horizon.ValueType) -> HorizonSummary:
    watched = [game.horizons[horizon] for game in games if horizon in game.horizons]
    outcomes = [each.outcome for each in watched if each.outcome is not None]
    made = list(chain.from_iterable(outcome.forecasts for outcome in outcomes))
    return HorizonSummary(
        horizon=horizon,
        games=sum(bool(each.forecasts) for each in watched),
        forecasts=sum(len(each.forecasts) for each in watched),
        missed=sum(each.missed for each in watched),
        settled_games=len(outcomes),
        settled=len(made),
        covered=sum(outcome.covered for outcome in outcomes),
        nominal=_mean([each.forecast.coverage_probability for each in made]),
        error=_mean([fmean(outcome.errors) for outcome in outcomes]),
        persistence_error=_mean([fmean(outcome.persistence_errors) for outcome in outcomes]),
        brier=_mean([fmean(outcome.brier) for outcome in outcomes]),
        leader_brier=_mean([fmean(outcome.leader_brier) for outcome in outcomes]),
    )


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
