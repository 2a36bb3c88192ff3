"""Writes the locks of everything that ships and of its development, or checks that they are up to date.

    python server/lock_requirements.py           # writes them; needs the package index (make lock)
    python server/lock_requirements.py --check   # compares them with pyproject.toml and constraints.txt; no network

A lock has the exact versions of constraints.txt and the hashes of all files of each release. pip installs no other
files (`--require-hashes`). A lock is for all platforms: a requirement of only some platforms has a marker.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]


def _extras(*names: str) -> tuple[str, ...]:
    return tuple(each for name in names for each in ("--extra", name))


LOCKS: dict[str, tuple[str, ...]] = {
    "server/requirements.txt": _extras("server"),
    "server/requirements-postgres.txt": _extras("postgres"),
    "server/requirements-redis.txt": _extras("redis"),
    "server/requirements-build.txt": ("--group", "pyproject.toml:build"),
    "server/requirements-uv.txt": ("--group", "pyproject.toml:uv"),
    "deploy/requirements-release.txt": ("--group", "pyproject.toml:release"),
    "trainer/requirements-build.txt": ("--group", "pyproject.toml:build-hnswlib"),
    # Requirements of the server's image (deploy/Dockerfile): everything its options may need, stores in S3 included.
    "deploy/requirements-server.txt": _extras("server", "postgres", "redis", "tracing", "model-store"),
    # Requirements of the trainer's image: the server exports ledgers, challengers go to shared stores and MLflow, and
    # workers of clusters run it too.
    "deploy/requirements-trainer.txt": _extras("trainer", "server", "postgres", "model-store", "mlflow", "ray"),
    "client/requirements.txt": (),
    "gateway/requirements.txt": _extras("dashboard"),
    "client/requirements-live.txt": _extras("live"),
    "trainer/requirements.txt": _extras("trainer"),
    "docs/requirements.txt": ("--group", "pyproject.toml:docs"),
    "requirements-dev.txt": (
        *_extras("dashboard", "live", "mcp", "mlflow", "model-store", "notebook", "notify"),
        *_extras("postgres", "ray", "redis", "server", "tracing", "trainer"),
        "--group",
        "pyproject.toml:dev",
    ),
}
"""Each lock, with the parts of pyproject.toml that it locks: a group alone, or extras with the base requirements and
groups.
"""

OMITTED: dict[str, str] = dict.fromkeys(
    ("deploy/requirements-trainer.txt", "requirements-dev.txt"), r"torch|triton|nvidia-.*|cuda-.*"
)
"""Locks that leave packages out, each with the pattern of their names. PyPI's torch for Linux requires the packages of
CUDA: the trainer's image has torch of TORCH_LOCK instead, and make install the build that pip prefers, without a hash.
"""

OURS = "dejavu-forecast"
"""Our own package, which an extra requires with other extras."""

TORCH_LOCK = "deploy/requirements-torch.txt"
"""Lock of PyTorch's CPU build, from PyTorch's own index; written by hand, since uv would mix the indexes."""


class Locked(NamedTuple):
    """A locked requirement.

    Attributes:
        version: its exact version.
        everywhere: whether it is installed on every platform.
        hashes: number of its hashes.
    """

    version: str
    everywhere: bool
    hashes: int


def parse(text: str) -> dict[str, Locked]:
    """Return the requirements of a lock by their names.

    Raises:
        ValueError: if a line is neither a requirement with an exact version nor empty.
    """
    found: dict[str, Locked] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith(("#", "--index-url")):
            continue
        match = re.fullmatch(r"([\w.-]+)==(\S+)\s*(;.*?)?((?:\s+--hash=sha256:[0-9a-f]{64})*)\s*", line)
        if match is None:
            raise ValueError(f"{line!r} is not NAME==VERSION with sha256 hashes")
        name, version, marker, hashes = match.groups()
        found[canonicalize_name(name)] = Locked(version, marker is None, hashes.count("--hash"))
    return found


def pins(text: str) -> dict[str, str]:
    """Return the versions of constraints.txt by name."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def requirements(project: dict[str, object], options: Sequence[str]) -> list[Requirement]:
    """Return the direct requirements of parts of pyproject.toml."""
    groups: dict[str, list[str]] = project["dependency-groups"]  # type: ignore[assignment]
    base: dict[str, Any] = project["project"]  # type: ignore[assignment]
    found = [] if _is_group_alone(options) else list(base["dependencies"])
    for option, name in zip(options[::2], options[1::2], strict=True):
        found += groups[name.partition(":")[2]] if option == "--group" else base["optional-dependencies"][name]
    return [Requirement(text) for text in found]


