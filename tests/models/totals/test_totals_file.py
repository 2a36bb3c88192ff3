"""Totals in a bundle: written and read back without a change; bundles without them stay as they are."""

from __future__ import annotations

import hashlib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.support.builders.bundles import light_bundle, without_totals
from tests.support.builders.calibrations import steady_model, steady_totals
from tests.support.builders.shipped import shipped_bundle

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import BundleCorrupt
from dejavu_models.manifest import TOTALS, Manifest, version_of
from dejavu_models.team_filter import CODES, TotalFilter
from dejavu_models.totals.model import TotalInputs
from dejavu_models.totals.totals import Totals
from dejavu_models.types import CASES, HORIZONS, MarginSource
from dejavu_store.bundle import publish, read_manifest
from dejavu_store.contents import load_contents
from dejavu_store.registry import default_bundle


def with_totals(content: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the contents of the light bundle with a file of totals."""
    base = read_manifest(light_bundle())
    contents = {name: (light_bundle() / name).read_bytes() for name in base.files} | {TOTALS: content}
    hashes = {name: hashlib.sha256(each).hexdigest() for name, each in contents.items()}
    version = version_of(base.ratings, hashes)
    return base.model_copy(update={"files": hashes, "version": version}), contents


@given(st.sampled_from(CASES), st.integers(0, 250), st.floats(-40, 40), st.floats(180, 260))
def test_what_is_read_answers_as_what_was_written(
    when: tuple[int, int], points: int, lead: float, expected: float
) -> None:
    content = TOTALS_READ.to_bytes()
    again = Totals.from_bytes(content)
    assert again.to_bytes() == content
    inputs = TotalInputs(np.array([float(points)]), np.array([lead]), np.array([expected]))
    for source in MarginSource:
        one, other = (
            each.models[source].distribution(HORIZONS[when[0]], when[1], inputs) for each in (TOTALS_READ, again)
        )
        assert np.array_equal(one.mass, other.mass)


STEADY = steady_totals()
TOTALS_READ = replace(STEADY, ratings=STEADY.ratings.predict(read_manifest(default_bundle()).ratings.season))


def test_ratings_of_totals_go_on_after_a_round_trip_as_if_there_were_none() -> None:
    again = TOTALS_READ.rounded().ratings
    day = np.datetime64("2023-10-24", "D")
    for field in fields(TotalFilter):
        assert np.array_equal(getattr(again, field.name), getattr(TOTALS_READ.ratings, field.name)), field.name
    one, other = (each.predict(2024, day).update("LAL", "DEN", 226.0) for each in (again, TOTALS_READ.ratings))
    assert one.expected("DEN", "LAL") == other.expected("DEN", "LAL")
    assert set(CODES) >= {"DEN", "LAL"}


def test_a_bundle_with_totals_is_loaded_with_them_and_has_a_version_of_its_own(tmp_path: Path) -> None:
    manifest, contents = with_totals(TOTALS_READ.to_bytes())
    published = publish(tmp_path / "bundle", manifest, contents)
    plain = without_totals()
    assert plain.totals is None
    assert len({published.version, plain.version, shipped_bundle().version}) == 3
    assert published.totals is not None
    assert published.totals.to_bytes() == TOTALS_READ.to_bytes()


def test_a_file_of_totals_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    columns = from_npz(TOTALS_READ.to_bytes())
    broken = {
        "not a file": b"no",
        "no scale": to_npz(**{name: column for name, column in columns.items() if name != "scale"}),
        "30 values": to_npz(**{**columns, "mean": columns["mean"][:30]}),
        "no KNOWN": to_npz(**(columns | {name: columns[name][:1] for name in ONE_A_SOURCE})),
    }
    for content in broken.values():
        manifest, contents = with_totals(content)
        with pytest.raises(BundleCorrupt, match=TOTALS):
            publish(tmp_path / "bundle", manifest, contents)


ONE_A_SOURCE = ("sources", "games", "point", "log_mean", "scale", "shapes", "late_shapes")


UNEQUAL_PAIR = np.zeros((34, 34))
UNEQUAL_PAIR[0, 1] = UNEQUAL_PAIR[1, 0] = 1.0

WRONG_RATINGS: dict[str, tuple[dict[str, NDArray[Any]], str]] = {
    "mean that is not a number": ({"mean": np.full(34, np.nan)}, "mean is float64; expected finite float64 within"),
    "large mean": ({"mean": np.full(34, 1e300)}, "mean is float64; expected finite float64 within"),
    "one infinite mean": ({"mean": np.array([*[0.0] * 33, np.inf])}, "mean is float64; expected finite"),
    "single precision": ({"mean": np.zeros(34, np.float32)}, "mean is float32; expected finite float64"),
    "covariance that is not a number": ({"covariance": np.full((34, 34), np.nan)}, "covariance is float64; expected"),
    "negative variance": ({"covariance": -np.eye(34)}, "negative variances"),
    "asymmetric covariance": ({"covariance": np.eye(34) + np.eye(34, k=1)}, "not symmetric"),
    "no covariance": ({"covariance": np.full((34, 34), -1.0) + 2 * np.eye(34)}, "games a negative variance"),
    "pair without a variance": ({"covariance": np.eye(34) + (1 + 1e-7) * UNEQUAL_PAIR}, "games a negative variance"),
    "settings that are not numbers": ({"settings": np.full(5, np.nan)}, "wrong noise: Input should be"),
    "four settings": ({"settings": np.ones(4)}, "zip"),
    "no noise": ({"settings": np.zeros(5)}, "wrong noise: Input should be greater than or equal to 1"),
    "less noise than rounding may be": ({"settings": np.array([2.0**-30, 0, 1, 0, 0])}, "wrong noise: Input should be"),
    "season before the league": ({"season": np.array(-30_000, np.int16)}, "wrong season: Input should be greater"),
    "later season": ({"season": np.array(2030, np.int16)}, "for season 2030 and end on 2023-06-12; those of margins"),
    "date after all dates": ({"date": np.array(2**40)}, "wrong date: Input should be"),
    "no date": ({"date": np.array(-(2**63))}, "wrong date: Input should be"),
    "date after that of margins": ({"date": np.array(20_000)}, "end on 2024-10-04; those of margins are for season"),
}


@pytest.mark.parametrize(("change", "said"), WRONG_RATINGS.values(), ids=WRONG_RATINGS)
def test_ratings_of_totals_from_which_no_server_could_learn_are_refused(
    change: dict[str, NDArray[Any]], said: str
) -> None:
    manifest, contents = with_totals(to_npz(**{**from_npz(TOTALS_READ.to_bytes()), **change}))
    with pytest.raises(BundleCorrupt, match=rf"{TOTALS} cannot be read: .*{said}"):
        load_contents("bundle", manifest, contents)


def test_totals_need_tables_of_every_source_and_ratings_of_some_game() -> None:
    models = {source: steady_model() for source in MarginSource}
    with pytest.raises(ValueError, match="RATED"):
        Totals({source: models[source] for source in (MarginSource.UNKNOWN, MarginSource.KNOWN)}, TOTALS_READ.ratings)
    with pytest.raises(ValueError, match="no game"):
        Totals(models, replace(TOTALS_READ.ratings, date=None))
