"""The rules of the record as tables: what happens in a game, how it is answered, and what counts or is doubtful."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.record_book import (
    EVENING,
    FINAL,
    GAME,
    HALF,
    NO_SHADOW,
    OTHER,
    Event,
    RecordBook,
    answers,
    card,
    figures,
    forecast,
    forecast_of,
    leads,
    lessons,
    new_book,
    reported,
    said,
    shadowed,
    told,
    withdrawn,
)

from dejavu_common.clock import game_day
from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession, Side
from dejavu_feed.moment import Moment
from dejavu_ledger import LedgerCorrupt, verify
from dejavu_ledger.errors import GameFull
from dejavu_ledger.queries import predictions
from dejavu_ledger.queries.predictions import UnknownGame
from dejavu_ledger.records import IssuedForecast, LateReason, MarketRecording
from dejavu_ledger.rules import RecordingLimits
from dejavu_models.betting import StakingPolicy
from dejavu_models.results import Failed
from dejavu_models.scorecard.cards import LeftOut
from dejavu_models.types import Horizon

LATER, CLOCK, TIME, REPORTED = LateReason.LATER_SECOND, LateReason.CLOCK, LateReason.TIME, LateReason.REPORTED
DATE, SIDES, KNOWN, EARLY = LateReason.GAME_DATE, LateReason.SIDES, "^OutcomeAlreadyRecorded", "^InvalidTime"
RECORDED, TOO_LATE = MarketRecording.RECORDED, MarketRecording.FORECAST_LATE
CAPS = StakingPolicy(game_cap=0.02, evening_cap=0.05)
LAL_DEN: dict[str, Any] = {"home_team": "LAL", "away_team": "DEN"}
SWAPPED: dict[str, Any] = {"home_team": "GSW", "away_team": "BKN"}
OVERTIME, REPLAY, TODAY = Moment(5, 199.0, 0), "9900000001", game_day(EVENING)
HOME, AWAY = (LiveInputs(possession=Possession(side)) for side in Side)


def days(count: int) -> date:
    return TODAY + timedelta(days=count)


CORRECTIONS: list[tuple[int, list[tuple[int, int | None] | None]]] = [
    (0, [(11, None)]),
    (0, [(11, None), (11, 201)]),  # added to
    (1, [(11, None), (4, None)]),
    (1, [(11, 201), (11, 203)]),
    (1, [(11, None), None, (4, None)]),
    (0, [(11, None), None, (11, None)]),
    (1, [(11, 201), None, (11, None)]),  # a total that is left out
]
"""Whether a game is corrected, and its reports: differential and total, None for a withdrawal."""

LOST_TWICE_WON_TWICE = [
    event
    for evening, (number, differential) in enumerate([(1, -5), (2, -5), (3, 5), (4, 5)])
    for event in (
        said(20, game_id=f"002250000{number}", at=evening * 1440, market={"stake": 0.02}),
        reported(differential, game_id=f"002250000{number}", at=5 * 1440),
    )
]
AFTER_THE_REPORT = [said(47, point=-4.0), said(47, 10.0, point=11.0, at=5), reported(at=4)]

GAMES: dict[str, tuple[list[Event], list[object], dict[str, object]]] = {
    # Late by a later second of play
    "a second of one horizon tells how far the game is for the other":
        ([said(23, horizon=HALF), said(6), said(24)], [None, LATER, None], {}),
    "a late revision supersedes nothing, and what was said in time is the answer":
        ([said(6), said(47, 10.0), said(6, 20.0), said(6), said(6, 20.0), said(6, 21.0)],
         [None, None, LATER, None, LATER, LATER], {"standing": [1, 2], "revisions": [0, 0, 1, 2], "current": [2]}),
    "what is revised after a later play stays as it was":
        ([said(46, 9.0, point=9.0), said(moment=Moment(4, 100.0, 5), point=5.0),
          *(said(46, 9.0, point=6.0, alpha=0.01 * number) for number in range(10, 20)), reported(6)],
         [None, None, *[LATER] * 10], {"left_out": LeftOut(later_second=10), "mae.value": 2.0, "revised_late": 1}),
    # Late by the published clock
    "the owner's published clock makes late what is more than a minute and a half behind":
        ([said(20, by="a", clock=1290.0, publisher="a"), said(21, by="a", clock=1351.0, publisher="a"), reported(6)],
         [None, CLOCK], {"left_out": LeftOut(clock=1)}),
    "the clock that another publishes does not count, nor that of a replay":
        ([said(20, by="a", clock=2880.0, publisher="b"), said(21, by="b", clock=2880.0, publisher="b"),
          said(21, game_id=REPLAY, clock=2880.0)], [None, None, None], {}),
    # Late by time
    "ten minutes after a second it is known, and forgiven once a later one is in time":
        ([said(20), said(20, 4.0, at=10), said(20, 5.0, at=10.1), said(21, at=30), said(20, 6.0, at=30)],
         [None, None, TIME, None, LATER], {"standing": [2, 4]}),
    **{f"a moment is late by seconds of play and by the clock: {moment}, {seconds} s":
        ([said(47, at=-15), said(moment=OVERTIME), said(moment=moment, at=seconds / 60)], [None, None, late], {})
       for moment, seconds, late in [
           (Moment(5, 199.5, 2), 0, LATER),
           (Moment(4, 30.0, 2), 0, LATER),
           (Moment(5, 199.0, 2), 600, None),
           (Moment(5, 199.0, 2), 601, TIME),
           (Moment(5, 198.0, 3), 700, TIME),  # whoever knows what followed could still choose it
           (Moment(5, 139.0, 2), 700, None),
           (Moment(6, 299.0, 2), 700, None),  # after a break
       ]},
    "ten minutes after the owner's second it is known to others, too":
        ([said(20, by="a"), said(20, by="b", at=11), said(22, by="c", at=11)], [None, TIME, None], {}),
    "an earlier forecast of its own makes nothing timely for another":
        ([said(1, by="a", at=-100), said(2, by="b", at=-97), said(47, by="a"), said(47, by="b", at=40)],
         [None, None, None, TIME], {}),
    "what comes too late makes nothing that follows soon timely":
        ([said(47), *(said(moment=Moment(4, left, 3), at=40) for left in (59.0, 58.0, 1.0))],
         [None, TIME, TIME, TIME], {}),
    "nor does what another recorded too late, if the game passes to it":
        ([leads("a"), said(47, by="a"), said(moment=Moment(4, 59.0, 3), by="b", at=40), leads("b"),
          said(moment=Moment(4, 58.0, 3), by="b", at=40), said(moment=Moment(4, 59.0, 3), by="b", at=40, alpha=0.1)],
         [None, TIME, TIME, TIME], {}),
    # Late by the date of the game
    **{f"a game is over after the evening of its date: {game_id} {day}":
        ([said(20, game_id=game_id, day=day, market={}), reported(game_id=game_id)], [answer],
         {"forecasts": counted, "left_out": LeftOut(game_date=1 - counted)} if counted else {"market": None})
       for game_id, day, answer, counted in [
           (GAME, TODAY, RECORDED, 1),  # until 11:00 UTC
           (GAME, days(-1), TOO_LATE, 0),
           (REPLAY, days(-1), RECORDED, 1),
       ]},
    **{f"a game is over half a day after its first forecast, whatever date is given: {game_id} {day}":
        ([said(minute, game_id=game_id, at=at, day=day) for minute, at in [(30, 0), (31, 720), (32, 726), (33, 732)]],
         [None, None, late, late], {"current": [4 if late is None else 2]})
       for game_id, late in [(GAME, DATE), (REPLAY, None)] for day in (None, days(2))},
    # Late by a withdrawn report
    "what is made after a report is late for ever, whatever becomes of the report":
        ([said(47, 10.0, point=-4.0), reported(), withdrawn(), said(47, 10.5, point=11.0, at=1),
          said(20, 10.5, point=11.0, at=1), said(47, 10.0, point=-4.0, market={}), reported()],
         [None, REPORTED, REPORTED, TOO_LATE],
         {"left_out": LeftOut(reported=2), "mae.value": 15.0, "market": None, "forecasts": 1}),
    "a half that was withdrawn makes what it precedes late and nothing of later":
        ([said(19), reported(3, HALF), withdrawn(HALF), said(20), said(24)], [None, REPORTED, None], {}),
    # Otherwise a reporting caller could make all forecasts of future games late; the doubt shows hindsight.
    **{f"a report that is withdrawn before the first forecast makes none late and the game doubtful: {seen}":
        ([reported(11, HALF, at=seen), withdrawn(HALF), reported(at=seen), withdrawn(), said(20), said(47, at=90),
          reported(at=1), reported(at=95)], [None, None, EARLY],
         {"forecasts": 2, "left_out": LeftOut(), "doubtful_games": 1, "learned": [2]})
       for seen in (-60, 130)},
    "a report that follows a void one decides, and what follows its withdrawal is late":
        ([reported(), withdrawn(), said(20), reported(at=95), withdrawn(), said(47, 12.0, at=91)], [None, REPORTED],
         {"withdrawn_games": 1}),
    # Otherwise a caller without a lease could do so for a game that it forecasts before the poller.
    "a report that is withdrawn before the game passes to its first lease makes none late and the game doubtful":
        ([said(1, by="a"), reported(), withdrawn(), leads("b"), said(20, by="b"), said(21, by="a"), reported(6)],
         [None, None, None], {"forecasts": 2, "left_out": LeftOut(others=1), "doubtful_games": 1}),
    "a report from after the game has passed to its first lease decides what was made with hindsight":
        ([said(1, by="a"), reported(), withdrawn(), leads("b"), said(20, by="b"), said(47, by="b", at=90),
          reported(6, at=89)], [None, None, None], {"forecasts": 2, "left_out": LeftOut(observed=1)}),
    "a withdrawal is not void for an owner who acquires a lease":
        ([said(1, by="a"), reported(), withdrawn(), leads("a"), said(20, by="a")], [None, REPORTED], {}),
    "a withdrawal is not void for the next holder of the lease":
        ([leads("a"), said(1, by="a"), reported(), withdrawn(), leads("b"), said(20, by="b")], [None, REPORTED], {}),
    # Once the outcome is known, nothing is recorded
    "after the half, nothing of the half, nor of the end from before it":
        ([reported(3, HALF), said(18, horizon=HALF), said(23), said(24), said(23, game_id=OTHER, **LAL_DEN)],
         [KNOWN, KNOWN, None, None], {"standing": [2, 3]}),
    "after the end nothing of its game":
        ([reported(3), reported(4), said(18, horizon=HALF), said(47)],
         [r"the outcome of game 0022500001 at final is recorded \(ledger entry 2\)", KNOWN], {}),
    "what is stored is still answered, its revision is refused, and after a withdrawal it is late":
        ([said(18), reported(), said(18), said(18, 9.0), withdrawn(), said(19)], [None, None, KNOWN, REPORTED], {}),
    "a shadow is recorded once for each forecast and other model, and none once the outcome is known":
        ([said(18), shadowed(1, "v1"), shadowed(1), shadowed(1), reported(), shadowed(1, "v3"), withdrawn(),
          shadowed(1, "v3")], [None, *[NO_SHADOW] * 4], {}),
    "a shadow of a forecast from after a withdrawn half is recorded":
        ([reported(3, HALF), said(24), withdrawn(HALF), shadowed(2)], [None], {"standing": [2]}),
    # Hindsight: made after the outcome was observed
    "what is made after the outcome was observed is late, supersedes nothing and teaches nothing":
        (AFTER_THE_REPORT, [None, None],
         {"forecasts": 1, "left_out": LeftOut(observed=1), "learned": [1], "standing": [1]}),
    "what was observed before stays so":
        ([*AFTER_THE_REPORT, withdrawn(), reported(at=60)], [None, None],
         {"forecasts": 1, "left_out": LeftOut(observed=1), "learned": [1], "standing": [1]}),
    "what is made in the second of the observation is in time":
        ([said(47, at=4), reported(at=4)], [None], {"left_out": LeftOut()}),
    "a report that follows a void one decides what was made with hindsight":
        ([reported(), withdrawn(), said(47), said(47, 10.0, at=5), reported(at=4)], [None, None],
         {"left_out": LeftOut(observed=1)}),
    "no later report makes late what was in time":
        ([said(47), reported(), reported(-40, at=-30 * 1440), reported()], [None],
         {"left_out": LeftOut(), "mae.value": 7.0}),
    "what is said of the end from before the half after the half was observed is late":
        ([said(22, market={}), said(23, at=5, market={}), said(24, at=5, market={}), reported(11, HALF, at=4),
          reported()], [RECORDED] * 3,
         {"forecasts": 2, "left_out": LeftOut(observed=1, late_markets=1), "market.bets": 2}),
    **{f"what is said of the half after the end was observed is late, in any order of the reports: {order}":
        ([said(20, horizon=HALF), said(21, horizon=HALF, at=35),
          *(reported(11, HALF, at=39) if each is HALF else reported(at=30) for each in order)],
         [None, None], {"half.left_out": LeftOut(observed=1), "half.forecasts": 1})
       for order in [(HALF, FINAL), (FINAL, HALF)]},
    "a replay has no hindsight":
        ([said(47, at=5, game_id=REPLAY), reported(at=4, game_id=REPLAY)], [None], {"left_out": LeftOut()}),
    # Nor does a wrong time zone: after 22 minutes 26 are left to play, and a forecast is 5 minutes late at most.
    **{f"an outcome of {at} minutes after the start leaves out no minutes that went badly":
        ([said(10, market={}), said(22, at=39, market={}), said(47, at=90, market={}), reported(at=at)],
         [*[RECORDED] * 3, *refused],
         {} if refused else {"forecasts": counted, "doubtful_games": int(counted < 3),
                             "left_out": LeftOut(observed=3 - counted, late_markets=3 - counted)})
       for at, counted, refused in [(60, 2, []), (-1, 0, []), (59, 0, ["the game's forecast after minute 22"])]},
    # Revisions: one forecast of a second counts
    "another alpha, margin, model or free throw is a revision of the same second, and only the newest counts":
        ([said(46, point=9.0), said(46, point=1.0, alpha=0.2), said(46, point=2.0, alpha=0.2, pregame_margin=4.0),
          said(46, point=3.0, alpha=0.2, pregame_margin=4.0, model_version="v2"),
          said(moment=Moment(4, 120.0, 3, 1), point=5.0), reported(6)],
         [None] * 5, {"forecasts": 1, "left_out": LeftOut(superseded=4), "mae.value": 1.0}),
    "the last state of a second counts":
        ([*[said(moment=Moment(4, 12.5, 1, 2), live=HOME)] * 3, said(moment=Moment(4, 12.5, 2, 1), live=HOME),
          said(moment=Moment(4, 12.5, 1, 1), live=HOME),  # a correction
          said(moment=Moment(4, 12.5, 2), live=AWAY), said(moment=Moment(4, 12.5, 2)),  # whose ball is not known
          said(moment=Moment(4, 12.0, 2)), said(47)], [*[None] * 8, LATER],
         {"revisions": [0, 1, 2, 3, 4, 0, 0], "standing": [5, 6], "current": [6]}),
    "the forecasts of a minute share its weight, and an overtime has five":
        ([said(46, point=8.0), said(moment=Moment(4, 40.0, 3), point=11.0), said(moment=Moment(4, 20.0, 3), point=13.0),
          said(moment=Moment(5, 290.0, 3), point=9.0), said(moment=Moment(5, 30.0, 3), point=7.0), reported(6)],
         [None] * 5,
         # Minute 46, minute 47 with two moments, and the first and the last minute of the overtime.
         {"games": 1, "forecasts": 5, "left_out": LeftOut(), "mae.value": (2 + (5 + 7) / 2 + 3 + 1) / 4,
          "persistence_mae.value": 3.0}),
    "nothing is learned from moments, and their inputs are not those of a minute":
        ([said(moment=Moment(4, 40.0, 3), live=LiveInputs(total_points=201)), reported(6)], [None],
         {"learned": [0], "exported": [(3, [])]}),
    "late forecasts teach nothing and are not exported":
        ([said(23, horizon=HALF), said(23, 9.0, horizon=HALF, at=20), said(47, 4.0, at=60), said(47, 8.0, at=120),
          reported(5, HALF), reported(5)], [None, TIME, None, TIME], {"learned": [1, 1], "exported": [(4, [])]}),
    # Home and away exchanged
    "what exchanges the sides of the outcome does not count, nor its bets, and teaches nothing":
        ([said(18, point=9.0, market={}, **SWAPPED), said(19, point=4.0, **SWAPPED), said(19, -4.0, point=-4.0),
          said(20, point=9.0, market={}), reported(6)], [RECORDED, None, None, RECORDED],
         {"forecasts": 2, "left_out": LeftOut(sides=2), "market.bets": 1, "doubtful_games": 1, "learned": [1],
          "late": [SIDES, SIDES, None, None]}),
    "sides are those of the newest report":
        ([said(18, **SWAPPED), said(19), reported(6), reported(-6, teams=("GSW", "BKN"))], [None, None],
         {"forecasts": 1, "left_out": LeftOut(sides=1), "corrected_games": 1, "late": [None, SIDES]}),
    **{f"nothing is learned from exchanged sides, whatever the first report said: {first}":
        ([said(18, -9.0, **SWAPPED), said(42, 9.0), reported(differential, teams=first), reported(12)], [None, None],
         {"learned": [1], "forecasts": 1, "left_out": LeftOut(sides=1)})
       for first, differential in [(("BKN", "GSW"), 12), (("", ""), 12), (("GSW", "BKN"), -12)]},
    "what exchanges the sides is not exported, nor does it contradict the others":
        ([said(46, -9.0, **SWAPPED), said(47, 3.0, at=1), said(47, -3.0, at=2, **SWAPPED), reported(6)],
         [None] * 3, {"exported": [(3, [])]}),
    "late is more than exchanged, and without teams nothing is":
        ([said(20, **SWAPPED), said(18, **SWAPPED), said(21, home_team="", away_team=""), said(22), reported(6)],
         [None, LATER, None, None], {"forecasts": 2, "left_out": LeftOut(later_second=1, sides=1)}),
    **{f"a site is neutral if all forecasts in time say so: {sites}":
        ([*(said(18 + number, live=LiveInputs(neutral_site=site)) for number, site in enumerate(sites)), reported(6)],
         [None] * len(sites), {"neutral": [neutral]})
       for sites, neutral in [((True, True), True), ((True, None), None), ((False,), None)]},
    "a market is compared by the probability of a win without a push":
        ([said(20, market={"line": 1.0, "push": 0.25}), reported(6)], [RECORDED],
         {"market.model_brier.value": 0.4**2}),
    # The owner of a game
    "what others record of a game is theirs":
        ([said(20, by="a", point=9.0), said(21, by="b", point=6.0), said(20, by="b", point=6.0), reported(6)],
         [None, None, LATER], {"forecasts": 1, "left_out": LeftOut(others=2), "mae.value": 3.0}),
    "another may be behind the owner by a minute and a half, and by no later second of its own":
        ([said(20, by="a"), said(moment=Moment(2, 151.0, 3), by="a"), said(20, by="b"),
          said(moment=Moment(2, 149.0, 3), by="a"), said(20, by="c")], [None, None, None, None, LATER], {}),
    "a game passes to the next holder of its owner's lease":
        ([leads("a"), said(20, by="a"), leads("b"), said(21, by="b"), said(22, by="a"), said(22, by="b"), reported(6)],
         [None, None, None, None], {"forecasts": 3, "left_out": LeftOut(others=1)}),
    "no other lease makes an owner":
        ([leads("a"), said(20, by="a"), leads("b", "another"), said(21, by="b"), reported(6)],
         [None, None], {"forecasts": 1, "left_out": LeftOut(others=1)}),
    "a game whose first caller holds no lease passes to one who holds any":
        ([said(20, by="a"), leads("b"), said(21, by="b"), said(22, by="a"), reported(6)],
         [None, None, None], {"forecasts": 2, "left_out": LeftOut(others=1)}),
    # Otherwise whoever may record, before the poller does, could teach models what was never played.
    "nothing is learned from what was recorded before a game passes to its first lease":
        ([said(18, 90.0, by="a"), leads("b"), said(30, by="b"), reported(6)], [None, None],
         {"forecasts": 2, "learned": [1]}),
    "nothing is exported of what was recorded before a game passes to its first lease":
        ([said(47, 3.0, by="a", live=LiveInputs(total_points=190)), leads("b"), said(47, 4.0, by="b"), reported(6)],
         [None, None], {"exported": [(4, [])]}),
    # Otherwise a caller with two tokens, one with a lease, could drop the games that went badly.
    "what was recorded before a game passes counts, whenever it passes":
        ([said(18, by="a", horizon=HALF), said(30, by="a"), reported(-5, HALF), leads("b"), said(31, by="b"),
          reported(6)], [None] * 3, {"forecasts": 2, "half.forecasts": 1, "left_out": LeftOut()}),
    "what passes to the first lease is not what somebody recorded before":
        ([said(19, by="a"), reported(), withdrawn(), said(20, by="a"), leads("b"), said(20, by="b", horizon=HALF),
          said(20, by="b")], [None, REPORTED, None, None], {"standing": [1, 5, 6], "revisions": [0, 0, 0, 1]}),
    "of two owners who forecast the newest second, the earlier one says since when it is known":
        ([leads("a"), said(24, by="a"), leads("b"), said(24, 4.0, by="b", at=6),
          said(24, 4.0, by="b", alpha=0.1, at=11)], [None, None, TIME], {}),
    "an owner who forecast the newest second before it owned the game has known it since then":
        ([leads("a"), said(23, by="a", at=-1), said(24, by="b"), said(24, by="a", at=5), leads("b"),
          said(24, 4.0, by="b", at=8), said(24, 4.0, by="b", alpha=0.1, at=11)], [*[None] * 4, TIME], {}),
    # Otherwise a caller could record a game to its end, then take it over, and choose among what it knows.
    "who takes a game over is held by its own later seconds":
        ([leads("a"), said(20, by="a"), said(40, by="b"), leads("b"), said(21, by="b"), said(41, by="b"), reported(6)],
         [None, None, LATER, None], {"forecasts": 2, "left_out": LeftOut(later_second=1, others=1)}),
    "a game passes on although what its next owner records is recorded":
        ([said(20, by="a"), leads("b"), said(20, by="b"), said(21, by="a"), reported(6)], [None, None, None],
         {"forecasts": 1, "left_out": LeftOut(superseded=1, others=1)}),
    # Otherwise somebody with two tokens could drop from the card of one what the other forecasts after it.
    "on the card of a caller no other's forecast of the moment replaces its own, whoever owns the game":
        ([leads("a"), said(20, by="a"), leads("b"), said(20, 5.0, by="b"), said(21, by="b"), reported(6)], [None] * 3,
         {"forecasts": 2, "left_out": LeftOut(superseded=1), "a.forecasts": 1, "a.left_out": LeftOut(),
          "b.forecasts": 2}),
    "on the card of a caller one forecast of a moment counts, from before it owned the game or since":
        ([leads("a"), said(20, by="a"), said(20, point=1.0, by="b"), leads("b"), said(20, point=2.0, by="b"),
          reported(6)], [None] * 3,
         {"b.forecasts": 1, "b.left_out": LeftOut(superseded=1), "b.mae.value": 4.0}),
    # Otherwise the bet of the next owner would be placed on the forecast, and the card, of the one before.
    "the next owner is not answered with the forecast of the one before":
        ([leads("a"), said(20, by="a"), leads("b"), said(20, 5.0, by="b"), said(20, by="b", market={}),
          said(20, by="b"), reported(-7)], [None, None, RECORDED, None],
         {"revisions": [0, 1, 2], "a.market": None, "b.market.markets": 1, "a.forecasts": 1, "b.forecasts": 1}),
    "on the card of a caller its own revisions after a later second are named":
        ([leads("a"), said(19, by="a"), said(20, by="b", at=1), leads("b"), said(21, by="b", at=2),
          said(20, 4.0, by="b", at=3), said(19, by="b", at=3), reported(6)], [None, None, None, LATER, LATER],
         {"b.revised_late": 1, "revised_late": 1}),
    "a correction contradicts nothing, nor after a withdrawal":
        ([said(20), said(20, 13.0, at=0.1), said(21, 12.0, at=2.4), reported(6, at=130), withdrawn()], [None] * 3,
         {"doubtful_games": 0, "withdrawn_games": 1}),
    # Otherwise a false lead could choose a bet, and be corrected before anybody sees it.
    "a bet on a forecast that is corrected contradicts the correction":
        ([said(20, market={}), said(20, 13.0, at=0.1), said(21, 12.0, at=2.4), reported(6, at=130)],
         [RECORDED, None, None], {"doubtful_games": 1}),
    "forecasts of several dates make a game doubtful":
        ([leads("a"), said(20, by="a"), leads("b"), said(30, by="b", at=2 * 1440), reported(6)], [None, DATE],
         {"doubtful_games": 1}),
    "the outcome has the teams of the owner's forecasts":
        ([leads("a"), said(20, by="a", **LAL_DEN), leads("b"), said(21, by="b"), reported(6)], [None, None],
         {"games": 1, "doubtful_games": 1}),
    "a forecast of the morning makes none of the poller late in the evening":
        ([said(1, by="a", at=-800), leads("b"), said(20, by="b"), said(21, by="b", at=3), said(22, by="a", at=4)],
         [None, None, None, None], {}),
    # Otherwise a caller who may record, not report, could widen all intervals by patterns that no game has.
    **{f"nothing is learned from what others record: {by}":
        ([said(18, by="a"), said(18, 90.0, by=by, alpha=0.1), said(19, 90.0, by=by), reported(5)],
         [None] * 3, {"learned": [1]})
       for by in ("b", "")},
    # Markets: later ones could be chosen by how the game went on, each at a price that was right.
    "a market that comes late is answered and no bet":
        ([said(6), said(9), said(6, market={}), said(5, market={}), reported(5)], [None, None, TOO_LATE, TOO_LATE],
         {"market": None, "left_out": LeftOut(later_second=1)}),
    **{f"a market {seconds} s after its forecast of minute {minute}":
        ([said(minute), said(minute, at=seconds / 60, market={})], [None, answer], {})
       for minute, seconds, answer in [(20, 60, RECORDED), (20, 61, TOO_LATE), (23, 61, TOO_LATE),
                                       (24, 600, RECORDED), (24, 601, TOO_LATE)]},
    **{f"a market {left} s of play behind the newest":
        ([said(20), said(moment=Moment(2, left, 3)), said(20, at=0.5, market={})], [None, None, answer], {})
       for left, answer in [(120.0, RECORDED), (119.0, TOO_LATE)]},
    "the first market of a forecast stands, once and for all":
        ([said(20, market={"line": 2.5}), said(20, market={"line": 4.5}), said(20, market={"line": 2.5}), reported()],
         [RECORDED, MarketRecording.EARLIER_STANDS, RECORDED], {"market.markets": 1}),
    "a market is no bet once the outcome is known":
        ([said(20), reported(), said(20, market={})], [None, MarketRecording.OUTCOME_KNOWN], {"market": None}),
    "a market that is sent after the outcome was observed is no bet":
        ([said(47), said(47, at=50 / 60, market={}), reported(at=40 / 60)], [None, RECORDED],
         {"market": None, "forecasts": 1, "left_out": LeftOut(late_markets=1)}),
    "a bet stays in the record when its forecast is superseded":
        ([said(20, market={"stake": 0.05}), said(20, 4.0), reported(-7)], [RECORDED, None],
         {"market.bets": 1, "market.staked": 0.05, "market.profit": -0.05, "forecasts": 1,
          "left_out": LeftOut(superseded=1)}),
    "a forecast that came late has no bet when a later minute makes it timely again":
        ([said(20), said(20, 9.0, at=20), said(21, at=20), said(20, 9.0, at=20, market={})],
         [None, TIME, None, TOO_LATE], {}),
    # Also if its forecast is older: otherwise, filling the game's cap would cancel a bet that is being lost.
    "a market that is quoted later takes nothing from a bet that was placed":
        ([said(20), said(21, market={"stake": 0.02, "policy": CAPS}),
          said(20, at=50 / 60, market={"line": -30.5, "stake": 0.02, "policy": CAPS}), reported(-10)],
         [None, RECORDED, RECORDED],
         {"market.bets": 1, "market.markets": 2, "market.capped": 1, "market.profit": -0.02}),
    # Otherwise a loss could be moved away from other losses.
    "a game that is reported again keeps its place in the order of the bankroll":
        ([*LOST_TWICE_WON_TWICE, withdrawn(), reported(-5, at=5 * 1440)], [RECORDED] * 4,
         {"market.max_drawdown": 1 - 0.98**2}),
    # Otherwise a wrong half by another caller would keep the poller's final from being recorded.
    "what others report at the half contradicts other reports of the end, not the owner's":
        ([said(30, by="a"), reported(-99, HALF, recorded_by="b"), reported(6, recorded_by="c"),
          reported(6, recorded_by="a")], [None, "^InvalidDifferential"], {"forecasts": 1}),
    "what others report of a game that nobody has forecast contradicts nobody":
        ([reported(-99, HALF, teams=("LAL", "DEN"), recorded_by="b"), reported(6, recorded_by="a"),
          reported(3, HALF, recorded_by="a")], [], {}),
    # Corrections and withdrawals of the outcome
    "a game whose outcome was withdrawn is seen and counts nowhere":
        ([said(20, market={}), said(20, game_id=OTHER, market={}, **LAL_DEN), reported(),
          reported(-30, game_id=OTHER, teams=("LAL", "DEN")), withdrawn(game_id=OTHER)], [RECORDED, RECORDED],
         {"games": 1, "withdrawn_games": 1, "left_out": LeftOut(withdrawn=1), "market.markets": 1}),
    **{f"a correction shows on the card: {reports}":
        ([said(20), *(withdrawn() if each is None else reported(each[0], total_points=each[1]) for each in reports)],
         [None], {"corrected_games": corrected})
       for corrected, reports in CORRECTIONS},
    "a total that was forecast and is not reported shows on the card":
        ([said(20, points=80), said(20, game_id=OTHER, points=80, **LAL_DEN), said(20, game_id="0022500003"),
          reported(total_points=201), reported(game_id=OTHER, teams=("LAL", "DEN")), reported(game_id="0022500003")],
         [None] * 3, {"total.games": 1, "unsettled_totals": 1}),
    # The bet on a superseded forecast counts: formerly, a lost one on the total vanished without a trace.
    "a total hides in no correction that leaves its points out":
        ([said(20, points=80), said(20, 5.0), reported()], [None, None],
         {"left_out.superseded": 1, "unsettled_totals": 1}),
}  # fmt: skip
"""What happens in a game → how it is answered (`answers`; a text: a pattern), and figures of the record (`figures`)."""


UNNAMED: dict[str, Any] = {"teams": ("", "")}


def total_before_tip_off(points: float) -> dict[str, LiveInputs]:
    return {"live": LiveInputs(pregame_total=points)}


def neutral(site: bool) -> dict[str, LiveInputs]:
    return {"live": LiveInputs(neutral_site=site)}


REPLAYS = ("9926100001", "9926100002")

PACES: list[tuple[list[tuple[int, float]], float, int]] = [
    ([(6, 0), (46, 40)], 42, 0),
    ([(6, 5), (7, 5.1), (8, 5.2), (40, 35)], 43, 0),  # behind a feed that was late
    ([(6, 0), (46, 34)], 42, 1),
    ([(6, 0), (40, 90), (46, 90.5)], 95, 1),
    ([(6, 0)], 36, 1),
]
"""Minutes of forecasts and when they are made, when the outcome is observed, and whether the game is doubtful."""

STATED: list[tuple[int, list[tuple[int, float, dict[str, Any]]]]] = [
    (0, [(18, 3.0, {}), (18, 8.0, {"alpha": 0.1}), (19, 20.0, {}), (24, -30.0, {})]),
    (0, [(18, 3.0, {}), (18, 28.0, {})]),  # a correction
    (1, [(18, 3.0, {}), (19, 28.0, {})]),
    (0, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": 4.0})]),
    (1, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {})]),
    (1, [(18, 3.0, {"pregame_margin": 4.0}), (19, 5.0, {"pregame_margin": -9.0})]),
    (1, [(18, 3.0, {}), (19, 5.0, neutral(True))]),
    (1, [(18, 3.0, {}), (19, 5.0, total_before_tip_off(220.0))]),
    (0, [(18, 3.0, total_before_tip_off(each)) for each in (220.0, 240.0)]),  # a correction
    (1, [(each, 3.0, total_before_tip_off(200.0 + each)) for each in (18, 19)]),
]
"""Whether the game is doubtful, and what is stated of it: minute, lead and further arguments."""

DOUBTFUL: dict[str, Sequence[tuple[list[Event], int] | tuple[list[Event], int, int]]] = {
    "identity": [
        ([said(20), said(20, 4.0, game_id, **second), *(reported(game_id=each, **UNNAMED) for each in {GAME, game_id})],
         doubtful)
        for game_id, second, doubtful in [
            (OTHER, LAL_DEN, 0),
            (OTHER, {}, 2),
            (OTHER, SWAPPED, 2),
            (OTHER, {"home_team": "", "away_team": ""}, 1),
            (OTHER, {"at": 1440}, 0),
            (GAME, SWAPPED, 1),
            (GAME, {"home_team": "LAL"}, 1),
            ("0022599999", LAL_DEN, 1),
        ]
    ],
    # Forecasts that are made after the game, one after another, are in the right order and in time.
    "told faster than it can be played": [
        ([*(said(minute, at=at) for minute, at in minutes), reported(at=end)], doubtful)
        for minutes, end, doubtful in PACES
    ],
    # A caller states the lead: a false one makes persistence, the comparison, worse, and a margin can offset it.
    "forecasts that contradict one another": [
        ([*(said(minute, lead, at=2 * place, **more) for place, (minute, lead, more) in enumerate(made)), reported(5)],
         doubtful)
        for doubtful, made in STATED
    ],
    # A caller states the line-ups: with different ones for each forecast, it could choose the expected margin.
    "line-ups that change their effect": [
        ([*(said(minute, place, at=2 * minute + place / 60, effect=effect)
            for place, (minute, effect) in enumerate(made)), reported(5)], doubtful)
        for doubtful, made in [
            (0, [(12, -4.0), (12, 3.9), (24, -4.0)]),
            (0, [(1, 0.0), (12, 9.0), (24, 9.0)]),  # 0: who plays was not known yet
            (1, [(12, -4.0), (24, 4.1)]),
            (1, [(12, -4.0), (12, 4.1), (12, -4.0)]),  # sent again until it suits
        ]
    ],
    "a lead that no minute of play allows": [
        ([*(said(moment=Moment(4, left, lead)) for left, lead in zip((400.0, 370.0, 365.0), leads, strict=False)),
          reported(6)], doubtful)
        for leads, doubtful in [((3, 6), 0), ((3, 20), 0), ((3, 30), 1), ((3, 20, 37), 1)]
    ],
    "an overtime that the game did not have": [
        ([said(moment=Moment(6, 100.0, 3)), reported(6, overtimes=overtimes)], doubtful)
        for overtimes, doubtful in [(None, 1), (0, 1), (1, 1), (2, 0), (6, 0), (7, 1)]
    ],
    # Somebody else may have recorded the first one, half a day before the game.
    "forecasts in time and others after the evening": [([said(1), said(20, at=780), reported()], 1)],
    # Also not if the outcome is withdrawn; and all games of a replay are played on one day.
    "late forecasts and replays": [
        ([said(40), said(20, **SWAPPED), reported(10), withdrawn(), *(said(20, game_id=each) for each in REPLAYS),
          *(reported(10, game_id=each) for each in REPLAYS)], 0),
    ],
    # A forecast of a total is compared with pace × time, and a caller who states points could move all intervals.
    "points that fall or exceed those of the outcome, which teach nothing": [
        ([*(said(minute, at=2 * place, points=points, model_version=f"v{minute}")
            for place, (minute, points) in enumerate(made)), reported(4, total_points=total)],
         int(learned < 3), learned)
        for made, total, learned in [
            ([(18, 80), (19, 74), (20, 84)], 200, 3),  # a feed that was corrected
            ([(17, 78), (18, 80), (19, 190), (19, 84)], 200, 3),  # a correction
            ([(18, 150), (19, 84), (20, 86)], 200, 0),
            ([(16, 70), (18, 150), (20, 86)], 200, 1),
            ([(16, 70), (18, 150), (20, 160)], 148, 2),
            ([(16, 70), (18, 150), (20, 160)], None, 3),
        ]
    ],
}  # fmt: skip
"""What is doubtful → events of games, how many of the games are, and from how many models' forecasts is learned."""


