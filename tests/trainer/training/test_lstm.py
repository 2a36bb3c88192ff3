from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.components.component import LstmConfig, TrainingGames
from dejavu_models.components.features import live_features
from dejavu_models.components.lstm import Lstm, LstmOutputs
from dejavu_models.errors import FitError
from dejavu_models.types import CASES, HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon, MarginSource

QUICK = LstmConfig(hidden=8, epochs=30, batch=32, learning_rate=2e-2, memory=20.0)
HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)
LAST = Horizon.HALFTIME.last_slot
TOTAL, SIDE = 0, 1
"""Live inputs of the games: the total has a part in the scale, the side of the last score in the mean."""

PAR = 4.5 * np.arange(1, MAX_SLOTS + 1)
"""Mean total points after each minute."""


def games_of(count: int, seed: int) -> TrainingGames:
    """Games whose last change repeats for the final and reverses for halftime, as the last score does, plus noise.

    The noise is twice as large after many points as it is after few, also if the live inputs are unknown.
    """
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 2.5, (count, MAX_SLOTS + 1)).cumsum(axis=1).round()
    many, side = (rng.choice([-1, 1], (count, MAX_SLOTS)) for _ in range(2))
    live = np.full((count, MAX_SLOTS, 5), np.nan)
    live[:, :, TOTAL], live[:, :, SIDE] = PAR + 10 * many, side
    means = 0.3 * np.diff(levels, axis=1, prepend=0)[:, :MAX_SLOTS] + 0.5 * side
    noise = rng.normal(0, 1, (count, MAX_SLOTS, len(HORIZONS))) * 2 ** (many[..., None] / 2)
    residuals = noise + means[..., None] * np.where(np.arange(len(HORIZONS)) == FINAL, 1, -1)
    by_case = np.stack([residuals[:, minute - 1, horizon] for horizon, minute in CASES], axis=1)
    none = np.zeros(count)
    return TrainingGames(
        home=none.astype(str),
        away=none.astype(str),
        date=none.astype("datetime64[D]"),
        differentials=levels.astype(np.int16),
        outcomes=np.zeros((count, 2)),
        totals=np.zeros((count, MAX_SLOTS + 1), np.int16),
        final_total=none.astype(np.int16),
        margins=rng.normal(0, 6, count),
        live=live,
        residuals=np.broadcast_to(by_case, (len(MARGIN_SOURCES), 2, *by_case.shape)).copy(),
    )


@pytest.fixture(scope="module")
def fitted() -> Lstm:
    return Lstm.fit(games_of(400, 1), 0, QUICK)


def outputs(lstm: Lstm, games: TrainingGames) -> LstmOutputs:
    return lstm.outputs(games.levels, games.margins, live_features(games.live, lstm.mean_totals[1:]))


@pytest.mark.parametrize("mode", MARGIN_SOURCES)
def test_it_learns_a_mean_and_a_scale_for_both_horizons_with_a_margin_and_without(
    fitted: Lstm, mode: MarginSource
) -> None:
    new = games_of(300, 3)
    if mode is MarginSource.UNKNOWN:
        new = replace(new, margins=np.full_like(new.margins, np.nan))
    made = outputs(fitted, new)
    for place, minutes in ((FINAL, slice(None)), (HALFTIME, slice(LAST))):
        columns = [CASES.index((place, minute)) for minute in range(1, MAX_SLOTS + 1)[minutes]]
        due, means = new.residuals[mode, 1][:, columns], made.means[:, minutes, place]
        assert np.square(means - due).mean() < 0.75 * np.square(due).mean()
        many = new.live[:, minutes, TOTAL] > PAR[minutes]
        scales = np.sqrt(np.square(due).mean()) * np.exp(made.log_scales[:, minutes, place])
        for games, expected in ((many, 2**0.5), (~many, 2**-0.5)):
            assert scales[games].mean() == pytest.approx(expected, rel=0.15)
    assert (made.means[:, LAST:, HALFTIME] == 0).all(), "nothing is said of a horizon that has passed"


@given(st.integers(1, MAX_SLOTS), st.sampled_from([1, 2, 50]), st.integers(0, 1000))
def test_a_pattern_of_any_length_gets_what_a_longer_one_got_on_the_way(
    fitted: Lstm, minutes: int, games: int, seed: int
) -> None:
    """So what comes later changes nothing that was said before, and a game of many gets what it gets alone."""
    one, other = games_of(games, seed), games_of(games, seed + 1)
    mixed = np.concatenate([one.levels[:, :minutes], other.levels[:, minutes:]], axis=1)
    live = live_features(one.live, fitted.mean_totals[1:])
    whole, part = (
        fitted.outputs(levels, one.margins, live[:, : levels.shape[1]]) for levels in (mixed, mixed[:, :minutes])
    )
    alone = fitted.outputs(mixed[-1:], one.margins[-1:], live[-1:])
    for column in range(2):
        assert part[column].shape == (games, minutes, len(HORIZONS))
        assert part[column] == pytest.approx(whole[column][:, :minutes], abs=1e-5)
        assert alone[column] == pytest.approx(whole[column][-1:], abs=1e-5)


def test_several_members_are_their_mean() -> None:
    learn, new, recipe, told = games_of(60, 9), games_of(10, 10), replace(QUICK, epochs=3), list[int]()
    both = outputs(Lstm.fit(learn, 3, replace(recipe, members=2), told.append), new)
    alone = [outputs(Lstm.fit(learn, seed, recipe), new) for seed in (6, 7)]
    assert both.means == pytest.approx(np.mean([each.means for each in alone], axis=0), abs=1e-5)
    assert both.log_scales == pytest.approx(np.mean([each.log_scales for each in alone], axis=0), abs=1e-5)
    assert sum(told) == 6


def test_the_same_seed_gives_the_same_network_and_leaves_torch_as_it_was() -> None:
    import torch

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    learn, recipe = games_of(60, 11), replace(QUICK, epochs=2)
    one, same, other = (Lstm.fit(learn, seed, recipe).to_bytes() for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loss_that_diverges_ends_the_fit() -> None:
    broken = games_of(60, 12)
    broken.residuals[MarginSource.UNKNOWN, :, 0] = np.nan
    with pytest.raises(FitError, match="diverged in epoch 1"):
        Lstm.fit(broken, 0, QUICK)
