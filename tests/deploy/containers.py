"""Images that buildah builds on demand on a base from mmdebstrap, and hardened runs of their programs.

with Images(folder) as images:
    with images.running("server", ["--workers", "1"], volume) as process: …

Neither a registry nor a container runtime is needed: the base is a minimal Debian, and a program is started in
namespaces of its own, with the command, environment and user of its image, a read-only root and no capability.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from tests.support.harness.required import required_program

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"

_BASE = "localhost/base"
_FORWARDED = ("index-url", "extra-index-url", "trusted-host", "proxy")

# The root becomes read-only except /tmp and volumes, and the program starts without capabilities.
_CONTAINER = """
set -eu
mount --bind "$1" "$1"
mount -t tmpfs -o mode=1777,size=64m tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
for device in null urandom; do
  test -e "$1/dev/$device" || touch "$1/dev/$device"
  mount --bind "/dev/$device" "$1/dev/$device"
done
if [ -n "$2" ]; then mount --bind "$2" "$1/var/lib/dejavu"; fi
mount -o remount,bind,ro "$1"
exec chroot "$1" /usr/bin/setpriv --reuid "$3" --regid "$3" --clear-groups --no-new-privs --bounding-set=-all \
  --inh-caps=-all -- "$@"
"""


def pip_configuration(certificates: str) -> str:
    """Return a pip.conf with this machine's index, proxy and certificates, and its folder of wheels if it has one."""
    command = [shutil.which("pip") or "pip3", "config", "list"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = (line.partition("=") for line in listed.splitlines())
    found = {name.rpartition(".")[2]: value.strip("'\"") for name, _, value in lines}
    found |= {
        key: os.environ[name] for key in _FORWARDED if (name := f"PIP_{key.upper().replace('-', '_')}") in os.environ
    }
    found = {key: value for key, value in found.items() if key in _FORWARDED and value and "file:" not in value}
    if wheels := _wheels():
        found["find-links"] = str(wheels)
    return "\n".join(["[global]", f"cert = {certificates}", *(f"{key} = {value}" for key, value in found.items()), ""])


def _wheels() -> Path | None:
    """Return the folder of wheels in which pip of this machine looks first; builds see it at the same place."""
    folder = os.environ.get("PIP_FIND_LINKS", "")
    return Path(folder) if folder and Path(folder).is_dir() else None


class Images:
    """The images of the Dockerfile's targets in a storage of their own, which is removed at the end.

    Args:
        folder: an existing folder for storage and secrets.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._buildah = [
            required_program("buildah", "buildah"),
            *("--root", str(folder / "storage"), "--runroot", str(folder / "run")),
        ]
        self._built = set[str]()
        self._containers: dict[str, str] = {}

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("only root can mount an image")
        if given := os.environ.get("DEJAVU_IMAGE_BASE"):
            self._base = given
        else:
            self._base = _BASE
            tar = self._folder / "base.tar"
            options = ("--quiet", "--variant=minbase", "--include=ca-certificates")
            subprocess.run([required_program("mmdebstrap", "mmdebstrap"), *options, "bookworm", str(tar)], check=True)
            (self._folder / "Base").write_text("FROM scratch\nADD base.tar /\n")
            self.call("build", "--quiet", "-f", str(self._folder / "Base"), "-t", _BASE, str(self._folder))
            tar.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self.call("umount", "--all")
        self.call("rm", "--all")
        subprocess.run([*self._buildah, "rmi", "--all", "--force"], check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def call(self, *arguments: str) -> str:
        """Run buildah; return its output.

        Raises:
            AssertionError: if it fails, with the end of its output.
        """
        run = subprocess.run([*self._buildah, *arguments], check=False, capture_output=True, text=True)
        assert run.returncode == 0, f"buildah {arguments[0]}: {(run.stdout + run.stderr)[-3000:]}"
        return run.stdout.strip()

    def _build(self, target: str) -> None:
        """Build a target of the Dockerfile, once."""
        if target in self._built:
            return
        own = os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt")
        pip = self._folder / "pip.conf"
        pip.write_text(pip_configuration("/etc/pip-certificates.pem"))
        secrets = ("--secret", f"id=pip,src={pip}", "--secret", f"id=certificates,src={own}")
        options = ["--layers", "--isolation", "chroot", "--format", "docker", "--build-arg", f"BASE={self._base}"]
        if wheels := _wheels():
            options += ["--volume", f"{wheels}:{wheels}:ro"]
        built = ("-f", str(DOCKERFILE), "--target", target, "-t", f"localhost/{target}", str(ROOT))
        self.call("build", *options, *secrets, *built)
        self._built.add(target)

    def _configuration(self, target: str) -> dict[str, Any]:
        """Return the configuration of an image: User, Env, Entrypoint, Labels and so on."""
        self._build(target)
        inspected = json.loads(self.call("inspect", "--type", "image", f"localhost/{target}"))
        configuration: dict[str, Any] = inspected["Docker"]["config"]
        return configuration

    def files(self, target: str) -> Path:
        """Return the folder at which an image's files are mounted."""
        self._build(target)
        if target not in self._containers:
            self._containers[target] = self.call("from", "--pull-never", f"localhost/{target}")
        return Path(self.call("mount", self._containers[target]))

    @contextmanager
    def running(
        self,
        target: str,
        arguments: Sequence[str],
        volume: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Iterator[subprocess.Popen[str]]:
        """Run the command of an image, hardened; it shares the network of the machine.

        Args:
            target: the image.
            arguments: arguments of its command.
            volume: folder to mount at /var/lib/dejavu, or None.
            environment: variables beside those of the image.
        """
        configuration = self._configuration(target)
        user = configuration["User"].partition(":")[0]
        settings = [*configuration["Env"], *(f"{name}={value}" for name, value in (environment or {}).items())]
        program = ["/usr/bin/env", "-i", *settings, *configuration["Entrypoint"], *arguments]
        inside = _CONTAINER.replace('"$@"', shlex.join(program))
        namespaces = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--propagation", "private")
        mounted = (str(self.files(target)), str(volume or ""), user)
        command = ["unshare", *namespaces, "sh", "-c", inside, "sh", *mounted]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            yield process
        finally:
            # --kill-child of unshare is lost when the program changes its user, which may outlive unshare. The end of
            # process 1 of the container ends all that it has started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
