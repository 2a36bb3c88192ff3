"""Similar games: what a search finds, what is said of it, and which files are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import database_of, mirrored, rows_of, walked, walks_database
from tests.support.builders.models import members_of, past_rows
from tests.support.harness.present import present

from dejavu_feed.live_inputs import LiveInputs
from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.components.compiled import CompiledModels
from dejavu_models.components.dejavu import BINS, Dejavu
from dejavu_models.components.ensemble import Ensemble, Weights
from dejavu_models.components.features import Rows
from dejavu_models.components.linear import LinearModels
from dejavu_models.types import CASES, HORIZONS, MAX_SLOTS, MOST_SIMILAR, Horizon, SimilarGame, SimilarSummary

GAMES, GROUPS, NEAREST = 240, 30, 10


MINUTES = st.integers(1, MAX_SLOTS)


@cache
def dejavu() -> Dejavu:
    return walks_database(GAMES, GROUPS, NEAREST)


def similar(
    database: Dejavu, rows: Rows, horizon: Horizon, expected: float = 0.0
) -> tuple[tuple[SimilarGame, ...], SimilarSummary]:
    """Return what the compiled models say of one game."""
    linear = LinearModels(np.zeros((2, 48, 3, 4)))
    models = CompiledModels(Ensemble(linear, (database,), Weights.fixed(0.5, 0.5)))
    total, index = rows.live[0, 0], HORIZONS.index(horizon)
    live = LiveInputs(total_points=None if np.isnan(total) else int(total))
    game = models.predict(tuple(rows.patterns[0].tolist()), float(rows.margins[0]), live=live)
    game.opinion(index)
    return game.similar(index, expected, database.games)


@cache
def large() -> Dejavu:
    """A database of as many groups as those of real bundles have."""
    return walks_database(1500, 1500, 200)


@pytest.mark.parametrize("minute", [1, 24, 47])
def test_of_the_groups_nearest_by_comparison_of_all_a_search_finds_99_in_100(minute: int) -> None:
    rows = rows_of(walked(200, seed=5), minute)
    found, centers = large().nearest(rows), from_npz(large().to_bytes())["centers"][minute - 1].astype(float)
    squares = np.square(large().vectors(rows)[:, None] - centers).sum(axis=2)
    bounds = np.partition(squares, 199, axis=1)[:, 199:200]
    of_found = np.take_along_axis(squares, found, axis=1)
    assert (of_found <= bounds * (1 + 1e-5) + 1e-5).mean() >= 0.99
    assert (np.diff(of_found, axis=1) >= -1e-4).all(), "the nearest first"
    assert all(len(set(row)) == 200 for row in found.tolist())


@given(MINUTES, st.integers(0, 10_000))
def test_a_histogram_is_of_all_members_of_the_nearest_groups_by_equal_shares(minute: int, seed: int) -> None:
    rows, horizon = rows_of(walked(3, seed), minute), HORIZONS.index(Horizon.FINAL)
    groups = dejavu().nearest(rows)
    for row, histogram in zip(groups, dejavu().histograms(horizon, minute, groups), strict=True):
        images = members_of(dejavu(), minute, row)
        codes = dejavu().games.codes[images // 2, CASES.index((horizon, minute))].astype(int)
        codes = np.where(images % 2, BINS - 1 - codes, codes)
        assert histogram == pytest.approx(np.bincount(codes, minlength=BINS) / len(images))


@given(MINUTES, st.sampled_from(HORIZONS), st.integers(0, 10_000), st.floats(-20, 20))
def test_similar_games_are_real_ones_and_the_summary_counts_those_that_are_pooled(
    minute: int, horizon: Horizon, seed: int, expected: float
) -> None:
    minute = min(minute, horizon.last_slot)
    rows, games = rows_of(walked(1, seed), minute), walked(GAMES).games
    [groups] = dejavu().nearest(rows)
    found, summary = similar(dejavu(), rows, horizon, expected)

    names = list(zip(games.date.astype(object), games.home, games.away, strict=True))
    assert len({each.label for each in found}) == len(found) == MOST_SIMILAR
    for each in found:
        number = names.index((each.date, each.home_team, each.away_team))
        sign = -1 if each.mirrored else 1
        assert each.differential == sign * games.differentials[number, minute - 1]
        assert each.differential_at_horizon == sign * games.outcomes[number, HORIZONS.index(horizon)]
        points, final_points = present(each.points), present(each.final_points)
        assert points[0] - points[1] == games.differentials[number, minute - 1]
        assert sum(points) in {games.totals[number, minute - 1], games.totals[number, minute - 1] - 1}
        assert final_points[0] - final_points[1] in {games.final[number], games.final[number] - 1}

    images = members_of(dejavu(), minute, groups)
    of_images = past_rows(dejavu(), minute, images // 2)
    exchanged = (images % 2 == 1)[:, None]
    of_images = of_images._replace(
        patterns=np.where(exchanged, -of_images.patterns, of_images.patterns),
        margins=np.where(exchanged[:, 0], -of_images.margins, of_images.margins),
    )
    distances = np.linalg.norm(dejavu().vectors(of_images) - dejavu().vectors(rows).astype(float), axis=1)
    best: dict[int, float] = {}
    for image, distance in zip(images.tolist(), distances.tolist(), strict=True):
        best[image // 2] = min(distance, best.get(image // 2, np.inf))
    assert [each.distance for each in found] == pytest.approx(sorted(best.values())[:MOST_SIMILAR], abs=1e-4)

    leads, outcomes = of_images.patterns[:, -1], games.outcomes[images // 2, HORIZONS.index(horizon)]
    outcomes = np.where(exchanged[:, 0], -outcomes, outcomes)
    assert summary.games == len(images) == dejavu().images_a_forecast
    lead = rows.patterns[0, -1]
    same = outcomes[np.abs(leads - lead) <= 2]
    assert (summary.minute, summary.same_lead) == (minute, len(same))
    assert summary.home_led == np.count_nonzero(same > 0)
    assert summary.turned == np.count_nonzero(np.sign(lead) * np.sign(same) == -1)
    assert summary.correction == pytest.approx(expected - same.mean() if len(same) else 0.0)


@pytest.mark.parametrize("exchanged", [False, True])
def test_the_nearest_game_to_one_of_the_database_is_itself_with_its_course(exchanged: bool) -> None:
    games = walked(GAMES)
    for number, minute in ((0, 47), (17, 30), (239, 18)):
        rows = rows_of(games.select(np.arange(GAMES) == number), minute)
        if exchanged:
            rows = mirrored(rows)
        nearest = similar(dejavu(), rows, Horizon.FINAL)[0][0]
        assert nearest.distance == pytest.approx(0.0, abs=1e-4)
        assert (nearest.date, nearest.mirrored) == (games.games.date[number].item(), exchanged)
        course = games.games.differentials[number] * (-1 if exchanged else 1)
        for horizon in HORIZONS:
            assert dejavu().course(nearest, horizon) == tuple(course[: horizon.last_slot].tolist())
        for other in ({"date": date(1999, 1, 1)}, {"home_team": nearest.away_team, "away_team": nearest.home_team}):
            assert dejavu().course(replace(nearest, **other), Horizon.FINAL) == ()


def test_scores_of_a_game_whose_totals_are_unknown_are_not_made_up() -> None:
    games = walked(60)
    totals = games.games.live.copy()
    totals[:, :, 0] = np.nan
    unknown = replace(games.games, live=totals, final_total=np.full(60, -1, np.int16))
    database = database_of(games._replace(games=unknown), np.zeros((60, len(CASES))))
    rows = rows_of(games.select(np.arange(60) == 3), 20)
    games_shown, _ = similar(database, rows, Horizon.FINAL)
    assert [(each.points, each.final_points) for each in games_shown] == [(None, None)] * MOST_SIMILAR


def other(name: str, of: Callable[[Any], Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {name: of(from_npz(dejavu().to_bytes())[name])}


def test_a_graph_with_parts_that_a_search_does_not_reach_is_refused() -> None:
    arrays = from_npz(large().to_bytes())
    groups = arrays["centers"].shape[1]
    counts, level = arrays["graph_counts"].copy(), arrays["graph_levels"][:groups]
    lone = int(np.flatnonzero(level == 0)[7])
    start = int(counts[:lone].sum())
    links = np.delete(arrays["graph_links"], np.arange(start, start + counts[lone]))
    counts[lone] = 0
    with pytest.raises(ValueError, match="the graph of minute 1 has parts that a search does not reach"):
        Dejavu.from_bytes(to_npz(**{**arrays, "graph_counts": counts, "graph_links": links}))
