"""Withdrawn outcomes: every answer is then as if the outcome had never been reported."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection
from tests.support.builders.issued_forecasts import GAME, game, issued, recorded
from tests.support.builders.outcomes import outcome
from tests.support.harness.laws import examples
from tests.support.processes.empty_ledger import empty_ledger

from dejavu_ledger import Ledger, verify
from dejavu_ledger.entries import codec
from dejavu_ledger.errors import GameFull, OutcomeAlreadyRecorded, OutcomeStands, UnknownOutcome
from dejavu_ledger.outcomes import MAX_REVISIONS
from dejavu_ledger.queries import learning, pages, predictions, scorecards
from dejavu_ledger.queries.completed_games import completed_games
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_ledger.records import IssuedForecast, ReportedOutcome
from dejavu_models.errors import InvalidInput
from dejavu_models.live_ratings import LiveRatings, RatedSchedule
from dejavu_models.ratings import RatingFilter
from dejavu_models.results import Failed
from dejavu_models.scorecard.cards import LeftOut, Scorecard, scorecard
from dejavu_models.team_filter import RatingSettings
from dejavu_models.types import DISTRIBUTION_LEVELS, Horizon
from dejavu_server.forecasting.online_updater import OnlineProjection

HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
QUANTILES = tuple(round(30 * level - 15, 3) for level in DISTRIBUTION_LEVELS)
START = LiveRatings.start(
    RatingFilter.start(RatingSettings()).predict(2023, date(2023, 6, 12)).update("BOS", "NYK", 18)
)
NOW = datetime(2024, 1, 15, 3, tzinfo=UTC)


def forecasts_of(number: int) -> list[IssuedForecast]:
    """Return forecasts of a game, with distributions to learn from; one pattern reaches the end."""
    made = [
        issued(game(number), pattern, horizon=horizon, home_team="BKN", away_team="GSW", generated_time=NOW)
        for horizon, pattern in ((HALF, (1.0, 2.0)), (HALF, (1.0,) * 18), (FINAL, (1.0, -2.0) * 20))
    ]
    return [replace(each, forecast=replace(each.forecast, distribution=QUANTILES)) for each in made]


def text_of(card: Scorecard) -> str:
    """Return a scorecard with ten digits of its figures: the last ones follow the order of the first reports."""
    return re.sub(r"-?\d+\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.10g}", repr(card))


async def answers(ledger: Ledger) -> list[object]:
    """Return the answers about the ledger, without positions in it and numbers of revisions."""

    def read(connection: Connection) -> list[object]:
        page = pages.page(connection, pages.ForecastFilter(), "", 500).forecasts
        listed = [
            (
                each.issued.game_id,
                each.issued.forecast.horizon,
                each.issued.forecast.elapsed_minutes,
                each.outcome and each.outcome.differential,
                each.settlement and replace(each.settlement, outcome_sequence=0),
            )
            for each in page
        ]
        lists = [
            len(pages.page(connection, pages.ForecastFilter(settled=settled), "", 500).forecasts)
            for settled in (True, False)
        ]
        cards = [
            text_of(
                replace(
                    scorecard(scorecards.settled(connection, ScoreFilter(horizon=each)).forecasts),
                    left_out=LeftOut(),
                    withdrawn_games=0,
                    corrected_games=0,
                    doubtful_games=0,  # two games have the same teams on one day, which only these four show
                )
            )
            for each in Horizon
        ]
        learned = OnlineProjection({"v1": RatedSchedule(START)}, intervals=True)
        learned.read(connection)
        rated = learned.rated("v1")
        assert rated is not None
        ratings = rated.ratings
        state = [
            ratings.filter.mean.tobytes(),
            ratings.filter.date,
            dict(ratings.games),
            dict(ratings.unseen),
            learned.intervals.to_bytes(),
        ]
        lessons = [replace(each, sequence=0) for each in learning.settled_games_after(connection, 0)]
        return [
            sorted(map(repr, listed)),
            lists,
            cards,
            state,
            lessons,
            list(completed_games(connection, min_minutes=40)),
        ]

    return await ledger.read(read)


steps = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([HALF, FINAL]), st.sampled_from([None, -9, 4, 7])), max_size=12
)


@settings(deadline=None, max_examples=examples(6))
@given(steps)
@example([(1, HALF, 4), (3, HALF, -9), (2, HALF, -9), (3, HALF, None), (3, HALF, 4)])
def test_what_is_withdrawn_might_as_well_never_have_been_reported(
    told: list[tuple[int, Horizon, int | None]],
) -> None:
    """Compared with a ledger in which only the outcomes that stand in the end were reported, in the same order."""
    with empty_ledger() as url, empty_ledger() as other:
        asyncio.run(_compare(url, other, told))
        verify(url)


async def _compare(url: str, other: str, told: list[tuple[int, Horizon, int | None]]) -> None:
    ledger, plain = await Ledger.open(url), await Ledger.open(other)
    for each in (ledger, plain):
        for number in (1, 2, 3):
            await recorded(each, *forecasts_of(number))
    follower = OnlineProjection({"v1": RatedSchedule(START)}, intervals=True)
    stands: dict[tuple[int, Horizon], ReportedOutcome] = {}
    for number, horizon, differential in told:
        if differential is not None:
            new = outcome(differential, game(number), horizon=horizon, observed_time=NOW)
            await ledger.record_outcome(new)
            stands[number, horizon] = new  # a correction keeps its place in the order
        elif stands.pop((number, horizon), None) is None and not await _was_reported(ledger, game(number), horizon):
            with pytest.raises(UnknownOutcome, match=f"game_id: {game(number)}, which has no outcome at the "):
                await ledger.withdraw_outcome(game(number), horizon)
        else:
            await ledger.withdraw_outcome(game(number), horizon)
        await ledger.read(follower.read)
    for reported in stands.values():
        await plain.record_outcome(reported)
    assert await answers(ledger) == await answers(plain)
    fresh = OnlineProjection({"v1": RatedSchedule(START)}, intervals=True)
    await ledger.read(fresh.read)
    assert (follower.sequence, follower.intervals.to_bytes()) == (fresh.sequence, fresh.intervals.to_bytes())
    await ledger.close()
    await plain.close()


async def _was_reported(ledger: Ledger, game_id: str, horizon: Horizon) -> bool:
    found = await ledger.read(lambda connection: predictions.latest_forecast(connection, game_id, horizon))
    return bool(found.outcomes)


async def test_a_withdrawal_is_a_revision_that_says_so_and_is_idempotent(ledger: Ledger) -> None:
    await recorded(ledger, issued())
    reported, _ = await ledger.record_outcome(outcome(3))
    withdrawn, count = await ledger.withdraw_outcome(GAME, HALF)
    expected = replace(reported, withdrawn=True, revision=1, sequence=3, recorded_time=withdrawn.recorded_time)
    assert (withdrawn, count) == (expected, 1)
    assert await ledger.withdraw_outcome(GAME, HALF) == (withdrawn, 1)
    assert await ledger.read_after(1, 10) == [reported, withdrawn]
    again, _ = await ledger.record_outcome(outcome(3))
    assert (again.revision, again.sequence, again.withdrawn) == (2, 4, False)


async def test_after_a_withdrawal_forecasts_are_recorded_again(ledger: Ledger, url: str) -> None:
    await recorded(ledger, issued(pattern=(1.0, 2.0)))
    await ledger.record_outcome(outcome(3))
    [refused] = await ledger.commit([issued(pattern=(1.0, 2.0, 3.0))])
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, OutcomeAlreadyRecorded)
    await ledger.withdraw_outcome(GAME, HALF)
    [taken] = await recorded(ledger, issued(pattern=(1.0, 2.0, 3.0)))
    assert taken.sequence == 4
    assert verify(url).settled == 0


async def test_nothing_contradicts_what_is_withdrawn(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(90, home_team="BOS", away_team="NYK"))
    for contradicting in (outcome(-20, horizon=FINAL), outcome(80, horizon=FINAL, home_team="LAL", away_team="NYK")):
        with pytest.raises(InvalidInput):
            await ledger.record_outcome(contradicting)
    await ledger.withdraw_outcome(GAME, HALF)
    stored, _ = await ledger.record_outcome(outcome(-20, horizon=FINAL, home_team="LAL", away_team="NYK"))
    assert stored.revision == 0


async def test_a_report_of_one_who_asks_not_to_correct_overturns_nothing_and_names_what_stands(ledger: Ledger) -> None:
    await ledger.record_outcome(outcome(3), correct=False)
    assert (await ledger.record_outcome(outcome(3), correct=False))[0].revision == 0
    with pytest.raises(OutcomeStands, match=r"another outcome stands at the half: BKN against GSW: \+3, revision 0"):
        await ledger.record_outcome(outcome(4), correct=False)
    assert (await ledger.record_outcome(outcome(4)))[0].revision == 1


async def test_a_report_that_adds_teams_to_the_same_score_is_no_correction(ledger: Ledger) -> None:
    """Ratings learn from a final only if the teams are known: a report that adds them has to get through."""
    await ledger.record_outcome(outcome(3, home_team="", away_team=""))
    with pytest.raises(OutcomeStands, match=r"home team \+3, revision 0, .*; this report has BKN against GSW: \+4$"):
        await ledger.record_outcome(outcome(4), correct=False)
    stored, _ = await ledger.record_outcome(outcome(3), correct=False)
    assert (stored.revision, stored.home_team, stored.away_team) == (1, "BKN", "GSW")


async def test_a_wrong_time_is_replaced_by_a_withdrawal_and_a_new_report(ledger: Ledger) -> None:
    wrong, right = NOW, NOW.replace(day=12)
    await ledger.record_outcome(outcome(7, horizon=FINAL, observed_time=wrong))
    again, _ = await ledger.record_outcome(outcome(7, horizon=FINAL, observed_time=right))
    assert (again.revision, again.observed_time) == (0, wrong)
    await ledger.withdraw_outcome(GAME, FINAL)
    stored, _ = await ledger.record_outcome(outcome(7, horizon=FINAL, observed_time=right))
    assert (stored.revision, stored.observed_time) == (2, right)

    def learned(connection: Connection) -> list[date]:
        return [each.day for each in learning.settled_games_after(connection, 0)]

    assert await ledger.read(learned) == [date(2024, 1, 11)]


async def test_a_caller_revises_an_outcome_so_often_and_others_can_correct_it_then(ledger: Ledger) -> None:
    """Reads of a game walk all revisions of its outcomes: without a limit they took seconds."""
    revisions = [
        await ledger.record_outcome(outcome(1 + number % 2, horizon=FINAL)) for number in range(MAX_REVISIONS + 1)
    ]
    stored, _ = revisions[-1]
    assert stored.revision == MAX_REVISIONS
    with pytest.raises(GameFull, match=f"has {MAX_REVISIONS} revisions"):
        await ledger.record_outcome(outcome(9, horizon=FINAL))
    assert (await ledger.record_outcome(outcome(stored.differential, horizon=FINAL)))[0] == stored
    withdrawn, _ = await ledger.withdraw_outcome(GAME, FINAL)
    assert withdrawn.revision == MAX_REVISIONS + 1
    with pytest.raises(GameFull):
        await ledger.record_outcome(outcome(9, horizon=FINAL))
    corrected, _ = await ledger.record_outcome(replace(outcome(9, horizon=FINAL), recorded_by="token:operator"))
    assert (corrected.differential, corrected.revision) == (9, MAX_REVISIONS + 2)


async def test_a_report_beyond_the_limit_reads_few_revisions(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """The refusal holds the write lock: with a hundred box scores to parse, a few callers held it permanently."""
    reported = replace(outcome(1, horizon=FINAL), recorded_by='token:"poller"')
    for number in range(MAX_REVISIONS + 1):
        await ledger.record_outcome(replace(reported, differential=1 + number % 2))
    parsed, parse_outcome = list[str](), codec.parse_outcome

    def parse(text: str) -> ReportedOutcome:
        parsed.append(text)
        return parse_outcome(text)

    monkeypatch.setattr(codec, "parse_outcome", parse)
    with pytest.raises(GameFull):
        await ledger.record_outcome(replace(reported, differential=9))
    assert len(parsed) < 5
    await ledger.record_outcome(replace(reported, differential=9, recorded_by="token:poller"))
