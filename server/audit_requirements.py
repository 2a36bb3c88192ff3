"""Compares the locked requirements with the known vulnerabilities of PyPI's advisory database, by pip-audit.

    python server/audit_requirements.py              # make audit
    python server/audit_requirements.py --complete   # also fails if anything could not be audited; make audit in CI

Exit codes: 0: the audited packages have no known vulnerability; 1: one of them has; 2: pip-audit failed; 3: no package
of a lock was audited or, with --complete, not all of them. If the database can't be reached, pip-audit itself says "No
known vulnerabilities found" and exits with 0. This program names the packages that were not audited, and calls only the
others clean.

pip-audit asks PyPI about the locked release of a package. Mirrors of PyPI may answer only about the newest release, so
this program asks about the newest release of each package that pip-audit could not look up.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from lock_requirements import parse

ROOT = Path(__file__).resolve().parents[1]

LOCKS = (
    "deploy/requirements-server.txt",  # has all of server/requirements.txt
    "gateway/requirements.txt",
    "client/requirements-live.txt",
    "deploy/requirements-trainer.txt",  # without torch, which the image takes from PyTorch's own index
    "trainer/requirements.txt",  # has torch, of the same release, and its packages
)
"""Locks that are audited: together they have everything that runs."""

NEWEST = "https://pypi.org/pypi/{name}/json"
"""PyPI's data of a package: its newest version, and the known vulnerabilities of that version."""

TIMEOUT_SECONDS = 600.0

_UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Max retries exceeded", "ServiceError", "timed out")
"""Parts of pip-audit's messages if it can't reach the database at all."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Findings about the requirements of a lock.

    Attributes:
        audited: package that was looked up → descriptions of its known vulnerabilities.
        skipped: names of the packages that were not looked up.
        failure: why pip-audit failed; empty if it did not.
    """

    audited: Mapping[str, Sequence[str]] = field(default_factory=dict)
    skipped: Sequence[str] = ()
    failure: str = ""


def findings(output: str, errors: str) -> Findings:
    """Return the findings of a run of pip-audit.

    Args:
        output: its standard output, JSON.
        errors: its standard error.
    """
    try:
        packages: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        lines = errors.strip().splitlines() or ["no output"]
        if any(words in errors for words in _UNREACHABLE):
            return Findings(skipped=(f"everything: {lines[-1][:200]}",))
        return Findings(failure=lines[-1][:500])
    looked_up = [package for package in packages if "skip_reason" not in package]
    return Findings(
        {each["name"]: in_words(each["name"], each["version"], each["vulns"], "fix_versions") for each in looked_up},
        tuple(package["name"] for package in packages if "skip_reason" in package),
    )


def in_words(name: str, version: str, vulnerabilities: Sequence[Mapping[str, Any]], fixes: str) -> list[str]:
    """Return vulnerabilities of a package in words; `fixes` is the field with the versions that fix one."""
    return [
        f"{name} {version}: {each['id']}, fixed in {', '.join(each[fixes]) or 'no release'}" for each in vulnerabilities
    ]


@functools.cache
def newest(name: str) -> dict[str, Any]:
    """Return PyPI's data of a package; empty if PyPI does not know it.

    Raises:
        HTTPError: if PyPI answers with another error; not remembered, so the next call asks again.
        OSError, ValueError: if PyPI can't be reached or its answer can't be read.
    """
    try:
        with urllib.request.urlopen(NEWEST.format(name=name), timeout=30) as response:
            document: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.NOT_FOUND:
            raise
        return {}
    return document


def of_newest(versions: Mapping[str, str], found: Findings) -> Findings:
    """Look up skipped packages whose newest release is the locked one; return the findings with these packages added.

    Args:
        versions: the locked versions by name.
        found: the findings of pip-audit.
    """
    audited = dict(found.audited)
    for name in found.skipped:
        version = versions.get(canonicalize_name(name))
        if version is None:  # "everything"
            continue
        try:
            document = newest(name)
        except urllib.error.HTTPError:
            continue  # it may answer about the next one
        except (OSError, ValueError):
            break  # nor will it answer about the next one
        if version == document.get("info", {}).get("version"):
            known = [each for each in document["vulnerabilities"] if not each["withdrawn"]]
            audited[name] = in_words(name, version, known, "fixed_in")
    return Findings(audited, tuple(name for name in found.skipped if name not in audited), found.failure)


def audit(lock: str) -> Findings:
    """Return the findings about a lock."""
    program = str(Path(sys.executable).with_name("pip-audit"))
    command = [program, "-r", lock, "--require-hashes", "--disable-pip", "-f", "json", "--progress-spinner", "off"]
    try:
        run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return Findings(skipped=(f"everything: no answer within {TIMEOUT_SECONDS:g} s",))
    versions = {name: each.version for name, each in parse((ROOT / lock).read_text()).items()}
    return of_newest(versions, findings(run.stdout, run.stderr))


def conclusion(lock: str, found: Findings, *, complete: bool) -> tuple[int, str]:
    """Return the exit code for the findings about a lock, and the message."""
    if found.failure:
        return 2, f"{lock}: pip-audit failed: {found.failure}"
    vulnerable = [each for known in found.audited.values() for each in known]
    said = [f"{lock}: VULNERABLE: {each}" for each in vulnerable]
    if found.skipped or not found.audited:
        names = ", ".join(found.skipped[:3]) + (" …" if len(found.skipped) > 3 else "")
        said.append(f"{lock}: NOT AUDITED: {len(found.skipped)} of {len(found.skipped) + len(found.audited)}: {names}")
    if found.audited and not vulnerable:
        said.append(f"{lock}: no known vulnerability in the {len(found.audited)} packages that were audited")
    code = 1 if vulnerable else 3 if not found.audited or (complete and found.skipped) else 0
    return code, "\n".join(said)


def main(arguments: Sequence[str]) -> int:
    """Audit all locks; return the exit code."""
    codes = []
    for lock in LOCKS:
        code, said = conclusion(lock, audit(lock), complete="--complete" in arguments)
        print(said)
        codes.append(code)
    return next((code for code in (1, 2, 3) if code in codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
