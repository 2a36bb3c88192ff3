"""The file of the linear models: with cubes only if they are used, and read without them as with 0."""

from __future__ import annotations

import numpy as np

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.manifest import COMBINATION
from dejavu_models.point.linear import CUBE, LinearModels
from dejavu_models.registry.contents import ensemble_from_bytes, ensemble_to_bytes
from dejavu_models.registry.registry import default_bundle


def test_models_without_cubes_are_written_as_earlier_releases_read_them() -> None:
    models, weights = ensemble_from_bytes((default_bundle() / COMBINATION).read_bytes())
    without = LinearModels(np.where(np.arange(CUBE + 1) == CUBE, 0.0, models.coefficients))
    content = ensemble_to_bytes(without, weights)
    assert from_npz(content)["coefficients"].shape == (2, 48, 2, CUBE)
    back, _ = ensemble_from_bytes(content)
    assert np.array_equal(back.coefficients, without.coefficients, equal_nan=True)


def test_cubes_come_back_as_they_were_written() -> None:
    models, weights = ensemble_from_bytes((default_bundle() / COMBINATION).read_bytes())
    coefficients = models.coefficients.copy()
    coefficients[1, :, :, CUBE] = 0.25
    back, _ = ensemble_from_bytes(ensemble_to_bytes(LinearModels(coefficients, models.scales), weights))
    assert np.array_equal(back.coefficients, coefficients, equal_nan=True)


def test_an_earlier_file_forecasts_as_it_did() -> None:
    """Equal to the bit to what three coefficients give."""
    models, weights = ensemble_from_bytes((default_bundle() / COMBINATION).read_bytes())
    written = to_npz(
        coefficients=models.coefficients[..., :CUBE],
        scales=models.scales,
        dejavu_weights=weights.dejavu_weights,
        shrinkage=weights.shrinkage,
    )
    again, _ = ensemble_from_bytes(written)
    leads, margins = np.array([-31.0, 0.0, 7.0]), np.array([2.5, np.nan, -4.0])
    for minute in range(1, 48):
        increments = again.increments(minute, leads, margins)
        for row, known in enumerate(np.isfinite(margins).tolist()):
            intercept, slope, margin_slope, _ = models.coefficients[:, minute, int(known)].T
            expected = intercept + slope * leads[row] + margin_slope * (margins[row] if known else 0.0)
            assert np.array_equal(increments[row], expected, equal_nan=True)
