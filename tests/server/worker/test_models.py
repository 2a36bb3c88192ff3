"""The bundle that the workers of a server load by default."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import write_refreshed_manifest
from tests.support.processes.servers import settings_in

from dejavu_server.worker.models import PreloadedModels, load_models
from dejavu_store.bundle import read_manifest
from dejavu_store.default_bundles import default_bundle, refreshed_bundle, served_bundle


def test_workers_of_a_fork_server_have_the_bundle_that_it_loaded_and_not_one_refreshed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = settings_in(tmp_path)
    preloaded = PreloadedModels.load(settings)
    write_refreshed_manifest(refreshed_bundle())
    assert served_bundle() == refreshed_bundle()
    assert load_models(settings, preloaded).versions == (read_manifest(default_bundle()).version,)
