"""Runs the project's example programs with the address of a test server; those in Go and C++ are compiled first."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.builders.made_once import made_once
from tests.support.harness.documents import PLACE, ROOT, commands
from tests.support.harness.required import skip_or_fail
from tests.support.programs import examples
from tests.support.programs.commands import commands_path

NODE_PROGRAMS = ROOT / "examples" / "node" / "dist"


def environment(address: str, **more: str) -> dict[str, str]:
    """Return the environment of an example: the PATH of the commands, the server address and a long timeout."""
    path = f"{commands_path()}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ,
        "PATH": path,
        "DEJAVU_TARGET": address,
        "DEJAVU_TIMEOUT": "20",
        "PYTHONUNBUFFERED": "1",
        **more,
    }


def run(*command: str | Path, address: str, seconds: float = 100.0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end in the project folder."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(address, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


@contextmanager
def started(*command: str | Path, address: str, seconds: float = 100.0, **more: str) -> Iterator[subprocess.Popen[str]]:
    """Start a program that runs until it is stopped; its output is text.

    Kills it at the end, or after `seconds`; a read that waits for a line then returns an empty one.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(address, **more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = threading.Timer(seconds, process.kill)
    limit.start()
    with process:
        try:
            yield process
        finally:
            limit.cancel()
            process.kill()


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
