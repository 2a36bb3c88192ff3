"""Hooks of MkDocs: which files are pages of the site, and where links to other files of the repository lead.

The pages are the Markdown files that GitHub shows, under their paths in the repository, so that links between them hold
in both places. The reference of the contract and of the Python packages is made here and written nowhere else.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import mermaidx
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import contract

ROOT = Path(__file__).parents[2]

SOURCES = ("*.md", "docs/**/*.md", "docs/images/*", "docs/site/style.css", "examples/README.md")
"""Files of the repository that the site has, as patterns."""

ADDRESSES = {
    "docs/": "",
    "protos/dejavu/v1/": "contract/",
    "protos/dejavu/ops/v1/": "contract/ops/",
    "protos/dejavu/": "contract/",
}
"""Beginning of a path in the repository → beginning of the address on the site, if another."""

REFERENCES = {
    "docs/python-client.md": ("The Python client", ("dejavu_client", "dejavu_poller")),
    "docs/python-models.md": (
        "The Python package of the models",
        (
            "dejavu_store.bundle",
            "dejavu_models.forecaster",
            "dejavu_models.forecast_query",
            "dejavu_models.types",
            "dejavu_models.ratings",
            "dejavu_models.scorecard.cards",
            "dejavu_models.scorecard.estimates",
            "dejavu_models.scorecard.market_record",
            "dejavu_models.scorecard.settled",
            "dejavu_models.comparison",
            "dejavu_models.comparison",
        ),
    ),
}
"""Page of a Python package → its title and modules, whose docstrings it shows."""

LINK = re.compile(r"(?<=\]\()[^)\s:]+(?=\))")


def on_config(config: MkDocsConfig) -> None:
    """Draw diagrams in Mermaid during the build: no reader loads a script for them."""
    fence = {"name": "mermaid", "class": "mermaid", "format": diagram}
    config.mdx_configs["pymdownx.superfences"]["custom_fences"] = [fence]


def diagram(source: str, *_: Any, **__: Any) -> str:
    """Return a diagram as SVG in its own size."""
    svg = str(mermaidx.render(source, theme="neutral").svg()).replace("max-width:", "width:", 1)
    return f'<div class="diagram">{svg}</div>'


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Replace the files that MkDocs found in docs/ with the files of the site."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    added = [
        File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path))
        for pattern in SOURCES
        for path in sorted(ROOT.glob(pattern))
    ]
    written = contract.pages(contract.descriptors())
    for name, (title, modules) in REFERENCES.items():
        written[name] = "\n\n".join((f"# {title}", *(f"::: {module}" for module in modules)))
    added += [File.generated(config, name, content=text) for name, text in written.items()]
    for file in added:
        for path, address in ADDRESSES.items():
            if file.src_uri.startswith(path):
                file.dest_uri = address + file.dest_uri.removeprefix(path)
                break
        files.append(file)
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to folders lead to their README, and to files that the site does not have into the repository.

    A link that leads nowhere stays as it is: MkDocs reports it, and a strict build fails.
    """

    def target(match: re.Match[str]) -> str:
        link = match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(page.file.src_uri), link))
        if files.get_file_from_path(f"{path}/README.md"):
            return f"{link}/README.md"
        if "#" in link or files.get_file_from_path(path) or not (ROOT / path).exists():
            return link
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"{config.extra['repository']}/{kind}/{config.extra['revision']}/{path}"

    return LINK.sub(target, markdown)
