"""Prints scorecards and leaderboards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.model_comparison_pb2 import ScoreComparison
from dejavu.v1.scorecard_pb2 import CoverageFigure, Figure, MarketRecord, Scorecard, TotalScorecard
from dejavu_cli.output.forecast import REPLAYS_LEFT_OUT
from dejavu_cli.output.responsive_table import Column, ResponsiveTable, figure_rows
from dejavu_client.aio import AsyncDejavuClient
from dejavu_client.formatting import horizon_label, percent, pluralize, signed
from dejavu_client.requests import FINAL, HALFTIME
from dejavu_common.rich_console import Console, titled_panel

Record = Mapping[Horizon.ValueType, Scorecard]

FEW_GAMES: Final = 100
"""Scorecards with fewer games carry a warning and no verdict; equals a leaderboard's default minimum."""

_METRIC_NAMES: Final = {
    pb.LeaderboardMetric.LEADERBOARD_METRIC_CRPS: "CRPS",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_MAE: "mean absolute error",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_BRIER: "Brier score",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_MAE_DIFFERENCE: "mean absolute error minus that of persistence",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_COVERAGE_GAP: "distance of coverage from 95 %",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_ACCURACY: "accuracy",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_ROC_AUC: "ROC AUC",
    pb.LeaderboardMetric.LEADERBOARD_METRIC_ROI: "return on stakes",
}
_HIGHER_IS_BETTER: Final = {"accuracy", "ROC AUC", "return on stakes"}


def print_scorecard(scorecard: Scorecard, scope: pb.ScoreFilter) -> None:
    """Print a scorecard: each metric with its interval, next to that of persistence."""
    console = Console()
    if not scorecard.games:
        console.print(f"No settled forecasts: {_scope(scope)}.{_without_replays(scope)}", highlight=False)
        for count, why in _left_out(scorecard):
            console.print(f"{count} left out: {why}.", highlight=False)
        for count, why in _doubts(scorecard):
            console.print(f"{count} {why}.", highlight=False)
        return
    parts: list[RenderableType] = [_figures(scorecard)]
    if scorecard.HasField("total"):
        parts += ["", _total(scorecard.total)]
    if scorecard.HasField("market"):
        parts += ["", _market(scorecard.market)]
    if scorecard.games < FEW_GAMES:
        few = "one game" if scorecard.games == 1 else f"{scorecard.games} games"
        parts += ["", Text(f"Only {few}: too few to judge.", style="yellow")]
    console.print(titled_panel(Group(*parts), f"scorecard · {_scope(scope)}"))


def print_leaderboard(board: pb.GetLeaderboardResponse, scope: pb.ScoreFilter) -> None:
    """Print a leaderboard: the model versions ranked by a metric, with their other metrics."""
    console = Console()
    metric = _METRIC_NAMES.get(board.metric, "value")
    better = "higher" if metric in _HIGHER_IS_BETTER else "lower"
    about = (
        f"{_scope(scope)}; by {metric}, {better} is better; versions with {pluralize(board.min_games, 'game')} or more"
    )
    if not board.rows:
        console.print(f"No model version has enough games: {about}.{_without_replays(scope)}", highlight=False)
    else:
        columns = [replace(each, header=metric) if each.header == _RANKED_BY else each for each in _LEADERS]
        console.print(ResponsiveTable(columns, board.rows))
        console.print(Text(about, style="dim"))
        for row in board.rows:
            for games, why in _doubts(row.scorecard):
                console.print(Text(f"beware  {row.model_version}: {games} {why}", style="yellow"))
    if board.shadows:
        console.print()
        console.print(ResponsiveTable(_SHADOWS, board.shadows))
        beside = "staged models beside the champion, {}, on the same games and minutes; differences below 0 are better"
        console.print(Text(beside.format(board.shadows[0].against_version), style="dim"))


def _without_replays(scope: pb.ScoreFilter) -> str:
    return "" if scope.include_replays or scope.game_id else f" {REPLAYS_LEFT_OUT}"


def _figure_table(title: str) -> Table:
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    rows.add_column(title, style="dim")
    rows.add_column("", justify="right", no_wrap=True)
    rows.add_column("95 % interval", no_wrap=True)
    rows.add_column("", style="dim")
    return rows


