"""Renders a forecast's explanation for people: model predictions, attribution by minute, similar games."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import Attribution, ComponentPrediction, Explanation, Forecast, SimilarGame
from dejavu_client.formatting import horizon_label, pluralize, signed
from dejavu_client.output.responsive_table import titled_table

SIMILAR_GAMES_SHOWN = 10
MOST_BARS = 24
"""Maximum number of bars; if there are more minutes, consecutive minutes share a bar."""
_NAMES = {"dejavu": "Dejavu", "lstm": "LSTM"}
_BAR = 16
"""Maximum width of a bar to one side, in characters."""


def add_parts(rows: Table, explanation: Explanation) -> None:
    """Adds the predictions of the component models and of the baseline to rows of name and value."""
    parts = [
        *(
            (_NAMES.get(each.name, each.name), each.prediction, f"weight {each.weight:.2g}")
            for each in _components(explanation)
        ),
        ("linear", explanation.linear_prediction, "starting point of both: lead and expected margin"),
        ("persistence", explanation.baseline_prediction, "baseline: the current lead"),
    ]
    for name, prediction, note in parts:
        rows.add_row(f"  {name}", Text.assemble(f"{signed(prediction)}  ", (note, "dim")))
    if explanation.calibration_games:
        rows.add_row("  interval from", pluralize(explanation.calibration_games, "game") + " with a similar lead")


def _components(explanation: Explanation) -> Sequence[ComponentPrediction]:
    """Returns the component models; from the deprecated fields, if the server sends no others."""
    return explanation.components or [
        ComponentPrediction(name="dejavu", prediction=explanation.dejavu_prediction, weight=explanation.dejavu_weight),
        ComponentPrediction(name="lstm", prediction=explanation.lstm_prediction, weight=explanation.lstm_weight),
    ]


def similar_games(forecast: Forecast) -> Table:
    """Returns a table of the past games nearest to the pattern, with their change in lead up to the horizon."""
    horizon = horizon_label(forecast.horizon)
    title = f"most similar games: change in lead up to the {horizon}, and the lead it implies here"
    table = titled_table(title, "game", "change", "here", "distance", "games")
    for game in forecast.explanation.similar_games[:SIMILAR_GAMES_SHOWN]:
        table.add_row(
            game.label, _change(game), signed(game.differential_at_horizon), f"{game.distance:.1f}", f"{game.games}"
        )
    return table


def _change(game: SimilarGame) -> str:
    spread = f" ± {game.increment_spread:.1f}" if game.games > 1 else ""
    return f"{signed(game.increment)}{spread}"


def attribution(forecast: Forecast, pattern: Sequence[float]) -> Table:
    """Returns a table of each minute's contribution to the forecast, with bars. The terms sum to the point forecast.

    Args:
        forecast: a forecast with an explanation.
        pattern: its input, home − away by minute in points; shown as the lead at each minute.
    """
    terms = list(_terms(forecast.explanation.attribution, pattern))
    largest = max((abs(points) for _, _, points in terms), default=0.0)
    table = Table(title="contributions to the forecast, in points", title_justify="left")
    table.add_column("minute", justify="right")
    table.add_column("lead", justify="right")
    table.add_column("moved by", justify="right")
    table.add_column("")
    for name, lead, points in terms:
        table.add_row(name, lead, signed(points), bar(points, largest))
    table.add_section()
    table.add_row("forecast", "", Text(signed(forecast.point_forecast), style="bold"), "")
    return table


def _terms(terms: Attribution, pattern: Sequence[float]) -> Iterator[tuple[str, str, float]]:
    """Yields each term's name, the lead at its end, and its points."""
    yield "before tip-off", "", terms.before_tipoff
    minutes_per_bar = -(-len(terms.minutes) // MOST_BARS)
    for begin in range(0, len(terms.minutes), minutes_per_bar or 1):
        points = terms.minutes[begin : begin + minutes_per_bar]
        end = begin + len(points)
        name = f"{end}" if len(points) == 1 else f"{begin + 1}–{end}"
        lead = _points(pattern[end - 1]) if end <= len(pattern) else ""
        yield name, lead, sum(points)
    yield "similar games", "", terms.similar_games


def _points(lead: float) -> str:
    return signed(lead, 0 if lead == round(lead) else 1)


def bar(points: float, largest: float) -> str:
    """Draws a bar: to the left if it favors the away team, else to the right; `largest` has full length."""
    length = round(_BAR * abs(points) / largest) if largest else 0
    blocks = "█" * length
    return f"{blocks:>{_BAR}}│" if points < 0 else f"{'':{_BAR}}│{blocks}"
