"""GET /share/game/{gameId}.svg: a game as an image, for those who share a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import Response

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_client.formatting import chance, is_last, is_played_out, signed
from dejavu_common.clock import utc_now
from dejavu_gateway.api.context import context_of
from dejavu_gateway.api.games import game_history
from dejavu_gateway.api.parameters import check_game_id, check_names
from dejavu_gateway.http.answers import content_response
from dejavu_gateway.messages.errors import invalid_field, not_found

WIDTH, HEIGHT = 1200, 630
"""Size in pixels, as those who show links expect it."""

LEFT, RIGHT, TOP, BOTTOM = 90.0, 1110.0, 170.0, 560.0
"""The plot."""

MINUTES: Final = 48
_SHOWN_BY_OTHERS: Final = {"cross-origin-resource-policy": "cross-origin"}
_BANDS: Final = ((0.95, "#cfe0f5"), (0.8, "#9dc3ec"), (0.5, "#5b9bdc"))
_INK, _QUIET, _BACKGROUND = "#14202e", "#5a6775", "#ffffff"


async def share_image(request: Request) -> Response:
    """Answers a request for the image of a game, at a minute or at the newest one."""
    check_names(request.query_params, ("minute",))
    game_id, minute = check_game_id(str(request.path_params["gameId"])), request.query_params.get("minute")
    if minute is not None and not re.fullmatch("[1-9]|[1-3][0-9]|4[0-7]", minute):
        raise invalid_field("minute", f"{minute[:60]!r}; expected 1 to {MINUTES - 1}")
    history = await game_history(context_of(request).client, game_id, explain=False)
    shown = prediction_at(history, int(minute) if minute else MINUTES)
    if shown is None:
        at = f" up to minute {minute}" if minute else ""
        raise not_found(f"no forecast of the end of game {game_id}{at} is recorded")
    image = drawn(shown, None if minute else utc_now())
    return await content_response(request, image.encode(), "image/svg+xml", "no-cache", _SHOWN_BY_OTHERS)


def prediction_at(history: list[RecordedPrediction], minute: int) -> RecordedPrediction | None:
    """Returns the forecast of the end that stood after a minute of play; None if there was none yet.

    A late one does not count, so it is returned only if there is no other.
    """
    final = [each for each in history if each.forecast.horizon == HORIZON_FINAL and not each.superseded]
    until = [each for each in final if each.forecast.elapsed_minutes <= minute]
    until = [each for each in until if not each.forecast.late] or until
    return max(until, key=lambda each: (each.forecast.elapsed_minutes, each.forecast.sequence), default=None)


def drawn(prediction: RecordedPrediction, now: datetime | None = None) -> str:
    """Returns the image, SVG: the margin so far, the fan to the end, and the chance of the home team.

    Args:
        prediction: the forecast.
        now: current time if it is shown as the newest of its game; None for that of a moment, whatever came after it.
    """
    forecast, pattern = prediction.forecast, [0.0, *prediction.pattern]
    bands = [(*band(prediction, share), color) for share, color in _BANDS]
    reach = 5 * (
        1 + max(abs(value) for value in (*pattern, *(end for low, high, _ in bands for end in (low, high)))) // 5
    )

    def x(minute: float) -> float:
        return LEFT + (RIGHT - LEFT) * minute / MINUTES

    def y(points: float) -> float:
        return (TOP + BOTTOM) / 2 - (BOTTOM - TOP) / 2 * points / reach

    minutes, lead = len(pattern) - 1, pattern[-1]
    start = f"{x(minutes):.1f},{y(lead):.1f}"
    fans = [
        f'<polygon points="{start} {x(MINUTES):.1f},{y(high):.1f} {x(MINUTES):.1f},{y(low):.1f}" fill="{color}"/>'
        for low, high, color in bands
    ]
    course = " ".join(f"{x(minute):.1f},{y(points):.1f}" for minute, points in enumerate(pattern))
    marks = [_line(x(minute), TOP, x(minute), BOTTOM, "#e3e8ee") for minute in (12, 24, 36, 48)]
    marks += [
        _text(x(a + 6), BOTTOM + 32, f"Q{number}", 22) for number, (a, _) in enumerate(pairwise(range(0, 60, 12)), 1)
    ]
    home, away = escape(forecast.home_team or "home"), escape(forecast.away_team or "away")
    headline, detail = (escape(text) for text in _words(prediction, now))
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
    label = f'role="img" aria-label="{away} at {home}, after {minutes} minutes: {headline}"'
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {label} font-family="system-ui, sans-serif">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{_BACKGROUND}"/>',
            _text(LEFT, 80, f"{away} @ {home}", 52, _INK, "start", 700),
            _text(LEFT, 126, f"after {minutes} minutes: {home} {signed(lead, 0)}", 28, _QUIET, "start"),
            _text(RIGHT, 80, headline, 52, _INK, "end", 700),
            _text(RIGHT, 126, detail, 28, _QUIET, "end"),
            *marks,
            _line(LEFT, y(0), RIGHT, y(0), "#9aa5b1"),
            *fans,
            _line(x(minutes), y(lead), x(MINUTES), y(forecast.point_forecast), _INK, 3),
            f'<polyline points="{course}" fill="none" stroke="{_INK}" stroke-width="5" stroke-linejoin="round"/>',
            f'<circle cx="{x(minutes):.1f}" cy="{y(lead):.1f}" r="8" fill="{_INK}"/>',
            _outcome(prediction, x(MINUTES), y),
            "</svg>",
        ]
    )


def _words(prediction: RecordedPrediction, now: datetime | None) -> tuple[str, str]:
    """Says who wins with which chance, and what is forecast of the end.

    Of the newest forecast of a game that is over, how it ended; in the last minute and in overtime, that there is none.
    """
    forecast, home = prediction.forecast, prediction.forecast.home_team or "home"
    ends = f"{signed(forecast.interval_lower, 0)} … {signed(forecast.interval_upper, 0)}"
    said = f"end {signed(forecast.point_forecast)}, {100 * forecast.coverage_probability:.0f} % in {ends}"
    if now is not None and prediction.HasField("outcome"):
        overtimes = prediction.outcome.overtimes
        over = f"final/{overtimes if overtimes > 1 else ''}OT" if overtimes else "final"
        return f"{over} {home} {signed(prediction.outcome.differential, 0)}", f"forecast of the {said}"
    if now is not None and is_last(forecast) and forecast.expires_time.ToDatetime(tzinfo=UTC) <= now:
        return "no forecast", "last minute or overtime" if is_played_out(forecast, now) else "no outcome reported"
    return f"{home} wins {chance(forecast.home_lead_probability)}", said


def band(prediction: RecordedPrediction, share: float) -> tuple[float, float]:
    """Returns the ends of a central interval of the forecast, in points.

    From the recorded quantiles at 0.01, 0.03, … 0.99, interpolated; without them, and at the forecast's own coverage,
    its interval.
    """
    forecast = prediction.forecast
    if len(forecast.distribution) < 2 or abs(share - forecast.coverage_probability) < 1e-9:
        return forecast.interval_lower, forecast.interval_upper
    return _quantile(forecast.distribution, (1 - share) / 2), _quantile(forecast.distribution, (1 + share) / 2)


def _quantile(quantiles: Sequence[float], level: float) -> float:
    place = min(max((level - 0.01) / 0.02, 0.0), len(quantiles) - 1.0)
    index = min(int(place), len(quantiles) - 2)
    return float(quantiles[index] + (place - index) * (quantiles[index + 1] - quantiles[index]))


def _outcome(prediction: RecordedPrediction, x: float, y: Callable[[float], float]) -> str:
    if not prediction.HasField("outcome"):
        return ""
    actual = y(prediction.outcome.differential)
    return f'<circle cx="{x:.1f}" cy="{actual:.1f}" r="10" fill="{_BACKGROUND}" stroke="{_INK}" stroke-width="4"/>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, width: int = 2) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="{width}"/>'


def _text(
    x: float, y: float, text: str, size: int, color: str = _QUIET, anchor: str = "middle", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{text}</text>'
    )
