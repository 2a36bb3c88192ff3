from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from tests.support.builders.folds import RUN, walk_fold

from dejavu_common.rich_console import Console
from dejavu_feed.errors import DataError
from dejavu_models.live_ratings import KNOWN_GAMES
from dejavu_models.types import CASES
from dejavu_models.uncertainty.adaptive import radius_of_alpha
from dejavu_models.uncertainty.season_scale import BOUNDS
from dejavu_trainer.evaluation.adaptive_study import COLUMNS, QuantileGrid, replay_fold
from dejavu_trainer.evaluation.scoring.fold_scores import STATIC, FoldScores
from dejavu_trainer.evaluation.scoring.forecasts import ALPHAS
from dejavu_trainer.reports.backtest import method_line
from dejavu_trainer.reports.render import markdown, print_report
from dejavu_trainer.reports.studies import adaptive_report


@pytest.fixture(scope="module")
def narrow() -> FoldScores:
    """A season whose intervals have half their width."""
    return walk_fold(games=500, scale=0.5)


def test_what_is_followed_are_the_middles_of_the_stages() -> None:
    assert [CASES[column] for column in COLUMNS] == [(0, 6), (0, 18), (1, 6), (1, 18), (1, 30), (1, 42)]


def test_places_and_scores_are_each_others_inverse_and_exact_at_the_ends_that_are_known() -> None:
    reach = np.array([radius_of_alpha(alpha) for alpha in ALPHAS])
    ruler = QuantileGrid(np.tile(3.0 - 10 * reach, (50, 1)), np.tile(3.0 + 10 * reach, (50, 1)))
    wanted = np.linspace(-4.0, 4.0, 50)
    assert ruler.values_at(wanted) == pytest.approx(3.0 + 10 * wanted)
    assert ruler.scores_of(3.0 + 10 * wanted) == pytest.approx(wanted)
    lopsided = QuantileGrid(np.tile([-30.0, -8.0, -2.0], (50, 1)), np.tile([25.0, 12.0, 6.0], (50, 1)))
    assert lopsided.scores_of(lopsided.values_at(wanted)) == pytest.approx(wanted)
    assert lopsided.values_at(np.full(50, reach[1]))[0] == pytest.approx(12.0)


def test_a_fold_without_intervals_is_refused() -> None:
    with pytest.raises(DataError, match="too few games"):
        QuantileGrid(np.full((2, 3), np.nan), np.ones((2, 3)))


def test_static_figures_are_those_of_the_fold(narrow: FoldScores) -> None:
    lived = replay_fold(narrow, "frozen")
    frozen = narrow.forecasts[STATIC["frozen"]]
    assert frozen.lower is not None
    assert frozen.upper is not None
    outcomes = narrow.outcomes[:, [CASES[column][0] for column in COLUMNS]][..., None]
    lower, upper = frozen.lower[:, list(COLUMNS)], frozen.upper[:, list(COLUMNS)]
    assert lived.width["static"] == pytest.approx(upper - lower, abs=1e-4)
    held = (lower <= outcomes) & (outcomes <= upper)
    assert (lived.covered["static"] == held).mean() > 0.999


def test_intervals_that_are_too_narrow_widen_up_to_the_bound(narrow: FoldScores) -> None:
    lived = replay_fold(narrow, "carried")
    last = slice(300, None)
    assert lived.covered["static"][last, :, 0].mean() < 0.8
    assert lived.covered["season"][last, :, 0].mean() > lived.covered["static"][last, :, 0].mean() + 0.05
    ratio = lived.width["season"][last, :, 0] / lived.width["static"][last, :, 0]
    assert ratio.mean() == pytest.approx(BOUNDS[1], abs=0.02)


def test_a_day_is_forecast_without_what_its_own_games_teach(narrow: FoldScores) -> None:
    one_day = replace(narrow, date=np.full(len(narrow), narrow.date[0]))
    lived = replay_fold(one_day, "frozen")
    assert lived.width["season"] == pytest.approx(lived.width["static"], abs=1e-3)


def test_teams_are_taken_for_known_after_their_first_games(narrow: FoldScores) -> None:
    """Before that, intervals have the width of frozen ratings, around the point forecast of carried ones."""
    frozen, carried = (replay_fold(narrow, ratings) for ratings in ("frozen", "carried"))
    assert carried.width["static"][:KNOWN_GAMES] == pytest.approx(frozen.width["static"][:KNOWN_GAMES], abs=1e-3)
    served = narrow.forecasts[STATIC["served"]]
    assert served.lower is not None
    assert served.upper is not None
    due = (served.upper - served.lower)[-1, list(COLUMNS)]
    assert carried.width["static"][-1] == pytest.approx(due, abs=1e-3)


def test_what_chance_does_to_a_month_is_what_it_does_to_the_mean_of_its_games(narrow: FoldScores) -> None:
    lived = replay_fold(narrow, "carried")
    *_, off, _ = adaptive_report("", "", [replay_fold(narrow, "frozen"), lived]).tables
    months, counts = np.unique(lived.month, return_counts=True)
    by_game = [lived.covered["static"][lived.month == month, :, 0].mean(axis=1) for month in months[counts >= 100]]
    assert by_game
    due = np.sqrt(np.mean([held.std(ddof=1) ** 2 / len(held) for held in by_game]))
    assert off.rows[-1][1] == f"{100 * due:.1f} %"


def test_where_no_month_has_enough_games_there_is_no_deviation_but_the_reason(narrow: FoldScores) -> None:
    months = np.datetime64("2033-01") + np.arange(len(narrow)) // 50
    lived = [replace(replay_fold(narrow, ratings), month=months) for ratings in ("frozen", "carried")]
    method = method_line(RUN, 500)
    report = adaptive_report("Adaptive intervals over 2033", method, lived)
    document, out = markdown(report), io.StringIO()
    print_report(Console(file=out, width=160), report)
    for text in (document, out.getvalue()):
        assert "nan" not in text
        assert "Deviation of monthly coverage" not in text
        assert "No table of the deviation of monthly coverage from nominal: no month has at least 100 games" in text
        assert "A month of 200 games determines a coverage of 95 %" in text
    assert document.startswith(f"# Adaptive intervals over 2033\n\n{method}\n\n## ")
    assert all(part in method for part in (RUN.recipe, RUN.data[:16], "seed 0", "500 test games"))
