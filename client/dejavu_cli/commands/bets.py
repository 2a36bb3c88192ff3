"""`dejavu bets`: weigh the prices of an evening against the newest forecasts of its games."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, cast

import typer
from google.protobuf.json_format import MessageToDict
from rich.text import Text

from dejavu.v1.forecast_pb2 import MARGIN_SOURCE_RATINGS, MARGIN_SOURCE_UNSPECIFIED, Forecast, Horizon
from dejavu.v1.game_service_pb2 import Game
from dejavu.v1.market_pb2 import MarketAnswer
from dejavu.v1.record_pb2 import RecordedPrediction
from dejavu_cli import options as opt
from dejavu_cli.errors import failure
from dejavu_cli.output.market import ABOVE, amount, break_even, no_stake_reason
from dejavu_cli.output.responsive_table import ResponsiveTable, named_column
from dejavu_client.client import DejavuClient
from dejavu_client.errors import DejavuClientError, NotFoundError, UnavailableError
from dejavu_client.formatting import chance, elapsed_seconds, last_differential, price_text, seconds_text, signed
from dejavu_client.requests import PredictOptions, StakeOptions, market_of
from dejavu_common.clock import game_day, utc_now
from dejavu_common.rich_console import Console
from dejavu_feed import live_inputs
from dejavu_feed import moment as moments
from dejavu_feed.errors import DataError, FeedNotInstalled
from dejavu_feed.files.prices import PricedMarket, read_prices
from dejavu_feed.game_ids import is_replay
from dejavu_feed.pattern import elapsed_seconds as elapsed_by_clock

_APART: Final = timedelta(seconds=60)
"""Maximum time from a forecast to a price, and from it to now, while the game goes on."""

_LEAD_SECONDS: Final = 30.0
_TOTAL_SECONDS: Final = 10.0
"""Seconds of play, without points, after a forecast within which it is used: each takes points from a total."""

_BEFORE: Final = timedelta(seconds=10)
"""Maximum time from a price to its forecast, which may know of a basket that the price does not."""


def bets(
    call: opt.Call,
    file: Annotated[Path, opt.argument("FILE")],
    *,
    horizon: Annotated[opt.HorizonName, opt.choice()] = "final",
    bankroll: opt.Bankroll = None,
    evening_staked: opt.EveningStaked = None,
    staking: opt.StakingRules = None,
    replays: opt.Replays = False,
) -> None:
    """Weigh a file of prices at once, each with the newest forecast of its game.

    Stakes respect the caps of a game and of the evening over the whole file, in its order. The prices must be of the
    moment of the forecast: the first one of each kind of a forecast is recorded with it. So a
    forecast that was made more than a minute before the price (its time, or that of the file), or
    10 s after it, is not used, unless nothing was played since, as at the half; nor is one of
    another score than the published one, or of more than 30 s of play before it. A total is
    forecast after whole minutes only, and weighed within 10 s of play.

    Args:
        file: Table of prices, one row per market.
        horizon: Horizon of the bets: the half, or the end.
    """
    if bankroll is not None and not bankroll > 0:
        raise typer.BadParameter(f"{bankroll:g}; expected an amount above 0", param_hint="--bankroll")
    if not 0 <= (evening_staked or 0.0) <= (bankroll or 1.0):
        raise typer.BadParameter("expected 0 up to --bankroll; without it, a share of 1", param_hint="--evening-staked")
    try:
        priced = read_prices(file)
        written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (DataError, FeedNotInstalled) as error:
        raise failure(error) from None
    stakes: StakeOptions = {"bankroll": bankroll or 1.0, "staking": opt.staking_of(staking)}
    with call.connect() as client:
        evening = _Evening(client, opt.HORIZONS[horizon], written, stakes, evening_staked or 0.0, replays=replays)
        weighed = [evening.weighed(each) for each in priced]
    if not call.as_json:
        print_bets(weighed, bankroll or 1.0)
        return
    for one in weighed:
        typer.echo(json.dumps(_entry(one)))


class _Evening:
    """Weighs markets one after the other, by the published states of their games and the stakes so far."""

    def __init__(
        self,
        client: DejavuClient,
        horizon: Horizon.ValueType,
        written: datetime,
        stakes: StakeOptions,
        staked: float,
        *,
        replays: bool,
    ) -> None:
        self._client = client
        self._horizon = horizon
        self._written = written
        self._stakes = stakes
        self._replays = replays
        self._states = {game.game_id: game for game in client.list_games()}
        self._staked = staked
        self._staked_on: defaultdict[str, float] = defaultdict(float)
        self._newest = cache(self._find_newest)
        self._of_minute = cache(self._read)

    def weighed(self, priced: PricedMarket) -> WeighedMarket:
        """Weigh a market with the newest forecast of its game, and add its stake to the others."""
        newest = self._newest(priced.game_id, priced.home, priced.away)
        if newest is not None and priced.kind == "total" and newest.forecast.HasField("moment"):  # which has no total
            newest = self._of_minute(newest.forecast.game_id, newest.forecast.elapsed_minutes)
        if newest is None:
            named = Forecast(game_id=priced.game_id, home_team=priced.home, away_team=priced.away)
            left_out = "" if self._replays else " (of replays only with --replays)"
            return WeighedMarket(priced, named, f"no forecast of the game{left_out}")
        forecast = newest.forecast
        if reason := _unusable(priced, newest, priced.time or self._written, self._states.get(forecast.game_id)):
            return WeighedMarket(priced, forecast, reason)
        staked = self._stakes | {
            "game_staked": self._staked_on[forecast.game_id],
            "evening_staked": self._staked,
        }
        try:
            market = market_of(priced, **staked)
            answer = self._client.quote(list(newest.pattern), market, **_as_recorded(newest))
        except UnavailableError as error:
            raise failure(f"line {priced.row}: {error}") from None
        except DejavuClientError as error:  # rows before it may be recorded already
            return WeighedMarket(priced, forecast, error.message)
        if answer.forecast.sequence != forecast.sequence:
            reason = "the game has moved on, or another caller recorded it: ask again with the poller's token"
            return WeighedMarket(priced, forecast, reason)
        self._staked += answer.markets[0].stake
        self._staked_on[forecast.game_id] += answer.markets[0].stake
        return WeighedMarket(priced, forecast, answer=answer.markets[0])

    def _find_newest(self, game_id: str, home: str, away: str) -> RecordedPrediction | None:
        """Return the newest forecast of a game, by its id or else its teams; None if it has none.

        Its teams are looked up among the published games, since a replay may have any date; else in the forecasts.
        """
        of_teams = (each for each in self._states.values() if (each.home_team, each.away_team) == (home, away))
        played = [each for each in of_teams if self._replays or not is_replay(each.game_id)]
        if not game_id and played:
            game_id = max(played, key=lambda each: each.observed_time.ToDatetime(UTC)).game_id
        if not game_id:
            day = game_day(utc_now()) - timedelta(days=1)
            listed = self._client.list_predictions(
                team=home, horizon=self._horizon, from_date=day, include_replays=self._replays
            )
            made = (each.forecast for each in listed)
            game_id = next((each.game_id for each in made if (each.home_team, each.away_team) == (home, away)), "")
            listed.close()
        return self._of_minute(game_id, None) if game_id else None

    def _read(self, game_id: str, minute: int | None) -> RecordedPrediction | None:
        """Return the forecast of a complete minute, or the newest; None if the game has none."""
        try:
            return self._client.get_prediction(game_id, horizon=self._horizon, elapsed_minutes=minute).prediction
        except NotFoundError:
            return None


def _unusable(priced: PricedMarket, newest: RecordedPrediction, offered: datetime, state: Game | None) -> str:
    """Return why a market is not weighed with a forecast; "" if it is.

    Args:
        priced: the market.
        newest: the newest forecast of its game.
        offered: when it was offered.
        state: the published state of the game; None: not known.
    """
    forecast, now = newest.forecast, utc_now()
    teams, made = (forecast.home_team, forecast.away_team), forecast.generated_time.ToDatetime(UTC)
    if (priced.home or teams[0], priced.away or teams[1]) != teams:
        return f"the game is {forecast.away_team} @ {forecast.home_team}"
    if newest.HasField("outcome"):
        return "the outcome is known"
    if now > forecast.expires_time.ToDatetime(UTC):
        return f"no current forecast: the newest is {_age(now - made)} old"
    if made - offered > _BEFORE:
        return f"the price is {_age(made - offered)} older than the forecast"
    if offered - made > _APART and not _stands_still(state, newest, offered):
        return f"the forecast is {_age(offered - made)} older than the price"
    if now - offered > _APART and not _stands_still(state, newest, now):
        return f"the price is {_age(now - offered)} old"
    return _went_on(priced, newest, state) if state is not None else ""


def _went_on(priced: PricedMarket, newest: RecordedPrediction, state: Game) -> str:
    """Return how a game went on since its newest forecast, by its published state; "" if it hardly did."""
    is_total, played = priced.kind == "total", 0.0
    if state.HasField("seconds_left"):
        played = elapsed_by_clock(state.period, state.seconds_left) - elapsed_seconds(newest.forecast)
    # By the play too, since a poller reads a state before it makes the forecasts of it.
    if played <= 0 and state.observed_time.ToDatetime(UTC) <= newest.forecast.generated_time.ToDatetime(UTC):
        return ""
    if _lead(state) != last_differential(newest) or (
        is_total and state.home_score + state.away_score != newest.forecast.total_points
    ):
        return "the score has changed since the forecast: ask again after the next one"
    if abs(played) > (_TOTAL_SECONDS if is_total else _LEAD_SECONDS):
        moved = "were played since the forecast" if played > 0 else "of the forecast's time are not played"
        return f"{abs(played):.0f} s {moved}: ask again after the next one"
    return ""


def _age(time: timedelta) -> str:
    return seconds_text(time.total_seconds())


def _lead(state: Game) -> int:
    return state.home_score - state.away_score


def _stands_still(state: Game | None, newest: RecordedPrediction, offered: datetime) -> bool:
    """Return whether nothing was played from a forecast to a price, as at the half, by the game's published state."""
    if state is None or not state.HasField("seconds_left") or offered - state.observed_time.ToDatetime(UTC) > _APART:
        return False  # nobody knows: the poller may be silent
    played = elapsed_by_clock(state.period, state.seconds_left)
    return (played, _lead(state)) == (elapsed_seconds(newest.forecast), last_differential(newest))


