"""Wrong usage of commands: named, with what was expected, before any call."""

from __future__ import annotations

import pytest
from tests.support.fakes.service import GAME, FakeServer
from tests.support.harness.clients import Run

TEAMS = ("1", "--home", "BKN", "--away", "GSW")
PRICED = (*TEAMS, "--spread", "BKN-5.5", "--home-odds", "-110", "--away-odds", "1.95")
ODDS = (*PRICED, "--horizon", "final")
MONEYLINE = ("1", "--moneyline", "--away-odds", "2", "--home-odds")
OVER_UNDER = ("1", "--horizon", "final", "--total-line", "221.5", "--over-odds", "-110", "--under-odds", "1.95")

NO_MARKET = "--spread or --moneyline or --total-line: required with"


PREDICT = [
    ((), "give the lead at the end of each minute"),
    (("1", "1_0"), "'1_0' is not a number"),
    (("1", "--alhpa", "3"), "'--alhpa' is neither an option nor a number"),
    (("1", "--timeout", "0"), "is not a time to wait"),
    (("1", "--quantiles", "0.1,half"), "'half' is not a number"),
    (("1", "--target", "127.0.0.1:1,nowhere"), "nowhere"),
    (("1", "--evening-staked", "5"), NO_MARKET),
    (("1", "--staking", "game_cap=0.5"), f"{NO_MARKET} --staking"),
    (("0",) * 30, "a forecast of the half takes 1 to 23; the end of the game: --horizon final"),
    (("0",) * 48 + ("--horizon", "final"), "a forecast of the end takes 1 to 47"),
    (("1", "--home-odds", "2", "--away-odds", "2"), "--home-odds and --away-odds must be given"),
    (("1", "--bankroll", "100"), "--spread or --moneyline or --total-line: required"),
    ((*ODDS, "--staking", "cap=0.5"), "'cap=0.5'; expected one of model_share"),
    ((*MONEYLINE, "5/0"), "5/0; expected fractional odds above 0"),
    ((*MONEYLINE, "99/1"), "99/1; expected fractional odds below 99/1"),
    *(((*MONEYLINE, price), "is not a price") for price in ("level", "1_9", "٢", "1e3", "inf")),
    ((*MONEYLINE, "0.9"), "0.9; expected decimal odds above 1"),
    (("1", "--bankroll", "1,000"), "'1,000' is ambiguous"),
    (("1", "--pregame-margin", "nan"), "'nan' is not a number"),
    (("1", "--pregame-margin", "-55"), "-55; expected at most 35 points"),
    *(((*ODDS, "--home-odds", price), f"{price}; expected American odds") for price in ("-50", "+99", "-110.5")),
    ((*ODDS, "--moneyline"), "give either --spread or --moneyline"),
    ((*ODDS, "--spread", "-5.5"), "'-5.5' is not a spread; expected a team and its handicap"),
    ((*ODDS, "--spread", "LAL-5.5"), "LAL is not one of the teams of GSW at BKN"),
    (("1", "--spread", "BKN-5.5"), "BKN is not one of the teams without --home and --away"),
    ((*ODDS, "--spread", "LA-5.5"), "'LA' is the city of two teams"),
    (PRICED, "--horizon: required with a line"),
    (("1", "--home", "Bosten", "--away", "LAL"), "did you mean BOS (Celtics)?"),
    (("1", "--home", "Boston", "--away", "celtics"), "are the same team"),
    (("1", "--home", "BKN"), "give both teams, or none"),
    ((*ODDS, "--evening-staked", "20"), "--evening-staked: --bankroll missing; without it, it is a share"),
    ((*ODDS, "--game-staked", "0.1", "--evening-staked", "20"), "--evening-staked: --bankroll missing"),
    ((*ODDS, "--game-staked", "1.5"), "--game-staked: --bankroll missing"),
    ((*OVER_UNDER[:-2], "--total-points", "2"), "--over-odds and --under-odds must be given together"),
    (OVER_UNDER, "--total-points"),
    # Without the points, no model uses these inputs: they would not change the forecast or the stake of a bet.
    (("0", "2", "--last-score", "home:12"), "--total-points: required with --last-score"),
    (("0", "2", "--possession", "home"), "--total-points: required with --possession"),
    (("0", "2", "--free-throws", "2"), "--moment: required with --free-throws"),
    *((("0", "2", "--possession", each), "expected home or away") for each in ("left", "home:12", "shot")),
    *((("0", "2", "--moment", each), "expected period, time left") for each in ("Q5 0:10 1", "Q4 0:60 1", "Q4 0:10")),
    *((("0", "2", "--last-score", each), "and seconds") for each in ("home", "left:12", "home:-1", "home:١")),
]
OTHERS = [
    ("risk", ("1", "2", "--total-points", "-3"), "greater than or equal to 0"),
    ("predictions", ("--json", "--csv", "-"), "give only one of them"),
    ("predictions", ("--date", "2026-01-02", "--to", "2026-01-03"), "either one day or a range of days"),
    ("predictions", (GAME, "--team", "BOS"), "--team: not with GAME_ID"),
    ("scorecard", ("--from", "2026-01-02", "--to", "2026-01-01"), "2026-01-01 is before --from 2026-01-02"),
    ("scorecard", ("--minute", "2", "--max-minute", "3"), "either one minute or a range of minutes"),
    *(("scorecard", ("--from", day), f"'{day}' is not a day") for day in ("tomorrow", "2024-5-6", "20240506")),
    ("scorecard", ("--metric", "mae"), "--metric: needs --by-model"),
    ("notify", ("rules.toml", "--list", "--dry-run"), "not with --list"),
    ("notify", (), "expected a file of rules, or --list"),
    ("stats", ("--cache", "--clear-cache"), "give only one of them"),
    ("stats", ("--interval", "1"), "--interval: needs --watch"),
    ("report", (GAME, "4", "--horizon", "half", "--withdraw"), "--withdraw takes only the game and --horizon"),
    ("report", (GAME, "--horizon", "half"), "expected the home team's lead, or --withdraw"),
    ("report", (GAME, "4"), "--horizon"),
    ("report", (GAME, "4", "--horizon", "half", "--observed", "noon"), "'noon' is not a time"),
    ("poll", ("--feed-url", "nowhere"), "nowhere"),
    ("poll", ("--from-minute", "48"), "--from-minute"),
    ("poll", ("--horizon", "half", "--from-minute", "24"), "expected at most 23 to forecast the half"),
]


@pytest.mark.parametrize(("command", "arguments", "said"), [*(("predict", *each) for each in PREDICT), *OTHERS])
def test_wrong_usage_is_named_and_exits_2(
    server: FakeServer, run: Run, command: str, arguments: tuple[str, ...], said: str
) -> None:
    result = run(command, *arguments, width=200)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert not server.calls


@pytest.mark.parametrize(
    ("command", "stdin", "said"),
    [
        (("predict", "-"), "{", "not JSON"),
        (("predict", "-"), "[true]", "expected an array of numbers"),
        (("stats", "--warm-cache", "-"), '{"pattern": [1]}\n{', "line 2"),
        (("stats", "--warm-cache", "-"), '{"pattern": [1], "game_id": "0022300001"}', "line 1: game_id is set"),
        (("stats", "--warm-cache", "-"), '{"patern": [1]}', "line 1"),
    ],
)
def test_wrong_input_is_named_and_exits_2(
    server: FakeServer, run: Run, command: tuple[str, ...], stdin: str, said: str
) -> None:
    result = run(*command, stdin=stdin, width=200)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not server.calls
