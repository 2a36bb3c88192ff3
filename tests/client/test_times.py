"""Invalid timeouts are rejected before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import AnyClient
from typer.testing import CliRunner

from dejavu_client.cli.main import app

MakeClient = Callable[..., AnyClient]

NO_TIMES = [0, 0.0, -0.0, -1.0, 1e-400, 1e7, 1e308, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("option", ["timeout", "silence"])
@pytest.mark.parametrize("value", NO_TIMES)
async def test_a_client_of_no_time_is_not_made(connect: MakeClient, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{option}=.* is not a time to wait; expected seconds above 0, up to "):
        connect(**{option: value})


@pytest.mark.parametrize("value", NO_TIMES)
@pytest.mark.parametrize("method", ["predict", "predict_batch", "list_models", "health"])
async def test_a_call_of_no_time_is_not_made(
    server: FakeServer, connect: MakeClient, method: str, value: float
) -> None:
    arguments = {"predict": ([0.0],), "predict_batch": ([],)}.get(method, ())
    client = connect()
    with pytest.raises(ValueError, match=r"^timeout=.* is not a time to wait"):
        await client.call(method, *arguments, timeout=value)
    assert not client.stats.methods
    assert not server.calls


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", "1e9"])
@pytest.mark.parametrize("command", [["predict", "1"], ["models"], ["health"], ["poll"]])
def test_a_command_of_no_time_says_what_was_expected(command: list[str], value: str) -> None:
    result = CliRunner().invoke(app, [*command, "--timeout", value], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "expected seconds above 0" in " ".join(result.output.replace("│", " ").split())