CONTRADICTING: dict[str, tuple[list[Event], None, dict[str, object]]] = {
    f"{name} {place}": (events, None, {"doubtful_games": doubtful, **({"learned": learned} if learned else {})})
    for name, cases in DOUBTFUL.items()
    for place, (events, doubtful, *learned) in enumerate(cases)
}


@pytest.mark.parametrize(
    ("events", "expected", "counted"), [*GAMES.values(), *CONTRADICTING.values()], ids=[*GAMES, *CONTRADICTING]
)
def test_a_game_counts_by_what_was_said_while_it_could_not_be_known_and_is_doubtful_if_its_record_contradicts_itself(
    book: RecordBook,
    tmp_path: Path,
    events: list[Event],
    expected: list[object] | None,
    counted: dict[str, object],
) -> None:
    if expected is None:
        told(book, *events)
    else:
        for answer, wanted in zip(answers(book, *events), expected, strict=True):
            assert re.search(wanted, str(answer)) if isinstance(wanted, str) else answer == wanted
    whole = {name: pytest.approx(value) if isinstance(value, float) else value for name, value in counted.items()}
    assert figures(book, *counted) == whole
    if expected is None or RECORDED not in expected:  # with made-up probabilities
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")


def test_what_was_learned_follows_from_the_reports_up_to_then(book: RecordBook) -> None:
    told(book, said(20, horizon=HALF), said(21, horizon=HALF, at=35), reported(11, HALF, at=39))
    learned = lessons(book)
    told(book, reported(at=30))
    assert lessons(book)[:1] == learned


