"""`dejavu bets` against a real server: an evening's prices, weighed at once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.builders.calls import PATTERN, current_game
from tests.support.harness.clients import Run
from tests.support.processes.restartable_server import address_of
from tests.support.processes.servers import spawned_server

from dejavu.v1.game_service_pb2 import Game, GameStatus
from dejavu_client import FINAL, DejavuClient

HEADER = "home,away,market,line,home_odds,away_odds,over_odds,under_odds\n"
GAMES = [("BOS", "LAL"), ("DEN", "POR"), ("MIA", "CHI"), ("OKC", "SAS")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a current forecast of each game: the home teams lead by 11."""
    folder = tmp_path_factory.mktemp("server")
    # In a process of its own, as its log would be part of the output.
    options = ("--workers", "1", "--ledger", f"sqlite:///{folder}/ledger.sqlite3")
    with spawned_server(*options) as server, DejavuClient(address_of(server), timeout=30.0) as client:
        for number, (home, away) in enumerate(GAMES, start=801):
            asked: Any = {"home_team": home, "away_team": away, "pregame_margin": 4.0, "pregame_total": 200.5}
            client.predict(PATTERN, game_id=current_game(number), horizon=FINAL, total_points=105, **asked)
        yield address_of(server)


def prices(folder: Path, *rows: str) -> str:
    path = folder / "prices.csv"
    path.write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return str(path)


def test_the_stakes_of_a_file_keep_the_caps_of_game_and_evening_together(
    run: Run, address: str, tmp_path: Path
) -> None:
    rows = [f"{home},{away},spread,-10.5,+150,-175,," for home, away in GAMES]
    file = prices(tmp_path, *rows, "Celtics,LAL,moneyline,,-450,+350,,", "CHI,UTA,spread,3,-110,-110,,")
    result = run("bets", file, "--target", address, "--staking", "kelly_fraction=1", "--json")
    assert result.exit_code == 0, result.stderr
    weighed = [json.loads(line) for line in result.stdout.splitlines()]
    stakes = [each["answer"].get("stake", 0.0) for each in weighed if each["answer"]]
    assert stakes[:4] == pytest.approx([0.02, 0.02, 0.01, 0.0])
    assert sum(stakes) == pytest.approx(0.05)
    assert weighed[0]["answer"]["recording"] == "MARKET_RECORDING_RECORDED"
    assert (weighed[-1]["answer"], weighed[-1]["notWeighed"]) == (
        None,
        "no forecast of the game (of replays only with --replays)",
    )


def test_a_game_that_is_over_weighs_no_price(run: Run, address: str, tmp_path: Path) -> None:
    with DejavuClient(address, timeout=30.0) as client:
        client.report_outcome(current_game(804), 11, horizon=FINAL, home_team="OKC", away_team="SAS")
    file = prices(tmp_path, "OKC,SAS,spread,-10.5,+150,-175,,")
    shown = run("bets", file, "--target", address).stdout
    assert "line 2: the outcome is known" in shown
    assert "stakes together: 0.00 %" in shown


def weighed(run: Run, address: str, file: str) -> dict[str, Any]:
    """Return the one entry of a file of prices."""
    [entry] = map(json.loads, run("bets", file, "--target", address, "--json").stdout.splitlines())
    return dict(entry)


def test_a_file_from_before_the_forecast_becomes_no_bet(run: Run, address: str, tmp_path: Path) -> None:
    file = prices(tmp_path, "MIA,CHI,spread,-10.5,+150,-175,,")
    written = time.time() - 600
    os.utime(file, (written, written))
    entry = weighed(run, address, file)
    assert entry["answer"] is None
    assert "min older than the forecast" in entry["notWeighed"]