def _figures(scorecard: Scorecard) -> Table:
    rows = _figure_table("")
    rows.add_row("games", f"{scorecard.games:,}", "", pluralize(scorecard.forecasts, "forecast"))
    _add_figures(
        rows,
        scorecard,
        ("mean absolute error", "mae", 2, "points"),
        ("of persistence", "persistence_mae", 2, "points"),
        ("difference", "mae_difference", 2, "persistence"),
        ("CRPS", "crps", 2, "points"),
        ("Brier score", "brier", 3, "a coin flip has 0.25"),
        ("of the leader", "leader_brier", 3, "if the team ahead were certain to lead"),
        ("difference", "brier_difference", 3, "the leader"),
        ("accuracy", "accuracy", 3, "the likelier side led"),
        ("of the leader", "leader_accuracy", 3, "the team ahead led; a tie is half"),
        ("ROC AUC", "roc_auc", 3, "of P(home ahead)"),
        ("of the lead", "persistence_roc_auc", 3, "if the last known lead ranked the games"),
    )
    rows.add_row("calibration error", f"{scorecard.ece:.3f}", "", "of P(home ahead)")
    _add_coverage(rows, scorecard.coverage)
    for count, why in _left_out(scorecard):
        rows.add_row("left out", count, "", why)
    for count, why in _doubts(scorecard):
        rows.add_row(Text("beware", style="yellow"), count, "", why)
    return rows


def _add_figures(rows: Table, card: Scorecard | TotalScorecard, *figures: tuple[str, str, int, str]) -> None:
    """Add figures of a scorecard: each by name, field, decimal places, and a note or, of a difference, the rival."""
    for name, field, digits, note in figures:
        if card.HasField(field):  # type: ignore[arg-type]
            figure, sign = getattr(card, field), name == "difference"
            value = signed(figure.value, digits) if sign else f"{figure.value:.{digits}f}"
            said = verdict(figure, card.games, note) if sign else note
            rows.add_row(name, value, between(figure, digits, sign=sign), said)


def _left_out(scorecard: Scorecard) -> Iterator[tuple[str, str]]:
    """Yield the numbers of forecasts that do not count, with reasons."""
    left_out = scorecard.left_out
    for count, why in (
        (left_out.superseded, "replaced by a correction"),
        (left_out.later_second, "recorded when a later second was known"),
        (left_out.clock, "recorded when the game was more than a minute and a half further"),
        (left_out.others, "recorded by callers who do not own the game"),
        (left_out.late_time, "recorded long after their minute"),
        (left_out.reported, "made after a report that was withdrawn"),
        (left_out.game_date, "made after the day of their game"),
        (left_out.observed, "made after their outcome was observed"),
        (left_out.withdrawn, "of games whose outcome was withdrawn"),
        (left_out.sides, "with home and away exchanged"),
        (left_out.late_markets, "markets quoted after the outcome was observed"),
        (scorecard.revised_late, "moments revised after a later play had been seen, which stay as they were"),
    ):
        if count:
            yield f"{count:,}", why


def _doubts(scorecard: Scorecard) -> Iterator[tuple[str, str]]:
    """Yield the numbers of games that need a reader's attention, with reasons."""
    for games, why in (
        (scorecard.withdrawn_games, "withdrawn: the outcome was taken back"),
        (scorecard.corrected_games, "corrected: the outcome was another one before"),
        (scorecard.unsettled_games, "unsettled: the outcome was never reported"),
        (scorecard.unsettled_totals, "without a total: its points were never reported"),
        (scorecard.doubtful_games, "doubtful: the id, teams, times or leads may be wrong"),
    ):
        if games:
            yield pluralize(games, "game"), why


def _add_coverage(rows: Table, coverage: Iterable[CoverageFigure]) -> None:
    for level in coverage:
        interval = f"{100 * level.lower:.1f} to {percent(level.upper)}"
        widths = f"{level.mean_width:.1f} points wide, {pluralize(level.games, 'game')}"
        rows.add_row(f"{percent(1 - level.alpha)} intervals held", percent(level.coverage), interval, widths)


def _total(total: TotalScorecard) -> Table:
    """Return the figures of total points, next to those of pace × time."""
    rows = _figure_table("total points")
    rows.add_row("games", f"{total.games:,}", "", pluralize(total.forecasts, "forecast"))
    _add_figures(
        rows,
        total,
        ("mean absolute error", "mae", 2, "points"),
        ("of pace × time", "pace_mae", 2, "points"),
        ("difference", "mae_difference", 2, "pace × time"),
    )
    if total.HasField("relative_difference"):
        share = total.relative_difference
        rows.add_row("relative difference", _signed_percent(share.value), _percent_ends(share), "of its error")
    _add_figures(rows, total, ("CRPS", "crps", 2, "points"))
    _add_coverage(rows, total.coverage)
    return rows


