"""Fetches from a fake NBA statistics service: written files, exclusions, retries and resuming."""

from __future__ import annotations

import copy
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.support.fakes.stats_service import (
    Fault,
    PlayedOnce,
    StatsStandIn,
    cut_off,
    html,
    log_payload,
    plays_payload,
    season_of_games,
    stall,
    status,
    text,
    truncated,
)
from tests.support.harness.fetch import AT_ONCE, Notes, fetch_from, files_of, rows_of, truth
from tests.support.harness.real_games import real_games

from dejavu_feed.errors import DataError
from dejavu_feed.files.own_format import read_own_format
from dejavu_feed.files.plays_format import game_date
from dejavu_feed.pattern import Score
from dejavu_feed.replay.games import recorded_evening
from dejavu_feed.teams import team_code
from dejavu_trainer.data import fetch_cache
from dejavu_trainer.data.fetch import Phase, parse_nba_seasons
from dejavu_trainer.data.games import load_games
from dejavu_trainer.data.plays import DATED, plays_table, write_plays
from dejavu_trainer.data.retries import FetchStopped
from dejavu_trainer.data.simulate import simulate_season

GAMES = season_of_games()
SECOND = GAMES[1].game_id


@pytest.fixture
def service() -> Iterator[StatsStandIn]:
    with StatsStandIn(list(GAMES)) as service:
        yield service


