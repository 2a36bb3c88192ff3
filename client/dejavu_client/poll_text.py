"""What a poller tells: a line for people, a record for programs. Leads are home − away, in points."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from dejavu.v1.forecast_pb2 import Forecast
from dejavu_client.figures import percentile
from dejavu_client.numerals import chance, percent, signed
from dejavu_client.poll_events import Event, Fault, GameChanged, Missed, Outcome, Prediction
from dejavu_client.poll_state import Summary
from dejavu_feed.live import GameState, GameStatus
from dejavu_feed.names import is_replay


def interval(forecast: Forecast) -> str:
    """A forecast's interval."""
    return f"{signed(forecast.interval_lower)} … {signed(forecast.interval_upper)}"


LEGEND = "half, interval, outcome: home − away, in points · score: away–home"
"""What the lines and the table do not say of themselves."""


def teams(game: GameState) -> str:
    """Who plays whom: away @ home."""
    return f"{game.away} @ {game.home}"


def score(game: GameState) -> str:
    """The score, the away team's first as in `teams`; "" before tip-off."""
    return "" if game.status is GameStatus.SCHEDULED else f"{game.away_score}–{game.home_score}"


def event_line(event: Event) -> str:
    """One line that tells an event."""
    if isinstance(event, Fault):
        again = f" (failure {event.failures} in a row)" if event.failures > 1 else ""
        return f"{event.source}: {event.reason}{again}"
    about = f"{teams(event.game)}  {event.game.text}  {score(event.game)}".rstrip()
    match event:
        case GameChanged():
            return about
        case Missed():
            return f"{about}  not forecast: {event.reason}"
        case Prediction(forecast=forecast):
            revision = f", revision {forecast.revision}" if forecast.revision else ""
            return (
                f"{about}  {signed(event.pattern[-1], 0)} after {forecast.elapsed_minutes} minutes, "
                f"half {signed(forecast.point_forecast)} [{interval(forecast)}] "
                f"at {percent(forecast.coverage_probability)}, "
                f"{event.game.home} leads {chance(forecast.home_lead_probability)}{revision}"
            )
        case Outcome():
            return (
                f"{about}  half {signed(event.differential, 0)}, forecast {signed(event.forecast.point_forecast)}: "
                f"interval {'held' if event.held else 'missed'}, error {event.error:.1f}, "
                f"persistence {event.persistence_error}"
            )


def event_record(event: Event, now: datetime) -> dict[str, Any]:
    """An event as an object for JSON; the forecast as protobuf writes it."""
    record: dict[str, Any] = {"time": _iso(now)}
    if isinstance(event, Fault):
        return record | {
            "event": "fault",
            "source": event.source,
            "kind": event.kind,
            "reason": event.reason,
            "failures": event.failures,
        }
    record |= {"game": _game_record(event.game)}
    match event:
        case GameChanged():
            return record | {"event": "game"}
        case Missed():
            return record | {"event": "missed", "reason": event.reason}
        case Prediction():
            return record | {
                "event": "forecast",
                "pattern": list(event.pattern),
                "forecast": _forecast_record(event.forecast),
                "latencySeconds": event.latency,
            }
        case Outcome():
            return record | {
                "event": "outcome",
                "differential": event.differential,
                "held": event.held,
                "error": event.error,
                "persistenceError": event.persistence_error,
                "forecast": _forecast_record(event.forecast),
            }


def summary_record(summary: Summary, now: datetime) -> dict[str, Any]:
    """The evening's figures as an object for JSON."""
    return {
        "time": _iso(now),
        "event": "summary",
        "games": summary.games,
        "forecasts": summary.forecasts,
        "settled": summary.settled,
        "held": summary.held,
        "nominalCoverage": summary.nominal,
        "meanAbsoluteError": summary.error,
        "persistenceMeanAbsoluteError": summary.persistence_error,
        "latencySecondsP50": percentile(summary.latencies, 0.5) if summary.latencies else None,
        "latencySecondsP95": percentile(summary.latencies, 0.95) if summary.latencies else None,
    }


def summary_line(summary: Summary) -> str:
    """The evening's figures in one line."""
    parts = [_count(summary.games, "game"), _count(summary.forecasts, "forecast")]
    if summary.error is not None and summary.persistence_error is not None and summary.nominal is not None:
        parts += [
            f"{summary.held} of {_count(summary.settled, 'interval')} held (nominal {percent(summary.nominal)})",
            f"mean absolute error {summary.error:.2f} (persistence {summary.persistence_error:.2f})",
        ]
    if summary.latencies:
        p50, p95 = percentile(summary.latencies, 0.5), percentile(summary.latencies, 0.95)
        parts.append(f"feed to forecast {p50:.2f} s (p50), {p95:.2f} s (p95)")
    return " · ".join(parts)


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


def _forecast_record(forecast: Forecast) -> dict[str, Any]:
    return MessageToDict(forecast, always_print_fields_with_no_presence=True)


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"


def _iso(now: datetime) -> str:
    return now.isoformat(timespec="milliseconds")
