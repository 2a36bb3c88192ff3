"""Games of seasons: read from plays and what is beside them, with states at moments, split by date, simulated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders.folds import random_walks

from dejavu_feed.errors import DataError
from dejavu_feed.event_table import write_events
from dejavu_feed.events import Event, EventKind, with_possession
from dejavu_feed.live_inputs import COLUMNS
from dejavu_feed.pattern import Score, period_of
from dejavu_trainer.data.games import COLUMNS as STATE
from dejavu_trainer.data.games import (
    count_games,
    hold_out_last,
    load_games,
    moments_of,
    parse_seasons,
    split_seasons,
)
from dejavu_trainer.data.plays import SeasonFile, season_path, write_plays

Row = tuple[str, str, str, str | None, float, int, int]


def game(game_id: str = "202301010BOS", away: str | None = "BRK", *, final: tuple[int, int] = (8, 6)) -> list[Row]:
    """A short game with a row in each quarter."""
    rows = [(0.0, 0, 0), (60.0, 2, 0), (61.0, 2, 3), (1000.0, 4, 3), (1080.0, 4, 5), (1500.0, 6, 5), (2880.0, *final)]
    return [(game_id, "RS", game_id[-3:], away, elapsed, home, visitors) for elapsed, home, visitors in rows]


def save(folder: Path, season: int, rows: list[Row]) -> Path:
    names = ["game_id", "type", "home", "away", "elapsed_s", "home_score", "away_score"]
    return write_plays(folder, season, pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))))


def test_a_slot_is_the_differential_at_the_end_of_its_minute(tmp_path: Path) -> None:
    save(tmp_path, 2023, game())
    games = load_games(tmp_path, [2023])
    assert games.differentials.shape == (1, 48)
    by_minute = dict(enumerate(games.differentials[0].tolist(), start=1))
    assert [by_minute[m] for m in (1, 2, 16, 17, 18, 24, 25, 26, 47, 48)] == [2, -1, -1, 1, -1, -1, 1, 1, 1, 2]
    assert games.outcomes.tolist() == [[-1.0, 2.0]]


def test_of_scores_at_the_ends_of_minutes_alone_totals_are_not_known(tmp_path: Path) -> None:
    """They are the lowest scores with a game's differentials, one row a minute."""
    save(tmp_path, 2023, [(*row[:4], 60.0 * round(row[4] / 60), *row[5:]) for row in game()])
    games = load_games(tmp_path, [2023])
    assert games.differentials[0, 0] == 2 - 3, "the differentials are those of the rows"
    assert np.isnan(games.live).all()
    assert games.final_total.tolist() == [-1]


def test_recorded_inputs_replace_those_of_the_rows(tmp_path: Path) -> None:
    table = dated([(*row[:4], 60.0 * round(row[4] / 60), *row[5:]) for row in game()], date(2023, 1, 1))
    recorded: dict[str, list[float | None]] = {
        "total_points": [None, 6, 9, None, None, None, None],
        "last_score_side": [None, 0, -1, None, None, None, None],
        "last_score_seconds": [None, 60, 4, None, None, None, None],
        "pregame_total": [210.5, 210.5, 210.5, 399.0, 210.5, None, None],
    }
    for name in [name for name in COLUMNS if name != "possession_side"]:
        table = table.append_column(name, pa.array(recorded.get(name, [None] * 7), pa.float32()))
    write_plays(tmp_path, 2023, table)
    games = load_games(tmp_path, [2023])
    assert games.totals[0, [0, 1, 16]].tolist() == [9, -1, -1], "of rows at one time the last counts"
    assert games.live[0, 0, :3].tolist() == [9, -1, 4]
    assert games.final_total.tolist() == [-1]
    assert games.total_line.tolist() == [210.5], "that of most minutes"


def test_games_get_who_has_the_ball_from_the_events_beside_the_plays(tmp_path: Path) -> None:
    save(tmp_path, 2023, [*game(), *game("202301020ATL", away="MIA")])
    without = load_games(tmp_path, [2023])
    events = [
        Event(4, 2455.0, 1, EventKind.SHOT, "BKN", made=False),
        Event(4, 2457.0, 2, EventKind.REBOUND, "BOS"),
        Event(4, 2580.0, 3, EventKind.SHOT, "BOS", made=False),
    ]
    write_events(
        season_path(tmp_path, 2023, SeasonFile.EVENTS), [(game()[0][0], with_possession(events, ("BOS", "BKN")))]
    )
    games = load_games(tmp_path, [2023])
    sides, in_air = (games.live_column(f"possession_{part}")[0] for part in ("side", "shot_in_air"))
    assert np.isnan(sides[:40]).all()
    assert sides[40:43].tolist() == [1, 1, 1]
    assert in_air[40:43].tolist() == [0, 0, 1]
    assert np.isnan(games.live_column("possession_side")[1]).all()
    assert games.fingerprint != without.fingerprint