def test_a_minute_is_asked_for_without_its_moments(book: RecordBook) -> None:
    told(book, said(moment=Moment(4, 12.5, 1)))
    with pytest.raises(UnknownGame, match="47"):
        book.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    with new_book() as other:
        minute, _ = told(other, said(47), said(moment=Moment(4, 10.0, 1)))
        game = other.read(lambda connection: predictions.latest_forecast(connection, GAME, FINAL, minute=47))
    assert game.latest.issued == minute


def test_a_card_of_complete_minutes_has_one_forecast_of_each_and_none_of_a_moment(book: RecordBook) -> None:
    """Formerly, the page counted a game in each range of chances that it visited in the minute after the half."""
    told(book, said(24, point=1.0), said(moment=Moment(3, 700.0, 5)), said(moment=Moment(3, 690.0, 5)), reported(6))
    of_minute: dict[str, Any] = {"min_minutes": 24, "max_minutes": 24}
    assert card(book, **of_minute).forecasts == 3
    counted = card(book, **of_minute, complete_minutes=True)
    assert counted.mae is not None
    assert (counted.forecasts, counted.mae.value) == (1, 5.0)


FIRST: dict[str, Any] = {"lead": 2.0}
CORRECTED: dict[str, Any] = {"lead": 4.0}
LAST = LastScore(Side.AWAY, 12)


