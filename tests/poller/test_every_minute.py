"""The poller over whole games: requests after each minute, skipped minutes and outcomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.builders.evenings import (
    END,
    HALF,
    Evening,
    StoringPredictor,
    Watch,
    able_model,
    cut_at,
    extend_to_overtime,
    game,
    moved,
    newest,
    watching,
)

from dejavu.v1.forecast_pb2 import WARNING_REASON_RATINGS_OUTDATED, Forecast
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD
from dejavu.v1.prediction_service_pb2 import PredictError
from dejavu_cli.output.poll_events import event_line
from dejavu_client import FINAL, HALFTIME
from dejavu_client.errors import UnavailableError
from dejavu_feed.errors import FeedUnavailable
from dejavu_feed.live_inputs import LiveInputs
from dejavu_feed.nba.live_payloads import GameState, GameStatus, PlayByPlay, Scoreboard
from dejavu_feed.nba.plays import Play
from dejavu_feed.pattern import QUARTER_MINUTES, Score, elapsed_seconds, slots
from dejavu_feed.replay.games import ReplayGame
from dejavu_poller.events import (
    Fault,
    FaultKind,
    ForecastMissed,
    GameSkipped,
    HorizonResult,
    ModelLimits,
    Prediction,
    RatingsOutdated,
)
from dejavu_poller.inputs import ForecastInputs
from dejavu_poller.predictor import request_forecasts
from dejavu_poller.prices import PriceFile
from dejavu_poller.watched_game import DueForecast


async def go_through(watch: Watch, first: int, last: int) -> None:
    """Poll just after the end of each of these minutes, and at the end of quarters, which completes their last one."""
    for minute in range(first, last + 1):
        await watch.at(60.0 * minute + (minute % QUARTER_MINUTES > 0))


async def test_half_and_end_are_forecast_after_every_minute_from_the_sixth_on_in_one_call_each() -> None:
    played = game(run=2)
    async with watching(Evening([played])) as watch:
        await go_through(watch, 1, 47)
        await watch.at(END)

    predictor = watch.predictor
    assert predictor.minutes(HALFTIME) == list(range(6, 24))
    assert predictor.minutes(FINAL) == list(range(6, 48))
    assert predictor.calls == 42, "one for each minute"
    assert not predictor.moments, "its model has none"
    assert {asked.pattern for asked in predictor.asked} == {slots(played.scores, minute) for minute in range(6, 48)}
    assert {(asked.home_team, asked.away_team) for asked in predictor.asked} == {("BOS", "LAL")}
    assert not watch.told(ForecastMissed)
    assert not watch.told(Fault)
    half, end = watch.told(HorizonResult)
    assert (half.horizon, half.differential, len(half.forecasts)) == (HALFTIME, 5, 18)
    assert (end.horizon, end.differential, len(end.forecasts)) == (FINAL, 5, 42)


async def test_in_overtime_nothing_is_forecast_and_its_end_is_the_outcome() -> None:
    played = extend_to_overtime(game(lead=3, run=2))
    async with watching(Evening([played])) as watch:
        await go_through(watch, 46, 47)
        await watch.at(END)
        assert not watch.told(HorizonResult)
        await watch.at(2940, 3000, 3060)
        await watch.over()

        assert watch.predictor.minutes(FINAL) == [46, 47]
        (outcome,) = watch.told(HorizonResult)
        assert (outcome.horizon, outcome.differential, outcome.game.period) == (FINAL, 4, 5)
        await watch.turn()
        assert watch.predictor.reports[-1].overtimes == 1, "the record knows the overtime"


def with_moments() -> StoringPredictor:
    """Return a predictor whose model forecasts at moments."""
    predictor = StoringPredictor()
    predictor.models[0].inputs.append("moment")
    return predictor


def a_basket_every_12_s() -> ReplayGame:
    baskets = tuple(Score(12.0 * number, 2 * ((number + 1) // 2), 2 * (number // 2)) for number in range(240))
    return ReplayGame("often", "BOS", "LAL", baskets)


@asynccontextmanager
async def overtime() -> AsyncIterator[Watch]:
    """Yield a watched game that is 70 s into overtime, with forecasts at moments."""
    async with watching(Evening([extend_to_overtime(game(lead=3))]), with_moments()) as watch:
        await watch.at(1500.0, 2740.0, 2950.0)
        yield watch


async def test_the_newest_play_is_forecast_and_in_last_minutes_and_overtime_shown() -> None:
    played = extend_to_overtime(game(lead=3, run=2))
    async with watching(Evening([played]), with_moments()) as watch:

        async def shown(elapsed: float) -> Forecast | None:
            await watch.at(elapsed)
            return watch.seen.at_moment

        for elapsed, found in (
            (1300.0, None),
            (1370.0, (HALFTIME, 2, 23)),
            (1500.0, None),  # the half is over
            (2740.0, None),
            (2815.0, (FINAL, 4, 47)),
            *((at, (FINAL, 5, 47)) for at in (2950.0, 3000.0, 3060.0)),  # although no minute can be forecast
        ):
            made = await shown(elapsed)
            assert (made and (made.horizon, made.moment.period, made.elapsed_minutes)) == found
        await watch.over()
        assert watch.seen.at_moment is None


@pytest.mark.parametrize(("is_over", "fouled"), [(True, False), (False, False), (True, True)])
async def test_a_tie_at_the_buzzer_is_forecast_as_the_beginning_of_overtime_once_the_period_is_over(
    is_over: bool, fouled: bool
) -> None:
    """Otherwise the forecast of before the shot would stand beside the tie for minutes; free throws may follow it."""

    def read(plays: tuple[Play, ...]) -> tuple[Play, ...]:
        if not is_over:
            return tuple(each for each in plays if (each.period, each.action, each.detail) != (4, "period", "end"))
        # A foul that a review finds is listed after the end of the period.
        return (
            (*plays, replace(plays[-1], free_throws=2, possession="BOS")) if fouled and plays[-1].clock == 0 else plays
        )

    async with watching(Evening([extend_to_overtime(game(lead=3))]), with_moments()) as watch:
        watch.edit(read)
        await watch.at(1500.0, 2740.0, END)
        await watch.turn()
        requests = [each for each in watch.predictor.moments if each.moment.period == 5]
        at_buzzer = [each.moment for each in watch.predictor.moments if each.moment.period == 4][-1:]
    begins = is_over and not fouled
    assert [(each.seconds_left, each.free_throws) for each in at_buzzer if each.free_throws] == [(0.01, 2)] * fouled
    assert [(each.moment.seconds_left, each.moment.differential) for each in requests] == [(300.0, 0)] * begins
    assert not any(each.HasField("possession") for each in requests)


def moments_of(predictor: StoringPredictor) -> list[float]:
    """Return the elapsed seconds of the moments that were forecast since the last call."""
    made = [elapsed_seconds(each.moment.period, each.moment.seconds_left) for each in predictor.moments]
    predictor.moments.clear()
    return made


@pytest.mark.parametrize("interval", [24, 84])
async def test_all_states_since_the_last_read_are_forecast_but_those_too_long_ago(interval: int) -> None:
    predictor = with_moments()
    async with watching(Evening([a_basket_every_12_s()]), predictor) as watch:
        await watch.at(2600, 2618)
        [before] = moments_of(predictor)  # no earlier state is made up
        for elapsed in range(2664, 2870, interval):
            await watch.at(float(elapsed))
            [*_, newest] = made = moments_of(predictor)
            assert newest >= elapsed - 12
            states = [state for state in range(2652, 2880, 12) if state > before and 0 <= newest - state <= 30]
            assert made == [state for state in states if state % 60]
            before = newest


async def test_of_several_moments_of_a_read_only_the_newest_has_prices_and_none_of_total_points(tmp_path: Path) -> None:
    predictor, evening, path = with_moments(), Evening([a_basket_every_12_s()]), tmp_path / "prices.csv"
    async with watching(evening, predictor, prices=PriceFile(evening.clock, path)) as watch:
        for elapsed in (2600, 2618, 2664):
            evening.go_to(float(elapsed))
            path.write_text(
                "home,away,market,line,home_odds,away_odds,over_odds,under_odds,time\n"
                f"BOS,LAL,moneyline,,-220,+180,,,{evening.clock.now}\nBOS,LAL,total,221.5,,,1.9,1.9,{evening.clock.now}\n"
            )
            predictor.moments.clear()
            await watch.turn()
    assert [[market.kind for market in each.markets] for each in predictor.moments] == [[], [MARKET_KIND_LEAD]]


@pytest.mark.parametrize("coming", [None, 0, 2])
async def test_a_moment_has_the_free_throws_to_come_and_is_not_forecast_while_they_are_not_known(
    coming: int | None,
) -> None:
    async with overtime() as watch:
        watch.edit(newest(free_throws=coming, possession="BOS"))
        await watch.at(3060.0)
        assert watch.seen.at_moment is not None, "until they are known, the forecast before the foul stands"
        moment = watch.predictor.moments[-1].moment
        assert (moment.seconds_left < 180) == (coming is not None)
        assert moment.free_throws == (coming or 0)


@pytest.mark.parametrize("changes", [{"free_throws": None}, {"clock": 0.0}, {"home": 99}])
async def test_in_overtime_each_turn_reads_the_plays_although_the_newest_has_no_forecast(
    changes: dict[str, Any],
) -> None:
    """With free throws that are not known, at the end of a period, and with a score that the scoreboard contradicts."""
    async with overtime() as watch:
        watch.edit(newest(**changes))
        made = len(watch.predictor.moments)
        before = watch.evening.reads[watch.id]
        await watch.at(3060.0, 3063.0, 3066.0)
        assert watch.evening.reads[watch.id] == before + 3
        assert len(watch.predictor.moments) == made


async def test_a_team_that_is_not_of_the_game_has_no_possession() -> None:
    async with overtime() as watch:
        watch.edit(newest(possession="PHL"))
        await watch.at(3060.0)
        assert 120 <= watch.predictor.moments[-1].moment.seconds_left < 180
        assert not watch.predictor.moments[-1].HasField("possession")


@pytest.mark.parametrize(("missing", "is_forecast"), [(0, True), (60, False)])
async def test_a_moment_of_plays_that_the_scoreboard_is_ahead_of_is_not_forecast(
    missing: int, is_forecast: bool
) -> None:
    """`missing`: seconds of play whose plays the feed does not show, as while it serves a cached file."""
    async with overtime() as watch:
        watch.edit(cut_at(3060 - missing))
        await watch.at(3060.0)
        assert (watch.seen.at_moment is not None) == is_forecast


@pytest.mark.parametrize(("period", "clock"), [(6, 120.0), (5, 299.0), (4, 1.0)])
async def test_a_newest_play_far_ahead_of_the_scoreboard_is_told_and_not_forecast(period: int, clock: float) -> None:
    """Its forecast would make all true ones after it late."""
    async with watching(predictor=with_moments()) as watch:
        await watch.at(2600.0, 2660.0)
        watch.edit(newest(period=period, clock=clock, elapsed=elapsed_seconds(period, clock)))
        await watch.at(2700.0)
        assert [fault.kind for fault in watch.told(Fault)] == [FaultKind.STALE]
        watch.edit(None)
        await watch.at(2710.0, 2720.0)
        assert 44 < watch.predictor.minutes(FINAL)[-1] < 47
        assert 2700 < max(moments_of(watch.predictor)) < 2800


async def test_minutes_that_went_by_unseen_are_told_and_never_made_up() -> None:
    async with watching() as watch:
        await watch.minutes(9)
        watch.evening.fault[watch.id] = FeedUnavailable("status 403")
        await watch.minutes(10, 11)
        del watch.evening.fault[watch.id]
        await watch.minutes(12)
        await watch.turn()

        assert watch.predictor.minutes(FINAL) == [9, 12]
        assert [(missed.horizon, missed.minutes, missed.reason) for missed in watch.told(ForecastMissed)] == [
            (horizon, minutes, reason)
            for minutes, reason in (((6, 7, 8), "polled too late"), ((10, 11), "the plays arrived too late"))
            for horizon in (HALFTIME, FINAL)
        ]
        assert watch.poller.summary().missed == 10


async def test_a_correction_of_an_older_minute_makes_a_revision_of_the_newest_alone() -> None:
    async with watching() as watch:
        await go_through(watch, 6, 12)
        watch.edit(moved(-1, until=500))
        await watch.turn(2)

    revised = [prediction for prediction in watch.told(Prediction) if prediction.forecast.revision]
    assert [(len(each.pattern), each.forecast.horizon) for each in revised] == [(12, HALFTIME), (12, FINAL)]
    assert watch.predictor.minutes(FINAL) == [*range(6, 13), 12]


async def test_teams_that_the_league_does_not_know_are_not_named() -> None:
    async with watching() as watch:
        watch.evening.show(lambda state: replace(state, home="WST"))
        await watch.minutes(10)

    assert {(asked.home_team, asked.away_team) for asked in watch.predictor.asked} == {("", "")}
    assert len(watch.told(Prediction)) == 2


@pytest.mark.parametrize(
    ("day", "sent"),
    [
        (date(2026, 11, 20), "2026-11-20"),
        (date(2023, 4, 20), ""),  # not in the season of the id: the server would refuse it
        (None, ""),
    ],
)
async def test_the_date_of_the_game_is_sent_if_it_fits_its_season_and_the_neutral_site_if_it_is_one(
    day: date | None, sent: str
) -> None:
    predictor, due = StoringPredictor(), DueForecast(HALFTIME, (0, 2), None, LiveInputs(0))
    state = GameState("0022600101", "BOS", "LAL", GameStatus.LIVE, 1, 344.0, 14, 10, code_date=day)
    for is_neutral in (False, True):
        await request_forecasts(predictor, replace(state, is_neutral=is_neutral), [due], ForecastInputs())
    assert [asked.game_date for asked in predictor.asked] == [sent] * 2
    assert [asked.neutral_site for asked in predictor.asked] == [False, True]


async def test_what_the_model_cannot_do_is_said_once_and_not_asked_for() -> None:
    predictor = StoringPredictor()
    predictor.models = [able_model(half=(18, 18), final=None, version="old")]
    async with watching(Evening([game(), game("MIA", "NYK")]), predictor) as watch:
        await go_through(watch, 15, 22)
        await watch.at(HALF, END)

    assert [(asked.horizon, asked.minute) for asked in predictor.asked] == [(HALFTIME, 18)] * 2
    (limits,) = watch.told(ModelLimits)
    assert "half after minute 18 alone" in limits.reason
    assert watch.poller.limits == limits.reason
    assert not watch.told(ForecastMissed), "what can't be forecast is not missed"
    assert len(watch.told(HorizonResult)) == 2


class GamesOfTheNba(Evening):
    """Has the id of a game of the regular season instead of a replay's."""

    def __init__(self) -> None:
        super().__init__([game()])
        self.show(lambda state: replace(state, game_id=regular_season(state.game_id)))

    def plays(self, game_id: str) -> PlayByPlay:
        return super().plays(next(each for each in self.ids if regular_season(each) == game_id))


