"""Renders a Helm chart with Helm's own engine: python helm_render.py CHART RELEASE VALUES_AS_JSON, prints JSON.

A process of its own, because the engine is a library in Go, which does not survive the forks of other tests.
"""

from __future__ import annotations

import json
import sys

import helm_python


def main() -> None:
    """Print the rendered templates by their names, and what `helm lint` finds wrong."""
    path, release, values = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    with helm_python.Chart.load(path) as chart:
        made = chart.render(values, name=release, namespace="games")
    found = helm_python.lint(path, values, strict=True)
    wrong = [*found["errors"], *(each["error"] for each in found["messages"] if each["severity"] > 1)]
    sys.stdout.write(json.dumps({"templates": made, "wrong": wrong}))


if __name__ == "__main__":
    main()
