"""Writes the scores of release 0.1.0's recipe, season by season, for `bench.lifecycle.gate --scores`.

    git archive b8ead3ce | tar x -C OLD        # the code of the release; it has no tag in every clone
    PYTHONPATH=OLD/trainer:OLD/model_store:OLD/client python bench/lifecycle/release_0_1_0.py DIR 2019-2023 FILE

Run it as a file and not as a module: it imports the code of that release. As in its model card, each season is forecast
by models trained on all seasons up to three before it and calibrated on the two between; every game is an entry.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

FIRST_SEASON: Final = 2015


def scores(data: Path, season: int) -> dict[str, np.ndarray]:
    """Returns game_id, season, crps, brier and covered of the games of a season."""
    evaluate, games_, metrics, pipeline = (
        importlib.import_module(name)
        for name in (
            "dejavu_trainer.evaluate",
            "dejavu_trainer.games",
            "dejavu_models.scores",
            "dejavu_trainer.pipeline",
        )
    )
    games: Any = games_.load_games(data, list(range(FIRST_SEASON, season + 1)))
    train, calibrate = list(range(FIRST_SEASON, season - 2)), [season - 2, season - 1]
    with tempfile.TemporaryDirectory() as folder:
        fitted = pipeline.fit(games, train=train, calibrate=calibrate, out=Path(folder) / "bundle", seed=0)
        tested, calibration = games.of_seasons([season]), fitted.forecaster.scores(evaluate.SLOTS)
        point = fitted.forecaster.predict_arrays(tested.patterns).ensemble
    below, above = calibration.offsets(0.05)
    return {
        "game_id": np.asarray(tested.game_id),
        "season": np.full(len(tested), season),
        "crps": metrics.crps(point, calibration.residuals, tested.halftime),
        "brier": metrics.brier(calibration.home_lead_probability(point), tested.halftime > 0),
        "covered": metrics.covered(point + below, point + above, tested.halftime),
    }


def main(data: str, seasons: str, out: str) -> None:
    """Writes the scores of some seasons."""
    first, last = map(int, seasons.split("-"))
    found = [scores(Path(data), season) for season in range(first, last + 1)]
    arrays: dict[str, Any] = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
