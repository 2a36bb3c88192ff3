"""Formats a poller's events as lines for people and records for programs. Leads are home − away, in points."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from dejavu.v1.forecast_pb2 import Horizon
from dejavu_client.formatting import (
    chance,
    horizon_label,
    outcome_verb,
    percent,
    pluralize,
    signed,
    total_text,
    warning_label,
)
from dejavu_client.requests import FINAL
from dejavu_client.transport.statistics import percentile
from dejavu_feed.files.prices import PricedMarket
from dejavu_feed.game_ids import is_replay
from dejavu_feed.nba.live_payloads import GameState, GameStatus
from dejavu_feed.printed_numbers import LEAST_AMERICAN
from dejavu_poller import events
from dejavu_poller.horizons import HORIZON_RULES, overtimes_by
from dejavu_poller.leadership import LeaderRole, Leadership
from dejavu_poller.lines import GameLine
from dejavu_poller.prices import GamePrices
from dejavu_poller.summary import HorizonSummary, Summary

_Notice: TypeAlias = events.GameSkipped | events.LineTaken | events.PricesTaken
_WithoutGame: TypeAlias = (
    events.Fault | events.Recovered | events.ModelLimits | events.RatingsOutdated | events.LeadershipChanged
)

LEGEND = "half, end, intervals: home − away, in points · score: away–home"
"""Explains the values in the lines and the table."""


def teams(game: GameState) -> str:
    """Return the matchup: away @ home."""
    return f"{game.away} @ {game.home}"


def score(game: GameState) -> str:
    """Return the score, away first as in `teams`; "" before tip-off."""
    return "" if game.status is GameStatus.SCHEDULED else f"{game.away_score}–{game.home_score}"


def minute_ranges(minutes: tuple[int, ...]) -> str:
    """Format minutes, consecutive ones as ranges: minute 9, minutes 6–8, 12."""
    runs: list[list[int]] = []
    for minute in minutes:
        if runs and minute == runs[-1][-1] + 1:
            runs[-1].append(minute)
        else:
            runs.append([minute])
    text = ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    return f"minute{'s' * (len(minutes) > 1)} {text}"


def event_line(event: events.Event) -> str:
    """Format an event on one line."""
    if isinstance(event, _WithoutGame):
        return _line_without_game(event)
    about = f"{teams(event.game)}  {event.game.text}  {score(event.game)}".rstrip()
    match event:
        case events.GameChanged():
            overtime = event.game.status is GameStatus.LIVE and overtimes_by(event.game.period) > 0
            return f"{about}  overtime" if overtime else about
        case events.ForecastMissed():
            missed = f"{minute_ranges(event.minutes)} missed"
            return f"{about}  {horizon_label(event.horizon)}, {missed}: {event.reason}"
        case events.Prediction(forecast=forecast):
            revision = f", revision {forecast.revision}" if forecast.revision else ""
            warnings = "".join(f", {warning_label(each.reason)}" for each in forecast.warnings)
            return (
                f"{about}  {signed(event.pattern[-1], 0)} after {pluralize(forecast.elapsed_minutes, 'minute')}, "
                f"{horizon_label(forecast.horizon)} {signed(forecast.point_forecast)} "
                f"[{signed(forecast.interval_lower)} … {signed(forecast.interval_upper)}] "
                f"at {percent(forecast.coverage_probability)}, "
                f"{event.game.home} {outcome_verb(forecast.horizon)} {chance(forecast.home_lead_probability)}"
                f"{total_text(forecast)}{revision}{warnings}"
            )
        case events.HorizonResult():
            return (
                f"{about}  {horizon_label(event.horizon)} {signed(event.differential, 0)}: "
                f"{event.covered} of {pluralize(len(event.forecasts), 'interval')} held, "
                f"mean absolute error {_mean(event.errors):.1f} (persistence {_mean(event.persistence_errors):.1f})"
            )
        case events.OutcomeReported(outcome=outcome):
            again = f", correction {outcome.revision}" if outcome.revision else ""
            return (
                f"{about}  {horizon_label(event.horizon)} {signed(event.differential, 0)} is in the record, "
                f"settles {pluralize(event.settled, 'forecast')}{again}"
            )
        case events.GameSkipped() | events.LineTaken() | events.PricesTaken():
            return f"{about}  {_notice(event)}"
        case events.HorizonClosed():
            until = f" before minute {event.minute}" if event.minute < HORIZON_RULES[event.horizon].minutes else ""
            return f"{about}  {horizon_label(event.horizon)} closed{until}: outcome already recorded"


def _notice(event: _Notice) -> str:
    if isinstance(event, events.GameSkipped):
        return f"not forecast: {event.reason}"
    if isinstance(event, events.PricesTaken):
        return f"prices are recorded beside its forecasts: {prices_text(event.game, event.prices)}"
    if event.line is not None:
        return line_text(event.game, event.line)
    if event.rated:
        return "no line: the ratings are used"
    return "no line and no usable ratings: forecasts use only the score"


def line_text(game: GameState, line: GameLine) -> str:
    """Describe the line of a game: line BOS −5.5, total 221.5, of the file of lines. The odds feed has no totals."""
    total = "" if line.total is None else f"total {line.total:g}"
    source = f"of the {_LINE_SOURCES[line.source]}"
    if line.margin is None:
        return f"line {total}, {source}"
    margin = margin_text(game, line.margin)
    if total and line.source == "feed":
        return f"line {margin}, {source}; {total}, of the {_LINE_SOURCES['file']}"
    return f"line {', '.join(filter(None, (margin, total)))}, {source}"


def prices_text(game: GameState, prices: GamePrices) -> str:
    """Format the prices of a game: BOS −5.5 at −110/−110, total 221.5 at 1.91/1.91."""
    parts = []
    if (lead := prices.lead) is not None:
        bet = f"{game.home} wins" if lead.kind == "moneyline" else margin_text(game, lead.line)
        parts.append(f"{bet} at {_price_text(lead.first)}/{_price_text(lead.second)}")
    if (total := prices.total) is not None:
        parts.append(f"total {total.line:g} at {_price_text(total.first)}/{_price_text(total.second)}")
    return ", ".join(parts)


def _price_text(price: float) -> str:
    return signed(price, 0) if abs(price) >= LEAST_AMERICAN else f"{price:.2f}"


def margin_text(game: GameState, margin: float) -> str:
    """Format the margin of a line as books do: BOS −5.5."""
    favorite = game.home if margin >= 0 else game.away
    return f"{favorite} {signed(-abs(margin))}" if margin else f"{game.home} PK"


_LINE_SOURCES: Final = {"feed": "NBA's odds feed", "file": "file of lines"}


def _line_without_game(event: _WithoutGame) -> str:
    match event:
        case events.Fault():
            again = f" (failure {event.failures} in a row)" if event.failures > 1 else ""
            return f"{event.source}: {event.reason}{again}"
        case events.Recovered():
            return f"{event.source}: answers again"
        case events.ModelLimits() | events.RatingsOutdated():
            return event.reason
        case events.LeadershipChanged():
            return leadership_line(event.status)


def leadership_line(status: Leadership) -> str:
    """Describe the role of this poller, with the leader or the reason."""
    match status.role:
        case LeaderRole.LEADING:
            return "leads: this poller forecasts, others stand by"
        case LeaderRole.STANDBY:
            return f"stands by: {status.leader} leads"
        case LeaderRole.WAITING:
            return f"stands by: {status.reason or 'waiting for the lease'}"


def event_record(event: events.Event, now: datetime) -> dict[str, Any]:
    """Return an event as a JSON object, with forecasts in protobuf's JSON form."""
    record: dict[str, Any] = {"time": now.isoformat(timespec="milliseconds")}
    if isinstance(event, _WithoutGame):
        return record | _record_without_game(event)
    record["game"] = _game_record(event.game)
    match event:
        case events.GameChanged():
            return record | {"event": "game"}
        case events.ForecastMissed():
            return record | {
                "event": "missed",
                "horizon": Horizon.Name(event.horizon),
                "minutes": list(event.minutes),
                "reason": event.reason,
            }
        case events.Prediction():
            return record | {
                "event": "forecast",
                "pattern": list(event.pattern),
                "forecast": _message_record(event.forecast),
                "latencySeconds": event.latency,
            }
        case events.HorizonResult():
            return record | {
                "event": "outcome",
                "horizon": Horizon.Name(event.horizon),
                "differential": event.differential,
                "forecasts": len(event.forecasts),
                "held": event.covered,
                "meanAbsoluteError": _mean(event.errors),
                "persistenceMeanAbsoluteError": _mean(event.persistence_errors),
                "brier": _mean(event.brier),
                "leaderBrier": _mean(event.leader_brier),
                "newest": {"pattern": list(event.newest.pattern), "forecast": _message_record(event.newest.forecast)},
            }
        case events.OutcomeReported():
            return record | {
                "event": "reported",
                "horizon": Horizon.Name(event.horizon),
                "differential": event.differential,
                "outcome": _message_record(event.outcome),
                "settledForecasts": event.settled,
            }
        case events.GameSkipped() | events.LineTaken() | events.PricesTaken():
            return record | _record_of_notice(event)
        case events.HorizonClosed():
            return record | {"event": "closed", "horizon": Horizon.Name(event.horizon), "minute": event.minute}


