"""Laws of the record, for any calls of two servers: forecasts, markets, shadows, reports and withdrawals.

What a writer keeps, and what it records together, changes no answer; the auditor derives the same at every checkpoint;
no order of calls improves a card; and what is withdrawn might as well never have been reported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.builders import full_ledger
from tests.support.builders.record_book import (
    EVENING,
    FINAL,
    HALF,
    RecordBook,
    card,
    exported,
    leads,
    lessons,
    new_book,
    reported,
    said,
    told,
)
from tests.support.harness.laws import examples

from dejavu_feed.moment import Moment
from dejavu_ledger import verify
from dejavu_ledger.audit import checkpoints
from dejavu_ledger.database import store
from dejavu_ledger.queries.pages import ForecastFilter, page
from dejavu_ledger.recording import KnownRecord
from dejavu_ledger.records import Checkpoint, IssuedForecast
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.errors import DejavuError
from dejavu_models.results import Failed
from dejavu_models.scorecard.cards import LeftOut, Scorecard
from dejavu_models.types import Horizon

LIMITS = RecordingLimits(forecasts=20)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Made(NamedTuple):
    """A forecast of a step; see `said`."""

    game: int
    second: int
    lead: int
    alpha: float
    caller: str
    clock: int | None
    market: bool


class Step(NamedTuple):
    """What one transaction of one of two servers records.

    Attributes:
        server: number of the server.
        made: the forecasts.
        outcome: horizon and differential to report of the first game instead, 0 for a withdrawal; None: none.
        shadow: sequence of an entry beside which a shadow is recorded instead; None: none.
        lease: a caller who gets the lease before; empty: none.
        fails: whether the transaction is rolled back.
    """

    server: int
    made: list[Made]
    outcome: tuple[Horizon, int] | None
    shadow: int | None
    lease: str
    fails: bool


made = st.builds(
    Made,
    st.integers(1, 2),
    st.sampled_from([360, 365, 370, 1440, 2820, 2830]),
    st.integers(0, 1),
    st.sampled_from([0.05, 0.1]),
    st.sampled_from(["", "a", "b"]),
    st.none() | st.sampled_from([360, 2880]),
    st.booleans(),
)
steps = st.lists(
    st.builds(
        Step,
        st.integers(0, 1),
        st.lists(made, min_size=1, max_size=3),
        st.none() | st.none() | st.none() | st.tuples(st.sampled_from(Horizon), st.sampled_from([0, 1, 2])),
        st.none() | st.none() | st.none() | st.integers(1, 8),
        st.sampled_from(["", "", "a", "b"]),
        st.sampled_from([False, False, False, True]),
    ),
    max_size=12,
)


def forecast(made: Made, number: int, place: int = 0) -> IssuedForecast:
    """Return a forecast of a step, each of which takes four minutes, with probabilities that follow from it."""
    minute, over = divmod(made.second, 60)
    period, left = made.second // 720 + 1, 720 - made.second % 720
    moment = Moment(period, float(left), made.lead) if over else None
    market = made.market and not (moment is not None and moment.is_late(FINAL))  # it would have no stake
    plain = full_ledger.recordable(made.game, slots=minute, horizon=FINAL, last=float(made.lead), market=market)
    time = EVENING + timedelta(minutes=4 * number, seconds=place)
    return replace(
        plain,
        game_id=f"002250000{made.game}",
        forecast=replace(plain.forecast, moment=moment, alpha=made.alpha, expected_margin=0.5),
        pregame_margin=0.5,
        generated_time=time,
        expires_time=time + timedelta(minutes=5),
        recorded_by=made.caller,
        clock=None if made.clock is None else float(made.clock),
        publisher=made.caller,
    )


def take(book: RecordBook, step: Step, number: int, known: KnownRecord | None) -> Any:
    """Record a step: together by what is known, or else each forecast alone; return the answers."""
    if step.lease:
        book.lease("poll", step.lease)
    now = EVENING + timedelta(minutes=4 * number)
    try:
        if step.shadow is not None and step.shadow in forecasts(book):
            return book.shadow(step.shadow, "v2", known=known)
        if step.outcome is None:
            every = [forecast(each, number, place) for place, each in enumerate(step.made)]
            calls = [every] if known is not None or step.fails else [[each] for each in every]
            answers = [book.predict(*call, known=known, limits=LIMITS, fails=step.fails) for call in calls]
            return [comparable(each) for call in answers for each in call]
        horizon, differential = step.outcome
        game_id = f"002250000{step.made[0].game}"
        if not differential:
            return book.withdraw(game_id, horizon, now)
        return book.report(game_id, horizon, differential, seen=now)
    except (DejavuError, ZeroDivisionError) as error:
        return type(error), str(error)


def forecasts(book: RecordBook) -> dict[int, IssuedForecast]:
    """Return all forecasts by their sequences."""
    listed = book.read(lambda connection: page(connection, ForecastFilter(superseded=True, replays=True), "", 500))
    return {each.issued.sequence: each.issued for each in listed.forecasts}


def comparable(result: Any) -> Any:
    return (type(result.error), str(result.error)) if isinstance(result, Failed) else (result, result.created)


def signed(book: RecordBook, number: int) -> Checkpoint:
    """Return a checkpoint of a book's head, of the time of a step."""
    identity, head = book.read(store.identity), book.read(store.head)
    return checkpoints.sign(KEY, identity, head, EVENING + timedelta(minutes=4 * number, seconds=5))


