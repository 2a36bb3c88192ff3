"""Games of several sources count once, and their problems are found; a ledger is exported by the server's command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_games, simulated_seasons
from tests.trainer.harness import ledger_of
from tests.trainer.retraining.made_games import made_games

from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.sources import ProblemKind, SourceGames, gather, problems


@pytest.mark.nightly
def test_a_game_in_two_sources_is_taken_from_the_first() -> None:
    folder = simulated_seasons()
    file = str(folder / "plays_2032.parquet")
    games, read = gather([file, str(folder)])
    assert read == [
        SourceGames(file, SEASON_GAMES, SEASON_GAMES),
        SourceGames(str(folder), 4 * SEASON_GAMES, 3 * SEASON_GAMES),
    ]
    assert games.fingerprint == simulated_games().fingerprint
    chosen, _ = gather([str(folder)], seasons=[2032, 2034])
    assert chosen.fingerprint == simulated_games().of_seasons([2032, 2034]).fingerprint


async def test_a_ledger_is_a_source_by_its_path_and_its_url(tmp_path: Path) -> None:
    url = await ledger_of(tmp_path / "ledger.sqlite3", 3)
    found = [gather([source])[0] for source in (url, str(tmp_path / "ledger.sqlite3"))]
    assert [games.season.tolist() for games in found] == [[2025] * 3] * 2
    assert [games.final.tolist() for games in found] == [[25] * 3] * 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere", "nowhere: cannot be read: No such file or directory"),
        ("empty", "empty: contains no plays_SEASON.parquet"),
        ("postgresql://me:secret@127.0.0.1:1/games", "cannot be exported"),
        pytest.param("sqlite:///nowhere.sqlite3", "cannot be exported", marks=pytest.mark.nightly),
    ],
)
def test_an_unusable_source_is_named_without_its_password(tmp_path: Path, source: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    place = source if "://" in source else str(tmp_path / source)
    with pytest.raises(DataError, match=reason) as refused:
        gather([place])
    assert "secret" not in str(refused.value)


def twice(games: Games) -> Games:
    differentials, final = games.differentials.copy(), games.final.copy()
    differentials[200], final[200] = differentials[10], final[10]
    return replace(games, differentials=differentials, final=final)


def two_games_on_a_day(games: Games) -> Games:
    home = games.home.copy()
    home[1] = games.away[0]
    return replace(games, home=home)


def runaway(games: Games) -> Games:
    differentials = games.differentials.copy()
    differentials[5] = np.linspace(2, 90, 48).astype(np.int16)
    return replace(games, differentials=differentials, final=differentials[:, -1])


def contradicted(count: int) -> Callable[[Games], Games]:
    return lambda games: replace(games, final=games.final + 2 * (np.arange(len(games)) < count).astype(np.int16))


def without_boston(games: Games) -> Games:
    return games.select((games.home != "BOS") & (games.away != "BOS"))


@pytest.mark.parametrize(
    ("change", "kind", "named"),
    [
        (twice, ProblemKind.DUPLICATE_GAMES, lambda games: (games.game_id[10], games.game_id[200])),
        (two_games_on_a_day, ProblemKind.DUPLICATE_GAMES, lambda games: (f"{games.away[0]} on {games.date[0]}",)),
        (runaway, ProblemKind.IMPLAUSIBLE_SCORES, lambda games: ("above 80", games.game_id[5])),
        (contradicted(3), ProblemKind.IMPLAUSIBLE_SCORES, lambda games: (games.game_id[0], games.game_id[2])),
        (without_boston, ProblemKind.MISSING_TEAMS, lambda _: ("season 2031", "BOS 0")),
    ],
)
def test_problems_of_games_are_found_and_named(
    change: Callable[[Games], Games], kind: ProblemKind, named: Callable[[Games], tuple[str, ...]]
) -> None:
    games = made_games(400)
    [(found, message)] = problems(change(games))
    assert found is kind
    assert all(each in message for each in named(games)), message


def test_usual_games_have_no_problem() -> None:
    few = without_boston(made_games(400)).select(np.arange(60))
    for games in (simulated_games(), contradicted(1)(made_games(300)), few):
        assert list(problems(games)) == []
