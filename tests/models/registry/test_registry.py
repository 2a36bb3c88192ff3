from __future__ import annotations

import pytest

from dejavu_models.errors import UnknownModel
from dejavu_models.forecaster import Forecaster
from dejavu_models.registry.bundle import load_bundle
from dejavu_models.registry.registry import Registry, default_bundle


def test_without_a_bundle_named_the_one_that_ships_is_held() -> None:
    assert Registry.load([]).get().version == load_bundle(default_bundle()).version


def test_the_first_is_active_and_each_is_found_by_its_version(small: Forecaster) -> None:
    shipped = load_bundle(default_bundle())
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
