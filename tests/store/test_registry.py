from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.builders.bundles import write_refreshed_manifest
from tests.support.builders.shipped import shipped_bundle

from dejavu_models.errors import UnknownModel
from dejavu_models.forecaster import Forecaster
from dejavu_store.bundle import MANIFEST
from dejavu_store.registry import Registry, default_bundle, refreshed_bundle, served_bundle


def test_without_a_bundle_named_the_one_that_ships_is_held() -> None:
    assert Registry.load([]).get().version == shipped_bundle().version


def test_its_refreshed_copy_takes_its_place_until_another_one_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert served_bundle() == default_bundle()
    for of_version, served in (("", refreshed_bundle()), ("feedfacefeedface", default_bundle())):
        write_refreshed_manifest(refreshed_bundle(), of_version)
        assert served_bundle() == served
    (refreshed_bundle() / MANIFEST).write_text('{"schema_version": 99}')
    assert served_bundle() == default_bundle()


def test_the_first_is_active_and_each_is_found_by_its_version(small: Forecaster) -> None:
    shipped = shipped_bundle()
    registry = Registry([small, shipped])
    assert registry.get() is small
    assert registry.get(small.version) is small
    assert registry.get(shipped.version) is shipped
    assert [info.version for info in registry.models()] == [small.version, shipped.version]


def test_an_unknown_version_is_refused_with_those_that_are_held(small: Forecaster) -> None:
    with pytest.raises(UnknownModel, match=small.version) as caught:
        Registry([small]).get("feedfacefeedface")
    assert caught.value.held == (small.version,)


def test_there_must_be_a_model_and_each_once(small: Forecaster) -> None:
    for models, said in (([small, small], "same version"), ([], "at least one")):
        with pytest.raises(ValueError, match=said):
            Registry(models)
