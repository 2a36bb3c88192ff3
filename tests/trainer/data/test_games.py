from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.harness.real_games import real_games

from dejavu_feed.errors import DataError
from dejavu_feed.event_table import write_events
from dejavu_feed.events import Event, EventKind, with_possession
from dejavu_feed.live_inputs import COLUMNS
from dejavu_trainer.data.games import Games, count_games, load_games, parse_seasons
from dejavu_trainer.data.plays import Content, available_seasons, season_path, write_plays

Row = tuple[str, str, str, str | None, float, int, int]


def game(game_id: str = "202301010BOS", away: str | None = "BRK", *, final: tuple[int, int] = (8, 6)) -> list[Row]:
    """A short game with a row in each quarter."""
    rows = [(0.0, 0, 0), (60.0, 2, 0), (61.0, 2, 3), (1000.0, 4, 3), (1080.0, 4, 5), (1500.0, 6, 5), (2880.0, *final)]
    return [(game_id, "RS", game_id[-3:], away, elapsed, home, visitors) for elapsed, home, visitors in rows]


def save(folder: Path, season: int, rows: list[Row]) -> Path:
    names = ["game_id", "type", "home", "away", "elapsed_s", "home_score", "away_score"]
    return write_plays(folder, season, pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))


def test_the_seasons_of_a_folder_are_found_there_or_below(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no plays_SEASON\.parquet"):
        available_seasons(tmp_path)
    (tmp_path / "seasons").mkdir()
    for name in ("seasons/plays_2020.parquet", "plays_2019.parquet", "plays_last.parquet", "seasons/plays_2020.csv"):
        (tmp_path / name).touch()
    assert available_seasons(tmp_path) == [2019, 2020]


def test_a_slot_is_the_differential_at_the_end_of_its_minute(tmp_path: Path) -> None:
    save(tmp_path, 2023, game())
    games = load_games(tmp_path, [2023])
    assert games.differentials.shape == (1, 48)
    by_minute = dict(enumerate(games.differentials[0].tolist(), start=1))
    assert [by_minute[m] for m in (1, 2, 16, 17, 18, 24, 25, 26, 47, 48)] == [2, -1, -1, 1, -1, -1, 1, 1, 1, 2]
    assert games.final.tolist() == [2]


def test_totals_and_the_last_score_are_those_of_the_plays(tmp_path: Path) -> None:
    save(tmp_path, 2023, [*game(), ("202301010BOS", "RS", "BOS", "BRK", 3170.0, 8, 9)])
    games = load_games(tmp_path, [2023])
    by_minute = {
        minute: (total, side, seconds)
        for minute, total, side, seconds in zip(
            range(1, 49),
            games.totals[0].tolist(),
            games.live_column("last_score_side")[0].tolist(),
            games.live_column("last_score_seconds")[0].tolist(),
            strict=True,
        )
    }
    assert by_minute[1] == (2, 1, 0)
    assert by_minute[2] == (5, -1, 59)
    assert by_minute[18] == (9, -1, 0)
    assert by_minute[47] == (11, 1, 47 * 60 - 1500)
    assert by_minute[48] == (14, 1, 0)
    assert games.final_total.tolist() == [17]


def test_before_the_first_points_the_seconds_are_those_since_tip_off(tmp_path: Path) -> None:
    late = [(2, *row[1:4], row[4] + 130.0, *row[5:]) for row in game()[1:2]]
    rows = [("202301010BOS", *row[1:]) for row in late]
    save(tmp_path, 2023, rows + game()[3:])
    games = load_games(tmp_path, [2023])
    assert games.totals[0, :4].tolist() == [0, 0, 0, 2]
    assert games.live_column("last_score_side")[0, :4].tolist() == [0, 0, 0, 1]
    assert games.live_column("last_score_seconds")[0, :4].tolist() == [60, 120, 180, 50]


def test_of_scores_at_the_ends_of_minutes_alone_totals_are_not_known(tmp_path: Path) -> None:
    """They are the lowest scores with a game's differentials, one row a minute."""
    save(tmp_path, 2023, [(*row[:4], 60.0 * round(row[4] / 60), *row[5:]) for row in game()])
    games = load_games(tmp_path, [2023])
    assert games.differentials[0, 0] == 2 - 3, "the differentials are those of the rows"
    assert np.isnan(games.live).all()
    assert games.final_total.tolist() == [-1]


@pytest.mark.parametrize("left_out", [(), ("pregame_total",)], ids=["all inputs", "an export of some inputs"])
def test_recorded_totals_replace_those_of_the_rows(tmp_path: Path, left_out: tuple[str, ...]) -> None:
    rows = [(*row[:4], 60.0 * round(row[4] / 60), *row[5:]) for row in game()]
    table = dated(rows, date(2023, 1, 1))
    recorded = {
        "total_points": [None, 6, 9, None],
        "last_score_side": [None, 0, -1, None],
        "last_score_seconds": [None, 60, 4, None],
    }
    for name in [name for name in COLUMNS if name not in left_out]:
        table = table.append_column(name, pa.array(recorded.get(name, [None] * 4) + [None] * 3, pa.float32()))
    write_plays(tmp_path, 2023, table)
    games = load_games(tmp_path, [2023])
    assert games.totals[0, [0, 1, 16]].tolist() == [9, -1, -1], "of rows at one time the last counts"
    assert games.live[0, 0, :3].tolist() == [9, -1, 4]
    assert games.final_total.tolist() == [-1]


def test_games_get_who_has_the_ball_from_the_events_beside_the_plays(tmp_path: Path) -> None:
    save(tmp_path, 2023, [*game(), *game("202301020ATL", away="MIA")])
    without = load_games(tmp_path, [2023])
    events = [
        Event(4, 2455.0, 1, EventKind.SHOT, "BKN", made=False),
        Event(4, 2457.0, 2, EventKind.REBOUND, "BOS"),
        Event(4, 2580.0, 3, EventKind.SHOT, "BOS", made=False),
    ]
    write_events(season_path(tmp_path, 2023, Content.EVENTS), [(game()[0][0], with_possession(events, ("BOS", "BKN")))])
    games = load_games(tmp_path, [2023])
    sides, in_air = (games.live_column(f"possession_{part}")[0] for part in ("side", "shot_in_air"))
    assert np.isnan(sides[:40]).all()
    assert sides[40:43].tolist() == [1, 1, 1]
    assert in_air[40:43].tolist() == [0, 0, 1]
    assert np.isnan(games.live_column("possession_side")[1]).all()
    assert np.isnan(without.live_column("possession_side")).all()
    assert games.fingerprint != without.fingerprint


@pytest.mark.parametrize("name", ["lines.csv", "lines/closing.csv"])
def test_games_get_their_lines_from_a_file_beside_the_plays(tmp_path: Path, name: str) -> None:
    save(tmp_path, 2023, [*game(), *game("202301020ATL", away="MIA")])
    (tmp_path / name).parent.mkdir(exist_ok=True)
    without = load_games(tmp_path, [2023])
    (tmp_path / name).write_text("date,home,away,spread,total\n2023-01-01,BOS,BKN,-6½,231.5\n2023-01-03,DEN,LAL,PK,\n")
    games = load_games(tmp_path, [2023])
    assert games.line.tolist()[:1] == [6.5]
    assert games.total_line.tolist()[:1] == [231.5]
    assert np.isnan([games.line[1], games.total_line[1]]).all()
    assert np.isnan(without.line).all()
    assert games.fingerprint != without.fingerprint


@pytest.mark.parametrize(
    ("column", "sign", "refused"),
    [("spread", -1, False), ("spread", 1, True), ("pregame_margin", 1, False), ("pregame_margin", -1, True)],
)
def test_lines_of_the_wrong_sign_are_refused(tmp_path: Path, column: str, sign: int, refused: bool) -> None:
    finals = [5 if number % 3 else -5 for number in range(20)]
    rows = [
        game(f"202301{1 + number:02d}0BOS", final=(6 + final, 6) if final > 0 else (6, 6 - final))
        for number, final in enumerate(finals)
    ]
    save(tmp_path, 2023, [row for each in rows for row in each])
    table = [f"2023-01-{1 + number:02d},BOS,BKN,{sign * final * 0.9:.1f}" for number, final in enumerate(finals)]
    (tmp_path / "lines.csv").write_text("\n".join([f"date,home,away,{column}", *table]))
    if refused:
        message = r"lines\.csv: the lines of 2023 have the wrong sign: .* 20 games are 9\.5 points off, and 0\.5 off"
        with pytest.raises(DataError, match=message):
            load_games(tmp_path, [2023])
    else:
        assert np.sign(load_games(tmp_path, [2023]).line).tolist() == np.sign(finals).tolist()


def test_the_total_of_a_market_is_that_of_most_minutes_of_an_export(tmp_path: Path) -> None:
    table = dated(game(), date(2023, 1, 1))
    totals = [210.5, 210.5, 399.0, 210.5, None, None, None]
    for name in COLUMNS:
        values = totals if name == "pregame_total" else [None] * 7
        table = table.append_column(name, pa.array(values, pa.float32()))
    write_plays(tmp_path, 2023, table)
    assert load_games(tmp_path, [2023]).total_line.tolist() == [210.5]


def test_a_file_of_lines_that_is_none_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 2023, game())
    (tmp_path / "lines.csv").write_text("date,home,away,spread\n2023-01-01,BOS,BKN,much\n")
    with pytest.raises(DataError, match=r"lines\.csv line 2: spread: 'much' is not a number"):
        load_games(tmp_path, [2023])


