"""The example programs in Go and C++, compiled by the commands of the documents, once per run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.support.builders.made_once import made_once
from tests.support.harness.documents import PLACE, ROOT, commands
from tests.support.harness.required import skip_or_fail
from tests.support.programs import examples

GO_LIBRARIES = Path("/usr/share/gocode")
"""Where Debian installs Go libraries: packages golang-google-grpc-dev and golang-github-golang-protobuf-1-5-dev."""

SECONDS = 240.0
"""For a compilation: the first one in Go on a machine compiles gRPC, which takes 20 s."""


def go_example(name: str) -> Path:
    """Return a program of examples/go; if tools or libraries are missing, skip the test, or fail it in CI."""
    packages = ("google.golang.org/grpc", "google.golang.org/protobuf")
    missing = [tool for tool in ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc") if shutil.which(tool) is None]
    missing += [f"the Go library {name}" for name in packages if not (GO_LIBRARIES / "src" / name).is_dir()]
    if missing:
        skip_or_fail(f"{', '.join(missing)} not installed (Debian's packages: examples/README.md)")

    def compile_in(folder: Path) -> None:
        (folder / "src").mkdir(parents=True)
        [generate] = [command for command in commands("docs/clients.md") if "--go_out" in command]
        _run("sh", "-c", generate.replace("OUT", str(folder / "src")))
        offline = {"GO111MODULE": "off", "GOFLAGS": "", "GOPATH": f"{folder}{os.pathsep}{GO_LIBRARIES}"}
        _run("go", "build", "-o", folder / name, ROOT / "examples" / "go" / name / f"{name}.go", **offline)

    return made_once(f"go-{name}", compile_in) / name


def cpp_example() -> Path:
    """Return the program of examples/cpp; if tools or libraries are missing, skip the test, or fail it in CI."""
    missing = [tool for tool in ("g++", "pkg-config", "protoc", "grpc_cpp_plugin") if shutil.which(tool) is None]
    if not missing:
        library = examples.run("pkg-config", "--exists", "grpc++", "protobuf", address=PLACE)
        missing = ["the C++ libraries of gRPC and protobuf"] if library.returncode else []
    if missing:
        skip_or_fail(f"{', '.join(missing)} not installed (Debian's packages: examples/README.md)")

    def compile_in(folder: Path) -> None:
        folder.mkdir()
        documented = commands("examples/README.md")
        for beginning in ("protoc ", "g++ "):
            [command] = [command for command in documented if command.startswith(beginning)]
            _run("sh", "-c", command.replace("OUT", str(folder)))

    return made_once("cpp-stream", compile_in) / "stream"


def _run(*command: str | Path, **variables: str) -> None:
    done = examples.run(*command, address=PLACE, seconds=SECONDS, **variables)
    assert done.returncode == 0, done.stderr
