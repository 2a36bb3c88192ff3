"""Games whose record contradicts itself show on the scorecard as doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.evening_events import (
    FINAL,
    GAME,
    HALF,
    OTHER,
    Event,
    card,
    figures,
    reported,
    said,
    told,
    withdrawn,
)
from tests.support.builders.record_book import new_book

from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.moment import Moment
from dejavu_ledger import verify

DAY = 1440
UNNAMED: dict[str, Any] = {"teams": ("", "")}
LAL_DEN: dict[str, Any] = {"home_team": "LAL", "away_team": "DEN"}
SWAPPED: dict[str, Any] = {"home_team": "GSW", "away_team": "BKN"}


def total_before_tip_off(points: float) -> dict[str, LiveInputs]:
    return {"live": LiveInputs(pregame_total=points)}


def neutral(site: bool) -> dict[str, LiveInputs]:
    return {"live": LiveInputs(neutral_site=site)}


REPLAYS = ("9926100001", "9926100002")

PACES: list[tuple[list[tuple[int, float]], float, int]] = [
    ([(6, 0), (46, 40)], 42, 0),
    ([(6, 0), (46, 120)], 125, 0),
    ([(6, 5), (7, 5.1), (8, 5.2), (40, 35)], 43, 0),  # behind a feed that was late
    ([(6, 0), (46, 34)], 42, 1),
    ([(6, 0), (40, 90), (46, 90.5)], 95, 1),
    ([(6, 0)], 36, 1),
    ([(6, 0), (46, 90)], 92, 0),
]
"""Minutes of forecasts and when they are made, when the outcome is observed, and whether the game is doubtful."""

STATED: list[tuple[int, list[tuple[int, float, dict[str, Any]]]]] = [
    (0, [(18, 3.0, {}), (18, 8.0, {"alpha": 0.1}), (19, 20.0, {}), (24, -30.0, {})]),
    (0, [(18, 3.0, {}), (18, 28.0, {})]),  # a correction
    (1, [(18, 3.0, {}), (19, 28.0, {})]),
    (0, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": 4.0})]),
    (1, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {})]),
    (1, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": -9.0})]),
    (1, [(18, 3.0, {}), (19, 5.0, neutral(True))]),
    (1, [(18, 3.0, {}), (19, 5.0, total_before_tip_off(220.0))]),
    (0, [(18, 3.0, total_before_tip_off(each)) for each in (220.0, 240.0)]),  # a correction
    (1, [(each, 3.0, total_before_tip_off(200.0 + each)) for each in (18, 19)]),
    (1, [(each, 3.0, neutral(each > 18)) for each in (18, 19)]),
]
"""Whether the game is doubtful, and what is stated of it: minute, lead and further arguments."""

DOUBTFUL: dict[str, Sequence[tuple[list[Event], int] | tuple[list[Event], int, int]]] = {
    "identity": [
        ([said(20), said(20, 4.0, game_id, **second), *(reported(game_id=each, **UNNAMED) for each in {GAME, game_id})],
         doubtful)
        for game_id, second, doubtful in [
            (OTHER, LAL_DEN, 0),
            (OTHER, {}, 2),
            (OTHER, SWAPPED, 2),
            (OTHER, {"home_team": "LAL"}, 2),
            (OTHER, {"home_team": "", "away_team": ""}, 1),
            (OTHER, {"at": DAY}, 0),
            (GAME, SWAPPED, 1),
            (GAME, {"home_team": "LAL"}, 1),
            ("0022599999", LAL_DEN, 1),
            ("0072500001", LAL_DEN, 1),
        ]
    ],
    # Forecasts that are made after the game, one after another, are in the right order and in time.
    "told faster than it can be played": [
        ([*(said(minute, at=at) for minute, at in minutes), reported(at=end)], doubtful)
        for minutes, end, doubtful in PACES
    ],
    # A caller states the lead: a false one makes persistence, the comparison, worse, and a margin can offset it.
    "forecasts that contradict one another": [
        ([*(said(minute, lead, at=2 * place, **more) for place, (minute, lead, more) in enumerate(made)), reported(5)],
         doubtful)
        for doubtful, made in STATED
    ],
    # A caller states the line-ups: with different ones for each forecast, it could choose the expected margin.
    "line-ups that change their effect": [
        ([*(said(minute, place, at=2 * minute + place / 60, effect=effect)
            for place, (minute, effect) in enumerate(made)), reported(5)], doubtful)
        for doubtful, made in [
            (0, [(12, -4.0), (12, 3.9), (24, -4.0)]),
            (0, [(1, 0.0), (12, 9.0), (24, 9.0)]),  # 0: who plays was not known yet
            (1, [(12, -4.0), (24, 4.1)]),
            (1, [(12, -4.0), (12, 4.1), (12, -4.0)]),  # sent again until it suits
        ]
    ],
    "a lead that no minute of play allows": [
        ([*(said(moment=Moment(4, left, lead)) for left, lead in zip((400.0, 370.0, 365.0), leads, strict=False)),
          reported(6)], doubtful)
        for leads, doubtful in [((3, 6), 0), ((3, 20), 0), ((3, 30), 1), ((3, 20, 37), 1)]
    ],
    "an overtime that the game did not have": [
        ([said(moment=Moment(6, 100.0, 3)), reported(6, overtimes=overtimes)], doubtful)
        for overtimes, doubtful in [(None, 1), (0, 1), (1, 1), (2, 0), (6, 0), (7, 1)]
    ],
    # Somebody else may have recorded the first one, half a day before the game.
    "forecasts in time and others after the evening": [([said(1), said(20, at=780), reported()], 1)],
    # Also not if the outcome is withdrawn; and all games of a replay are played on one day.
    "late forecasts and replays": [
        ([said(40), said(20, **SWAPPED), reported(10), withdrawn(), *(said(20, game_id=each) for each in REPLAYS),
          *(reported(10, game_id=each) for each in REPLAYS)], 0),
    ],
    # A forecast of a total is compared with pace × time, and a caller who states points could move all intervals.
    "points that fall or exceed those of the outcome, which teach nothing": [
        ([*(said(minute, at=2 * place, points=points, model_version=f"v{minute}")
            for place, (minute, points) in enumerate(made)), reported(4, total_points=total)],
         int(learned < 3), learned)
        for made, total, learned in [
            ([(18, 80), (19, 84), (20, 84)], 200, 3),
            ([(18, 80), (19, 74), (20, 84)], 200, 3),  # a feed that was corrected
            ([(17, 78), (18, 80), (19, 190), (19, 84)], 200, 3),  # a correction
            ([(18, 150), (19, 84), (20, 86)], 200, 0),
            ([(16, 70), (18, 150), (20, 86)], 200, 1),
            ([(16, 70), (18, 150), (20, 160)], 148, 2),
            ([(16, 70), (18, 150), (20, 160)], None, 3),
        ]
    ],
}  # fmt: skip
"""What is doubtful → events of games, how many of the games are, and from how many models' forecasts is learned."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{name} {place}") for name, cases in DOUBTFUL.items() for place, case in enumerate(cases)],
)
def test_a_game_whose_record_contradicts_itself_shows_on_the_card(
    tmp_path: Path, case: tuple[list[Event], int] | tuple[list[Event], int, int]
) -> None:
    events, doubtful, *learned = case
    with new_book(tmp_path) as book:
        told(book, *events)
        assert card(book).doubtful_games == doubtful
        assert not learned or figures(book, "learned") == {"learned": learned}
    verify(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.mark.parametrize("swapped", [{"horizon": HALF, "minute": 20}, {"minute": 41, "model_version": "v2"}])
def test_an_outcome_of_other_teams_than_the_forecasts_on_a_card_leaves_them_out(
    tmp_path: Path, swapped: dict[str, Any]
) -> None:
    """The differential has the wrong sign for them, and no entry on the card need have the outcome's teams."""
    with new_book(tmp_path) as book:
        told(book, said(20, model_version="v1"), said(**{"minute": 20, **SWAPPED, **swapped}))
        told(book, reported(10, teams=("GSW", "BKN")))
        found = card(book, FINAL, model_version="v1")
    assert (found.games, found.left_out.sides, found.doubtful_games) == (0, 1, 1)
