from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_feed.errors import MalformedFeed
from dejavu_feed.lines import Line, SidedLine
from dejavu_feed.nba.odds import read_odds

GAME = "0022500001"


def book(name: str, home: str, away: str, prices: tuple[str, str] = ("1.91", "1.91")) -> dict[str, Any]:
    sides = zip(("home", "away"), (home, away), prices, strict=True)
    return {"id": name, "outcomes": [{"type": side, "spread": points, "odds": price} for side, points, price in sides]}


def moneylines(name: str, home: str, away: str) -> dict[str, Any]:
    return {"id": name, "outcomes": [{"type": "home", "odds": home}, {"type": "away", "odds": away}]}


def document(*markets: tuple[str, list[Any]], game_id: str = GAME) -> dict[str, Any]:
    return {"games": [{"gameId": game_id, "markets": [{"name": name, "books": books} for name, books in markets]}]}


@pytest.mark.parametrize(
    ("markets", "margin"),
    [
        ([("spread", [book("a", "-6.5", "6.5"), book("b", "-7", "7"), book("c", "-17.5", "17.5")])], 7.0),
        (
            [("spread", [book("a", "-6.5", "6.5"), book("b", "-8", "8"), book("a", "-6.5", "6.5")])],
            7.25,
        ),  # a counts once
        ([("spread", [book("a", "-6.5", "5.5"), book("b", "8", "-8")])], -8.0),  # the first contradicts itself
        ([("spread", [book("a", "PK", "PK")])], 0.0),
        ([("spread", [book("a", "-6.5", "6.5"), book("b", "-17.5", "17.5", ("5.000", "1.182"))])], 6.5),  # alternate
        (
            [("spread", [book("a", "-17.5", "17.5", ("5.000", "1.182"))]), ("2way", [moneylines("a", "1.5", "2.75")])],
            4.5,
        ),
        ([("spread", [book("a", "-17.5", "17.5", ("5.000", "1.182"))])], None),
        ([("spread", [book("a", "-6.5", "6.5", ("1.77", "2.1"))])], 6.5),  # 54 % without the bookmaker's margin
        ([("spread", [book("a", "-6.5", "6.5", ("1.7", "2.2"))])], None),  # 56 %
        ([("spread", [book("a", "-6.5", "6.5", ("1.91", "3"))])], None),  # these are not of one market
        ([("spread", [book("a", "-6.5", "6.5", ("", "1.91")), {**book("b", "-7", "7"), "outcomes": []}])], None),
        ([("2way", [moneylines("a", "1.5", "2.75")])], 4.5),  # 64.7 % without the bookmaker's margin
        ([("2way", [moneylines("a", "1.5", "1.5"), moneylines("b", "1.5", "2.75")])], 4.5),  # a's cannot be
        ([("2way", [moneylines("a", "1.2", "5.0")]), ("spread", [book("a", "-3", "3")])], 3.0),
        ([("spread", [book("a", "-66", "66"), {"id": "b"}, None])], None),
        ([("spread", "no list"), ("totals", [book("a", "-3", "3")])], None),
        ([("spread", [{"id": "a", "outcomes": [{"type": []}, {"type": {}}]}, book("b", "-3", "3")])], 3.0),
    ],
)
def test_the_margin_is_the_median_over_distinct_bookmakers(
    markets: list[tuple[str, list[Any]]], margin: float | None
) -> None:
    assert read_odds(document(*markets)) == ({} if margin is None else {GAME: SidedLine(Line(margin))})


@pytest.mark.parametrize(
    ("home", "away", "teams"),
    [
        ("1610612760", 1610612751, ("OKC", "BKN")),
        (None, "", ("", "")),
        ("12", "9" * 5000, ("12", "9" * 20)),
    ],
)
def test_the_odds_name_their_teams(home: object, away: object, teams: tuple[str, str]) -> None:
    read = document(("spread", [book("a", "-3", "3")]))
    read["games"][0] |= {"homeTeamId": home, "awayTeamId": away}
    assert read_odds(read) == {GAME: SidedLine(Line(3.0), *teams)}


@pytest.mark.parametrize("wrong", [None, [], {}, {"games": None}, {"games": [{}] * 101}])
def test_another_document_is_refused(wrong: object) -> None:
    with pytest.raises(MalformedFeed, match="odds"):
        read_odds(wrong)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "spread", "odds", "books", "outcomes", "id", "name"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_game_has_costs_only_itself(value: Any) -> None:
    good = document(("spread", [book("a", "-3", "3")]))["games"]
    found = read_odds({"games": [{"gameId": "0022500002", "markets": value}, value, *good]})
    assert found[GAME] == SidedLine(Line(3.0))
    assert found.keys() <= {GAME, "0022500002"}


@pytest.mark.real_data
def test_real_odds_give_the_median_spread(data_dir: Path) -> None:
    found = read_odds(json.loads((data_dir / "feed" / "nba_api_odds.json").read_bytes()))
    assert found == {"0022400913": SidedLine(Line(6.75), "HOU", "NOP")}