def _record_of_notice(event: _Notice) -> dict[str, Any]:
    if isinstance(event, events.GameSkipped):
        return {"event": "skipped", "reason": event.reason}
    if isinstance(event, events.PricesTaken):
        of_game = (event.prices.lead, event.prices.total)
        return {"event": "prices", "prices": [_record_of_price(each) for each in of_game if each is not None]}
    if (line := event.line) is None:
        return {"event": "line", "line": None}
    of_line = {"pregameMargin": line.margin, "pregameTotal": line.total, "source": line.source}
    return {"event": "line", "line": {**of_line, "time": line.time.isoformat(timespec="seconds")}}


def _record_of_price(priced: PricedMarket) -> dict[str, Any]:
    time = None if priced.time is None else priced.time.isoformat(timespec="seconds")
    prices = {"first": priced.first, "second": priced.second}
    return {"kind": priced.kind, "line": priced.line, **prices, "time": time}


def _record_without_game(event: _WithoutGame) -> dict[str, Any]:
    match event:
        case events.Fault():
            return {
                "event": "fault",
                "source": event.source,
                "kind": event.kind,
                "reason": event.reason,
                "failures": event.failures,
            }
        case events.Recovered():
            return {"event": "recovered", "source": event.source}
        case events.ModelLimits():
            return {"event": "limits", "modelVersion": event.model_version, "reason": event.reason}
        case events.RatingsOutdated():
            return {"event": "ratings", "modelVersion": event.model_version, "reason": event.reason}
        case events.LeadershipChanged(status=status):
            return {"event": "leadership", "role": status.role, "leader": status.leader, "reason": status.reason}