def dated(rows: list[Row], day: date | None) -> pa.Table:
    names = ["game_id", "type", "home", "away", "elapsed_s", "home_score", "away_score"]
    plays = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    return plays.append_column("game_date", pa.array([day] * len(rows), pa.date32()))


def named_by_the_nba(game_id: str) -> list[Row]:
    return [(game_id, *row[1:]) for row in game()]


def test_an_id_of_the_nba_takes_its_date_from_the_column(tmp_path: Path) -> None:
    rows = [*named_by_the_nba("0022200564"), *game("202301010NYK")]
    write_plays(tmp_path, 2023, dated(rows, date(2023, 1, 1)))
    games = load_games(tmp_path, [2023])
    assert games.game_id.tolist() == ["0022200564", "202301010NYK"]
    assert games.date.tolist() == [date(2023, 1, 1)] * 2
    assert games.home.tolist() == ["BOS", "NYK"]


@pytest.mark.parametrize(
    ("plays", "complaint"),
    [
        (
            dated(named_by_the_nba("0022200564"), None).drop_columns("game_date"),
            r"0022200564: .* contains no date; expected one in a column game_date",
        ),
        (dated(named_by_the_nba("0022200564"), None), "row 1: game_date is missing"),
        (dated(game("202301010NYK"), date(2023, 1, 2)), "begins with a date other than 2023-01-02"),
        (dated(game(away=None), date(2023, 1, 1)), "holds no complete game"),
        (dated(game("2023-01-01BOS"), date(2023, 1, 1)), "not a game id"),
        (dated(game("202313010BOS"), date(2023, 1, 1)), "not begin with a date"),
        (dated(game(away="XYZ"), date(2023, 1, 1)), "XYZ"),
        (pa.table({"game_id": ["x"], "type": ["RS"]}), "lacks the columns home, away, elapsed_s"),
    ],
    ids=[
        "no column of dates",
        "no date",
        "another date",
        "no complete game",
        "no id",
        "no date in id",
        "no team",
        "no columns",
    ],
)
def test_a_season_that_cannot_be_used_is_refused_by_what_is_wrong(
    tmp_path: Path, plays: pa.Table, complaint: str
) -> None:
    pq.write_table(plays, tmp_path / "plays_2023.parquet")
    with pytest.raises(DataError, match=complaint):
        load_games(tmp_path, [2023])