def _as_recorded(newest: RecordedPrediction) -> PredictOptions:
    """Return the options with which a forecast was requested, so that the same one is returned."""
    forecast = newest.forecast
    live, _ = live_inputs.from_message(forecast)
    given = forecast.margin_source not in {MARGIN_SOURCE_UNSPECIFIED, MARGIN_SOURCE_RATINGS}
    options: PredictOptions = {
        "game_id": forecast.game_id,
        "horizon": forecast.horizon,
        "alpha": forecast.alpha,
        "home_team": forecast.home_team,
        "away_team": forecast.away_team,
        "model_version": forecast.model_version,
        "pregame_margin": forecast.expected_margin if given else None,
        "moment": moments.from_message(forecast),
    }
    options.update(cast("PredictOptions", live.given()))
    return options


def _entry(weighed: WeighedMarket) -> dict[str, Any]:
    priced, forecast = weighed.priced, weighed.forecast
    return {
        "line": priced.row,
        "gameId": forecast.game_id,
        "home": forecast.home_team,
        "away": forecast.away_team,
        "kind": priced.kind,
        "marketLine": priced.line,
        "forecastSequence": forecast.sequence or None,
        "generatedTime": forecast.generated_time.ToJsonString() if forecast.sequence else None,
        "notWeighed": weighed.reason or None,
        "answer": None if weighed.answer is None else MessageToDict(weighed.answer),
    }


