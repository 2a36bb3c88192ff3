"""Prints scorecards and leaderboards for people."""

from __future__ import annotations

from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dejavu.v1.record_service_pb2 import (
    CoverageFigure,
    Figure,
    GetLeaderboardResponse,
    LeaderboardMetric,
    LeaderboardRow,
    MarketRecord,
    Scorecard,
    ScoreFilter,
)
from dejavu_client.formatting import horizon_label, percent, pluralize, signed
from dejavu_client.output.responsive_table import Columns, listing

FEW_GAMES: Final = 100
"""Scorecards with fewer games carry a warning; equals a leaderboard's default minimum."""

_METRIC_NAMES: Final = {
    LeaderboardMetric.LEADERBOARD_METRIC_CRPS: "CRPS",
    LeaderboardMetric.LEADERBOARD_METRIC_MAE: "mean absolute error",
    LeaderboardMetric.LEADERBOARD_METRIC_BRIER: "Brier score",
    LeaderboardMetric.LEADERBOARD_METRIC_MAE_DIFFERENCE: "mean absolute error minus that of persistence",
    LeaderboardMetric.LEADERBOARD_METRIC_COVERAGE_GAP: "distance of coverage from 95 %",
}

_LEADERS: Final[Columns] = (
    ("", "right", 9),
    ("model", "left", 9),
    ("by", "right", 9),
    ("games", "right", 8),
    ("MAE", "right", 7),
    ("persistence", "right", 6),
    ("difference", "left", 4),
    ("95 % held", "right", 5),
    ("CRPS", "right", 3),
    ("Brier", "right", 2),
)


def print_scorecard(scorecard: Scorecard, scope: ScoreFilter) -> None:
    """Prints a scorecard: each metric with its interval, next to that of persistence."""
    console = Console()
    if not scorecard.games:
        console.print(f"No settled forecasts: {_scope(scope)}.", highlight=False)
        return
    parts: list[RenderableType] = [_figures(scorecard)]
    if scorecard.HasField("market"):
        parts += ["", _market(scorecard.market)]
    if scorecard.games < FEW_GAMES:
        few = "one game" if scorecard.games == 1 else f"{scorecard.games} games"
        parts += ["", Text(f"Only {few}: too few to judge.", style="yellow")]
    console.print(Panel(Group(*parts), title=f"scorecard · {_scope(scope)}", title_align="left", expand=False))


def print_leaderboard(board: GetLeaderboardResponse, scope: ScoreFilter) -> None:
    """Prints a leaderboard: the model versions ranked by a metric, with their other metrics."""
    console = Console()
    metric = _METRIC_NAMES.get(board.metric, "value")
    about = f"{_scope(scope)}; by {metric}, lower is better; versions with {pluralize(board.min_games, 'game')} or more"
    if not board.rows:
        console.print(f"No model version has enough games: {about}.", highlight=False)
        return
    console.print(listing(_LEADERS, [_leader(row) for row in board.rows]))
    console.print(Text(about, style="dim"))


def _figures(scorecard: Scorecard) -> Table:
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    rows.add_column("", style="dim")
    rows.add_column("", justify="right", no_wrap=True)
    rows.add_column("95 % interval", no_wrap=True)
    rows.add_column("", style="dim")
    rows.add_row("games", f"{scorecard.games:,}", "", pluralize(scorecard.forecasts, "forecast"))
    figures = [
        ("mean absolute error", "mae", 2, "points"),
        ("of persistence", "persistence_mae", 2, "points"),
        ("difference", "mae_difference", 2, _verdict(scorecard.mae_difference)),
        ("CRPS", "crps", 2, "points"),
        ("Brier score", "brier", 3, "a coin flip has 0.25"),
    ]
    for name, field, digits, note in figures:
        if scorecard.HasField(field):  # type: ignore[arg-type]
            rows.add_row(name, *_figure(getattr(scorecard, field), digits, sign=name == "difference"), note)
    rows.add_row("calibration error", f"{scorecard.ece:.3f}", "", "of P(home ahead)")
    for level in scorecard.coverage:
        between = f"{100 * level.lower:.1f} to {percent(level.upper)}"
        rows.add_row(f"{percent(1 - level.alpha)} intervals held", percent(level.coverage), between, _widths(level))
    return rows


