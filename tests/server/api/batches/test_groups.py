"""Requests of a batch are grouped if they differ in their numbers only, and their numbers are those that they have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu.v1 import forecast_pb2
from dejavu.v1.prediction_service_pb2 import PredictBatchRequest, PredictRequest
from dejavu_common import yielding
from dejavu_common.yielding import Turns
from dejavu_models.types import MAX_DIFFERENTIAL
from dejavu_server.api.batches import groups
from dejavu_server.api.batches.groups import LEAST, AlikeRequests, alike_requests
from dejavu_server.api.converters.alike import alike_key
from dejavu_server.api.wire.format import Field, fields, message_spans


async def groups_of(requests: list[PredictRequest]) -> list[AlikeRequests]:
    data = PredictBatchRequest(requests=requests).SerializeToString()
    return await alike_requests(data, message_spans(data, 1, len(requests)) or [], Turns())


async def groups_of_bytes(requests: list[bytes]) -> list[AlikeRequests]:
    data, spans = b"", []
    for each in requests:
        spans.append((len(data), len(data) + len(each)))
        data += each
    return await alike_requests(data, spans, Turns())


def asks(last: float = 1.0, minutes: int = 6, **others: Any) -> PredictRequest:
    return PredictRequest(pattern=[*[0.5] * (minutes - 1), last], **others)


slots = st.floats(-220, 220, width=32) | st.sampled_from([math.nan, math.inf, -0.0])


@st.composite
def some_requests(draw: st.DrawFn) -> PredictRequest:
    minutes = draw(st.sampled_from([0, 3, 4, 6]))
    request = PredictRequest(
        pattern=draw(st.lists(slots, min_size=minutes, max_size=minutes)),
        alpha=draw(st.sampled_from([None, 0.1])),
        horizon=draw(st.sampled_from([forecast_pb2.HORIZON_UNSPECIFIED, forecast_pb2.HORIZON_FINAL])),
        game_id=draw(st.sampled_from(["", "0022500001"])),
    )
    if draw(st.booleans()):
        request.pregame_margin = draw(slots)
    return request


@given(st.data())
async def test_groups_are_of_requests_that_are_alike(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(some_requests(), min_size=1, max_size=3))
    requests = list[PredictRequest]()
    for number in range(data.draw(st.integers(0, 4 * LEAST))):
        request = PredictRequest.FromString(kinds[number % len(kinds)].SerializeToString())
        if request.pattern:
            request.pattern[-1] = data.draw(slots)
        requests.append(request)
    found = await groups_of(requests)
    grouped = [index for group in found for index in group.indices]
    assert len(grouped) == len(set(grouped))
    for group in found:
        assert len(group.indices) == len(group.rows) >= LEAST
        first = requests[group.indices[0]]
        for index, pattern, margin in zip(group.indices, group.rows.patterns, group.rows.margins, strict=True):
            request = requests[index]
            assert (alike_key(request), request.game_id) == (alike_key(first), first.game_id)
            assert pattern.tolist() == list(request.pattern)
            assert margin == request.pregame_margin if request.HasField("pregame_margin") else np.isnan(margin)
            assert all(abs(slot) <= MAX_DIFFERENTIAL for slot in pattern)


async def test_all_that_are_alike_are_found_beside_others_of_the_same_length() -> None:
    versioned = [asks(last, minutes=3, model_version="20260101-x") for last in range(LEAST)]
    unnamed = [asks(last, minutes=6) for last in range(LEAST)]
    known = [asks(last, pregame_margin=last / 2) for last in range(LEAST)]
    assert len(versioned[0].SerializeToString()) == len(unnamed[0].SerializeToString())
    named = [asks(0.0, minutes=3, game_id="0022500001")] * LEAST
    mixed = [each for four in zip(versioned, unnamed, known, strict=True) for each in four] + named
    found = await groups_of(mixed)
    assert sorted(group.indices for group in found) == [list(range(start, 3 * LEAST, 3)) for start in range(3)]


async def test_numbers_that_no_request_may_have_leave_the_others_together() -> None:
    good = [asks(last, pregame_margin=-200) for last in range(LEAST)]
    wrong = [asks(last, pregame_margin=1.0) for last in (math.nan, 201, -math.inf)]
    wrong += [asks(1.0, pregame_margin=margin) for margin in (math.nan, 200.5)]
    [group] = await groups_of([*wrong[:2], *good[:5], *wrong[2:], *good[5:]])
    assert group.indices == [2, 3, 4, 5, 6, *range(10, LEAST + 5)]
    assert await groups_of([*wrong, *good[1:]]) == []


async def test_requests_in_another_form_are_in_no_group() -> None:
    slot = b"\x00\x00\x80\x3f"
    for form in (
        b"\x15" + slot + b"\x15" + slot,  # a slot a field
        b"\x12\x04" + slot + b"\x12\x04" + slot,  # the pattern in two parts
        b"\x12\x03" + slot[:3],  # not whole slots
        b"\x12\x00",
        b"\x12\x04" + slot + b"\x41" + bytes(8) + b"\x41" + bytes(8),  # two margins
        b"\x12\x04" + slot + b"\x45" + bytes(4),  # a margin of four bytes
        b"\x12\x04" + slot + b"\x0b",
        b"\x18\x05",
        b"",
    ):
        assert await groups_of_bytes([form] * (LEAST + 1)) == []


async def test_requests_that_would_take_long_to_look_at_are_in_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = list[Field]()

    def counted(data: bytes) -> Iterator[Field]:
        for field in fields(data):
            looked_at.append(field)
            yield field

    monkeypatch.setattr(groups, "fields", counted)
    horizon, pattern = b"\x28\x01", asks().SerializeToString()
    assert await groups_of_bytes([horizon * 100_000 + pattern] * LEAST) == []
    assert looked_at == []
    assert await groups_of_bytes([horizon * 900 + pattern] * LEAST) == []
    assert len(looked_at) < 20
    largest = asks(minutes=47, quantile_levels=[level / 100 for level in range(1, 100)], model_version="x" * 64)
    largest.alpha, largest.pregame_margin, largest.horizon = 0.1, 3.5, forecast_pb2.HORIZON_FINAL
    assert len(await groups_of([largest] * LEAST)) == 1


async def test_other_calls_have_their_turn_between_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr(yielding, "give_way", count)
    requests = [asks(minutes=minutes) for minutes in range(2, 48) for _ in range(LEAST)]
    data = PredictBatchRequest(requests=requests).SerializeToString()
    found = await alike_requests(data, message_spans(data, 1, len(requests)) or [], Turns(-1.0))
    assert len(found) == 46 <= turns


async def test_nan_that_signals_is_refused_without_a_warning() -> None:
    signalling = b"\x12\x04\x00\x00\xa0\x7f"
    assert await groups_of_bytes([signalling] * LEAST) == []


async def test_the_margin_may_stand_before_the_pattern() -> None:
    requests = []
    for last in range(LEAST):
        margin = PredictRequest(pregame_margin=last / 2).SerializeToString()
        requests.append(margin + asks(last).SerializeToString())
    [group] = await groups_of_bytes(requests)
    assert group.rows.margins.tolist() == [last / 2 for last in range(LEAST)]
    assert group.rows.patterns[:, -1].tolist() == [float(last) for last in range(LEAST)]
