"""A new model is due after a season, enough games, missed coverage or drift, and not again until more games came."""

from __future__ import annotations

from datetime import date, timedelta
from statistics import NormalDist, fmean

import numpy as np
import pytest
from tests.trainer.retraining.made_games import made_games

from dejavu_trainer.data.games import Games
from dejavu_trainer.retraining.triggers import (
    Basis,
    CoverageFigure,
    Trigger,
    TriggerKind,
    TriggerSettings,
    _figures,
    standing_triggers,
)

KNOWN = made_games(500, season=2031)
BASIS = Basis("0" * 16, frozenset({2030, 2031}), frozenset({2031}), KNOWN.date[-1].item())
IN_PLAY = date(2031, 11, 25)
MISSED = CoverageFigure("final", 0.05, 400, 0.88, 0.86, 0.90)


def standing(games: Games, today: date, *coverages: CoverageFigure, basis: Basis = BASIS) -> list[Trigger]:
    return standing_triggers(games, basis, coverages, TriggerSettings(), today)


def with_season(count: int, *, season: int = 2032, scale: float = 1.0) -> Games:
    return Games.joined([KNOWN, made_games(count, season=season, seed=season, scale=scale)])


def kinds(triggers: list[Trigger]) -> list[TriggerKind]:
    return [each.kind for each in triggers]


def test_without_newer_games_nothing_is_due() -> None:
    assert standing(KNOWN, IN_PLAY, MISSED) == []


def test_so_many_new_games_make_it_due() -> None:
    assert standing(with_season(399), IN_PLAY) == []
    [trigger] = standing(with_season(400), IN_PLAY)
    assert trigger.kind is TriggerKind.NEW_GAMES
    assert trigger.details == f"400 games after {BASIS.last_day}"


def test_a_season_makes_it_due_once_it_is_over() -> None:
    games = with_season(350)
    ended = games.date[-1].item()
    assert standing(games, ended + timedelta(days=30)) == []
    [trigger] = standing(games, ended + timedelta(days=31))
    assert (trigger.kind, trigger.reason) == (TriggerKind.NEW_SEASON, "new season 2032")
    made = Basis("1" * 16, BASIS.seasons | {2032}, frozenset({2032}), ended)
    assert standing(games, ended + timedelta(days=31), basis=made) == []


def test_a_season_whose_beginning_was_known_makes_it_due_too() -> None:
    games = with_season(500)
    half = games.date[-300].item()
    made = Basis("1" * 16, BASIS.seasons | {2032}, frozenset({2032}), half)
    triggers = standing(games, games.date[-1].item() + timedelta(days=31), basis=made)
    assert kinds(triggers) == [TriggerKind.NEW_SEASON]


def test_seasons_before_those_that_it_knows_do_not_count() -> None:
    old = made_games(500, season=2025, seed=1)
    assert standing(Games.joined([old, KNOWN]), date(2040, 1, 1)) == []


def test_missed_coverage_makes_it_due_if_enough_games_came_since() -> None:
    assert standing(with_season(99), IN_PLAY, MISSED) == []
    [trigger] = standing(with_season(100), IN_PLAY, MISSED)
    assert (trigger.kind, trigger.reason) == (TriggerKind.COVERAGE, "coverage")
    assert "88.0 % [86.0, 90.0] of the intervals at 95 % held in 400 games" in trigger.details


def test_coverage_within_the_tolerance_or_of_few_games_does_not() -> None:
    games = with_season(100)
    for fine in (
        CoverageFigure("final", 0.05, 400, 0.91, 0.89, 0.935),
        CoverageFigure("final", 0.05, 99, 0.70, 0.65, 0.75),
        CoverageFigure("final", 0.2, 400, 0.81, 0.79, 0.815),
    ):
        assert standing(games, IN_PLAY, fine) == []
    assert standing(games, IN_PLAY, CoverageFigure("final", 0.2, 400, 0.86, 0.83, 0.88))


def test_drift_makes_it_due_and_is_named_without_figures() -> None:
    [trigger] = standing(with_season(300, scale=1.5), IN_PLAY)
    assert trigger.kind is TriggerKind.DRIFT
    assert trigger.reason.startswith("drift of scoring")
    assert not any(character.isdigit() for character in trigger.reason)
    assert " → " in trigger.details


def test_of_a_servers_model_whose_newest_game_is_unknown_the_next_season_is_new() -> None:
    model = {"version": "2" * 16, "trainSeasons": [2029, 2030], "calibrationSeasons": [2031]}
    basis = Basis.of_server_model(model)
    assert basis.seasons == {2029, 2030, 2031}
    assert len(basis.newer(with_season(120))) == 120
    assert len(basis.known(with_season(120))) == len(KNOWN)


def test_a_basis_survives_as_json() -> None:
    assert Basis.of_document(BASIS.document()) == BASIS
    assert np.all(BASIS.newer(with_season(10)).season == 2032)


def whole_quantile(points: NormalDist, level: float) -> int:
    """Return the quantile at a level of the points after they are rounded to whole numbers."""
    return next(value for value in range(-100, 100) if points.cdf(value + 0.5) >= level)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("spread", [3.0, 5.5, 12.0])
def test_what_whole_ends_add_is_what_they_add_for_calibrated_forecasts(alpha: float, spread: float) -> None:
    coverages, widths = [], []
    for tenths in range(20):
        points = NormalDist(tenths / 20, spread)
        lower, upper = whole_quantile(points, alpha / 2), whole_quantile(points, 1 - alpha / 2)
        coverages.append(points.cdf(upper + 0.5) - points.cdf(lower - 0.5))
        widths.append(upper - lower)
    coverage = fmean(coverages)
    figure = CoverageFigure("final", alpha, 400, coverage, coverage, coverage, fmean(widths))
    assert figure.of_whole_ends == pytest.approx(coverage - (1 - alpha), rel=0.3)
    assert not figure.misses(0.01)


def test_a_coverage_beyond_what_whole_ends_add_is_missed_and_so_is_one_below_the_nominal() -> None:
    whole = {"alpha": 0.5, "games": 400, "coverage": 0.552, "meanWidth": 7.5}
    [fine] = _figures("halftime", {"coverage": [{**whole, "lower": 0.525, "upper": 0.58}]})
    [wide] = _figures("halftime", {"coverage": [{**whole, "lower": 0.59, "upper": 0.65}]})
    [narrow] = _figures("halftime", {"coverage": [{**whole, "lower": 0.42, "upper": 0.475}]})
    assert [each.misses(0.02) for each in (fine, wide, narrow)] == [False, True, True]
    [unknown] = _figures("halftime", {"coverage": [{**whole, "meanWidth": 0, "lower": 0.525, "upper": 0.58}]})
    assert unknown.misses(0.02)
