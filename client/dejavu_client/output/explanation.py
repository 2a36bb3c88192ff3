"""What a forecast rests on, for people: the models beside one another, the minutes that moved it, the games like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from dejavu.v1.forecast_pb2 import Attribution, Explanation, Forecast, SimilarGame
from dejavu_client.formatting import horizon_label, pluralize, signed

SIMILAR_GAMES_SHOWN = 10
MOST_BARS = 24
"""Minutes that have a bar of their own; of more, neighbours share one."""
_BAR = 16
"""Width of a bar that goes to one side."""


def add_parts(rows: Table, explanation: Explanation) -> None:
    """Adds the predictions that a forecast was made of, and those to compare it with, to rows of name and value."""
    parts = [
        ("Dejavu", explanation.dejavu_prediction, f"weight {explanation.dejavu_weight:.2g}"),
        ("LSTM", explanation.lstm_prediction, f"weight {explanation.lstm_weight:.2g}"),
        ("linear", explanation.linear_prediction, "where both begin: the lead and the expected margin"),
        ("persistence", explanation.baseline_prediction, "for comparison: the lead as it is"),
    ]
    for name, prediction, note in parts:
        rows.add_row(f"  {name}", Text.assemble(f"{signed(prediction)}  ", (note, "dim")))
    if explanation.calibration_games:
        rows.add_row(
            "  interval from", pluralize(explanation.calibration_games, "game") + " with a lead about as large"
        )


def similar_games(forecast: Forecast) -> Table:
    """The past games nearest to the pattern, and what became of them."""
    horizon = horizon_label(forecast.horizon)
    title = f"the most similar games: how the lead changed to the {horizon}, and what that makes here"
    table = Table(title=title, title_justify="left")
    table.add_column("game")
    table.add_column("change", justify="right")
    table.add_column("here", justify="right")
    table.add_column("distance", justify="right")
    table.add_column("games", justify="right")
    for game in forecast.explanation.similar_games[:SIMILAR_GAMES_SHOWN]:
        table.add_row(
            game.label, _change(game), signed(game.differential_at_horizon), f"{game.distance:.1f}", f"{game.games}"
        )
    return table


def _change(game: SimilarGame) -> str:
    spread = f" ± {game.increment_spread:.1f}" if game.games > 1 else ""
    return f"{signed(game.increment)}{spread}"


def attribution(forecast: Forecast, pattern: Sequence[float]) -> Table:
    """Which minutes moved the forecast, as bars; the terms sum to the point forecast.

    Args:
        forecast: with its explanation.
        pattern: what it was made from; the lead stands beside each minute.
    """
    terms = list(_terms(forecast.explanation.attribution, pattern))
    largest = max((abs(points) for _, _, points in terms), default=0.0)
    table = Table(title="how the forecast came about, in points", title_justify="left")
    table.add_column("minute", justify="right")
    table.add_column("lead", justify="right")
    table.add_column("moved by", justify="right")
    table.add_column("")
    for name, lead, points in terms:
        table.add_row(name, lead, signed(points), bar(points, largest))
    table.add_section()
    table.add_row("forecast", "", Text(signed(forecast.point_forecast), style="bold"), "")
    return table


def _terms(found: Attribution, pattern: Sequence[float]) -> Iterator[tuple[str, str, float]]:
    """What is shown of each term: its name, the lead then, and the points."""
    yield "before tip-off", "", found.before_tipoff
    together = -(-len(found.minutes) // MOST_BARS)
    for begin in range(0, len(found.minutes), together or 1):
        points = found.minutes[begin : begin + together]
        end = begin + len(points)
        name = f"{end}" if len(points) == 1 else f"{begin + 1}–{end}"
        lead = _points(pattern[end - 1]) if end <= len(pattern) else ""
        yield name, lead, sum(points)
    yield "similar games", "", found.similar_games


def _points(lead: float) -> str:
    return signed(lead, 0 if lead == round(lead) else 1)


def bar(points: float, largest: float) -> str:
    """A bar, to the left for what speaks for the away team, else to the right; that of `largest` has full length."""
    length = round(_BAR * abs(points) / largest) if largest else 0
    blocks = "█" * length
    return f"{blocks:>{_BAR}}│" if points < 0 else f"{'':{_BAR}}│{blocks}"