def summary_record(summary: Summary, now: datetime) -> dict[str, Any]:
    """Return the evening's metrics as a JSON object."""
    return {
        "time": now.isoformat(timespec="milliseconds"),
        "event": "summary",
        "games": summary.games,
        "forecasts": summary.forecasts,
        "missed": summary.missed,
        "horizons": [_horizon_record(of) for of in summary.horizons],
        "latencySecondsP50": percentile(summary.latencies, 0.5) if summary.latencies else None,
        "latencySecondsP95": percentile(summary.latencies, 0.95) if summary.latencies else None,
    }


def summary_lines(summary: Summary) -> list[str]:
    """Return the evening's metrics: a line for the total and one for each horizon with outcomes."""
    parts = [pluralize(summary.games, "game"), pluralize(summary.forecasts, "forecast")]
    if summary.missed:
        parts.append(f"{summary.missed} missed")
    if summary.latencies:
        p50, p95 = percentile(summary.latencies, 0.5), percentile(summary.latencies, 0.95)
        parts.append(f"from the feed in {p50:.2f} s (p50), {p95:.2f} s (p95)")
    return [" · ".join(parts), *filter(None, map(horizon_line, summary.horizons))]


def horizon_line(of: HorizonSummary) -> str:
    """Format a horizon's metrics: coverage, and MAE (half) or Brier score (end); "" if nothing is settled."""
    if of.nominal is None:
        return ""
    held = f"{of.covered} of {pluralize(of.settled, 'interval')} at {percent(of.nominal)} held"
    if of.horizon == FINAL:
        error = f"Brier {of.brier:.3f} (leader {of.leader_brier:.3f})"
    else:
        error = f"MAE {of.error:.2f} (persistence {of.persistence_error:.2f})"
    return f"{horizon_label(of.horizon)}, {pluralize(of.settled_games, 'game')}: {held} · {error}"


def _horizon_record(of: HorizonSummary) -> dict[str, Any]:
    return {
        "horizon": Horizon.Name(of.horizon),
        "games": of.games,
        "forecasts": of.forecasts,
        "missed": of.missed,
        "settledGames": of.settled_games,
        "settledForecasts": of.settled,
        "held": of.covered,
        "nominalCoverage": of.nominal,
        "meanAbsoluteError": of.error,
        "persistenceMeanAbsoluteError": of.persistence_error,
        "brier": of.brier,
        "leaderBrier": of.leader_brier,
    }


def _game_record(game: GameState) -> dict[str, Any]:
    return {
        "gameId": game.game_id,
        "replay": is_replay(game.game_id),
        "homeTeam": game.home,
        "awayTeam": game.away,
        "status": game.status.name,
        "statusText": game.text,
        "period": game.period,
        "clockSeconds": game.clock,
        "homeScore": game.home_score,
        "awayScore": game.away_score,
    }


def _message_record(message: Message) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
