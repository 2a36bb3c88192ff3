"""Compares the locked requirements with the known vulnerabilities of PyPI's advisory database, by pip-audit.

    python server/audit_requirements.py              # make audit
    python server/audit_requirements.py --complete   # also fails if anything could not be audited

Exit codes: 0: no known vulnerability in what was audited; 1: there is one; 2: pip-audit failed; 3: something was not
audited, with --complete. pip-audit itself says "No known vulnerabilities found" and ends with 0 if the database can't
be reached and it has audited nothing; this program names what was not audited, and calls only that clean which was.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]

LOCKS = (
    "deploy/requirements-server.txt",  # has all of server/requirements.txt
    "client/requirements-dashboard.txt",
    "client/requirements-live.txt",
    "deploy/requirements-trainer.txt",  # has all of trainer/requirements.txt
)

TIMEOUT_SECONDS = 600.0

_UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Max retries exceeded", "ServiceError", "timed out")
"""What pip-audit says if it can't reach the database at all."""


class Findings(NamedTuple):
    """What was found about the requirements of a lock.

    Attributes:
        vulnerable: each known vulnerability, in words.
        audited: number of packages that were looked up.
        skipped: names of those that were not.
        failure: why pip-audit failed; empty if it did not.
    """

    vulnerable: tuple[str, ...] = ()
    audited: int = 0
    skipped: tuple[str, ...] = ()
    failure: str = ""


def findings(output: str, errors: str) -> Findings:
    """Returns the findings of a run of pip-audit.

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
    vulnerable = [
        f"{package['name']} {package['version']}: {each['id']}, "
        f"fixed in {', '.join(each['fix_versions']) or 'no release'}"
        for package in packages
        for each in package.get("vulns", ())
    ]
    skipped = tuple(package["name"] for package in packages if "skip_reason" in package)
    return Findings(tuple(vulnerable), len(packages) - len(skipped), skipped)


def audit(lock: str) -> Findings:
    """Returns the findings about a lock."""
    program = str(Path(sys.executable).with_name("pip-audit"))
    command = [program, "-r", lock, "--require-hashes", "--disable-pip", "-f", "json", "--progress-spinner", "off"]
    try:
        run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return Findings(skipped=(f"everything: no answer within {TIMEOUT_SECONDS:g} s",))
    return findings(run.stdout, run.stderr)


def conclusion(lock: str, found: Findings, *, complete: bool) -> tuple[int, str]:
    """Returns the exit code for the findings about a lock, and what to say."""
    if found.failure:
        return 2, f"{lock}: pip-audit failed: {found.failure}"
    said = [f"{lock}: VULNERABLE: {each}" for each in found.vulnerable]
    if found.skipped:
        names = ", ".join(found.skipped[:3]) + (" …" if len(found.skipped) > 3 else "")
        said.append(f"{lock}: NOT AUDITED: {len(found.skipped)} of {len(found.skipped) + found.audited}: {names}")
    if found.audited and not found.vulnerable:
        said.append(f"{lock}: no known vulnerability in the {found.audited} packages that were audited")
    code = 1 if found.vulnerable else 3 if complete and found.skipped else 0
    return code, "\n".join(said or [f"{lock}: NOT AUDITED: it is empty"])


def main(arguments: Sequence[str]) -> int:
    """Audits all locks; returns the exit code."""
    codes = []
    for lock in LOCKS:
        code, said = conclusion(lock, audit(lock), complete="--complete" in arguments)
        print(said)
        codes.append(code)
    return next((code for code in (1, 2, 3) if code in codes), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
