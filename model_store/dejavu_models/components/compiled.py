"""The ensemble in the compiled models: the same numbers as those of `GameOpinions`, in one call for any games.

Most forecasts are of one game, and NumPy takes about a microsecond per operation, however short the arrays are. The
compiled models search and run the LSTM once for a game, if they have a weight, for both horizons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import accumulate, chain, islice
from operator import itemgetter
from typing import Any, Final

import numpy as np

from dejavu_feed.live_inputs import COLUMNS, NO_LIVE_INPUTS, LiveInputs, numbers
from dejavu_models.arrays import Floats, Integers
from dejavu_models.components.dejavu import Dejavu, PastGames
from dejavu_models.components.ensemble import POOLED, Ensemble
from dejavu_models.components.features import FEATURES, LIVE_COLUMNS
from dejavu_models.native import native
from dejavu_models.types import (
    HORIZONS,
    MAX_SLOTS,
    MOST_SIMILAR,
    SAME_LEAD_POINTS,
    Horizon,
    SimilarGame,
    SimilarSummary,
)

SEARCHED: Final = 50
"""Number of nearest groups among whose games the nearest are looked for."""

_MINUTES: Final = MAX_SLOTS + 1

_read: Final[Callable[[Sequence[float]], tuple[float, ...]]] = itemgetter(
    *(list(COLUMNS).index(name) for name in LIVE_COLUMNS)
)
"""Return LIVE_COLUMNS of the numbers of live inputs."""

UNKNOWN: Final = (math.nan,) * len(LIVE_COLUMNS)
"""The live inputs of a game that has none."""


def _databases(dejavu: Dejavu) -> Iterator[Any]:
    games = dejavu.games
    past = native.PastGames(
        differentials=games.differentials,
        totals=games.totals,
        finals=games.final,
        margins=games.margins,
        codes=games.codes,
    )
    for minute, search in enumerate(dejavu.searches, start=1):
        yield native.Database(
            search,
            minute=minute,
            starts=dejavu.starts,
            members=dejavu.members[minute - 1],
            games=past,
            nearest=dejavu.groups_a_forecast,
        )


class CompiledModels:
    """The ensemble of a bundle, compiled; thread-safe.

    Args:
        models: the ensemble.
    """

    def __init__(self, models: Ensemble) -> None:
        linear, dejavu, lstm = models.linear, models.dejavu, models.lstm
        weights = models.weights.values / models.weights.values.sum(axis=-1, keepdims=True)
        zeros = np.zeros(_MINUTES)
        self._models = native.Ensemble(
            networks=[] if lstm is None else lstm.networks,
            databases=[None] * _MINUTES if dejavu is None else [None, *_databases(dejavu)],
            coefficients=linear.coefficients.transpose(1, 2, 0, 3),
            corrections=linear.corrections,
            spreads=linear.spreads,
            margin_slopes=zeros if dejavu is None else dejavu.references.margin_slopes,
            mean_totals=zeros if dejavu is None else dejavu.references.mean_totals,
            network_totals=zeros if lstm is None else lstm.mean_totals,
            features=np.zeros((_MINUTES, FEATURES)) if dejavu is None else dejavu.weights,
            weights=np.ascontiguousarray(weights[..., : len(POOLED)]),  # of others, see `forecaster.predicted`
        )

    def predict(
        self,
        differentials: Sequence[float],
        margin: float | None,
        *,
        line: bool = False,
        live: LiveInputs = NO_LIVE_INPUTS,
    ) -> CompiledGame:
        """Predict one game.

        Args:
            differentials: the pattern, finite, in points.
            margin: expected final differential before the game, in points; None if unknown.
            line: whether the margin is the line of a market.
            live: the live inputs at the end of the pattern.

        Raises:
            KeyError: if the pattern is empty or too long.
        """
        inputs, expected = _inputs(live, len(differentials)), math.nan if margin is None else margin
        return CompiledGame(self._models, self._models.predict(differentials, expected, line, inputs), inputs)

    def predict_many(
        self, games: Sequence[tuple[Sequence[float], float | None, bool, LiveInputs]]
    ) -> list[CompiledGame]:
        """Predict games, each by the arguments of `predict`; patterns may end at different minutes."""
        offsets = [0, *accumulate(len(differentials) for differentials, *_ in games)]
        patterns = np.fromiter(chain.from_iterable(differentials for differentials, *_ in games), float, offsets[-1])
        margins = [math.nan if margin is None else margin for _, margin, *_ in games]
        lines = np.array([line for *_, line, _ in games], dtype=bool)
        inputs = [_inputs(live, len(differentials)) for differentials, *_, live in games]
        found = self._models.predict_many(patterns, np.array(offsets), np.array(margins), lines, np.array(inputs))
        return [CompiledGame(self._models, *each) for each in zip(found, inputs, strict=True)]

    def columns(
        self, patterns: Floats, offsets: Integers, margins: Floats, horizon: int, *, line: bool = False
    ) -> tuple[Floats, Any]:
        """Predict games without live inputs, whose patterns follow one another.

        Args:
            patterns: (slots,), differentials of all games, finite, in points.
            offsets: (n + 1,), the first slot of each game, then the total number of slots.
            margins: (n,), expected final differentials before the games, in points; NaN if unknown.
            horizon: index of the horizon.
            line: whether the margins are lines of a market.

        Returns:
            Predictions of the linear models, (n,), in points, and the opinions of the other components for
            `margin_tables`; meaningless for a horizon that has passed.

        Raises:
            KeyError: if a pattern is empty or too long.
        """
        return self._models.columns(patterns, offsets, margins, line, horizon)


class CompiledGame:
    """Predictions for one game.

    Args:
        models: the `Ensemble` that made them.
        prediction: a `Prediction` of the extension.
        inputs: the live inputs that components and tables read.

    Attributes:
        minute: number of minutes of the pattern.
        inputs: LIVE_COLUMNS; UNKNOWN if the game has none, NaN for those that are not known.
    """

    __slots__ = ("_models", "_prediction", "inputs", "minute")

    def __init__(self, models: native.Ensemble, prediction: native.Prediction, inputs: tuple[float, ...]) -> None:
        self._models, self._prediction, self.inputs = models, prediction, inputs
        self.minute = prediction.minute

    @property
    def pattern(self) -> Sequence[float]:
        """The differentials after each minute, in points."""
        return self._prediction.pattern

    @property
    def lead(self) -> float:
        """The last differential, in points."""
        return self.pattern[-1]

    def point(self, horizon: int) -> float:
        """Return the prediction of the linear models at a horizon, by its index, in points."""
        return self._prediction.point(horizon)

    def path(self, horizon: int) -> list[float]:
        """Return the predictions of the linear models before tip-off and after each minute, (minutes + 1,)."""
        return self._models.path(self._prediction, horizon)

    def opinion(self, horizon: int, *, every: bool = False) -> Any:
        """Return what the components with a weight, or all, say of a horizon; None if there are none.

        It is an `Opinion` of the extension: the weights of linear, dejavu and lstm; mean and log_scale of the LSTM, and
        the mean of the similar games, in scales; below, the shares of similar games below the edges of the bins.
        """
        return self._models.opinion(self._prediction, horizon, every)

    def similar(
        self, horizon: int, expected: float, games: PastGames, before: date | None = None
    ) -> tuple[tuple[SimilarGame, ...], SimilarSummary]:
        """Return the nearest of the games that its opinion is made of, and what happened in those with its lead.

        Args:
            horizon: index of the horizon, of which an opinion was asked.
            expected: the prediction of Dejavu, in points.
            games: the past games of the ensemble.
            before: date to which the nearest are limited, as they must be earlier; None for any.
        """
        minute, at = self.minute, HORIZONS[horizon]
        count, same_lead, home_led, away_led, outcomes, nearest = self._models.similar(
            self._prediction, horizon, SEARCHED, MOST_SIMILAR if before is None else len(games), SAME_LEAD_POINTS
        )
        lead = self.lead
        turned = 0 if lead == 0 else away_led if lead > 0 else home_led
        correction = expected - outcomes / same_lead if same_lead else 0.0
        summary = SimilarSummary(minute, count, same_lead, home_led, turned, correction)
        earlier = (
            (distance, image) for distance, image in nearest if before is None or games.date[image // 2].item() < before
        )
        similar = (_similar_game(games, image, distance, minute, at) for distance, image in earlier)
        return tuple(islice(similar, MOST_SIMILAR)), summary


def _similar_game(games: PastGames, image: int, distance: float, minute: int, horizon: Horizon) -> SimilarGame:
    game, mirrored = divmod(image, 2)
    sign = -1 if mirrored else 1
    outcomes = games.final if horizon is Horizon.FINAL else games.differentials[:, horizon.minutes - 1]
    return SimilarGame(
        home_team=str(games.home[game]),
        away_team=str(games.away[game]),
        date=games.date[game].item(),
        mirrored=bool(mirrored),
        distance=distance,
        differential=sign * int(games.differentials[game, minute - 1]),
        differential_at_horizon=sign * int(outcomes[game]),
        points=games.points(game, minute),
        final_points=games.points(game, None),
    )


def _inputs(live: LiveInputs, minute: int) -> tuple[float, ...]:
    return UNKNOWN if live is NO_LIVE_INPUTS else _read(numbers(live, minute))
