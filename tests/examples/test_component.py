"""The component of examples/component: fitted, weighted and served where it is installed, refused where it is not."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.builders.bundles import fit_quickly, quick_recipe, simulated_games
from tests.support.builders.made_once import made_once
from tests.support.builders.third_component import NAME, installed

from dejavu_models.components.ensemble import POOLED
from dejavu_models.errors import BundleCorrupt, ComponentMissing
from dejavu_models.forecast_query import ForecastQuery, ScorePattern
from dejavu_models.types import Horizon
from dejavu_store.bundle import check_answers, load_bundle, read_files, read_manifest, read_manifest_text
from dejavu_store.bundle_store import ModelStore
from dejavu_store.verification import verify
from dejavu_trainer.training.recipe import parse_recipe

RECIPE = {"components": ["dejavu", "lstm", NAME]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def bundle(site: Path) -> Path:
    """A bundle with the component, which is installed for the fit alone."""

    def make(folder: Path) -> None:
        recipe = replace(quick_recipe(), components=parse_recipe(RECIPE, "recipe").components)
        fit_quickly(simulated_games(), [2031, 2032], [2033], folder, recipe)

    with installed(site):
        return made_once("bundle-with-gbm", make)


def verified(bundle: Path) -> None:
    verify(str(bundle), read_manifest_text(bundle), read_files(bundle, read_manifest(bundle)))


def test_where_it_is_installed_it_is_weighted_and_served(bundle: Path, tmp_path: Path) -> None:
    with installed(tmp_path):
        verified(bundle)
        model = load_bundle(bundle)
        check_answers(model)
    assert model.manifest.packages == {NAME: "dejavu-gbm 0.1"}
    assert f"{NAME}.npz" in model.manifest.files
    weights = model.models.weights
    assert weights.names == (*POOLED, NAME)
    assert weights.values.sum(axis=-1) == pytest.approx(1)
    assert {each.component for each in model.info.weights} == {*POOLED, NAME}
    made = model.forecast(ForecastQuery(ScorePattern((2.0,) * 18), Horizon.FINAL, explain=True))
    assert made.explanation is not None
    assert [each.name for each in made.explanation.components] == [*POOLED, NAME]


def test_a_server_that_lacks_it_refuses_the_bundle_and_names_it(bundle: Path, tmp_path: Path) -> None:
    missing = r"component gbm is not installed; install dejavu-gbm 0\.1"
    with pytest.raises(ComponentMissing, match=missing):
        load_bundle(bundle)
    with pytest.raises(BundleCorrupt, match=missing):
        verified(bundle)
    with pytest.raises(ComponentMissing, match=missing):
        ModelStore.open(tmp_path).put(bundle)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("gbm = nowhere:Gbm", "nowhere:Gbm cannot be imported"),
        ("gbm = dejavu_gbm:Trees", "is not a Component whose name is gbm"),
        ("other = dejavu_gbm:Gbm", "component gbm is not installed"),
    ],
)
def test_an_entry_point_that_leads_to_no_component_is_named(
    bundle: Path, tmp_path: Path, entry: str, said: str
) -> None:
    with installed(tmp_path):
        (next(tmp_path.glob("*.dist-info")) / "entry_points.txt").write_text(f"[dejavu.components]\n{entry}\n")
        with pytest.raises(ComponentMissing, match=re.escape(said)):
            load_bundle(bundle)


def test_a_recipe_with_it_is_known_by_the_version_of_its_package(tmp_path: Path) -> None:
    digests = set()
    for version in ("0.1", "0.2"):
        with installed(tmp_path / version):
            metadata = next((tmp_path / version).glob("*.dist-info")) / "METADATA"
            metadata.write_text(metadata.read_text().replace("0.1", version))
            digests.add(parse_recipe(RECIPE, "recipe").digest)
    assert len(digests) == 2
