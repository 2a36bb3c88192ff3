from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.box_score import lineups
from dejavu_models.expectations import Expectations, RatedGame
from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.player_ratings import KNOWN_AFTER, LineupWeights, PlayerRating, PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import NO_TERMS, GameTerms
from dejavu_models.team_filter import CODES, LEVEL, RatingSettings, carried_expectations

SETTINGS = RatingSettings()
START = RatingFilter.start(SETTINGS)
TEAM = st.sampled_from(CODES)


def season_of_games(
    strengths: dict[str, float], games: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return days, home and away teams and final differentials; the home advantage is 3 points."""
    rng = np.random.default_rng(seed)
    pairs = np.array([rng.choice(len(CODES), 2, replace=False) for _ in range(games)])
    home, away = (np.array(CODES)[pairs[:, side]] for side in (0, 1))
    expected = np.array([strengths[one] - strengths[other] + 3.0 for one, other in zip(home, away, strict=True)])
    days = np.datetime64("2030-10-20") + np.sort(rng.integers(0, 170, games)).astype("timedelta64[D]")
    return days, home, away, np.round(expected + rng.normal(0, 12, games))


def test_strengths_and_home_advantage_are_found_from_results() -> None:
    rng = np.random.default_rng(1)
    truth = dict(zip(CODES, rng.normal(0, 5, len(CODES)).tolist(), strict=True))
    days, home, away, final = season_of_games(truth, 2460, 2)
    state = carried_expectations(START, np.full(2460, 2031), days, home, away, final, [NO_TERMS] * 2460)[2]
    assert np.corrcoef([truth[code] for code in CODES], state.mean[:LEVEL])[0, 1] > 0.93
    assert state.mean[LEVEL] == pytest.approx(3.0, abs=0.8)
    assert state.newest == days[-1].item()


def test_the_full_usual_line_up_has_no_effect_at_all() -> None:
    """Its value by minutes and by usual shares differs by a rounding error, which once counted as missing players."""
    teams = {"BOS": range(1, 10), "LAL": range(101, 110)}
    players = {
        number: PlayerRating(team, 0.3 * (number % 7), 6.0, 0.1 * place, 0.0, 0.07 * place, 2031)
        for team, numbers in teams.items()
        for place, number in enumerate(numbers, 1)
    }
    weights = LineupWeights(missing=1.0, usual=0.3, margin=-0.2)
    ratings = PlayerRatings(players, dict.fromkeys(teams, KNOWN_AFTER), 2031, weights=weights)
    seen = lineups(teams["BOS"][:5], teams["LAL"][:5], teams["BOS"][:9], teams["LAL"][:8])
    state = START.predict(2031, np.datetime64("2030-11-01")).update("BOS", "LAL", 5)
    expected = Expectations(RatedSchedule.start(state, players=ratings))
    full = seen._replace(away_seen=tuple(teams["LAL"]))
    assert ratings.differences("BOS", "LAL", full).missing != 0
    assert expected.margin_terms(RatedGame("BOS", "LAL", None, lineups=full)).missing_players == 0
    assert expected.margin_terms(RatedGame("BOS", "LAL", None, lineups=seen)).missing_players != 0


def test_no_game_knows_of_another_one_of_its_day() -> None:
    day = np.array(["2030-11-01"] * 2, dtype="datetime64[D]")
    season, home, away = np.array([2031, 2031]), np.array(["BOS", "BOS"]), np.array(["BKN", "NYK"])
    terms = [GameTerms(playoffs=1.0)] * 2
    one = carried_expectations(START, season, day, home, away, np.array([40.0, 1.0]), terms)[0]
    other = carried_expectations(START, season, day, home, away, np.array([-40.0, 1.0]), terms)[0]
    assert one[1] == other[1]


@given(st.lists(st.tuples(TEAM, TEAM, st.integers(-60, 60)), max_size=30))
def test_games_make_surer_and_rest_makes_less_sure(games: list[tuple[str, str, int]]) -> None:
    state = RatingFilter.start(SETTINGS).predict(2031, np.datetime64("2030-11-01"))
    for home, away, final in games:
        if home != away:
            before = state.expected(home, away)[1]
            state = state.update(home, away, final)
            assert state.expected(home, away)[1] < before
    rested = state.predict(2031, np.datetime64("2030-11-05"))
    assert rested.expected("BOS", "BKN")[1] > state.expected("BOS", "BKN")[1]
    assert np.linalg.eigvalsh(rested.covariance).min() > 0


def test_a_new_season_draws_strengths_towards_the_mean() -> None:
    state = RatingFilter.start(SETTINGS).predict(2031, np.datetime64("2030-11-01"))
    for _ in range(20):
        state = state.update("BOS", "BKN", 20)
    after = state.predict(2032)
    assert after.strengths["BOS"] == pytest.approx(SETTINGS.carry * state.strengths["BOS"])
    assert (after.mean[LEVEL], after.newest) == (state.mean[LEVEL], state.newest)


def paired(variance: float, between: float, noise: float, mean: float = 0.0) -> RatingFilter:
    """Return ratings that know two teams as given, and nothing of the others."""
    one, other = CODES.index("BOS"), CODES.index("DEN")
    covariance, means = np.zeros_like(START.covariance), np.zeros_like(START.mean)
    means[[one, other]] = mean
    covariance[one, one] = covariance[other, other] = variance
    covariance[one, other] = covariance[other, one] = between
    return replace(START, settings=replace(SETTINGS, noise=noise), mean=means, covariance=covariance)


UNLEARNABLE = {
    "no variance": (paired(1.0, 1 + 2.0**-31, 2.0**-30), 7.0, "of DEN at BOS has the variance 0; expected more than 0"),
    "negative variance": (paired(1.0, 2.0, 1.0), 7.0, "has the variance -1"),
    "variance that is not a number": (paired(np.nan, 0.0, 1.0), 7.0, "has the variance nan"),
    "teams become too strong": (
        paired(1e6, 0.0, 1.0, mean=999.0),
        40.0,
        "its mean is float64; expected finite float64",
    ),
    "outcome that is not a number": (paired(25.0, 0.0, 1.0), np.nan, "its mean is float64; expected finite float64"),
}


@pytest.mark.parametrize(("state", "outcome", "said"), UNLEARNABLE.values(), ids=UNLEARNABLE)
def test_ratings_that_cannot_take_in_an_outcome_say_so(state: RatingFilter, outcome: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        state.update("BOS", "DEN", outcome)


def test_a_filter_without_a_game_has_no_ratings() -> None:
    with pytest.raises(ValueError, match="no game"):
        RatedSchedule.start(START)
