"""Contents of a bundle's files: any that the trainer does not write is refused by the name of the file.

Hashes detect corruption; these files have the right hash. Otherwise some forecasts would be errors, take seconds, or
read beyond an array, and verification reaches few games.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.builders.bundles import small_bundle_folder

from dejavu_models.arrays import from_npz, to_npz
from dejavu_models.errors import BundleCorrupt
from dejavu_models.manifest import (
    CALIBRATION,
    LINEAR,
    MOMENTS,
    PLAYERS,
    RATINGS,
    TOTALS,
    WEIGHTS,
    Manifest,
    component_file,
)
from dejavu_models.moments import CHANGES, MOST_LEAD, NOT_KNOWN
from dejavu_models.totals import TABLES as TOTAL_TABLES
from dejavu_models.uncertainty.lattice.margin_model import TABLES as MARGIN_TABLES
from dejavu_store.bundle import linear_to_bytes, load_contents, ratings_to_bytes, read_files, read_manifest
from dejavu_store.default_bundles import default_bundle

Array = NDArray[Any]
Change = Callable[[Array], Any]
DEJAVU, LSTM = map(component_file, ("dejavu", "lstm"))


@cache
def bundle() -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the files of the small bundle, with the parts of the shipped one that it lacks."""
    small = small_bundle_folder()
    manifest = read_manifest(small)
    shipped = {name: (default_bundle() / name).read_bytes() for name in (CALIBRATION, TOTALS, PLAYERS, MOMENTS)}
    return manifest, read_files(small, manifest) | shipped


def refusal(name: str, content: bytes) -> str:
    """Require that the bundle is refused with another file in place of one of its own; return why."""
    manifest, files = bundle()
    with pytest.raises(BundleCorrupt) as refused:
        load_contents("x", manifest, files | {name: content})
    told, _, why = str(refused.value).partition(" cannot be read: ")
    assert told == f"x: {name}"
    return why


def wrong(file: str, said: str, **changes: Change | None) -> Any:
    """Return a case: columns of a file that are changed, or left out, and what is said of them."""
    return pytest.param(file, changes, said, id=f"{file}: {said}: {', '.join(changes)}")


def filled(value: object) -> Change:
    return lambda column: np.full_like(column, value)


def at(place: Any, value: Any) -> Change:
    """Return a change of the values at a place."""

    def change(column: Array) -> Array:
        changed = column.copy()
        changed[place] = value
        return changed

    return change


def fewer(column: Array) -> Array:
    return column[:-1]


def repeated(column: Array) -> Array:
    return np.repeat(column, 9, axis=0)


PAST_GAMES = ("home", "away", "date", "differentials", "final", "totals", "final_total", "margins", "codes")
PLAYER_ROWS = ("player", "team", "rating", "variance", "minutes", "starts", "usual", "season")
TOTAL_ROWS = ("sources", "games", *TOTAL_TABLES)
UNEQUAL_PAIR = np.zeros((34, 34))
UNEQUAL_PAIR[0, 1] = UNEQUAL_PAIR[1, 0] = 1.0
BEYOND = "increment to final beyond ±10000"
FAR = r"scale gives some game a scale beyond exp(±300)"
UNRANKED = "must ascend between 0 and 0.5"
ASCENDING = np.arange(1, 54) * 1e-20
"""Ranks whose mirror images are equal."""

