"""Games of several sources count once; a ledger is exported by the server's own command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_games, simulated_seasons
from tests.trainer.harness import ledger_of
from tests.trainer.retraining.made_games import changed, made_games

from dejavu_feed.errors import DataError
from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.sources import (
    ProblemKind,
    SourceGames,
    games_from_bytes,
    games_to_bytes,
    gather,
    problems,
)
from dejavu_trainer.retraining.work_folder import open_work_folder


@pytest.mark.nightly
def test_a_game_that_two_sources_have_is_taken_from_the_first(tmp_path: Path) -> None:
    folder = simulated_seasons()
    with open_work_folder(tmp_path) as work:
        games, read = gather([str(folder / "plays_2032.parquet"), str(folder)], work)
        alone, _ = gather([str(folder)], work)
        chosen, _ = gather([str(folder)], work, seasons=[2032, 2034])
    assert read == [
        SourceGames(str(folder / "plays_2032.parquet"), SEASON_GAMES, SEASON_GAMES),
        SourceGames(str(folder), 4 * SEASON_GAMES, 3 * SEASON_GAMES),
    ]
    assert games.fingerprint == alone.fingerprint == simulated_games().fingerprint
    assert chosen.fingerprint == simulated_games().of_seasons([2032, 2034]).fingerprint


async def test_a_ledger_is_a_source_by_its_path_and_its_url(tmp_path: Path) -> None:
    url = await ledger_of(tmp_path / "ledger.sqlite3", 3)
    fingerprints = set()
    for number, source in enumerate((url, str(tmp_path / "ledger.sqlite3"))):
        with open_work_folder(tmp_path / f"work{number}") as work:
            games, _ = gather([source], work)
        assert games.season.tolist() == [2025] * 3
        assert games.final.tolist() == [25] * 3
        fingerprints.add(games.fingerprint)
    assert len(fingerprints) == 1, "the same ledger has the same games"


@pytest.mark.nightly
async def test_a_ledger_of_replays_only_names_the_option_that_takes_them(tmp_path: Path) -> None:
    url = await ledger_of(tmp_path / "ledger.sqlite3", 0)
    with (
        open_work_folder(tmp_path / "work") as work,
        pytest.raises(DataError, match="no game to export; replays are skipped without --include-replays"),
    ):
        gather([url], work)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere", "nowhere: cannot be read: No such file or directory"),
        ("empty", "empty: contains no plays_SEASON.parquet"),
        pytest.param("sqlite:///nowhere.sqlite3", "cannot be exported", marks=pytest.mark.nightly),
    ],
)
def test_an_unusable_source_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with open_work_folder(tmp_path / "work") as work, pytest.raises(DataError, match=reason):
        gather([source], work)


def test_no_password_of_a_database_is_in_an_error(tmp_path: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/games"
    with open_work_folder(tmp_path) as work, pytest.raises(DataError, match="cannot be exported") as failed:
        gather([url], work)
    assert "secret" not in str(failed.value)


def test_games_survive_as_bytes_and_other_bytes_are_refused() -> None:
    games = simulated_games()
    assert games_from_bytes(games_to_bytes(games), "x").fingerprint == games.fingerprint
    assert games_to_bytes(games) == games_to_bytes(games)
    with pytest.raises(DataError, match="x: are not the games"):
        games_from_bytes(b"PK", "x")


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
