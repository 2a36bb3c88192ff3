"""What nobody can ask, intervals, and a package without the compiled models."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_models.errors import FieldErrors, InvalidInput, InvalidPattern
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.native import shared_floats
from dejavu_models.types import Horizon

NAN, INFINITY = float("nan"), float("inf")


def asked(slots: int = 1, horizon: Horizon = Horizon.FINAL, **fields: Any) -> ForecastQuery:
    return ForecastQuery(ScorePattern((0.0,) * slots), horizon, **fields)


@pytest.mark.parametrize(("horizon", "last"), [(Horizon.HALFTIME, 23), (Horizon.FINAL, 47)])
def test_a_horizon_is_asked_about_before_it_is_there(horizon: Horizon, last: int) -> None:
    assert asked(last, horizon).pattern.minutes == last


NO_RATES = (0.0, 1.0, -0.1, NAN, INFINITY)


REFUSED: list[tuple[Callable[[], object], str]] = [
    *((lambda slots=slots: asked(slots), "pattern") for slots in (0, 48)),
    (lambda: asked(24, Horizon.HALFTIME), "pattern"),
    *((lambda bad=bad: ScorePattern((1.0, 2.0, bad)), "pattern[2]") for bad in (NAN, -INFINITY, 200.5)),
    # Aliases are resolved when a request is parsed; queries accept only the code itself.
    *((lambda code=code: asked(home_team=code), "home_team") for code in ("XXX", "bos", " ")),
    (lambda: asked(home_team="BOS", away_team="BOS"), "away_team"),
    *((lambda bad=bad: asked(quantile_levels=(0.5, bad)), "quantile_levels[1]") for bad in NO_RATES),
    (lambda: asked(quantile_levels=(0.5,) * 100), "quantile_levels"),
    *((lambda bad=bad: asked(alpha=bad), "alpha") for bad in NO_RATES),
    *((lambda bad=bad: asked(pregame_margin=bad), "pregame_margin") for bad in (NAN, 201.0)),
]


@pytest.mark.parametrize(("ask", "field"), REFUSED)
def test_what_nobody_can_ask_is_refused_by_its_field(ask: Callable[[], object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask()
    assert refused.value.field == field


class Request:
    """A request that is read."""


def read(_: Request) -> None:
    raise InvalidPattern("0 slots", "1 to 47")


def refuse(request: Request) -> None:
    faults = FieldErrors()
    faults.read(read, None, request)
    faults.add(InvalidInput("x", "y", "alpha"))
    faults.raise_first()


def test_a_refused_request_is_freed_with_its_errors() -> None:
    gc.disable()
    try:
        request = Request()
        kept = weakref.ref(request)
        with pytest.raises(InvalidPattern) as refused:
            refuse(request)
        assert [each.field for each in (refused.value, *refused.value.others)] == ["pattern", "alpha"]
        del request, refused
        assert kept() is None
    finally:
        gc.enable()


WITHOUT = """
import sys
sys.modules["dejavu_models._native"] = None  # what an import of a module that is not there finds
sys.argv = ["dejavu-server", "--workers", "1", "--listen", "127.0.0.1:0"]
from dejavu_server.cli.main import main
main()
"""


def test_a_server_without_them_refuses_to_start_in_one_sentence() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 1
    assert run.stderr.startswith("dejavu-server needs the compiled models: install it where")
    assert run.stderr.count("\n") == 1


@given(st.lists(st.floats() | st.integers(-250, 250).map(float)))
def test_shared_floats_are_the_floats_given(values: list[float]) -> None:
    assert list(map(float.hex, shared_floats(values))) == list(map(float.hex, values))  # −0 and NaN too