def regular_season(replay_id: str) -> str:
    return f"002{replay_id[3:]}"


async def test_an_all_star_game_is_not_forecast_and_that_is_said_once() -> None:
    evening = GamesOfTheNba()
    shown = evening.shown

    def with_all_stars(board: Scoreboard) -> Scoreboard:
        [state] = shown(board).games
        return replace(board, games=(replace(state, game_id="0032300001", home="EST", away="WST"), state))

    evening.shown = with_all_stars
    async with watching(evening) as watch:
        await go_through(watch, 6, 7)
    (skipped,) = watch.told(GameSkipped)
    assert event_line(skipped).endswith("not forecast: an All-Star game, which no model covers")
    assert watch.told(Prediction)
    assert list(watch.poller.games) == [regular_season(watch.id)]


async def test_ratings_that_are_too_old_for_the_games_of_the_nba_are_said_once_before_they_begin() -> None:
    model = able_model(version="old")
    model.warnings.add(reason=WARNING_REASON_RATINGS_OUTDATED, text="the ratings of the teams end on 2024-06-17")
    predictor = StoringPredictor()
    predictor.models = [model]
    async with watching(GamesOfTheNba(), predictor) as watch:
        await watch.at(1, 2)
        (outdated,) = watch.told(RatingsOutdated)
        assert "end on 2024-06-17" in outdated.reason
        assert (outdated.model_version, watch.poller.outdated_ratings) == ("old", outdated.reason)
        predictor.models = [able_model(version="refreshed")]
        await go_through(watch, 6, 7)
        assert watch.told(Prediction)
        assert watch.poller.outdated_ratings == ""
    assert len(watch.told(RatingsOutdated)) == 1


