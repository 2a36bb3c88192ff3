"""What `dejavu doctor` prints."""

from __future__ import annotations

import pytest

from dejavu_cli.commands.doctor import print_findings
from dejavu_cli.doctor.findings import Finding, Severity


def test_findings_fit_in_a_narrow_terminal_and_foreign_texts_do_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    hostile = "x\x1b]0;owned\x07\n ok  all is well [red]" + "y" * 90
    print_findings(
        [
            Finding("client", Severity.OK, "dejavu 1.0.0"),
            Finding("checkpoint", Severity.WARNING, hostile, hostile, "runbook.md#dejavucheckpointold", "a:1"),
            Finding("reach", Severity.FAULT, "refused", "start it", "", "b:1\n"),
            Finding("poller", Severity.OK, "read 3 s ago"),
        ]
    )
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines if line[:1] not in ("", " ")] == [
        *("ok", "a:1", "warning", "b:1\\u000a", "fault", "installation", "ok", "1", "pages:")
    ]
    assert "1 fault, 1 warning, 2 ok" in shown


def test_of_several_faults_the_first_is_named_to_begin_with(capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Finding("ledger", Severity.FAULT, "not reachable", "start it", "", "a:1")
    calls = Finding("calls", Severity.FAULT, "refused", "look at the ledger", "", "a:1")
    print_findings([ledger])
    assert "begin with" not in capsys.readouterr().out
    print_findings([Finding("client", Severity.OK, "dejavu 1.0.0"), ledger, calls])
    assert "begin with ledger of a:1: others may follow from it" in capsys.readouterr().out
