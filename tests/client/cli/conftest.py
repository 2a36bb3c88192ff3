"""The command line, run against a fake server."""

from __future__ import annotations

import pytest
from tests.support.fakes.service import FakeServer
from tests.support.harness.clients import Run
from typer.testing import CliRunner, Result

from dejavu_client.cli.main import app


@pytest.fixture
def run(server: FakeServer) -> Run:
    """Run `dejavu` with arguments, against the fake server unless another target is given."""

    def run(*arguments: str, stdin: str = "", target: str | None = None, width: int = 120) -> Result:
        environment = {"DEJAVU_TARGET": target or server.target, "COLUMNS": f"{width}", "TERM": "dumb", "TZ": "UTC"}
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run
