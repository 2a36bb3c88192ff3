"""`dejavu-trainer publish`: into a store, and to a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.store.conftest import rewrite
from tests.support.builders.bundles import small_bundle
from tests.support.harness.stores import stored_versions
from tests.support.processes.servers import running_worker
from tests.trainer.harness import run

from dejavu_client import DejavuClient
from dejavu_store.bundle_store import ModelStore


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    small_bundle(tmp_path / "bundle")
    return tmp_path / "bundle"


def test_a_server_of_the_store_stages_it_once_with_the_reason_of_its_lineage(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lineage = {"parent_version": "", "reason": "new season", "code_version": ""}
    rewrite(bundle, lambda manifest: manifest.update(lineage=lineage))
    store, documents = str(tmp_path / "store"), list[dict[str, Any]]()
    with running_worker(tmp_path, shipped=True, model_store=store) as address:
        for _ in range(2):
            assert run("publish", bundle, "--store", store, "--target", address, "--json") == 0
            told = capsys.readouterr().out  # after the log of the server
            documents.append(json.loads(told[told.index("{\n") :]))
        version = documents[0]["model_version"]
        with DejavuClient(address) as client:
            changes = client.list_model_changes(model_version=version).changes
            assert [each.reason for each in changes] == ["new season"] * 2
            assert client.get_model("challenger").model.version == version
        assert run("publish", bundle, "--store", store, "--target", address) == 0
        assert f"{version} was in {store}\n{version} was staged by {address}\n" in capsys.readouterr().out
    assert [(each["added"], each["staged"]) for each in documents] == [(True, True), (False, False)]
    assert version in stored_versions(ModelStore.open(store))


def test_a_server_of_another_store_refuses_it_in_a_sentence(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(tmp_path, shipped=True, model_store=str(tmp_path / "store")) as address:
        assert run("publish", bundle, "--store", tmp_path / "another", "--target", address) == 1
    told = capsys.readouterr().err
    assert f"{address} did not stage the bundle" in told
    assert f"{tmp_path / 'store'} has no model" in told
    assert "{" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("options", [(), ("--target", "127.0.0.1:1"), ("--target", "127.0.0.1:1", "--mlflow", "x")])
def test_options_that_do_nothing_are_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("publish", tmp_path, *options) == 2
