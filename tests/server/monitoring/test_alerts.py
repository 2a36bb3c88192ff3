"""Every alert fires on its fault, and none in usual operation; evaluated by Prometheus's own promtool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.processes.promtool import ROOT, RULES, alert_names, firing_each

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


def gauges(**values: float) -> list[str]:
    return [f"dejavu_{name} {value}x40" for name, value in values.items()]


def coverage(games: int) -> list[str]:
    values = {"ratio": 0.78, "nominal_ratio": 0.9, "games": games}
    return [f"dejavu_coverage_{name}{{model='m',horizon='final'}} {value}x80" for name, value in values.items()]


def refused(step: int) -> str:
    return f"dejavu_calls_refused_total{{{PREDICT},reason='OVERLOADED'}} 0+{step}x40"


def builds(*versions: str) -> list[str]:
    return [
        f"dejavu_build_info{{instance='{at}',version='{version}',revision='r'}} 1x160"
        for at, version in enumerate(versions)
    ]


def missed(new: str) -> list[str]:
    counter = "dejavu_poll_forecasts_total{horizon='final',outcome="
    return [f"{counter}'missed'}} 0+1x40", f"{counter}'new'}} {new}"]


def lag(**steps: int) -> list[str]:
    return histogram("dejavu_dashboard_upstream_lag_seconds", "", **steps)


PREDICT_OK = f",{PREDICT},code='OK'"
SCORECARD_OK = ",method='/dejavu.v1.RecordService/GetScorecard',code='OK'"

FIRES: dict[str, list[str]] = {
    "DejavuDown": ["up 0x40"],
    "DejavuWorkerDied": ["dejavu_worker_deaths_total 0x30 1x10"],
    "DejavuWorkerHung": ["dejavu_worker_hangs_total{part='compute'} 0x30 1x10"],
    "DejavuWorkersCannotStart": ["dejavu_worker_starts_failed_total 0x20 1 2 3 4x20"],
    "DejavuReloadFailed": ["dejavu_last_reload_failed 0x30 1x10"],
    "DejavuVersionSkew": builds("1", "2"),
    "DejavuFewDescriptors": gauges(worker_open_fds=900, worker_max_fds=1024),
    "DejavuOverloaded": [calls("OK", 97), calls("RESOURCE_EXHAUSTED", 3), refused(10)],
    "DejavuErrors": [calls("OK", 97), calls("INTERNAL", 2), calls("UNAVAILABLE", 1)],
    "DejavuSlow": durations("dejavu_call_seconds", 10, PREDICT_OK),
    "DejavuSharedCacheFailed": ["dejavu_cache_shared_failed 1x40"],
    "DejavuLedgerUnavailable": ["dejavu_workers_without_ledger 1x40"],
    "DejavuDiskLow": gauges(ledger_disk_free_bytes=400, ledger_disk_reserve_bytes=256),
    "DejavuBackupOld": ["dejavu_backup_timestamp_seconds -100000x40"],  # time begins at 0 here
    "DejavuCommitsSlow": durations("dejavu_ledger_commit_seconds", 10),
    "DejavuStreamLag": ["dejavu_stream_lag_seconds 90x40"],
    "DejavuCheckpointOld": gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=60),
    "DejavuClockDiffers": ["dejavu_ledger_clock_ahead_seconds -12x40"],
    "DejavuLedgersDiffer": [f"dejavu_ledger_epoch{{instance='{at}'}} {281474976710655 - at}x40" for at in range(2)],
    "DejavuEpochChanged": ["dejavu_ledger_epoch 281474976710655x20 281474976710654x20"],
    "DejavuLearnerLag": ["dejavu_learner_lag_outcomes 1x40"],
    "DejavuRatingsOutdated": gauges(ratings_age_seconds=MONTH + 1, ratings_max_age_seconds=MONTH),
    "DejavuCoverageOff": coverage(40),
    "DejavuShadowsShed": ["dejavu_shadows_shed_total 0x10 1x30"],
    "DejavuShadowsFailed": ["dejavu_shadows_total{outcome='failed'} 0x10 1x30"],
    "DejavuChampionWorse": ["dejavu_champion_worse{against='previous'} 1x40"],
    "DejavuModelLoadFailed": ["dejavu_model_load_failures_total 0x10 1x30"],
    "DejavuModelsDiverge": [f"dejavu_roster_sequence{{worker='{at}'}} {12 + at}x40" for at in range(2)],
    "DejavuAccessFileOutdated": ["dejavu_access_file_outdated{file='tls'} 1x40"],
    "DejavuCredentialExpires": ["dejavu_access_expires_timestamp_seconds{file='tls'} 1000000x40"],
    "DejavuUnauthenticated": [calls("OK", 9), calls("UNAUTHENTICATED", 45)],
    "DejavuPollerDown": ["up{job='dejavu-poller'} 0x40"],
    "DejavuPollerLeaders": [f"dejavu_poll_leads{{instance='{at}'}} 1x40" for at in "ab"],
    "DejavuForecastsMissed": missed("60x40"),
    "DejavuFeedUnread": ["dejavu_poll_scoreboard_age_seconds 0+30x40", "dejavu_poll_leads 1x40"],
    "DejavuFeedOld": ["dejavu_poll_game_data_age_seconds{game_id='1'} 2000x40"],
    "DejavuDashboardDown": ["up{job='dejavu-dashboard'} 0x40"],
    "DejavuDashboardNotStreaming": ["dejavu_dashboard_upstream_streaming 0x40"],
    "DejavuDashboardLate": lag(le0_1=80, le5_0=80, le10_0=100, inf=100),
    "DejavuDashboardErrors": ["dejavu_dashboard_requests_total{endpoint='/api/predict',status='500'} _x30 1x10"],
    "DejavuDashboardFull": ["dejavu_dashboard_cut_off_total{reason='crowded'} 0x30 1x10"],
}
"""Series under the fault of each alert."""

USUAL: list[list[str]] = [
    ["dejavu_worker_deaths_total 0 1x40", "dejavu_model_load_failures_total 3x40"],  # long ago
    ["dejavu_worker_starts_failed_total 0x20 1x20"],
    ["dejavu_last_reload_failed 0x10 1x20 0x10"],  # the next one completed
    builds("1", "1"),
    [calls("OK", 90), calls("RESOURCE_EXHAUSTED", 1), refused(1)],
    [calls("OK", 50), calls("INVALID_ARGUMENT", 40), calls("DEADLINE_EXCEEDED", 10)],
    [  # a rolling restart ends the streams and the health checks of all clients
        f"dejavu_calls_total{{method='{each}',code='UNAVAILABLE'}} 0+10x40"
        for each in ("/grpc.health.v1.Health/Watch", "/dejavu.v1.PredictionService/StreamPredictions")
    ],
    durations("dejavu_call_seconds", 10, SCORECARD_OK),
    ["dejavu_cache_shared_failed 0x20 1x7 0x13"],  # Redis was restarted
    ["dejavu_stream_lag_seconds 0 3 2 0 5 0 70 5 9 0x11 4 0x3 64 0 4 0 4 0 40 0 4 0"],
    gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=3600),
    ["dejavu_ledger_epoch{instance='a'} 7x20 _x10 7x10", "dejavu_ledger_epoch{job='another'} 5x40"],  # a restart
    gauges(ratings_age_seconds=MONTH, ratings_max_age_seconds=MONTH, ledger_clock_ahead_seconds=9),
    coverage(39),
    ["dejavu_shadows_shed_total 3x40", "dejavu_shadows_total{outcome='refused'} 0+9x40"],
    ["dejavu_roster_sequence{worker='0'} 12x20 15x20", "dejavu_roster_sequence{worker='1'} 12x21 15x19"],
    ["dejavu_access_expires_timestamp_seconds{file='tokens'} Inf Inf Inf"],  # none expires
    [calls("OK", 9), calls("UNAUTHENTICATED", 15), calls("PERMISSION_DENIED", 90)],
    ["dejavu_poll_leads{instance='a'} 1x30 0x10", "dejavu_poll_leads{instance='b'} 0x32 1x8"],  # b takes over
    missed("0+1x40"),
    ["dejavu_poll_scoreboard_age_seconds 0+30x40", "dejavu_poll_leads 0x40", "dejavu_poll_leads{instance='b'} 1x40"],
    ["dejavu_dashboard_upstream_streaming 1x30 0 0 1 1 1 0 1x5"],  # the server was restarted
    lag(le0_1=95, le5_0=95, le10_0=100, inf=100),
    ["dejavu_dashboard_requests_total{endpoint='/api/predict',status='503'} 0+9x40"],
    ["dejavu_dashboard_cut_off_total{reason='stalled'} 0+1x40"],
    [  # just within the bounds
        "dejavu_access_expires_timestamp_seconds{file='tls'} 2000000x40",
        "dejavu_poll_game_data_age_seconds{game_id='1'} 1500x40",
        *gauges(worker_open_fds=700, worker_max_fds=1024),
        *gauges(ledger_disk_free_bytes=600, ledger_disk_reserve_bytes=256),
    ],
]
"""Series on which no alert fires."""

MINUTES = {"DejavuVersionSkew": 35, "DejavuCoverageOff": 17}
"""When alerts on what lasts longer are evaluated."""


RUNBOOK = (ROOT / "docs/runbook.md").read_text()


def test_every_alert_has_its_case_and_its_section_of_the_runbook_to_which_it_links() -> None:
    names = re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE)
    assert list(FIRES) == names == alert_names()
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
    cases = [([*map(scraped, series)], MINUTES.get(name, 9)) for name, series in FIRES.items()]
    assert dict(zip(FIRES, firing_each(tmp_path, cases), strict=True)) == {name: {name} for name in FIRES}


@pytest.mark.nightly
def test_no_alert_fires_on_what_is_usual(tmp_path: Path) -> None:
    cases = [([*map(scraped, series)], minutes) for series in USUAL for minutes in (9, 17, 35)]
    assert firing_each(tmp_path, cases) == [set()] * len(cases)


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
