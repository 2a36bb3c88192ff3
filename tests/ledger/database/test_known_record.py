"""Data that a writer keeps between its transactions never change an answer or an entry, even if others write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from tests.support.builders.issued_forecasts import game, issued
from tests.support.builders.outcomes import MARKET, answered, asked, outcome
from tests.support.fakes.memory_backend import MemoryBackend
from tests.support.harness.laws import examples

from dejavu_ledger import outcomes
from dejavu_ledger.database import store
from dejavu_ledger.database.recording.known_record import KnownRecord
from dejavu_ledger.database.recording_rules import RecordingLimits
from dejavu_ledger.entries import codec
from dejavu_ledger.records import IssuedForecast
from dejavu_models.results import Failed, Result

_START = datetime(2024, 1, 15, 1, 0, tzinfo=UTC)
_LIMITS = RecordingLimits(forecasts=6)
_OTHER_MARKET = replace(MARKET, line=3.5)


class Step(NamedTuple):
    """One transaction of one writer.

    Attributes:
        writer: number of the writer.
        drafts: game, minutes, last differential, teams, market (0: none) of each forecast.
        outcome: a differential to report for the first game instead; None: forecasts are recorded.
        fails: whether the transaction is rolled back in the end.
    """

    writer: int
    drafts: list[tuple[int, int, int, str, int]]
    outcome: int | None
    fails: bool


steps = st.lists(
    st.builds(
        Step,
        writer=st.integers(0, 1),
        drafts=st.lists(
            st.tuples(
                st.integers(1, 2),
                st.sampled_from([6, 7, 12]),
                st.integers(0, 1),
                st.sampled_from(["BKN", "BOS"]),
                st.integers(0, 2),
            ),
            min_size=1,
            max_size=3,
        ),
        outcome=st.none() | st.none() | st.none() | st.integers(1, 2),
        fails=st.sampled_from([False, False, False, True]),
    ),
    max_size=14,
)


def _forecast(draft: tuple[int, int, int, str, int], number: int) -> IssuedForecast:
    which, minutes, last, home_team, market = draft
    made = issued(
        game(which),
        (*(0.0,) * (minutes - 1), float(last)),
        home_team=home_team,
        generated_time=_START + timedelta(minutes=4 * number),
    )
    made = replace(made, recorded_by="token:a" if home_team == "BOS" else "")
    return asked(made, answered(None), MARKET if market == 1 else _OTHER_MARKET) if market else made


@contextmanager
def _opened() -> Iterator[MemoryBackend]:
    backend = MemoryBackend()
    backend.open(make=True)
    yield backend
    backend.close()


def _take(backend: MemoryBackend, step: Step, number: int, known: KnownRecord | None) -> Any:
    results: Any = None
    try:
        with backend.write() as connection:
            if step.outcome is None:
                drafts = [codec.prepare(_forecast(draft, number)) for draft in step.drafts]
                results = store.append(connection, drafts, _LIMITS, None, known)
            else:
                reported = outcome(step.outcome, game(step.drafts[0][0]), observed_time=_START)
                results = outcomes.record_outcome(connection, reported, _START)
            if step.fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        return None
    return [_comparable(result) for result in results] if isinstance(results, list) else _comparable(results)


def _comparable(result: Result[Any]) -> Any:
    return (type(result.error), str(result.error)) if isinstance(result, Failed) else result


def _entries(backend: MemoryBackend) -> list[str]:
    with backend.read() as connection:
        return [*connection.execute(text("SELECT canonical FROM entries ORDER BY sequence")).scalars()]


def _as_stored(results: Any) -> Any:
    """Leave out the parts that are not recorded: they come only with the first answer, or from each request."""
    if not isinstance(results, list):
        return results
    return [
        replace(
            codec.as_read(each, each.sequence, each.revision, each.late),
            markets=each.markets,
        )
        if isinstance(each, IssuedForecast)
        else each
        for each in results
    ]


@settings(deadline=None, max_examples=examples(6))
@given(steps)
def test_two_writers_that_keep_what_they_know_record_and_answer_as_if_they_read_everything(taken: list[Step]) -> None:
    writers = [KnownRecord(), KnownRecord()]
    with _opened() as keeping, _opened() as reading:
        for number, step in enumerate(taken):
            known = _take(keeping, step, number, writers[step.writer])
            assert _as_stored(known) == _as_stored(_take(reading, step, number, None))
        assert _entries(keeping) == _entries(reading)
        for each, canonical in zip(_recorded(keeping), _forecast_texts(keeping), strict=True):
            assert codec.parse(canonical) == each


def _recorded(backend: MemoryBackend) -> list[Any]:
    with backend.read() as connection:
        return [each for each in store.read_after(connection, 0, 1000) if isinstance(each, IssuedForecast)]


def _forecast_texts(backend: MemoryBackend) -> list[str]:
    return [each for each in _entries(backend) if each.startswith('{"kind":"forecast"')]


def _record(backend: MemoryBackend, known: KnownRecord, *forecasts: IssuedForecast) -> list[Result[IssuedForecast]]:
    with backend.write() as connection:
        return store.append(connection, [codec.prepare(each) for each in forecasts], known=known)


def test_a_restored_ledger_is_not_answered_from_memory_although_its_newest_entry_is_the_same() -> None:
    known = KnownRecord()
    with _opened() as backend:
        _record(backend, known, issued(), issued(game(2)))
        with backend.write() as connection:  # a restore renews the epoch
            connection.execute(text("DELETE FROM forecasts WHERE sequence = 1"))
            connection.execute(text("DELETE FROM entries WHERE sequence = 1"))
            connection.execute(text("UPDATE ledger SET epoch = '00000000000000ff'"))
        [again] = _record(backend, known, issued())
        assert isinstance(again, IssuedForecast)
        assert (again.sequence, again.revision) == (3, 0)


def test_what_is_known_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dejavu_ledger.database.recording.known_record.MAX_KEPT", 10)
    known = KnownRecord()
    with _opened() as backend:
        for number in range(40):
            _record(backend, known, issued(game(number)))
            assert len(known.revisions) <= 11
        assert [each.sequence for each in _recorded(backend)] == list(range(1, 41))
