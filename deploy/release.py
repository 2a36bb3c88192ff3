"""Builds and verifies a release in dist/: everything but the upload, which a push of its tag starts.

    python deploy/release.py 1.0.0                  # fails if the tree is not what 1.0.0 would be
    python deploy/release.py 1.0.0 --prepare        # first: name the version in deploy/, write its contract
    python deploy/release.py 1.0.0 --images         # with the images; needs root and buildah

What is built is installed as a user would, from wheels only, and makes a forecast.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
DISTRIBUTION = "dejavu-forecast"
PROGRAMS = ("server", "client", "poller", "dashboard", "trainer")
"""Targets of deploy/Dockerfile."""

_NAMED = re.compile(
    rf"(?P<before>dejavu-(?:{'|'.join(PROGRAMS)}):|(?:version|appVersion): |ARG VERSION=)"
    r"(?P<version>\d+\.\d+\.\d+)\b"
)
_MOST_MEBIBYTES = 200
"""Most mebibytes of an installed server, bytecode included."""


class NotReady(Exception):
    """The tree is not what the release would be."""


def changes(text: str) -> tuple[str, str]:
    """Return version and text of the first section of CHANGELOG.md.

    Raises:
        NotReady: if it has none.
    """
    found = re.search(r"^## (\d+\.\d+\.\d+)\b.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise NotReady("CHANGELOG.md has no section `## X.Y.Z: …`")
    return found[1], found[2].strip()


def files_with_version() -> Iterator[Path]:
    """Yield the files that name the version of images."""
    for path in sorted([*ROOT.glob("deploy/**/*"), ROOT / "docs" / "deployment.md"]):
        if path.is_file() and path.suffix in ("", ".yaml", ".md") and _NAMED.search(path.read_text()):
            yield path


def versions_named() -> set[str]:
    """Return the versions of images that deploy/ and docs/deployment.md name."""
    return {found["version"] for path in files_with_version() for found in _NAMED.finditer(path.read_text())}


def prepare(version: str) -> None:
    """Name the version where images are named, and write the image of the contract, the baseline of later releases."""
    for path in files_with_version():
        path.write_text(_NAMED.sub(rf"\g<before>{version}", path.read_text()))
    folder = ROOT / "protos/released"
    folder.mkdir(exist_ok=True)
    for earlier in folder.glob("v*.binpb"):
        earlier.unlink()
    _run("buf", "build", "--exclude-source-info", "-o", folder / f"v{version}.binpb")


def problems(version: str) -> Iterator[str]:
    """Yield what keeps the tree from being released as a version."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        yield f"version {version!r}; expected X.Y.Z"
    if _output("git", "status", "--porcelain"):
        yield "the tree has changes that are not committed"
    if (
        _output("git", "tag", "--list", f"v{version}")
        and f"v{version}" not in _output("git", "tag", "--points-at").split()
    ):
        yield f"v{version} is the tag of another commit"
    newest = changes((ROOT / "CHANGELOG.md").read_text())[0]
    if newest != version:
        yield f"the first section of CHANGELOG.md is of {newest}"
    if versions_named() != {version}:
        yield f"deploy/ and docs/deployment.md name {', '.join(sorted(versions_named()))}: --prepare"
    if not (ROOT / f"protos/released/v{version}.binpb").exists():
        yield f"protos/released/v{version}.binpb is missing: --prepare"


def build(version: str) -> None:
    """Build source distribution, wheels, contract, bills of materials and notes."""
    environment = {"SETUPTOOLS_SCM_PRETEND_VERSION": version, "DEJAVU_REVISION": _output("git", "rev-parse", "HEAD")}
    _run("python", "-m", "build", "--no-isolation", "--sdist", "--outdir", DIST, **environment)
    [source] = DIST.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        wheel = ("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir")
        # On platforms without a wheel of their own, the client alone: an installation takes the more specific one.
        _run("python", "-m", *wheel, DIST, source, DEJAVU_COMPILE="0", **environment)
        _run("python", "-m", *wheel, folder, source, DEJAVU_COMPILE="1", **environment)
        [compiled] = Path(folder).glob("*.whl")
        _run("auditwheel", "repair", "--wheel-dir", DIST, compiled)
    _run("twine", "check", "--strict", *sorted(DIST.glob("dejavu_forecast-*")))
    _run("buf", "build", "-o", DIST / "dejavu.binpb")
    _run("make", "--no-print-directory", "sbom")
    (DIST / "NOTES.md").write_text(changes((ROOT / "CHANGELOG.md").read_text())[1] + "\n")


