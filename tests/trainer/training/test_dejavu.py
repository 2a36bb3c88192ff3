from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.random_walks import random_walks

from dejavu_feed.errors import DataError
from dejavu_models.components.dejavu import DejavuSettings, Kernel
from dejavu_models.components.features import pattern_vectors
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon
from dejavu_trainer.execution import Execution
from dejavu_trainer.training.dejavu import (
    DejavuGrid,
    SelectedSettings,
    TrainingGames,
    build,
    build_all,
    cluster,
    group_means,
    select_settings,
)

SETTINGS = DejavuSettings(6.0, 25, Kernel.TRICUBE)
GRID = DejavuGrid(recencies=(3.0, 12.0), neighbours=(25, 100, 200), minutes=(18,))
FINAL = HORIZONS.index(Horizon.FINAL)


def quiet(_: int) -> None:
    """Show nothing."""


def past_games(count: int, seed: int = 0) -> TrainingGames:
    """Games with random noise as residuals of the linear models."""
    games = random_walks(count, range(2020, 2021), seed)
    residuals = np.random.default_rng(seed + 100).normal(0, 5, (count, MAX_SLOTS, len(MARGIN_SOURCES), len(HORIZONS)))
    residuals[:, Horizon.HALFTIME.last_slot :, :, HORIZONS.index(Horizon.HALFTIME)] = 0
    return TrainingGames(games, residuals)


def where_the_last_minute_tells(count: int, seed: int = 0) -> TrainingGames:
    """Games whose residuals of the linear models are four times the last minute's change."""
    past = past_games(count, seed)
    change = np.diff(past.games.levels, axis=1, prepend=0)
    return TrainingGames(past.games, np.where(past.residuals == 0, 0, 4 * change[:, :, None, None]))


@pytest.mark.parametrize("minute", [18, 40])
def test_without_prototypes_each_course_is_an_entry(minute: int) -> None:
    past = past_games(200)
    dejavu = build(past, minute, SETTINGS, None, 0)
    increments = past.games.outcomes - past.games.levels[:, minute - 1 : minute]
    increments[:, [horizon.last_slot < minute for horizon in HORIZONS]] = 0
    assert dejavu.entries.increments == pytest.approx(increments)
    assert dejavu.entries.residuals == pytest.approx(past.residuals[:, minute - 1], abs=1e-5)
    assert np.array_equal(dejavu.entries.date, past.games.date)
    assert (dejavu.entries.games == 1).all()
    assert (dejavu.entries.spreads == 0).all()
    found = dejavu.query(past.patterns(minute))
    assert found.distances[:, 0] == pytest.approx(np.zeros(200), abs=1e-4)
    assert found.entries[:, 0].tolist() == list(range(200))


@pytest.mark.parametrize("prototypes", [None, 60])
def test_games_that_ran_alike_share_an_entry(prototypes: int | None) -> None:
    """After a minute there are fewer distinct courses than requested neighbours, so all are used."""
    past = past_games(300)
    courses = len(np.unique(past.games.levels[:, 0]))
    dejavu = build(past, 1, SETTINGS, prototypes, 0)
    assert len(dejavu.entries) == courses < SETTINGS.neighbours
    assert dejavu.settings.neighbours == courses
    assert dejavu.entries.games.sum() == 300
    assert np.isfinite(dejavu.query(past.patterns(1)).residuals).all()


def test_prototypes_stand_for_all_games_with_what_followed_on_average() -> None:
    past = past_games(300)
    entries = build(past, 18, SETTINGS, 40, 0).entries
    increments = past.games.outcomes - past.games.levels[:, 17:18]
    assert len(entries) == 40
    assert entries.games.sum() == 300
    assert entries.games @ entries.increments == pytest.approx(increments.sum(axis=0), rel=1e-4)
    assert np.tensordot(entries.games, entries.residuals, 1) == pytest.approx(
        past.residuals[:, 17].sum(axis=0), rel=1e-3
    )
    # Variances within and between groups add up to the total.
    within = entries.games @ np.square(entries.spreads.astype(float))
    between = entries.games @ np.square(entries.increments - increments.mean(axis=0))
    assert within + between == pytest.approx(300 * increments.var(axis=0), rel=1e-4)


