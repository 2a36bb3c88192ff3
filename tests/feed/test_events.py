"""Events of the NBA's payloads: the kind of each, the score after it, and the team with the ball."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from dejavu_feed.events import Event, EventKind, complete_events, free_throws_to_come, possessions, with_possession
from dejavu_feed.live_inputs import Possession, Side
from dejavu_feed.nba.event_rows import live_event, v2_event, v3_event
from dejavu_feed.nba.typed_fields import game_clock
from dejavu_feed.pattern import Score, elapsed_seconds, slots
from dejavu_feed.teams import CODES, TEAMS

BOS, LAL = TEAMS["BOS"].number, TEAMS["LAL"].number
MADE = Event(1, 30.0, 0, EventKind.SHOT, "BOS", made=True, value=3, player=1628369)


@pytest.mark.parametrize(
    ("read", "row", "expected"),
    [
        (
            live_event,
            {
                "actionType": "3pt", "subType": "Jump Shot", "descriptor": "pullup", "teamId": BOS,
                "shotResult": "Made", "shotDistance": 25.88, "personId": 1628369, "assistPersonId": 201950,
            },
            MADE._replace(distance=25.88, detail="pullup jump shot", other_player=201950),
        ),
        (
            v3_event,
            {
                "actionType": "Made Shot", "subType": "Jump Shot", "teamId": BOS, "shotResult": "Made", "shotValue": 3,
                "shotDistance": 26, "personId": 1628369,
            },
            MADE._replace(distance=26.0, detail="jump shot"),
        ),
        (
            v2_event,
            {
                "EVENTMSGTYPE": 1, "EVENTMSGACTIONTYPE": 1, "HOMEDESCRIPTION": "Tatum 26' 3PT Jump Shot (3 PTS)",
                "PLAYER1_ID": 1628369, "PLAYER1_TEAM_ID": str(BOS), "PLAYER2_ID": 0,
            },
            MADE,
        ),
        (
            v3_event,
            {
                "actionType": "Free Throw", "subType": "Free Throw Technical", "teamId": BOS, "personId": 5,
                "description": "MISS Tatum Free Throw Technical",
            },
            Event(1, 30.0, 0, EventKind.FREE_THROW, "BOS", made=False, attempt=1, attempts=1,
                  detail="free throw technical", player=5),
        ),
        (
            live_event,
            {"actionType": "freethrow", "subType": "2 of 3", "teamId": LAL, "shotResult": "Made", "personId": 5},
            Event(1, 30.0, 0, EventKind.FREE_THROW, "LAL", made=True, attempt=2, attempts=3, detail="2 of 3",
                  player=5),
        ),
        (
            v2_event,
            {"EVENTMSGTYPE": "3", "EVENTMSGACTIONTYPE": "16", "VISITORDESCRIPTION": "MISS Tatum Free Throw Technical",
             "PLAYER1_TEAM_ID": float(BOS), "PLAYER1_ID": 5},
            Event(1, 30.0, 0, EventKind.FREE_THROW, "BOS", made=False, attempt=1, attempts=1,
                  detail="technical", player=5),
        ),
        (
            v2_event,
            {"EVENTMSGTYPE": 2, "HOMEDESCRIPTION": "Smith BLOCK (1 BLK)",
             "VISITORDESCRIPTION": "MISS Tatum 26' 3PT Jump Shot",
             "PLAYER1_TEAM_ID": BOS, "PLAYER1_ID": 5},
            Event(1, 30.0, 0, EventKind.SHOT, "BOS", made=False, value=3, player=5),
        ),
        (
            v2_event,
            {"EVENTMSGTYPE": 4, "EVENTMSGACTIONTYPE": 0, "PLAYER1_ID": LAL, "PLAYER1_TEAM_ID": None},
            Event(1, 30.0, 0, EventKind.REBOUND, "LAL"),
        ),
        (
            v3_event,
            {"actionType": "", "teamId": BOS, "personId": 5, "description": "Tatum BLOCK (1 BLK)"},
            Event(1, 30.0, 0, EventKind.BLOCK, "BOS", player=5),
        ),
        (
            live_event,
            {"actionType": 7, "teamId": [], "personId": -1, "shotDistance": "x", "subType": None},
            Event(1, 30.0, 0, EventKind.OTHER),
        ),
    ],
)  # fmt: skip
def test_each_source_s_row_is_the_same_event(read: Any, row: dict[str, Any], expected: Event) -> None:
    assert read(row, 1, 30.0, 0) == expected


def test_a_score_stands_from_its_row_on_and_a_row_without_one_carries_it() -> None:
    rows = [
        (Event(1, 20.0, 3, EventKind.SHOT, "BOS", made=True, value=2), (2, 0)),
        (Event(1, 10.0, 1, EventKind.FOUL, "LAL"), None),
        (Event(1, 20.0, 4, EventKind.FOUL, "LAL"), None),
        (Event(1, 30.0, 5, EventKind.SHOT, "LAL", made=True, value=3), None),
        (Event(1, 40.0, 6, EventKind.TIMEOUT, "LAL"), (99, 0)),
    ]
    scores = (Score(0.0, 0, 0), Score(20.0, 2, 0), Score(30.0, 2, 3))
    events = complete_events(rows, scores, ("BOS", "LAL"))
    assert [(event.elapsed, event.home, event.away) for event in events] == [
        (10.0, 0, 0),
        (20.0, 2, 0),
        (20.0, 2, 0),
        (30.0, 2, 3),
        (40.0, 2, 3),
    ]


SHOT, FREE, FOUL = EventKind.SHOT, EventKind.FREE_THROW, EventKind.FOUL


@pytest.mark.parametrize(
    ("events", "possession"),
    [
        ([(SHOT, "BOS", {"made": True})], ["LAL"]),
        ([(SHOT, "BOS", {"made": False}), (EventKind.REBOUND, "BOS", {})], ["BOS", "BOS"]),
        ([(SHOT, "BOS", {"made": False}), (EventKind.REBOUND, "LAL", {})], ["BOS", "LAL"]),
        ([(EventKind.TURNOVER, "BOS", {}), (EventKind.STEAL, "LAL", {})], ["LAL", "LAL"]),
        (
            [
                (FOUL, "LAL", {"detail": "shooting"}),
                *((FREE, "BOS", {"made": True, "attempt": n, "attempts": 2}) for n in (1, 2)),
            ],
            ["BOS", "BOS", "LAL"],
        ),
        ([(FREE, "BOS", {"made": False, "attempt": 2, "attempts": 2}), (EventKind.REBOUND, "LAL", {})], ["BOS", "LAL"]),
        ([(EventKind.REBOUND, "LAL", {}), (FOUL, "BOS", {"detail": "personal"})], ["LAL", "LAL"]),
        ([(EventKind.REBOUND, "LAL", {}), (FOUL, "LAL", {"detail": "loose ball personal"})], ["LAL", "BOS"]),
        ([(EventKind.REBOUND, "LAL", {}), (FOUL, "BOS", {"detail": "technical"})], ["LAL", "LAL"]),
        (
            [(FOUL, "LAL", {"detail": "offensive"}), (EventKind.TURNOVER, "LAL", {"detail": "offensive foul"})],
            ["", "BOS"],
        ),
        (
            [
                (FOUL, "LAL", {"detail": "transition take"}),
                (FREE, "BOS", {"made": True, "attempt": 1, "attempts": 1}),
            ],
            ["BOS", "BOS"],
        ),
        (
            [
                (FOUL, "LAL", {"detail": "flagrant-type-1"}),
                *((FREE, "BOS", {"made": True, "attempt": n, "attempts": 2}) for n in (1, 2)),
            ],
            ["BOS", "BOS", "BOS"],
        ),
        (
            [
                (FOUL, "LAL", {"detail": "shooting"}),
                (FREE, "BOS", {"made": False, "attempt": 1, "attempts": 2}),
                (EventKind.REBOUND, "LAL", {}),  # of a team: no shot is in the air
            ],
            ["BOS", "BOS", "BOS"],
        ),
        (
            [  # of a tip-in that missed; the source has it before the rebound that it followed
                (SHOT, "BOS", {"made": False}),
                (SHOT, "BOS", {"made": False}),
                (EventKind.REBOUND, "BOS", {"player": 7}),
                (EventKind.REBOUND, "LAL", {"player": 8}),
            ],
            ["BOS", "BOS", "BOS", "LAL"],
        ),
        ([(SHOT, "BOS", {"made": True}), (EventKind.SUBSTITUTION, "BOS", {"after_gap": True})], ["", ""]),
        ([(SHOT, "BOS", {"made": True}), (SHOT, "LAL", {"made": False, "after_gap": True})], ["", "LAL"]),
        (
            [
                (EventKind.REBOUND, "LAL", {}),
                (FREE, "BOS", {"made": True, "attempt": 1, "attempts": 1, "detail": "technical"}),
            ],
            ["LAL", "LAL"],
        ),
        ([(EventKind.JUMP_BALL, "", {}), (SHOT, "LAL", {"made": False})], ["", "LAL"]),
    ],
)  # fmt: skip
def test_the_ball_goes_to_the_team_of_the_rule(
    events: list[tuple[EventKind, str, dict[str, Any]]], possession: list[str]
) -> None:
    given = [Event(1, float(n), n, kind, team, **fields) for n, (kind, team, fields) in enumerate(events)]
    assert [event.possession for event in with_possession(given, ("BOS", "LAL"))] == possession


def test_a_missed_shot_is_shot_in_air_until_somebody_has_the_rebound() -> None:
    kinds = [
        (SHOT, "BOS", False),
        (EventKind.BLOCK, "LAL", None),
        (EventKind.REBOUND, "LAL", None),
        (SHOT, "LAL", True),
    ]
    given = [Event(1, float(n), n, kind, team, made=made) for n, (kind, team, made) in enumerate(kinds)]
    found = [(event.possession, event.shot_in_air) for event in with_possession(given, ("BOS", "LAL"))]
    assert found == [("BOS", True), ("BOS", True), ("LAL", False), ("BOS", False)]


TWO = {"attempts": 2, "made": True}


@pytest.mark.parametrize(
    ("events", "coming"),
    [
        # Fouls of the live feed say the number, those of files do not: the free throws that follow do.
        ([(FOUL, "LAL", {"attempts": 2})], [2]),
        ([(FOUL, "LAL", {"detail": "shooting"})], [None]),
        ([(FOUL, "LAL", {})], [0]),
        ([(FOUL, "LAL", {}), (EventKind.TIMEOUT, "LAL", {}), (FREE, "BOS", {"attempt": 1, **TWO})], [2, 2, 1]),
        ([(FREE, "BOS", {"attempt": 2, **TWO}), (EventKind.TIMEOUT, "LAL", {})], [0, 0]),
        ([(SHOT, "BOS", {"made": True}), (FOUL, "LAL", {"attempts": 1})], [0, 1]),
        # The team keeps the ball after these.
        ([(FOUL, "LAL", {"detail": "flagrant-type-1", "attempts": 2})], [None]),
        ([(SHOT, "BOS", {"made": False}), (FOUL, "LAL", {"detail": "technical", "attempts": 1})], [0, None]),
        ([(FREE, "BOS", {"attempt": 1, "attempts": 2, "made": True, "detail": "clear path"})], [None]),
        ([(FOUL, "", {"attempts": 2})], [None]),  # nobody knows whose they are
    ],
)
def test_free_throws_to_come_are_known_until_the_clock_runs(
    events: list[tuple[EventKind, str, dict[str, Any]]], coming: list[int | None]
) -> None:
    given = [Event(4, 2700.0, n, kind, team, **fields) for n, (kind, team, fields) in enumerate(events)]
    given.append(Event(4, 2701.0, 9, EventKind.OTHER))
    assert free_throws_to_come(with_possession(given, ("BOS", "LAL"))) == (*coming, 0)


def test_a_source_of_scores_alone_tells_no_possession() -> None:
    made = Event(4, 2500.0, 1, SHOT, "BOS", made=True, value=2)
    missed, rebound = Event(4, 2510.0, 2, SHOT, "LAL", made=False), Event(4, 2511.0, 3, EventKind.REBOUND, "BOS")
    for events, last in (([made], ""), ([made, missed, rebound], "BOS")):
        found = complete_events([(event, None) for event in events], [Score(2500.0, 2, 0)], ("BOS", "LAL"))
        assert found[-1].possession == last


def test_possession_is_told_at_the_ends_of_the_last_minutes() -> None:
    balls = [(2400.0, "BOS", False), (2460.0, "LAL", True), (2461.0, "BOS", False), (2519.0, "", False)]
    told = possessions(balls, 47, "LAL")
    assert told[:41] == (None,) * 40 + (Possession(Side.HOME, shot_in_air=True),)
    assert told[41:] == (None,) * 6, "nobody is known to have the ball after the last event"
    assert possessions([*balls, (2700.0, "BOS", False)], 47, "LAL")[44:] == (Possession(Side.AWAY),) * 3
    assert possessions(balls, 48, "LAL")[47] is None, "the game is over"


def test_the_winner_of_the_opening_jump_ball_begins_the_last_quarter_the_other_team_those_between() -> None:
    given = [Event(1, 0.0, 0, EventKind.JUMP_BALL, "BOS")]
    given += [Event(period, 720.0 * (period - 1), period, EventKind.PERIOD_START) for period in (2, 3, 4, 5)]
    assert [event.possession for event in with_possession(given, ("BOS", "LAL"))] == ["BOS", "LAL", "LAL", "BOS", ""]


PAYLOADS = [
    "22500775-07_pbp_GameEnd.json.gz",
    "22500777-07_pbp_GameEnd.json.gz",
    "playbyplay_0022400561_overtime.json.gz",
    "playbyplay_0022000001.json",
]
NEED_THE_BALL = {EventKind.SHOT, EventKind.TURNOVER}
GAIN_THE_BALL = {EventKind.REBOUND, EventKind.JUMP_BALL, EventKind.STEAL}


@pytest.mark.real_data
def test_who_shoots_and_who_loses_the_ball_had_it_and_the_feed_agrees(data_dir: Path) -> None:
    """The feed's field names the team with the ball during a play, ours after the play before it."""
    attacks = wrong = told = differing = 0
    for name in PAYLOADS:
        path = data_dir / "feed" / name
        payload = json.loads(gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes())
        actions = sorted(payload["game"]["actions"], key=lambda action: int(action["orderNumber"]))
        rows, scores = [], [Score(0.0, 0, 0)]
        for action in actions:
            period, clock = game_clock(action, name)
            elapsed = elapsed_seconds(period, clock)
            score = int(action["scoreHome"]), int(action["scoreAway"])
            rows.append((live_event(action, period, elapsed, action["orderNumber"]), score))
            scores.append(Score(elapsed, *score))
        teams = sorted({event.team for event, _ in rows if event.team})
        events = complete_events(rows, scores, teams)
        assert slots([(event.elapsed, event.home, event.away) for event in events], 48) == slots(scores, 48)
        assert sum(event.points for event in events) == sum(scores[-1][1:])
        for before, event, action in zip(events, events[1:], actions[1:], strict=False):
            if event.kind in NEED_THE_BALL:
                attacks += 1
                wrong += before.possession != event.team
            field = CODES.get(action["possession"])
            if field and before.possession and event.kind not in GAIN_THE_BALL:
                told += 1
                differing += before.possession != field
    assert (attacks, wrong) == (824, 0)
    assert differing <= 0.012 * told
    assert told > 1_700