CASES = [
    *(wrong(LINEAR, "to halftime beyond ±10000", coefficients=at((0, 23), bad)) for bad in (math.inf, -1e308)),
    wrong(LINEAR, "without an expected margin", coefficients=at((1, 5, 0, 2), 0.1)),
    wrong(LINEAR, BEYOND, coefficients=at((1, 40, 1, 2), 60.0)),  # two even teams hide it, until one of them has won
    wrong(LINEAR, BEYOND, coefficients=at((1, 40, 0, 3), 50.0)),
    wrong(LINEAR, "linear corrections give an increment beyond ±10000", corrections=at(slice(1, None), 6.0)),
    wrong(WEIGHTS, "weights: values is float64 of shape", values=lambda _: np.full((3, 6, 4), 0.25)),
    wrong(WEIGHTS, "weights: values must be", values=lambda it: it * 0 + [2.0, -1.0, 0.0]),
    wrong(WEIGHTS, "the weights of each cell must sum to 1", values=lambda it: it * 0.9),
    wrong(LSTM, "expected up to 16 networks", recurrent=lambda _: np.zeros((17, 32, 8), np.float32)),
    wrong(LSTM, "recurrent has the shape", recurrent=lambda it: it[0]),
    wrong(LSTM, "head is float32 of shape", head=lambda it: it[:, :-1]),
    wrong(LSTM, "spreads is", spreads=lambda it: it[:, :40]),
    wrong(LSTM, "bias is float64", bias=lambda it: it.astype(float)),
    wrong(LSTM, "input must be within", input=filled(math.nan)),
    wrong(LSTM, "bias must be within", bias=filled(3e38)),
    wrong(LSTM, "scale must be at least", scale=filled(0.0)),
    wrong(DEJAVU, "there must be games", **dict.fromkeys(PAST_GAMES, lambda it: it[:0])),
    wrong(DEJAVU, "final must not be 0", final=at(0, 0)),
    wrong(DEJAVU, "away is", away=fewer),
    wrong(DEJAVU, "differentials must be within ±200", differentials=at((0, 0), -32_768)),
    wrong(DEJAVU, "totals must be within -1 to 1000", totals=at((3, 4), 1001)),
    wrong(DEJAVU, "each game and its mirror image once", members=at((5, slice(2)), 7)),
    wrong(DEJAVU, "members is int32", members=lambda it: it.astype(np.int32)),
    wrong(DEJAVU, "starts must ascend", starts=lambda it: at(2, it[1])(it)),
    wrong(DEJAVU, "starts must ascend from 0 to the number of images", starts=at(-1, 9999)),
    wrong(DEJAVU, "starts and nearest do not have the right shapes", starts=lambda it: it[:1]),
    wrong(DEJAVU, "31 of 30 groups; expected up to 400", nearest=lambda _: np.array(31)),
    wrong(DEJAVU, "weights of features must be within ±100", weights=at((3, 0), 101.0)),
    wrong(DEJAVU, "vectors must be within", centers=at((7, 0, 0), math.nan)),
    wrong(DEJAVU, "centers are float32 of shape", centers=fewer),
    wrong(DEJAVU, "each group a level", centers=lambda it: it[:, :-1]),
    wrong(DEJAVU, "centers must be", centers=lambda it: it[:, :, :-1].copy()),
    wrong(DEJAVU, "levels, counts and links do not fit together", graph_links=lambda it: np.append(it, it[:3])),
    wrong(CALIBRATION, "scale is float64", scale=lambda it: it[:, :, :3]),
    wrong(CALIBRATION, "win must be within", win=filled(math.nan)),
    wrong(CALIBRATION, "shift must be within ±20 points", shift=filled(-21.0)),
    wrong(CALIBRATION, "ascend", shapes=lambda it: it[:, :, ::-1].copy()),
    wrong(CALIBRATION, "at least one game", games=filled(0)),
    *(wrong(CALIBRATION, f"{name} must be within ±1e+06", **{name: filled(1e7)}) for name in MARGIN_TABLES[:4]),
    wrong(CALIBRATION, FAR, scale=at((0, 0, 2), 18.0)),  # of a lead of 200
    wrong(CALIBRATION, FAR, scale=at((0, -1, 5), 360.0)),  # tied, late
    *(
        wrong(CALIBRATION, UNRANKED, ranks=at((0, 3, 0 if bad <= 0 else -1), bad))
        for bad in (0.0, -0.1, 0.5, 0.7)
    ),
    wrong(CALIBRATION, "ranks must be within", ranks=at((0, 3, 0), math.nan)),
    wrong(CALIBRATION, UNRANKED, ranks=at((0, 3), ASCENDING)),
    # Rows that nobody needs are refused before they take time and memory.
    wrong(CALIBRATION, "one row each for up to 12 kinds", games=repeated),
    wrong(RATINGS, "its mean must be within ±1000", mean=at(0, 1e300)),
    wrong(RATINGS, "points; expected at most 200", mean=at(0, 300.0)),
    wrong(RATINGS, "its covariance has negative variances", covariance=at((0, 0), -80.0)),
    wrong(RATINGS, "its covariance must be within ±1e+06", covariance=at((0, 0), 1e9)),
    *(wrong(TOTALS, name, **{name: filled(math.nan)}) for name in TOTAL_TABLES),
    wrong(TOTALS, FAR, scale=at((0, -1), (0.0, 0.0, 18.0, 0.0))),  # of a lead of 200
    wrong(TOTALS, FAR, scale=at((0, -1), (0.0, 0.0, 0.0, 360.0))),  # without a lead
    # Finite at the leads that a verification queries (0, 14 and -40), and infinite at 17.
    wrong(TOTALS, FAR, scale=at((0, -1), (-25200.0, 0.0, 18000.0, 25200.0))),
    wrong(TOTALS, "no tables for totals that are", **dict.fromkeys(TOTAL_ROWS, lambda it: it[:1])),
    wrong(TOTALS, "at most 4 rows", **dict.fromkeys(TOTAL_ROWS, repeated)),
    wrong(TOTALS, "not symmetric", covariance=lambda _: np.eye(34) + np.eye(34, k=1)),
    wrong(TOTALS, "games a negative variance", covariance=lambda _: np.eye(34) + (1 + 1e-7) * UNEQUAL_PAIR),
    wrong(TOTALS, "wrong season: Input should be greater", season=filled(-30_000)),
    wrong(TOTALS, "for season 2040 and end on 2024-06-17; those of margins", season=filled(2040)),
    wrong(TOTALS, "ratings of totals include no game", date=filled(-(2**63))),
    wrong(PLAYERS, "player", **dict.fromkeys(PLAYER_ROWS, lambda it: it[:0])),
    wrong(PLAYERS, "team", team=lambda it: it + 30),
    wrong(PLAYERS, "probabilities must be", plays=lambda it: it * 0),
    wrong(MOMENTS, "shape", final=lambda it: it[:, :-1]),
    wrong(MOMENTS, "do not sum to 1", final=lambda it: 2 * it),
    wrong(MOMENTS, "do not sum to 1", final=filled(math.nan)),
    wrong(MOMENTS, "negative", final=at((0, 3, 3, slice(2)), (-0.5, 1.5))),
    wrong(MOMENTS, "tied", final=at((NOT_KNOWN, -1, MOST_LEAD), CHANGES == 0)),
    # Of an overtime of a favorite, whose margin counts as points of lead: as few as there are rows, and more.
    wrong(MOMENTS, "tied", final=at((NOT_KNOWN, -1, MOST_LEAD + 3), CHANGES == -3)),
    wrong(MOMENTS, "tied", final=at((NOT_KNOWN, -1, -1), CHANGES == -MOST_LEAD - 1)),
    *(wrong(MOMENTS, "drift", drift=filled(bad)) for bad in (0.02, math.nan)),
    *(wrong(MOMENTS, "free throw", free_throw=filled(bad)) for bad in (1.1, math.nan)),
    *(wrong(MOMENTS, "games", games=lambda _, bad=bad: np.array(bad)) for bad in (0, 2**40)),  # type: ignore[misc]
    # Archives that unpack to too much are refused before they are unpacked, and those of many small arrays.
    wrong(LINEAR, "bytes; expected 134,217,728 at most", coefficients=lambda _: np.zeros(2**24)),
    wrong(LINEAR, "expected 134,217,728 at most", **{f"a{number}": lambda _: np.zeros(0) for number in range(5000)}),
]  # fmt: skip


