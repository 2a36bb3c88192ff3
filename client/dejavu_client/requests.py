"""Builds forecast and track-record requests from plain Python values, for both clients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal, TypedDict, Unpack

from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, Horizon, MarginSource
from dejavu.v1.market_pb2 import MARKET_KIND_LEAD, MARKET_KIND_TOTAL, Market, MarketKind, Odds, Staking
from dejavu.v1.prediction_service_pb2 import Lineups, PredictRequest
from dejavu.v1.record_service_pb2 import ListPredictionsRequest, ScoreFilter
from dejavu_feed import live_inputs
from dejavu_feed import moment as moments
from dejavu_feed.files.prices import PricedMarket
from dejavu_feed.horizon import Horizon as FeedHorizon
from dejavu_feed.live_inputs import LastScore, LiveInputs, Possession
from dejavu_feed.moment import Moment
from dejavu_feed.printed_numbers import LEAST_AMERICAN

HALFTIME = HORIZON_HALFTIME
FINAL = HORIZON_FINAL
FEED_HORIZONS: Final = {HALFTIME: FeedHorizon.HALFTIME, FINAL: FeedHorizon.FINAL}
"""Horizons of the contract in the packages that do not know it."""
HorizonName = Literal["half", "halftime", "final"]
_HORIZONS: dict[object, Horizon.ValueType] = {"half": HALFTIME, "halftime": HALFTIME, "final": FINAL}


class PredictOptions(TypedDict, total=False):
    """Options of a forecast request besides the pattern.

    Attributes:
        game_id: NBA game id, ten digits; empty for a what-if, which is not recorded.
        alpha: miscoverage rate of the interval, in (0, 1); None for the server's default, 0.05.
        horizon: `HALFTIME` or `FINAL`. Required with a game_id; `HALFTIME` by default for a what-if.
        home_team: NBA code or common alias of the home team; both teams, or none. The model uses their ratings.
        away_team: NBA code or common alias of the away team.
        pregame_margin: the line of a betting market, as the expected final differential before the game, in points;
            replaces the teams' ratings.
        margin_source: source of `pregame_margin`: "feed", "file" or "caller"; None for "caller".
        margin_time: when the margin was read from its source; None if not known.
        pregame_total: the market's line of the points of both teams together at the end; None if not known.
        model_version: model version to use; empty for the active model.
        explain: whether to return an explanation with the forecast.
        quantile_levels: levels of the quantiles to return, in (0, 1); at most 99.
        game_date: local date of the game, as a date or YYYY-MM-DD; None or empty for today in US Eastern. The age of
            the teams' ratings is measured up to this date; see `warnings` of the forecast.
        neutral_site: whether the game is at a neutral site, without home advantage; None for the server's list of such
            games.
        total_points: points of both teams together at the end of the pattern's last minute; None if not known.
        last_score: last score before the end of the pattern, as `LastScore(Side.HOME, 12)`; None if unknown, or if
            nobody has scored.
        possession: side with the ball at the end of the pattern, as `Possession(Side.HOME)`; None if not known.
        lineups: players on court so far, created with `lineups`; None if not known.
        moment: state of the game since the end of the pattern, as `Moment(4, 42.5, +3)`: period, seconds left in it,
            differential, and free throws to come. The other options are then as of the moment. None to forecast from
            the end of the pattern.
    """

    game_id: str
    alpha: float | None
    horizon: Horizon.ValueType
    home_team: str
    away_team: str
    pregame_margin: float | None
    margin_source: Literal["feed", "file", "caller"] | None
    margin_time: datetime | None
    pregame_total: float | None
    model_version: str
    explain: bool
    quantile_levels: Sequence[float]
    game_date: date | str | None
    neutral_site: bool | None
    total_points: int | None
    last_score: LastScore | None
    possession: Possession | None
    lineups: Lineups | None
    moment: Moment | None


def predict_request(
    pattern: Sequence[float], *, markets: Sequence[Market] = (), **options: Unpack[PredictOptions]
) -> PredictRequest:
    """Build a request for one forecast. The server validates the values.

    Args:
        pattern: score differentials (home − away, in points) at the end of each minute, starting with the first; 1 to
            47 values, at most 23 for halftime.
        markets: odds to evaluate, created with `market` and `total_market`, at most one of each.
        options: see `PredictOptions`.

    Raises:
        TypeError: if a value does not have the type of its field, or there is no such option.
    """
    fields = _known("options", options, PredictOptions)
    if not fields.get("game_id"):
        fields.setdefault("horizon", HALFTIME)
    explain, day = fields.pop("explain", False), fields.pop("game_date", None)
    game_date = _iso_date("game_date", day)
    source, time = fields.pop("margin_source", None), fields.pop("margin_time", None)
    moment = fields.pop("moment", None)
    if not (moment is None or isinstance(moment, Moment)):
        raise TypeError(f"moment: {moment!r}; expected a Moment, or None")
    live = _live_inputs({each.name: fields.pop(each.name, None) for each in live_inputs.LIVE_INPUTS})
    request = PredictRequest(
        pattern=pattern,
        markets=markets,
        return_explanation=explain,
        game_date=game_date,
        margin_source=_margin_source(source),
        **fields,
    )
    if time is not None:
        request.margin_time.FromDatetime(time)
    if moment is not None:
        moments.put(request, moment)
    live_inputs.put(request, live)
    return request


def lineups(
    home_starters: Sequence[int],
    away_starters: Sequence[int],
    home_seen: Sequence[int] = (),
    away_seen: Sequence[int] = (),
    minute: int = 0,
) -> Lineups:
    """Build the line-ups of a request: the NBA's ids of the players on court so far.

    Args:
        home_starters: the five home players at tip-off.
        away_starters: the five away players at tip-off.
        home_seen: home players seen so far, with or without the starters.
        away_seen: away players seen so far.
        minute: elapsed minutes of play up to which they were seen; 0: only the starters are known.
    """
    return Lineups(
        home_starters=home_starters,
        away_starters=away_starters,
        home_seen=home_seen,
        away_seen=away_seen,
        minute=minute,
    )


class StakeOptions(TypedDict, total=False):
    """Bankroll, earlier stakes and rules of the stakes of a market; or that it is a trade, which has no stake.

    Attributes:
        bankroll: amount available for stakes, in any currency; None for 1: stakes are then shares of the bankroll.
        game_staked: amount of the bankroll that you have already staked on this game. Towards its caps per game and
            evening, the server counts only the stakes that you state, and on a total those on the lead in the same
            request.
        evening_staked: amount of the bankroll that you have already staked this evening, on this game and others; None
            for game_staked.
        staking: rules of the stakes, as `Staking(kelly_fraction=0.5)`; None, and fields that are not set: the defaults.
        traded_time: when an exchange's last trade was made at these odds, aware; None: they are on offer.
    """

    bankroll: float | None
    game_staked: float | None
    evening_staked: float | None
    staking: Staking | None
    traded_time: datetime | None


def market(
    line: float, home_odds: float | None = None, away_odds: float | None = None, **options: Unpack[StakeOptions]
) -> Market:
    """Build a market on the differential at the forecast's horizon being above or below a line.

    Args:
        line: differential (home − away, in points) at which both sides are level. A home favorite's spread of −5.5 (BOS
            −5.5 on the board) is a line of 5.5, an away favorite's spread of −5.5 a line of −5.5.
        home_odds: odds of the home side: American if a whole number ≥ 100 or below 0 (−110), otherwise decimal (1.91).
            Without odds, only the probabilities of the line are answered.
        away_odds: odds of the away side, read by the same rule.
        options: see `StakeOptions`.

    Raises:
        TypeError: if there is no such option.
    """
    return _market(MARKET_KIND_LEAD, line, home_odds, away_odds, options)


def total_market(
    line: float, over_odds: float | None = None, under_odds: float | None = None, **options: Unpack[StakeOptions]
) -> Market:
    """Build a market on the points of both teams at the horizon being over or under a line.

    Args:
        line: total, in points, at which both sides are level.
        over_odds: odds of over, read by the same rule as those of `market`.
        under_odds: odds of under, read by the same rule.
        options: see `StakeOptions`.

    Raises:
        TypeError: if there is no such option.
    """
    return _market(MARKET_KIND_TOTAL, line, over_odds, under_odds, options)


def market_of(priced: PricedMarket, **options: Unpack[StakeOptions]) -> Market:
    """Build the market of a row of a file of prices.

    Args:
        priced: the row.
        options: see `StakeOptions`.
    """
    kind = MARKET_KIND_TOTAL if priced.kind == "total" else MARKET_KIND_LEAD
    return _market(kind, priced.line, priced.first, priced.second, {**options, "traded_time": priced.traded_time})


def _market(
    kind: MarketKind.ValueType, line: float, above: float | None, below: float | None, options: StakeOptions
) -> Market:
    first, second = (None if price is None else _odds(price) for price in (above, below))
    return Market(kind=kind, line=line, above=first, below=second, **_known("options", options, StakeOptions))


def _odds(price: float) -> Odds:
    if math.isfinite(price) and (price >= LEAST_AMERICAN or price < 0) and price == int(price):
        return Odds(american=int(price))
    return Odds(decimal=price)


class CommonConditions(TypedDict, total=False):
    """Conditions on recorded forecasts that lists and scores share; a forecast must match all conditions given.

    Attributes:
        game_id: NBA game id, ten digits.
        from_date, to_date: first and last local date of the games, inclusive, as dates or YYYY-MM-DD; None or empty for
            any. A forecast without a date counts for the evening on which it was made.
        team: NBA code or alias of the home or away team.
        horizon: `HALFTIME` or `FINAL`, or its name; by default lists include both, scores only `HALFTIME`.
        min_confidence: minimum probability of the likelier side, in [0.5, 1].
        include_replays: include games of replays and simulated seasons.
    """

    game_id: str
    from_date: date | str | None
    to_date: date | str | None
    team: str
    horizon: Horizon.ValueType | HorizonName
    min_confidence: float | None
    include_replays: bool


class Conditions(CommonConditions, total=False):
    """Filter of the recorded forecasts to list.

    Attributes:
        settled: True for only the forecasts with a known outcome, False for only the others.
        model_version: version of the model that made the forecasts.
        elapsed_minutes: minute of play after which the forecasts were made.
        include_superseded: include earlier revisions.
        owners_only: leave out what others than the owner of a game recorded of it.
    """

    settled: bool | None
    model_version: str
    elapsed_minutes: int | None
    include_superseded: bool
    owners_only: bool


class Scope(CommonConditions, total=False):
    """Filter of the settled forecasts to score.

    Attributes:
        min_minutes, max_minutes: first and last minute of play after which the forecasts were made, inclusive.
        complete_minutes: leave out forecasts of moments between the ends of minutes.
        recorded_by: caller who recorded the forecasts, such as "token:poller"; by default any.
        min_difference: of markets: minimum difference between the model's probability and the market's, in [0, 1].
    """

    min_minutes: int | None
    max_minutes: int | None
    complete_minutes: bool
    recorded_by: str
    min_difference: float


class ModelScope(Scope, total=False):
    """A scope that can be limited to one model version.

    Attributes:
        model_version: version of the model that made the forecasts; by default any version.
    """

    model_version: str


def predictions_request(
    page_size: int = 0, *, explain: bool = False, **conditions: Unpack[Conditions]
) -> ListPredictionsRequest:
    """Build a request for the first page of recorded forecasts.

    Args:
        page_size: maximum number of forecasts per page, at most 500; 0 for the server's default.
        explain: whether to return the explanations.
        conditions: see `Conditions`.

    Raises:
        TypeError: if there is no such condition, or a value does not have the type of its field.
        ValueError: if there is no such horizon.
    """
    return ListPredictionsRequest(page_size=page_size, return_explanation=explain, **_fields(conditions, Conditions))


def score_filter(**scope: Unpack[ModelScope]) -> ScoreFilter:
    """Build the filter of the forecasts to score; see `ModelScope`.

    Raises:
        TypeError: if there is no such condition, or a value does not have the type of its field.
        ValueError: if there is no such horizon.
    """
    return ScoreFilter(**{"horizon": HALFTIME, **_fields(scope, ModelScope)})


def _fields(conditions: Mapping[str, object], valid: type) -> dict[str, Any]:
    """Return the conditions as the fields of a request."""
    fields = _known("conditions", conditions, valid)
    fields |= {name: _iso_date(name, fields[name]) for name in ("from_date", "to_date") if name in fields}
    if isinstance(name := fields.get("horizon"), str):
        if name not in _HORIZONS:
            raise ValueError(f"horizon is {name!r}; expected half, halftime or final")
        fields["horizon"] = _HORIZONS[name]
    return fields


def _known(what: str, given: Mapping[str, object], valid: type) -> dict[str, Any]:
    """Return a copy of what is given; refuse names that are not among those of a TypedDict."""
    names = sorted(valid.__annotations__)
    if unknown := sorted(given.keys() - set(names)):
        raise TypeError(f"unknown {what}: {', '.join(unknown)}; expected some of {', '.join(names)}")
    return dict(given)


def _margin_source(source: object) -> MarginSource.ValueType | None:
    """Return the source of a margin as the contract's enum; None for None.

    Raises:
        TypeError: if it is neither one of "feed", "file" and "caller" nor None.
    """
    if source is None:
        return None
    if source not in {"feed", "file", "caller"}:
        raise TypeError(f"margin_source: {source!r}; expected 'feed', 'file' or 'caller'")
    return MarginSource.Value(f"MARGIN_SOURCE_{str(source).upper()}")


def _live_inputs(given: Mapping[str, Any]) -> LiveInputs:
    for each in live_inputs.LIVE_INPUTS:
        value = given[each.name]
        if each.parts[0].name and not (value is None or isinstance(value, each.make)):
            raise TypeError(f"{each.name}: {value!r}; expected a {each.make.__name__}, or None")
    return LiveInputs(**given)


def _iso_date(name: str, day: object) -> str:
    """Return a date or datetime as YYYY-MM-DD; a string unchanged, for the server to check; "" for None.

    Raises:
        TypeError: if `day` is neither a date, a text nor None; the message names the option.
    """
    if day is None or isinstance(day, str):
        return day or ""
    if not isinstance(day, date):
        raise TypeError(f"{name}: {day!r}; expected a date, a text as YYYY-MM-DD, or None")
    return day.isoformat()[: len("YYYY-MM-DD")]