def _market(market: MarketRecord) -> Table:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(style="dim")
    rows.add_row("bets", f"{market.bets:,}", f"of {pluralize(market.markets, 'market')} quoted")
    if not market.bets:
        return rows
    rows.add_row("staked", percent(market.staked), "of the bankroll, in total")
    rows.add_row("profit", _signed_percent(market.profit), "of the bankroll")
    if market.HasField("roi"):
        rows.add_row("return on stakes", _signed_percent(market.roi), "")
    rows.add_row("bankroll", _signed_percent(market.total_return), "compounded over the games")
    if market.HasField("sharpe"):
        rows.add_row("Sharpe ratio", signed(market.sharpe, 2), "per game")
    rows.add_row("max. drawdown", percent(market.max_drawdown), "from a peak of the bankroll")
    return rows


def _leader(row: LeaderboardRow) -> dict[str, Text]:
    card = row.scorecard
    cells = {
        "": Text(f"{row.rank}"),
        "model": Text(row.model_version),
        "by": Text(f"{row.value:.3f}".replace("-", "−"), style="bold"),
        "games": Text(f"{card.games:,}"),
        "MAE": Text(f"{card.mae.value:.2f}"),
        "persistence": Text(f"{card.persistence_mae.value:.2f}"),
        "difference": Text(f"{signed(card.mae_difference.value, 2)} {_in_brackets(card.mae_difference)}".strip()),
        "Brier": Text(f"{card.brier.value:.3f}"),
    }
    if card.HasField("crps"):
        cells["CRPS"] = Text(f"{card.crps.value:.2f}")
    levels = [each for each in card.coverage if abs(each.alpha - 0.05) < 1e-9]
    if levels:
        cells["95 % held"] = Text(percent(levels[0].coverage))
    return cells


def _figure(figure: Figure, digits: int, *, sign: bool) -> tuple[str, str]:
    value = signed(figure.value, digits) if sign else f"{figure.value:.{digits}f}"
    return value, _between(figure, digits, sign=sign)


def _between(figure: Figure, digits: int, *, sign: bool = False) -> str:
    if not (figure.HasField("lower") and figure.HasField("upper")):
        return ""
    ends = (figure.lower, figure.upper)
    # With few games the interval of an error can extend below 0, which is impossible for an error.
    low, high = (signed(end, digits) if sign else f"{max(end, 0.0):.{digits}f}" for end in ends)
    return f"{low} to {high}"


def _in_brackets(figure: Figure) -> str:
    between = _between(figure, 2, sign=True)
    return f"({between})" if between else ""


def _verdict(difference: Figure) -> str:
    """Returns the verdict on the difference to persistence."""
    if not (difference.HasField("lower") and difference.HasField("upper")):
        return "points"
    if difference.upper < 0:
        return "better than persistence"
    return "worse than persistence" if difference.lower > 0 else "no significant difference"


def _widths(level: CoverageFigure) -> str:
    return f"{level.mean_width:.1f} points wide, {pluralize(level.games, 'game')}"


def _signed_percent(share: float) -> str:
    text = percent(abs(share))
    return text if text == "0 %" else ("−" if share < 0 else "+") + text


def _scope(scope: ScoreFilter) -> str:
    """Describes a filter in words."""
    parts = [f"the {horizon_label(scope.horizon)}"]
    parts += [f"model {scope.model_version}"] if scope.model_version else []
    parts += [f"games of {scope.team}"] if scope.team else []
    parts += [f"game {scope.game_id}"] if scope.game_id else []
    parts += _range("", scope.from_date, scope.to_date)
    first, last = (f"{getattr(scope, field)}" * scope.HasField(field) for field in ("min_minutes", "max_minutes"))
    parts += _range("minute ", first, last)
    parts += [f"confidence {percent(scope.min_confidence)} or more"] if scope.HasField("min_confidence") else []
    parts += ["including replays"] if scope.include_replays else []
    return ", ".join(parts)


def _range(unit: str, first: str, last: str) -> list[str]:
    """Describes the bounds of a filter, each "" if it is not set."""
    if first == last:
        return [f"{unit}{first}"] if first else []
    return [f"{word} {unit}{bound}" for word, bound in (("from", first), ("to", last)) if bound]
