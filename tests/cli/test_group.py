"""Commands without the extra that they need, and the help of programs without any."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement

from dejavu_cli.main import COMMANDS

WITHOUT = """
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder

hidden = set(sys.argv.pop(1).split(","))


class WithoutSome(PathFinder):
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in hidden else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutSome

from importlib import import_module

import_module(sys.argv.pop(1)).main()
"""
"""Runs a program without some packages; the first argument lists them, and the second is the program's module."""


@pytest.mark.parametrize(
    ("hidden", "command", "said"),
    [
        ("nba_api,prometheus_client,uvloop", "demo --json", "dejavu-forecast[live,server]"),
        pytest.param("pyarrow", "predictions --parquet file", "dejavu-forecast[live]", marks=pytest.mark.nightly),
    ],
)
def test_a_command_without_what_it_needs_says_which_extra_to_install(hidden: str, command: str, said: str) -> None:
    program = [sys.executable, "-c", WITHOUT, hidden, "dejavu_cli.main", *command.split()]
    ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def normal(name: str) -> str:
    """Return the name of a distribution as indexes compare it."""
    return name.lower().replace("_", "-")


def modules_of_extras() -> list[str]:
    """Return the modules that only extras install."""
    needed = [Requirement(line) for line in requires("dejavu-forecast") or ()]
    always, extras = ({normal(each.name) for each in needed if (each.marker is None) is base} for base in (True, False))
    found = packages_distributions().items()
    return [module for module, packages in found if set(map(normal, packages)) <= extras - always]


@pytest.mark.parametrize(
    "program",
    ["dejavu_cli.main", "dejavu_gateway.cli"],  # the first loads every command
)
def test_help_needs_no_extra(program: str) -> None:
    hidden = modules_of_extras()
    assert {"httpx2", "mcp", "nba_api", "numpy", "pydantic", "torch", "uvloop"} <= set(hidden)
    command = [sys.executable, "-c", WITHOUT, ",".join(hidden), program, "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr


def test_every_extra_that_a_command_needs_brings_what_it_needs() -> None:
    """The modules in the table belong to packages of the extra, so that installing the extra helps."""
    brought = dict[str, set[str]]()
    for requirement in (Requirement(line) for line in requires("dejavu-forecast") or ()):
        for extra in ("live", "mcp", "notify", "server"):
            if requirement.marker is not None and requirement.marker.evaluate({"extra": extra}):
                brought.setdefault(extra, set()).add(normal(requirement.name))
    providers = packages_distributions()
    for name, command in COMMANDS.items():
        for extra, modules in command.needs.items():
            for module in modules:
                assert set(map(normal, providers[module])) & brought[extra], (name, module)
