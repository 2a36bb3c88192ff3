"""Who may import whom: the directions of docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOMES = {
    "dejavu": ROOT / "protos/gen/dejavu",
    "dejavu_feed": ROOT / "client/dejavu_feed",
    "dejavu_models": ROOT / "model_store/dejavu_models",
    "dejavu_client": ROOT / "client/dejavu_client",
    "dejavu_server": ROOT / "server/dejavu_server",
    "dejavu_trainer": ROOT / "trainer/dejavu_trainer",
}
MAY_IMPORT = {
    "dejavu": set[str](),
    "dejavu_feed": set[str](),
    "dejavu_models": {"dejavu_feed"},
    "dejavu_client": {"dejavu", "dejavu_feed"},
    "dejavu_server": {"dejavu", "dejavu_models", "dejavu_feed"},
    "dejavu_trainer": {"dejavu_models", "dejavu_feed"},
}
NEVER = {
    "dejavu_feed": {"grpc", "numpy"},
    "dejavu_models": {"grpc", "google", "torch", "http", "requests"},
    "dejavu_client": {"numpy", "torch", "sqlalchemy", "onnxruntime", "hnswlib"},
    "dejavu_server": {"torch", "nba_api", "pandas"},
}


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, wherever in the file it does so."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", HOMES)
def test_a_package_imports_only_in_the_directions_of_the_design(package: str) -> None:
    files = list(HOMES[package].rglob("*.py"))
    assert files
    forbidden = (HOMES.keys() - MAY_IMPORT[package] - {package}) | NEVER.get(package, set())
    wrong = {str(file.relative_to(ROOT)): bad for file in files if (bad := imported(file) & forbidden)}
    assert not wrong


def test_the_supervisor_knows_no_grpc() -> None:
    """Forking and signals do not mix with gRPC's threads: nothing that the supervisor loads may import it."""
    import subprocess
    import sys

    program = "import sys, dejavu_server.supervisor; sys.exit('grpc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_file_is_longer_than_one_idea() -> None:
    files = [file for home in HOMES.values() for file in home.rglob("*.py") if "_pb2" not in file.name]
    files += (ROOT / "tests").rglob("*.py")
    assert not {str(file): n for file in files if (n := len(file.read_text().splitlines())) > 420}