def _is_group_alone(options: Sequence[str]) -> bool:
    return options[:1] == ("--group",)


def needed(direct: Iterable[Requirement]) -> Iterator[str]:
    """Yield the names of all packages that requirements need on this platform, as far as installed packages tell."""
    waiting, seen = list(direct), set[tuple[str, str]]()
    while waiting:
        requirement = waiting.pop()
        for extra in ("", *requirement.extras):
            name = canonicalize_name(requirement.name)
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name != OURS:
                yield name
            try:
                further = metadata.requires(name) or []
            except metadata.PackageNotFoundError:
                continue
            parsed = (Requirement(text) for text in further)
            waiting += [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": extra})]


def is_installed(name: str) -> bool:
    """Return whether a package is installed in the environment of this Python."""
    return any(metadata.distributions(name=name))


def problems(lock: str, direct: Sequence[Requirement], pinned: dict[str, str], omitted: str = "") -> list[str]:
    """Return the differences of a lock from its requirements; empty if it is up to date.

    Args:
        lock: its text.
        direct: its direct requirements.
        pinned: the versions of constraints.txt.
        omitted: pattern of the names that it leaves out.
    """
    try:
        locked = parse(lock)
    except ValueError as error:
        return [str(error)]
    names = {name for name in needed(direct) if not re.fullmatch(omitted, name)}
    everything = all(map(is_installed, names))  # else the dependencies of some are unknown
    found = [f"{name} is needed and not locked" for name in sorted(names - locked.keys())]
    for name, each in locked.items():
        if not each.hashes:
            found.append(f"{name} has no hash")
        if each.version.partition("+")[0] != pinned.get(name, each.version):
            found.append(f"{name} is {each.version}, but {pinned[name]} in constraints.txt")
        if everything and each.everywhere and name not in names:
            found.append(f"{name} is locked and not needed")
    for requirement in direct:
        name = canonicalize_name(requirement.name)
        if name in locked and not requirement.specifier.contains(locked[name].version, prereleases=True):
            found.append(f"{name} is {locked[name].version}, but pyproject.toml requires {requirement.specifier}")
    return found


def without(lock: str, omitted: str) -> str:
    """Return a lock without the requirements whose names match a pattern."""
    blocks = re.split(r"(?m)^(?=[^\s#])", lock)
    return "".join(block for block in blocks if not re.fullmatch(omitted, block.partition("==")[0]))


def write(name: str, options: Sequence[str]) -> None:
    """Write a lock.

    Raises:
        subprocess.CalledProcessError: if the requirements can't be resolved.
    """
    uv = str(Path(sys.executable).with_name("uv"))
    source = () if _is_group_alone(options) else ("pyproject.toml",)
    command = [uv, "pip", "compile", *source, *options, "-c", "constraints.txt", "--generate-hashes"]
    command += ["--universal", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    output = without(output, OMITTED.get(name, ""))
    (ROOT / name).write_text(f"# Written by make lock: do not edit.\n{output}")


def main(arguments: Sequence[str]) -> int:
    """Write or check all locks; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if arguments != ["--check"]:
        for name, options in LOCKS.items():
            write(name, options)
    pinned = pins((ROOT / "constraints.txt").read_text())
    code = 0
    for name, options in LOCKS.items():
        path = ROOT / name
        text = path.read_text() if path.exists() else ""
        for problem in problems(text, requirements(project, options), pinned, OMITTED.get(name, "")):
            print(f"{name}: {problem}: run make lock", file=sys.stderr)
            code = 1
    path = ROOT / TORCH_LOCK
    torch = parse(path.read_text() if path.exists() else "").get("torch")
    if torch is None or not torch.hashes or torch.version != f"{pinned['torch']}+cpu":
        print(f"{TORCH_LOCK}: expected torch=={pinned['torch']}+cpu, with a hash", file=sys.stderr)
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
