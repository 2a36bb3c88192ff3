"""nginx and HAProxy before servers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from tests.support.harness.required import required_program


def nginx_configuration(folder: Path, http: str, server: str, main: str = "") -> str:
    """Return a configuration of nginx that needs no folder of the system's.

    Args:
        folder: folder of its files.
        http: directives of the http block.
        server: directives of the server block, including listen.
        main: further directives of the main context.
    """
    names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{name}_temp_path {folder}/{name};" for name in names)
    return (
        f"daemon off; {main} pid {folder}/pid; error_log {folder}/error.log; events {{ }}"
        f"http {{ access_log off; {folders} {http} server {{ {server} }} }}"
    )


@contextmanager
def running_proxy(kind: str, configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx or haproxy with a file; without its program, skip the test, or fail it in CI."""
    program = required_program(kind, kind)
    options = ["-W", "-db", "-f"] if kind == "haproxy" else ["-e", str(configuration.parent / "error.log"), "-c"]
    process = subprocess.Popen([program, *options, str(configuration)])
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        for child in children:
            with suppress(psutil.NoSuchProcess):  # a worker of an earlier configuration
                child.kill()
        process.wait()
