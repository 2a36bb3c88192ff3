"""A release is built and verified by one command, and refused if the tree is not prepared for it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from release import NotReady, changes, versions_named
from tests.support.harness.documents import ROOT

NEXT = "9.9.9"


def test_the_notes_of_a_release_are_the_first_section_with_a_version() -> None:
    text = "# Changelog\n\n## Unreleased\n- X.\n\n## 1.2.0: more\n\n- A.\n- B.\n\n## 1.1.0\n\n- C.\n"
    assert changes(text) == ("1.2.0", "- A.\n- B.")
    with pytest.raises(NotReady, match=r"CHANGELOG\.md has no section"):
        changes("# Changelog\n\n## Unreleased\n- B.\n")


def test_manifests_and_their_guide_name_the_newest_release() -> None:
    assert versions_named() == {changes((ROOT / "CHANGELOG.md").read_text())[0]}


def release(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(clone / "deploy/release.py"), *arguments]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)


def git(clone: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=clone, check=True, capture_output=True)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_release_is_built_and_verified_by_one_command(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(ROOT, "clone", "-q", "--local", str(ROOT), str(clone))
    (clone / ".venv").symlink_to(ROOT / ".venv")
    (clone / "CHANGELOG.md").write_text(f"# Changelog\n\n## {NEXT}: a test\n\n- Nothing.\n")
    refused = release(clone, NEXT)
    assert refused.returncode == 1
    for problem in ("not committed", "deploy/ and docs/deployment.md name", f"v{NEXT}.binpb is missing"):
        assert problem in refused.stderr
    assert release(clone, NEXT, "--prepare").returncode == 0
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "Release")
    done = release(clone, NEXT)
    assert done.returncode == 0, done.stderr
    built = {path.name for path in (clone / "dist").iterdir()}
    assert f"dejavu_forecast-{NEXT}-py3-none-any.whl" in built  # the client's, pure
    assert any(re.fullmatch(rf"dejavu_forecast-{NEXT}-cp311-abi3-manylinux_.*\.whl", name) for name in built), built
    assert {f"dejavu_forecast-{NEXT}.tar.gz", "dejavu.binpb", "sbom-server.cdx.json", "NOTES.md", "SHA256SUMS"} <= built
    with tarfile.open(clone / f"dist/dejavu_forecast-{NEXT}.tar.gz") as archive:
        assert not [name for name in archive.getnames() if name.endswith(".so")]
    git(clone, "tag", f"v{NEXT}", "HEAD~1")
    assert f"v{NEXT} is the tag of another commit" in release(clone, NEXT).stderr
