"""Contents of the files of a bundle: the parts of a forecaster, to and from bytes.

A bundle is untrusted data: nothing is pickled, no file names another, and each error is a BundleCorrupt that names the
file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Final, TypeVar

import numpy as np
from pydantic import ValidationError

from dejavu_feed.off_season import season_on
from dejavu_models.arrays import from_npz, npz_members, to_npz
from dejavu_models.components.component import Component
from dejavu_models.components.ensemble import POOLED, Ensemble, Weights
from dejavu_models.components.linear import LinearModels
from dejavu_models.components.registry import component_class
from dejavu_models.errors import BundleCorrupt, ComponentMissing
from dejavu_models.forecaster import Forecaster
from dejavu_models.manifest import (
    CALIBRATION,
    LINEAR,
    MOMENTS,
    PLAYERS,
    RATINGS,
    TOTALS,
    WEIGHTS,
    Manifest,
    RatingsRecord,
    component_file,
    first_error,
)
from dejavu_models.moments.model import MomentModel
from dejavu_models.player_ratings import PlayerRatings
from dejavu_models.ratings import RatingFilter
from dejavu_models.schedule import GameTerms
from dejavu_models.team_filter import LEVEL, RatingSettings, TeamFilter
from dejavu_models.totals.totals import Totals
from dejavu_models.types import MAX_DIFFERENTIAL
from dejavu_models.uncertainty.lattice.calibration import LatticeCalibration

T = TypeVar("T")

_MAX_ROUNDING: Final = 1e-9
"""Bound of the rounding errors of a variance, in points squared; the least variance of a bundle is above 0.01."""

MAX_SIZE = 128 * 1024**2
"""Maximum number of bytes of a bundle's arrays, and of a file. The arrays of the default bundle take 20 MB, of one with
all games of nine seasons as entries 101 MB. Loading takes up to three times as much memory, a loaded model up to twice
as much."""

_LARGEST_TERMS: Final = np.array(GameTerms(1.0, 1.0, 5.0, 1.0, 1.0))

_LEAST_SIZE: Final = 64 * 1024
"""Minimum number of bytes counted per array: finding and reading a small one takes as long as unpacking this many."""


def load_contents(source: object, manifest: Manifest, contents: Mapping[str, bytes]) -> Forecaster:
    """Load a forecaster from the contents of a bundle's files.

    Args:
        source: their origin, for messages.
        manifest: the manifest.
        contents: content of each of its files (`files`), whose hashes the caller has checked.

    Raises:
        BundleCorrupt: if a file cannot be read; the message names it.
        ComponentMissing: if a component is not installed.
    """
    _check_size(source, contents)

    def read(name: str, parse: Callable[[bytes], T]) -> T:
        with _refusing(source, name):
            return parse(contents[name])

    def optional(name: str, parse: Callable[[bytes], T]) -> T | None:
        return read(name, parse) if name in contents else None

    models = Ensemble(read(LINEAR, linear_from_bytes))
    classes = component_classes(source, manifest)
    if members := tuple(read(component_file(name), kind.from_bytes) for name, kind in classes.items()):
        names = tuple(dict.fromkeys((*POOLED, *manifest.components)))
        models = read(WEIGHTS, lambda content: Ensemble(models.linear, members, Weights.from_bytes(content, names)))
    return Forecaster(
        manifest,
        models,
        read(CALIBRATION, LatticeCalibration.from_bytes),
        read(RATINGS, lambda content: _ratings_from_bytes(content, manifest)),
        optional(TOTALS, lambda content: _totals_from_bytes(content, manifest)),
        optional(PLAYERS, PlayerRatings.from_bytes),
        optional(MOMENTS, MomentModel.from_bytes),
    )


def component_classes(source: object, manifest: Manifest) -> dict[str, type[Component]]:
    """Return the classes of a bundle's components by name, imported.

    Raises:
        ComponentMissing: if one is not installed; the message names it and what to install.
    """
    try:
        return {name: component_class(name, manifest.packages.get(name, "")) for name in manifest.components}
    except ComponentMissing as error:
        raise ComponentMissing(f"{source or manifest.version}: {error}") from None


def _check_size(source: object, contents: Mapping[str, bytes]) -> None:
    size = 0
    for name, content in contents.items():
        with _refusing(source, name):
            archived = content.startswith(b"PK")
            size += sum(max(each.file_size, _LEAST_SIZE) for each in npz_members(content)) if archived else len(content)
            if size > MAX_SIZE:
                raise ValueError(f"with it, the arrays take {size:,} bytes; expected {MAX_SIZE:,} at most")


def _totals_from_bytes(content: bytes, manifest: Manifest) -> Totals:
    totals = Totals.from_bytes(content)
    state, of_margins = totals.ratings, manifest.ratings
    try:
        of_totals = RatingsRecord(date=state.date, season=state.season, **asdict(state.settings))  # type: ignore[arg-type]
    except ValidationError as error:
        raise ValueError(f"its ratings have a wrong {first_error(error)}") from error
    # Games without a known total advance only the ratings of margins.
    if of_totals.season > of_margins.season or of_totals.date > of_margins.date:
        has, other = (f"season {each.season} and end on {each.date}" for each in (of_totals, of_margins))
        raise ValueError(f"its ratings are for {has}; those of margins are for {other}")
    _check_state(state)
    return totals


def _ratings_from_bytes(content: bytes, manifest: Manifest) -> RatingFilter:
    state, season, day = from_npz(content), manifest.ratings.season, manifest.ratings.date
    settings = RatingSettings(**manifest.ratings.model_dump(exclude={"season", "date"}))
    ratings = RatingFilter(
        settings,
        state["mean"],
        state["covariance"],
        season,
        day,
        awaits_season=season_on(day) < season,
    )
    _check_state(ratings)
    # The other files are checked for the games that a request can describe, whose margins are within ±200.
    strengths, terms = ratings.mean[:LEVEL], np.abs(ratings.mean[LEVEL:])
    if (margin := np.ptp(strengths) + terms @ _LARGEST_TERMS[: len(terms)]) > MAX_DIFFERENTIAL:
        raise ValueError(f"it expects margins of up to {margin:.0f} points; expected at most {MAX_DIFFERENTIAL:g}")
    return ratings


def _check_state(state: TeamFilter) -> None:
    """Raise ValueError if the numbers of ratings are not finite, too large, or not a covariance."""
    state.check()
    if not np.array_equal(state.covariance, state.covariance.T):
        raise ValueError("its covariance is not symmetric")
    if (np.linalg.eigvalsh(state.covariance) < -_MAX_ROUNDING).any():
        raise ValueError("its covariance gives some games a negative variance")


@contextlib.contextmanager
def _refusing(source: object, name: str) -> Iterator[None]:
    """Convert errors of any type while parsing a file, which may have any content, to BundleCorrupt with its name."""
    try:
        yield
    except Exception as error:
        raise BundleCorrupt(f"{source}: {name} cannot be read: {error}") from error


def linear_to_bytes(linear: LinearModels) -> bytes:
    """Serialize the linear models to a .npz file."""
    return to_npz(coefficients=linear.coefficients, corrections=linear.corrections, spreads=linear.spreads)


def linear_from_bytes(content: bytes) -> LinearModels:
    """Deserialize the output of `linear_to_bytes`.

    Raises:
        ValueError, KeyError: if the content is invalid.
    """
    columns = from_npz(content)
    return LinearModels(columns["coefficients"], columns["corrections"], columns["spreads"])


def ratings_to_bytes(state: RatingFilter) -> bytes:
    """Serialize the state of the rating filter to a .npz file; its settings, season and date are in the manifest."""
    return to_npz(mean=state.mean, covariance=state.covariance)