def test_a_file_that_is_not_there_or_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"plays_2023\.parquet"):
        load_games(tmp_path, [2023])
    (tmp_path / "plays_2023.parquet").write_text("game_id,type\n")
    with pytest.raises(DataError, match=r"plays_2023\.parquet: can't be read"):
        load_games(tmp_path, [2023])


def test_games_carry_names_of_the_nba_their_date_and_phase(tmp_path: Path) -> None:
    save(tmp_path, 2023, game("202301010PHO") + [(row[0], "PO", *row[2:]) for row in game("202305010BOS")])
    games = load_games(tmp_path, [2023])
    assert (games.home[0], games.away[0]) == ("PHX", "BKN")
    assert games.date.tolist() == [date(2023, 1, 1), date(2023, 5, 1)]
    assert games.phase.tolist() == ["RS", "PO"]
    picked = games.select(games.phase == "PO")
    assert (picked.game_id.tolist(), len(picked.differentials)) == (["202305010BOS"], 1)
    assert len(games.of_seasons([2022])) == 0


def test_files_are_found_in_the_folder_and_in_its_folder_of_seasons(tmp_path: Path) -> None:
    save(tmp_path, 2022, game("202201010BOS"))
    save(tmp_path / "seasons", 2023, game())
    told = list[int]()
    assert load_games(tmp_path, [2023, 2022], told.append).season.tolist() == [2022, 2023]
    assert told == [1, 1]


def test_games_come_by_date_and_id_in_whatever_order_they_lie(tmp_path: Path) -> None:
    one, two, three = game("202301020ATL"), game("202301010LAL"), game("202301010BOS")
    interleaved = [row for rows in zip(one, two, three, strict=True) for row in rows]
    save(tmp_path, 2023, interleaved)
    games = load_games(tmp_path, [2023])
    assert games.game_id.tolist() == ["202301010BOS", "202301010LAL", "202301020ATL"]
    assert (games.differentials == games.differentials[0]).all()


