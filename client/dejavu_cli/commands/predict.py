"""`dejavu predict` and `dejavu risk`: request one forecast, or the risk score of a game, from its pattern."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, cast

import typer

from dejavu.v1.forecast_pb2 import Horizon
from dejavu.v1.market_pb2 import Market
from dejavu.v1.prediction_service_pb2 import RiskGame
from dejavu_cli import options as opt
from dejavu_cli.errors import exit_code
from dejavu_cli.output.forecast import print_forecast
from dejavu_cli.output.market import print_market, print_risk, print_risks
from dejavu_client.errors import from_predict_error
from dejavu_client.formatting import horizon_label
from dejavu_client.requests import FINAL, HALFTIME, PredictOptions, StakeOptions
from dejavu_client.requests import market as create_market
from dejavu_client.requests import total_market as create_total_market
from dejavu_feed import horizon as horizons
from dejavu_feed.lines import MAX_MARGIN
from dejavu_feed.live_inputs import LastScore, Possession, Side
from dejavu_feed.moment import MAX_FREE_THROWS, Moment
from dejavu_feed.printed_numbers import MINUS, number, price

_HINT = "PATTERN"
MAX_MINUTES = {HALFTIME: horizons.Horizon.HALFTIME.last_slot, FINAL: horizons.Horizon.FINAL.last_slot}
"""Maximum number of minutes of a pattern, by horizon. A model may accept fewer."""
_LAST_SCORE = re.compile(r"(?P<side>home|away):(?P<seconds>[0-9]{1,5})", re.ASCII | re.IGNORECASE)
_POSSESSION = re.compile(r"(?P<side>home|away)(?P<shot>:shot)?", re.IGNORECASE)
_MOMENT = re.compile(
    r"(?:q(?P<quarter>[1-4])|ot(?P<overtime>[1-9][0-9]?)?)"
    r" +(?P<minutes>[0-9]{1,2}):(?P<seconds>[0-5][0-9](?:\.[0-9]+)?) +(?P<lead>[+-]?[0-9]{1,3})",
    re.ASCII | re.IGNORECASE,
)
_SPREAD = re.compile(
    r"(?P<team>.*?[a-z])(?: *(?P<points>[+-] ?[0-9.,¼½¾]+)| +(?P<even>pk|pick|pick'?em))", re.ASCII | re.IGNORECASE
)


def _parts(text: str, form: re.Pattern[str], name: str, expected: str) -> re.Match[str]:
    parts = form.fullmatch(text.translate(MINUS).strip())
    if parts is None:
        raise ValueError(f"{text!r} is not a {name}; expected {expected}")
    return parts


def _last_score(text: str) -> LastScore:
    """Parse the last score of an option. The server checks the range of the seconds."""
    parts = _parts(text, _LAST_SCORE, "last score", "home or away, and seconds before the end of the pattern: home:12")
    return LastScore(Side[parts["side"].upper()], int(parts["seconds"]))


def _possession(text: str) -> Possession:
    expected = "home or away, or home:shot while a shot of the home team is in the air"
    parts = _parts(text, _POSSESSION, "possession", expected)
    return Possession(Side[parts["side"].upper()], parts["shot"] is not None)


def _moment(text: str) -> Moment:
    """Parse the moment of an option. The server checks whether it exists."""
    parts = _parts(text, _MOMENT, "moment", "period, time left and the home team's lead: 'Q4 0:42.5 +3'")
    period = int(parts["quarter"]) if parts["quarter"] else 4 + int(parts["overtime"] or 1)
    return Moment(period, 60 * int(parts["minutes"]) + float(parts["seconds"]), int(parts["lead"]))


def _spread(text: str) -> tuple[str, float]:
    """Parse a spread: the team's name as given, and its handicap in points."""
    parts = _parts(text, _SPREAD, "spread", "a team and its handicap as printed: BOS-5.5, LAL +5½ or BOS PK")
    return parts["team"], number(parts["points"] or "0")


def _numbers(text: str) -> list[float]:
    """Parse numbers. The server checks their range."""
    return [number(part) for part in text.replace(",", " ").split()]


def _margin(text: str) -> float:
    if abs(margin := number(text)) > MAX_MARGIN:
        raise ValueError(f"{margin:g}; expected at most {MAX_MARGIN:g} points, as no line is larger")
    return margin