def test_games_get_their_lines_from_a_file_beside_the_plays(tmp_path: Path) -> None:
    save(tmp_path, 2023, [*game(), *game("202301020ATL", away="MIA")])
    without = load_games(tmp_path, [2023])
    (tmp_path / "lines.csv").write_text(
        "date,home,away,spread,total\n2023-01-01,BOS,BKN,-6½,231.5\n2023-01-03,DEN,LAL,PK,\n"
    )
    games = load_games(tmp_path, [2023])
    assert games.line.tolist()[:1] == [6.5]
    assert games.total_line.tolist()[:1] == [231.5]
    assert np.isnan([games.line[1], games.total_line[1]]).all()
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


def dated(rows: list[Row], day: date | list[date] | None) -> pa.Table:
    names = ["game_id", "type", "home", "away", "elapsed_s", "home_score", "away_score"]
    plays = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    return plays.append_column("game_date", pa.array(day if isinstance(day, list) else [day] * len(rows), pa.date32()))


def named_by_the_nba(game_id: str) -> list[Row]:
    return [(game_id, *row[1:]) for row in game()]


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
        (dated(game("202313010BOS"), date(2023, 1, 1)), "not begin with a date"),
        *(
            (dated([game()[0], (*game()[1][:4], elapsed, points, 0), *game()[2:]], date(2023, 1, 1)), complaint)
            for elapsed, points, complaint in (
                (float("nan"), 2, "row 2: elapsed_s is nan; expected 0 to 8880"),
                (30.0, 9999, "row 2: home_score is 9999; expected 0 to 400"),
            )
        ),
        (dated(game(away="XYZ"), date(2023, 1, 1)), "XYZ"),
        (pa.table({"game_id": ["x"], "type": ["RS"]}), "lacks the columns home, away, elapsed_s"),
    ],
)
def test_a_season_that_cannot_be_used_is_refused_by_what_is_wrong(
    tmp_path: Path, plays: pa.Table, complaint: str
) -> None:
    pq.write_table(plays, tmp_path / "plays_2023.parquet")
    with pytest.raises(DataError, match=complaint):
        load_games(tmp_path, [2023])


def test_a_file_that_is_not_there_or_no_parquet_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no plays_SEASON\.parquet"):
        load_games(tmp_path, [2023])
    (tmp_path / "plays_2022.parquet").write_text("game_id,type\n")
    with pytest.raises(DataError, match=r"contains no plays_2023\.parquet"):
        load_games(tmp_path, [2023])
    with pytest.raises(DataError, match=r"plays_2022\.parquet: can't be read"):
        load_games(tmp_path, [2022])


def test_games_of_a_folder_and_its_folder_of_seasons_come_by_date_and_id_with_names_of_the_nba(tmp_path: Path) -> None:
    one, two, three = game("202301020ATL"), game("202301010PHO"), named_by_the_nba("0022200564")
    rows = [row for rows in zip(one, two, three, strict=True) for row in rows]  # interleaved
    days = [date(2023, 1, 2), date(2023, 1, 1), date(2023, 1, 1)] * len(one)
    write_plays(tmp_path / "seasons", 2023, dated(rows, days))
    save(tmp_path, 2022, [(row[0], "PO", *row[2:]) for row in game("202206010BOS")])
    told = list[int]()
    games = load_games(tmp_path, [2023, 2022], told.append)
    assert told == [1, 1]
    assert games.game_id.tolist() == ["202206010BOS", "0022200564", "202301010PHO", "202301020ATL"]
    assert games.date.tolist() == [date(2022, 6, 1), date(2023, 1, 1), date(2023, 1, 1), date(2023, 1, 2)]
    assert (games.home.tolist(), set(games.away.tolist())) == (["BOS", "BOS", "PHX", "ATL"], {"BKN"})
    assert (games.season.tolist(), games.phase.tolist()) == ([2022, 2023, 2023, 2023], ["PO", "RS", "RS", "RS"])
    assert (games.differentials == games.differentials[0]).all()


def test_the_fingerprint_is_of_the_content_not_of_the_file(tmp_path: Path) -> None:
    save(tmp_path / "a", 2023, game("202301020ATL") + game("202301010BOS"))
    save(tmp_path / "b", 2023, game("202301010BOS") + game("202301020ATL"))
    save(tmp_path / "c", 2023, game("202301010BOS") + game("202301020ATL", final=(9, 6)))
    a, b, c = (load_games(tmp_path / name, [2023]).fingerprint for name in "abc")
    assert a == b != c
    assert len(a) == 64


def test_a_game_in_two_seasons_or_under_two_ids_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 2022, game())
    save(tmp_path, 2023, game())
    with pytest.raises(DataError, match="are the same, BKN at BOS on 2023-01-01, in seasons 2022 and 2023"):
        load_games(tmp_path, [2022, 2023])
    plays = dated([*game("202301010BOS"), *named_by_the_nba("0022200564")], date(2023, 1, 1))
    with pytest.raises(DataError, match="games 202301010BOS and 0022200564 are the same"):
        count_games(tmp_path / "plays.csv", plays)


