from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.components.lstm import Lstm, LstmOutputs
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.execution import ignore
from dejavu_trainer.training.lstm_config import FitError, LstmConfig, LstmExamples, TrainedLstm

QUICK = LstmConfig(hidden=8, epochs=30, batch=32, learning_rate=2e-2, memory=20.0)
HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)
LAST = Horizon.HALFTIME.last_slot
TOTAL, SIDE = 0, 1
"""Live features of the examples: the total has a part in the scale, the side of the last score in the mean."""


def fit_lstm(
    learn: LstmExamples, recipe: LstmConfig, seed: int, advance: Callable[[int], object] = ignore
) -> TrainedLstm:
    """Fit an LSTM; import torch here, because at the top it would cost each process that collects tests seconds."""
    from dejavu_trainer.training import lstm

    return lstm.fit_lstm(learn, recipe, seed, advance)


def examples(count: int, seed: int) -> LstmExamples:
    """Games whose last change repeats for the final and reverses for halftime, as the last score does, plus noise.

    The noise is twice as large after many points as it is after few, also if the live inputs are unknown.
    """
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 2.5, (count, MAX_SLOTS)).cumsum(axis=1)
    live = np.zeros((count, MAX_SLOTS, 5), np.float32)
    live[:, :, TOTAL], live[:, :, SIDE] = (rng.choice([-1, 1], (count, MAX_SLOTS)) for _ in range(2))
    means = 0.3 * np.diff(levels, axis=1, prepend=0) + 0.5 * live[:, :, SIDE]
    noise = rng.normal(0, 1, (count, MAX_SLOTS, len(HORIZONS))) * 2 ** (live[:, :, TOTAL, None] / 2)
    residuals = noise + means[..., None] * np.where(np.arange(len(HORIZONS)) == FINAL, 1, -1)
    residuals[:, LAST:, HALFTIME] = 0
    every = np.broadcast_to(residuals, (len(MARGIN_SOURCES), 2, *residuals.shape)).copy()
    return LstmExamples(levels, rng.normal(0, 6, count), live, every, np.linspace(0.0, 4.5 * MAX_SLOTS, MAX_SLOTS + 1))


@pytest.fixture(scope="module")
def fitted() -> TrainedLstm:
    return fit_lstm(examples(400, 1), QUICK, 0)


def outputs(trained: TrainedLstm, games: LstmExamples) -> LstmOutputs:
    return Lstm(trained.content).outputs(games.levels, games.margins, games.live)


@pytest.mark.parametrize("mode", MARGIN_SOURCES)
def test_it_learns_a_mean_and_a_scale_for_both_horizons_with_a_margin_and_without(
    fitted: TrainedLstm, mode: MarginSource
) -> None:
    new = examples(300, 3)
    if mode is MarginSource.UNKNOWN:
        new = replace(new, margins=np.full_like(new.margins, np.nan))
    made = outputs(fitted, new)
    for place, minutes in ((FINAL, slice(None)), (HALFTIME, slice(LAST))):
        due, means = new.residuals[mode, 1, :, minutes, place], made.means[:, minutes, place]
        assert np.square(means - due).mean() < 0.75 * np.square(due).mean()
        many = new.live[:, minutes, TOTAL] > 0
        scales = np.sqrt(np.square(due).mean()) * np.exp(made.log_scales[:, minutes, place])
        for games, expected in ((many, 2**0.5), (~many, 2**-0.5)):
            assert scales[games].mean() == pytest.approx(expected, rel=0.15)


def test_live_inputs_matter_and_unknown_ones_are_neutral(fitted: TrainedLstm) -> None:
    games = examples(50, 4)
    home, away, unknown = (
        outputs(fitted, replace(games, live=np.full_like(games.live, 0) + np.float32(side) * np.eye(5, dtype="f4")[1]))
        for side in (1, -1, 0)
    )
    assert (home.means[:, :, FINAL] > unknown.means[:, :, FINAL] + 0.2).all()
    assert (away.means[:, :, FINAL] < unknown.means[:, :, FINAL] - 0.2).all()
    assert (home.means + away.means) / 2 == pytest.approx(unknown.means, abs=1e-5)


def test_nothing_is_said_of_a_horizon_that_has_passed(fitted: TrainedLstm) -> None:
    means = outputs(fitted, examples(20, 4)).means
    assert (means[:, LAST:, HALFTIME] == 0).all()
    assert (means[:, -1, FINAL] != 0).all()


@given(st.integers(1, MAX_SLOTS), st.sampled_from([1, 2, 50]), st.integers(0, 1000))
def test_a_pattern_of_any_length_gets_what_a_longer_one_got_on_the_way(
    fitted: TrainedLstm, minutes: int, games: int, seed: int
) -> None:
    """So what comes later changes nothing that was said before, and a game of many gets what it gets alone."""
    served, one, other = Lstm(fitted.content), examples(games, seed), examples(games, seed + 1)
    mixed = np.concatenate([one.levels[:, :minutes], other.levels[:, minutes:]], axis=1)
    whole, part = (
        served.outputs(levels, one.margins, one.live[:, : levels.shape[1]]) for levels in (mixed, mixed[:, :minutes])
    )
    alone = served.outputs(mixed[-1:], one.margins[-1:], one.live[-1:])
    for column in range(2):
        assert part[column].shape == (games, minutes, len(HORIZONS))
        assert part[column] == pytest.approx(whole[column][:, :minutes], abs=1e-5)
        assert alone[column] == pytest.approx(whole[column][-1:], abs=1e-5)


def test_the_served_network_computes_what_was_trained(fitted: TrainedLstm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fitted.parity < 1e-4
    assert TrainedLstm.from_bytes(fitted.to_bytes()) == fitted
    monkeypatch.setattr("dejavu_trainer.training.lstm.PARITY_TOLERANCE", -1.0)
    with pytest.raises(FitError, match="differ from those of the trained one"):
        fit_lstm(examples(50, 13), replace(QUICK, epochs=1), 0)


def test_several_members_are_their_mean() -> None:
    learn, new, recipe, told = examples(60, 9), examples(10, 10), replace(QUICK, epochs=3), list[int]()
    both = outputs(fit_lstm(learn, replace(recipe, members=2), 3, told.append), new)
    alone = [outputs(fit_lstm(learn, recipe, seed), new) for seed in (6, 7)]
    assert both.means == pytest.approx(np.mean([each.means for each in alone], axis=0), abs=1e-5)
    assert both.log_scales == pytest.approx(np.mean([each.log_scales for each in alone], axis=0), abs=1e-5)
    assert sum(told) == 6


def test_the_same_seed_gives_the_same_network_and_leaves_torch_as_it_was() -> None:
    import torch

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    learn, recipe = examples(60, 11), replace(QUICK, epochs=2)
    one, same, other = (fit_lstm(learn, recipe, seed).content for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loss_that_diverges_ends_the_fit() -> None:
    broken = examples(60, 12)
    broken.residuals[MarginSource.UNKNOWN, :, 0] = np.nan
    with pytest.raises(FitError, match="diverged in epoch 1"):
        fit_lstm(broken, QUICK, 0)
