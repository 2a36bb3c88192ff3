"""Scores one season: the served forecasts of totals, and their references."""

from __future__ import annotations

from typing import Final

import numpy as np

from dejavu_models.totals.model import TotalModel
from dejavu_models.totals.totals import Totals
from dejavu_models.types import MarginSource
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.scoring.forecasts import choose
from dejavu_trainer.evaluation.totals.rivals import line_baseline, pace_baseline, season_mean_baseline
from dejavu_trainer.evaluation.totals.scores import TotalForecasts, TotalScores, lattice_totals
from dejavu_trainer.training.totals import carry_totals, frozen_totals, have_points, total_games

SERVED: Final = ("totals", "frozen", "no_teams")
"""Totals with carried ratings; with ratings frozen before the season; without teams."""

RIVALS: Final = ("pace", "season_mean")
"""Pace × time, and the season's mean; see `rivals`."""

LINE: Final = "line"
"""Totals with the closing total of a betting market as the expected total."""

LINE_RATE: Final = "line_rate"
"""Reference that knows the same line; see `line_baseline`.

It and LINE are scored if the totals have tables for the line, and at least half of the games have a line. Forecasts of
games without one are those without the line: of `totals`, of `pace`."""

_LEAST_SHARE: Final = 0.5
"""Least share of games with a line."""


def score_totals(totals: Totals, earlier: Games, games: Games) -> TotalScores | None:
    """Score forecasts of the totals of games.

    Args:
        totals: fitted on earlier games, with ratings after them.
        earlier: all games before those forecast; the rivals are fitted on them.
        games: games of one season.

    Returns:
        The scores of the games that have total points; None if no game has them.
    """
    known, before = have_points(games), have_points(earlier)
    if not known.any():
        return None
    with_points, past = games.select(known), earlier.select(before)
    expected = {
        MarginSource.KNOWN: carry_totals(totals.ratings, games)[0][known],
        MarginSource.RATED: frozen_totals(totals.ratings, games)[known],
        MarginSource.UNKNOWN: np.full(int(known.sum()), np.nan),
    }
    forecasts = {
        name: lattice_totals(totals.models[source], total_games(with_points, of_source))
        for name, (source, of_source) in zip(SERVED, expected.items(), strict=True)
    }
    of_past, of_games = (total_games(each, np.zeros(len(each))) for each in (past, with_points))
    forecasts["pace"] = pace_baseline(of_past, of_games)
    forecasts["season_mean"] = season_mean_baseline(of_past, of_games)
    lined = np.isfinite(with_points.total_line)
    if MarginSource.LINE in totals.models and lined.mean() >= _LEAST_SHARE:
        of_line = _with_line(totals.models[MarginSource.LINE], past, with_points)
        for name, without in ((LINE, SERVED[0]), (LINE_RATE, RIVALS[0])):
            forecasts[name] = choose(lined, of_line[name], forecasts[without])
    behind = np.full(len(with_points), totals.models[MarginSource.KNOWN].games, dtype=np.int32)
    return TotalScores(with_points.season, behind, of_games.outcomes.astype(np.int16), forecasts)


def _with_line(model: TotalModel, past: Games, games: Games) -> dict[str, TotalForecasts]:
    """Return the forecasts that know the line; of no use for games without one."""
    earlier = past.select(np.isfinite(past.total_line))
    before, now = (total_games(each, each.total_line.astype(np.float64)) for each in (earlier, games))
    return {LINE: lattice_totals(model, now), LINE_RATE: line_baseline(before, now)}
