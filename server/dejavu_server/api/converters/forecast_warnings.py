"""Warnings about forecasts, evaluations of markets and models that are less reliable than usual."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final

from dejavu.v1 import forecast_pb2 as pb
from dejavu.v1.forecast_pb2 import ReliabilityWarning
from dejavu_feed.lines import PLAUSIBLE_OVERROUNDS
from dejavu_feed.off_season import playing_days
from dejavu_feed.teams import knowledge_text
from dejavu_ledger.records import IssuedForecast
from dejavu_models.betting import OWN_LINE, OWN_PRICE, MarketAnswer, MarketKind
from dejavu_models.ratings import are_known, are_usable, ratings_warnings
from dejavu_models.types import Forecast, Horizon, ModelInfo, WarningReason

_WARNING_VALUES = {reason: pb.WarningReason.Value(f"WARNING_REASON_{reason.name}") for reason in WarningReason}

_MOST_NAMED: Final = 5
"""Maximum number of teams that a warning about a model names; of more teams it gives only the number."""

_LATE_MOMENT: Final = (
    "in last minutes and overtime, the price may know what the forecast does not, such as fouls to give; no stake"
)

_NO_STAKE_YET: Final = "no stake until both teams are known as well as in a usual December"

_THEN: Final = {Horizon.HALFTIME: "leads at the half", Horizon.FINAL: "wins"}


def forecast_warnings(issued: IssuedForecast) -> list[ReliabilityWarning]:
    """Return the warnings of an issued forecast."""
    forecast = issued.forecast
    warnings = [
        _little_known(issued, forecast, "the interval allows for it")
        if reason is WarningReason.TEAM_LITTLE_KNOWN
        else _implausible_margin(issued)
        if reason is WarningReason.IMPLAUSIBLE_MARGIN
        else warning_message(
            reason,
            issued.day,
            forecast.ratings_date,
            used=forecast.expected_margin is not None,
            teams=forecast.outdated_teams,
        )
        for reason in forecast.warnings
    ]
    if issued.recomputed is not None and forecast.quantiles:
        now = issued.recomputed
        text = (
            f"the recorded forecast is {_points(forecast.point)}, the one that gives the quantiles {_points(now.point)}"
        )
        warnings.append(_recomputed(issued, now, text))
    if forecast.total is not None and forecast.total.quantiles:
        warnings += _recomputed_total(issued, "that gives the quantiles")
    return warnings


def market_warnings(issued: IssuedForecast, kind: MarketKind, answer: MarketAnswer) -> list[ReliabilityWarning]:
    """Return the warnings of the evaluation of a market that was sent with a forecast."""
    is_total = kind is MarketKind.TOTAL
    warnings = []
    if answer.unrated:
        warnings.append(_unrated_total(issued) if is_total else _unrated_lead(issued))
    if answer.mismatched:
        warnings.append(_mismatched_odds(answer))
    elif answer.implausible:
        side = "over" if is_total else issued.home_team or "the home side"
        warnings.append(_implausible_difference(answer, side))
    return warnings + (_recomputed_total(issued, "compared with this market") if is_total else _recomputed_lead(issued))


def _unrated_lead(issued: IssuedForecast) -> ReliabilityWarning:
    weighed_by = issued.recomputed or issued.forecast
    moment = weighed_by.moment
    if moment is not None and moment.is_late(weighed_by.horizon):
        return ReliabilityWarning(reason=pb.WARNING_REASON_LATE_MOMENT, text=_LATE_MOMENT)
    if issued.pregame_margin is not None:
        return _markets_own_line("margin")
    if weighed_by.expected_margin is not None:
        return _little_known(issued, weighed_by, _NO_STAKE_YET)
    if not (issued.home_team and issued.away_team):
        return _teams_unknown("their strength")
    # The ledger does not store a recomputed forecast that evaluated a market, and so not its warnings either: without
    # RATINGS_AHEAD, RATINGS_OUTDATED is assumed.
    ahead = WarningReason.RATINGS_AHEAD in weighed_by.warnings
    reason = WarningReason.RATINGS_AHEAD if ahead else WarningReason.RATINGS_OUTDATED
    warning = warning_message(reason, issued.day, weighed_by.ratings_date, used=False, teams=weighed_by.outdated_teams)
    warning.text += "; no stake"
    return warning


def _unrated_total(issued: IssuedForecast) -> ReliabilityWarning:
    weighed_by = issued.recomputed_total or issued.forecast
    total = weighed_by.total
    if issued.live.pregame_total is not None:
        return _markets_own_line("total")
    if total is not None and total.expected_total is not None:
        return _little_known(issued, weighed_by, _NO_STAKE_YET)
    if not (issued.home_team and issued.away_team):
        return _teams_unknown("how much they score")
    text = (
        "the ratings of total points end too long before this game and are not used, and a pregame margin gives no "
        "information about total points; no stake"
    )
    return ReliabilityWarning(reason=pb.WARNING_REASON_RATINGS_OUTDATED, text=text)


def _recomputed_lead(issued: IssuedForecast) -> list[ReliabilityWarning]:
    if issued.recomputed is None:
        return []
    recorded, now = issued.forecast.home_lead_probability, issued.recomputed.home_lead_probability
    text = (
        f"the recorded forecast gives {100 * recorded:.1f} % that {issued.home_team or 'home'} "
        f"{_THEN[issued.forecast.horizon]}, the one compared with this market {100 * now:.1f} %"
    )
    warning = _recomputed(issued, issued.recomputed, text)
    sent = issued.market(MarketKind.LEAD)
    if sent is None or sent.recording is None:
        warning.text += "; the market is not recorded"
    return [warning]


def model_warnings(info: ModelInfo, today: date) -> list[ReliabilityWarning]:
    """Return the warnings of a model on a day."""
    used = are_usable(info.ratings_date, today, info.max_ratings_days)
    reasons = ratings_warnings(info.ratings_date, today, info.max_ratings_days)
    if not info.approved:
        reasons = (WarningReason.MODEL_UNFIT, *reasons)
    warnings = [warning_message(reason, today, info.ratings_date, used=used) for reason in reasons]
    limit = info.max_ratings_days
    outdated = {code: end for code, end in info.unseen_teams.items() if playing_days(end, today) > limit}
    if used and outdated:
        ends = sorted(set(outdated.values()))
        teams = sorted(outdated) if len(outdated) <= _MOST_NAMED else [f"{len(outdated)} teams"]
        end = f"{ends[-1]}" + " or before" * (len(ends) > 1)
        warnings.append(_outdated(f"{_and(teams)}, with no final since a gap,", end, today))
    return warnings


def _recomputed(issued: IssuedForecast, now: Forecast, text: str) -> ReliabilityWarning:
    """Return the warning that a part of an answer was computed by another forecast than the recorded one."""
    learned = now.calibration_sequence > issued.forecast.calibration_sequence
    behind = "this worker has learned from fewer outcomes so far, or has other settings"
    why = "in between, the model has learned from outcomes" if learned else behind
    return ReliabilityWarning(reason=pb.WARNING_REASON_RECOMPUTED, text=f"{text}: {why}")


def _recomputed_total(issued: IssuedForecast, use: str) -> list[ReliabilityWarning]:
    """Return that warning of the total points, if there is one, given what the other forecast is used for."""
    recorded, now = issued.forecast.total, issued.recomputed_total
    if recorded is None or now is None or now.total is None:
        return []
    text = f"the recorded forecast of the total is {recorded.point:.1f}, the one {use} {now.total.point:.1f}"
    return [_recomputed(issued, now, text)]


def _points(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _little_known(issued: IssuedForecast, weighed_by: Forecast, consequence: str) -> ReliabilityWarning:
    teams = zip((issued.home_team, issued.away_team), weighed_by.teams_known, strict=False)
    little = "; ".join(
        knowledge_text(team, known.deviation, known.finals, known.earlier_date)
        for team, known in teams
        if not are_known([known])
    )
    return ReliabilityWarning(reason=pb.WARNING_REASON_TEAM_LITTLE_KNOWN, text=f"{little}: {consequence}")


def _markets_own_line(given: str) -> ReliabilityWarning:
    text = (
        f"this line is within {OWN_LINE:g} points, or its price within {100 * OWN_PRICE:.0f} percentage points, of the "
        f"one that the given {given} implies, the forecast's only information about the teams: the odds may be from "
        "before tip-off; no stake"
    )
    return ReliabilityWarning(reason=pb.WARNING_REASON_MARKETS_OWN_LINE, text=text)


def _implausible_margin(issued: IssuedForecast) -> ReliabilityWarning:
    given, rated = (_points(margin or 0.0) for margin in (issued.pregame_margin, issued.forecast.rated_margin))
    text = f"the given margin, {given} for {issued.home_team}, is far from that of the ratings, {rated}: check its sign"
    return ReliabilityWarning(reason=pb.WARNING_REASON_IMPLAUSIBLE_MARGIN, text=f"{text}; it is used")


def _teams_unknown(unknown: str) -> ReliabilityWarning:
    text = f"the request does not name both teams: the odds include {unknown}, the forecast does not; no stake"
    return ReliabilityWarning(reason=pb.WARNING_REASON_TEAMS_UNKNOWN, text=text)


def warning_message(
    reason: WarningReason, day: date, ratings_date: date | None, *, used: bool, teams: Sequence[str] = ()
) -> ReliabilityWarning:
    """Return a warning for programs and people.

    Args:
        reason: the reason.
        day: local date of the game.
        ratings_date: local date of the newest final that the ratings know; None if no ratings were needed.
        used: whether they were used.
        teams: NBA codes of the teams for which they are outdated; empty: for all.
    """
    if reason is WarningReason.RATINGS_OUTDATED:
        return _outdated(_and(teams) if teams else "the teams", f"{ratings_date}", day)
    text = {
        WarningReason.RATINGS_AHEAD: f"the teams' ratings know finals up to {ratings_date}, after the game of {day}"
        + ("" if used else ": they are not used"),
        WarningReason.MODEL_UNFIT: "the recipe of this model failed its backtest (see the verdict in ListModels)",
    }[reason]
    return ReliabilityWarning(reason=_WARNING_VALUES[reason], text=text)


def _mismatched_odds(answer: MarketAnswer) -> ReliabilityWarning:
    lowest, highest = (f"{100 * end:.0f} %".replace("-", "−") for end in PLAUSIBLE_OVERROUNDS)
    text = (
        f"the two prices do not belong together: a margin of {100 * (answer.overround or 0.0):.1f} %".replace("-", "−")
        + f", expected {lowest} to {highest}; no stake"
    )
    return ReliabilityWarning(reason=pb.WARNING_REASON_ODDS_MISMATCHED, text=text)


def _outdated(teams: str, end: str, day: date) -> ReliabilityWarning:
    return ReliabilityWarning(
        reason=pb.WARNING_REASON_RATINGS_OUTDATED,
        text=f"the ratings of {teams} end on {end}, too long before {day}: they are not used; "
        "give the market's line (pregame_margin), or refresh them (dejavu-trainer refresh)",
    )


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _implausible_difference(answer: MarketAnswer, home: str) -> ReliabilityWarning:
    wins, loses = answer.above.win_probability, answer.below.win_probability
    implied = (answer.above.fair_probability or 0.0) / (wins + loses)
    # The difference is that of decided bets; the table shows shares of all bets.
    decided = " of the bets that are not returned" if answer.push_probability else ""
    sign = "" if home == "over" else "sign of the line and "
    return ReliabilityWarning(
        reason=pb.WARNING_REASON_IMPLAUSIBLE_DIFFERENCE,
        text=f"by the model {home} wins {100 * wins / (wins + loses):.0f} %{decided}, "
        f"by the odds {100 * implied:.0f} % without their margin: check {sign}order of the prices; no stake",
    )
