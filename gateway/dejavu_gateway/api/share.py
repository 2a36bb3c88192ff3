"""GET /share/game/{gameId}.svg and .png: a game as an image, for people who share a link."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from starlette.requests import Request
from starlette.responses import Response

from dejavu.v1.forecast_pb2 import HORIZON_FINAL
from dejavu.v1.game_service_pb2 import GameStatus
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu.v1.record_service_pb2 import GetPredictionRequest
from dejavu_client import AsyncDejavuClient
from dejavu_client.formatting import chance, clock, is_given_up, is_last, period_name, short_lead
from dejavu_client.similar_games import seen_before
from dejavu_common.clock import game_day, utc_now
from dejavu_feed.horizon import MAX_OVERTIMES
from dejavu_feed.pattern import OVERTIME_SECONDS, QUARTER_MINUTES, REGULATION_MINUTES
from dejavu_gateway.api.context import context_of, turn
from dejavu_gateway.api.games import game_history, is_of_teams, latest, lead, of_teams, time_of_play
from dejavu_gateway.http.answers import PNG, content_response
from dejavu_gateway.messages.decode import check_game_id, check_names
from dejavu_gateway.messages.errors import RequestRefused, invalid_field

WIDTH, HEIGHT = 1200, 630
"""Size in pixels that programs with previews of links expect."""

LEFT, RIGHT, TOP, BOTTOM = 172.0, 1140.0, 208.0, 560.0
"""The plot."""
EDGE: Final = 60.0
"""Room at the sides of the image."""

_OVERTIME: Final = OVERTIME_SECONDS // 60
LAST_MINUTE: Final = REGULATION_MINUTES + _OVERTIME * MAX_OVERTIMES
"""Minutes since tip-off at the end of the longest game."""

_MINUTE: Final = re.compile(r"[1-9][0-9]{0,2}(\.[0-9]{1,4})?")
SHOWN_BY_OTHERS: Final = {"cross-origin-resource-policy": "cross-origin"}
"""Header of an image that pages of other sites may show."""

_STEPS: Final = 24
"""Number of steps in which a band widens."""
_ENDED: Final = {
    GameStatus.GAME_STATUS_FINAL: "over, outcome not in the record yet",
    GameStatus.GAME_STATUS_POSTPONED: "postponed",
}
"""What is said of a game that the feed shows as one that does not go on."""
_BANDS: Final = ((0.95, "#cfe0f5"), (0.8, "#9dc3ec"), (0.5, "#5b9bdc"))
_INK, _QUIET, _BACKGROUND = "#14202e", "#5a6775", "#ffffff"

UNKNOWN_COLORS: Final = ("#1f5fa8", "#b0440a")
"""Colors of the home and the away team where one is not known: those of the page (tokens.css)."""

_TEAMS: Final = json.loads(Path(__file__).parents[1].joinpath("teams.json").read_text())
"""Table of colors on light and dark grounds, which the page has too."""


async def share_image(request: Request) -> Response:
    """Answer a request for the image of a game, at a time of play or at the newest one."""
    drawing = await share_drawing(request)
    return await content_response(request, drawing.encode(), "image/svg+xml", "no-cache", SHOWN_BY_OTHERS)


async def share_picture(request: Request) -> Response:
    """Answer a request for the same image as PNG."""
    context, drawing = context_of(request), await share_drawing(request)
    picture = context.pictures.kept(drawing)
    if picture is None:
        async with turn(request, context.products):
            picture = await context.pictures.make(drawing)
    return await content_response(request, picture, PNG, "no-cache", SHOWN_BY_OTHERS)


def is_minute(text: str) -> bool:
    """Return whether a text is a time of play, in minutes since tip-off."""
    return bool(_MINUTE.fullmatch(text)) and float(text) <= LAST_MINUTE


async def share_drawing(request: Request) -> str:
    """Return the image, SVG, that a request is for.

    Raises:
        RequestRefused: if there is none.
    """
    check_names(request.query_params, ("minute",))
    game_id, minute = check_game_id(str(request.path_params["gameId"])), request.query_params.get("minute")
    if minute is not None and not is_minute(minute):
        raise invalid_field("minute", f"{minute[:60]!r}; expected 1 to {LAST_MINUTE}")
    context = context_of(request)
    until = float(minute) if minute else LAST_MINUTE
    async with turn(request, context.reads):
        history = await game_history(context.client, game_id, explain=False)
        shown = prediction_at(history, until)
        if shown is None:
            at = f" up to minute {minute}" if minute else ""
            raise RequestRefused("NOT_RECORDED", f"no forecast of the end of game {game_id}{at} is recorded")
        seen = await _seen_before(context.client, history, shown, over=not minute and shown.HasField("outcome"))
    state = of_teams(context.feed.games.of(game_id), shown.forecast)
    ended = "" if state is None else _ENDED.get(state.status, "")
    return drawn(shown, None if minute else utc_now(), history, seen, ended=ended)


async def _seen_before(
    client: AsyncDejavuClient, history: list[RecordedPrediction], shown: RecordedPrediction, *, over: bool
) -> str:
    """Return a sentence on the past game most like the shown one, which lists are read without.

    It is empty once the game is over, and in overtime, for which past games are not compared.
    """
    # Forecasts of moments name no similar games.
    whole = prediction_at([each for each in history if not each.forecast.HasField("moment")], time_of_play(shown))
    if over or whole is None or time_of_play(shown) >= REGULATION_MINUTES:
        return ""
    asked = GetPredictionRequest(
        game_id=whole.forecast.game_id, horizon=HORIZON_FINAL, elapsed_minutes=whole.forecast.elapsed_minutes
    )
    return seen_before((await client.call(asked)).prediction.forecast)


def prediction_at(history: list[RecordedPrediction], minute: float) -> RecordedPrediction | None:
    """Return the current forecast of the final at a time of play, in minutes; None if there was none yet.

    A late forecast does not count, so it is returned only if there is no other.
    """
    final = [each for each in history if each.forecast.horizon == HORIZON_FINAL and not each.superseded]
    return latest(each for each in final if time_of_play(each) <= minute)


def drawn(
    prediction: RecordedPrediction,
    now: datetime | None = None,
    history: Sequence[RecordedPrediction] = (),
    seen: str = "",
    *,
    ended: str = "",
) -> str:
    """Return the image, SVG: the margin so far, the fan to the end, and the chance of the home team.

    Args:
        prediction: the forecast.
        now: current time if the forecast is shown as the newest of its game; None if it is shown as that of its time of
            play, regardless of later events.
        history: forecasts of the game, whose moments tell the margin between the minutes and after the last one.
        seen: a sentence on the past game most like this one, shown with the chance.
        ended: why the game does not go on, as the feed shows it; "" if it does.
    """
    forecast, course = prediction.forecast, _course(prediction, history)
    bands = [(*band(prediction, share), color) for share, color in _BANDS]
    shown = [0.0, *course.values(), *(end for low, high, _ in bands for end in (low, high))]
    if prediction.HasField("outcome"):
        shown.append(prediction.outcome.differential)
    lowest, highest = 10 * (min(shown) // 10), 10 * -(-max(shown) // 10)
    overtimes = _overtimes_by(prediction)
    horizon, last = _end(overtimes), _end(max(overtimes, prediction.outcome.overtimes))

    def x(minute: float) -> float:
        return LEFT + (RIGHT - LEFT) * minute / last

    def y(points: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (points - lowest) / max(10.0, highest - lowest)

    minute, margin = list(course.items())[-1]
    home, away = printable(forecast.home_team or "home"), printable(forecast.away_team or "away")
    headline, detail, tells_chance = _words(prediction, home, away, now, ended=ended)
    of_home, of_away = team_colors(home, away)
    when = _when(prediction)

    image = _Image(f"{away} at {home}, {when}: {headline}")
    image.text(EDGE, 80, ((away, of_away), (" @ ", _QUIET), (home, of_home)), 52, "start", 700)
    image.text(EDGE, 126, f"{when}: {short_lead(margin, home, away, 0)}", 28, "start")
    image.text(WIDTH - EDGE, 80, ((headline, _INK),), 52, "end", 700)
    image.text(WIDTH - EDGE, 126, detail, 28, "end")
    if tells_chance:
        middle = EDGE + (WIDTH - 2 * EDGE) * (1 - forecast.home_lead_probability)
        image.line(EDGE, 152, middle, 152, of_away, 10)
        image.line(middle, 152, WIDTH - EDGE, 152, of_home, 10)
        image.text(EDGE, 184, printable(seen), 20, "start")
    for points in _round_leads(lowest, highest):
        image.line(LEFT, y(points), x(last), y(points), "#e3e8ee")
        color = of_home if points > 0 else of_away if points < 0 else _QUIET
        image.text(LEFT - 12, y(points) + 8, ((short_lead(points, home, away, 0), color),), 22, "end")
    for name, begin, end in _periods(last):
        image.line(x(end), TOP, x(end), BOTTOM, "#e3e8ee")
        image.text(x((begin + end) / 2), BOTTOM + 32, name, 22)
    image.line(x(0), y(0), x(last), y(0), "#9aa5b1")
    start = (x(minute), y(margin))
    for low, high, color in bands:
        spread = list(_widening(minute, margin, horizon, forecast.point_forecast, low, high))
        upper = [(x(at), y(top)) for at, _, top in spread]
        lower = [(x(at), y(bottom)) for at, bottom, _ in reversed(spread)]
        image.add("polygon", points=_points(*upper, *lower), fill=color)
    image.line(*start, x(horizon), y(forecast.point_forecast), _INK, 3)
    line = _points(*((x(minute), y(points)) for minute, points in course.items()))
    image.add("polyline", points=line, fill="none", stroke=_INK, stroke_width=5, stroke_linejoin="round")
    image.add("circle", cx=start[0], cy=start[1], r=8, fill=_INK)
    if prediction.HasField("outcome"):
        actual = y(prediction.outcome.differential)
        image.add("circle", cx=x(last), cy=actual, r=10, fill=_BACKGROUND, stroke=_INK, stroke_width=4)
    day = forecast.game_date or game_day(forecast.generated_time.ToDatetime(UTC)).isoformat()
    image.text(WIDTH - EDGE, HEIGHT - 14, f"Dejavu · {printable(day)}", 20, "end")
    return image.svg()


def _course(prediction: RecordedPrediction, history: Sequence[RecordedPrediction]) -> dict[float, float]:
    """Return the margins by minutes since tip-off, up to a forecast: of its pattern, and of moments between."""
    course = {float(minute): points for minute, points in enumerate((0.0, *prediction.pattern))}
    now = time_of_play(prediction)
    moments = [
        each
        for each in history
        if not (each.superseded or each.forecast.late)
        and time_of_play(each) < now
        and is_of_teams(each.forecast, prediction.forecast)
    ]
    for each in (*moments, prediction):
        if each.forecast.HasField("moment"):
            course[time_of_play(each)] = lead(each)
    return dict(sorted(course.items()))


def _overtimes_by(prediction: RecordedPrediction) -> int:
    """Return the number of overtimes that a game has at the time of a forecast; a tie at the end of one goes on."""
    beyond = time_of_play(prediction) - REGULATION_MINUTES
    return 0 if beyond < 0 else 1 + int(beyond // _OVERTIME)


def _end(overtimes: int) -> int:
    return REGULATION_MINUTES + _OVERTIME * overtimes


def _periods(last: int) -> list[tuple[str, int, int]]:
    """Return the periods up to the end of a game: name, first and last minute."""
    ends = [*range(0, REGULATION_MINUTES + 1, QUARTER_MINUTES), *range(_end(1), last + 1, _OVERTIME)]
    return [(period_name(number), *each) for number, each in enumerate(pairwise(ends), start=1)]


def _when(prediction: RecordedPrediction) -> str:
    moment = prediction.forecast.moment
    if not prediction.forecast.HasField("moment"):
        return f"after {len(prediction.pattern)} minutes"
    return f"at {clock(moment.period, moment.seconds_left)}"


class _Image:
    """An SVG of the common size. It is built from elements, never from strings, so that no value can end an attribute.

    Args:
        label: description of the image, for people who cannot see it.
    """

    def __init__(self, label: str) -> None:
        size = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "width": str(WIDTH), "height": str(HEIGHT)}
        look = {"role": "img", "aria-label": label, "font-family": "system-ui, sans-serif"}
        self._root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **size, **look})
        self.add("rect", width=WIDTH, height=HEIGHT, fill=_BACKGROUND)

    def svg(self) -> str:
        """Return the image."""
        return tostring(self._root, "unicode")

    def add(self, tag: str, **attributes: str | float) -> Element:
        """Add an element, and return it; lengths are rounded."""
        shown = {
            name.replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value)
            for name, value in attributes.items()
        }
        return SubElement(self._root, tag, shown)

    def line(self, x1: float, y1: float, x2: float, y2: float, color: str, width: int = 2) -> None:
        """Add a line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=color, stroke_width=width)

    def text(
        self,
        x: float,
        y: float,
        text: str | Sequence[tuple[str, str]],
        size: int,
        anchor: str = "middle",
        weight: int = 400,
    ) -> None:
        """Add a text, quiet or of parts with their colors."""
        said = ((text, _QUIET),) if isinstance(text, str) else text
        element = self.add("text", x=x, y=y, font_size=size, text_anchor=anchor, font_weight=weight)
        element.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
        for part, color in said:
            SubElement(element, "tspan", {"fill": color}).text = part


