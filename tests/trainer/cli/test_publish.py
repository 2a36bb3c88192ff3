"""`dejavu-trainer publish`: into a store, and to a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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


def test_a_bundle_is_put_into_a_store_once(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    documents = []
    for _ in range(2):
        assert run("publish", str(bundle), "--store", str(store), "--json") == 0
        documents.append(json.loads(capsys.readouterr().out))
    [version] = stored_versions(ModelStore.open(store))
    assert [(each["model_version"], each["added"]) for each in documents] == [(version, True), (version, False)]


def test_a_server_of_the_store_stages_it_with_the_reason_of_its_lineage(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["lineage"] = {"parent_version": "", "reason": "new season", "code_version": ""}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    store = str(tmp_path / "store")
    with running_worker(tmp_path, shipped=True, model_store=store) as address:
        for said in ("is staged by", "was staged by"):
            assert run("publish", str(bundle), "--store", store, "--target", address) == 0
            assert f"{manifest['version']} {said} {address}" in capsys.readouterr().out
        with DejavuClient(address) as client:
            changes = client.list_model_changes(model_version=manifest["version"]).changes
            assert [each.reason for each in changes] == ["new season"] * 2
            assert client.get_model("challenger").model.version == manifest["version"]


def test_a_server_of_another_store_says_that_it_lacks_the_bundle(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_worker(tmp_path, shipped=True, model_store=str(tmp_path / "store")) as address:
        assert run("publish", str(bundle), "--store", str(tmp_path / "another"), "--target", address) == 1
    told = capsys.readouterr().err
    assert f"{address} did not stage the bundle" in told
    assert f"{tmp_path / 'store'} has no model" in told
    assert "{" not in told, "a sentence, not a document"
    assert "Traceback" not in told


def test_an_unfit_bundle_is_refused_unless_allowed(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["verdict"]["fit"] = False
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    assert run("publish", str(bundle), "--store", str(tmp_path / "store")) == 1
    assert "marked unfit" in capsys.readouterr().err
    assert run("publish", str(bundle), "--store", str(tmp_path / "store"), "--allow-unfit") == 0


@pytest.mark.parametrize("options", [(), ("--target", "127.0.0.1:1"), ("--target", "127.0.0.1:1", "--mlflow", "x")])
def test_options_that_do_nothing_are_wrong_usage(bundle: Path, options: tuple[str, ...]) -> None:
    assert run("publish", str(bundle), *options) == 2
