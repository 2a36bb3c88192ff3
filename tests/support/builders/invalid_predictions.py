"""Invalid requests to Predict and the expected error of each.

Tests send them alone and as one request of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from tests.support.builders.calls import GAME, PATTERN

from dejavu.v1 import prediction_service_pb2 as pb
from dejavu.v1.forecast_pb2 import HORIZON_FINAL, HORIZON_HALFTIME, HORIZON_UNSPECIFIED, SIDE_AWAY, LastScore
from dejavu.v1.market_pb2 import Market, Odds, TotalMarket
from dejavu_feed.teams import team_code

PREDICT = "/dejavu.v1.PredictionService/Predict"

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNSUPPORTED = grpc.StatusCode.FAILED_PRECONDITION
NOT_FOUND = grpc.StatusCode.NOT_FOUND

SLOTS = len(PATTERN)

PAST_GAME = "0022000001"


@dataclass(frozen=True, slots=True)
class BadRequest:
    """A row of the table.

    Attributes:
        path: path of the method.
        body: bytes of the request.
        field: the reported field; empty if the bytes are not a message.
        found: the value in the violation's description, or its size if it is long.
        expected: the expectation in the description.
    """

    name: str
    path: str
    body: bytes
    code: grpc.StatusCode
    reason: str
    field: str
    found: str
    expected: str


def good(**fields: Any) -> pb.PredictRequest:
    """Returns a valid request, unless `fields` make it invalid."""
    return pb.PredictRequest(**{"pattern": PATTERN, **fields})


def _predict(name: str, reason: str, field: str, found: str, expected: str, **fields: Any) -> BadRequest:
    code = INVALID
    if reason.startswith("UNSUPPORTED") or reason in {"ALPHA_TOO_SMALL", "QUANTILE_TOO_EXTREME"}:
        code = UNSUPPORTED
    elif reason == "UNKNOWN_MODEL_VERSION":
        code = NOT_FOUND
    return BadRequest(
        f"Predict: {name}", PREDICT, good(**fields).SerializeToString(), code, reason, field, found, expected
    )


def _lengths() -> list[BadRequest]:
    takes = {HORIZON_UNSPECIFIED: "1 to 23", HORIZON_HALFTIME: "1 to 23", HORIZON_FINAL: "1 to 47"}
    lengths = {
        HORIZON_UNSPECIFIED: (0, 24, 48),
        HORIZON_HALFTIME: (0, 24, 36, 47, 48, 10_000),
        HORIZON_FINAL: (0, 48, 10_000),
    }
    return [
        _predict(
            f"{n} slots for horizon {horizon}",
            "INVALID_PATTERN",
            "pattern",
            f"{n} slots",
            expected,
            pattern=[0.0] * n,
            horizon=horizon,
        )
        for horizon, expected in takes.items()
        for n in lengths[horizon]
    ]


def _slot(index: int, value: float) -> Sequence[float]:
    return [*PATTERN[:index], value, *PATTERN[index + 1 :]]


def _values() -> list[BadRequest]:
    bound = "a finite number within ±200"
    cases = [
        ("NaN at the start", 0, math.nan, "nan"),
        ("NaN at the end", SLOTS - 1, math.nan, "nan"),
        ("infinity", 3, math.inf, "inf"),
        ("minus infinity", 17, -math.inf, "-inf"),
        ("just too large", 5, 200.5, "200.5"),
        ("just too small", 6, -200.5, "-200.5"),
        ("the largest float", 9, 3.4028234663852886e38, "3.4028234663852886e+38"),
        ("a billion", 2, 1e9, "1000000000.0"),
    ]
    rows = [
        _predict(f"pattern, {name}", "INVALID_PATTERN", f"pattern[{at}]", found, bound, pattern=_slot(at, value))
        for name, at, value, found in cases
    ]
    rows.append(_predict("NaN in all", "INVALID_PATTERN", "pattern[0]", "nan", bound, pattern=[math.nan] * SLOTS))
    return rows


def _alphas() -> list[BadRequest]:
    between = "a number strictly between 0 and 1"
    wrong = (0.0, -0.0, 1.0, -0.05, 1.5, 95.0, 1e308, -5e-324, math.nan, math.inf, -math.inf)
    rows = [_predict(f"alpha {a}", "INVALID_ALPHA", "alpha", f"{a}", between, alpha=a) for a in wrong]
    small = (1e-320, 5e-324, 1e-9, 0.0001)
    rows += [_predict(f"alpha {a}", "ALPHA_TOO_SMALL", "alpha", f"{a}", "at least 0.0", alpha=a) for a in small]
    return rows


def _ids() -> list[BadRequest]:
    expected = "the NBA's id, ten digits"
    cases = [
        ("nine digits", "002200001", "'002200001'"),
        ("eleven digits", "00220000011", "'00220000011'"),
        ("letters", "002200000x", "'002200000x'"),
        ("unicode digits", "٠٠٢٢٠٠٠٠٠١", "'٠٠٢٢٠٠٠٠٠١'"),
        ("full-width digits", "００２２０００００１", "'００２２０００００１'"),
        ("a space before", " " + GAME, f"' {GAME}'"),
        ("a space behind", GAME + " ", f"'{GAME} '"),
        ("a line's end behind", GAME + "\n", f"'{GAME}\\n'"),
        ("a sign", "-022000001", "'-022000001'"),
        ("a decimal point", "002200000.", "'002200000.'"),
        ("NUL", "\0" * 10, "'\\x00\\x00"),
        ("a NUL in it", "00220\x0000001", "'00220\\x0000001'"),
        ("only a space", " ", "' '"),
        ("a path", "../../etc", "'../../etc'"),
        ("a megabyte", "0" * 2**20, "1048576 characters"),
    ]
    return [
        _predict(f"game_id, {name}", "INVALID_GAME_ID", "game_id", found, expected, game_id=value)
        for name, value, found in cases
    ]


def _teams() -> list[BadRequest]:
    rows = []
    for field in ("home_team", "away_team"):
        cases = [
            ("of another league", "FCB", "'FCB'"),
            ("no club's name", "Gotham Knights", "'Gotham Knights'"),
            ("part of a code", "BO", "'BO'"),
            ("33 characters", "x" * 33, "'xxx"),
            ("a megabyte", "x" * 2**20, "1048576 characters"),
            ("a tab", "BO\tS", "'BO\\tS'"),
            ("a space", " ", "' '"),
            ("NUL", "\0", "'\\x00'"),
            ("a NUL behind", "BOS\0", "'BOS\\x00'"),
            ("32 emoji", "😀" * 32, "32 characters"),
            ("32 invisible tags", "\U000e0001" * 32, "32 characters"),
            ("right to left", "\u202eSOB", "'\\u202eSOB'"),
        ]
        rows += [
            _predict(f"{field}, {name}", "INVALID_TEAM", field, found, "an NBA code such as BOS", **{field: value})
            for name, value, found in cases
        ]
    pairs = [("BOS", "BOS"), ("bos", "BOS"), ("BKN", "BRK"), ("GSW", " gs ")]
    rows += [
        _predict(
            f"{home} against {away}",
            "INVALID_TEAM",
            "away_team",
            team_code(away),
            "another team than home_team",
            home_team=home,
            away_team=away,
        )
        for home, away in pairs
    ]
    return rows


def _margins() -> list[BadRequest]:
    bound = "a finite number within ±200"
    wrong = (math.nan, math.inf, -math.inf, 200.5, -1e9, 1e308)
    return [
        _predict(f"margin {m}", "INVALID_PREGAME_MARGIN", "pregame_margin", f"{m}", bound, pregame_margin=m)
        for m in wrong
    ]


def _quantiles() -> list[BadRequest]:
    between = "a number strictly between 0 and 1"
    wrong = (0.0, -0.0, 1.0, -0.5, 1.5, 50.0, 1e308, -5e-324, math.nan, math.inf, -math.inf)
    rows = [
        _predict(
            f"level {level} at {at}",
            "INVALID_QUANTILE_LEVELS",
            f"quantile_levels[{at}]",
            f"{level}",
            between,
            quantile_levels=[*[0.5] * at, level],
        )
        for at, level in enumerate(wrong)
    ]
    rows += [
        _predict(
            f"{n} levels",
            "INVALID_QUANTILE_LEVELS",
            "quantile_levels",
            f"{n} levels",
            "at most 99",
            quantile_levels=[0.5] * n,
        )
        for n in (100, 150_000)
    ]
    extreme = (5e-324, 1e-320, 1e-9, 1 - 1e-9, math.nextafter(1, 0))
    rows += [
        _predict(
            f"level {level}",
            "QUANTILE_TOO_EXTREME",
            "quantile_levels[1]",
            f"{level}",
            "from ",
            quantile_levels=[0.5, level],
        )
        for level in extreme
    ]
    return rows


def _horizons_and_versions() -> list[BadRequest]:
    rows = [
        _predict(
            f"horizon {h}", "INVALID_HORIZON", "horizon", f"{h}", "a value of dejavu.v1.Horizon: 0, 1, 2", horizon=h
        )
        for h in (3, 7, -1, 2**31 - 1, -(2**31))
    ]
    versions = [
        ("another", "0123456789abcdef", "'0123456789abcdef'"),
        ("a space", " ", "' '"),
        ("a path", "../default", "'../default'"),
        ("NUL", "\0", "'\\x00'"),
        ("a megabyte", "f" * 2**20, "1048576 characters"),
    ]
    rows += [
        _predict(
            f"model_version, {name}", "UNKNOWN_MODEL_VERSION", "model_version", found, "or empty", model_version=value
        )
        for name, value, found in versions
    ]
    return rows


def _score_inputs() -> list[BadRequest]:
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        ("total_points", "4", "5 (the lead) to 500", {"total_points": 4}),
        ("total_points", "20", "an odd number, as the last differential, 5, is odd", {"total_points": 20}),
        ("total_points", "501", "to 500", {"total_points": 501}),
        ("last_score.side", "0", "a value of dejavu.v1.Side: 1, 2", {"last_score": LastScore(seconds=3)}),
        ("last_score.side", "away", "a side with points", {"total_points": 5, "last_score": LastScore(side=SIDE_AWAY)}),
        ("last_score.seconds", "61", "0 to 60", {"last_score": LastScore(side=SIDE_AWAY, seconds=61)}),
    ]
    return [
        _predict(
            f"{field} {found} of {number}",
            "INVALID_TOTAL_POINTS" if field == "total_points" else "INVALID_LAST_SCORE",
            field,
            found,
            expected,
            pattern=[5.0],
            **fields,
        )
        for number, (field, found, expected, fields) in enumerate(cases)
    ]


def _dates() -> list[BadRequest]:
    form, bounds = "a date as YYYY-MM-DD", "a date from 1946-08-01 to 2046-07-31"
    texts = ("2023-6-12", "20230612", "2023-02-30", "yesterday", " 2023-06-12", "2023-W24-1", "2023-06-12T20:00", "\0")
    rows = [_predict(f"game_date {t}", "INVALID_GAME_DATE", "game_date", repr(t), form, game_date=t) for t in texts]
    rows += [
        _predict(f"game_date {day}", "INVALID_GAME_DATE", "game_date", day, bounds, game_date=day)
        for day in ("0001-01-01", "1946-07-31", "2046-08-01", "2300-01-01", "9999-12-31")
    ]
    large, found = "2023-06-12" * 2**16, "655360 characters"
    rows.append(_predict("half a megabyte of dates", "INVALID_GAME_DATE", "game_date", found, form, game_date=large))
    of_season = "a date from 2020-08-01 to 2021-10-31"
    rows += [
        _predict(
            f"a game of 2020 on {d}", "INVALID_GAME_DATE", "game_date", d, of_season, game_id=PAST_GAME, game_date=d
        )
        for d in ("2020-07-31", "2021-11-01", "2026-11-21")
    ]
    today = "none, which means "
    rows.append(
        _predict("a game of 2020 without a date", "INVALID_GAME_DATE", "game_date", today, of_season, game_id=PAST_GAME)
    )
    return rows


def market(**fields: Any) -> Market:
    """Returns a valid market, unless `fields` make it invalid."""
    return Market(**{"line": 5.5, "home": Odds(decimal=1.91), "away": Odds(american=-110), **fields})


def _markets() -> list[BadRequest]:
    line, decimal = "a multiple of 0.5 within ±100", "a number above 1, at most 1000"
    american, threshold = "100 to 99900, or at most −100", "a number from 0 on, below 1"
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        ("line", f"{value}", line, {"line": value})
        for value in (5.25, 100.5, -1e9, math.nan, math.inf, -math.inf, 5e-324)
    ]
    for side in ("home", "away"):
        cases += [
            (f"{side}.decimal", f"{value}", decimal, {side: Odds(decimal=value)})
            for value in (1.0, 0.0, -1.91, 1000.5, math.nan, math.inf)
        ]
        cases += [
            (f"{side}.american", f"{value}", american, {side: Odds(american=value)})
            for value in (0, 99, -99, 99_901, 2**31 - 1)
        ]
        cases += [(side, "no price", "decimal or american odds", {side: odds}) for odds in (None, Odds())]
    cases += [("bankroll", f"{v}", "above 0", {"bankroll": v}) for v in (0.0, -1.0, math.nan, math.inf)]
    cases += [
        ("confidence_threshold", f"{v}", threshold, {"confidence_threshold": v}) for v in (1.0, -0.1, 55.0, math.nan)
    ]
    cases += [
        ("game_staked", f"{v}", "a number from 0 to the bankroll, 1", {"game_staked": v})
        for v in (-0.1, 20.0, math.nan)
    ]
    evening = "a number from game_staked, 0.5, to the bankroll, 1"
    cases += [
        ("evening_staked", f"{v}", evening, {"game_staked": 0.5, "evening_staked": v}) for v in (0.4, 20.0, math.inf)
    ]
    cases += [("horizon", f"{h}", "a value of dejavu.v1.Horizon: 0, 1, 2", {"horizon": h}) for h in (3, -1)]
    cases += [("horizon", "final", "the request's, halftime, or none", {"horizon": HORIZON_FINAL})]
    return [
        _predict(
            f"market {index}: {field} {found}",
            "INVALID_MARKET",
            f"market.{field}",
            found,
            expected,
            market=market(**fields),
        )
        for index, (field, found, expected, fields) in enumerate(cases)
    ]


def _total_markets() -> list[BadRequest]:
    price, even = "a number above 1, at most 1000", Odds(decimal=2.0)
    cases: list[tuple[str, str, str, dict[str, Any]]] = [
        (".line", f"{value}", "a multiple of 0.5 from 0 to 500", {"line": value}) for value in (-0.5, 9.7, 501.0)
    ]
    cases += [(f".{side}.decimal", "1.0", price, {side: Odds(decimal=1.0)}) for side in ("over", "under")]
    cases += [(".bankroll", "0.0", "above 0", {"bankroll": 0.0})]
    cases += [(".game_staked", "-1.0", "a number from 0 to the bankroll, 1", {"game_staked": -1.0})]
    cases += [(".evening_staked", "2.0", "to the bankroll, 1", {"evening_staked": 2.0})]
    cases += [(".confidence_threshold", "1.0", "a number from 0 on, below 1", {"confidence_threshold": 1.0})]
    cases += [("", "no total_points", "total_points beside it", {})]
    return [
        _predict(
            f"total market {index}: {field} {found}",
            "INVALID_MARKET",
            f"total_market{field}",
            found,
            expected,
            pattern=[5.0],
            total_points=9 if field else None,
            total_market=TotalMarket(**{"line": 221.5, "over": even, "under": even, **fields}),
        )
        for index, (field, found, expected, fields) in enumerate(cases)
    ]


OF_PREDICT = [
    *_lengths(),
    *_values(),
    *_alphas(),
    *_ids(),
    *_teams(),
    *_margins(),
    *_quantiles(),
    *_horizons_and_versions(),
    *_dates(),
    *_score_inputs(),
    *_markets(),
    *_total_markets(),
]
