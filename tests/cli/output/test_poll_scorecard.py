"""The lines of scorecards, the errors of a poller's summary, and the scorecard printed by a replay."""

from __future__ import annotations

import pytest
from tests.support.builders.evenings import Evening, StoringPredictor, game
from tests.support.harness.poller import HALF, watching

from dejavu_client import HALFTIME
from dejavu_poller.summary import Summary


async def summary() -> Summary:
    """Return the summary of an evening of two games with several forecasts of the half."""
    evening, predictor = Evening([game(lead=3, run=2), game("MIA", "NYK", lead=-1)]), StoringPredictor()
    async with watching(evening, predictor, horizons=(HALFTIME,), from_minute=21) as watch:
        for minute in (22, 23):
            await watch.at(60.0 * minute + 1)
        await watch.at(HALF)
        await watch.at(HALF, 1)
        return watch.poller.summary()


async def test_errors_are_means_over_games_of_each_games_mean() -> None:
    (own,) = (await summary()).horizons
    # The home team leads by 3 at minutes 22 and 23 and by 5 at the half in one game, always by −1 in the other.
    assert own.settled_games == 2
    assert own.persistence_error == pytest.approx(1.0), "2 of the one game and 0 of the other, however many of each"