def _market(market: MarketRecord) -> Table:
    rows = figure_rows()
    rows.add_row("bets", f"{market.bets:,}", f"of {pluralize(market.markets, 'market')} quoted")
    if not market.bets:
        _add_brier_scores(rows, market)
        rows.add_row("the model", "", f"is {market.notice}")
        return rows
    rows.add_row("won, lost, pushed", f"{market.won:,} · {market.lost:,} · {market.pushed:,}", "")
    rows.add_row("staked", percent(market.staked), "of the bankroll, in total")
    rows.add_row("profit", _signed_percent(market.profit), "of the bankroll")
    if market.capped:
        rows.add_row("capped", f"{market.capped:,}", "stakes that the caps of a game and an evening cut, or left out")
    rows.add_row("expected profit", _signed_percent(market.expected_profit), "by the forecasts, when they were made")
    if market.HasField("roi"):
        rows.add_row("return on stakes", _signed_percent(market.roi), _return_verdict(market))
    if market.HasField("closing_line_value"):
        value, of = market.closing_line_value, f"{market.closing_line_bets:,} of the bets at the market's next price"
        interval = _percent_ends(value)
        rows.add_row("closing-line value", _signed_percent(value.value), f"{interval}; {of}" if interval else of)
    else:
        followed = f"{market.closing_line_bets:,} of {market.bets:,} bets are followed by a recorded price"
        rows.add_row("closing-line value", "–", f"{followed}; 90 % needed")
    rows.add_row("bankroll", _signed_percent(market.total_return), "compounded over the games")
    if market.HasField("sharpe"):
        rows.add_row("Sharpe ratio", signed(market.sharpe, 2), "per game")
    rows.add_row("max. drawdown", percent(market.max_drawdown), "from a peak of the bankroll")
    _add_brier_scores(rows, market)
    rows.add_row("the model", "", f"is {market.notice}")
    return rows


_FEW_IMPLAUSIBLE: Final = 0.05
"""Share of implausible markets above which prices are probably wrong, and show nothing about the model."""


def _add_brier_scores(rows: Table, market: MarketRecord) -> None:
    """Add the Brier scores of the model and of the market on the same markets."""
    if not market.HasField("brier_difference"):
        return
    of = f"of {pluralize(market.scored_markets, 'market')}, with or without a bet"
    rows.add_row("Brier score", f"{market.model_brier.value:.4f}", of)
    rows.add_row("of the market", f"{market.market_brier.value:.4f}", "both prices without the bookmaker's margin")
    difference = market.brier_difference
    judged = verdict(difference, market.scored_games, "the market")
    if market.implausible_markets > _FEW_IMPLAUSIBLE * market.scored_markets:
        judged = f"{market.implausible_markets:,} markets are implausible: check signs of lines and order of prices"
    told = "; ".join(filter(None, (between(difference, 4, sign=True), judged)))
    rows.add_row("difference", signed(difference.value, 4), told)
    if market.HasField("rms_difference"):
        apart = f"{100 * market.rms_difference.value:.1f} percentage points"
        rows.add_row("distance", apart, f"root mean square, of {pluralize(market.scored_games, 'game')}")


def _percent_ends(figure: Figure) -> str:
    """Format the interval of a share; "" if it has none."""
    ends = (figure.lower, figure.upper) if figure.HasField("lower") and figure.HasField("upper") else ()
    return " to ".join(map(_signed_percent, ends))


def _return_verdict(market: MarketRecord) -> str:
    """Return the 95 % interval of the return on stakes, and whether it shows a profit or a loss."""
    if not (market.HasField("roi_lower") and market.HasField("roi_upper")):
        return "too few bets for an interval"
    verdict = "no significant profit"
    if market.roi_upper < 0.0 or market.roi_lower > 0.0:
        verdict = "a loss" if market.roi_upper < 0.0 else "a profit"
        verdict = f"of only {pluralize(market.games, 'game')}" if market.games < FEW_GAMES else verdict
    interval = f"{_signed_percent(market.roi_lower)} to {_signed_percent(market.roi_upper)}"
    return f"{interval}: {verdict}"


_RANKED_BY: Final = "metric"
"""Placeholder for the header of a leaderboard's ranking metric, until the metric's name is known."""
_LEADERS: Final[Sequence[Column[pb.LeaderboardRow]]] = (
    Column("", "right", 9, lambda row: f"{row.rank}"),
    Column("model", "left", 9, lambda row: row.model_version),
    Column(_RANKED_BY, "right", 9, lambda row: f"{row.value:.3f}".replace("-", "−"), "bold"),
    Column("games", "right", 8, lambda row: f"{row.scorecard.games:,}"),
    Column("MAE", "right", 7, lambda row: f"{row.scorecard.mae.value:.2f}"),
    Column("persistence", "right", 6, lambda row: f"{row.scorecard.persistence_mae.value:.2f}"),
    Column("difference", "left", 4, lambda row: _difference(row.scorecard.mae_difference)),
    Column("95 % held", "right", 5, lambda row: _held(row.scorecard)),
    Column("CRPS", "right", 3, lambda row: _crps(row.scorecard)),
    Column("Brier", "right", 2, lambda row: f"{row.scorecard.brier.value:.3f}"),
    Column("accuracy", "right", 1, lambda row: f"{row.scorecard.accuracy.value:.3f}"),
)


