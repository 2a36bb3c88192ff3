"""A third component, that of examples/component: fitted, in a forecaster, and as if its package were installed."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from tests.support.builders.folds import walked

from dejavu_models.components.component import Component
from dejavu_models.components.ensemble import component_class
from dejavu_models.types import CASES
from dejavu_trainer.training.calibrate import training_games

SOURCE = Path(__file__).parents[3] / "examples" / "component"
NAME = "gbm"


def component() -> type[Component]:
    """Return the class, which need not be installed."""
    if str(SOURCE) not in sys.path:
        sys.path.append(str(SOURCE))
    found: type[Component] = importlib.import_module("dejavu_gbm").Gbm
    return found


@cache
def fitted() -> Component:
    """Return the component, fitted to games in which a lead grows."""
    past = walked(200)
    noise = np.random.default_rng(3).normal(0, 1, (2, 2, 200, len(CASES)))
    return component().fit(training_games(past, noise + np.sign(past.games.levels[:, [17]])), 1)


@contextmanager
def installed(folder: Path) -> Iterator[None]:
    """Install the package in a folder, for this process and those that it starts."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(SOURCE / "dejavu_gbm.py", folder)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = project["entry-points"].items()
    lines = [f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in each.items()) for group, each in groups]
    (metadata / "entry_points.txt").write_text("".join(lines))
    earlier = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{earlier}"
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        os.environ["PYTHONPATH"] = earlier
        component_class.cache_clear()