def publish(client: DejavuClient, game_id: str, played: float, observed: timedelta, **state: Any) -> None:
    """Publish the state of a game, some seconds of play after the forecast's minute."""
    minutes = len(PATTERN)
    left = 720.0 - 60 * (minutes % 12) - played
    state |= {"period": minutes // 12 + 1, "seconds_left": left, "status": GameStatus.GAME_STATUS_LIVE}
    shown = Game(game_id=game_id, **state)
    shown.observed_time.FromDatetime(datetime.now(UTC) + observed)
    client.publish_games([shown])


def test_a_price_of_now_is_no_bet_on_a_forecast_of_before_unless_the_game_stands_still(
    run: Run, address: str, tmp_path: Path
) -> None:
    """Formerly, a forecast of up to five minutes ago got a stake, without a word of its age."""
    [game_id] = [current_game(number) for number, teams in enumerate(GAMES, start=801) if teams == ("DEN", "POR")]
    file = tmp_path / "prices.csv"
    later = datetime.now(UTC) + timedelta(seconds=110)
    file.write_text(f"{HEADER.strip()},time\nDEN,POR,spread,-10.5,+150,-175,,,{later.isoformat()}\n")
    assert "the forecast is 2 min older than the price" in weighed(run, address, str(file))["notWeighed"]
    state: Any = {"home_team": "DEN", "away_team": "POR", "home_score": 58, "away_score": 47}
    # The price is of 110 s from now: a state of now is as old by then as that of a silent poller.
    with DejavuClient(address, timeout=30.0) as client:
        for played, ahead, is_weighed in ((0.0, 0, False), (30.0, 50, False), (0.0, 58, True)):
            publish(client, game_id, played, timedelta(seconds=ahead), **state)
            assert (weighed(run, address, str(file))["answer"] is not None) == is_weighed


@pytest.mark.parametrize(
    ("away", "price", "points", "cases"),
    [
        # A poller reads a state some milliseconds before it makes the forecast of it: then the play decides. Of the
        # last four cases, the first two have a basket that was withdrawn, and the last two a clock that was put back.
        ("UTA", "spread,-10.5,+150,-175,,", {}, [
            (2, 0, 0, 0, False), (0, 0, 31, 0, False), (0, 0, 30, 0, True), (2, 0, 5, 60, False),
            (2, 0, 0, 60, True), (2, 0, -5, 60, True), (2, 0, -5, 0, False), (0, 0, -31, 0, False),
        ]),
        # Otherwise each stretch without points looks like value on the over.
        ("SAC", "total,225.5,,,-110,-110", {"pregame_total": 225.5, "total_points": 101}, [
            (0, 0, 11, 0, False), (2, 2, 5, 0, False), (0, 0, 10, 0, True),
        ]),
    ],
    ids=["the lead", "the total"],
)  # fmt: skip
def test_a_price_of_now_is_no_bet_on_a_forecast_of_another_score_or_of_too_long_before(
    run: Run,
    address: str,
    tmp_path: Path,
    away: str,
    price: str,
    points: dict[str, Any],
    cases: list[tuple[int, int, int, int, bool]],
) -> None:
    """Formerly, what a bet of an evening showed as its value was mostly the basket that the forecast did not know."""
    teams: Any = {"home_team": "OKC", "away_team": away}
    game_id, file = current_game(840 + len(points)), prices(tmp_path, f"OKC,{away},{price}")
    with DejavuClient(address, timeout=30.0) as client:
        client.predict(PATTERN, game_id=game_id, horizon=FINAL, pregame_margin=5.0, **teams, **points)
        for home_more, away_more, played, before, is_weighed in cases:
            scores: Any = {"home_score": 56 + home_more, "away_score": 45 + away_more}
            publish(client, game_id, played, -timedelta(seconds=before), **scores, **teams)
            entry = weighed(run, address, file)
            assert (entry["answer"] is not None) == is_weighed, entry
            expected = "" if is_weighed or points else "the score has changed" if home_more else "31 s "
            assert expected in (entry["notWeighed"] or "")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("BOS,LAL,spread,-5.5,-110,-1O9,,", "line 2: away_odds: '-1O9' is not a price"),
        ("BOS,LAL,spread,,-110,-110,,", "line 2: line: missing"),
        ("BOS,LAL,parlay,1,-110,-110,,", "line 2: market: 'parlay'; expected spread, moneyline or total"),
        ("BOS,LAL,total,221.5,-110,-110,,", "line 2: over_odds: missing"),
        ("BOS,LAL,spread,1,-110,-110,,,5", "line 2: there are more values than columns"),
    ],
)
def test_an_error_names_line_and_column(run: Run, tmp_path: Path, row: str, named: str) -> None:
    result = run("bets", prices(tmp_path, row))
    assert result.exit_code != 0
    assert named in " ".join(result.stderr.split())


def test_a_replay_is_found_by_its_teams_whatever_its_date(run: Run, address: str, tmp_path: Path) -> None:
    teams: Any = {"home_team": "UTA", "away_team": "PHX"}
    with DejavuClient(address, timeout=30.0) as client:
        client.predict(PATTERN, game_id="9902400801", horizon=FINAL, game_date="2024-11-20", **teams)
        publish(client, "9902400801", 0.0, timedelta(), home_score=58, away_score=47, **teams)
    file = prices(tmp_path, "UTA,PHX,moneyline,,-450,+350,,")
    assert "only with --replays" in weighed(run, address, file)["notWeighed"]
    [entry] = map(json.loads, run("bets", file, "--target", address, "--json", "--replays").stdout.splitlines())
    assert (entry["gameId"], entry["notWeighed"]) == ("9902400801", None)
