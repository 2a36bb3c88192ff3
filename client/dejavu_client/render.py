"""Messages for people (rich) and for programs (JSON)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, Explanation, Forecast, Horizon
from dejavu.v1.model_service_pb2 import Model
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu_client.numerals import chance, percent

SIMILAR_GAMES_SHOWN = 10


def print_json(message: Message) -> None:
    """One line of JSON, as protobuf writes it, default values included: every line has every field, in one order."""
    text = MessageToJson(
        message, indent=None, ensure_ascii=False, sort_keys=True, always_print_fields_with_no_presence=True
    )
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def print_forecast(forecast: Forecast, *, last: float | None = None) -> None:
    """A forecast in full; `last` is the differential that it starts from, in points."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    if last is not None:
        rows.add_row(f"after {forecast.elapsed_minutes} minutes", _lead(last, forecast))
    rows.add_row(f"at the {moment(forecast.horizon)}", Text(_lead(forecast.point_forecast, forecast), style="bold"))
    rows.add_row(
        f"{percent(forecast.coverage_probability)} interval",
        f"{forecast.interval_lower:+.1f} to {forecast.interval_upper:+.1f}  (home − away, points)",
    )
    rows.add_row(f"{forecast.home_team or 'home'} leads then", chance(forecast.home_lead_probability))
    if forecast.HasField("explanation"):
        _add_parts(rows, forecast.explanation)
    rows.add_row("model", forecast.model_version)
    if forecast.sequence:
        revision = f", revision {forecast.revision}" if forecast.revision else ""
        rows.add_row("recorded as", f"{forecast.sequence}{revision}")
    else:
        rows.add_row("recorded", "no: a what-if")
    console = Console()
    console.print(Panel(rows, title=_name(forecast), title_align="left", expand=False))
    if forecast.explanation.similar_games:
        console.print(_similar_games(forecast))


def print_event(event: StreamPredictionsResponse) -> None:
    """One line for one event of a stream."""
    if event.HasField("forecast"):
        forecast = event.forecast
        line = (
            f"{clock(forecast.generated_time)}  {_name(forecast)}  {moment(forecast.horizon)} "
            f"{forecast.point_forecast:+.1f}  {percent(forecast.coverage_probability)} "
            f"[{forecast.interval_lower:+.1f}, {forecast.interval_upper:+.1f}]  "
            f"home leads {chance(forecast.home_lead_probability)}  #{forecast.sequence}"
        )
        if forecast.revision:
            line += f" revision {forecast.revision}"
    else:
        line = f"{clock(event.heartbeat.sent_time)}  heartbeat  {event.resume_token}"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def print_model(model: Model) -> None:
    """What a model is, can do, and did when it was measured."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    for support in model.horizons:
        slots = f"{support.min_slots}"
        if support.max_slots != support.min_slots:
            slots += f" to {support.max_slots}"
        rows.add_row("forecasts", f"the {moment(support.horizon)}, from {slots} minutes")
    rows.add_row("smallest alpha", f"{model.smallest_alpha:.2g}")
    rows.add_row("trained on", f"{model.train_games:,} games of {_seasons(model.train_seasons)}")
    rows.add_row("calibrated on", f"{model.calibration_games:,} games of {_seasons(model.calibration_seasons)}")
    rows.add_row("database", f"{model.database_entries:,} entries")
    if model.HasField("created_time"):
        rows.add_row("made", f"{model.created_time.ToDatetime(tzinfo=UTC):%Y-%m-%d %H:%M} UTC")
    for metric in model.metrics:
        bounds = f"  ({metric.lower:.3f} to {metric.upper:.3f})" if metric.HasField("lower") else ""
        rows.add_row(metric.name, f"{metric.value:.3f}{bounds}")
    title = f"{model.version}{' · active' if model.active else ''}"
    Console().print(Panel(rows, title=title, title_align="left", expand=False))


def moment(horizon: Horizon.ValueType) -> str:
    """A horizon in words."""
    return "end" if horizon == HORIZON_FINAL else "half"


def clock(time: Timestamp) -> str:
    """A moment of today, on the clock of the reader."""
    return f"{time.ToDatetime(tzinfo=UTC).astimezone():%H:%M:%S}"


def _name(forecast: Forecast) -> str:
    teams = f"{forecast.away_team or 'away'} @ {forecast.home_team or 'home'}"
    return f"{teams} · {forecast.game_id}" if forecast.game_id else teams


def _lead(differential: float, forecast: Forecast) -> str:
    """Who leads, by how much."""
    points = f"{abs(differential):.1f}".removesuffix(".0")
    if points == "0":
        return "level"
    leader = (forecast.home_team or "home") if differential > 0 else (forecast.away_team or "away")
    return f"{leader} by {points}"


def _add_parts(rows: Table, explanation: Explanation) -> None:
    """The predictions that a forecast was made of, and the one to compare it with."""
    parts = [
        ("Dejavu", explanation.dejavu_prediction, f"weight {explanation.dejavu_weight:g}"),
        ("LSTM", explanation.lstm_prediction, f"weight {explanation.lstm_weight:g}"),
        ("persistence", explanation.baseline_prediction, "for comparison: the lead as it is"),
    ]
    for name, prediction, note in parts:
        rows.add_row(f"  {name}", Text.assemble(f"{prediction:+.1f}  ", (note, "dim")))


def _similar_games(forecast: Forecast) -> Table:
    games = forecast.explanation.similar_games
    shown = games[:SIMILAR_GAMES_SHOWN]
    table = Table(
        title="the most similar games of the past, and the lead if the score moves as it did then",
        title_justify="left",
    )
    table.add_column("game")
    table.add_column(f"at the {moment(forecast.horizon)}", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("games", justify="right")
    for game in shown:
        table.add_row(game.label, f"{game.differential_at_horizon:+.1f}", f"{game.distance:.1f}", f"{game.games}")
    return table


def _seasons(years: Sequence[int]) -> str:
    """Seasons by the year in which they end: a range where they follow one another."""
    if not years:
        return "no season"
    ordered = sorted(years)
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"{ordered[0]}–{ordered[-1]}"
    return ", ".join(map(str, ordered))
