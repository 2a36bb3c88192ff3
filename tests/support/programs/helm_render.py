"""Renders a Helm chart with Helm's own engine: python helm_render.py CHART VALUES_AS_JSON, prints JSON.

A process of its own, because the engine is a library in Go, which does not survive the forks of other tests.
"""

from __future__ import annotations

import json
import sys

import helm_python


def main() -> None:
    """Print the rendered templates by their names, and the findings of `helm lint`."""
    path, values = sys.argv[1], json.loads(sys.argv[2])
    with helm_python.Chart.load(path) as chart:
        made = chart.render(values, name="dejavu", namespace="dejavu")
    sys.stdout.write(json.dumps({"templates": made, "lint": str(helm_python.lint(path))}))


if __name__ == "__main__":
    main()
