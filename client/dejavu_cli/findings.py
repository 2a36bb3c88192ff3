"""Findings of `dejavu doctor`: results of single checks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DOCUMENTS: Final = "https://github.com/dejavu-forecast/dejavu/blob/main/docs/"
"""Where the sections are that findings name."""


class Severity(StrEnum):
    """Result of a check."""

    OK = "ok"
    WARNING = "warning"
    """Works, but not as it should, or not for long; or it could not be checked."""
    FAULT = "fault"
    """Does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check.

    Attributes:
        check: name of the check.
        severity: the result.
        message: what was found.
        remedy: what to do; empty if there is nothing to do.
        section: page and section about it, such as runbook.md#dejavudown; empty without one.
        server: address of the server that it is about; empty if it is about the whole installation.
    """

    check: str
    severity: Severity
    message: str
    remedy: str = ""
    section: str = ""
    server: str = ""


def ok(check: str, message: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(check, Severity.OK, message)


def warning(check: str, message: str, remedy: str, section: str) -> Finding:
    """Return a finding of severity WARNING."""
    return Finding(check, Severity.WARNING, message, remedy, section)


def fault(check: str, message: str, remedy: str, section: str) -> Finding:
    """Return a finding of severity FAULT."""
    return Finding(check, Severity.FAULT, message, remedy, section)
