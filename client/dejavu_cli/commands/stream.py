"""`dejavu stream`: prints forecasts and outcomes as they are recorded."""

from __future__ import annotations

import select
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Annotated, Final

import typer

from dejavu.v1.forecast_pb2 import Forecast
from dejavu.v1.prediction_service_pb2 import StreamPredictionsResponse
from dejavu.v1.record_pb2 import Outcome
from dejavu_cli.options import Json, flag, option
from dejavu_cli.output.forecast import lead, lead_with_sign, local_time, matchup, print_json, title
from dejavu_client import formatting as fmt
from dejavu_client.client import DejavuClient
from dejavu_client.connection_options import ConnectionOptions
from dejavu_client.requests import FINAL


def stream(
    server: ConnectionOptions,
    game: Annotated[list[str] | None, option("GAME_ID")] = None,
    token: Annotated[str, typer.Option()] = "",
    include_current: Annotated[bool, flag("--include-current")] = False,
    heartbeats: Annotated[bool, flag("--heartbeats")] = False,
    as_json: Json = False,
) -> None:
    """Stream forecasts as they are recorded, and outcomes as they are reported.

    Stop with Ctrl-C. Reconnects after a lost connection without missing events.

    Args:
        game: Game to follow; repeat for more games; all by default.
        token: Resume right after the event with this resume token.
        include_current: Start with the newest forecasts of the last 12 hours.
        heartbeats: Print heartbeats too; the first one confirms the subscription.
    """
    with DejavuClient(server.target, channels=1, **server.client_options()) as client:
        _on_stdout_closed(client.close)
        events = client.stream_predictions(
            game or (), resume_token=token, include_current=include_current, heartbeats=heartbeats
        )
        print_event = EventPrinter()
        for event in events:
            (print_json if as_json else print_event)(event)


def _on_stdout_closed(callback: Callable[[], object]) -> None:
    """Call `callback` once the reader of standard output has closed the pipe.

    A write would detect this too, but minutes may pass between two forecasts, and `dejavu stream | head -1` must not
    hang.
    """
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # stdout was replaced by something without a file descriptor
        return
    poll = select.poll()
    poll.register(output, 0)  # poll reports errors and hang-ups even with an empty event mask

    def watch() -> None:
        poll.poll()
        callback()

    threading.Thread(target=watch, name="dejavu-output-watch", daemon=True).start()


_CLOCK: Final = "%H:%M:%S"
_WIDE: Final = 100
"""Terminal width, in columns, from which lines include the id of the game and the position in the ledger."""
_UNLIMITED: Final = 1_000


class EventPrinter:
    """Prints each event on a line of its own, and each kind of warning once per game."""

    def __init__(self) -> None:
        self._warned = set[tuple[str, int]]()

    def __call__(self, event: StreamPredictionsResponse) -> None:
        """Print an event. Ignores event types that this client does not know."""
        # A file or a pipe has no width: it gets all columns.
        wide = shutil.get_terminal_size((_UNLIMITED, 24)).columns >= _WIDE
        match event.WhichOneof("event"):
            case "forecast":
                line = self._forecast(event.forecast, wide=wide)
            case "outcome":
                line = _outcome(event.outcome, wide=wide)
            case "heartbeat":
                line = f"{local_time(event.heartbeat.sent_time, _CLOCK)}  heartbeat  {event.resume_token}"
            case _:
                return
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def _forecast(self, forecast: Forecast, *, wide: bool) -> str:
        time, label = local_time(forecast.generated_time, _CLOCK), fmt.horizon_label(forecast.horizon)
        now = ""
        if forecast.HasField("moment"):
            now = f"now {lead(forecast.moment.differential, forecast)}  "
        elif forecast.HasField("explanation"):  # its baseline is the current lead
            now = f"now {lead(forecast.explanation.baseline_prediction, forecast)}  "
        notes = [f"revision {forecast.revision}"] if forecast.revision else []
        notes += ["late, does not count"] if forecast.late else []
        for warning in forecast.warnings:
            key = (forecast.game_id, warning.reason)
            if key not in self._warned:
                self._warned.add(key)
                notes.append(fmt.warning_label(warning.reason))
        lower, upper = forecast.interval_lower, forecast.interval_upper
        level = f" at {fmt.percent(forecast.coverage_probability)}" if wide else ""
        ahead = f"{forecast.home_team or 'home'} {fmt.outcome_verb(forecast.horizon)}"
        line = (
            f"{time}  {title(forecast) if wide else _game(forecast)}  {fmt.play_time(forecast, 'min')}  {now}"
            f"{label} {fmt.signed(forecast.point_forecast)} {fmt.outcome_range(lower, upper)}{level}  "
            f"{ahead} {fmt.chance(forecast.home_lead_probability)}{fmt.total_text(forecast)}"
        )
        if wide:
            return "  ".join((line, f"#{forecast.sequence}", *notes))
        return f"{line}\n{'':10}{', '.join(notes)}" if notes else line


def _outcome(outcome: Outcome, *, wide: bool) -> str:
    place = "final" if outcome.horizon == FINAL else "half"
    result = lead_with_sign(outcome.differential, outcome)
    if outcome.withdrawn:
        said = f"{place} withdrawn: {result} no longer counts"
    else:
        said = f"{place}: {result}{fmt.after_overtime(outcome)}{', corrected' if outcome.revision else ''}"
    line = f"{local_time(outcome.recorded_time, _CLOCK)}  {title(outcome) if wide else _game(outcome)}  {said}"
    if not wide:
        return line
    return f"{line}  #{outcome.sequence}{f' revision {outcome.revision}' if outcome.revision else ''}"


def _game(of: Forecast | Outcome) -> str:
    """Return the teams, or the id of the game if they are not named."""
    return matchup(of) if of.home_team or of.away_team else title(of)
