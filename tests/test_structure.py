"""Structure of the code: layers, one meaning per name, and the import paths that documents show.

import-linter enforces the allowed imports: the contracts are in pyproject.toml, `make check` runs them.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = tuple(
    home
    for part in ("common", "feed", "model_store", "client", "gateway", "server", "trainer")
    for home in sorted((ROOT / part).glob("dejavu_*"))
)
OURS = [file for home in PRODUCT for file in sorted(home.rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]


@cache
def tree(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text())


def test_the_layers_that_the_document_shows_are_those_that_are_held() -> None:
    document = (ROOT / "docs/architecture.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    shown = [each for each in contracts if each["name"].startswith("Layers of the ")]
    assert len(shown) == 10
    for each in shown:
        layers = [layer.split(" | ") for layer in each["layers"] if layer != "__main__"]
        row = " → ".join(" \\| ".join(f"`{module}`" for module in layer) for layer in layers)
        assert f"| {each['name'].rpartition(' ')[2]} | {row} |" in document


def test_no_public_class_is_defined_twice() -> None:
    """One word, one meaning: a reader who knows a name need not ask whose it is."""
    classes = [node.name for file in OURS for node in tree(file).body if isinstance(node, ast.ClassDef)]
    names = Counter(name for name in classes if not name.startswith("_"))
    assert not [name for name, count in names.items() if count > 1]


def test_no_test_imports_a_private_name() -> None:
    """What only a module knows is tested through its public names; ruff's SLF001 finds private attributes."""
    private = [
        f"{file.relative_to(ROOT)}: {name.name}"
        for file in TESTS
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dejavu_")
        for name in node.names
        if name.name.startswith("_") and name.name != "_native"
    ]
    assert private == []


def test_modules_are_imported_where_a_static_tool_sees_it() -> None:
    """No module of ours is looked up by a string, which import-linter would not see, but commands by their names."""
    lookups = {"import_module", "__import__", "spec_from_file_location", "resolve_name"}
    product = [file for file in OURS if any(each in file.read_text() for each in lookups)]
    used = {
        str(file.relative_to(ROOT)): name
        for file in product
        for node in ast.walk(tree(file))
        if (name := getattr(node, "id", getattr(node, "attr", None))) in lookups
    }
    assert used == {"client/dejavu_cli/main.py": "import_module"}


def test_no_text_that_is_printed_has_markup() -> None:
    """The console prints it as it is: rich's Text has a style."""
    markup = re.compile(r"\[/?(?:bold|dim|italic|red|green|yellow|blue|cyan|magenta|link)\b[^\]]*\]")
    product = [file for file in OURS if markup.search(file.read_text())]
    found = {
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in product
        for statement in ast.walk(tree(file))
        if isinstance(statement, ast.Call)
        for argument in [*statement.args, *(each.value for each in statement.keywords)]
        for node in ast.walk(argument)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and markup.search(node.value)
    }
    assert not found


def shown_imports() -> set[tuple[str, str]]:
    """(module, name) of every import of ours in a Python block of a document, and in the examples."""
    texts = [block for file in DOCUMENTS for block in re.findall(r"```python\n(.*?)```", file.read_text(), re.DOTALL)]
    texts += [file.read_text() for file in sorted((ROOT / "examples").rglob("*.py"))]
    return {
        (node.module, alias.name)
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("dejavu")
        for alias in node.names
    }


def test_what_documents_import_is_there() -> None:
    shown = shown_imports()
    missing = {
        (module, name)
        for module, name in shown
        if not hasattr(importlib.import_module(module), name) and importlib.util.find_spec(f"{module}.{name}") is None
    }
    assert ("dejavu_client", "DejavuClient") in shown
    assert not missing


def test_the_supervisor_loads_no_grpc() -> None:
    """Forking and signals do not mix with gRPC's threads: nothing that the supervisor loads may import it."""
    program = (
        "import sys, dejavu_server.supervisor.supervisor, dejavu_server.cli.serve; sys.exit('grpc' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_module_of_the_tests_loads_a_library_that_takes_seconds(loaded_slow_libraries: list[str]) -> None:
    """Tests import them where they use them: each process of a run imports all modules, to collect the tests."""
    assert not loaded_slow_libraries
