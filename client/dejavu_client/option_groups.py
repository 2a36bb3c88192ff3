"""Options of commands as fields of dataclasses, with the texts of docstrings as their help."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from copy import copy
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_origin, get_type_hints


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return a command of a function: a parameter of the type of a dataclass becomes an option for each field.

    The help of the command is the docstring of the function, without its Args; these are the help of its options, as
    the Attributes of a dataclass are of its fields.
    """
    hints = get_type_hints(function, include_extras=True)
    own = inspect.signature(function).parameters.values()
    groups = {each.name: hints[each.name] for each in own if is_dataclass(hints[each.name])}
    names = {name: [each.name for each in fields(group)] for name, group in groups.items()}
    description, texts = _documented(function)

    @wraps(function)
    def command(**given: Any) -> None:
        made = {name: group(**{each: given.pop(each) for each in names[name]}) for name, group in groups.items()}
        function(**given, **made)

    parameters = [
        each.replace(annotation=_with_help(hints[each.name], texts.get(each.name)))
        for each in own
        if each.name not in groups
    ]
    for group in groups.values():
        types = get_type_hints(group, include_extras=True)
        texts = {name: text for base in reversed(group.__mro__) for name, text in _documented(base)[1].items()}
        for each in fields(group):
            annotation = _with_help(types[each.name], texts.get(each.name))
            keyword = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(each.name, keyword, default=each.default, annotation=annotation))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = description
    return command


def _documented(described: Any) -> tuple[str, dict[str, str]]:
    """Return the docstring of a function or class without its Args or Attributes, and their texts by name."""
    description, *sections = re.split(r"\n\n(?:Args|Attributes):\n", inspect.cleandoc(described.__doc__ or ""))
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", "".join(sections), re.MULTILINE)
    return description, {name: " ".join(text.split()) for name, text in entries}


def _with_help(annotation: Any, text: str | None) -> Any:
    """Return the annotation of an option that says nothing itself with this help."""
    if text is None or get_origin(annotation) is not Annotated or annotation.__metadata__[0].help is not None:
        return annotation
    info = copy(annotation.__metadata__[0])
    info.help = text
    return Annotated[annotation.__origin__, info]
