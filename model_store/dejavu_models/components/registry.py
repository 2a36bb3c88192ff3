"""The classes of components: those that ship, and those that installed packages name in their entry points."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from dejavu_models.components.component import Component
from dejavu_models.components.dejavu import Dejavu
from dejavu_models.components.lstm import Lstm
from dejavu_models.errors import ComponentMissing

GROUP: Final = "dejavu.components"
"""Group of the entry points."""

SHIPPED: Final[dict[str, type[Component]]] = {"dejavu": Dejavu, "lstm": Lstm}


@cache
def component_class(name: str, package: str = "") -> type[Component]:
    """Return the class of a component.

    Args:
        name: its name.
        package: package that a bundle names as its origin, for the message.

    Raises:
        ComponentMissing: if no installed package has it, or what it has is no such component.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    found = _entry_point(name)
    if found is None:
        needed = package or f"a package with the entry point {name} in {GROUP}"
        raise ComponentMissing(f"component {name} is not installed; install {needed}")
    try:
        loaded = found.load()
    except Exception as error:  # of any code of the package
        raise ComponentMissing(f"component {name}: {found.value} cannot be imported: {error}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Component) and loaded.name == name):
        raise ComponentMissing(f"component {name}: {found.value} is not a Component whose name is {name}")
    return loaded


def package_of(name: str) -> str:
    """Return package and version that a component is from, such as "dejavu-gbm 0.1"; empty for those that ship."""
    found = None if name in SHIPPED else _entry_point(name)
    return "" if found is None or found.dist is None else f"{found.dist.name} {found.dist.version}"


def _entry_point(name: str) -> EntryPoint | None:
    return next(iter(entry_points(group=GROUP, name=name)), None)
