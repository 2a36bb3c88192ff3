"""A faster constructor for frozen dataclasses, several of which are created in every call.

A frozen dataclass forbids assignment, so its generated constructor writes each field by a call of
`object.__setattr__`, which takes most of its time. This one assigns the fields while the object still has a mutable
class with the same slots. Decision: docs/decisions/0067-speed-of-calls.md.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def fast_frozen(cls: type[_T]) -> type[_T]:
    """Make a dataclass with `frozen=True, slots=True`, and the faster constructor: the same arguments and defaults.

    Raises:
        TypeError: if the class inherits slots, or a field is not an argument, is keyword-only, or has a default
            factory.
    """
    cls = dataclass(frozen=True, slots=True)(cls)
    slots, parameters = cls.__dict__.get("__slots__"), fields(cls)  # type: ignore[arg-type]  # any dataclass
    names = [each.name for each in parameters]
    if cls.__base__ is not object or slots != tuple(names):
        raise TypeError(f"{cls.__name__} is not a dataclass with slots of its own only")
    if any(not each.init or each.kw_only or each.default_factory is not MISSING for each in parameters):
        raise TypeError(f"{cls.__name__} has a field that is no plain argument")
    names_given = {
        "set_class": object.__dict__["__class__"].__set__,
        "frozen": cls,
        "open": type(cls.__name__, (), {"__slots__": slots}),
        **{f"default_{each.name}": each.default for each in parameters if each.default is not MISSING},
    }
    arguments = [each.name if each.default is MISSING else f"{each.name}=default_{each.name}" for each in parameters]
    lines = [
        f"def __init__(self, {', '.join(arguments)}):",
        "    set_class(self, open)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = frozen",
        *(["    self.__post_init__()"] if hasattr(cls, "__post_init__") else []),
    ]
    made: dict[str, Any] = {}
    exec("\n".join(lines), names_given, made)  # noqa: S102 - as dataclasses does, from the names of fields
    constructor = made["__init__"]
    constructor.__qualname__, constructor.__annotations__ = f"{cls.__qualname__}.__init__", cls.__init__.__annotations__
    constructor.__module__ = cls.__module__
    setattr(cls, "__init__", constructor)  # noqa: B010 - to a type checker, the class keeps the one it declares
    return cls
