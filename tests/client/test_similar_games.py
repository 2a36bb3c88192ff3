"""Past games in words: how one stood and went on, and what all of them say together."""

from __future__ import annotations

from typing import Any

import pytest

from dejavu.v1.forecast_pb2 import (
    HORIZON_FINAL,
    HORIZON_HALFTIME,
    ComponentPrediction,
    Explanation,
    Forecast,
    Horizon,
    SimilarGame,
    SimilarSummary,
)
from dejavu_client.similar_games import seen_before, seen_forecast, seen_together, story_of

PAST: dict[str, Any] = {
    "home_team": "ATL",
    "away_team": "CLE",
    "game_date": "2022-03-31",
    "differential": 6,
    "differential_at_horizon": -4,
}
SCORES = {"home_points": 49, "away_points": 43, "final_home_points": 98, "final_away_points": 102}
TURNED = {**SCORES, "mirrored": True, "differential": -6, "differential_at_horizon": 4}
SUMMARY = SimilarSummary(minute=18, games=3076, same_lead=50, home_led=38, turned=12, correction=-0.5)
PARTS = (ComponentPrediction(name="dejavu", prediction=7.0, weight=0.25),)


def forecast(horizon: Horizon.ValueType = HORIZON_FINAL, **explanation: Any) -> Forecast:
    explained = Explanation(
        **{"baseline_prediction": 6.0, "similar_summary": SUMMARY, "components": PARTS, **explanation}
    )
    return Forecast(home_team="BOS", away_team="LAL", elapsed_minutes=18, horizon=horizon, explanation=explained)


@pytest.mark.parametrize(
    ("changed", "horizon", "story"),
    [
        (SCORES, HORIZON_FINAL, "ATL led by 6 (49–43) and lost by 4 (98–102)"),
        (TURNED, HORIZON_FINAL, "ATL led by 6 (49–43) and lost by 4 (98–102)"),
        ({"differential": -6}, HORIZON_FINAL, "CLE led by 6 and won by 4"),
        ({"differential": 0}, HORIZON_FINAL, "it was level and CLE won by 4"),
        (SCORES, HORIZON_HALFTIME, "ATL led by 6 (49–43) and was behind by 4 at the half"),
    ],
)
def test_a_past_game_is_told_of_the_side_that_led(
    changed: dict[str, Any], horizon: Horizon.ValueType, story: str
) -> None:
    assert story_of(SimilarGame(**{**PAST, **changed}), horizon) == story


def test_one_sentence_names_the_nearest_game_beside_this_one() -> None:
    begin = "Seen before: CLE at ATL, 31 March 2022. After minute 18 ATL led by 6"
    games = [SimilarGame(**PAST), SimilarGame(**PAST)]
    assert seen_before(forecast(similar_games=games)) == f"{begin}, as BOS did here, and lost by 4."
    assert (
        seen_before(forecast(similar_games=games, baseline_prediction=-5.0))
        == f"{begin} (here LAL led by 5) and lost by 4."
    )
    assert not seen_before(Forecast())


def test_the_mean_of_all_and_its_correction_sum_to_what_dejavu_says() -> None:
    assert (
        seen_together(forecast())
        == "Of the 50 similar games with this lead LAL's side, which was behind, won 12, and BOS's side 38."
    )
    assert seen_forecast(forecast()) == (
        "Similar games, 25 % of this forecast, say BOS +7 at the end: their mean is BOS +7.5, and "
        "LAL +0.5 is for home advantage and what else differs here."
    )
    level = forecast(HORIZON_HALFTIME, baseline_prediction=0.0)
    assert seen_together(level) == "Of the 50 similar games with this lead BOS's side led in 38 at the half."
    alone = forecast(similar_summary=SimilarSummary(games=3076))
    assert seen_together(alone) == "None of the 3,076 similar games had a lead like this one."
    assert "not made of them" in seen_forecast(forecast(components=()))
    assert seen_together(Forecast()) == seen_forecast(Forecast()) == ""