def test_a_prototype_is_named_by_one_of_its_nearest_games() -> None:
    past = past_games(300)
    dejavu = build(past, 18, SETTINGS, 40, 0)
    games = list(zip(past.games.date, past.games.home, past.games.away, strict=True))
    found = dejavu.query(past.patterns(18))
    for entry in range(40):
        named = (dejavu.entries.date[entry], dejavu.entries.home[entry], dejavu.entries.away[entry])
        namesake = games.index(named)
        at = found.distances[namesake][found.entries[namesake] == entry]
        members = found.distances[found.entries[:, 0] == entry, 0]
        assert len(at) == 1  # the prototype is among the neighbours of the game it is named after
        assert at[0] <= members.min() + 1e-4


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_repeats_is_found_by_the_settings_chosen(jobs: int) -> None:
    """If the last minute's change determines the outcome, the shortest recency must be selected."""
    steps = list[int]()
    past, later = where_the_last_minute_tells(600), where_the_last_minute_tells(200, 1)
    choice = select_settings(past, later, None, GRID, 0, steps.append, Execution("loky", jobs))
    assert choice.settings == DejavuSettings(3.0, 25, choice.settings.kernel)
    assert choice.gain > 0.8
    assert choice.scale[FINAL] == pytest.approx(1.0, abs=0.2)
    assert sum(steps) == GRID.steps


def test_a_database_too_small_to_choose_with_is_refused() -> None:
    with pytest.raises(DataError, match="24 entries"):
        select_settings(past_games(200), past_games(50, seed=1), 24, GRID, 0, quiet)


def test_every_minute_has_the_database_of_its_own() -> None:
    past, told = past_games(150), list[int]()
    databases = build_all(past, [6, 18, 30], SelectedSettings(SETTINGS, (1.0, 1.0), 0.0), 50, 0, told.append)
    assert sum(told) == 3
    assert sorted(databases) == [6, 18, 30]
    for minute, database in databases.items():
        assert database.index.content == build(past, minute, SETTINGS, 50, 0).index.content


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_neighbours_tell_what_the_linear_models_left_on_games_alike(scale: float) -> None:
    past, asking = where_the_last_minute_tells(800), where_the_last_minute_tells(50, 1)
    choice = SelectedSettings(DejavuSettings(1.0, 25, Kernel.TRICUBE), (1.0, scale), 0.0)
    found = build_all(past, [18], choice, None, 0, quiet)[18].query(asking.patterns(18)).residuals[..., FINAL]
    slope, _ = np.polyfit(asking.residuals[:, 17, :, FINAL].ravel(), found.ravel(), 1)
    assert np.corrcoef(found.ravel(), asking.residuals[:, 17, :, FINAL].ravel())[0, 1] > 0.95
    assert slope == pytest.approx(scale, abs=0.15)


def test_vectors_of_prototypes_are_means_of_those_of_their_games() -> None:
    """The mean of vectors is the vector of the mean pattern: weights and anchoring are linear."""
    past = past_games(50)
    mean = pattern_vectors(past.patterns(18).mean(axis=0, keepdims=True), 6.0)
    assert pattern_vectors(past.patterns(18), 6.0).mean(axis=0) == pytest.approx(mean[0], abs=1e-5)


@given(st.integers(1, 60), st.integers(0, 5), st.integers(1, 8))
def test_every_group_has_a_member(count: int, seed: int, values: int) -> None:
    """With few distinct values points coincide; there are at most as many groups as distinct points."""
    points = np.random.default_rng(seed).integers(0, values, (60, 2)).astype(np.float32)
    groups = cluster(points, count, seed)
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
    assert groups.max() + 1 == min(count, len(np.unique(points, axis=0)))


def test_the_same_seed_gives_the_same_groups() -> None:
    points = np.random.default_rng(4).normal(0, 1, (300, 3)).astype(np.float32)
    assert np.array_equal(cluster(points, 40, 7), cluster(points, 40, 7))
    assert not np.array_equal(cluster(points, 40, 7), cluster(points, 40, 8))


@pytest.mark.parametrize("count", [0, 11])
def test_as_many_prototypes_as_games_at_most(count: int) -> None:
    with pytest.raises(ValueError, match=f"{count} prototypes of 10 games"):
        cluster(np.zeros((10, 2), dtype=np.float32), count, 0)


def test_means_by_group() -> None:
    groups = np.array([1, 0, 1])
    assert group_means(np.array([2.0, 5.0, 4.0]), groups).tolist() == [5.0, 3.0]
    assert group_means(np.array([[2.0, 0.0], [5.0, 1.0], [4.0, 4.0]]), groups).tolist() == [[5.0, 1.0], [3.0, 2.0]]
