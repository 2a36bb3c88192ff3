"""Combines the models of a bundle into forecasts, one game or many in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dejavu_models.arrays import Floats
from dejavu_models.conformal import ConformalScores
from dejavu_models.dejavu import Entries
from dejavu_models.errors import AlphaTooSmall, UnsupportedHorizon, UnsupportedMargin, UnsupportedSlots
from dejavu_models.manifest import Manifest
from dejavu_models.stage import Stage, StagePredictions
from dejavu_models.types import (
    Explanation,
    Forecast,
    ForecastQuery,
    Horizon,
    HorizonSupport,
    Metric,
    ModelInfo,
    SimilarGame,
)

SIMILAR_GAMES = 5
"""How many of the nearest past games an explanation shows."""


class Forecaster:
    """Answers queries from one bundle; safe to call from several threads.

    Args:
        manifest: what the bundle says of itself.
        stages: its models, in the order of the manifest's stages.
    """

    def __init__(self, manifest: Manifest, stages: Sequence[Stage]) -> None:
        self.manifest = manifest
        self._stages = {(stage.models.horizon, stage.models.slots): stage for stage in stages}
        self._info = _info(manifest, stages)

    @property
    def info(self) -> ModelInfo:
        """What the model is and can do."""
        return self._info

    @property
    def version(self) -> str:
        """Version of the bundle."""
        return self.manifest.version

    def check(self, query: ForecastQuery) -> None:
        """Says whether this model can answer a query.

        Raises:
            UnsupportedHorizon, UnsupportedSlots, UnsupportedMargin, AlphaTooSmall: if it can't.
        """
        stage = self._stage(query.horizon, query.pattern.minutes)
        if query.pregame_margin is not None:
            raise UnsupportedMargin(f"{query.pregame_margin:g}", "none: this model holds no ratings to weigh it with")
        if query.alpha < stage.scores.smallest_alpha:
            smallest = stage.scores.smallest_alpha
            raise AlphaTooSmall(f"{query.alpha}", f"at least {smallest}, from {stage.scores.games} calibration games")

    def _stage(self, horizon: Horizon, slots: int) -> Stage:
        stage = self._stages.get((horizon, slots))
        if stage is not None:
            return stage
        known = sorted(known for at, known in self._stages if at is horizon)
        if known:
            raise UnsupportedSlots(f"{slots} slots", " or ".join(map(str, known)))
        horizons = sorted({at.value for at, _ in self._stages})
        raise UnsupportedHorizon(horizon.value, f"one that this model forecasts: {', '.join(horizons)}")

    def forecast(self, query: ForecastQuery) -> Forecast:
        """Checks and answers one query.

        Raises:
            UnsupportedHorizon, UnsupportedSlots, UnsupportedMargin, AlphaTooSmall: if it can't be answered.
        """
        self.check(query)
        return self.forecast_many([query])[0]

    def forecast_many(self, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        """Answers queries that `check` accepted, in order, in one pass over the models of each stage.

        An answer differs from the one that the query would get alone by less than 1e-4 points, from the order in which
        products are summed in the LSTM.
        """
        places: dict[tuple[Horizon, int], list[int]] = {}
        for place, query in enumerate(queries):
            places.setdefault((query.horizon, query.pattern.minutes), []).append(place)
        answers: dict[int, Forecast] = {}
        for key, members in places.items():
            forecasts = self._forecast_stage(self._stages[key], [queries[place] for place in members])
            answers.update(zip(members, forecasts, strict=True))
        return [answers[place] for place in range(len(queries))]

    def _forecast_stage(self, stage: Stage, queries: Sequence[ForecastQuery]) -> list[Forecast]:
        predictions = stage.models.predict(np.array([query.pattern.differentials for query in queries], dtype=float))
        points = predictions.ensemble.tolist()
        leads = stage.scores.home_lead_probability(predictions.ensemble).tolist()
        return [
            Forecast(
                horizon=query.horizon,
                elapsed_minutes=query.pattern.minutes,
                alpha=query.alpha,
                point=points[row],
                interval=stage.scores.interval(points[row], query.alpha),
                home_lead_probability=leads[row],
                model_version=self.version,
                explanation=_explanation(stage, predictions, row) if query.explain else None,
            )
            for row, query in enumerate(queries)
        ]

    def predict_arrays(self, patterns: Floats, horizon: Horizon = Horizon.HALFTIME) -> StagePredictions:
        """Each model's forecasts for many games, for evaluation.

        Args:
            patterns: (n, slots), finite, in points.
            horizon: what to forecast.

        Raises:
            UnsupportedHorizon, UnsupportedSlots: if no stage knows them.
        """
        return self._stage(horizon, patterns.shape[1]).models.predict(patterns)

    def scores(self, slots: int, horizon: Horizon = Horizon.HALFTIME) -> ConformalScores:
        """The residuals that intervals come from.

        Raises:
            UnsupportedHorizon, UnsupportedSlots: if no stage knows them.
        """
        return self._stage(horizon, slots).scores

    def entries(self, slots: int, horizon: Horizon = Horizon.HALFTIME) -> Entries:
        """What the Dejavu database holds.

        Raises:
            UnsupportedHorizon, UnsupportedSlots: if no stage knows them.
        """
        return self._stage(horizon, slots).models.dejavu.entries


def _explanation(stage: Stage, predictions: StagePredictions, row: int) -> Explanation:
    entries, nearest = stage.models.dejavu.entries, predictions.neighbourhoods
    last = float(predictions.persistence[row])
    shown = nearest.entries[row, :SIMILAR_GAMES]
    # Column by column: to take single values out of arrays costs more than the rest of the explanation.
    columns = (  # in the order of SimilarGame's fields
        entries.home[shown].tolist(),
        entries.away[shown].tolist(),
        entries.date[shown].tolist(),
        nearest.distances[row, :SIMILAR_GAMES].tolist(),
        (last + entries.increment[shown]).tolist(),
        entries.games[shown].tolist(),
    )
    return Explanation(
        dejavu_prediction=float(predictions.dejavu[row]),
        lstm_prediction=float(predictions.lstm[row]),
        ensemble_forecast=float(predictions.ensemble[row]),
        baseline_prediction=last,
        dejavu_weight=stage.models.dejavu_weight,
        lstm_weight=stage.models.lstm_weight,
        similar_games=tuple(SimilarGame(*values) for values in zip(*columns, strict=True)),
    )


def _info(manifest: Manifest, stages: Sequence[Stage]) -> ModelInfo:
    slots: dict[Horizon, list[int]] = {}
    for stage in stages:
        slots.setdefault(stage.models.horizon, []).append(stage.models.slots)
    return ModelInfo(
        version=manifest.version,
        horizons=tuple(HorizonSupport(horizon, min(known), max(known)) for horizon, known in slots.items()),
        smallest_alpha=max(stage.scores.smallest_alpha for stage in stages),
        train_seasons=manifest.train.seasons,
        calibration_seasons=manifest.calibrate.seasons,
        train_games=manifest.train.games,
        calibration_games=manifest.calibrate.games,
        database_entries=sum(record.dejavu.entries for record in manifest.stages),
        created_time=manifest.created_time,
        metrics=tuple(Metric(each.name, each.value, each.lower, each.upper) for each in manifest.metrics),
    )
