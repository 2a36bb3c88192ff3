"""Requests of a batch whose bytes differ in their numbers only: found without parsing them, their numbers as arrays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dejavu.v1.prediction_service_pb2 import PredictRequest
from dejavu_common.yielding import Turns
from dejavu_models.arrays import Floats, Integers
from dejavu_models.forecaster.alike import AlikeRows
from dejavu_models.types import MAX_DIFFERENTIAL
from dejavu_server.api.converters.alike import ALIKE_FIELDS
from dejavu_server.api.wire.format import I64, LEN, Span, fields

LEAST: Final = 8
"""Least number of requests that are answered as bytes: of fewer, arrays and a thread take longer than messages."""

MAX_KINDS: Final = 16
"""Most kinds of requests of one length to look for: requests of further ones are answered one by one."""

MAX_BYTES: Final = 2048
"""Most bytes of such a request; with the most slots and levels it has half of them."""

_MAX_FIELDS: Final = 8
"""Most fields of such a request: levels that are fields each are too many. More would take long to look at."""

_ALIKE: Final = {field.number for field in ALIKE_FIELDS}
_PATTERN: Final = PredictRequest.DESCRIPTOR.fields_by_name["pattern"].number
_MARGIN: Final = PredictRequest.DESCRIPTOR.fields_by_name["pregame_margin"].number

_SLOT: Final = np.dtype("<f4")
_POINTS: Final = np.dtype("<f8")


class AlikeRequests(NamedTuple):
    """Requests that differ in their numbers only, LEAST or more, whose numbers a query may have.

    Attributes:
        indices: their indices in the batch.
        rows: the numbers of each.
    """

    indices: list[int]
    rows: AlikeRows


class _Layout(NamedTuple):
    """Where the numbers of a serialized request are.

    Attributes:
        pattern: the slots.
        margin: the expected margin; empty if it has none.
    """

    pattern: slice
    margin: slice


async def alike_requests(data: bytes, spans: Sequence[Span], turns: Turns) -> list[AlikeRequests]:
    """Returns the groups of requests that are alike.

    Requests that say the same in another form may be in several groups, or in none.

    Args:
        data: the bytes of a batch.
        spans: where its requests are.
        turns: lets other calls have theirs.
    """
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for index, (begin, end) in enumerate(spans):
        by_size[end - begin].append(index)
    groups = list[AlikeRequests]()
    for size, indices in by_size.items():
        await turns.give_way()
        if 0 < size <= MAX_BYTES and len(indices) >= LEAST:
            table = np.frombuffer(b"".join([data[slice(*spans[index])] for index in indices]), np.uint8)
            groups += await _of_one_size(table.reshape(-1, size), np.array(indices), turns)
    return groups


async def _of_one_size(table: NDArray[np.uint8], indices: Integers, turns: Turns) -> list[AlikeRequests]:
    """Returns the groups among requests of one length.

    Args:
        table: (n, length), their bytes.
        indices: (n,), their indices in the batch.
        turns: see `alike_requests`.
    """
    groups = list[AlikeRequests]()
    for _ in range(MAX_KINDS):
        if len(table) < LEAST:
            break
        await turns.give_way()
        layout = _layout(table[0].tobytes())
        others = np.ones(table.shape[1], bool)
        for numbers in layout or ():
            others[numbers] = False
        # With equal bytes around the numbers, numbers are at the same places too.
        same = (table[:, others] == table[0, others]).all(axis=1)
        if layout is not None and same.sum() >= LEAST:
            groups += _group(table[same], indices[same], layout)
        table, indices = table[~same], indices[~same]
    return groups


def _layout(request: bytes) -> _Layout | None:
    """Returns where the numbers are; None if the request says more than numbers and options, or in another form."""
    pattern = margin = None
    try:
        for count, (number, kind, begin, end) in enumerate(fields(request)):
            if number not in _ALIKE or count == _MAX_FIELDS:
                return None
            if number == _PATTERN:
                if kind != LEN or pattern is not None or begin == end or (end - begin) % _SLOT.itemsize:
                    return None
                pattern = slice(begin, end)
            elif number == _MARGIN:
                if kind != I64 or margin is not None:
                    return None
                margin = slice(begin, end)
    except ValueError:
        return None
    return None if pattern is None else _Layout(pattern, margin or slice(0, 0))


def _group(table: NDArray[np.uint8], indices: Integers, layout: _Layout) -> list[AlikeRequests]:
    """Returns the group of requests, without those that are to be refused; none if too few are left."""
    margins = np.full(len(table), np.nan)
    with np.errstate(invalid="ignore"):  # numpy warns of NaN that signals
        patterns = _numbers(table, layout.pattern, _SLOT)
        valid: NDArray[np.bool_] = np.all(np.abs(patterns) <= MAX_DIFFERENTIAL, axis=1)  # NaN is not
        if layout.margin != slice(0, 0):
            margins = _numbers(table, layout.margin, _POINTS)[:, 0]
            valid &= np.abs(margins) <= MAX_DIFFERENTIAL
    if valid.sum() < LEAST:
        return []
    return [AlikeRequests(indices[valid].tolist(), AlikeRows(patterns[valid], margins[valid]))]


def _numbers(table: NDArray[np.uint8], place: slice, kind: np.dtype[Any]) -> Floats:
    return np.ascontiguousarray(table[:, place]).view(kind).astype(float)
