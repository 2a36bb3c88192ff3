from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.components.lstm import Lstm
from dejavu_models.types import HORIZONS, MARGIN_SOURCES, MAX_SLOTS, Horizon, MarginSource
from dejavu_trainer.training.lstm_config import FitError, LstmConfig, LstmExamples, TrainedLstm

QUICK = LstmConfig(hidden=8, epochs=20, batch=32, learning_rate=2e-2, memory=20.0)
HALFTIME, FINAL = HORIZONS.index(Horizon.HALFTIME), HORIZONS.index(Horizon.FINAL)


def quiet(_: int) -> None:
    """Show nothing."""


def fit_lstm(learn: LstmExamples, recipe: LstmConfig, seed: int, advance: Callable[[int], None]) -> TrainedLstm:
    """Fit an LSTM; import torch here, because at the top it would cost each process that collects tests seconds."""
    from dejavu_trainer.training import lstm

    return lstm.fit_lstm(learn, recipe, seed, advance)


def examples(count: int, seed: int) -> LstmExamples:
    """Games whose last change repeats for the final and reverses for halftime, plus noise of equal size."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, 2.5, (count, MAX_SLOTS)).cumsum(axis=1)
    margins = rng.normal(0, 6, count)
    change = np.diff(levels, axis=1, prepend=0)
    residuals = rng.normal(0, 2.5, (count, MAX_SLOTS, len(MARGIN_SOURCES), len(HORIZONS)))
    residuals[..., FINAL] += change[:, :, None]
    residuals[..., HALFTIME] -= change[:, :, None]
    residuals[:, Horizon.HALFTIME.last_slot :, :, HALFTIME] = 0
    return LstmExamples(levels, margins, residuals)


@pytest.fixture(scope="module")
def fitted() -> TrainedLstm:
    return fit_lstm(examples(300, 1), QUICK, 0, quiet)


@pytest.mark.parametrize("mode", MARGIN_SOURCES)
def test_it_learns_for_both_horizons_and_modes_what_there_is_to_learn(fitted: TrainedLstm, mode: MarginSource) -> None:
    new = examples(300, 3)
    margins = new.margins if mode == MarginSource.KNOWN else np.full_like(new.margins, np.nan)
    said = Lstm(fitted.content).residuals(new.levels, margins)
    last = Horizon.HALFTIME.last_slot
    for place, minutes in ((FINAL, slice(None)), (HALFTIME, slice(last))):
        due = new.residuals[:, minutes, mode, place]
        left = np.square(said[:, minutes, place] - due).mean()
        assert left < 0.75 * np.square(due).mean()  # half of the variance is noise


def test_nothing_is_said_of_a_horizon_that_has_passed(fitted: TrainedLstm) -> None:
    new = examples(20, 4)
    said = Lstm(fitted.content).residuals(new.levels, new.margins)
    assert (said[:, Horizon.HALFTIME.last_slot :, HALFTIME] == 0).all()
    assert (said[:, -1, FINAL] != 0).all()


@pytest.mark.parametrize("games", [1, 50])
@pytest.mark.parametrize("minutes", [1, 18, 23, 47])
def test_a_pattern_of_any_length_gets_what_a_longer_one_got_on_the_way(
    fitted: TrainedLstm, games: int, minutes: int
) -> None:
    served, new = Lstm(fitted.content), examples(games, 5)
    whole = served.residuals(new.levels, new.margins)
    part = served.residuals(new.levels[:, :minutes], new.margins)
    assert part.shape == (games, minutes, len(HORIZONS))
    assert part == pytest.approx(whole[:, :minutes], abs=1e-4)


@given(st.integers(1, MAX_SLOTS - 1), st.integers(0, 1000))
def test_what_comes_later_changes_nothing_that_was_said_before(fitted: TrainedLstm, minute: int, seed: int) -> None:
    served, one, other = Lstm(fitted.content), examples(2, seed), examples(2, seed + 1)
    mixed = np.concatenate([one.levels[:, :minute], other.levels[:, minute:]], axis=1)
    before = served.residuals(one.levels, one.margins)[:, :minute]
    assert served.residuals(mixed, one.margins)[:, :minute] == pytest.approx(before, abs=1e-5)


def test_the_graph_computes_what_was_trained(fitted: TrainedLstm) -> None:
    assert fitted.parity < 1e-4


def test_several_members_are_their_mean() -> None:
    learn, new = examples(60, 9), examples(10, 10)
    recipe = replace(QUICK, epochs=3)
    told = list[int]()
    both = Lstm(fit_lstm(learn, replace(recipe, members=2), 3, told.append).content).residuals(new.levels, new.margins)
    alone = [Lstm(fit_lstm(learn, recipe, seed, quiet).content).residuals(new.levels, new.margins) for seed in (6, 7)]
    assert both == pytest.approx(np.mean(alone, axis=0), abs=1e-5)
    assert sum(told) == 6


def test_the_same_seed_gives_the_same_graph_and_leaves_torch_as_it_was() -> None:
    import torch

    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    learn, recipe = examples(60, 11), replace(QUICK, epochs=2)
    one, same, other = (fit_lstm(learn, recipe, seed, quiet).content for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loss_that_diverges_ends_the_fit() -> None:
    broken = examples(60, 12)
    broken.residuals[0, 0, MarginSource.UNKNOWN] = np.nan
    with pytest.raises(FitError, match="diverged in epoch 1"):
        fit_lstm(broken, QUICK, 0, quiet)


def test_a_graph_that_computes_something_else_is_not_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dejavu_trainer.training.lstm.PARITY_TOLERANCE", -1.0)
    with pytest.raises(FitError, match="differs from the trained one"):
        fit_lstm(examples(50, 13), replace(QUICK, epochs=1), 0, quiet)