@pytest.mark.parametrize(
    "left_out",
    [game(away=None), game(final=(7, 7)), [row for row in game() if not 720 < row[4] <= 1440]],
    ids=["no away team", "tied at the end", "a quarter without a row"],
)
def test_a_game_outside_the_rule_is_left_out(tmp_path: Path, left_out: list[Row]) -> None:
    save(tmp_path, 2023, left_out + game("202301020ATL"))
    assert load_games(tmp_path, [2023]).game_id.tolist() == ["202301020ATL"]


def test_what_is_asked_and_what_is_forecast_come_from_the_same_course(tmp_path: Path) -> None:
    save(tmp_path, 2023, game() + game("202301020ATL", final=(9, 6)))
    games = load_games(tmp_path, [2023])
    assert games.levels.shape == (2, 47)
    assert np.array_equal(games.levels, games.differentials[:, :47])
    assert games.outcomes.tolist() == [[-1.0, 2.0], [-1.0, 3.0]]


def test_parts_joined_are_the_whole(tmp_path: Path) -> None:
    save(tmp_path, 2023, game() + game("202301020ATL"))
    games = load_games(tmp_path, [2023])
    parts = [games.select(np.array([place])) for place in (0, 1)]
    assert Games.joined(parts).fingerprint == games.fingerprint


def test_the_fingerprint_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a", 2023, game("202301020ATL") + game("202301010BOS"))
    save(tmp_path / "b", 2023, game("202301010BOS") + game("202301020ATL"))
    save(tmp_path / "c", 2023, game("202301010BOS") + game("202301020ATL", final=(9, 6)))
    a, b, c = (load_games(tmp_path / name, [2023]).fingerprint for name in "abc")
    assert a == b != c
    assert len(a) == 64


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (("202301010BOS", "RS", "BOS", "BRK", float("nan"), 2, 0), "row 2: elapsed_s is nan"),
        (("202301010BOS", "RS", "BOS", "BRK", -1.0, 2, 0), "row 2: elapsed_s is -1"),
        (("202301010BOS", "RS", "BOS", "BRK", 30.0, 9999, 0), "row 2: home_score is 9999"),
    ],
)
def test_a_value_out_of_bounds_is_named_with_its_row(tmp_path: Path, row: Row, complaint: str) -> None:
    rows = game()
    rows[1] = row
    save(tmp_path, 2023, rows)
    with pytest.raises(DataError, match=complaint):
        load_games(tmp_path, [2023])


def test_a_game_in_two_seasons_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 2022, game())
    save(tmp_path, 2023, game())
    with pytest.raises(DataError, match="202301010BOS occurs in more than one season"):
        load_games(tmp_path, [2022, 2023])


def test_a_game_under_two_ids_is_refused(tmp_path: Path) -> None:
    plays = dated([*game("202301010BOS"), *named_by_the_nba("0022200564")], date(2023, 1, 1))
    write_plays(tmp_path, 2023, plays)
    both = "games 0022200564 and 202301010BOS are the same, BKN at BOS on 2023-01-01; expected one id per game"
    with pytest.raises(DataError, match=both):
        load_games(tmp_path, [2023])
    with pytest.raises(DataError, match="202301010BOS and 0022200564 are the same"):
        count_games(tmp_path / "plays.csv", plays)


def test_seasons_are_years_and_ranges() -> None:
    assert parse_seasons("2015-2017") == (2015, 2016, 2017)
    assert parse_seasons(" 2019, 2015-2016,2015 ") == (2015, 2016, 2019)


@pytest.mark.parametrize("text", ["", "15", "2017-2015", "2015-", "2015,,2016", "2015–2016", "all"])
def test_what_names_no_season_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_seasons(text)


@given(st.sets(st.integers(1947, 2100), min_size=1))
def test_listed_seasons_come_back_sorted(seasons: set[int]) -> None:
    assert parse_seasons(",".join(map(str, seasons))) == tuple(sorted(seasons))


@pytest.mark.nightly
@pytest.mark.real_data
def test_real_seasons_hold_the_games_that_the_rule_leaves(data_dir: Path) -> None:
    games = real_games(data_dir)
    seasons, counts = np.unique(games.season, return_counts=True)
    assert dict(zip(seasons.tolist(), counts.tolist(), strict=True)) == {
        2014: 1319,
        2015: 1310,
        2016: 1316,
        2017: 1309,
        2018: 1310,
        2019: 1312,
        2020: 1143,
        2021: 1171,
        2022: 1323,
        2023: 1320,
        2024: 1318,
    }
    order = list(zip(games.date.tolist(), games.game_id.tolist(), strict=True))
    assert order == sorted(order)
    assert set(games.home) | set(games.away) == set(games.home)
    assert len(set(games.home)) == 30
