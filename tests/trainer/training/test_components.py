"""Components that plug in: found by entry points, fitted without the games that teach their weight, and refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from typing import Any

import numpy as np
import pytest
from tests.support.builders.bundles import simulated_games
from tests.support.builders.components import of_lead, tilt

from dejavu_feed.errors import DataError
from dejavu_models.arrays import Floats, Singles
from dejavu_models.point.graph_component import OnnxGraph
from dejavu_models.point.rows import LEVELS, LINEAR, MARGIN_KNOWN, MINUTE
from dejavu_trainer.execution import Progress
from dejavu_trainer.training import components
from dejavu_trainer.training.component_check import check_component
from dejavu_trainer.training.components import ComponentGames, ComponentParts, choose_components, fit_component
from dejavu_trainer.training.linear import fit_linear
from dejavu_trainer.training.lstm_config import FitError
from dejavu_trainer.training.ratings import RatedGames
from dejavu_trainer.training.recipe import TrainingConfig, parse_recipe


class Tilted:
    """A component that corrects by a share of the lead.

    Attributes:
        seen: number of games of each fit.
        changes: whether every fit gives another model.
    """

    def __init__(self, factor: float = 0.1, content: Any = None, *, changes: bool = False) -> None:
        self.factor, self.content, self.changes = factor, content, changes
        self.seen: list[int] = []

    def fit(self, games: ComponentGames, seed: int) -> Tilted:
        self.seen.append(len(games))
        self.factor += 0.1 * self.changes
        return self

    def predict(self, rows: Singles) -> Floats:
        corrections: Floats = rows[:, -1:] * np.array([self.factor, 2 * self.factor])
        return corrections

    def to_onnx(self) -> bytes:
        return self.content or tilt(self.factor).SerializeToString()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tilted], components.ComponentChoice]:
    """Return a function that installs a component under the name `tilt` and returns the choice of it."""

    def put(component: Tilted) -> components.ComponentChoice:
        def made(factor: float | None = None) -> Tilted:
            if factor is not None:
                component.factor = factor
            return component

        monkeypatch.setattr("tests.trainer.training.test_components.made", made, raising=False)
        [found] = metadata.EntryPoints(
            [metadata.EntryPoint("tilt", f"{__name__}:made", components.GROUP)._for(metadata.distribution("numpy"))]  # type: ignore[attr-defined]
        )
        monkeypatch.setattr(
            components, "entry_points", lambda **wanted: [found] if wanted.get("name", "tilt") == "tilt" else []
        )
        [choice] = choose_components({"tilt": {}})
        return choice

    return put


def games() -> ComponentGames:
    some = simulated_games()
    margins = np.linspace(-10.0, 10.0, len(some))
    return ComponentGames.of(fit_linear(some, margins), RatedGames(some, margins))


def fitted(choice: components.ComponentChoice, part: ComponentGames) -> components.TrainedComponent:
    return fit_component(choice, ComponentParts(part, part, part), (6, 30), 0, lambda _: None)


def test_a_component_is_chosen_by_name_and_changes_the_recipe(install: Any) -> None:
    choice = install(Tilted())
    assert (choice.name, choice.package) == ("tilt", "numpy")
    assert len(choice.code) == 64
    plain = TrainingConfig()
    digests = {
        plain.digest,
        replace(plain, components=(choice,)).digest,
        replace(plain, components=(replace(choice, code="0" * 64),)).digest,
    }
    assert len(digests) == 3
    for name, said in (
        ("other", "no installed package has a component 'other'; installed: tilt"),
        ("lstm", "'lstm' cannot be the name of a component"),
        ("Tilt", "'Tilt' cannot be the name of a component"),
    ):
        with pytest.raises(DataError, match=said):
            choose_components({name: {}})
    assert parse_recipe({"components": {"tilt": {}}}, "file").components == (choice,)
    for wrong, said in (
        ({"other": {}}, "file: components: no installed package has a component 'other'"),
        (["tilt"], r"file: components: expected a table for each component, such as \[components.boosted\]"),
    ):
        with pytest.raises(DataError, match=said):
            parse_recipe({"components": wrong}, "file")


def test_settings_are_arguments_and_part_of_the_recipe(install: Any) -> None:
    plain = install(Tilted())
    recipe = parse_recipe({"components": {"tilt": {"factor": 0.3}}}, "file")
    [choice] = recipe.components
    assert choice == replace(plain, settings={"factor": 0.3})
    assert recipe.digest != parse_recipe({"components": {"tilt": {}}}, "file").digest
    assert OnnxGraph(fitted(choice, games()).content).corrections(np.ones((1, 52), np.float32))[0, 0] == pytest.approx(
        0.3
    )
    with pytest.raises(DataError, match=r"component tilt cannot be made with {'angle': 1}: TypeError: .*'angle'"):
        parse_recipe({"components": {"tilt": {"angle": 1}}}, "file")


def test_samples_and_rows_are_of_the_games_alone() -> None:
    part = games()
    rows, corrections = part.sample(2000, 7)
    np.testing.assert_array_equal(rows, part.sample(2000, 7)[0])
    assert set(rows[:, MINUTE]) == set(range(1, 48))
    assert rows[:, MARGIN_KNOWN].mean() == pytest.approx(2 / 3, abs=0.05)
    lead, minute = rows[:, -1], rows[:, MINUTE].astype(int)
    ends = lead[:, None] + rows[:, LINEAR] + corrections
    finals = set(simulated_games().outcomes[:, 1].tolist())
    assert set(np.rint(ends[:, 1]).tolist()) <= finals
    np.testing.assert_allclose(corrections[minute > 23, 0], 0.0)
    np.testing.assert_array_equal(rows[np.arange(2000), LEVELS.start + minute - 1], lead)


def test_the_weight_is_the_share_of_the_corrections_that_helps(install: Any) -> None:
    """Corrections of the right sign and twice the right size get half the weight, wrong ones none."""
    part = games()
    choice = install(Tilted(0.1))
    wanted = part.levels[:, :, None, None] * [0.05, 0.1]
    for factor, weight in ((1.0, (0.5, 0.5)), (4.0, (1.0, 1.0)), (-1.0, (0.0, 0.0))):
        trained = fitted(choice, replace(part, corrections=np.repeat(factor * wanted, 2, axis=2)))
        assert trained.weight == pytest.approx(weight, abs=1e-6)
        assert trained.parity < 1e-4
        assert trained.package == f"numpy {metadata.version('numpy')}"
        assert (trained.gain > 0) == (factor > 0)
        assert np.sign(round(trained.unweighted_gain, 6)) == {1.0: 0, 4.0: 1, -1.0: -1}[factor]


def test_the_trial_sees_the_earlier_games_and_the_fit_all_of_them(install: Any) -> None:
    component, part = Tilted(), games()
    early = np.arange(len(part)) < 100
    past, later = (
        ComponentGames(*(getattr(part, name)[mask] for name in ("levels", "margins", "increments", "corrections")))
        for mask in (early, ~early)
    )
    fit_component(install(component), ComponentParts(past, later, part), (6,), 0, lambda _: None)
    assert component.seen == [100, len(part)]


def test_what_a_component_writes_into_its_games_changes_no_others(install: Any) -> None:
    part = games()
    with pytest.raises(FitError, match="fit returns NoneType, which has no predict and no to_onnx; expected a model"):
        fitted(install(Unfitted()), part)
    assert (part.levels == games().levels).all()


class Silent(Tilted):
    """A component that predicts another shape, and its last rows not at all."""

    def __init__(self, predicted: Callable[[Singles], Any]) -> None:
        super().__init__()
        self.predicted = predicted

    def predict(self, rows: Singles) -> Any:
        return self.predicted(rows)


def doubled(rows: Singles) -> Floats:
    """Return what the graph does for rows that it changes first."""
    rows *= 2
    corrections: Floats = rows[:, -1:] * np.array([0.1, 0.2])
    return corrections


class Unfitted(Tilted):
    """A component whose fit forgets to return the model."""

    def fit(self, games: ComponentGames, seed: int) -> Any:
        games.levels[:] = 0.0


@pytest.mark.parametrize(
    ("component", "said"),
    [
        (
            Silent(lambda rows: np.where(rows[:, :2] > 9, np.nan, 0.0)),
            r"predict returns no finite numbers for \d+ rows, first after minute \d+",
        ),
        (Silent(lambda rows: rows[:, 0]), r"component tilt: predict returns the shape \(1000,\); expected \(1000, 2\)"),
        (Silent(lambda rows: sys.exit(3)), "component tilt cannot predict: SystemExit: 3"),
        (Silent(lambda rows: rows[:, 60]), r"component tilt cannot predict: IndexError: .* \(test_components.py:\d+\)"),
        (
            Silent(lambda rows: os.environ["x" * 1000]),
            r"cannot predict: KeyError: 'x{299}… \(test_components.py:\d+\)$",
        ),
        (
            Silent(doubled),
            "differs from the component by .*have predict compute what the graph does, in float32, and change",
        ),
        (Tilted(0.1, tilt(0.1)), "to_onnx returns ModelProto; expected bytes, as of SerializeToString"),
        (Tilted(0.1, b"no graph"), "the graph is not an ONNX model"),
        (Tilted(0.1, of_lead("Log").SerializeToString()), "a correction is not a finite number"),
        (Tilted(0.1, tilt(0.5).SerializeToString()), "the graph of component tilt differs from the component by"),
    ],
)
def test_a_graph_that_could_not_be_served_ends_the_fit(install: Any, component: Tilted, said: str) -> None:
    with pytest.raises(FitError, match=said):
        fitted(install(component), games())


@pytest.mark.parametrize("changes", [False, True])
def test_a_check_fits_a_component_twice_and_tells_whether_it_repeats(install: Any, *, changes: bool) -> None:
    recipe = parse_recipe({"rating_steps": 4}, "file")
    checked = check_component(install(Tilted(changes=changes)), simulated_games(), recipe, 0, Progress())
    assert checked.repeats is not changes
    assert (checked.repeated > 0.1) is changes
    assert checked.games == len(simulated_games())
    assert 0 < checked.later < checked.games / 2
    assert checked.trained.parity < 1e-4