def test_seasons_are_named_by_the_year_they_end_in_or_as_the_nba_does() -> None:
    assert parse_seasons(" 2019, 2015-2016,2015 ") == (2015, 2016, 2019)
    assert parse_seasons("2024-25,2023-24") == (2024, 2025)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("2024-26", r"'2024-26' is not a season; did you mean 2024-25\?"),
        *((text, "is neither a season") for text in ("", "2015-", "all", "٢٠٢٤-٢٥")),
    ],
)
def test_what_names_no_season_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_seasons(text)


SHOT, FOUL, FREE_THROW, REBOUND = EventKind.SHOT, EventKind.FOUL, EventKind.FREE_THROW, EventKind.REBOUND


def event(elapsed: float, score: tuple[int, int], kind: EventKind, team: str, **fields: Any) -> Event:
    return Event(period_of(elapsed), elapsed, 0, kind, team, *score, **fields)


EVENTS = with_possession(
    [
        event(1290.0, (40, 40), SHOT, "BOS", made=False),
        event(1300.0, (40, 40), REBOUND, "LAL"),
        event(1440.0, (40, 40), SHOT, "LAL", made=False),
        event(2860.0, (90, 90), REBOUND, "LAL"),
        event(2860.0, (90, 90), EventKind.TIMEOUT, "LAL"),
        event(2870.5, (90, 90), FOUL, "LAL", detail="shooting"),
        event(2870.5, (91, 90), FREE_THROW, "BOS", made=True, attempt=1, attempts=2),
        event(2870.5, (91, 90), FREE_THROW, "BOS", made=False, attempt=2, attempts=2),
        event(2875.0, (91, 90), FOUL, "BOS", detail="technical", attempts=1),
        event(2875.0, (91, 91), FREE_THROW, "LAL", made=True, attempt=1, attempts=1, detail="technical"),
        event(2876.0, (91, 91), REBOUND, "LAL"),
        event(2880.0, (91, 91), SHOT, "LAL", made=False),
        event(2890.0, (91, 93), SHOT, "LAL", made=True),
    ],
    ("BOS", "LAL"),
)


SCORES = [Score(100, 2, 0), Score(1300, 40, 40), Score(2860, 90, 90), Score(2870.5, 91, 90), Score(2890, 91, 93)]


def test_a_state_has_score_ball_and_free_throws_after_each_play_that_changes_it() -> None:
    assert moments_of(SCORES, EVENTS, "BOS").tolist() == [
        [1290, 0, 80, 1, 1, 0],
        [1300, 0, 80, -1, 0, 0],  # then the half ends
        [2860, 0, 180, -1, 0, 0],
        [2870.5, 0, 180, 1, 0, 2],
        [2870.5, 1, 181, 1, 0, 1],
        [2870.5, 1, 181, 1, 1, 0],  # after the technical foul it is not known who shoots how often
        [2876, 0, 182, -1, 0, 0],
        [2890, -2, 184, 1, 0, 0],  # overtime
    ]


@pytest.mark.parametrize(
    ("scores", "events", "rows"),
    [
        (SCORES, [], 4),
        (SCORES[::-1], EVENTS, 0),  # a clock that runs backwards
        (SCORES, EVENTS[::-1], 4),
        ([*SCORES, Score(2900, 91, 95)], EVENTS, 5),  # another game
    ],
)
def test_without_events_of_the_same_game_the_scores_are_known_alone(
    scores: list[Score], events: Sequence[Event], rows: int
) -> None:
    found = moments_of(scores, events, "BOS")
    assert len(found) == rows
    assert not found[:, STATE.index("side")].any()


@pytest.mark.parametrize(
    ("train", "calibrate", "message"),
    [
        ([2019, 2020], [2020, 2021], "2020: calibrating on training games"),
        ([2020], [2019], "begin on 2018-11-01, the training games end on 2019-11-03"),
        ([2018, 2020], [2019, 2021], "begin on 2018-11-01, the training games end on 2019-11-03"),
        ([2019], [], "at least one"),
        ([], [2019], "at least one"),
        ([2019], [2030], "no games of season 2030"),
    ],
)
def test_parts_that_share_a_season_overlap_in_time_or_are_empty_are_refused(
    train: list[int], calibrate: list[int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        split_seasons(random_walks(10, range(2018, 2022)), train, calibrate)


@given(st.lists(st.integers(0, 60), min_size=2, max_size=200), st.floats(0.01, 0.99))
def test_what_is_held_out_is_later_day_by_day(days: list[int], share: float) -> None:
    dates = np.datetime64("2020-11-01") + np.sort(np.array(days)).astype("timedelta64[D]")
    try:
        earlier, later = hold_out_last(dates, share)
    except DataError:
        assert (dates[: len(dates) - round(len(dates) * share)] == dates[0]).all()
        return
    assert (earlier ^ later).all()
    assert earlier.any()
    assert later.any()
    assert dates[earlier].max() < dates[later].min()
    largest_day = np.unique(dates, return_counts=True)[1].max()
    assert abs(later.sum() - share * len(dates)) <= largest_day + 1
