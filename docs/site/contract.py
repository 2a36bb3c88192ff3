"""Writes the reference of the contract as Markdown, a page for each proto file, from the comments of the protos."""

from __future__ import annotations

import html
import posixpath
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)

ROOT = Path(__file__).parents[2]
INDEX = "protos/dejavu/v1/README.md"
PROMISE = "dejavu.v1"
"""The package for everybody, first in the index."""

Place = tuple[int, ...]
"""Place of a declaration in its file: numbers of fields of descriptor.proto, each but the last with an index."""

SYNTAX, MESSAGE, ENUM, SERVICE = 12, 4, 5, 6  # of a file
METHOD, VALUE = 2, 2  # of a service, of an enum
FIELD, NESTED, NESTED_ENUM, ONEOF = 2, 3, 4, 8  # of a message


def descriptors() -> list[FileDescriptorProto]:
    """Compile the protos with their comments, by the `buf` that is installed beside this Python.

    Raises:
        subprocess.CalledProcessError: if they do not compile.
    """
    command = [str(Path(sys.executable).with_name("buf")), "build", "--as-file-descriptor-set", "-o", "-"]
    image = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    return [file for file in FileDescriptorSet.FromString(image).file if file.name.startswith("dejavu/")]


def pages(files: Iterable[FileDescriptorProto]) -> dict[str, str]:
    """Return the pages by path in the repository: one beside each proto file, and an index."""
    ours = sorted(files, key=lambda file: (file.package != PROMISE, file.package, not file.service, file.name))
    homes = {f".{file.package}.{name}": _path(file) for file in ours for name in _types(file)}
    return {_path(file): "\n".join(_Page(file, homes).lines()) for file in ours} | {INDEX: "\n".join(_index(ours))}


def _path(file: FileDescriptorProto) -> str:
    return f"protos/{file.name.removesuffix('.proto')}.md"


def _types(file: FileDescriptorProto) -> list[str]:
    return [*(message.name for message in file.message_type), *(enum.name for enum in file.enum_type)]


def _index(files: Iterable[FileDescriptorProto]) -> Iterator[str]:
    """Yield the lines of the index: a row for each file, with its services or what it declares."""
    yield "# The contract\n\nThe services of a Dejavu server, and their messages, from the comments of the protos."
    yield f"`{PROMISE}` is for every program, and a promise; `dejavu.ops.v1` is between our own programs.\n"
    yield "| proto file | services, or messages and enums | content |\n|---|---|---|"
    for file in files:
        names = [service.name for service in file.service] or _types(file)
        path = posixpath.relpath(_path(file), posixpath.dirname(INDEX))
        yield f"| [{file.name}]({path}) | {', '.join(names)} | {_Page(file, {}).comment((SYNTAX,), cell=True)} |"


class _Page:
    """The page of one proto file.

    Args:
        file: the file, with its comments.
        homes: page of each message and enum that is not nested, by full name.
    """

    def __init__(self, file: FileDescriptorProto, homes: dict[str, str]) -> None:
        self._file, self._homes = file, homes
        self._comments = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page."""
        services = [service.name for service in self._file.service]
        yield f"# {', '.join(services) or posixpath.basename(self._file.name)}\n"
        yield f"Package `{self._file.package}`, [{self._file.name}]({posixpath.basename(self._file.name)}).\n"
        yield self.comment((SYNTAX,))
        for number, service in enumerate(self._file.service):
            yield from self._service((SERVICE, number), service)
        if self._file.message_type:
            yield "\n## Messages"
        for number, message in enumerate(self._file.message_type):
            yield from self._message((MESSAGE, number), message.name, message)
        if self._file.enum_type:
            yield "\n## Enums"
        for number, enum in enumerate(self._file.enum_type):
            yield from self._enum((ENUM, number), enum.name, enum)

    def comment(self, place: Place, *, cell: bool = False) -> str:
        """Return the comment of a declaration, its paragraphs apart; `cell`: for a cell of a table."""
        lines = [line.strip() for line in self._comments.get(place, "").strip().splitlines()]
        text = html.escape("\n".join(lines), quote=False).replace("{", "&#123;")
        return text.replace("|", r"\|").replace("\n\n", "<br>").replace("\n", " ") if cell else text

    def _service(self, place: Place, service: ServiceDescriptorProto) -> Iterator[str]:
        yield f"\n## Methods\n\n{self.comment(place)}"
        for number, method in enumerate(service.method):
            request, response = self._link(method.input_type), self._link(method.output_type)
            streamed = ["stream " if each else "" for each in (method.client_streaming, method.server_streaming)]
            yield f"\n### {method.name} {{ #{service.name}.{method.name} }}\n"
            yield f"{method.name} ({streamed[0]}{request}) returns ({streamed[1]}{response})\n"
            yield self.comment((*place, METHOD, number))

    def _message(self, place: Place, name: str, message: DescriptorProto) -> Iterator[str]:
        yield f"\n### {name} {{ #{name} }}\n\n{self.comment(place)}\n"
        if message.field:
            yield "| field | type | meaning |\n|---|---|---|"
        shown = set[int]()
        for number, field in enumerate(message.field):
            oneof = field.HasField("oneof_index") and not field.proto3_optional
            if oneof and field.oneof_index not in shown:
                shown.add(field.oneof_index)
                about = self.comment((*place, ONEOF, field.oneof_index), cell=True)
                yield f"| *{message.oneof_decl[field.oneof_index].name}* | one of the following | {about} |"
            about = self.comment((*place, FIELD, number), cell=True)
            yield f"| {'– ' if oneof else ''}`{field.name}` | {self._type(field, message)} | {about} |"
        for number, nested in enumerate(message.nested_type):
            if not nested.options.map_entry:
                yield from self._message((*place, NESTED, number), f"{name}.{nested.name}", nested)
        for number, enum in enumerate(message.enum_type):
            yield from self._enum((*place, NESTED_ENUM, number), f"{name}.{enum.name}", enum)

    def _enum(self, place: Place, name: str, enum: EnumDescriptorProto) -> Iterator[str]:
        yield f"\n### {name} {{ #{name} }}\n\n{self.comment(place)}\n\n| value | number | meaning |\n|---|---|---|"
        for number, value in enumerate(enum.value):
            yield f"| `{value.name}` | {value.number} | {self.comment((*place, VALUE, number), cell=True)} |"

    def _type(self, field: FieldDescriptorProto, message: DescriptorProto) -> str:
        """Return the type of a field as the proto declares it, with a link to a message or enum."""
        for entry in message.nested_type:
            if entry.options.map_entry and field.type_name.endswith(f".{message.name}.{entry.name}"):
                key, value = (self._type(part, entry) for part in entry.field)
                return f"map&lt;{key}, {value}&gt;"
        scalar = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
        repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
        label = "repeated " if repeated else "optional " if field.proto3_optional else ""
        return label + (self._link(field.type_name) if field.type_name else scalar)

    def _link(self, name: str) -> str:
        """Return the name of a type, with a link to its section if it is ours."""
        home = next((home for home in self._homes if f"{name}.".startswith(f"{home}.")), None)
        if home is None:
            return name.removeprefix(".")
        shown = name.removeprefix(f".{self._file.package}.").removeprefix(".")
        section = name.removeprefix(f"{home.rpartition('.')[0]}.")
        return f"[{shown}]({posixpath.relpath(self._homes[home], posixpath.dirname(_path(self._file)))}#{section})"
