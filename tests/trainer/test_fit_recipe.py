"""The recipe of the model card, on real games: trained on 2015–2020, calibrated on 2021–2022, tested on 2023."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dejavu_models.scores import Estimate, binomial_region, conformal_region, covered
from dejavu_trainer.evaluate import Evaluation, ModelFigures, evaluate
from dejavu_trainer.games import Games, load_games
from dejavu_trainer.pipeline import FitReport, fit

pytestmark = [pytest.mark.real_data, pytest.mark.nightly, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
CALIBRATE = (2021, 2022)


@pytest.fixture(scope="module")
def games(data_dir: Path) -> Games:
    return load_games(data_dir, range(2015, 2024))


@pytest.fixture(scope="module")
def season(games: Games) -> Games:
    return games.of_seasons([2023])


@pytest.fixture(scope="module")
def run(games: Games, tmp_path_factory: pytest.TempPathFactory) -> FitReport:
    out = tmp_path_factory.mktemp("recipe") / "bundle"
    return fit(games, train=range(2015, 2021), calibrate=CALIBRATE, out=out, prototypes=3000)


@pytest.fixture(scope="module")
def evaluation(games: Games, season: Games, run: FitReport) -> Evaluation:
    return evaluate(run.forecaster, season, games.of_seasons(CALIBRATE))


def games_held(run: FitReport, season: Games, alpha: float) -> int:
    """In how many games the interval held what came."""
    points = run.forecaster.predict_arrays(season.patterns).ensemble
    below, above = run.forecaster.scores(18).offsets(alpha)
    return int(covered(points + below, points + above, season.halftime).sum())


def test_the_error_is_at_most_a_little_above_that_of_persistence(season: Games, run: FitReport) -> None:
    predictions = run.forecaster.predict_arrays(season.patterns)
    mae = np.abs(season.halftime - predictions.ensemble).mean()
    assert mae <= 1.005 * np.abs(season.halftime - predictions.persistence).mean()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
def test_coverage_on_the_next_season_is_what_it_states_up_to_chance(
    season: Games, run: FitReport, alpha: float
) -> None:
    """Chance has a part in both: in the games to come and, as the guarantee is one on average over it, in the
    calibration.
    """
    first, last = conformal_region(len(season), run.forecaster.info.calibration_games, alpha)
    assert first <= games_held(run, season, alpha) <= last


@pytest.mark.parametrize(
    "alpha",
    [
        0.05,
        pytest.param(
            0.2,
            marks=pytest.mark.xfail(
                strict=True,
                raises=AssertionError,
                reason="held in 1,012 of 1,314 games, 1,013 would be within: docs/decisions/0008-a-missed-bound.md",
            ),
        ),
        0.5,
    ],
)
def test_coverage_is_what_it_states_even_with_the_calibration_taken_for_granted(
    season: Games, run: FitReport, alpha: float
) -> None:
    first, last = binomial_region(len(season), 1 - alpha)
    assert first <= games_held(run, season, alpha) <= last


Figure = Callable[[ModelFigures], list[float]]


def estimate(figure: Estimate | None) -> list[float]:
    return [figure.value, figure.lower, figure.upper] if figure else []


def coverage(place: int) -> Figure:
    return lambda model: [100 * model.intervals[place].coverage.value]


def widths(model: ModelFigures) -> list[float]:
    return [each.width.value for each in model.intervals]


def winklers(model: ModelFigures) -> list[float]:
    return [each.winkler.value for each in model.intervals]


MODEL_CARD: dict[str, Figure] = {
    "MAE, points": lambda model: estimate(model.mae),
    "less persistence's": lambda model: estimate(model.mae_difference),
    "RMSE, points": lambda model: estimate(model.rmse),
    "CRPS, points": lambda model: estimate(model.crps),
    "Brier, home leads": lambda model: estimate(model.brier),
    "held at 95 %": coverage(0),
    "held at 80 %": coverage(1),
    "held at 50 %": coverage(2),
    "mean width at 95/80/50 %": widths,
    "Winkler at 95/80/50 %": winklers,
}
README: dict[str, Figure] = {
    "mean absolute error, points": lambda model: estimate(model.mae),
    "the same, over persistence's": lambda model: estimate(model.mae_ratio),
    "CRPS, points": lambda model: estimate(model.crps),
    "Brier score, home team leads": lambda model: estimate(model.brier),
    "held at 95 %": coverage(0),
    "held at 80 %": coverage(1),
    "held at 50 %": coverage(2),
    "Winkler score at 95 / 80 / 50 %, points": winklers,
}


def table(document: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without it and the line under it."""
    lines = (ROOT / document).read_text().partition(heading + "\n")[2].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.mark.parametrize(
    ("document", "heading", "models", "rows"),
    [
        (
            "docs/model-card.md",
            "| on 2023 | ensemble | Dejavu | LSTM | persistence |",
            ("ensemble", "dejavu", "lstm", "persistence"),
            MODEL_CARD,
        ),
        ("README.md", "| | Dejavu's ensemble | persistence |", ("ensemble", "persistence"), README),
    ],
)
def test_the_documented_figures_are_those_of_a_run(
    evaluation: Evaluation,
    document: str,
    heading: str,
    models: tuple[str, ...],
    rows: dict[str, Figure],
) -> None:
    cells = table(document, heading)
    assert [label for label, *_ in cells] == list(rows)
    for label, *printed in cells:
        for name, cell in zip(models, printed, strict=True):
            numbers = re.findall(r"[-+]?\d+(?:\.\d+)?", cell.replace("−", "-"))
            found = rows[label](evaluation.overall.models[name])
            # A figure may stand without its bootstrap interval.
            assert len(numbers) in {len(found), min(len(found), 1)}, f"{label}, {name}"
            for number, value in zip(numbers, found, strict=False):
                decimals = len(number.partition(".")[2])
                assert float(number) == round(value, decimals), f"{label}, {name}: {value}"


def test_the_ratio_that_the_model_card_gives_is_that_of_a_run(evaluation: Evaluation) -> None:
    ratio, low, high = estimate(evaluation.overall.models["ensemble"].mae_ratio)
    assert f"MAE is {ratio:.4f} × persistence's [{low:.4f}, {high:.4f}]" in (ROOT / "docs/model-card.md").read_text()


def test_the_models_do_not_depend_on_games_after_training(games: Games, run: FitReport, tmp_path: Path) -> None:
    """With other calibration games the same models are fitted."""
    other = fit(games, train=range(2015, 2021), calibrate=[2022], out=tmp_path / "other", prototypes=3000)
    assert other.settings == run.settings
    for name in ("lstm.onnx", "dejavu.hnsw", "entries.npz"):
        assert (other.bundle / name).read_bytes() == (run.bundle / name).read_bytes()
