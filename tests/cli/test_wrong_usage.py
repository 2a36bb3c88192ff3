"""Wrong usage of commands: named, with what was expected, before any call."""

from __future__ import annotations

import pytest
from tests.support.fakes.service import GAME, FakeServer
from tests.support.harness.clients import Run

NUMBERS = "expected an array of numbers"
WHAT_IF = '{"pattern": [1]}'
OVERTIME = "give the last minute and overtime by --moment"
TEAMS = ("1", "--home", "BKN", "--away", "GSW")
PRICED = (*TEAMS, "--spread", "BKN-5.5", "--home-odds", "-110", "--away-odds", "1.95")
ODDS = (*PRICED, "--horizon", "final")
MONEYLINE = ("1", "--moneyline", "--away-odds", "2", "--home-odds")
OVER_UNDER = ("1", "--horizon", "final", "--total-line", "221.5", "--over-odds", "-110", "--under-odds", "1.95")
NO_MARKET = "--spread or --moneyline or --total-line: required with"
NO_AMERICAN = "expected American odds of +100 or more, or -100 or less, in whole numbers"
NO_MOMENT = "expected period, time left and the home team's lead"
NO_LAST_SCORE = "expected home or away, and seconds"
NO_POSSESSION = "expected home or away, or home:shot"
NO_DAY = "is not a day; expected YYYY-MM-DD"

