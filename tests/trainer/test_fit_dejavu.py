from __future__ import annotations

import numpy as np
import pytest
from tests.support.walks import random_walks

from dejavu_models.dejavu import DejavuSettings, Kernel
from dejavu_models.features import course_vectors
from dejavu_trainer.fit_dejavu import SELECTION_STEPS, PastGames, build, choose_settings
from dejavu_trainer.split import SplitError

SETTINGS = DejavuSettings(6.0, 25, Kernel.TRICUBE)


def quiet(_: int) -> None:
    """Shows nothing."""


def past_games(count: int, seed: int = 0) -> PastGames:
    games = random_walks(count, range(2020, 2021), seed)
    levels = games.differentials.astype(float)
    return PastGames(games, levels[:, :18].copy(), levels[:, 23] - levels[:, 17])


def test_without_prototypes_each_game_is_an_entry() -> None:
    past = past_games(200)
    dejavu = build(past, SETTINGS, None, 0, quiet)
    assert np.array_equal(dejavu.entries.increment, past.increments)
    assert np.array_equal(dejavu.entries.date, past.games.date)
    assert (dejavu.entries.games == 1).all()
    assert (dejavu.entries.spread == 0).all()
    found = dejavu.look_up(past.patterns)
    assert found.distances[:, 0] == pytest.approx(np.zeros(200), abs=1e-4)
    assert found.entries[:, 0].tolist() == list(range(200))


def test_prototypes_stand_for_all_games_with_what_followed_on_average() -> None:
    past = past_games(300)
    entries = build(past, SETTINGS, 40, 0, quiet).entries
    assert len(entries) == 40
    assert entries.games.sum() == 300
    assert (entries.games * entries.increment).sum() == pytest.approx(past.increments.sum())
    # Variance within and between groups makes up all of it.
    within = (entries.games * np.square(entries.spread)).sum()
    between = (entries.games * np.square(entries.increment - past.increments.mean())).sum()
    assert within + between == pytest.approx(300 * past.increments.var())


def test_a_prototype_is_named_by_one_of_its_nearest_games() -> None:
    past = past_games(300)
    dejavu = build(past, SETTINGS, 40, 0, quiet)
    games = list(zip(past.games.date, past.games.home, past.games.away, strict=True))
    found = dejavu.look_up(past.patterns)
    for entry in range(40):
        named = (dejavu.entries.date[entry], dejavu.entries.home[entry], dejavu.entries.away[entry])
        namesake = games.index(named)
        at = found.distances[namesake][found.entries[namesake] == entry]
        members = found.distances[found.entries[:, 0] == entry, 0]
        assert len(at) == 1  # the prototype is among its namesake's neighbours
        assert at[0] <= members.min() + 1e-4


def test_what_repeats_is_found_by_the_settings_chosen() -> None:
    """Where the last minute's change decides what follows, a database that forgets quickly must win."""
    past, later = past_games(600), past_games(200, seed=1)
    learned = PastGames(past.games, past.patterns, 4 * np.diff(past.patterns)[:, -1])
    asked = PastGames(later.games, later.patterns, 4 * np.diff(later.patterns)[:, -1])
    steps = list[int]()
    choice = choose_settings(learned, asked, None, 0, steps.append)
    assert choice.settings.recency == 3.0
    assert choice.settings.neighbours == 25
    assert choice.mse < 0.2 * np.square(asked.increments).mean()
    assert sum(steps) == SELECTION_STEPS


def test_where_nothing_can_be_learned_a_wide_look_is_chosen() -> None:
    choice = choose_settings(past_games(900), past_games(400, seed=1), None, 0, quiet)
    assert choice.settings.neighbours >= 200


def test_the_choice_never_asks_for_more_neighbours_than_there_are() -> None:
    choice = choose_settings(past_games(200), past_games(50, seed=1), 60, 0, quiet)
    assert choice.settings.neighbours <= 60


def test_a_database_too_small_to_choose_with_is_refused() -> None:
    with pytest.raises(SplitError, match="24 entries"):
        choose_settings(past_games(200), past_games(50, seed=1), 24, 0, quiet)


def test_vectors_of_prototypes_are_means_of_those_of_their_games() -> None:
    """The mean of vectors is the vector of the mean pattern: weights and anchoring are linear."""
    past = past_games(50)
    mean = course_vectors(past.patterns.mean(axis=0, keepdims=True), 6.0)
    assert course_vectors(past.patterns, 6.0).mean(axis=0) == pytest.approx(mean[0], abs=1e-5)
