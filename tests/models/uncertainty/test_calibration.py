from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.types import Horizon, MarginSource
from dejavu_models.uncertainty.calibration import Calibration, Situation
from dejavu_models.uncertainty.conformal import PredictiveDistribution
from dejavu_models.uncertainty.conformal_scores import ConformalScores

SITUATIONS = st.sampled_from(list(Horizon)).flatmap(
    lambda horizon: st.builds(
        Situation, st.just(horizon), st.integers(1, horizon.last_slot), st.sampled_from(MarginSource)
    )
)


def distribution(situation: Situation, games: int, scale: float) -> PredictiveDistribution:
    rng = np.random.default_rng(games)
    leads = rng.normal(0, 10, games)
    return PredictiveDistribution.fit(
        situation.horizon,
        leads,
        leads,
        leads + rng.normal(0, scale, games),
        scales=(scale, scale + 1, scale + 2, scale + 3),
        min_cell=40,
    )


@given(st.dictionaries(SITUATIONS, st.tuples(st.integers(1, 300), st.floats(1, 15)), min_size=1, max_size=8))
def test_a_calibration_comes_back_from_its_bytes(drawn: dict[Situation, tuple[int, float]]) -> None:
    calibration = Calibration({key: distribution(key, *value) for key, value in drawn.items()})
    content = calibration.to_bytes()
    back = Calibration.from_bytes(content)
    assert back.to_bytes() == content
    assert back.distributions.keys() == calibration.distributions.keys()
    assert back.smallest_alpha == calibration.smallest_alpha
    for situation, one in calibration.distributions.items():
        other = back.distributions[situation]
        assert (other.threshold, other.edges, other.scales) == (one.threshold, one.edges, one.scales)
        for mine, its in zip(one.cells, other.cells, strict=True):
            assert its.residuals == pytest.approx(mine.residuals, abs=1e-5)


@pytest.mark.parametrize(
    "key",
    [
        Situation(Horizon.HALFTIME, 24, MarginSource.UNKNOWN),
        Situation(Horizon.FINAL, 48, MarginSource.UNKNOWN),
        Situation(Horizon.FINAL, 0, MarginSource.UNKNOWN),
    ],
)
def test_what_is_no_situation_of_a_game_is_refused(key: Situation) -> None:
    one = PredictiveDistribution(0.0, (), (ConformalScores(np.zeros(3)),))
    with pytest.raises(ValueError, match="invalid situation"):
        Calibration({key: one})


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("situations", np.zeros((1, 2), dtype=np.int16)),
        ("situations", np.array([[7, 18, 1]], dtype=np.int16)),
        ("situations", np.array([[1, 18, 3]], dtype=np.int16)),
        ("cells", np.array([0], dtype=np.int16)),
        ("cells", np.array([2], dtype=np.int16)),
        ("edges", np.array([3.5])),
        ("scales", np.ones((2, 4))),
        ("scales", np.ones((1, 3))),
        ("scales", np.zeros((1, 4))),
        ("sizes", np.array([0], dtype=np.int32)),
        ("sizes", np.array([4], dtype=np.int32)),
        ("residuals", np.array([0.0, 1.0, np.nan], dtype=np.float32)),
    ],
)
def test_columns_that_do_not_fit_together_are_refused(column: str, value: np.ndarray) -> None:
    key = Situation(Horizon.FINAL, 18, MarginSource.KNOWN)
    good = Calibration({key: PredictiveDistribution(0.0, (), (ConformalScores(np.arange(3.0)),))}).to_bytes()
    with np.load(io.BytesIO(good)) as columns:
        changed = dict(columns) | {column: value}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **changed)
    with pytest.raises(ValueError):
        Calibration.from_bytes(buffer.getvalue())