@pytest.mark.parametrize(("file", "changes", "said"), CASES)
def test_what_the_trainer_would_not_store_is_refused_by_its_name(
    file: str, changes: dict[str, Change | None], said: str
) -> None:
    columns = dict(from_npz(bundle()[1][file]))
    for name, change in changes.items():
        column = columns.pop(name, np.zeros(0))
        if change is not None:
            columns[name] = np.asarray(change(column))
    assert said in refusal(file, to_npz(**columns))


def test_what_was_loaded_is_written_as_it_was() -> None:
    shipped = read_manifest(default_bundle())
    files = read_files(default_bundle(), shipped)
    model = load_contents("x", shipped, files)
    parts: dict[str, Any] = {
        **{component_file(each.name): each for each in model.models.members},
        WEIGHTS: model.models.weights,
        CALIBRATION: model.calibration,
        TOTALS: model.totals,
        PLAYERS: model.player_ratings,
        MOMENTS: model.moments,
    }
    written = {name: part.to_bytes() for name, part in parts.items()}
    written |= {LINEAR: linear_to_bytes(model.models.linear), RATINGS: ratings_to_bytes(model.rating_filter)}
    assert written == files


@pytest.mark.parametrize("name", [LSTM, LINEAR, DEJAVU, WEIGHTS, CALIBRATION, RATINGS, TOTALS, PLAYERS, MOMENTS])
def test_files_of_another_form_are_refused_by_their_name(name: str) -> None:
    refusal(name, b"PK\x03\x04 something else" * 10)
    for change in (np.ravel, np.array_str, lambda array: np.atleast_1d(array)[..., :0]):
        columns = {column: np.asarray(change(array)) for column, array in from_npz(bundle()[1][name]).items()}
        refusal(name, to_npz(**columns))


def test_an_archive_that_lists_an_array_twice_is_refused() -> None:
    """It would be unpacked as often as it is listed, though all entries but the last may say that it is empty."""
    buffer = io.BytesIO(bundle()[1][RATINGS])
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("mean.npy", archive.read("mean.npy"))
    assert "lists an array twice" in refusal(RATINGS, buffer.getvalue())


def test_pickles_are_never_opened() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, coefficients=np.array([{"an": "object"}], dtype=object))
    assert "allow_pickle" in refusal(LINEAR, buffer.getvalue())