def live(total: int | None = None, score: LastScore | None = None, **more: Any) -> dict[str, Any]:
    return {"live": LiveInputs(total, score, **more)}


REVISIONS: dict[str, list[tuple[dict[str, Any], int]]] = {
    "another answer is no correction": [({"point": 1.0}, 0), ({"point": 2.0}, 0)],
    "pattern, also corrected back": [(FIRST, 0), (CORRECTED, 1), (CORRECTED, 1), (FIRST, 2)],
    "teams, also corrected back": [({}, 0), (SWAPPED, 1), (SWAPPED, 1), ({"away_team": ""}, 2), ({}, 3)],
    "date, also corrected back": [
        ({"day": TODAY}, 0), ({}, 0), ({"day": days(1)}, 1), ({"day": days(1)}, 1), ({"day": TODAY}, 2),
    ],
    "the date of its evening is none": [({"at": 9.4 * 60}, 0), ({"day": TODAY}, 0), ({}, 0)],
    "after 11:00 UTC another day begins": [({"at": 9.6 * 60}, 0), ({"day": TODAY}, 1)],
    "a wrong date": [({"day": days(1)}, 0), ({"day": TODAY}, 1), ({}, 1)],
    "live inputs left out": [(live(81, LAST), 0), (live(81), 0), (live(None, LAST), 0), ({}, 0)],
    "live inputs added and corrected": [
        ({}, 0), (live(81), 1), (live(81, LAST), 2), (live(83, LAST), 3), (live(81, LAST), 4), (live(83), 5), ({}, 5),
    ],
    "a neutral site": [(live(neutral_site=True), 0), ({}, 0), (live(neutral_site=False), 1)],
}  # fmt: skip
"""Requests for one forecast, one after the other, and the revision that answers each."""


