"""Builds the compiled models (model_store/native) with the package, `dejavu_models._native`, and records its revision.

One extension serves every Python from 3.11 on: it is limited to the stable ABI, and what of nanobind depends on the
version comes at run time from nanobind-backend (https://nanobind.readthedocs.io/en/latest/split.html).

Where there is no C++ compiler, or DEJAVU_COMPILE=0 is set, the package is built without them: the typed client does not
need them, and a server refuses to start. DEJAVU_COMPILE=1 makes a build fail that cannot compile them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("model_store", "native")
PACKAGE = Path("model_store", "dejavu_models")

FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-DNDEBUG",
]
"""Signals of floats are not looked at, so loops may be vectorised; nanobind needs objects that may alias."""

STABLE_ABI = [
    "-DPy_LIMITED_API=0x030B0000",
    "-DNB_BACKEND_MODULE=nanobind_backend",
    "-DNB_BACKEND_PYPI=nanobind-backend",
]

REVISION = Path("common", "dejavu_common", "revision.txt")
"""Read by `dejavu_common.build`."""


class CompiledModels(BuildHookInterface[Any]):
    """Compiles the extension beside its package, and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Record the revision, and compile unless that is up to date; `version` is "standard" or "editable"."""
        _record_revision(Path(self.root))
        build_data["artifacts"].append(f"/{REVISION.as_posix()}")
        wish = os.environ.get("DEJAVU_COMPILE", "")
        if wish == "0" or self.target_name == "sdist":
            return
        try:
            extension = compiled(Path(self.root))
        except Exception as error:  # compilers fail in many ways
            if wish == "1":
                raise
            self.app.display_warning(f"built without compiled models, which a server wants: {error}")
            return
        build_data["artifacts"].append(f"/{extension.as_posix()}")
        build_data["pure_python"] = False
        build_data["tag"] = "cp311-abi3-" + re.sub("[-.]", "_", sysconfig.get_platform())


def _record_revision(root: Path) -> None:
    """Write the commit that is built; without the history, keep what a source distribution has brought."""
    revision = os.environ.get("DEJAVU_REVISION", "")
    if not revision and (root / ".git").exists():
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607
        revision = asked.stdout.strip()
    if revision or not (root / REVISION).exists():
        (root / REVISION).write_text(f"{revision or 'unknown'}\n")


def compiled(root: Path) -> Path:
    """Compile the extension, and return its path in the project.

    Raises:
        Exception: of any kind, if it cannot be compiled.
    """
    import nanobind  # type: ignore[import-untyped] # noqa: PLC0415 - needed for the extension only

    target = PACKAGE / "_native.abi3.so"
    newest = max(path.stat().st_mtime for path in [*(root / SOURCES).rglob("*.?pp"), Path(__file__)])
    if (root / target).exists() and (root / target).stat().st_mtime >= newest:
        return target
    includes = [sysconfig.get_path("include"), nanobind.include_dir()]
    compiler = shlex.split(os.environ.get("CXX") or "c++")
    cached = _cached(root, compiler, (nanobind.__version__, target.name))
    compile_ = [*compiler, *FLAGS, *STABLE_ABI, *(f"-I{folder}" for folder in [*includes, root / SOURCES])]
    # The longest first, as far as their sizes tell.
    sources = sorted((root / SOURCES).rglob("*.cpp"), key=lambda path: -path.stat().st_size)
    with tempfile.TemporaryDirectory(dir=root / PACKAGE, prefix=".native-") as folder:
        built = Path(folder, target.name)
        if cached.exists():
            shutil.copyfile(cached, built)
            built.replace(root / target)
            return target
        objects = [Path(folder, f"{source.stem}.o") for source in sources]
        commands = [[*compile_, "-c", one, "-o", other] for one, other in zip(sources, objects, strict=True)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        linking = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else ["-Wl,-s"]
        _run([*compile_, "-shared", *linking, *objects, "-o", built])
        with contextlib.suppress(OSError):  # no home, or a full one: compiled again in the next clone
            cached.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(built, f"{cached}.{os.getpid()}")
            Path(f"{cached}.{os.getpid()}").replace(cached)
        # Renamed into place: another build, or a running server, may have the file open.
        built.replace(root / target)
    return target


def _cached(root: Path, compiler: Sequence[str], names: Sequence[str]) -> Path:
    """Return where the extension is kept for the user's other clones, by the hash of all that it is compiled from."""
    version = subprocess.run([*compiler, "--version"], check=True, capture_output=True).stdout  # noqa: S603
    digest = hashlib.sha256(repr((compiler, version, FLAGS, STABLE_ABI, names)).encode())
    for path in sorted((root / SOURCES).rglob("*.?pp")):
        digest.update(path.name.encode() + path.read_bytes())
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "dejavu", "native", f"{digest.hexdigest()[:32]}.so")


def _run(command: Sequence[str | Path]) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - a compiler


if __name__ == "__main__":  # for developers, after a change of the sources
    sys.stdout.write(f"{compiled(Path(__file__).parent)}\n")
