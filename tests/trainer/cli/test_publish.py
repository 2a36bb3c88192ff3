"""`dejavu-trainer publish`: into a store, and to a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.builders.bundles import small_bundle
from tests.support.harness.stores import stored_versions
from tests.support.programs.upload_server import running_upload_server
from tests.trainer.harness import run

from dejavu_models.registry.store.store import ModelStore


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


def test_a_server_registers_it_with_the_reason_of_its_lineage(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["lineage"] = {"parent_version": "", "reason": "new season", "code_version": ""}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with running_upload_server(tmp_path / "store") as address:
        for said in ("is registered with", "was registered before with"):
            assert run("publish", str(bundle), "--target", address) == 0
            assert f"{said} {address}" in capsys.readouterr().out
    assert stored_versions(ModelStore.open(tmp_path / "store")) == [manifest["version"]]


def test_a_refusal_of_the_server_is_told(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["golden"][0]["point_forecast"] = 99.0
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with running_upload_server(tmp_path / "store") as address:
        assert run("publish", str(bundle), "--target", address) == 1
    told = capsys.readouterr().err
    assert f"{address} did not take the bundle" in told
    assert "golden query" in told
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


@pytest.mark.parametrize("options", [(), ("--stage",), ("--stage", "--store", "x")])
def test_options_that_do_nothing_are_wrong_usage(bundle: Path, options: tuple[str, ...]) -> None:
    assert run("publish", str(bundle), *options) == 2