@pytest.mark.parametrize("together", [False, True], ids=["each in its transaction", "in one call"])
@pytest.mark.parametrize("steps", REVISIONS.values(), ids=REVISIONS)
def test_a_correction_is_a_revision_and_a_repetition_is_answered_as_stored(
    book: RecordBook, tmp_path: Path, steps: list[tuple[dict[str, Any], int]], together: bool
) -> None:
    given = [forecast_of(18, **fields) for fields, _ in steps]
    found = book.predict(*given) if together else [book.predict(each)[0] for each in given]
    stored: list[IssuedForecast] = []
    for made, answer, (_, revision) in zip(given, found, steps, strict=True):
        assert isinstance(answer, IssuedForecast)
        assert (answer.revision, answer.created) == (revision, revision == len(stored))
        if answer.created:
            assert answer == replace(made, sequence=revision + 1, revision=revision, late=answer.late)
            stored.append(answer)
        assert answer == stored[revision]
    assert verify(f"sqlite:///{tmp_path / 'ledger.db'}").forecasts == len(stored)


FULL = GameFull.__name__


@pytest.mark.parametrize(
    ("callers", "expected"),
    [
        (["a", "a", "a", "b", "b", *[""] * 5], ["a", "a", FULL, "b", "b", *[""] * 4, FULL]),
        (["a", *"bbccddee", "a", "a"], ["a", *"bbccdde", FULL, "a", FULL]),  # the owner may go beyond the maximum
        (["a", *"abbccdd", "e", "leader"], ["a", *"abbccdd", FULL, "leader"]),
    ],
)
def test_no_caller_uses_up_the_forecasts_of_a_game(book: RecordBook, callers: list[str], expected: list[str]) -> None:
    """Otherwise one that repeats a minute with other margins keeps the poller's forecasts out of the record."""
    found = list[str]()
    book.lease("poll", "leader")
    for number, caller in enumerate(callers):
        made = forecast_of(18, float(number), by=caller)
        [answer] = book.predict(made, limits=RecordingLimits(forecasts=8))
        found.append(type(answer.error).__name__ if isinstance(answer, Failed) else caller)
    assert found == expected


