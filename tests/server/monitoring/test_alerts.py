"""Every alert fires on its fault, and none in usual operation; evaluated by Prometheus's own promtool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tests.support.processes.promtool import ROOT, RULES, alert_names, firing_each, promtool

JOBS = {"dejavu_dashboard": "dejavu-dashboard", "dejavu_poll": "dejavu-poller"}
"""The jobs of the page's gateway and of the poller, by the beginning of their metrics' names."""

PREDICT = "method='/dejavu.v1.PredictionService/Predict'"

MONTH = 30 * 86_400


def scraped(series: str) -> str:
    """Add to a series the labels that Prometheus adds to what it scrapes: job and instance, unless they are given."""
    found = re.fullmatch(r"(\w+)(?:{(.*?)})? (.*)", series)
    assert found is not None, series
    name, given, values = found[1], found[2] or "", found[3]
    job = next((JOBS[prefix] for prefix in JOBS if name.startswith(prefix)), "dejavu")
    added = [f"{label}='{value}'" for label, value in (("instance", "a"), ("job", job)) if f"{label}=" not in given]
    return f"{name}{{{','.join(filter(None, [*added, given]))}}} {values}"


def calls(code: str, step: int) -> str:
    return f"dejavu_calls_total{{{PREDICT},code='{code}'}} 0+{step}x40"


def histogram(name: str, labels: str = "", **steps: int) -> list[str]:
    """Return the buckets of a histogram in which observations up to each bound are counted at a rate; `inf` is +Inf."""
    bounds = {bound.removeprefix("le").replace("_", ".").replace("inf", "+Inf"): step for bound, step in steps.items()}
    return [f"{name}_bucket{{le='{bound}'{labels}}} 0+{step}x40" for bound, step in bounds.items()]


def durations(name: str, slow: int, labels: str = "") -> list[str]:
    """Return a histogram in which 90 calls of each step take up to 1 ms, and some between 0.5 and 3 s."""
    return histogram(name, labels, le0_001=90, le0_5=90, le3_0=90 + slow, inf=90 + slow)


def coverage(share: float, games: int) -> list[str]:
    values = {"ratio": share, "nominal_ratio": 0.9, "games": games}
    return [f"dejavu_coverage_{name}{{model='m',horizon='final'}} {value}x80" for name, value in values.items()]


def gauges(**values: float) -> list[str]:
    return [f"dejavu_{name} {value}x40" for name, value in values.items()]


def either(series: str, fires: str, usual: str) -> tuple[list[str], list[str]]:
    """Return the case of an alert on one series: its values under the fault, and in usual operation."""
    return [f"{series} {fires}"], [f"{series} {usual}"]


CASES: dict[str, tuple[list[str], list[str]]] = {
    "DejavuDown": either("up", "0x40", "1x40"),
    "DejavuWorkerDied": either("dejavu_worker_deaths_total", "0x30 1x10", "0 1x40"),  # long ago
    "DejavuWorkerHung": either("dejavu_worker_hangs_total{part='compute'}", "0x30 1x10", "1x40"),
    "DejavuWorkersCannotStart": either("dejavu_worker_starts_failed_total", "0x20 1 2 3 4x20", "0x20 1x20"),
    "DejavuReloadFailed": either("dejavu_last_reload_failed", "0x30 1x10", "0x10 1x20 0x10"),  # the next one completed
    "DejavuVersionSkew": (
        [f"dejavu_build_info{{instance='{name}',version='{name}',revision='r'}} 1x160" for name in "ab"],
        [f"dejavu_build_info{{instance='{name}',version='1',revision='r'}} 1x160" for name in "ab"],
    ),
    "DejavuFewDescriptors": (
        gauges(worker_open_fds=900, worker_max_fds=1024),
        gauges(worker_open_fds=90, worker_max_fds=1024),
    ),
    "DejavuOverloaded": (
        [
            *(calls("OK", 97), calls("RESOURCE_EXHAUSTED", 3)),
            f"dejavu_calls_refused_total{{{PREDICT},reason='OVERLOADED'}} 0+10x40",
        ],
        [
            *(calls("OK", 90), calls("RESOURCE_EXHAUSTED", 1)),
            f"dejavu_calls_refused_total{{{PREDICT},reason='OVERLOADED'}} 0+1x40",
        ],
    ),
    "DejavuErrors": (
        [calls("OK", 97), calls("INTERNAL", 2), calls("UNAVAILABLE", 1)],
        [
            *(calls("OK", 50), calls("INVALID_ARGUMENT", 40), calls("DEADLINE_EXCEEDED", 10)),
            # A rolling restart ends the streams and the health checks of all clients.
            *(
                f"dejavu_calls_total{{method='{each}',code='UNAVAILABLE'}} 0+10x40"
                for each in ("/grpc.health.v1.Health/Watch", "/dejavu.v1.PredictionService/StreamPredictions")
            ),
        ],
    ),
    "DejavuSlow": (
        durations("dejavu_call_seconds", 10, f",{PREDICT},code='OK'"),
        durations("dejavu_call_seconds", 10, ",method='/dejavu.v1.RecordService/GetScorecard',code='OK'"),
    ),
    "DejavuSharedCacheFailed": either("dejavu_cache_shared_failed", "1x40", "0x20 1x7 0x13"),  # Redis was restarted
    "DejavuLedgerUnavailable": either("dejavu_workers_without_ledger", "1x40", "0x40"),
    "DejavuDiskLow": (
        gauges(ledger_disk_free_bytes=400, ledger_disk_reserve_bytes=256),
        gauges(ledger_disk_free_bytes=4000, ledger_disk_reserve_bytes=256),
    ),
    "DejavuBackupOld": either("dejavu_backup_timestamp_seconds", "-100000x40", "0x40"),  # time begins at 0 here
    "DejavuCommitsSlow": (
        durations("dejavu_ledger_commit_seconds", 10),
        durations("dejavu_ledger_commit_seconds", 0),
    ),
    "DejavuStreamLag": either(
        "dejavu_stream_lag_seconds", "90x40", "0 3 2 0 5 0 70 5 9 0x11 4 0x3 64 0 4 0 4 0 40 0 4 0"
    ),
    "DejavuCheckpointOld": (
        gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=60),
        gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=3600),
    ),
    "DejavuClockDiffers": either("dejavu_ledger_clock_ahead_seconds", "-12x40", "9x40"),
    "DejavuLedgersDiffer": (
        [
            "dejavu_ledger_epoch{instance='a'} 281474976710655x40",
            "dejavu_ledger_epoch{instance='b'} 281474976710654x40",
        ],
        [
            *(f"dejavu_ledger_epoch{{instance='{name}'}} 281474976710655x40" for name in "ab"),
            "dejavu_ledger_epoch{instance='c',job='another'} 5x40",
        ],
    ),
    # In usual operation the server was restarted.
    "DejavuEpochChanged": either("dejavu_ledger_epoch", "281474976710655x20 281474976710654x20", "7x20 _x10 7x10"),
    "DejavuLearnerLag": either("dejavu_learner_lag_outcomes", "1x40", "0x40"),
    "DejavuRatingsOutdated": (
        [f"dejavu_ratings_age_seconds{{model='m'}} {MONTH + 1}x40", *gauges(ratings_max_age_seconds=MONTH)],
        [f"dejavu_ratings_age_seconds{{model='m'}} {MONTH}x40", *gauges(ratings_max_age_seconds=MONTH)],
    ),
    "DejavuCoverageOff": (coverage(0.78, 40), coverage(0.78, 39)),
    "DejavuShadowsShed": (
        ["dejavu_shadows_shed_total 0x10 1x30"],
        ["dejavu_shadows_shed_total 3x40", "dejavu_shadows_total{outcome='recorded'} 0+9x40"],
    ),
    "DejavuShadowsFailed": (
        ["dejavu_shadows_total{outcome='failed'} 0x10 1x30"],
        [f"dejavu_shadows_total{{outcome='{each}'}} 0+9x40" for each in ("recorded", "refused", "unsupported")],
    ),
    "DejavuChampionWorse": either("dejavu_champion_worse{against='previous'}", "1x40", "0x40"),
    "DejavuModelLoadFailed": either("dejavu_model_load_failures_total", "0x10 1x30", "3x40"),
    "DejavuModelsDiverge": (
        ["dejavu_roster_sequence{worker='0'} 12x40", "dejavu_roster_sequence{worker='1'} 15x40"],
        ["dejavu_roster_sequence{worker='0'} 12x20 15x20", "dejavu_roster_sequence{worker='1'} 12x21 15x19"],
    ),
    "DejavuAccessFileOutdated": either("dejavu_access_file_outdated{file='tls'}", "1x40", "0x40"),
    "DejavuCredentialExpires": (
        ["dejavu_access_expires_timestamp_seconds{file='tls'} 1000000x40"],
        [
            "dejavu_access_expires_timestamp_seconds{file='tls'} 2000000x40",
            "dejavu_access_expires_timestamp_seconds{file='tokens'} Inf Inf Inf",  # none expires
        ],
    ),
    "DejavuUnauthenticated": (
        [calls("OK", 9), calls("UNAUTHENTICATED", 45)],
        [calls("OK", 9), calls("UNAUTHENTICATED", 15), calls("PERMISSION_DENIED", 90)],
    ),
    "DejavuPollerDown": either("up{job='dejavu-poller'}", "0x40", "1x40"),
    "DejavuPollerLeaders": (
        ["dejavu_poll_leads{instance='a'} 1x40", "dejavu_poll_leads{instance='b'} 1x40"],
        # The second takes over.
        ["dejavu_poll_leads{instance='a'} 1x30 0x10", "dejavu_poll_leads{instance='b'} 0x32 1x8"],
    ),
    "DejavuForecastsMissed": (
        [
            "dejavu_poll_forecasts_total{horizon='final',outcome='missed'} 0+1x40",
            "dejavu_poll_forecasts_total{horizon='final',outcome='new'} 60x40",
        ],
        [
            "dejavu_poll_forecasts_total{horizon='final',outcome='missed'} 0+1x40",
            "dejavu_poll_forecasts_total{horizon='final',outcome='new'} 0+1x40",
        ],
    ),
    "DejavuFeedUnread": (
        ["dejavu_poll_scoreboard_age_seconds 0+30x40", "dejavu_poll_leads 1x40"],
        [
            *("dejavu_poll_scoreboard_age_seconds 0+30x40", "dejavu_poll_leads 0x40"),
            "dejavu_poll_leads{instance='b'} 1x40",
        ],
    ),
    "DejavuFeedOld": either("dejavu_poll_game_data_age_seconds{game_id='1'}", "2000x40", "1500x40"),
    "DejavuDashboardDown": either("up{job='dejavu-dashboard'}", "0x40", "1x40"),
    # In usual operation the server was restarted.
    "DejavuDashboardNotStreaming": either("dejavu_dashboard_upstream_streaming", "0x40", "1x30 0 0 1 1 1 0 1x5"),
    "DejavuDashboardLate": (
        histogram("dejavu_dashboard_upstream_lag_seconds", le0_1=80, le5_0=80, le10_0=100, inf=100),
        histogram("dejavu_dashboard_upstream_lag_seconds", le0_1=95, le5_0=95, le10_0=100, inf=100),
    ),
    "DejavuDashboardErrors": (
        ["dejavu_dashboard_requests_total{endpoint='/api/predict',status='500'} _x30 1x10"],
        [
            "dejavu_dashboard_requests_total{endpoint='/api/predict',status='503'} 0+9x40",
            "dejavu_dashboard_requests_total{endpoint='/api/models',status='500'} 1x80",  # long ago
        ],
    ),
    "DejavuDashboardFull": (
        ["dejavu_dashboard_cut_off_total{reason='crowded'} 0x30 1x10"],
        ["dejavu_dashboard_cut_off_total{reason='stalled'} 0+1x40"],
    ),
}


MINUTES = {"DejavuVersionSkew": 35, "DejavuCoverageOff": 17}
"""When alerts on what lasts longer are evaluated."""

LATER = MINUTES | {"DejavuDashboardErrors": 17}
"""When alerts that look back further are evaluated in usual operation."""


def test_prometheus_takes_the_rules() -> None:
    run = subprocess.run([promtool(), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def test_every_alert_has_its_case_and_its_section_of_the_runbook_to_which_it_links() -> None:
    names = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert list(CASES) == names == alert_names()
    links = re.findall(r"^ *runbook_url: (.*)$", RULES.read_text(), re.MULTILINE)
    page = "https://github.com/dejavu-forecast/dejavu/blob/main/docs/runbook.md"
    assert links == [f"{page}#{name.lower()}" for name in names]
    for section in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]:
        parts = re.findall(r"^- \*\*([\w ]+):\*\*", section, re.MULTILINE)
        assert parts == ["Symptom", "Look at", "Do"], section


def test_alerts_that_are_silenced_by_another_exist() -> None:
    rules = re.findall(r"^ .*_matchers: \[alertname =~? \"?(.+?)\"?\]$", RUNBOOK, re.MULTILINE)
    names = {name for each in rules for name in each.split("|")}
    assert {"DejavuLedgerUnavailable", "DejavuErrors"} <= names <= set(alert_names())


def test_what_the_runbook_tells_to_look_at_exists() -> None:
    folders = ("server", "client", "feed", "gateway")
    code = "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    events = {word for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOK) if not word.startswith("dejavu_")}
    assert {"worker_died", "ledger_failing"} <= events
    assert [event for event in sorted(events) if f'"{event}"' not in code and f"'{event}'" not in code] == []


def test_an_alert_fires_alone_on_what_it_is_for(tmp_path: Path) -> None:
    cases = [([*map(scraped, fires)], MINUTES.get(name, 9)) for name, (fires, _) in CASES.items()]
    assert dict(zip(CASES, firing_each(tmp_path, cases), strict=True)) == {name: {name} for name in CASES}


@pytest.mark.nightly
def test_no_alert_fires_on_what_is_usual(tmp_path: Path) -> None:
    cases = [([*map(scraped, usual)], LATER.get(name, 9)) for name, (_, usual) in CASES.items()]
    assert dict(zip(CASES, firing_each(tmp_path, cases), strict=True)) == {name: set() for name in CASES}


def test_further_errors_of_the_page_are_noticed_as_the_first_one_is(tmp_path: Path) -> None:
    series = scraped("dejavu_dashboard_requests_total{endpoint='/api/models',status='500'} 1x60 2x20")
    assert firing_each(tmp_path, [([series], 17)]) == [{"DejavuDashboardErrors"}]


def test_two_short_outages_page_nobody_once_they_are_over(tmp_path: Path) -> None:
    for pause in (2, 4):  # steps of 15 s between outages of 30 s
        failed = f"dejavu_calls_total{{{PREDICT},code='UNAVAILABLE'}} 0x20 20 40 40x{pause} 60 80 80x20"
        series = [scraped(calls("OK", 97)), scraped(failed)]
        cases = [(series, minutes) for minutes in (5.5, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0)]
        assert firing_each(tmp_path, cases) == [set()] * len(cases)


def test_a_lost_ledger_is_told_for_as_long_as_its_refusals_are(tmp_path: Path) -> None:
    """So that it inhibits DejavuErrors until that ends."""
    series = [*map(scraped, ("dejavu_workers_without_ledger 1x8 0x40", "dejavu_workers_without_streams 0x48"))]
    told = {"DejavuLedgerUnavailable"}
    assert firing_each(tmp_path, [(series, 3.0), (series, 8.0), (series, 12.0)]) == [told, told, set()]