def _round_leads(lowest: float, highest: float) -> list[int]:
    """Return the leads that the axis names: at most nine, round ones."""
    step = next(each for each in (5, 10, 20, 50, 100, 1000) if highest - lowest <= 8 * each or each == 1000)
    return [number * step for number in range(-(-int(lowest) // step), int(highest) // step + 1)]


def _widening(
    minute: float, margin: float, horizon: float, point: float, low: float, high: float
) -> Iterator[tuple[float, float, float]]:
    """Yield minutes and the ends of a band from now to the horizon; its spread is that of a random walk."""
    for number in range(_STEPS + 1):
        share = (number / _STEPS) ** 2
        middle, spread = margin + share * (point - margin), share**0.5
        yield minute + share * (horizon - minute), middle - spread * (point - low), middle + spread * (high - point)


def _points(*points: tuple[float, float]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def printable(text: str) -> str:
    """Return a text without characters that XML does not allow, or that change the direction of others."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _words(
    prediction: RecordedPrediction, home: str, away: str, now: datetime | None, *, ended: str
) -> tuple[str, str, bool]:
    """Return two texts, the probability of a win and the forecast of the final, and whether the first is that.

    For the newest forecast of a game that is over, say how the game ended, or that this was not reported; in the last
    minute and in overtime, without forecasts of moments, that there is none. For a late forecast, say that it does not
    count: it may have been made with hindsight.
    """
    forecast = prediction.forecast
    ends = (
        f"{short_lead(forecast.interval_lower, home, away, 0)} … {short_lead(forecast.interval_upper, home, away, 0)}"
    )
    covered = f"{100 * forecast.coverage_probability:.6g} %"
    said = f"end {short_lead(forecast.point_forecast, home, away)}, {covered} in {ends}"
    if now is not None and prediction.HasField("outcome"):
        overtimes = prediction.outcome.overtimes
        over = f"final/{overtimes if overtimes > 1 else ''}OT" if overtimes else "final"
        kind = "late forecast" if forecast.late else "forecast"
        return f"{over} {short_lead(prediction.outcome.differential, home, away, 0)}", f"{kind} of the {said}", False
    if now is not None and ended:  # a shot at the buzzer comes after the newest forecast
        return "no forecast", ended, False
    if now is not None and is_given_up(forecast, now):
        return "no forecast", "no outcome reported", False
    is_last_minute = is_last(forecast) and not forecast.HasField("moment")
    if now is not None and is_last_minute and forecast.expires_time.ToDatetime(tzinfo=UTC) <= now:
        return "no forecast", "last minute or overtime", False
    probability = forecast.home_lead_probability
    team, probability = (home, probability) if probability >= 0.5 else (away, 1 - probability)
    wins = f"{team} wins {chance(probability)}"
    if forecast.late:
        return "late, does not count", f"{wins}, {said}", False
    return wins, said, True


def band(prediction: RecordedPrediction, share: float) -> tuple[float, float]:
    """Return the ends of a central interval of the forecast, in points.

    They are interpolated from the recorded quantiles at 0.01, 0.03, … 0.99; without quantiles, and at the forecast's
    own coverage, they are the ends of its interval.
    """
    forecast = prediction.forecast
    if len(forecast.distribution) < 2 or abs(share - forecast.coverage_probability) < 1e-9:
        return forecast.interval_lower, forecast.interval_upper
    return _quantile(forecast.distribution, (1 - share) / 2), _quantile(forecast.distribution, (1 + share) / 2)


def _quantile(quantiles: Sequence[float], level: float) -> float:
    place = min(max((level - 0.01) / 0.02, 0.0), len(quantiles) - 1.0)
    index = min(int(place), len(quantiles) - 2)
    return float(quantiles[index] + (place - index) * (quantiles[index + 1] - quantiles[index]))


def team_colors(home: str, away: str) -> tuple[str, str]:
    """Return the colors of the home and the away team, distinguishable with every kind of color vision.

    Args:
        home: NBA code of the home team.
        away: that of the away team.
    """
    colors: dict[str, str] = _TEAMS["colors"]["light"]
    if home == away or home not in colors or away not in colors:
        return UNKNOWN_COLORS
    place = int(_TEAMS["away"]["light"][home][list(colors).index(away)])
    return colors[home].split()[0], [*colors[away].split(), *_TEAMS["neutral"]["light"].split()][place]