@dataclass(frozen=True, slots=True)
class WeighedMarket:
    """A priced market and its evaluation.

    Attributes:
        priced: the market.
        forecast: the newest forecast of its game; without one, an empty one that names the game.
        reason: why it was not weighed.
        answer: the evaluation; None if it was not weighed.
    """

    priced: PricedMarket
    forecast: Forecast
    reason: str = ""
    answer: MarketAnswer | None = None


_COLUMNS: Final = (
    named_column("game", "left", 8),
    named_column("min", "right", 5),
    named_column("bet", "left", 9),
    named_column("price", "right", 7),
    named_column("model", "right", 4),
    named_column("market", "right", 3),
    named_column("used", "right", 5),
    named_column("break-even", "right", 6),
    named_column("stake", "right", 9),
)


def print_bets(weighed: Sequence[WeighedMarket], bankroll: float) -> None:
    """Print a row for each market, its reasons below the table, and the sum of the stakes."""
    console = Console()
    console.print(ResponsiveTable(_COLUMNS, [_cells(each, bankroll) for each in weighed]))
    staked = sum(each.answer.stake for each in weighed if each.answer is not None)
    for each in weighed:
        if reason := _reason(each):
            console.print(f"line {each.priced.row}: {reason}", style="dim", highlight=False)
    console.print(f"stakes together: {amount(staked, bankroll)}", highlight=False)
    if notice := next((each.answer.notice for each in weighed if each.answer is not None), ""):
        console.print(f"The model is {notice}.", highlight=False)