Pattern = Annotated[
    list[str] | None,
    opt.argument(
        "[PATTERN]...",
        text="The home team's lead in points at the end of each minute so far, 1 to 47 numbers: 0 2 -3 …; - reads "
        "a JSON array from standard input.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Options of a forecast, with the names that they have in `PredictOptions`.

    Attributes:
        game_id: NBA game id, ten digits; the forecast is then recorded in the ledger.
        alpha: Miscoverage rate of the interval, between 0 and 1; the server's default is 0.05.
        home_team: Home team: BOS, Boston, Celtics or Sixers (dejavu games --teams).
        away_team: Away team; with both teams the forecast uses their ratings.
        pregame_margin: The line: the home team's expected final lead before the game (a spread of -5.5 is 5.5);
            replaces the teams' ratings.
        pregame_total: The line of the points of both teams at the end.
        game_date: Local date of the game, today (US Eastern) by default; ratings too old for it are not used.
        neutral_site: No team is at home: the teams' ratings expect no home advantage.
        total_points: Points of both teams at the end of the pattern.
        last_score: Who scored last, and how many seconds of play before the end of the pattern: home:12. Needs
            --total-points.
        possession: Who has the ball at the end of the pattern, used from minute 41 on: home, or home:shot while a
            shot of it is in the air. Needs --total-points.
        moment: State of the game since the end of the pattern: the period, the time left in it, and the home team's
            lead, as 'Q4 0:42.5 +3' or 'OT 2:10 -1' (the second overtime is OT2). The other options are then as of
            this moment.
        quantile_levels: Quantile levels to show, comma-separated: 0.1,0.5,0.9.
        model_version: Model version; the active one by default.
        explain: Show how the forecast was computed, and more of the similar games.
    """

    game_id: Annotated[str, typer.Option()] = ""
    alpha: Annotated[float | None, opt.amount("SHARE")] = None
    home_team: Annotated[str, opt.team_option("--home")] = ""
    away_team: Annotated[str, opt.team_option("--away")] = ""
    pregame_margin: Annotated[float | None, opt.parsed("POINTS", _margin)] = None
    pregame_total: Annotated[float | None, opt.amount("POINTS")] = None
    game_date: Annotated[str, opt.option("YYYY-MM-DD")] = ""
    neutral_site: Annotated[bool, opt.flag("--neutral-site")] = False
    total_points: Annotated[int | None, opt.points()] = None
    last_score: Annotated[LastScore | None, opt.parsed("SIDE:SECONDS", _last_score)] = None
    possession: Annotated[Possession | None, opt.parsed("SIDE[:shot]", _possession)] = None
    moment: Annotated[Moment | None, opt.parsed("'CLOCK LEAD'", _moment)] = None
    quantile_levels: Annotated[Any, opt.parsed("LEVELS", _numbers, "--quantiles")] = None
    model_version: Annotated[str, opt.option("VERSION", "--model")] = ""
    explain: Annotated[bool, opt.flag("--explain")] = False

    def check(self) -> None:
        """Check what the server would not name by its option.

        Raises:
            typer.BadParameter: if options contradict or lack each other.
        """
        home, away = self.home_team, self.away_team
        if bool(home) != bool(away):
            raise typer.BadParameter("give both teams, or none", param_hint="--away" if home else "--home")
        if home and opt.team_of(home) == opt.team_of(away):
            raise typer.BadParameter(f"{away} and {home} are the same team", param_hint="--away")


@dataclass(frozen=True, kw_only=True)
class Bets:
    """Options of the bets to evaluate.

    Attributes:
        spread: Evaluate a bet on a point spread, as a sportsbook prints it for either team: BOS-5.5 or LAL+5.5.
            Requires both teams; without odds, its probability and the smallest odds worth taking.
        moneyline: Evaluate a bet on who leads at the horizon.
        home_odds: The price of the home side: decimal (1.91) or American (-110).
        away_odds: The price of the away side: decimal (1.91) or American (+120).
        total_line: Evaluate a bet on the points of both teams: over or under this line. Requires --total-points;
            with odds recorded with a named forecast.
        over_odds: The price of over: decimal or American.
        under_odds: The price of under: decimal or American.
    """

    spread: Annotated[Any, opt.parsed("TEAM±POINTS", _spread)] = None
    moneyline: Annotated[bool, opt.flag("--moneyline")] = False
    home_odds: Annotated[float | None, opt.parsed("PRICE", price)] = None
    away_odds: Annotated[float | None, opt.parsed("PRICE", price)] = None
    total_line: Annotated[float | None, opt.amount("POINTS")] = None
    over_odds: Annotated[float | None, opt.parsed("PRICE", price)] = None
    under_odds: Annotated[float | None, opt.parsed("PRICE", price)] = None


@dataclass(frozen=True, kw_only=True)
class Stakes:
    """Options of stakes, with the names that they have in `StakeOptions`.

    Attributes:
        game_staked: What you have staked on this game already; counts towards the caps.
    """

    bankroll: opt.Bankroll = None
    game_staked: Annotated[float | None, opt.amount("AMOUNT")] = None
    evening_staked: opt.EveningStaked = None
    staking: opt.StakingRules = None


def predict(
    call: opt.Call,
    inputs: Inputs,
    bets: Bets,
    stakes: Stakes,
    pattern: Pattern = None,
    *,
    horizon: Annotated[opt.HorizonName | None, opt.choice()] = None,
    free_throws: Annotated[int | None, typer.Option(min=0, max=MAX_FREE_THROWS)] = None,
) -> None:
    """Forecast one game from its score differentials so far; with odds, evaluate a bet too.

    Args:
        horizon: Horizon: the half (or halftime, the same), or the end of the game; the half by default; required
            with --game-id and with odds.
        free_throws: Free throws of the team with the ball (--possession) before the clock runs again. Needs
            --moment.
    """
    inputs.check()
    values = _read_pattern(pattern or [])
    if inputs.game_id and horizon is None:
        raise typer.BadParameter("required with --game-id, whose forecast is recorded", param_hint="--horizon")
    at = opt.HORIZONS[horizon or "half"]
    _check_minutes(len(values), at)
    moment = inputs.moment and replace(inputs.moment, free_throws=free_throws or 0)
    levels, neutral = inputs.quantile_levels or (), inputs.neutral_site or None
    # A table names the most similar game anyway; JSON has what was asked for.
    explain = inputs.explain or not call.as_json
    given = vars(inputs) | {"quantile_levels": levels, "neutral_site": neutral, "moment": moment, "explain": explain}
    options = cast("PredictOptions", given | {"horizon": at})
    if free_throws is not None and moment is None:
        raise typer.BadParameter("required with --free-throws", param_hint="--moment")
    # At a late moment, possession is used without the points.
    needs = {
        "--total-line": bets.total_line is not None,
        "--last-score": inputs.last_score is not None,
        "--possession": inputs.possession is not None and moment is None,
    }
    if inputs.total_points is None and (needing := [option for option, given in needs.items() if given]):
        # Without total points, no model uses a last score or a possession.
        raise typer.BadParameter(f"required with {' and '.join(needing)}", param_hint="--total-points")
    rules: Any = vars(stakes) | {"staking": opt.staking_of(stakes.staking)}
    markets = _markets(bets, _line(bets, inputs), rules)
    if markets and horizon is None:
        # Without a line, the half as the default does no harm; but a bet that is evaluated at the wrong horizon looks
        # like a bargain.
        say = "say which bet it is: half for the lead at the half, final for the end of the game"
        raise typer.BadParameter(f"required with a line; {say}", param_hint="--horizon")
    printed = partial(print_forecast, pattern=values, explain=inputs.explain)
    with call.connect() as client:
        if not markets:
            call.show(client.predict(values, **options), printed)
            return
        answer = client.quote(values, *markets, **options)
    call.show(answer, lambda quoted: printed(quoted.forecast))
    for evaluated, market in zip(answer.markets, markets, strict=False) if not call.as_json else ():
        print_market(evaluated, market, answer.forecast)


def risk(
    call: opt.Call,
    pattern: Pattern = None,
    *,
    total_points: Annotated[int | None, opt.points()] = None,
    games: Annotated[str | None, opt.option("FILE")] = None,
) -> None:
    """Show a game's risk score, 0 to 100, computed from its score differentials so far (2 minutes or more).

    Args:
        total_points: Points of both teams so far; without them the pace is not a factor.
        games: Up to 100 games at once: a line of JSON each, with pattern and totalPoints; - reads them.
    """
    if games is not None:
        if pattern or total_points is not None:
            raise typer.BadParameter("it has the patterns and points of all games", param_hint="--games")
        expected = 'expected a line per game such as {"pattern": [0, 2, -3], "totalPoints": 14}'
        asked = [game for _, game in opt.message_lines(games, RiskGame, "--games", expected)]
    else:
        asked = [RiskGame(pattern=_read_pattern(pattern or []), total_points=total_points)]
    with call.connect() as client:
        results = client.assess_risk(asked)
    if games is None:
        if results[0].HasField("error"):
            raise from_predict_error(results[0].error)
        call.show(results[0].assessment, print_risk)
        return
    call.show_all(results, print_risks)
    for result in results:
        if result.HasField("error"):
            raise typer.Exit(exit_code(from_predict_error(result.error)))


def _markets(bets: Bets, line: float | None, rules: StakeOptions) -> list[Market]:
    """Return the markets of the bets: on the lead with this line, and on the total. The server checks their ranges.

    Raises:
        BadParameter: if an option is invalid, or needs another one.
    """
    of_lead = {"--home-odds": bets.home_odds, "--away-odds": bets.away_odds}
    of_points = {"--over-odds": bets.over_odds, "--under-odds": bets.under_odds}
    markets, named = list[Market](), ("--spread or --moneyline", "--total-line")
    for name, at, odds in ((named[0], line, of_lead), (named[1], bets.total_line, of_points)):
        given = [option for option, price in odds.items() if price is not None]
        if len(given) == 1 or (given and at is None):
            raise typer.BadParameter(f"{name}, {' and '.join(odds)} must be given together", param_hint=given[0])
        if at is None:
            continue
        market = (create_market if odds is of_lead else create_total_market)(at, *odds.values(), **rules)
        if given and market.above.WhichOneof("price") != market.below.WhichOneof("price"):
            typed = " and ".join(f"{price:g}" for price in odds.values())
            typer.echo(f"Warning: of {typed} one is read as American odds, one as decimal.", err=True)
        markets.append(market)
    stated = [f"--{name.replace('_', '-')}" for name, value in rules.items() if value is not None]
    if stated and not markets:
        raise typer.BadParameter(f"required with {stated[0]}", param_hint=" or ".join(named))
    if rules["bankroll"] is None:
        problem = "--bankroll missing; without it, it is a share of the bankroll, at most 1"
        for option, staked in (("--game-staked", rules["game_staked"]), ("--evening-staked", rules["evening_staked"])):
            if staked is not None and staked > 1:
                raise typer.BadParameter(problem, param_hint=option)
    return markets


def _line(bets: Bets, inputs: Inputs) -> float | None:
    """Return the line of a bet, home − away in points; None if no bet is requested.

    A spread is the handicap of the team that it names: BOS−5.5 wins if Boston leads by more than 5.5.
    """
    if bets.spread is None:
        return 0.0 if bets.moneyline else None
    if bets.moneyline:
        raise typer.BadParameter("give either --spread or --moneyline", param_hint="--spread")
    named, handicap = bets.spread
    try:
        team = opt.team_of(named)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--spread") from None
    home, away = inputs.home_team, inputs.away_team
    teams = [opt.team_of(each) for each in (home, away) if each]
    if team not in teams:
        playing = f"of {away} at {home}" if teams else "without --home and --away"
        raise typer.BadParameter(f"{named} is not one of the teams {playing}", param_hint="--spread")
    return float(-handicap if team == teams[0] else handicap) + 0.0


def _read_pattern(arguments: list[str]) -> list[float]:
    """Return the pattern from the arguments, or for - from a JSON array on standard input."""
    if arguments == ["-"]:
        return _pattern_from_json(sys.stdin.read())
    values = [_number(part) for argument in arguments for part in argument.replace(",", " ").split()]
    if not values:
        raise typer.BadParameter("give the lead at the end of each minute, for example 0 2 -3 …", param_hint=_HINT)
    return values


def _check_minutes(count: int, horizon: Horizon.ValueType) -> None:
    """Raise typer.BadParameter if a pattern of `count` minutes has passed the horizon; the server checks the rest."""
    longest = MAX_MINUTES[horizon]
    if count > longest:
        other = "; the end of the game: --horizon final"
        if count > MAX_MINUTES[FINAL]:
            other = "; give the last minute and overtime by --moment"
        problem = f"{count} minutes; a forecast of the {horizon_label(horizon)} takes 1 to {longest}{other}"
        raise typer.BadParameter(problem, param_hint=_HINT)


def _number(text: str) -> float:
    try:
        return number(text)
    except ValueError:
        # Unknown options end up here because negative numbers look like them.
        problem = "is neither an option nor a number" if text.startswith("-") else "is not a number"
        raise typer.BadParameter(f"{text!r} {problem}", param_hint=_HINT) from None


def _pattern_from_json(text: str) -> list[float]:
    try:
        values = json.loads(text)
        if isinstance(values, list) and values and all(type(value) in (int, float) for value in values):
            return [float(value) for value in values]
        problem = "expected an array of numbers, for example [0, 2, -3]"
    except RecursionError:
        problem = "not an array of numbers"
    except OverflowError:
        problem = "a number is too large"
    except ValueError as error:
        problem = f"not JSON: {error}"
    raise typer.BadParameter(problem, param_hint=_HINT)
