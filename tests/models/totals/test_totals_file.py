"""Totals in a bundle: written and read back without a change; totals from which no server could learn are refused."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.bundles import light_bundle, sealed
from tests.support.builders.calibrations import steady_totals

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import BundleCorrupt
from dejavu_models.manifest import TOTALS, Manifest
from dejavu_models.team_filter import TotalFilter
from dejavu_store.bundle import publish, read_manifest
from dejavu_store.contents import load_contents
from dejavu_store.registry import default_bundle

STEADY = steady_totals()
WRITTEN = replace(STEADY, ratings=STEADY.ratings.predict(read_manifest(default_bundle()).ratings.season))
COLUMNS = from_npz(WRITTEN.to_bytes())


def with_totals(content: bytes) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the contents of the light bundle with a file of totals."""
    base = read_manifest(light_bundle())
    contents = {name: (light_bundle() / name).read_bytes() for name in base.files} | {TOTALS: content}
    return sealed(base, contents), contents


def test_a_bundle_with_totals_is_loaded_with_them(tmp_path: Path) -> None:
    read = publish(tmp_path / "bundle", *with_totals(WRITTEN.to_bytes())).totals
    assert read is not None
    assert read.to_bytes() == WRITTEN.to_bytes()
    for field in fields(TotalFilter):
        assert np.array_equal(getattr(read.ratings, field.name), getattr(WRITTEN.ratings, field.name)), field.name


UNEQUAL_PAIR = np.zeros((34, 34))
UNEQUAL_PAIR[0, 1] = UNEQUAL_PAIR[1, 0] = 1.0
ONE_SOURCE = {name: COLUMNS[name][:1] for name in COLUMNS if COLUMNS[name].shape[:1] == COLUMNS["sources"].shape}

WRONG: dict[str, tuple[dict[str, NDArray[Any]], str]] = {
    "tables of no rated total": (ONE_SOURCE, "no tables for totals that are KNOWN, RATED"),
    "one infinite mean": ({"mean": np.array([*[0.0] * 33, np.inf])}, "its mean must be within"),
    "asymmetric covariance": ({"covariance": np.eye(34) + np.eye(34, k=1)}, "not symmetric"),
    "pair without a variance": ({"covariance": np.eye(34) + (1 + 1e-7) * UNEQUAL_PAIR}, "games a negative variance"),
    "settings that are not numbers": ({"settings": np.full(5, np.nan)}, "wrong noise: Input should be"),
    "season before the league": ({"season": np.array(-30_000, np.int16)}, "wrong season: Input should be greater"),
    "later season": ({"season": np.array(2030, np.int16)}, "for season 2030 and end on 2023-06-12; those of margins"),
    "no date": ({"date": np.array(-(2**63))}, "ratings of totals include no game"),
    "date after that of margins": ({"date": np.array(20_000)}, "end on 2024-10-04; those of margins are for season"),
}


@pytest.mark.parametrize(("change", "said"), WRONG.values(), ids=WRONG)
def test_totals_from_which_no_server_could_learn_are_refused(change: dict[str, NDArray[Any]], said: str) -> None:
    manifest, contents = with_totals(to_npz(**{**COLUMNS, **change}))
    with pytest.raises(BundleCorrupt, match=rf"{TOTALS} cannot be read: .*{said}"):
        load_contents("bundle", manifest, contents)
