"""Locked requirements have hashes and follow pyproject.toml; advisories are never called clean without a look."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import audit_requirements
from audit_requirements import Findings, conclusion, findings, of_newest
from dejavu_feed.replay.http_server import LocalServer, Response
from lock_requirements import LOCKS, OMITTED, TORCH_LOCK, parse, pins, problems, requirements, without

ROOT = Path(__file__).parent.parent
CONSTRAINTS = pins((ROOT / "constraints.txt").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HASH = f" \\\n    --hash=sha256:{'0' * 64}"


@pytest.mark.parametrize("lock", LOCKS)
def test_the_locks_are_up_to_date(lock: str) -> None:
    omitted = OMITTED.get(lock, "")
    assert problems((ROOT / lock).read_text(), requirements(PROJECT, LOCKS[lock]), CONSTRAINTS, omitted) == []


def test_the_image_of_the_trainer_has_torch_from_its_own_index_and_nothing_of_cuda() -> None:
    name = "deploy/requirements-trainer.txt"
    text = (ROOT / "trainer/requirements.txt").read_text()
    not_in_image = {"torch", "triton", *(each for each in parse(text) if each.startswith(("nvidia", "cuda")))}
    assert parse((ROOT / name).read_text()).keys() & not_in_image == set()
    assert parse(without(text, OMITTED[name])).keys() == parse(text).keys() - not_in_image
    lock = (ROOT / TORCH_LOCK).read_text()
    assert "--index-url https://download.pytorch.org/whl/cpu\n" in lock
    assert parse(lock).keys() == {"torch"}


def test_an_installation_compares_everything_but_torch_and_the_code_generator_with_hashes() -> None:
    script = (ROOT / "server/install.sh").read_text()
    installs = [each.strip() for each in re.findall(r"(?m)(?:^ *|\|\| |=0 )(?:pip )?install (-[^#;\n]*)", script)]
    unchecked = [each for each in installs if not each.startswith(("-c constraints-gen.txt ", "--no-deps "))]
    assert [each for each in unchecked if "--require-hashes" not in each] == ["-c constraints.txt torch"]


def test_each_way_in_which_a_lock_can_differ_is_found() -> None:
    text = (ROOT / "client/requirements.txt").read_text()
    direct = requirements(PROJECT, ())

    def found(changed: str, more: tuple[str, ...] = ()) -> list[str]:
        return problems(changed, [*direct, *map(Requirement, more)], CONSTRAINTS)

    version = CONSTRAINTS["structlog"]
    assert found(text) == []
    assert found(text, ("numpy>=2",))[0] == "numpy is needed and not locked"
    assert "structlog is 1.0, but pyproject.toml requires >=25" in found(
        text.replace(f"structlog=={version}", "structlog==1.0")
    )
    assert f"structlog is 99.0, but {version} in constraints.txt" in found(
        text.replace(f"structlog=={version}", "structlog==99.0")
    )
    assert found(text + f"numpy==2.4.6{HASH}\n") == ["numpy is locked and not needed"]
    assert found(text + f"colorama==0.4.6 ; sys_platform == 'win32'{HASH}\n") == []
    [name] = [line for line in text.splitlines() if line.startswith("structlog==")]
    bare = "\n".join(line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("structlog=="))
    assert found(f"{bare}\n{name.partition(' ')[0]}\n") == ["structlog has no hash"]
    assert found(text + "requests>=2\n") == ["'requests>=2' is not NAME==VERSION with sha256 hashes"]


PACKAGES: list[dict[str, Any]] = [
    {"name": "a", "version": "1", "vulns": []},
    {"name": "b", "version": "2", "vulns": []},
]
BAD: dict[str, Any] = {
    "name": "c",
    "version": "3",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3.1"], "aliases": []}],
}
SKIPPED: dict[str, Any] = {"name": "d", "skip_reason": "Dependency not found on PyPI and could not be audited: d (4)"}
GONE = findings("", "ERROR: requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded")
BROKEN = findings("", "ERROR:pip_audit._cli:requirement a is not pinned")


def audited(*packages: dict[str, Any]) -> Findings:
    return findings(json.dumps({"dependencies": packages}), "")


@pytest.mark.parametrize(
    ("found", "code", "complete", "said"),
    [
        (audited(*PACKAGES), 0, 0, "x.txt: no known vulnerability"),
        (audited(SKIPPED), 3, 3, "x.txt: NOT AUDITED: 1 of 1: d"),
        (audited(*PACKAGES, SKIPPED), 0, 3, "x.txt: NOT AUDITED: 1 of 3: d"),
        (audited(*PACKAGES, BAD, SKIPPED), 1, 1, "x.txt: VULNERABLE: c 3: PYSEC-1"),
        (GONE, 3, 3, "x.txt: NOT AUDITED: 1 of 1: everything"),
        (BROKEN, 2, 2, "x.txt: pip-audit failed: "),
    ],
)
def test_an_audit_that_could_not_look_fails(found: Findings, code: int, complete: int, said: str) -> None:
    assert conclusion("x.txt", found, complete=False)[0] == code
    assert conclusion("x.txt", found, complete=True)[0] == complete
    assert conclusion("x.txt", found, complete=True)[1].startswith(said)
    assert code == 0 or "no known" not in conclusion("x.txt", found, complete=False)[1]


def test_where_pypi_answers_about_newest_releases_only_those_are_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    flaw: dict[str, Any] = {"id": "PYSEC-2", "fixed_in": [], "withdrawn": None}
    known = {
        "/old/json": {"info": {"version": "2"}, "vulnerabilities": [flaw]},
        "/newest/json": {"info": {"version": "1"}, "vulnerabilities": [{**flaw, "withdrawn": "2026-01-01T00:00:00Z"}]},
        "/flawed/json": {"info": {"version": "1"}, "vulnerabilities": [flaw]},
    }
    versions = dict.fromkeys(("unknown", "old", "newest", "flawed"), "1")
    with LocalServer(
        lambda path: Response(200 if path in known else 404, json.dumps(known.get(path)).encode())
    ) as pypi:
        monkeypatch.setattr(audit_requirements, "NEWEST", pypi.url + "/{name}/json")
        found = of_newest(versions, Findings(skipped=tuple(versions)))
    assert found.audited == {"newest": [], "flawed": ["flawed 1: PYSEC-2, fixed in no release"]}
    assert found.skipped == ("unknown", "old")


def test_everything_that_runs_is_audited() -> None:
    """Locks for running a program; of what the images add, torch is in the trainer's lock, without its build."""
    audited = {name for lock in audit_requirements.LOCKS for name in parse((ROOT / lock).read_text())}
    unaudited = {"build", "uv", "release", "docs", "dev"}
    for lock in [*LOCKS, TORCH_LOCK]:
        if not any(re.search(rf"(^docs/|-{each}\.txt$)", lock) for each in unaudited):
            assert parse((ROOT / lock).read_text()).keys() <= audited, lock


