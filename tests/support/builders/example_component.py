"""The component of examples/component, as if its package were installed."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dejavu_models.components.component import Component
from dejavu_models.components.registry import component_class

SOURCE = Path(__file__).parents[3] / "examples" / "component"
NAME = "gbm"


def component() -> type[Component]:
    """Return the class, which need not be installed."""
    if str(SOURCE) not in sys.path:
        sys.path.append(str(SOURCE))
    found: type[Component] = importlib.import_module("dejavu_gbm").Gbm
    return found


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
