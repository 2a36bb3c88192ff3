from __future__ import annotations

import re

from tests.support.processes.promtool import ROOT, RULES, alert_names

RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def test_every_alert_has_a_section_of_the_runbook_and_every_section_its_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == alert_names()


def test_alerts_that_are_silenced_by_another_exist() -> None:
    rules = re.findall(r"^ .*_matchers: \[alertname =~? \"?(.+?)\"?\]$", RUNBOOK, re.MULTILINE)
    names = {name for each in rules for name in each.split("|")}
    assert {"DejavuLedgerUnavailable", "DejavuErrors"} <= names <= set(alert_names())


def test_every_section_says_what_is_seen_where_to_look_and_what_to_do() -> None:
    for section in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]:
        name, *lines = section.splitlines()
        assert re.findall(r"^- \*\*([\w ]+):\*\*", "\n".join(lines), re.MULTILINE) == ["Symptom", "Look at", "Do"], name


def test_an_alert_links_to_its_section() -> None:
    links = re.findall(r"^ *runbook_url: (.*)$", RULES.read_text(), re.MULTILINE)
    page = "https://github.com/dejavu-forecast/dejavu/blob/main/docs/runbook.md"
    assert links == [f"{page}#{name.lower()}" for name in alert_names()]


def test_what_the_runbook_tells_to_look_at_exists() -> None:
    code = "\n".join(
        path.read_text()
        for folder in ("server", "client", "feed", "gateway")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    events = {word for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOK) if not word.startswith("dejavu_")}
    assert {"worker_died", "ledger_failing"} <= events
    assert [event for event in sorted(events) if f'"{event}"' not in code and f"'{event}'" not in code] == []
