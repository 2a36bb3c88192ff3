"""Games that are doubled, impossible or lacking are found before a model is made of them."""

from __future__ import annotations

import numpy as np
from tests.support.builders.bundles import simulated_games
from tests.trainer.retraining.made_games import changed, made_games

from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.sources import ProblemKind, problems


def kinds(games: Games) -> set[ProblemKind]:
    return {each.kind for each in problems(games)}


def test_simulated_seasons_have_no_problem() -> None:
    assert problems(simulated_games()) == []


def test_a_game_under_two_dates_is_found_by_its_course() -> None:
    games = made_games(300)
    differentials, final = games.differentials.copy(), games.final.copy()
    differentials[200], final[200] = differentials[10], final[10]
    [problem] = problems(changed(games, differentials=differentials, final=final))
    assert problem.kind is ProblemKind.DUPLICATE_GAMES
    assert games.game_id[10] in problem.message
    assert games.game_id[200] in problem.message


def test_a_team_that_plays_twice_on_a_day_is_found() -> None:
    games = made_games(300)
    home = games.home.copy()
    home[1] = games.away[0]
    [problem] = problems(changed(games, home=home))
    assert problem.kind is ProblemKind.DUPLICATE_GAMES
    assert f"{games.away[0]} on {games.date[0]}" in problem.message


def test_impossible_scores_are_found() -> None:
    games = made_games(300)
    runaway = games.differentials.copy()
    runaway[5] = np.linspace(2, 90, 48).astype(np.int16)
    assert kinds(changed(games, differentials=runaway, final=runaway[:, -1])) == {ProblemKind.IMPLAUSIBLE_SCORES}


def test_a_final_may_contradict_the_end_of_regulation_in_one_of_a_thousand_games_only() -> None:
    games = made_games(300)
    final = games.final.copy()
    final[0] += 2
    assert problems(changed(games, final=final)) == []
    final[:3] = games.final[:3] + 2
    assert kinds(changed(games, final=final)) == {ProblemKind.IMPLAUSIBLE_SCORES}


def test_a_season_without_the_games_of_a_team_is_found_and_named() -> None:
    games = made_games(400)
    without = games.select(~((games.home == "BOS") | (games.away == "BOS")))
    [problem] = problems(without)
    assert problem.kind is ProblemKind.MISSING_TEAMS
    assert "season 2031" in problem.message
    assert "BOS 0" in problem.message
    assert problems(games.select(np.arange(60))) == []
