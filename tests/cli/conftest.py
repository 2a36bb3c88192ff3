"""The command line, run against a fake server."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.fakes.service import FakeServer, authority, mutual, token_file  # noqa: F401 - fixtures
from tests.support.harness.clients import Output, Run, client_log_as_it_was, connect, server  # noqa: F401 - fixtures
from typer.testing import CliRunner, Result

from dejavu_cli.main import app


@pytest.fixture
def run(server: FakeServer) -> Run:  # noqa: F811 - the fixture
    """Run `dejavu` with arguments, against the fake server unless another target is given."""

    def run(*arguments: str, stdin: str = "", target: str | None = None, width: int = 120) -> Result:
        environment = {"DEJAVU_TARGET": target or server.target, "COLUMNS": f"{width}", "TERM": "dumb", "TZ": "UTC"}
        result = CliRunner().invoke(app, list(arguments), input=stdin, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@pytest.fixture
def output(server: FakeServer, run: Run) -> Output:  # noqa: F811 - the fixture
    """Return what `dejavu` prints, given the server's next answer, or a tuple of them; a list is a stream's script."""

    def output(answer: Any, *arguments: str, method: str = "", **options: Any) -> str:
        answers = answer if isinstance(answer, tuple) else (answer,)
        first = answers[0]
        named = "StreamPredictions" if isinstance(first, list) else type(first).__name__.removesuffix("Response")
        server.answers(method or named, *answers)
        return run(*arguments, **options).stdout

    return output
