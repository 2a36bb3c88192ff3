"""Parsing the NBA's statistics into games and score timelines: irregular payloads, and real ones."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.fakes.stats_service import PlayedOnce, log_payload, plays_payload, season_of_games

from dejavu_feed.errors import FeedError, IncompleteGame, MalformedFeed
from dejavu_feed.nba.stats_payloads import ListedGame, ScoreTimeline, read_game_log, read_score_timeline
from dejavu_feed.pattern import Score
from dejavu_feed.teams import TEAMS

GAMES = season_of_games(3)
GAME, NEUTRAL = GAMES[0], GAMES[1]


def listed(game: PlayedOnce = GAME, **changes: Any) -> ListedGame:
    last = game.scores[-1]
    fields: dict[str, Any] = {
        "game_id": game.game_id,
        "date": game.day,
        "teams": f"{game.away} @ {game.home}",
        "points": {game.home: last.home, game.away: last.away},
        "home": "" if game.neutral else game.home,
    }
    return ListedGame(**{**fields, **changes})


def small(*actions: dict[str, Any]) -> dict[str, Any]:
    """Return plays of `SMALL`: a game of BOS and NYK at a neutral site that ends 4–3 for the home team, BOS."""
    return {"game": {"gameId": "0022400001", "actions": list(actions)}}


SMALL = ListedGame("0022400001", date(2024, 10, 22), "NYK @ BOS", {"BOS": 4, "NYK": 3})


def action(place: int, clock: str, home: int | str, away: int | str, period: int = 1, **more: Any) -> dict[str, Any]:
    fields = {"location": "h", "teamId": TEAMS["BOS"].number, "actionType": "Made Shot", "subType": ""}
    score = {"scoreHome": str(home), "scoreAway": str(away)}
    return {"actionId": place, "actionNumber": 2 * place, "clock": clock, "period": period, **fields, **score, **more}


def edited(payload: dict[str, Any], index: int, **changes: Any) -> dict[str, Any]:
    """Return the plays with one action changed."""
    payload = copy.deepcopy(payload)
    payload["game"]["actions"][index] |= changes
    return payload


def test_two_rows_are_one_game_and_on_neutral_ground_the_plays_tell_the_host() -> None:
    games = {game.game_id: game for game in read_game_log(log_payload(GAMES, "2024-25", "Regular Season"))}
    assert games.keys() == {game.game_id for game in GAMES}
    assert games[GAME.game_id] == listed()
    assert games[NEUTRAL.game_id].home == ""
    course = read_score_timeline(plays_payload(NEUTRAL), games[NEUTRAL.game_id])
    assert course == ScoreTimeline(NEUTRAL.home, NEUTRAL.away, NEUTRAL.scores)


def test_a_game_without_a_winner_is_not_over() -> None:
    payload = log_payload(GAMES, "2024-25", "Regular Season")
    rows = payload["resultSets"][0]["rowSet"]
    where = payload["resultSets"][0]["headers"].index
    rows[0][where("WL")] = None
    rows[2][where("PTS")] = None
    games = read_game_log(payload)
    assert [game.over for game in games].count(False) == 2
    assert all(game.points == {} for game in games if not game.over)


@pytest.mark.parametrize(
    ("rows", "changes", "fault"),
    [
        ([1], {}, "the list has 1 rows of it, expected 2"),
        ([0, 1, 0], {}, "the list has 3 rows of it, expected 2"),
        ([1, 1], {}, "playing itself"),
        ([0, 1], {"TEAM_ID": [15016, None]}, "names team 15016, which is not in the league"),
        *(
            ([0, 1], {"PTS": [points, None]}, "expected 15 to 250 points")
            for points in (5000, -5000, 10**400, True, 3, "110", 110.0)
        ),
        ([0, 1], {"PTS": [100, 100]}, "expected a winner by 1 to 80"),
        ([0, 1], {"PTS": [249, 100]}, "expected a winner by 1 to 80"),
        ([0, 1], {"WL": ["L", "L"]}, "and nobody as the winner"),
        ([0, 1], {"WL": ["W", "L"], "PTS": [100, 110]}, "as the winner"),
        ([0, 1], {"GAME_DATE": ["2023-10-22"] * 2}, "the list has it on 2023-10-22, outside the season of its id"),
    ],
)
def test_a_game_that_the_list_garbles_does_not_hide_the_others(
    rows: list[int], changes: dict[str, list[Any]], fault: str
) -> None:
    payload = copy.deepcopy(log_payload(GAMES, "2024-25", "Regular Season"))
    log = payload["resultSets"][0]
    for column, values in changes.items():
        for row, value in zip(log["rowSet"], values, strict=False):
            row[log["headers"].index(column)] = row[log["headers"].index(column)] if value is None else value
    log["rowSet"][:2] = [log["rowSet"][row] for row in rows]
    games = read_game_log(payload)
    assert len(games) == len(GAMES)
    [wrong] = [game.fault for game in games if game.fault]
    assert re.search(fault, wrong)


def test_two_games_of_a_team_on_a_day_are_faults_both() -> None:
    payload = copy.deepcopy(log_payload(GAMES, "2024-25", "Regular Season"))
    rows, where = payload["resultSets"][0]["rowSet"], payload["resultSets"][0]["headers"].index
    again = [[*row] for row in rows[:2]]
    for row in again:
        row[where("GAME_ID")] = "0022401230"
    rows.extend(again)
    wrong = {game.game_id: game for game in read_game_log(payload) if game.fault}
    assert wrong.keys() == {rows[0][where("GAME_ID")], "0022401230"}
    assert all("in two games that day" in game.fault and not game.points for game in wrong.values())


def test_rows_without_a_score_and_starts_of_periods_are_no_news() -> None:
    payload = small(
        action(1, "PT12M00.00S", 9, 9, actionType="period", subType="start"),
        action(2, "PT11M00.00S", 2, 0),
        action(3, "PT10M00.00S", "", ""),
        action(4, "PT09M30.50S", 2, 3),
        action(5, "PT12M00.00S", 0, 0, period=2, actionType="period", subType="start"),
        action(6, "PT00M00.40S", 4, 3, period=4),
        action(7, "PT00M00.00S", 4, 3, period=4, actionType="period", subType="end"),
    )
    scores = ((0.0, 0, 0), (60.0, 2, 0), (149.5, 2, 3), (2879.6, 4, 3))
    assert read_score_timeline(payload, SMALL).scores == tuple(Score(*score) for score in scores)


@pytest.mark.parametrize("late", [(4, 3), (2, 0)], ids=["score of its number", "score of its clock"])
def test_a_play_entered_late_counts_at_its_clock(late: tuple[int, int]) -> None:
    """The first basket has the last number, and either the score at its number or the score at its clock."""
    by_number = late == (4, 3)
    payload = small(
        action(1, "PT10M00.00S", 0 if by_number else 2, 3),
        action(2, "PT09M00.00S", 2 if by_number else 4, 3),
        action(3, "PT11M00.00S", *late),
    )
    scores = ((0.0, 0, 0), (60.0, 2, 0), (120.0, 2, 3), (180.0, 4, 3))
    assert read_score_timeline(payload, SMALL).scores == tuple(Score(*score) for score in scores)


def test_a_correction_is_kept_where_it_was_made() -> None:
    payload = small(
        action(1, "PT11M00.00S", 3, 0),
        action(2, "PT10M00.00S", 2, 0, actionType="Instant Replay"),
        action(3, "PT09M00.00S", 2, 3),
        action(4, "PT08M00.00S", 4, 3),
    )
    scores = ((0.0, 0, 0), (60.0, 3, 0), (120.0, 2, 0), (180.0, 2, 3), (240.0, 4, 3))
    assert read_score_timeline(payload, SMALL).scores == tuple(Score(*score) for score in scores)


def test_without_a_word_on_sides_the_list_tells_the_host() -> None:
    scores = ((2, 0), (2, 3), (4, 3))
    payload = small(
        *(action(n, f"PT1{n - 1}M00.00S", *score, location="", teamId=0) for n, score in enumerate(scores, 1))
    )
    known = ListedGame("0022400001", date(2024, 10, 22), "NYK @ BOS", {"BOS": 4, "NYK": 3}, "BOS")
    assert read_score_timeline(payload, known).home == "BOS"
    with pytest.raises(IncompleteGame, match="neither the list nor the plays name the home team"):
        read_score_timeline(payload, SMALL)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"clock": "11:22"}, "action 3 is at '11:22' of period 1"),
        ({"clock": "PT06M00.00S", "period": 5}, "of period 5, which is not a valid"),
        ({"period": 0}, "of period 0"),
        ({"scoreHome": ""}, "action 3 has the score of only one team"),
        ({"scoreHome": "-2"}, "action 3.scoreHome is '-2', expected points"),
        ({"scoreHome": "٣"}, "expected points"),
        ({"actionId": None}, "actionId is missing"),
    ],
)
def test_a_play_that_cannot_be_read_refuses_the_game(changes: dict[str, Any], complaint: str) -> None:
    index = next(i for i, a in enumerate(plays_payload(GAME)["game"]["actions"]) if a["actionType"] == "Made Shot")
    payload = edited(plays_payload(GAME), index, actionId=3)
    with pytest.raises(MalformedFeed, match=complaint):
        read_score_timeline(edited(payload, index, **changes), listed())


@pytest.mark.parametrize(
    ("payload", "error", "complaint"),
    [
        ({}, MalformedFeed, "payload.game is missing"),
        ({"game": None}, MalformedFeed, "payload.game is missing"),
        (
            {"game": {"gameId": "0022400002", "actions": []}},
            MalformedFeed,
            "requested the plays of 0022400001, received",
        ),
        ({"game": {"gameId": "0022400001"}}, MalformedFeed, "game.actions is missing"),
        ({"game": {"gameId": "0022400001", "actions": ["x"]}}, MalformedFeed, "action is 'x', expected an object"),
        ({"game": {"gameId": "0022400001", "actions": []}}, IncompleteGame, "the NBA has no plays for it"),
        (
            small(action(1, "PT11M00.00S", 2, 0)),
            IncompleteGame,
            "its plays end with BOS 2, NYK 0; the list has BOS 4, NYK 3",
        ),
    ],
)
def test_what_are_not_the_plays_of_the_game_is_refused(payload: Any, error: type[FeedError], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        read_score_timeline(payload, SMALL)


@given(data=st.data())
def test_whatever_is_put_into_a_payload_leaves_by_name(data: st.DataObject) -> None:
    values: list[Any] = [None, True, -1, 7, 1.5, float("nan"), "", "x", [], {}, [[]], "9" * 5000, 10**30]
    junk = st.sampled_from(values)
    short = replace(GAME, scores=GAME.scores[:5])
    payload = copy.deepcopy(data.draw(st.sampled_from([plays_payload(short), log_payload([short], "2024-25", "RS")])))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            places.append((node, key))
            if isinstance(value, dict | list):
                walk(value)

    walk(payload)
    node, key = places[data.draw(st.integers(0, len(places) - 1))]
    node[key] = data.draw(junk)
    try:
        if "game" in payload:
            read_score_timeline(payload, listed(short))
        else:
            read_game_log(payload)
    except FeedError:
        pass


@pytest.mark.real_data
def test_the_real_list_is_844_games_with_5_on_neutral_ground(data_dir: Path) -> None:
    games = read_game_log(json.loads((data_dir / "feed" / "leaguegamelog_2025-26.json").read_text()))
    assert len(games) == 844
    assert all(game.over and not game.fault and len(game.points) == 2 for game in games)
    assert len([game for game in games if not game.home]) == 5
    opening = games[0]
    assert (opening.game_id, opening.date, opening.teams) == ("0022500001", date(2025, 10, 21), "HOU @ OKC")
    assert (opening.home, opening.points) == ("OKC", {"OKC": 125, "HOU": 124})


@pytest.mark.real_data
def test_the_real_plays_are_the_course_of_117_at_116(data_dir: Path) -> None:
    payload = json.loads((data_dir / "feed" / "playbyplayv3_0022400001.json").read_text())
    game = ListedGame("0022400001", date(2024, 11, 12), "ATL @ BOS", {"ATL": 117, "BOS": 116})
    course = read_score_timeline(payload, game)
    assert (course.home, course.away) == ("BOS", "ATL")
    scoring = [
        a for a in payload["game"]["actions"] if a["scoreHome"] and a["actionType"] in {"Made Shot", "Free Throw"}
    ]
    assert len(course.scores) == 1 + len(scoring)
    assert [(str(s.home), str(s.away)) for s in course.scores[1:]] == [
        (a["scoreHome"], a["scoreAway"]) for a in scoring
    ]
    assert course.scores[1] == Score(70.0, 0, 3)
    assert course.scores[-1] == Score(2873.9, 116, 117)


def test_scores_may_be_numbers_or_missing_and_actions_count_in_the_order_of_their_ids() -> None:
    payload = copy.deepcopy(plays_payload(GAME))
    payload["game"]["actions"].reverse()
    for play in payload["game"]["actions"]:
        for key in ("scoreHome", "scoreAway"):
            play[key] = int(play[key]) if play[key] else None
    assert read_score_timeline(payload, listed()).scores == GAME.scores
