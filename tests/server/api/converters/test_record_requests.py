"""Reading of the record service's requests, and the errors of invalid ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from dejavu.v1 import record_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME
from dejavu_ledger.queries.pages import ForecastFilter
from dejavu_ledger.queries.scorecards import ScoreFilter
from dejavu_models.errors import InvalidInput
from dejavu_models.scorecard.cards import LeaderboardMetric
from dejavu_models.types import Horizon
from dejavu_server.api.converters import record_requests as requests
from dejavu_server.api.errors import MAX_TEXT

GAME = "0022500001"
NOW = datetime(2026, 1, 14, 3, 0, tzinfo=UTC)
HALF, FINAL = Horizon.HALFTIME, Horizon.FINAL
DAY = date(2026, 1, 13).toordinal()


def read_outcome(request: pb.ReportOutcomeRequest) -> object:
    return requests.outcome(request, NOW)


def time(seconds: int, nanos: int = 0) -> Timestamp:
    return Timestamp(seconds=seconds, nanos=nanos)


SECONDS = int(NOW.timestamp())


def test_an_outcome_is_read_with_its_teams_by_their_codes() -> None:
    seen = time(SECONDS - 60, 123_456_789)
    request = pb.ReportOutcomeRequest(
        game_id=GAME, horizon=HORIZON_FINAL, differential=-7, home_team="brk", away_team="BOS", observed_time=seen
    )
    told = requests.outcome(request, NOW)
    assert (told.game_id, told.horizon, told.differential) == (GAME, FINAL, -7)
    assert (told.home_team, told.away_team) == ("BKN", "BOS")
    assert told.observed_time == NOW - timedelta(seconds=60) + timedelta(microseconds=123_456)
    assert (told.sequence, told.revision) == (0, 0)


def test_an_outcome_may_be_bare_and_is_then_observed_now() -> None:
    told = requests.outcome(report()[1], NOW)
    assert (told.horizon, told.differential, told.home_team, told.away_team) == (HALF, 0, "", "")
    assert told.observed_time == told.recorded_time == NOW


def test_a_clock_that_is_a_little_ahead_is_no_future() -> None:
    told = requests.outcome(report(observed_time=time(SECONDS + 60))[1], NOW)
    assert told.observed_time == NOW + timedelta(minutes=1)


def test_a_list_without_conditions_is_of_fifty_newest_forecasts() -> None:
    assert requests.list_query(pb.ListPredictionsRequest()) == (ForecastFilter(), "", 50, False)


def test_every_condition_of_a_list_is_read() -> None:
    request = pb.ListPredictionsRequest(
        page_size=500,
        page_token="abc",
        from_date="2026-01-13",
        to_date="2026-01-14",
        team="pho",
        horizon=HORIZON_HALFTIME,
        min_confidence=0.75,
        settled=False,
        model_version="v1",
        elapsed_minutes=18,
        include_superseded=True,
        include_replays=True,
        return_explanation=True,
    )
    wanted = ForecastFilter(
        horizon=HALF,
        first_day=DAY,
        last_day=DAY + 1,
        team="PHX",
        min_confidence=0.75,
        settled=False,
        model_version="v1",
        minute=18,
        superseded=True,
        replays=True,
    )
    assert requests.list_query(request) == (wanted, "abc", 500, True)


def test_who_names_a_game_means_it_also_if_it_is_a_replay() -> None:
    asked = requests.list_query(pb.ListPredictionsRequest(game_id="9900000001"))
    assert not asked.filter.real_only
    assert not requests.scorecard_query(scored(game_id="9900000001")[1])[0].real_only
    assert requests.list_query(pb.ListPredictionsRequest()).filter.real_only


def test_a_game_is_asked_about_at_any_minute_and_model_unless_told_otherwise() -> None:
    assert requests.game_query(asked()[1]) == (GAME, HALF, None, "")
    told = pb.GetPredictionRequest(game_id=GAME, horizon=HORIZON_FINAL, elapsed_minutes=47, model_version="v1")
    assert requests.game_query(told) == (GAME, FINAL, 47, "v1")


def test_a_scorecard_is_of_every_game_unless_told_otherwise() -> None:
    assert requests.scorecard_query(scored()[1]) == (ScoreFilter(), 0)
    told = pb.ScoreFilter(
        model_version="v1",
        horizon=HORIZON_FINAL,
        from_date="2026-01-13",
        to_date="2026-01-13",
        min_minutes=6,
        max_minutes=6,
        include_replays=True,
        team="pho",
        game_id=GAME,
        min_confidence=0.75,
    )
    expected = ScoreFilter(
        horizon=FINAL,
        model_version="v1",
        first_day=DAY,
        last_day=DAY,
        min_minutes=6,
        max_minutes=6,
        replays=True,
        team="PHX",
        game_id=GAME,
        min_confidence=0.75,
    )
    assert requests.scorecard_query(pb.GetScorecardRequest(filter=told, limit=7)) == (expected, 7)


def test_a_leaderboard_is_of_a_hundred_games_unless_told_otherwise() -> None:
    assert requests.leaderboard_query(ranked()[1]) == requests.LeaderboardQuery(
        ScoreFilter(), LeaderboardMetric.CRPS, 100, 0
    )
    asked = requests.leaderboard_query(ranked(metric=pb.LEADERBOARD_METRIC_COVERAGE_GAP, min_games=1)[1])
    assert (asked.metric, asked.min_games) == (LeaderboardMetric.COVERAGE_GAP, 1)


def test_every_metric_of_the_contract_and_of_the_domain_is_known() -> None:
    assert set(requests.METRICS) == set(pb.LeaderboardMetric.values()) - {pb.LEADERBOARD_METRIC_UNSPECIFIED}
    assert set(requests.METRICS.values()) == set(LeaderboardMetric)


def report(**fields: Any) -> tuple[Callable[[Any], object], pb.ReportOutcomeRequest]:
    return read_outcome, pb.ReportOutcomeRequest(**{"game_id": GAME, "horizon": HORIZON_HALFTIME, **fields})


def withdrawn(**fields: Any) -> tuple[Callable[[Any], object], pb.WithdrawOutcomeRequest]:
    return requests.withdrawal, pb.WithdrawOutcomeRequest(**{"game_id": GAME, "horizon": HORIZON_HALFTIME, **fields})


def listed(**fields: Any) -> tuple[Callable[[Any], object], pb.ListPredictionsRequest]:
    return requests.list_query, pb.ListPredictionsRequest(**fields)


def score_filter(**fields: Any) -> pb.ScoreFilter:
    return pb.ScoreFilter(**{"horizon": HORIZON_HALFTIME, **fields})


def scored(**fields: Any) -> tuple[Callable[[Any], object], pb.GetScorecardRequest]:
    return requests.scorecard_query, pb.GetScorecardRequest(filter=score_filter(**fields))


def limited(games: int) -> tuple[Callable[[Any], object], pb.GetScorecardRequest]:
    return requests.scorecard_query, pb.GetScorecardRequest(filter=score_filter(), limit=games)


def final(**fields: Any) -> tuple[Callable[[Any], object], pb.ReportOutcomeRequest]:
    return report(horizon=HORIZON_FINAL, differential=1, **fields)


def players(**first: Any) -> list[pb.PlayerLine]:
    """Return a box score of five players a team, with fields of the first."""
    fives = ((True, range(1, 6)), (False, range(11, 16)))
    lines = [
        {"player_id": player, "home": home, "seconds": 2880, "plus_minus": 1 if home else -1, "started": True}
        for home, five in fives
        for player in five
    ]
    many = ("started",) if "started" in first else ()
    return [pb.PlayerLine(**{**line, **(first if not place or many else {})}) for place, line in enumerate(lines)]


def asked(**fields: Any) -> tuple[Callable[[Any], object], pb.GetPredictionRequest]:
    return requests.game_query, pb.GetPredictionRequest(**{"game_id": GAME, "horizon": HORIZON_HALFTIME, **fields})


def ranked(**fields: Any) -> tuple[Callable[[Any], object], pb.GetLeaderboardRequest]:
    return requests.leaderboard_query, pb.GetLeaderboardRequest(
        **{"filter": score_filter(), "metric": pb.LEADERBOARD_METRIC_CRPS, **fields}
    )


ID, HORIZONS = "the NBA's id, ten digits", "HORIZON_HALFTIME or HORIZON_FINAL"
METRICS = "one of LEADERBOARD_METRIC_CRPS, LEADERBOARD_METRIC_MAE, LEADERBOARD_METRIC_BRIER, "
BAD = [
    (report(game_id=""), "INVALID_GAME_ID", "game_id", "''", ID),
    (report(game_id="12"), "INVALID_GAME_ID", "game_id", "'12'", ID),
    (report(horizon=9), "INVALID_HORIZON", "horizon", "9", HORIZONS),
    (report(horizon=0), "INVALID_HORIZON", "horizon", "unspecified", HORIZONS),
    (withdrawn(horizon=0), "INVALID_HORIZON", "horizon", "unspecified", HORIZONS),
    (withdrawn(horizon=3), "INVALID_HORIZON", "horizon", "3", HORIZONS),
    (report(differential=201), "INVALID_DIFFERENTIAL", "differential", "201", "±200"),
    (report(differential=-201), "INVALID_DIFFERENTIAL", "differential", "-201", "±200"),
    (report(horizon=HORIZON_FINAL), "INVALID_DIFFERENTIAL", "differential", "0 at the end", "no game ends level"),
    (report(horizon=HORIZON_FINAL, differential=1, overtimes=21), "INVALID_OVERTIMES", "overtimes", "21", "0 to 20"),
    (final(overtimes=-1), "INVALID_OVERTIMES", "overtimes", "-1", "0 to 20"),
    (report(total_points=-1), "INVALID_TOTAL_POINTS", "total_points", "-1", "0 to 500"),
    (final(total_points=200), "INVALID_TOTAL_POINTS", "total_points", "200", "odd number"),
    (report(differential=1, overtimes=0), "INVALID_OVERTIMES", "overtimes", "0 at the half", "none: only"),
    (report(differential=1, players=players()), "INVALID_PLAYERS", "players", "a box score at the half", "none: it is"),
    (final(players=players()[1:]), "INVALID_PLAYERS", "players", "4 of the home team", "5 to 20"),
    (final(players=[*players(), *players()[:1]]), "INVALID_PLAYERS", "players", "a player twice", "one line a player"),
    (final(players=players(started=False)), "INVALID_PLAYERS", "players", "0 starters of the home team", "5"),
    (final(players=players(seconds=0)), "INVALID_PLAYERS", "players[0].seconds", "0", "1 to 10800"),
    (final(players=players(plus_minus=151)), "INVALID_PLAYERS", "players[0].plus_minus", "151", "-150 to 150"),
    (final(players=players(seconds=-1)), "INVALID_PLAYERS", "players[0].seconds", "-1", "1 to 10800"),
    (final(players=players(player_id=0)), "INVALID_PLAYERS", "players[0].player_id", "0", "1 to 2147483647"),
    (final(players=players(player_id=-1)), "INVALID_PLAYERS", "players[0].player_id", "-1", "1 to 2147483647"),
    (final(players=players(plus_minus=30)), "INVALID_PLAYERS", "players", "34 of the home team", "5, five times"),
    (final(players=players(seconds=4000)), "INVALID_PLAYERS", "players", "4000 s of a player", "a fifth"),
    (final(players=players() * 9), "INVALID_PLAYERS", "players", "90 players", "at most 20 of each team"),
    (report(home_team="XXX", away_team="BOS"), "INVALID_TEAM", "home_team", "'XXX'", "an NBA code"),
    (report(home_team="BOS", away_team="x" * 99), "INVALID_TEAM", "away_team", "99 characters", "an NBA code"),
    (report(home_team="BOS"), "INVALID_TEAM", "away_team", "none", "both teams, or none"),
    (report(away_team="BOS"), "INVALID_TEAM", "home_team", "none", "both teams, or none"),
    (report(home_team="BRK", away_team="BKN"), "INVALID_TEAM", "away_team", "BKN", "another team"),
    (report(observed_time=time(SECONDS + 61)), "INVALID_TIME", "observed_time", "2026-01-14T03:01:01+00:00", "not in"),
    (report(observed_time=time(-1)), "INVALID_TIME", "observed_time", "-1 seconds", "since 1970"),
    (report(observed_time=time(2**62)), "INVALID_TIME", "observed_time", f"{2**62}", "not in the future"),
    (report(observed_time=time(1, -5)), "INVALID_TIME", "observed_time", "-5 nanoseconds", "since 1970"),
    (report(observed_time=time(1, 10**9)), "INVALID_TIME", "observed_time", "1000000000 nano", "since 1970"),
    (asked(game_id="x"), "INVALID_GAME_ID", "game_id", "'x'", ID),
    (asked(horizon=-1), "INVALID_HORIZON", "horizon", "-1", HORIZONS),
    (asked(horizon=0), "INVALID_HORIZON", "horizon", "unspecified", HORIZONS),
    (asked(elapsed_minutes=0), "INVALID_MINUTES", "elapsed_minutes", "0", "1 to 47"),
    (asked(elapsed_minutes=-1), "INVALID_MINUTES", "elapsed_minutes", "-1", "1 to 47"),
    (asked(elapsed_minutes=48), "INVALID_MINUTES", "elapsed_minutes", "48", "1 to 47"),
    (listed(page_size=-1), "INVALID_PAGE_SIZE", "page_size", "-1", "1 to 500"),
    (listed(game_id="x"), "INVALID_GAME_ID", "game_id", "'x'", ID),
    (listed(from_date="2026-02-30"), "INVALID_DATE", "from_date", "'2026-02-30'", "YYYY-MM-DD"),
    (listed(from_date="20260113"), "INVALID_DATE", "from_date", "'20260113'", "YYYY-MM-DD"),
    (listed(to_date="2026-W03-2"), "INVALID_DATE", "to_date", "'2026-W03-2'", "YYYY-MM-DD"),
    (listed(to_date="9" * 2**16), "INVALID_DATE", "to_date", "65536 characters", "YYYY-MM-DD"),
    (listed(from_date="2026-01-14", to_date="2026-01-13"), "INVALID_DATE", "to_date", "'2026-01-13'", "or later"),
    (listed(team="Gotham"), "INVALID_TEAM", "team", "'Gotham'", "an NBA code"),
    (listed(horizon=3), "INVALID_HORIZON", "horizon", "3", HORIZONS),
    (listed(min_confidence=0.49), "INVALID_CONFIDENCE", "min_confidence", "0.49", "from 0.5 to 1"),
    (listed(min_confidence=1.01), "INVALID_CONFIDENCE", "min_confidence", "1.01", "from 0.5 to 1"),
    (listed(min_confidence=math.nan), "INVALID_CONFIDENCE", "min_confidence", "nan", "from 0.5 to 1"),
    (listed(elapsed_minutes=-1), "INVALID_MINUTES", "elapsed_minutes", "-1", "1 to 47"),
    (listed(elapsed_minutes=48), "INVALID_MINUTES", "elapsed_minutes", "48", "1 to 47"),
    (scored(game_id="x"), "INVALID_GAME_ID", "filter.game_id", "'x'", ID),
    (scored(team="Gotham"), "INVALID_TEAM", "filter.team", "'Gotham'", "an NBA code"),
    (scored(min_confidence=0.49), "INVALID_CONFIDENCE", "filter.min_confidence", "0.49", "from 0.5 to 1"),
    (scored(horizon=7), "INVALID_HORIZON", "filter.horizon", "7", HORIZONS),
    (scored(horizon=0), "INVALID_HORIZON", "filter.horizon", "unspecified", HORIZONS),
    (ranked(filter=pb.ScoreFilter()), "INVALID_HORIZON", "filter.horizon", "unspecified", HORIZONS),
    (scored(from_date="x"), "INVALID_DATE", "filter.from_date", "'x'", "YYYY-MM-DD"),
    (scored(from_date="2026-01-02", to_date="2026-01-01"), "INVALID_DATE", "filter.to_date", "01-01", "or later"),
    (scored(min_minutes=-1), "INVALID_MINUTES", "filter.min_minutes", "-1", "1 to 47"),
    (scored(max_minutes=-1), "INVALID_MINUTES", "filter.max_minutes", "-1", "1 to 47"),
    (scored(min_minutes=0), "INVALID_MINUTES", "filter.min_minutes", "0", "1 to 47"),
    (scored(max_minutes=99), "INVALID_MINUTES", "filter.max_minutes", "99", "1 to 47"),
    (scored(min_minutes=9, max_minutes=8), "INVALID_MINUTES", "filter.max_minutes", "8", "9, or more"),
    (ranked(min_games=-1), "INVALID_FILTER", "min_games", "-1", "1 or more, or 0 for 100"),
    (ranked(limit=-1), "INVALID_FILTER", "limit", "-1", "1 to 100000, or 0 for all"),
    (limited(100_001), "INVALID_FILTER", "limit", "100001", "1 to 100000, or 0 for all"),
    (ranked(metric=9), "INVALID_METRIC", "metric", "9", METRICS),
    (ranked(metric=0), "INVALID_METRIC", "metric", "unspecified", METRICS),
    (ranked(filter=score_filter(model_version="v1")), "INVALID_FILTER", "filter.model_version", "'v1'", "none"),
]


SEEN = time(int(datetime(2024, 10, 23, 2, 0, tzinfo=UTC).timestamp()))
"""On 22 October 2024 in New York; `NOW` is on 13 January 2026."""

OF_OTHER_SEASONS = [
    ("0024500001", None, "game_id", "INVALID_GAME_ID", "of the season 2045–46, observed on 2026-01-13", "25 as its"),
    ("0022400001", None, "game_id", "INVALID_GAME_ID", "of the season 2024–25", "from 2024-08-01 to 2025-10-31"),
    ("0029900001", None, "game_id", "INVALID_GAME_ID", "of the season 1999–00", "from 1999-08-01 to 2000-10-31"),
    ("0012600001", None, "game_id", "INVALID_GAME_ID", "of the season 2026–27", "from 2026-08-01 to 2027-10-31"),
    ("0022500001", SEEN, "observed_time", "INVALID_TIME", "2024-10-22, but game 0022500001", "from 2025-08-01"),
    ("0024500001", SEEN, "observed_time", "INVALID_TIME", "of the season 2045–46", "23 or 24 as its digits 4 and 5"),
]


@pytest.mark.parametrize(("game_id", "seen", "field", "reason", "found", "expected"), OF_OTHER_SEASONS)
def test_an_outcome_under_an_id_of_another_season_than_its_time_is_refused(
    game_id: str, seen: Timestamp | None, field: str, reason: str, found: str, expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        requests.outcome(report(game_id=game_id, observed_time=seen)[1], NOW)
    error = caught.value
    assert (error.field, error.reason, error.others) == (field, reason, ())
    assert found in error.found
    assert expected in error.expected
    assert len(str(error).encode()) <= MAX_TEXT


@pytest.mark.parametrize(
    ("game_id", "seen"),
    [("0022400001", SEEN), ("0042300001", SEEN), ("0022500001", None), ("9900000001", None), ("9945000001", SEEN)],
)
def test_an_outcome_of_the_season_of_its_time_or_of_a_replay_is_read(game_id: str, seen: Timestamp | None) -> None:
    told = requests.outcome(report(game_id=game_id, observed_time=seen)[1], NOW)
    assert told.game_id == game_id


@pytest.mark.parametrize(
    ("told", "reason", "field", "found", "expected"),
    BAD,
    ids=[f"{row[0][0].__name__} {row[2]} {row[3]}" for row in BAD],
)
def test_a_field_that_cannot_be_right_is_refused_by_name(
    told: tuple[Callable[[Any], object], Any], reason: str, field: str, found: str, expected: str
) -> None:
    read, request = told
    with pytest.raises(InvalidInput) as caught:
        read(request)
    error = caught.value
    assert (error.reason, error.field, error.others) == (reason, field, ())
    assert found in error.found
    assert expected in error.expected


def test_all_that_is_wrong_with_a_report_is_told_at_once() -> None:
    _, request = report(game_id="x", horizon=7, differential=999, home_team="XXX", observed_time=time(SECONDS * 2))
    with pytest.raises(InvalidInput) as caught:
        read_outcome(request)
    told = [caught.value, *caught.value.others]
    assert [each.field for each in told] == [
        "game_id",
        "horizon",
        "differential",
        "home_team",
        "away_team",
        "observed_time",
    ]