@settings(deadline=None, max_examples=examples(8))
@given(steps)
def test_what_is_kept_or_recorded_together_changes_no_answer_and_the_auditor_agrees_at_every_checkpoint(
    taken: list[Step],
) -> None:
    servers = [KnownRecord(), KnownRecord()]
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        with new_book(Path(one)) as keeping, new_book(Path(other)) as reading:
            kept = [signed(keeping, -1)]
            for number, step in enumerate(taken):
                assert take(keeping, step, number, servers[step.server]) == take(reading, step, number, None)
                kept.append(signed(keeping, number))
        urls = [f"sqlite:///{folder}/ledger.db" for folder in (one, other)]
        assert verify(urls[0]) == verify(urls[1])
        for each in {each.sequence: each for each in kept}.values():
            verify(urls[0], each)


def test_a_restored_ledger_is_not_answered_from_memory_although_its_newest_entry_is_the_same() -> None:
    known, both = KnownRecord(), [forecast(Made(game, 360, 0, 0.05, "", None, False), 0) for game in (1, 2)]
    with new_book() as book:
        book.predict(*both, known=known)
        book.run(
            "DELETE FROM forecasts WHERE sequence = 1",
            "DELETE FROM entries WHERE sequence = 1",
            "UPDATE ledger SET epoch = '00000000000000ff'",
        )
        [again] = book.predict(both[0], known=known)
        assert isinstance(again, IssuedForecast)
        assert (again.sequence, again.revision) == (3, 0)


HONEST = [(minute, lead) for minute, lead in enumerate([0, 2, 5, 3, -1, 4, 6, 2], 20)]
attacks = st.lists(
    st.builds(
        Made,
        st.just(1),
        st.sampled_from([1200, 1210, 1260, 1320, 1500, 1560, 1619]),
        st.sampled_from([-30, 0, 9]),
        st.sampled_from([0.05, 0.1, 0.4]),
        st.just("b"),
        st.none() | st.just(2880),
        st.booleans(),
    ),
    max_size=3,
)


def card_of_game(attacked: Sequence[Sequence[Made]], caller: str, *, behind: bool) -> Scorecard:
    """Return the card of a game whose owner is attacked after each of its forecasts; `behind`: by earlier seconds."""
    with new_book() as book:
        told(book, leads("a"))
        for number, ((minute, lead), of) in enumerate(zip(HONEST, attacked, strict=True)):
            told(book, said(minute, float(lead), by="a", at=4 * number, point=float(lead), market={}))
            for each in of:
                if not behind or each.second < 60 * minute:
                    book.predict(forecast(each._replace(caller=caller), number))
        told(book, reported(6))
        return replace(card(book), left_out=LeftOut(), revised_late=0)


@settings(deadline=None, max_examples=examples(8))
@given(st.lists(attacks, min_size=8, max_size=8))
def test_neither_another_caller_nor_a_revision_of_an_earlier_second_changes_the_card(
    attacked: list[list[Made]],
) -> None:
    for caller, behind in (("b", False), ("a", True)):
        assert card_of_game(attacked, caller, behind=behind) == card_of_game([[]] * 8, "a", behind=False)


reports = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([HALF, FINAL]), st.sampled_from([None, -9, 4, 7])), max_size=12
)


@settings(deadline=None, max_examples=examples(6))
@given(reports)
@example([(1, HALF, 4), (3, HALF, -9), (2, HALF, -9), (3, HALF, None), (3, HALF, 4)])
def test_what_is_withdrawn_might_as_well_never_have_been_reported(
    told_of: list[tuple[int, Horizon, int | None]],
) -> None:
    """Compared with a record in which only the outcomes that stand in the end were reported, in the same order."""
    with new_book() as book, new_book() as plain:
        for each in (book, plain):
            for number in (1, 2, 3):
                told(each, *(said(20, game_id=game(number), horizon=horizon) for horizon in Horizon))
                told(each, said(40, game_id=game(number)))
        stands: dict[tuple[int, Horizon], int] = {}
        was_reported = set[tuple[int, Horizon]]()
        for number, horizon, differential in told_of:
            if differential is not None:
                book.report(game(number), horizon, differential, total_points=points(horizon, differential))
                stands[number, horizon] = differential  # a correction keeps its place in the order
                was_reported.add((number, horizon))
            elif (number, horizon) in was_reported:
                book.withdraw(game(number), horizon)
                stands.pop((number, horizon), None)
        for (number, horizon), differential in stands.items():
            plain.report(game(number), horizon, differential, total_points=points(horizon, differential))
        assert what_follows(book) == what_follows(plain)
        assert {(each.game_id, each.horizon): each.total_points for each in lessons(book)} == {
            (game(number), horizon): points(horizon, differential) for (number, horizon), differential in stands.items()
        }


def points(horizon: Horizon, differential: int) -> int:
    return horizon.minutes * 5 - abs(differential)


def game(number: int) -> str:
    return f"002250000{number}"


def what_follows(book: RecordBook) -> list[object]:
    """Return what follows from a record, but for places in it and the numbers of what became of its outcomes."""
    listed = book.read(lambda connection: page(connection, ForecastFilter(), "", 500)).forecasts
    settled = [
        (each.issued, each.outcome and each.outcome.differential, each.settlement and each.settlement.error)
        for each in listed
    ]
    counts: dict[str, Any] = {"withdrawn_games": 0, "corrected_games": 0, "doubtful_games": 0, "left_out": LeftOut()}
    # Figures with ten digits: the last ones follow the order of the first reports.
    cards = [
        re.sub(r"-?\d+\.\d+(e-\d+)?", lambda number: f"{float(number[0]):.10g}", repr(replace(found, **counts)))
        for found in (card(book, horizon) for horizon in Horizon)
    ]
    return [settled, cards, [replace(each, sequence=0) for each in lessons(book)], exported(book)]