def build_images(version: str, base: str) -> None:
    """Build the images with buildah, and write their digests.

    Args:
        version: version of the release.
        base: the image that they are made from; empty for that of the Dockerfile.
    """
    digests = {}
    for program in PROGRAMS:
        name = f"dejavu-{program}:{version}"
        arguments = {
            "VERSION": version,
            "REVISION": _output("git", "rev-parse", "HEAD"),
            **({"BASE": base} if base else {}),
        }
        options = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        _run(
            "buildah",
            "build",
            "--layers",
            "--target",
            program,
            "--tag",
            name,
            *options,
            "--file",
            "deploy/Dockerfile",
            ".",
        )
        with tempfile.NamedTemporaryFile() as digest:
            _run(
                "buildah", "push", "--digestfile", digest.name, name, f"oci-archive:{DIST}/dejavu-{program}.tar:{name}"
            )
            digests[name] = digest.read().decode().strip()
    (DIST / "images.json").write_text(json.dumps(digests, indent=2) + "\n")


def verify(version: str) -> None:
    """Install what was built as users do, from wheels only, and use it.

    Raises:
        NotReady: if an installation does not do what it should.
    """
    [pure] = DIST.glob("*-py3-none-any.whl")
    with tempfile.TemporaryDirectory() as folder:
        client, server = Path(folder, "client"), Path(folder, "server")
        for environment in (client, server):
            _run(sys.executable, "-m", "venv", "--without-pip", environment)
        _install(client, pure)
        _install(server, "--find-links", DIST, f"{DISTRIBUTION}[server]=={version}")
        size = sum(path.lstat().st_size for path in (server / "lib").rglob("*") if path.is_file()) / 2**20
        _install(server, "--find-links", DIST, f"{DISTRIBUTION}[server,live]=={version}")
        for program in (client / "bin/dejavu", server / "bin/dejavu", server / "bin/dejavu-server"):
            said = _output(program, "--version")
            if not said.startswith(f"{program.name} {version} "):
                raise NotReady(f"{program.name} --version says {said!r}")
        _run(server / "bin/dejavu", "demo", "--count", "1", "--seconds", "5", cwd=folder)
    sys.stdout.write(f"the server is {size:.0f} MiB installed\n")
    if size > _MOST_MEBIBYTES:
        raise NotReady(f"the server is {size:.0f} MiB installed; expected at most {_MOST_MEBIBYTES}")


def _install(environment: Path, *wanted: str | Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check", "--python", environment / "bin/python")
    _run(sys.executable, *pip, "install", "-q", "--only-binary", ":all:", *wanted)


def sums() -> None:
    """Write SHA256SUMS of what dist/ holds."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(DIST.iterdir())]
    (DIST / "SHA256SUMS").write_text("".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Release, but for the upload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", help="version of the release, X.Y.Z")
    parser.add_argument(
        "--prepare", action="store_true", help="only name the version in deploy/ and write its contract"
    )
    parser.add_argument("--images", action="store_true", help="build the images too")
    parser.add_argument("--base", default="", help="image from which they are made; default: that of the Dockerfile")
    options = parser.parse_args(arguments)
    try:
        if options.prepare:
            prepare(options.version)
            return 0
        if found := list(problems(options.version)):
            raise NotReady("; ".join(found))
        _run("git", "clean", "-q", "-d", "-f", "-x", "--", DIST)
        DIST.mkdir(exist_ok=True)
        build(options.version)
        verify(options.version)
        if options.images:
            build_images(options.version, options.base)
        sums()
    except NotReady as error:
        sys.stderr.write(f"not released: {error}\n")
        return 1
    sys.stdout.write(
        f"dist/ has release {options.version}. Nothing was uploaded: a push of its tag does it.\n"
        f"  git tag -a v{options.version} -m 'Dejavu {options.version}' && git push origin v{options.version}\n"
    )
    return 0


def _run(*command: str | Path, cwd: str | Path = ROOT, **environment: str) -> None:
    path = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    subprocess.run(list(map(str, command)), check=True, cwd=cwd, env={**os.environ, "PATH": path, **environment})  # noqa: S603


def _output(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), check=True, cwd=ROOT, capture_output=True, text=True).stdout.strip()  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
