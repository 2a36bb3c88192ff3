"""The roster of models after any sequence of changes: the model that answers, challengers, and retirements."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.errors import DejavuError
from dejavu_store.stages import (
    CHALLENGER,
    CHAMPION,
    MAX_CHALLENGERS,
    PREVIOUS,
    ModelAction,
    ModelChange,
    ModelInUse,
    ModelStage,
    NotRegistered,
    Roster,
    TooManyChallengers,
    WrongStage,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
VERSIONS = tuple("abcdefg")


def change(action: ModelAction, version: str = "") -> ModelChange:
    return ModelChange(action, version, NOW)


def roster_of(*changes: ModelChange) -> Roster:
    roster = Roster()
    for number, each in enumerate(changes, start=1):
        roster = roster.after(replace(each, sequence=number))
    return roster


def served(*versions: str) -> list[ModelChange]:
    """Register and load models, and make the first the champion."""
    steps = [change(action, each) for each in versions for action in (ModelAction.REGISTER, ModelAction.LOAD)]
    return [*steps, change(ModelAction.PROMOTE, versions[0])]


changes = st.builds(change, st.sampled_from(ModelAction), st.sampled_from(VERSIONS))


@given(st.lists(changes, max_size=60))
def test_after_any_changes_one_model_serves_and_nothing_that_answers_is_gone(steps: list[ModelChange]) -> None:
    roster = Roster()
    for number, step in enumerate(steps, start=1):
        numbered = replace(step, sequence=number)
        try:
            after = roster.after(numbered)
        except DejavuError:
            continue
        if roster.changes_nothing(numbered):
            assert replace(after, sequence=roster.sequence) == roster
        roster = after
        assert roster.sequence == number
        stages = Counter(roster.stages.values())
        assert stages[ModelStage.SERVING] == (1 if roster.champion else 0)
        assert not roster.champion or roster.stages[roster.champion] is ModelStage.SERVING
        assert not roster.previous or roster.stages[roster.previous] is ModelStage.STAGED
        assert len(roster.challengers) <= MAX_CHALLENGERS + 2
        assert not roster.anchor or roster.stages[roster.anchor] in {ModelStage.STAGED, ModelStage.SERVING}
        assert set(roster.loaded) == {roster.champion, *roster.challengers} - {""}


def test_a_promotion_keeps_the_model_before_it_to_return_to() -> None:
    steps = [*served("a", "b", "c"), change(ModelAction.PROMOTE, "b")]
    roster = roster_of(*steps)
    assert (roster.champion, roster.previous) == ("b", "a")
    assert roster.challengers == ("c", "a")
    assert [roster.version_of(alias) for alias in (CHAMPION, CHALLENGER, PREVIOUS)] == ["b", "c", "a"]
    returned = roster_of(*steps, change(ModelAction.ROLLBACK, "a"))
    assert (returned.champion, returned.previous) == ("a", "")
    assert returned.stages["b"] is ModelStage.RETIRED
    again = roster_of(*steps, change(ModelAction.PROMOTE, "c"))
    assert (again.champion, again.previous) == ("c", "b")


def test_the_first_promotion_of_a_season_keeps_the_model_before_it_until_the_next_season() -> None:
    """So that the next ones can be compared with it: otherwise small losses add up unseen."""
    steps = [*served("a", "b", "c", "d"), *(change(ModelAction.PROMOTE, each) for each in "bcd")]
    roster = roster_of(*steps)
    assert (roster.champion, roster.previous, roster.anchor) == ("d", "c", "a")
    assert (roster.challengers, roster.candidates) == (("a", "c"), ())
    assert roster.stages["b"] is ModelStage.RETIRED, "it was two promotions ago"
    steps += [change(ModelAction.REGISTER, "e"), change(ModelAction.LOAD, "e")]
    assert roster_of(*steps).candidates == ("e",)
    for month, day, anchor in ((7, 31, "a"), (8, 1, "d")):
        later = datetime(2027, month, day, tzinfo=UTC)
        promoted = roster_of(*steps, replace(change(ModelAction.PROMOTE, "e"), changed_time=later))
        assert (promoted.anchor, promoted.previous) == (anchor, "d")
        assert promoted.stages["a"] is (ModelStage.STAGED if anchor == "a" else ModelStage.RETIRED)
    assert roster_of(*steps, change(ModelAction.RETIRE, "a")).anchor == ""


@pytest.mark.parametrize(
    ("steps", "refused", "error"),
    [
        (served("a"), change(ModelAction.RETIRE, "a"), ModelInUse),
        (served("a"), change(ModelAction.PROMOTE, "z"), NotRegistered),
        ([], change(ModelAction.REGISTER, CHAMPION), NotRegistered),
        ([*served("a"), change(ModelAction.REGISTER, "b")], change(ModelAction.PROMOTE, "b"), WrongStage),
        (served("a"), change(ModelAction.ROLLBACK, "a"), WrongStage),
        ([*served(*"abcde"), change(ModelAction.REGISTER, "f")], change(ModelAction.LOAD, "f"), TooManyChallengers),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(
    steps: list[ModelChange], refused: ModelChange, error: type[DejavuError]
) -> None:
    with pytest.raises(error):
        roster_of(*steps).check(refused)
