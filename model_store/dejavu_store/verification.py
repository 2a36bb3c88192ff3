"""Verifies a bundle in a separate process, so that a harmful bundle affects no other process.

A malicious file can crash a process or fill its memory, and a server has secrets that its models must not read. So a
new bundle is loaded first by `python -m dejavu_store.verification`, which receives it on stdin: in an empty working
directory, without the environment of the server, with limits of time and memory, and without the right to open files.
It makes forecasts from every minute. It exits with 0, or prints the reason for the refusal and exits with 1.
"""

from __future__ import annotations

import codecs
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dejavu_models.errors import BundleCorrupt, BundleError

MAX_MEMORY: Final = 512 * 1024**2
"""Maximum address space for loading a bundle and making its answers, in bytes, besides that of the modules; a bundle of
the largest size takes 400 MB. A container of a server has 1 GiB."""

MAX_SECONDS: Final = 10
"""Maximum CPU time of a verification, in seconds: a fraction of the minute in which a worker must load its models while
others load theirs. The default bundle takes little more than a second."""

MAX_WAIT_SECONDS: Final = 300
"""Maximum wall time of a verification, in seconds: on a busy machine it waits for the CPU most of the time."""

NICENESS: Final = 5
"""Niceness of a verification: with a third of a worker's CPU weight, it yields to calls and still ends."""

ENVIRONMENT: Final = ("PATH", "PYTHON", "LD_LIBRARY_PATH", "LANG", "LC_", "TMPDIR", "OMP_", "OPENBLAS_", "MALLOC_")
"""Prefixes of the environment variables that the process gets: those that Python needs to find its modules, and the
server's settings of libraries. Without the latter, OpenBLAS would reserve memory for one thread per core."""

_REFUSED: Final = 1


def verify(source: str, manifest: bytes, contents: Mapping[str, bytes]) -> None:
    """Load a bundle in another process, check its golden answers, and make forecasts from every minute.

    Args:
        source: its origin, for messages.
        manifest: content of its manifest.json.
        contents: contents of its files.

    Raises:
        BundleError: if it does not load, gives other answers, or exceeds the limits of time or memory.
    """
    sizes = json.dumps([(name, len(content)) for name, content in (("", manifest), *contents.items())])
    with tempfile.TemporaryDirectory(prefix="dejavu-verification-") as nothing:
        try:
            ended = subprocess.run(  # noqa: S603 - our own program
                (sys.executable, "-P", "-m", __name__, source),
                input=b"".join((sizes.encode(), b"\n", manifest, *contents.values())),
                capture_output=True,
                check=False,
                timeout=MAX_WAIT_SECONDS,
                cwd=nothing,
                env={name: value for name, value in os.environ.items() if name.startswith(ENVIRONMENT)},
            )
        except subprocess.TimeoutExpired:
            raise BundleCorrupt(f"{source}: loading it takes longer than {MAX_WAIT_SECONDS} s") from None
    said, errors = (text.decode(errors="replace").strip() for text in (ended.stdout, ended.stderr))
    if ended.returncode == _REFUSED and said:
        raise BundleCorrupt(said)
    if ended.returncode == -signal.SIGXCPU:
        raise BundleCorrupt(f"{source}: loading it takes more than {MAX_SECONDS} s of CPU time")
    if ended.returncode < 0:
        ended_by = signal.strsignal(-ended.returncode) or f"signal {-ended.returncode}"
        raise BundleCorrupt(f"{source}: loading it ends the process: {ended_by}")
    if ended.returncode:
        raise BundleCorrupt(f"{source}: loading it fails: {(errors or 'no reason given').splitlines()[-1]}")


def main() -> None:
    """Verify the bundle that stdin has, whose origin the argument names.

    Raises:
        SystemExit: with 1 if it is refused.
    """
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Imported under the limit of time, since these imports take most of it.
    from dejavu_store.bundle import check_answers, component_classes, load_contents, parse_manifest  # noqa: PLC0415  # noqa: PLC0415

    source = sys.argv[1]
    try:
        contents = {name: sys.stdin.buffer.read(size) for name, size in json.loads(sys.stdin.buffer.readline())}
        manifest = parse_manifest(contents.pop(""), source)
        component_classes(source, manifest)  # imported while files can be opened
        limit_memory()
        open_no_more()
        check_answers(load_contents(source, manifest, contents))
    except BundleError as error:
        print(error)  # noqa: T201 - its result
        sys.exit(_REFUSED)


def limit_memory() -> None:
    """Limit the address space to MAX_MEMORY more than now: the modules reserve more of it on machines of many cores."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY, used + MAX_MEMORY))


def open_no_more() -> None:
    """Give up permanently the right to open files and connections, write files and start processes."""
    for encoding in ("ascii", "cp437", "latin-1", "utf-8"):
        codecs.lookup(encoding)  # archives use these for names, and Python reads an encoding's module on first use
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(limit, (0, 0))


if __name__ == "__main__":
    main()