async def test_a_model_that_comes_later_is_found_within_minutes() -> None:
    predictor = StoringPredictor()
    predictor.models = [able_model(final=None, version="old")]
    async with watching(predictor=predictor) as watch:
        await go_through(watch, 6, 7)
        predictor.models = [able_model(half=None, version="other", active=False), able_model(version="new")]
        await go_through(watch, 8, 10)

    assert predictor.minutes(HALFTIME) == [6, 7, 8, 9, 10]
    assert predictor.minutes(FINAL) == [9, 10]
    assert predictor.listed == 2
    assert watch.poller.limits == ""


async def test_a_server_that_does_not_tell_what_it_can_do_is_asked_again() -> None:
    predictor = StoringPredictor()
    predictor.unlisted = [UnavailableError("away")]
    async with watching(predictor=predictor) as watch:
        await watch.minutes(10)
        (fault,) = watch.told(Fault)
        assert (fault.kind, fault.reason) == (FaultKind.SERVER, "no forecast, will retry: away")
        await watch.turn()

    assert predictor.minutes(FINAL) == [10]


@pytest.mark.parametrize(
    ("code", "reason", "asked_again", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, "UNSUPPORTED_MOMENT", [], FaultKind.REFUSED),
        (grpc.StatusCode.UNAVAILABLE, "", [(HALFTIME, 10)], FaultKind.SERVER),
    ],
)
async def test_an_error_of_one_horizon_does_not_cost_the_other(
    code: grpc.StatusCode, reason: str, asked_again: list[tuple[int, int]], kind: FaultKind
) -> None:
    predictor = StoringPredictor()
    predictor.refusals = [PredictError(code=code.value[0], reason=reason, message="no")]
    async with watching(predictor=predictor) as watch:
        await watch.minutes(10)
        await watch.turn()

    asked = [(asked.horizon, asked.minute) for asked in predictor.asked]
    assert asked == [(HALFTIME, 10), (FINAL, 10), *asked_again]
    assert FINAL in {each.forecast.horizon for each in watch.told(Prediction)}
    assert [each.kind for each in watch.told(Fault)] == [kind]


async def test_a_final_whose_plays_lag_behind_is_read_until_they_tell_of_the_end() -> None:
    async with watching() as watch:
        await go_through(watch, 46, 47)
        watch.edit(cut_at(2849))
        await watch.over(2)
        assert (watch.seen.state.text, watch.seen.read_to_end) == ("Final", False)
        assert "do not show the end" in watch.told(Fault)[0].reason
        watch.edit(None)
        await watch.turn(3)

        (outcome,) = watch.told(HorizonResult)
        assert (outcome.horizon, outcome.differential) == (FINAL, 3)
        assert watch.seen.read_to_end


async def test_forecasts_of_a_ledger_that_gives_its_places_anew_are_told() -> None:
    predictor = StoringPredictor()
    async with watching(predictor=predictor) as watch:
        await go_through(watch, 6, 7)
        predictor.forget()
        await go_through(watch, 8, 9)

    told = [(each.forecast.sequence, len(each.pattern)) for each in watch.told(Prediction)]
    assert told == [(1, 6), (2, 6), (3, 7), (4, 7), (1, 8), (2, 8), (3, 9), (4, 9)]
