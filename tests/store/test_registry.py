from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import write_refreshed_manifest

from dejavu_store.bundle import MANIFEST
from dejavu_store.registry import default_bundle, refreshed_bundle, served_bundle


def test_a_refreshed_copy_takes_the_place_of_the_shipped_bundle_until_another_one_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert served_bundle() == default_bundle()
    for of_version, served in (("", refreshed_bundle()), ("feedfacefeedface", default_bundle())):
        write_refreshed_manifest(refreshed_bundle(), of_version)
        assert served_bundle() == served
    (refreshed_bundle() / MANIFEST).write_text('{"schema_version": 99}')
    assert served_bundle() == default_bundle()
