"""The files and services of the contract: all that protos/dejavu has, so that tests of every call cover new ones."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

_PROTOS: Final = Path(__file__).parents[2] / "protos"

FILES: Final[tuple[Any, ...]] = tuple(
    import_module(".".join(path.relative_to(_PROTOS).with_suffix("").parts) + "_pb2")
    for path in sorted(_PROTOS.glob("dejavu/**/v1/*.proto"))
)
"""The generated modules of dejavu.v1 and dejavu.ops.v1."""

SERVICES: Final[tuple[ServiceDescriptor, ...]] = tuple(
    service for file in FILES for service in file.DESCRIPTOR.services_by_name.values()
)
METHODS: Final[tuple[MethodDescriptor, ...]] = tuple(method for service in SERVICES for method in service.methods)
