"""Total points and the last score in the ledger: recorded, read back, corrected, and absent from what had none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.support.builders.issued_forecasts import issued, recorded

from dejavu_feed.live_inputs import NO_LIVE_INPUTS, LastScore, LiveInputs, Side
from dejavu_server.ledger import Ledger, verify
from dejavu_server.ledger.entries import codec
from dejavu_server.ledger.queries.verification.revisions import Revision
from dejavu_server.records import IssuedForecast

LAST = LastScore(Side.AWAY, 12)


def scored(total_points: int | None, last_score: LastScore | None = None, **fields: object) -> IssuedForecast:
    return replace(issued(**fields), live=LiveInputs(total_points, last_score))  # type: ignore[arg-type]


def entry(forecast: IssuedForecast) -> str:
    return codec.encode_entry(codec.FORECAST, codec.prepare(forecast).payload, 0, 1)


@pytest.mark.parametrize("given", [scored(0), scored(81, LAST), scored(None, LastScore(Side.HOME, 0))])
def test_they_are_recorded_and_read_back(given: IssuedForecast) -> None:
    read = codec.parse(entry(given))
    assert read == replace(given, sequence=1)
    assert entry(read) == entry(given)


def test_their_form_is_that_of_the_request() -> None:
    request = json.loads(codec.prepare(scored(81, LAST)).payload)["request"]
    assert (request["total_points"], request["last_score"]) == (81, {"seconds": 12, "side": "away"})


def test_a_forecast_without_them_has_no_members_of_them() -> None:
    request = json.loads(codec.prepare(issued()).payload)["request"]
    assert not {"total_points", "last_score"} & request.keys()
    read = codec.parse(entry(issued()))
    assert read.live == NO_LIVE_INPUTS


@pytest.mark.parametrize(
    "wrong", [{"side": "left", "seconds": 1}, {"side": "home", "seconds": 1.5}, {"side": "home"}, 7]
)
def test_a_last_score_that_is_none_is_not_read(wrong: object) -> None:
    changed = json.loads(entry(scored(81, LAST)))
    changed["payload"]["request"]["last_score"] = wrong
    with pytest.raises(ValueError):
        codec.parse(json.dumps(changed))


async def test_the_same_or_none_is_a_retry(ledger: Ledger) -> None:
    [stored] = await recorded(ledger, scored(81, LAST))
    for again in (scored(81, LAST), scored(81), scored(None, LAST), issued()):
        assert await recorded(ledger, again) == [stored]


async def test_others_and_what_was_lacking_are_corrections_and_the_ledger_stays_sound(ledger: Ledger, url: str) -> None:
    made = [issued(), scored(81), scored(81, LAST), scored(83, LAST), scored(81, LAST), scored(83)]
    stored = [(await recorded(ledger, each))[0] for each in made]
    assert [each.revision for each in stored] == [0, 1, 2, 3, 4, 5]
    assert stored[-1].live.last_score is None, "a revision has what its own request gave"
    assert [await recorded(ledger, issued())] == [[stored[-1]]], "a request without them takes the newest"
    assert verify(url).forecasts == len(made)


async def test_a_commit_of_several_revisions_tells_them_apart(ledger: Ledger, url: str) -> None:
    stored = await recorded(ledger, scored(81, LAST), scored(81), scored(83, LAST), scored(83, LAST))
    assert [each.revision for each in stored] == [0, 0, 1, 1]
    assert verify(url).forecasts == 2


@pytest.mark.parametrize(
    ("given", "repeats"),
    [
        ((None, 81, {"seconds": 12, "side": "away"}), True),
        ((None, None, None), True),
        ((None, 83, None), False),
        ((None, None, {"seconds": 12, "side": "home"}), False),
        (("2023-11-02", 81, None), False),
    ],
)
def test_verification_tells_a_correction_from_a_repetition(given: tuple[object, ...], repeats: bool) -> None:
    before = ("2023-11-01", 81, {"seconds": 12, "side": "away"})
    content = ("[0.0]", "BKN", "GSW")
    revision = Revision(2, 1, content, True, 1, content, content, True, given, before, before)
    assert (revision.repeats_before, revision.repeats_in_time) == (repeats, repeats)