def _chosen(answer: MarketAnswer) -> int:
    """Return the side with a stake, 0 or 1; without one, the side with the higher expected value."""
    if answer.side:
        return int(answer.side not in ABOVE)
    return int(answer.below.expected_value > answer.above.expected_value)


def _reason(each: WeighedMarket) -> str:
    if each.answer is None:
        return each.reason
    if each.answer.side:
        return ""
    if each.priced.traded:
        return "no stake: the price of a trade, which nobody offers"
    warnings = "; ".join(warning.text for warning in each.answer.warnings)
    return f"no stake: {warnings or no_stake_reason(each.answer)}"


def _cells(each: WeighedMarket, bankroll: float) -> dict[str, str | Text]:
    priced, forecast, answer = each.priced, each.forecast, each.answer
    home, away = forecast.home_team, forecast.away_team
    place = 0 if answer is None else _chosen(answer)
    cells: dict[str, str | Text] = {
        "game": f"{away} @ {home}" if home else priced.game_id,
        "min": f"{forecast.elapsed_minutes}" if forecast.sequence else "",
        "bet": _bet(priced, home, away)[place],
        "price": price_text((priced.first, priced.second)[place]),
        "stake": "–",
    }
    if answer is not None:
        side = (answer.above, answer.below)[place]
        cells |= {
            "model": chance(side.win_probability),
            "market": chance(side.fair_probability),
            "used": chance(side.staking_probability),
            "break-even": chance(break_even(side, answer.push_probability)),
            "stake": amount(side.stake, bankroll) if answer.side else "–",
        }
    return cells


def _bet(priced: PricedMarket, home: str, away: str) -> tuple[str, str]:
    digits = 0 if priced.line.is_integer() else 1
    match priced.kind:
        case "total":
            return f"over {priced.line:.{digits}f}", f"under {priced.line:.{digits}f}"
        case "moneyline":
            return f"{home or 'home'} wins", f"{away or 'away'} wins"
        case _:
            return f"{home or 'home'} {signed(-priced.line, digits)}", f"{away or 'away'} {signed(priced.line, digits)}"
