"""When a new model is due, and which games it is made from: their sources, problems and drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import SEASON_GAMES, simulated_games, simulated_seasons
from tests.support.builders.folds import random_walks, scoring_for
from tests.support.builders.issued_forecasts import issued

from dejavu_feed.errors import DataError
from dejavu_feed.horizon import Horizon
from dejavu_feed.teams import TEAMS
from dejavu_ledger import Ledger
from dejavu_ledger.records import ReportedOutcome
from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.sources import ProblemKind, SourceGames, gather, problems
from dejavu_trainer.retraining.triggers import (
    LEVEL,
    MIN_GAMES,
    Basis,
    RetrainSettings,
    Trigger,
    TriggerKind,
    drifts,
    excess_of_whole_ends,
    missed_coverages,
    standing_triggers,
)


def made_games(count: int, *, season: int = 2031, seed: int = 0, scale: float = 1.0) -> Games:
    """Return games of random walks, fourteen a day; `scale` multiplies how far they move."""
    rng = np.random.default_rng(seed)
    moves = np.rint(scale * rng.normal(0.05, 2.2, (count, 48))).astype(np.int16)
    differentials = np.cumsum(moves, axis=1).astype(np.int16)
    differentials[:, -1] += (differentials[:, -1] == 0).astype(np.int16)
    day, place = np.divmod(np.arange(count), 14)
    teams = np.array([np.random.default_rng((season, each)).permutation(list(TEAMS)) for each in day])
    home, away = np.take_along_axis(teams, np.stack([2 * place, 2 * place + 1], axis=1), axis=1).T
    days = np.array([date(season - 1, 10, 20) + timedelta(days=int(each)) for each in day], dtype="datetime64[D]")
    games = replace(
        random_walks(count, range(season, season + 1)),
        game_id=np.array([f"{day}0{team}".replace("-", "") for day, team in zip(days, home, strict=True)]),
        date=days,
        home=home,
        away=away,
        differentials=differentials,
        final=differentials[:, -1],
        **scoring_for(differentials, differentials[:, -1]),
    )
    return games.select(np.lexsort((home, days)))


@pytest.mark.nightly
def test_a_game_in_two_sources_is_taken_from_the_first() -> None:
    folder = simulated_seasons()
    file = str(folder / "plays_2032.parquet")
    games, read = gather([file, str(folder)])
    assert read == [
        SourceGames(file, SEASON_GAMES, SEASON_GAMES),
        SourceGames(str(folder), 4 * SEASON_GAMES, 3 * SEASON_GAMES),
    ]
    assert games.fingerprint == simulated_games().fingerprint
    chosen, _ = gather([str(folder)], seasons=[2032, 2034])
    assert chosen.fingerprint == simulated_games().of_seasons([2032, 2034]).fingerprint


async def test_a_ledger_is_a_source_by_its_path_and_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    ledger = await Ledger.open(url)
    for number in range(3):
        game, time = f"{22400001 + number:010}", datetime(2024, 11, 2 + number, 3, 30, tzinfo=UTC)
        pattern = [float((minute * (number + 1)) % 7) for minute in range(47)]
        await ledger.commit([issued(game, pattern, horizon=Horizon.FINAL, generated_time=time)])
        await ledger.record_outcome(ReportedOutcome(game, Horizon.FINAL, 25, "BKN", "GSW", time, time))
    await ledger.close()
    found = [gather([source])[0] for source in (url, str(tmp_path / "ledger.sqlite3"))]
    assert [games.season.tolist() for games in found] == [[2025] * 3] * 2
    assert [games.final.tolist() for games in found] == [[25] * 3] * 2


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("nowhere", "nowhere: cannot be read: No such file or directory"),
        ("postgresql://me:secret@127.0.0.1:1/games", "cannot be exported"),
    ],
)
def test_an_unusable_source_is_named_without_its_password(tmp_path: Path, source: str, reason: str) -> None:
    place = source if "://" in source else str(tmp_path / source)
    with pytest.raises(DataError, match=reason) as refused:
        gather([place])
    assert "secret" not in str(refused.value)


def twice(games: Games) -> Games:
    differentials, final = games.differentials.copy(), games.final.copy()
    differentials[200], final[200] = differentials[10], final[10]
    return replace(games, differentials=differentials, final=final)


def runaway(games: Games) -> Games:
    differentials = games.differentials.copy()
    differentials[5] = np.linspace(2, 90, 48).astype(np.int16)
    return replace(games, differentials=differentials, final=differentials[:, -1])


def contradicted(count: int) -> Callable[[Games], Games]:
    return lambda games: replace(games, final=games.final + 2 * (np.arange(len(games)) < count).astype(np.int16))


def without_boston(games: Games) -> Games:
    return games.select((games.home != "BOS") & (games.away != "BOS"))


@pytest.mark.parametrize(
    ("change", "kind", "named"),
    [
        (twice, ProblemKind.DUPLICATE_GAMES, lambda games: (games.game_id[10], games.game_id[200])),
        (runaway, ProblemKind.IMPLAUSIBLE_SCORES, lambda games: ("above 80", games.game_id[5])),
        (contradicted(3), ProblemKind.IMPLAUSIBLE_SCORES, lambda games: (games.game_id[0], games.game_id[2])),
        (without_boston, ProblemKind.MISSING_TEAMS, lambda _: ("season 2031", "BOS 0")),
    ],
)
def test_problems_of_games_are_found_and_named(
    change: Callable[[Games], Games], kind: ProblemKind, named: Callable[[Games], tuple[str, ...]]
) -> None:
    games = made_games(400)
    [(found, message)] = problems(change(games))
    assert found is kind
    assert all(each in message for each in named(games)), message


def test_usual_games_have_no_problem() -> None:
    few = without_boston(made_games(400)).select(np.arange(60))
    for games in (simulated_games(), contradicted(1)(made_games(300)), few):
        assert list(problems(games)) == []


KNOWN = made_games(500, season=2031)


BASIS = Basis(
    model_version="0" * 16,
    seasons=frozenset({2030, 2031}),
    calibrated=frozenset({2031}),
    last_day=KNOWN.date[-1].item(),
)


IN_PLAY = date(2031, 11, 25)


def scorecards(alpha: float, coverage: float, lower: float, upper: float, games: int = 400, width: float = 0.0) -> Any:
    """Return the scorecards of a server with one coverage."""
    figure = {"alpha": alpha, "games": games, "coverage": coverage, "lower": lower, "upper": upper, "meanWidth": width}
    return {"halftime": {}, "final": {"coverage": [figure]}}


MISSED = scorecards(0.05, 0.88, 0.86, 0.90)


def standing(games: Games, today: date = IN_PLAY, cards: Any = MISSED, basis: Basis = BASIS) -> list[Trigger]:
    return standing_triggers(games, basis, cards, RetrainSettings(sources=()), today)


def with_season(count: int, *, season: int = 2032, scale: float = 1.0) -> Games:
    return Games.joined([KNOWN, made_games(count, season=season, seed=season, scale=scale)])


OLD = Games.joined([made_games(500, season=2025, seed=1), KNOWN])


ENDED = with_season(350).date[-1].item()


OVER = with_season(500).date[-1].item() + timedelta(days=31)


@pytest.mark.parametrize(
    ("games", "today", "expected"),
    [
        (with_season(399), IN_PLAY, {}),
        (with_season(400), IN_PLAY, {TriggerKind.NEW_GAMES: "new games"}),
        (with_season(350), ENDED + timedelta(days=30), {}),
        (with_season(350), ENDED + timedelta(days=31), {TriggerKind.NEW_SEASON: "new season 2032"}),
        (OLD, date(2040, 1, 1), {}),
    ],
)
def test_enough_new_games_or_a_season_that_is_over_make_it_due(
    games: Games, today: date, expected: dict[TriggerKind, str]
) -> None:
    assert {each.kind: each.reason for each in standing(games, today, {})} == expected


def test_a_season_known_in_part_makes_it_due_if_enough_of_it_is_unknown() -> None:
    games = with_season(500)
    for unknown, expected in ((300, [TriggerKind.NEW_SEASON]), (99, [])):
        update = {"seasons": BASIS.seasons | {2032}, "calibrated": {2032}, "last_day": games.date[-unknown - 1].item()}
        assert [each.kind for each in standing(games, OVER, {}, BASIS.model_copy(update=update))] == expected


def test_missed_coverage_makes_it_due_if_enough_games_came_since() -> None:
    assert standing(KNOWN) == standing(with_season(99)) == []
    [trigger] = standing(with_season(100))
    assert (trigger.kind, trigger.reason) == (TriggerKind.COVERAGE, "coverage")


@pytest.mark.parametrize(
    ("cards", "is_missed"),
    [
        (scorecards(0.05, 0.91, 0.89, 0.935), False),
        (scorecards(0.05, 0.70, 0.65, 0.75, games=99), False),
        (scorecards(0.5, 0.552, 0.525, 0.58, width=7.5), False),  # what whole ends add
        (scorecards(0.5, 0.552, 0.525, 0.58), True),
        (scorecards(0.5, 0.45, 0.42, 0.475, width=7.5), True),
    ],
)
def test_coverage_is_missed_if_its_interval_is_beyond_the_tolerance(cards: Any, is_missed: bool) -> None:
    assert bool(missed_coverages(cards, 0.02)) is is_missed


def test_drift_makes_it_due_and_is_named_without_figures() -> None:
    [trigger] = standing(with_season(300, scale=1.5), cards={})
    assert trigger.kind is TriggerKind.DRIFT
    assert trigger.reason.startswith("drift of scoring")
    assert not any(character.isdigit() for character in trigger.reason)


def whole_quantile(points: NormalDist, level: float) -> int:
    """Return the quantile at a level of the points after they are rounded to whole numbers."""
    return next(value for value in range(-100, 100) if points.cdf(value + 0.5) >= level)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("spread", [3.0, 5.5, 12.0])
def test_whole_ends_add_to_coverage_what_they_add_for_calibrated_forecasts(alpha: float, spread: float) -> None:
    points = [NormalDist(tenths / 20, spread) for tenths in range(20)]
    ends = np.array([[whole_quantile(each, alpha / 2), whole_quantile(each, 1 - alpha / 2)] for each in points])
    coverage = fmean(
        each.cdf(upper + 0.5) - each.cdf(lower - 0.5) for each, (lower, upper) in zip(points, ends, strict=True)
    )
    width = float(np.diff(ends).mean())
    assert excess_of_whole_ends(alpha, width) == pytest.approx(coverage - (1 - alpha), rel=0.3)


RAMP = np.linspace(0, 6, 48).round().astype(np.int16)


def alarms(before: Games, after: Games) -> set[str]:
    return {each.quantity for each in drifts(before, after) if each.alarm}


def with_ramp(games: Games) -> Games:
    return replace(games, differentials=games.differentials + RAMP, final=games.final + 6)


def with_rarer_changes(games: Games) -> Games:
    return replace(games, differentials=np.repeat(games.differentials[:, 1::2], 2, axis=1))


def flat(games: Games) -> Games:
    return replace(games, differentials=np.ones_like(games.differentials), final=np.ones_like(games.final))


def test_games_of_one_kind_raise_an_alarm_at_most_at_the_level() -> None:
    raised = sum(bool(alarms(made_games(300, seed=seed), made_games(200, seed=1000 + seed))) for seed in range(40))
    assert raised <= 40 * LEVEL + 3


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (made_games(1000), made_games(600, seed=1, scale=1.4), {"scoring", "spread at the half", "spread at the end"}),
        (made_games(600, seed=3), with_ramp(made_games(600, seed=2)), {"home edge"}),
        (made_games(600), with_rarer_changes(made_games(600, seed=6)), {"pace"}),
        (made_games(200), flat(made_games(200)), {"scoring"}),  # without any variance
    ],
)
def test_changed_games_raise_an_alarm_of_what_changed(before: Games, after: Games, expected: set[str]) -> None:
    assert expected <= alarms(before, after)
    assert not alarms(after, after)
    assert all((each.effect > 0) == (each.after > each.before) for each in drifts(before, after) if each.alarm)


def test_a_significant_but_negligible_difference_is_no_alarm() -> None:
    before, after = made_games(7000, seed=4), made_games(7000, seed=5, scale=1.015)
    scoring = drifts(before, after)[0]
    assert scoring.quantity == "scoring"
    assert scoring.p_value < LEVEL
    assert not scoring.alarm


def test_too_few_games_are_not_compared() -> None:
    assert drifts(made_games(1000), made_games(MIN_GAMES - 1, scale=3)) == []
    assert len(drifts(made_games(1000), made_games(MIN_GAMES))) == 5
