"""Walk-forward of the forecasts of totals: for each season, everything is fitted on all seasons before it.

It needs none of the models of margins. The scores of each season are a file next to the folds of margins, written
atomically, so that a killed walk-forward can resume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dejavu_common.files import write_atomic
from dejavu_feed.errors import DataError
from dejavu_models.arrays import from_npz, to_npz
from dejavu_trainer.data.games import Games
from dejavu_trainer.evaluation.totals.fold import score_totals
from dejavu_trainer.evaluation.totals.scores import TotalScores
from dejavu_trainer.execution import Advance, ignore
from dejavu_trainer.training.totals import fit_totals

FORM: Final = 2
"""Format version of the files; incremented with every change of the forecasts, the scores or their storage."""


def backtest_totals(
    games: Games,
    seasons: Sequence[int],
    rating_steps: int,
    out: Path | None = None,
    *,
    fresh: bool = False,
    advance: Advance = ignore,
) -> list[TotalScores]:
    """Score the forecasts of totals of several seasons, and store the scores of each in a folder.

    Args:
        games: games of all seasons up to the last test season.
        seasons: test seasons, ascending.
        rating_steps: likelihood evaluations in the search for the settings of the ratings.
        out: existing folder for totals-{season}-{key}.npz; None: nothing is stored.
        fresh: whether to recompute every season.
        advance: called with 1 after each season.

    Returns:
        The scores of the seasons that have total points, and enough earlier games with total points.

    Raises:
        DataError: if stored scores can't be read.
    """
    result = []
    for season in seasons:
        scores = _stored_or_scored(games.select(games.season <= season), season, rating_steps, out, fresh=fresh)
        result += [] if scores is None else [scores]
        advance(1)
    return result


def _stored_or_scored(
    games: Games, season: int, rating_steps: int, out: Path | None, *, fresh: bool
) -> TotalScores | None:
    path = None if out is None else out / f"totals-{season}-{_key(games, season, rating_steps)}.npz"
    if path is not None and path.exists() and not fresh:
        return _read(path)
    earlier = games.select(games.season < season)
    totals = fit_totals(earlier, rating_steps, ignore)
    scores = None if totals is None else score_totals(totals, earlier, games.select(games.season == season))
    if path is not None and scores is not None:
        write_atomic(path, to_npz(**scores.to_arrays()))
    return scores


def _key(games: Games, season: int, rating_steps: int) -> str:
    content = json.dumps([FORM, season, rating_steps, games.fingerprint])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _read(path: Path) -> TotalScores:
    try:
        return TotalScores.from_arrays(from_npz(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: is not a valid file of scores: {error}; use --fresh to recompute it") from error