@pytest.mark.nightly
def test_pip_audit_without_a_network_is_understood_as_not_audited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real program, with a proxy that refuses connections; its own words would be "no known vulnerabilities"."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))  # no cache of earlier answers
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lock = tmp_path / "lock.txt"
    lock.write_text(f"rich=={CONSTRAINTS['rich']}{HASH}\n")
    found = audit_requirements.audit(str(lock))
    assert found.audited == {}, found
    assert conclusion("lock.txt", found, complete=False)[0] == 3


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["client", "server", "trainer"])
def test_the_bill_of_materials_names_what_the_distribution_needs_with_hashes(part: str, tmp_path: Path) -> None:
    out, lock = tmp_path / "sbom.json", ROOT / part / "requirements.txt"
    program = str(Path(sys.executable).with_name("cyclonedx-py"))
    command = [program, "requirements", str(lock), "--pyproject", str(ROOT / "pyproject.toml"), "--of", "JSON"]
    subprocess.run([*command, "-o", str(out)], check=True, capture_output=True)
    bill = json.loads(out.read_text())
    assert bill["metadata"]["component"]["name"] == PROJECT["project"]["name"]
    assert {each["name"]: each["version"] for each in bill["components"]} == {
        name: each.version for name, each in parse(lock.read_text()).items()
    }
    assert all(reference["hashes"] for each in bill["components"] for reference in each["externalReferences"])
