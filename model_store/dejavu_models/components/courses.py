"""Courses of the entries of Dejavu databases: the continuation of their games after the minute of the database.

Forecasts do not need them: they are displayed with similar games. They are stored separately, in tenths of a point, and
are not part of the model version.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dejavu_models.arrays import Tenths, from_npz, to_npz
from dejavu_models.types import MAX_SLOTS

Courses = Tenths
"""(entries, MAX_SLOTS − minute): change from the database's minute to the end of each later minute; for an entry of
several games, the mean."""


def courses_to_bytes(courses: Mapping[int, Courses]) -> bytes:
    """Serialize courses by minute to a .npz file; equal courses give equal bytes."""
    return to_npz(**{_name(minute): courses[minute] for minute in sorted(courses)})


def courses_from_bytes(content: bytes, entries: Mapping[int, int]) -> dict[int, Courses]:
    """Deserialize the output of `courses_to_bytes`.

    Args:
        content: the file.
        entries: minute → number of its entries.

    Raises:
        ValueError, KeyError: if the content is invalid or of other entries.
    """
    columns = from_npz(content)
    if columns.keys() != {_name(minute) for minute in entries}:
        raise ValueError("it has courses of other minutes than the databases")
    found = {minute: columns[_name(minute)] for minute in entries}
    for minute, tenths in found.items():
        if tenths.dtype != np.int16 or tenths.shape != (entries[minute], MAX_SLOTS - minute):
            raise ValueError(
                f"the courses of minute {minute} are {tenths.dtype} of shape {tenths.shape}; "
                f"expected int16 of shape {(entries[minute], MAX_SLOTS - minute)}"
            )
    return found


def _name(minute: int) -> str:
    return f"minute_{minute:02d}"
