from __future__ import annotations

import numpy as np
import pytest
import torch

from dejavu_models.lstm import Lstm
from dejavu_trainer import fit_lstm as fitting
from dejavu_trainer.fit_lstm import MAX_EPOCHS, Examples, FitError, LstmFit, fit_lstm


def walks(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2.5, (count, 18)).cumsum(axis=1)


def learnable(count: int, seed: int) -> Examples:
    """Games in which the last three minutes go on."""
    patterns = walks(count, seed)
    return Examples(patterns, 1.5 + patterns[:, -1] - patterns[:, -4])


@pytest.fixture(scope="module")
def fitted() -> LstmFit:
    return fit_lstm(learnable(256, 1), learnable(100, 2), 0, lambda _: None)


def test_it_learns_what_there_is_to_learn(fitted: LstmFit) -> None:
    new = learnable(300, 3)
    mse = np.square(Lstm(fitted.graph, 18).predict(new.patterns) - new.increments).mean()
    assert mse < 0.5 * new.increments.var()


def test_the_graph_normalises_by_itself_and_answers_in_points(fitted: LstmFit) -> None:
    new = learnable(300, 3)
    assert Lstm(fitted.graph, 18).predict(new.patterns).mean() == pytest.approx(new.increments.mean(), abs=0.5)


def test_what_is_served_is_what_was_trained(fitted: LstmFit) -> None:
    assert fitted.parity < 1e-4
    assert fitted.validation_mse == pytest.approx(
        np.square(Lstm(fitted.graph, 18).predict(learnable(100, 2).patterns) - learnable(100, 2).increments).mean(),
        rel=1e-3,
    )


def test_where_there_is_nothing_to_learn_it_stops_early_near_the_mean() -> None:
    rng = np.random.default_rng(4)
    noise = [Examples(walks(count, count), rng.normal(0.3, 6, count)) for count in (256, 100)]
    steps = list[int]()
    fit = fit_lstm(noise[0], noise[1], 0, steps.append)
    assert fit.epochs < MAX_EPOCHS
    assert fit.best_epoch <= fit.epochs
    assert sum(steps) == MAX_EPOCHS
    assert np.abs(Lstm(fit.graph, 18).predict(walks(100, 5)) - 0.3).max() < 2


def test_the_same_seed_gives_the_same_graph_and_leaves_torch_as_it_was() -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    learn, validate = learnable(60, 6), learnable(20, 7)
    one, same, other = (fit_lstm(learn, validate, seed, lambda _: None).graph for seed in (1, 1, 2))
    assert one == same
    assert one != other
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loss_that_diverges_ends_the_fit() -> None:
    broken = learnable(100, 8)
    broken.increments[0] = np.inf
    with pytest.raises(FitError, match="diverged"):
        fit_lstm(learnable(100, 9), broken, 0, lambda _: None)


def test_a_graph_that_computes_something_else_is_not_let_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "PARITY_TOLERANCE", -1.0)
    with pytest.raises(FitError, match="differs from the trained one"):
        fit_lstm(learnable(100, 10), learnable(50, 11), 0, lambda _: None)