PREDICT = [
    ((), "give the lead at the end of each minute"),
    (("three",), "'three' is not a number"),
    (("1", "1_0"), "'1_0' is not a number"),
    (("1", "--alhpa", "3"), "'--alhpa' is neither an option nor a number"),
    (("1", "--timeout", "0"), "is not a time to wait"),
    (("1", "--horizon", "third"), "third"),
    (("1", "--quantiles", "0.1,half"), "'half' is not a number"),
    (("1", "--target", "127.0.0.1:1,nowhere"), "nowhere"),
    (("0",) * 30, "30 minutes; a forecast of the half takes 1 to 23; the end of the game: --horizon final"),
    (("0",) * 48, f"48 minutes; a forecast of the half takes 1 to 23; {OVERTIME}"),
    (("0",) * 48 + ("--horizon", "final"), f"48 minutes; a forecast of the end takes 1 to 47; {OVERTIME}"),
    (
        ("1", "--home-odds", "2", "--away-odds", "2"),
        "--spread or --moneyline, --home-odds and --away-odds must be given",
    ),
    (("1", "--bankroll", "100"), NO_MARKET),
    (("1", "--evening-staked", "5"), NO_MARKET),
    (("1", "--staking", "game_cap=0.5"), f"{NO_MARKET} --staking"),
    ((*ODDS, "--staking", "cap=0.5"), "'cap=0.5'; expected one of model_share, kelly_fraction, game_cap"),
    ((*ODDS, "--staking", "game_cap=a"), "'a'"),
    ((*MONEYLINE, "level"), "'level' is not a price"),
    ((*MONEYLINE, "5/0"), "5/0; expected fractional odds above 0"),
    ((*MONEYLINE, "99/1"), "99/1; expected fractional odds below 99/1"),
    ((*MONEYLINE, "1_9"), "'1_9' is not a price"),
    ((*MONEYLINE, "٢"), "is not a price"),
    ((*MONEYLINE, "1e3"), "'1e3' is not a price"),
    ((*MONEYLINE, "inf"), "'inf' is not a price"),
    ((*MONEYLINE, "0.9"), "0.9; expected decimal odds above 1"),
    (("1", "--bankroll", "1,000"), "'1,000' is ambiguous"),
    (("1", "--bankroll", "1_000"), "'1_000' is not a number"),
    (("1", "--pregame-margin", "nan"), "'nan' is not a number"),
    (("1", "--pregame-margin", "-55"), "-55; expected at most 35 points"),
    ((*ODDS, "--home-odds", "-50"), f"-50; {NO_AMERICAN}"),
    ((*ODDS, "--home-odds", "+99"), f"+99; {NO_AMERICAN}"),
    ((*ODDS, "--home-odds", "-110.5"), f"-110.5; {NO_AMERICAN}"),
    ((*ODDS, "--moneyline"), "give either --spread or --moneyline"),
    ((*ODDS, "--spread", "-5.5"), "'-5.5' is not a spread; expected a team and its handicap as printed: BOS-5.5"),
    ((*ODDS, "--spread", "BKN"), "'BKN' is not a spread"),
    ((*ODDS, "--spread", "LAL-5.5"), "LAL is not one of the teams of GSW at BKN"),
    ((*ODDS, "--spread", "LA-5.5"), "'LA' is the city of two teams; expected LAC or LAL"),
    (PRICED, "--horizon: required with a line; say which bet it is: half for the lead at the half, final for"),
    (("1", "--home", "Bosten", "--away", "LAL"), "'Bosten' is not a team; did you mean BOS (Celtics)?"),
    (("1", "--home", "Boston", "--away", "celtics"), "celtics and Boston are the same team"),
    (("1", "--spread", "BKN-5.5"), "BKN is not one of the teams without --home and --away"),
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
    *((("0", "2", "--possession", each), NO_POSSESSION) for each in ("left", "home:", "home:12", "shot")),
    *((("0", "2", "--moment", each), NO_MOMENT) for each in ("Q5 0:10 1", "4 0:10 1", "Q4 10 1", "Q4 0:60 1")),
    *((("0", "2", "--moment", each), NO_MOMENT) for each in ("Q4 0:10", "OT123 0:10 1", "Q4 0:10 1.5")),
    *((("0", "2", "--last-score", each), NO_LAST_SCORE) for each in ("home", "home:", "12", "left:12", "home:-1")),
    *((("0", "2", "--last-score", each), NO_LAST_SCORE) for each in ("home:1.5", "home:123456", "home:١")),
]
OTHERS = [
    ("risk", (), "give the lead at the end of each minute"),
    ("risk", ("1", "2", "--total-points", "-3"), "greater than or equal to 0"),
    ("risk", ("1", "2", "--neutral-site"), "'--neutral-site' is neither an option nor a number"),
    ("predictions", ("--explain",), "give it with --json"),
    ("predictions", ("--json", "--csv", "-"), "give only one of them"),
    ("predictions", ("--date", "2026-01-02", "--to", "2026-01-03"), "either one day or a range of days"),
    ("predictions", ("--limit", "-1"), "greater than or equal to 0"),
    ("scorecard", ("--csv", "a", "--parquet", "b"), "give only one of them"),
    ("scorecard", ("--from", "2026-01-02", "--to", "2026-01-01"), "2026-01-01 is before --from 2026-01-02"),
    ("scorecard", ("--minute", "2", "--max-minute", "3"), "either one minute or a range of minutes"),
    ("scorecard", ("--date", "tomorrow"), f"'tomorrow' {NO_DAY}"),
    ("scorecard", ("--from", "2024-5-6"), f"'2024-5-6' {NO_DAY}"),
    ("scorecard", ("--to", "2024-W01-1"), f"'2024-W01-1' {NO_DAY}"),
    ("scorecard", ("--to", "20240506"), f"'20240506' {NO_DAY}"),
    ("scorecard", ("--by-model", "--min-minute", "3", "--max-minute", "2"), "2 is before --min-minute 3"),
    ("scorecard", ("--by-model", "--date", "yesterday"), "yesterday"),
    ("scorecard", ("--by-model", "--metric", "luck"), "luck"),
    ("scorecard", ("--metric", "mae"), "--metric: needs --by-model"),
    ("scorecard", ("--by-model", "--model", "abc"), "--model: not with --by-model"),
    ("predictions", (GAME, "--team", "BOS"), "--team: not with GAME_ID"),
    ("games", ("--teams", "--replays"), "--replays: not with --teams"),
    ("notify", ("rules.toml", "--list", "--dry-run"), "not with --list"),
    ("notify", ("rules.toml", "--limit", "3"), "--limit: needs --list"),
    ("notify", (), "expected a file of rules, or --list"),
    ("stats", ("--cache", "--clear-cache"), "give only one of them"),
    ("stats", ("--cache", "--watch"), "--watch: not with an option of the cache"),
    ("stats", ("--interval", "1"), "--interval: needs --watch"),
    ("stats", ("--minutes", "7"), "'7' is not one of '1', '5', '15', 'all'"),
    ("poll", ("--evening", "2026-01-02"), "--evening: needs --page"),
    ("report", (GAME, "4", "--horizon", "half", "--withdraw"), "--withdraw takes only the game and --horizon"),
    ("report", (GAME, "--horizon", "half"), "expected the home team's lead, or --withdraw"),
    ("report", (GAME, "four", "--horizon", "half"), "integer"),
    ("report", (GAME, "4"), "--horizon"),
    ("report", (GAME, "4", "--horizon", "half", "--observed", "noon"), "'noon' is not a time"),
    ("poll", ("--feed-url", "nowhere"), "nowhere"),
    ("poll", ("--horizon", "third"), "'third' is not one of 'half', 'final', 'end', 'both'"),
    ("poll", ("--from-minute", "48"), "'--from-minute': Input should be less than or equal to 47"),
    ("poll", ("--every", "0"), "'--every': Input should be greater than or equal to 1"),
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
        *((("predict", "-"), text, NUMBERS) for text in ("[]", '["1"]', "[true]")),
        (("stats", "--warm-cache", "-"), "", "has no requests"),
        (("stats", "--warm-cache", "-"), f"{WHAT_IF}\n{{", "line 2"),
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
