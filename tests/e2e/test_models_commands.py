"""The life of a model by the commands alone, on a real server with two workers.

By day, tests/server/worker/test_model_store.py has it by the calls, tests/cli/models the commands.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import publish_variant
from tests.support.processes.empty_ledger import ledger_url
from tests.support.processes.servers import spawned_server
from typer.testing import CliRunner

from dejavu_cli.main import app
from dejavu_store.bundle_store import ModelStore


@pytest.mark.nightly
def test_a_model_is_registered_staged_promoted_by_force_rolled_back_and_told_of(tmp_path: Path) -> None:
    version = publish_variant(tmp_path / "bundle", 0.001)
    options = ("--workers", "2", "--ledger", ledger_url(tmp_path), "--model-store", str(tmp_path / "store"))
    with spawned_server("--listen", "127.0.0.1:0", *options) as server:

        def run(*arguments: str) -> tuple[int, str]:
            environment = {"DEJAVU_TARGET": server.address, "COLUMNS": "160", "TERM": "dumb"}
            ended = CliRunner().invoke(app, ["models", *arguments], env=environment)
            return ended.exit_code, ended.output

        refused, why = run("load", version)
        assert (refused, "BUNDLE_NOT_FOUND" in why, "dejavu-trainer publish" in why) == (4, True, True)
        ModelStore.open(tmp_path / "store").put(tmp_path / "bundle")
        code, shown = run("load", version, "--reason", "less weight")
        assert (code, f"staged {version}" in shown) == (0, True)
        assert "loaded by 2 of 2 workers" in run("show", "challenger")[1]
        refused, why = run("promote", "challenger")
        assert (refused, "MODEL_NOT_PROVEN" in why) == (4, True)
        assert f"promoted by force {version}" in run("promote", "challenger", "--force", "--reason", "a try")[1]
        assert "no change" in run("promote", version)[1]
        assert f"instead of {version}" in run("rollback")[1]
        stages = {line.split()[0]: line.split()[1] for line in run("list")[1].splitlines() if line[:1].isalnum()}
        assert stages[version] == "retired"
        assert "serving" in stages.values()
        history = run("history")[1]
        for part in ("less weight", "a try", "promoted by force", "rolled back to", "first model"):
            assert part in history
