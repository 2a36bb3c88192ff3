"""Explanation of a forecast: its components, what moved it, and the similar games that it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from dejavu_models.components.compiled import CompiledGame
from dejavu_models.components.ensemble import Ensemble
from dejavu_models.components.linear import MARGIN_SLOPE
from dejavu_models.forecast_query import ForecastQuery
from dejavu_models.types import (
    HORIZONS,
    LINEAR,
    Attribution,
    ComponentPrediction,
    Contribution,
    ExpectedMarginTerms,
    Explanation,
    MarginSource,
    SimilarGame,
    SimilarSummary,
)
from dejavu_models.uncertainty.lattice.calibration import LatticeGame


class ForecastPart(NamedTuple):
    """A distribution that a forecast is mixed of.

    Attributes:
        distribution: the distribution.
        game: the game after the minute that it is of.
        shift: shift of the linear models' prediction by live inputs, in points.
        others: predictions of the components that are not compiled.
        share: its share of the forecast; those of all parts sum to 1.
        tabulated: whether it is by the tables of moments instead of those of the minute.
    """

    distribution: LatticeGame
    game: CompiledGame
    shift: float = 0.0
    others: tuple[ComponentPrediction, ...] = ()
    share: float = 1.0
    tabulated: bool = False


def explanation(
    models: Ensemble,
    query: ForecastQuery,
    terms: ExpectedMarginTerms | None,
    parts: Sequence[ForecastPart],
    own: ForecastPart,
) -> Explanation:
    """Return the explanation of a forecast.

    Args:
        models: the ensemble.
        query: the query; similar games are earlier than its date, and there are none of an overtime.
        terms: terms of the expected margin; None unless it is from ratings.
        parts: what the forecast is mixed of.
        own: the part by the tables of the minute that the game is in, whether or not it is one of the parts.
    """
    horizon = HORIZONS.index(query.horizon)
    components = _components(models, horizon, parts, own)
    [linear], others = components[:1], components[1:]
    path = own.game.path(horizon)
    path[-1] = linear.prediction
    changes = tuple(after - before for before, after in pairwise(path))
    moved = [Contribution(each.name, each.weight * (each.prediction - linear.prediction)) for each in others]
    shift = sum(each.share * each.shift for each in parts)
    similar: tuple[tuple[SimilarGame, ...], SimilarSummary | None] = ((), None)
    if models.dejavu is not None and not (query.moment is not None and query.moment.is_overtime):
        [expected] = (each.prediction for each in others if each.name == "dejavu")
        before = None if query.game_date is None or query.game_date > models.dejavu.newest else query.game_date
        similar = own.game.similar(horizon, expected, models.dejavu.games, before)
    contributions = (
        *_before_tipoff(models, query, terms, path[0]),
        Contribution("minutes", sum(changes) - shift),
        Contribution("live", shift),
        *moved,
    )
    return Explanation(
        components=components,
        baseline_prediction=own.game.lead,
        similar_games=similar[0],
        calibration_games=min(each.distribution.calibration_games for each in parts),
        attribution=Attribution(path[0], changes, sum(each.points for each in moved)),
        similar_summary=similar[1],
        contributions=tuple(
            sorted((each for each in contributions if each.points), key=lambda each: abs(each.points), reverse=True)
        ),
    )


def _components(
    models: Ensemble, horizon: int, parts: Sequence[ForecastPart], own: ForecastPart
) -> tuple[ComponentPrediction, ...]:
    """Return the predictions of the components and their weights, the linear models first.

    A component's prediction is its weighted mean over the parts. In the tables of moments only the linear models have a
    weight, with the forecast of these tables as their prediction; the others differ from it as in the minute.
    """
    names, weights, predictions = models.weights.names, [], []
    for part in parts:
        opinion, of_minute = part.game.opinion(horizon, every=True), own if part.tabulated else part
        unit, center = of_minute.distribution.unit, of_minute.distribution.center
        added = part.distribution.point - center if part.tabulated else 0.0
        others = of_minute.others
        predictions.append(
            [center + added]
            + [center + added + unit * mean for mean in (opinion.similar_mean, opinion.mean)]
            + [added + each.prediction for each in others]
        )
        of_part = [opinion.linear, opinion.dejavu, opinion.lstm, *(each.weight for each in others)]
        weights.append([float(name == LINEAR) for name in names] if part.tabulated else of_part)
    result = []
    for column, name in enumerate(names):
        if name != LINEAR and name not in models.components:
            continue
        of_parts = [part.share * weight[column] for part, weight in zip(parts, weights, strict=True)]
        total = sum(of_parts)
        means = of_parts if total else [part.share for part in parts]
        prediction = sum(one * each[column] for one, each in zip(means, predictions, strict=True)) / sum(means)
        result.append(ComponentPrediction(name, prediction, total))
    return tuple(result)


def _before_tipoff(
    models: Ensemble, query: ForecastQuery, terms: ExpectedMarginTerms | None, forecast: float
) -> tuple[Contribution, ...]:
    """Return the contributions to the forecast before tip-off, in points; what belongs to no term is of the ratings.

    Without an expected margin, it is the home advantage alone.
    """
    if query.pregame_margin is not None:
        return (Contribution("line", forecast),)
    if terms is None:
        return (Contribution("home", forecast),)
    slope = float(models.linear.coefficients[HORIZONS.index(query.horizon), 0, MarginSource.KNOWN, MARGIN_SLOPE])
    schedule, players = slope * terms.schedule, slope * (terms.usual_players + terms.missing_players)
    return (
        Contribution("ratings", forecast - schedule - players),
        Contribution("schedule", schedule),
        Contribution("players", players),
    )