_SHADOWS: Final[Sequence[Column[pb.ShadowRow]]] = (
    Column("", "right", 9, lambda row: f"{row.rank}"),
    Column("in the shadow", "left", 9, lambda row: row.model_version),
    Column("games", "right", 8, lambda row: f"{row.games:,}"),
    Column("CRPS", "right", 6, lambda row: f"{row.crps.score:.3f}"),
    Column("champion's", "right", 3, lambda row: f"{row.crps.against_score:.3f}"),
    Column("CRPS difference", "left", 7, lambda row: _difference(row.crps.difference, 3)),
    Column("Brier", "right", 4, lambda row: f"{row.brier.score:.4f}"),
    Column("champion's Brier", "right", 2, lambda row: f"{row.brier.against_score:.4f}"),
    Column("Brier difference", "left", 5, lambda row: _difference(row.brier.difference, 4)),
)


def _difference(difference: Figure, digits: int = 2) -> str:
    interval = between(difference, digits, sign=True)
    return signed(difference.value, digits) + (f" ({interval})" if interval else "")


def _held(scorecard: Scorecard) -> str:
    """Return the share of the 95 % intervals that contained the outcome; "" if there are none."""
    return next((percent(each.coverage) for each in scorecard.coverage if abs(each.alpha - 0.05) < 1e-9), "")


def _crps(scorecard: Scorecard) -> str:
    return f"{scorecard.crps.value:.2f}" if scorecard.HasField("crps") else ""


def between(figure: Figure | ScoreComparison, digits: int, *, sign: bool) -> str:
    """Format the interval of a figure; "" if it has none."""
    if not (figure.HasField("lower") and figure.HasField("upper")):
        return ""
    ends = (figure.lower, figure.upper)
    low, high = (signed(end, digits) if sign else f"{end:.{digits}f}" for end in ends)
    return f"{low} to {high}"


def verdict(difference: Figure, games: int, rival: str) -> str:
    """Describe whether a difference from a rival is significant; without an interval, that is unknown."""
    if not (difference.HasField("lower") and difference.HasField("upper")):
        return "too few games to judge"
    if difference.lower <= 0 <= difference.upper:
        return "no significant difference"
    if games < FEW_GAMES:
        return "too few games to judge"
    return f"{'better' if difference.upper < 0 else 'worse'} than {rival}"


def _signed_percent(share: float) -> str:
    text = percent(abs(share))
    return text if text == "0 %" else ("−" if share < 0 else "+") + text


def _scope(scope: pb.ScoreFilter) -> str:
    parts = [f"the {horizon_label(scope.horizon)}"]
    parts += [f"model {scope.model_version}"] if scope.model_version else []
    parts += [f"recorded by {scope.recorded_by}"] if scope.recorded_by else []
    parts += [f"games of {scope.team}"] if scope.team else []
    parts += [f"game {scope.game_id}"] if scope.game_id else []
    parts += _range("", scope.from_date, scope.to_date)
    first, last = (f"{getattr(scope, field)}" * scope.HasField(field) for field in ("min_minutes", "max_minutes"))
    parts += _range("minute ", first, last)
    parts += ["complete minutes"] if scope.complete_minutes else []
    parts += [f"confidence {percent(scope.min_confidence)} or more"] if scope.HasField("min_confidence") else []
    parts += [f"markets {100 * scope.min_difference:g} points or more apart"] if scope.min_difference else []
    parts += ["including replays"] if scope.include_replays else []
    return ", ".join(parts)


def _range(unit: str, first: str, last: str) -> list[str]:
    """Describe the bounds of a filter; `first` and `last` are "" if not set."""
    if first == last:
        return [f"{unit}{first}"] if first else []
    return [f"{word} {unit}{bound}" for word, bound in (("from", first), ("to", last)) if bound]


async def fetch_scorecards(client: AsyncDejavuClient) -> Record:
    """Fetch the scorecard of each horizon over all forecasts recorded by the server, including those of replays.

    Raises:
        DejavuClientError: if a call fails.
    """
    return {horizon: await client.get_scorecard(horizon=horizon, include_replays=True) for horizon in (HALFTIME, FINAL)}
