"""Prints scorecards and leaderboards for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from dejavu.v1.record_service_pb2 import (
    Figure,
    GetLeaderboardResponse,
    LeaderboardMetric,
    LeaderboardRow,
    MarketRecord,
    Scorecard,
    ScoreFilter,
)
from dejavu_client.formatting import horizon_label, percent, pluralize, signed
from dejavu_client.output.responsive_table import ListingColumn, listing

FEW_GAMES: Final = 100
"""Scorecards with fewer games carry a warning; equals a leaderboard's default minimum."""

_METRIC_NAMES: Final = {
    LeaderboardMetric.LEADERBOARD_METRIC_CRPS: "CRPS",
    LeaderboardMetric.LEADERBOARD_METRIC_MAE: "mean absolute error",
    LeaderboardMetric.LEADERBOARD_METRIC_BRIER: "Brier score",
    LeaderboardMetric.LEADERBOARD_METRIC_MAE_DIFFERENCE: "mean absolute error minus that of persistence",
    LeaderboardMetric.LEADERBOARD_METRIC_COVERAGE_GAP: "distance of coverage from 95 %",
}


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
    console.print(listing(_LEADERS, board.rows))
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
            figure, sign = getattr(scorecard, field), name == "difference"
            value = signed(figure.value, digits) if sign else f"{figure.value:.{digits}f}"
            rows.add_row(name, value, _between(figure, digits, sign=sign), note)
    rows.add_row("calibration error", f"{scorecard.ece:.3f}", "", "of P(home ahead)")
    for level in scorecard.coverage:
        between = f"{100 * level.lower:.1f} to {percent(level.upper)}"
        widths = f"{level.mean_width:.1f} points wide, {pluralize(level.games, 'game')}"
        rows.add_row(f"{percent(1 - level.alpha)} intervals held", percent(level.coverage), between, widths)
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


_LEADERS: Final[Sequence[ListingColumn[LeaderboardRow]]] = (
    ListingColumn("", "right", 9, lambda row: f"{row.rank}"),
    ListingColumn("model", "left", 9, lambda row: row.model_version),
    ListingColumn("by", "right", 9, lambda row: f"{row.value:.3f}".replace("-", "−"), "bold"),
    ListingColumn("games", "right", 8, lambda row: f"{row.scorecard.games:,}"),
    ListingColumn("MAE", "right", 7, lambda row: f"{row.scorecard.mae.value:.2f}"),
    ListingColumn("persistence", "right", 6, lambda row: f"{row.scorecard.persistence_mae.value:.2f}"),
    ListingColumn("difference", "left", 4, lambda row: _difference(row.scorecard.mae_difference)),
    ListingColumn("95 % held", "right", 5, lambda row: _held(row.scorecard)),
    ListingColumn("CRPS", "right", 3, lambda row: _crps(row.scorecard)),
    ListingColumn("Brier", "right", 2, lambda row: f"{row.scorecard.brier.value:.3f}"),
)


def _difference(difference: Figure) -> str:
    between = _between(difference, 2, sign=True)
    return signed(difference.value, 2) + (f" ({between})" if between else "")


def _held(scorecard: Scorecard) -> str:
    """Returns the share of the 95 % intervals that held; "" if there are none."""
    return next((percent(each.coverage) for each in scorecard.coverage if abs(each.alpha - 0.05) < 1e-9), "")


def _crps(scorecard: Scorecard) -> str:
    return f"{scorecard.crps.value:.2f}" if scorecard.HasField("crps") else ""


def _between(figure: Figure, digits: int, *, sign: bool) -> str:
    if not (figure.HasField("lower") and figure.HasField("upper")):
        return ""
    ends = (figure.lower, figure.upper)
    # With few games the interval of an error can extend below 0, which is impossible for an error.
    low, high = (signed(end, digits) if sign else f"{max(end, 0.0):.{digits}f}" for end in ends)
    return f"{low} to {high}"


def _verdict(difference: Figure) -> str:
    """Returns the verdict on the difference to persistence."""
    if not (difference.HasField("lower") and difference.HasField("upper")):
        return "points"
    if difference.upper < 0:
        return "better than persistence"
    return "worse than persistence" if difference.lower > 0 else "no significant difference"


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