@pytest.mark.parametrize("swapped", [{"horizon": HALF, "minute": 20}, {"minute": 41, "model_version": "v2"}])
def test_an_outcome_of_other_teams_than_the_forecasts_on_a_card_leaves_them_out(
    book: RecordBook, swapped: dict[str, Any]
) -> None:
    """The differential has the wrong sign for them, and no entry on the card need have the outcome's teams."""
    other = said(**{"minute": 20, **SWAPPED, **swapped})
    told(book, said(20, model_version="v1"), other, reported(10, teams=("GSW", "BKN")))
    found = card(book, FINAL, model_version="v1")
    assert (found.games, found.left_out.sides, found.doubtful_games) == (0, 1, 1)


@pytest.mark.parametrize(
    ("moment", "minute", "horizon", "fault"),
    [
        (Moment(4, 42.5, 3), 46, FINAL, "pattern is 46 slots; expected 47"),
        (Moment(5, 0.0, 3), 47, FINAL, "the end of the game"),
        (Moment(3, 600.0, 3), 23, HALF, "a moment of the first half"),  # it would be one with hindsight
        (Moment(4, 42.5, 3, 5), 47, FINAL, "moment.free_throws is 5"),
    ],
)
def test_an_impossible_moment_is_no_sound_record(
    book: RecordBook, tmp_path: Path, moment: Moment, minute: int, horizon: Horizon, fault: str
) -> None:
    made = forecast(GAME, minute=minute, horizon=horizon)  # the minute need not be that of the moment
    book.predict(replace(made, forecast=replace(made.forecast, moment=moment)))
    with pytest.raises(LedgerCorrupt, match=fault):
        verify(f"sqlite:///{tmp_path / 'ledger.db'}")