def missing_rows(out: Path, season: int = 2025) -> list[dict[str, str]]:
    with (out / f"missing_{season}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_season_is_every_game_by_date_with_the_ids_of_the_nba(service: StatsStandIn, tmp_path: Path) -> None:
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path == tmp_path / "plays_2025.parquet"
    assert rows_of(fetched.path) == truth(GAMES)
    neutral = load_games(tmp_path, [2025]).neutral
    assert neutral == [game.neutral or None for game in sorted(GAMES, key=lambda game: (game.day, game.game_id))]
    assert (fetched.asked, fetched.not_over, fetched.missing) == (8, 0, ())
    assert not (tmp_path / "missing_2025.csv").exists()
    assert [asked.what for asked in service.asked][:4] == ["Regular Season", "IST", "PlayIn", "Playoffs"]


def test_it_can_be_imported_and_replayed(service: StatsStandIn, tmp_path: Path) -> None:
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path is not None
    checked = read_own_format(fetched.path, 2025)
    assert checked.problems == ()
    plays = plays_table(checked.games)
    assert [tuple(row[name] for name in DATED.names) for row in plays.to_pylist()] == truth(GAMES)
    assert write_plays(tmp_path / "again", 2025, plays).is_file()
    assert len(load_games(tmp_path / "again", [2025])) == len(GAMES)
    pyarrow.csv.write_csv(plays, tmp_path / "plays.csv")
    for path in (fetched.path, tmp_path / "plays.csv"):
        evening, left_out = recorded_evening(path, GAMES[0].day)
        assert ([game.source for game in evening], left_out) == ([game.game_id for game in GAMES[:2]], ())


def test_only_the_parts_of_a_season_that_were_asked_for(service: StatsStandIn, tmp_path: Path) -> None:
    (fetched,) = fetch_from(service, tmp_path, phases=[Phase.PLAYOFFS, Phase.PLAY_IN])
    assert fetched.path is not None
    assert rows_of(fetched.path) == truth(GAMES[-2:])
    assert "Regular Season" not in {asked.what for asked in service.asked}


def test_the_final_of_the_cup_is_fetched_as_a_game_of_the_regular_season(tmp_path: Path) -> None:
    final = replace(GAMES[0], game_id="0062400001", type="CUP", day=date(2024, 12, 17))
    with StatsStandIn([*GAMES, final]) as service:
        (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path is not None
    of_final = [row for row in pq.read_table(fetched.path).to_pylist() if row["game_id"] == final.game_id]
    assert {(row["type"], row["game_date"]) for row in of_final} == {("RS", final.day)}
    assert len(of_final) == len(final.scores)
    assert service.plays_asked().count(GAMES[0].game_id) == 1


def test_several_seasons_are_several_files(tmp_path: Path) -> None:
    earlier = season_of_games(2, seed=2, season=2024)
    with StatsStandIn([*GAMES, *earlier]) as service:
        first, second = fetch_from(service, tmp_path, seasons=[2024, 2025])
    assert first.path is not None
    assert second.path is not None
    assert (rows_of(first.path), rows_of(second.path)) == (truth(earlier), truth(GAMES))


def test_before_there_was_a_play_in_it_is_not_asked_for(tmp_path: Path) -> None:
    with StatsStandIn([game for game in season_of_games(2, season=2019) if game.type != "PI"]) as service:
        fetch_from(service, tmp_path, seasons=[2019])
    assert {asked.what for asked in service.asked if not asked.what[0].isdigit()} == {"Regular Season", "Playoffs"}


def test_a_second_fetch_asks_for_no_game_again_and_ends_the_same(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    service.asked.clear()
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.asked == 0
    assert service.plays_asked() == []
    assert files_of(tmp_path) == before


def test_games_that_are_not_over_are_left_out_and_come_later(service: StatsStandIn, tmp_path: Path) -> None:
    running = [replace(game, over=game.game_id != SECOND) for game in GAMES[:-1]]
    service.games = running
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path is not None
    assert (fetched.not_over, fetched.missing) == (1, ())
    assert rows_of(fetched.path) == truth([game for game in running if game.over])
    service.games = list(GAMES)
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert sorted(service.plays_asked()) == sorted([SECOND, GAMES[-1].game_id])
    assert rows_of(fetched.path) == truth(GAMES)


def test_a_result_that_the_nba_corrects_is_asked_for_again(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    last = GAMES[0].scores[-1]
    corrected = replace(GAMES[0], scores=(*GAMES[0].scores, Score(last.elapsed, last.home + 1, last.away)))
    service.games[0] = corrected
    service.asked.clear()
    (fetched,) = fetch_from(service, tmp_path)
    assert fetched.path is not None
    assert service.plays_asked() == [corrected.game_id]
    assert rows_of(fetched.path) == truth([corrected, *GAMES[1:]])


def test_games_that_could_not_be_had_are_listed_and_tried_again(service: StatsStandIn, tmp_path: Path) -> None:
    service.faults[SECOND] = [status(500)] * AT_ONCE.max_attempts
    notes = Notes()
    (fetched,) = fetch_from(service, tmp_path, notes=notes)
    assert fetched.path is not None
    assert rows_of(fetched.path) == truth([game for game in GAMES if game.game_id != SECOND])
    game = GAMES[1]
    assert missing_rows(tmp_path) == [
        {
            "game_id": SECOND,
            "type": "RS",
            "date": game.day.isoformat(),
            "teams": missing_rows(tmp_path)[0]["teams"],
            "reason": "status 500, after 3 attempts",
        }
    ]
    assert set(missing_rows(tmp_path)[0]["teams"].split(" @ ")) == {game.home, game.away}
    assert notes.games == len(GAMES)
    (said,) = notes.said
    assert said.startswith(f"{SECOND} ")
    assert said.endswith("status 500, after 3 attempts")
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert service.plays_asked() == [SECOND]
    assert rows_of(fetched.path) == truth(GAMES)
    assert not (tmp_path / "missing_2025.csv").exists()


def test_faults_that_pass_leave_no_trace(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path / "without")
    service.asked.clear()
    faults: list[Fault] = [
        status(403),
        status(429, Retry_After="0"),
        html(),
        text("{}"),
        truncated(),
        cut_off(),
        stall(),
    ]
    service.faults = {game.game_id: [fault] for game, fault in zip(GAMES, faults, strict=False)}
    service.faults["Regular Season"] = [text('{"resultSets": []}'), html()]
    notes = Notes()
    fetch_from(service, tmp_path / "with", notes=notes, timeout=0.4)
    assert len(service.asked) == 4 + len(GAMES) + len(faults) + 2
    assert [reason for _, reason in notes.waits][:3] == [
        "payload.resultSets holds no LeagueGameLog",
        "not JSON: begins with '<!DOCTYPE html><html><body>Access denied'",
        "status 403",
    ]
    assert files_of(tmp_path / "with") == files_of(tmp_path / "without")


@pytest.mark.parametrize(
    ("games", "what"),
    [
        (season_of_games(2, season=2024)[:2], "0022300001 of another season"),
        ([game for game in GAMES if game.type == "PO"], f"{GAMES[-1].game_id} of another part of the season"),
    ],
)
def test_a_list_of_another_season_is_not_believed(
    service: StatsStandIn, tmp_path: Path, games: list[PlayedOnce], what: str
) -> None:
    wrong = json.dumps(log_payload(games, "2024-25", "Regular Season"))
    service.faults["Regular Season"] = [text(wrong)]
    notes = Notes()
    (fetched,) = fetch_from(service, tmp_path, notes=notes)
    assert notes.waits == [(0.0, f"holds game {what}")]
    assert rows_of(tmp_path / "plays_2025.parquet") == truth(GAMES)
    assert fetched.missing == ()


def test_plays_that_are_not_the_whole_game_are_not_kept(service: StatsStandIn, tmp_path: Path) -> None:
    game = GAMES[1]
    half = replace(game, scores=game.scores[: len(game.scores) // 2])
    service.faults[game.game_id] = [text(json.dumps(plays_payload(half)))]
    (fetched,) = fetch_from(service, tmp_path)
    (missing,) = fetched.missing
    assert re.fullmatch(r"its plays end with \w+ \d+, \w+ \d+; the list has \w+ \d+, \w+ \d+", missing.reason)
    assert service.plays_asked().count(game.game_id) == 1
    assert not (tmp_path / "fetched" / "2024-25" / f"{game.game_id}.json").exists()


def test_a_game_that_the_list_garbles_is_listed_and_not_asked_for(service: StatsStandIn, tmp_path: Path) -> None:
    listing = copy.deepcopy(log_payload([game for game in GAMES if game.type == "RS"], "2024-25", "Regular Season"))
    dropped = listing["resultSets"][0]["rowSet"].pop(0)[4]
    service.faults["Regular Season"] = [text(json.dumps(listing))]
    (fetched,) = fetch_from(service, tmp_path)
    assert [(entry.game_id, entry.reason) for entry in fetched.missing] == [
        (dropped, "the list has 1 rows of it, expected 2")
    ]
    assert dropped not in service.plays_asked()
    assert rows_of(tmp_path / "plays_2025.parquet") == truth([game for game in GAMES if game.game_id != dropped])


def test_a_service_that_answers_no_more_is_left_alone(tmp_path: Path) -> None:
    games = season_of_games(20)
    with StatsStandIn(list(games)) as service:
        for game in games[3:]:
            service.faults[game.game_id] = [status(403)] * 99
        with pytest.raises(FetchStopped, match="2024-25: no valid response for 10 games in a row; try again later"):
            fetch_from(service, tmp_path)
        assert rows_of(tmp_path / "plays_2025.parquet") == truth(games[:3])
        reasons = [row["reason"] for row in missing_rows(tmp_path)]
        assert (
            reasons == ["status 403, after 3 attempts"] * 10 + ["not requested: the service had stopped responding"] * 9
        )
        service.faults.clear()
        service.asked.clear()
        fetch_from(service, tmp_path)
        assert not {game.game_id for game in games[:3]} & set(service.plays_asked())
    assert rows_of(tmp_path / "plays_2025.parquet") == truth(games)


def test_a_list_that_could_not_be_had_ends_it_and_changes_nothing(service: StatsStandIn, tmp_path: Path) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    service.faults["Playoffs"] = [status(403)] * 3
    with pytest.raises(
        FetchStopped, match="2024-25: the list of games, Playoffs, could not be fetched: status 403, after 3"
    ):
        fetch_from(service, tmp_path)
    assert files_of(tmp_path) == before


def test_a_season_without_games_is_refused(service: StatsStandIn, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2030-31: the NBA lists no finished game"):
        fetch_from(service, tmp_path, seasons=[2031])
    assert not (tmp_path / "plays_2031.parquet").exists()


def test_a_season_from_elsewhere_is_not_replaced_unasked(service: StatsStandIn, tmp_path: Path) -> None:
    path = write_plays(tmp_path, 2025, simulate_season(2025, games=3))
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=r"plays_2025.parquet: already exists and was not written by fetch; use --overwrite"
    ):
        fetch_from(service, tmp_path)
    assert path.read_bytes() == before
    assert service.asked == []
    fetch_from(service, tmp_path, overwrite=True)
    assert rows_of(path) == truth(GAMES)


def test_two_fetches_into_one_folder_do_not_mix(service: StatsStandIn, tmp_path: Path) -> None:
    with fetch_cache.exclusive_lock(tmp_path), pytest.raises(DataError, match="another fetch is running there"):
        fetch_from(service, tmp_path)
    assert service.asked == []
    fetch_from(service, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"form": 0}', '{"form":1,"game_id":"%s","scores":[[1]]}'])
def test_a_spoilt_game_in_the_cache_is_asked_for_again(service: StatsStandIn, tmp_path: Path, content: str) -> None:
    fetch_from(service, tmp_path)
    before = files_of(tmp_path)
    (tmp_path / "fetched" / "2024-25" / f"{SECOND}.json").write_text(content.replace("%s", SECOND))
    service.asked.clear()
    fetch_from(service, tmp_path)
    assert service.plays_asked() == [SECOND]
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "seasons"),
    [
        ("2024-25", (2025,)),
        ("2024-25,2023-24", (2024, 2025)),
        (" 1999-00 , 1999-00", (2000,)),
        ("2025", (2025,)),
        ("2015-2017,2024-25", (2015, 2016, 2017, 2025)),
    ],
)
def test_seasons_are_named_as_the_nba_does_or_by_the_year_they_end_in(text: str, seasons: tuple[int, ...]) -> None:
    assert parse_nba_seasons(text) == seasons


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2024-26", "'2024-26' is not a season; did you mean 2024-25?"),
        ("1999-99", "did you mean 1999-00?"),
        ("2024/25", "'2024/25' is neither a season such as 2024-25 nor years such as 2025 or 2015-2021"),
        ("", "'' is neither"),
        ("2024-25,", "'' is neither"),
        ("2017-2015", "is neither"),
        ("1995-96", "from 1996-97 on, not of 1995-96"),
        ("٢٠٢٤-٢٥", "is neither"),
    ],
)
def test_other_seasons_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace("?", r"\?")):
        parse_nba_seasons(text)


class Killed(BaseException):
    """Stands in for a kill at any point; no code of the fetch may clean up after it."""


def test_killed_between_any_two_writes_it_goes_on_to_the_same_files(
    service: StatsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch_from(service, tmp_path / "whole")
    left = [0]
    replace_whole, write_text = Path.replace, Path.write_text

    def step() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Killed

    def half_written(path: Path, text: str, *rest: Any) -> int:
        write_text(path, text[: len(text) // 2], *rest)
        step()
        return write_text(path, text, *rest)

    def moved(path: Path, target: Path) -> Path:
        step()
        return replace_whole(path, target)

    monkeypatch.setattr(Path, "write_text", half_written)
    monkeypatch.setattr(Path, "replace", moved)
    out = tmp_path / "killed"
    service.asked.clear()
    for kills in range(99):
        left[0] = (
            2 + kills % 2
        )  # a game takes two steps: each run gets one game further, and ends before or after a write
        try:
            fetch_from(service, out)
        except Killed:
            continue
        break
    else:
        pytest.fail("it got nowhere")
    assert kills >= len(GAMES) - 1
    assert files_of(out) == files_of(tmp_path / "whole")


def games_whose_score_falls(table: pa.Table) -> Any:
    ids = table["game_id"].to_numpy()
    fall = [np.diff(table[column].to_numpy()) < 0 for column in ("home_score", "away_score")]
    return np.unique(ids[1:][(fall[0] | fall[1]) & (ids[1:] == ids[:-1])].astype(str))


@pytest.mark.nightly
@pytest.mark.real_data
def test_real_games_come_through_as_they_were(data_dir: Path, tmp_path: Path) -> None:
    """Uses a sample of 2023, including games whose score falls: same patterns as from the original file."""
    table = pq.read_table(data_dir / "seasons" / "plays_2023.parquet")
    true = real_games(data_dir, [2023])
    falling = np.intersect1d(games_whose_score_falls(table), true.game_id)
    assert len(falling)
    chosen = sorted({*falling[:8].tolist(), *true.game_id[::110].tolist()})
    rows: dict[str, list[dict[str, Any]]] = {source: [] for source in chosen}
    for row in table.filter(pc.field("game_id").isin(chosen)).to_pylist():
        rows[row["game_id"]].append(row)
    games = [
        PlayedOnce(
            game_id=f"00222{number:05d}",
            type="RS",
            day=game_date(source),
            home=team_code(rows[source][0]["home"]),
            away=team_code(rows[source][0]["away"]),
            scores=tuple(Score(row["elapsed_s"], row["home_score"], row["away_score"]) for row in rows[source]),
        )
        for number, source in enumerate(chosen, 1)
    ]
    with StatsStandIn(games) as service:
        (fetched,) = fetch_from(service, tmp_path, seasons=[2023], phases=[Phase.REGULAR])
    assert fetched.missing == ()
    found, true = load_games(tmp_path, [2023]), true.select(np.isin(true.game_id, chosen))
    assert len(found) == len(true) == len(chosen)
    places = found.game_id.tolist()
    order = [places.index(f"00222{chosen.index(source) + 1:05d}") for source in true.game_id.tolist()]
    assert (found.differentials[order] == true.differentials).all()
    assert (found.final[order] == true.final).all()
    assert (found.date[order] == true.date).all()
