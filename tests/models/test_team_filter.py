"""The filter of ratings: what made the results is found, and no state that could not go on is accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from hypothesis import strategies as st

from dejavu_models.live_ratings import RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.team_filter import CODES, LEVEL, TeamFilter, TotalFilter, carried_expectations

START, FILTERS = RatingFilter.start(), (RatingFilter, TotalFilter)
TEAM = st.sampled_from(CODES)
FIRST = date(2030, 11, 1)


@pytest.mark.parametrize(
    ("kind", "level", "worth", "noise"),
    [(RatingFilter, 3.0, (-2.0, -1.0, 1.5, 2.5), 12), (TotalFilter, 210.0, (-2.0, -5.0, 3.0), 17)],
)
def test_what_teams_and_terms_are_worth_is_found_from_results(
    kind: type[TeamFilter], level: float, worth: tuple[float, ...], noise: float
) -> None:
    games, rng = 3000, np.random.default_rng(1)
    truth = rng.normal(0, 5, len(CODES))
    home, away = np.array([rng.choice(len(CODES), 2, replace=False) for _ in range(games)]).T
    loads = np.column_stack([np.ones(games), *(rng.integers(-1, 2, games) for _ in worth)])
    mean = truth[home] + kind.away_sign * truth[away] + loads @ np.array([level, *worth])
    final = np.round(mean + rng.normal(0, noise, games))
    days = np.datetime64(FIRST) + np.sort(rng.integers(0, 170, games)).astype("timedelta64[D]")
    codes, season = np.array(CODES), np.full(games, 2031)
    means, variances, state = carried_expectations(
        kind.start(), season, days, codes[home], codes[away], final, loads.tolist()
    )
    assert np.corrcoef(truth, state.mean[:LEVEL])[0, 1] > 0.9
    assert state.mean[LEVEL + 1 :] == pytest.approx(worth, abs=1.2)
    if kind is RatingFilter:  # both teams of a total may have a part of the level
        assert state.mean[LEVEL] == pytest.approx(level, abs=0.8)
    errors = (final - means)[games // 2 :]
    assert (np.square(errors) / variances[games // 2 :]).mean() == pytest.approx(1.0, abs=0.15)
    assert state.newest == days[-1].item()


@pytest.mark.parametrize("kind", FILTERS)
def test_a_new_season_draws_teams_together_and_keeps_the_level(kind: type[TeamFilter]) -> None:
    state = kind.start().predict(2031, FIRST).update("BOS", "BKN", 250).update("BOS", "BKN", 250)
    after = state.predict(2032)
    assert after.mean[:LEVEL] == pytest.approx(state.settings.carry * state.mean[:LEVEL])
    assert (after.mean[LEVEL], after.newest) == (state.mean[LEVEL], state.newest)


def test_no_game_knows_of_another_one_of_its_day() -> None:
    columns = np.full(2, 2031), np.full(2, FIRST, "datetime64[D]"), np.array(["BOS", "BOS"]), np.array(["BKN", "NYK"])
    outcomes = np.array([[40.0, 1.0], [-40.0, 1.0]])
    one, other = (carried_expectations(START, *columns, final, [(1.0,)] * 2)[0] for final in outcomes)
    assert one[1] == other[1]


def paired(variance: float, between: float, noise: float, mean: float = 0.0) -> RatingFilter:
    """Return ratings that know two teams as given, and nothing of the others."""
    pair = [CODES.index("BOS"), CODES.index("DEN")]
    covariance, means = np.zeros_like(START.covariance), np.zeros_like(START.mean)
    means[pair] = mean
    covariance[np.ix_(pair, pair)] = between
    covariance[pair, pair] = variance
    return replace(START, settings=replace(START.settings, noise=noise), mean=means, covariance=covariance)


NOT_FINITE = "its mean must be within"
UNLEARNABLE = {
    "no variance": (paired(1.0, 1 + 2.0**-31, 2.0**-30), 7.0, "of DEN at BOS has the variance 0; expected more than 0"),
    "negative variance": (paired(1.0, 2.0, 1.0), 7.0, "has the variance -1"),
    "variance that is not a number": (paired(np.nan, 0.0, 1.0), 7.0, "has the variance nan"),
    "teams become too strong": (paired(1e6, 0.0, 1.0, mean=999.0), 40.0, NOT_FINITE),
    "outcome that is not a number": (paired(25.0, 0.0, 1.0), np.nan, NOT_FINITE),
}


@pytest.mark.parametrize(("state", "outcome", "said"), UNLEARNABLE.values(), ids=UNLEARNABLE)
def test_ratings_that_cannot_take_in_an_outcome_say_so(state: RatingFilter, outcome: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        state.update("BOS", "DEN", outcome)


def test_a_filter_without_a_game_has_no_ratings() -> None:
    with pytest.raises(ValueError, match="no game"):
        RatedSchedule.start(START)
