"""Builds the compiled models (model_store/native) with the package: `dejavu_models._native`.

Where there is no C++ compiler, or DEJAVU_COMPILE=0 is set, the package is built without them: the typed client does not
need them, and a server refuses to start. DEJAVU_COMPILE=1 makes a build fail that cannot compile them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = Path("model_store", "native")
PACKAGE = Path("model_store", "dejavu_models")


class CompiledModels(BuildHookInterface[Any]):
    """Compiles the extension beside its package, and adds it to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles unless it is up to date; `version` is "standard" or "editable"."""
        wish = os.environ.get("DEJAVU_COMPILE", "")
        if wish == "0":
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
        build_data["infer_tag"] = True


def compiled(root: Path) -> Path:
    """Compiles the extension, and returns its path in the project.

    Raises:
        Exception: of any kind, if it cannot be compiled.
    """
    # Imported here: a build without the extension does not need them.
    from pybind11.setup_helpers import ParallelCompile, Pybind11Extension  # noqa: PLC0415
    from setuptools import Distribution  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    sources = sorted(str(path) for path in (root / SOURCES).rglob("*.cpp"))
    # Those of Python keep compilers from vectorising: wrapping integers, exceptions of floats.
    flags = ["-O3", "-g0", "-fno-wrapv", "-fno-trapping-math", "-fno-math-errno"]
    extension = Pybind11Extension(
        "_native", sources, cxx_std=17, extra_compile_args=flags, include_dirs=[str(root / SOURCES)]
    )
    command = build_ext(Distribution({"name": "dejavu-native", "ext_modules": [extension]}))
    command.finalize_options()
    target = PACKAGE / command.get_ext_filename("_native")
    newest = max(path.stat().st_mtime for path in [*(root / SOURCES).rglob("*.?pp"), Path(__file__)])
    if (root / target).exists() and (root / target).stat().st_mtime >= newest:
        return target
    with tempfile.TemporaryDirectory(dir=root / PACKAGE, prefix=".native-") as folder:
        command.build_temp = command.build_lib = folder
        with ParallelCompile("DEJAVU_COMPILE_JOBS", default=os.cpu_count() or 1):
            command.run()
        # Renamed into place: another build, or a running server, may have the file open.
        (Path(folder) / target.name).replace(root / target)
    return target


if __name__ == "__main__":  # for developers, after a change of the sources
    sys.stdout.write(f"{compiled(Path(__file__).parent)}\n")
