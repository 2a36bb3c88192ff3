"""Every alert fires on its fault, and none in usual operation; evaluated by Prometheus's own promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.processes.promtool import RULES, alert_names, firing, firing_each, promtool

PAGE = {"instance": "a:8080", "job": "dejavu-dashboard"}
"""Labels of the series of a page's gateway."""

POLLER = {"instance": "a:9465", "job": "dejavu-poller"}
"""Labels of the series of a poller."""

METHOD = "/dejavu.v1.PredictionService/Predict"


def of(metric: str, **labels: str) -> str:
    """Return a series of a server."""
    given = {"instance": "a:9464", "job": "dejavu", **labels}
    return metric + "{" + ",".join(f"{name}='{value}'" for name, value in given.items()) + "}"


def calls(code: str, step: int) -> str:
    return f"{of('dejavu_calls_total', method=METHOD, code=code)} 0+{step}x40"


def forecasts(outcome: str, values: str) -> str:
    return f"{of('dejavu_poll_forecasts_total', horizon='final', outcome=outcome, **POLLER)} {values}"


def durations(metric: str, fast: int, slow: int, **labels: str) -> list[str]:
    """A histogram in which some calls of each step take up to 1 ms, and some between 0.5 and 3 s."""
    return [
        f"{of(metric, le='0.001', **labels)} 0+{fast}x40",
        f"{of(metric, le='0.5', **labels)} 0+{fast}x40",
        f"{of(metric, le='3.0', **labels)} 0+{fast + slow}x40",
        f"{of(metric, le='+Inf', **labels)} 0+{fast + slow}x40",
    ]


def coverage(share: float, games: int) -> list[str]:
    labels = {"model": "m", "horizon": "final"}
    return [
        f"{of('dejavu_coverage_ratio', **labels)} {share}x80",
        f"{of('dejavu_coverage_nominal_ratio', **labels)} 0.9x80",
        f"{of('dejavu_coverage_games', **labels)} {games}x80",
    ]


def gauges(**values: float) -> list[str]:
    return [f"{of(f'dejavu_{name}')} {value}x40" for name, value in values.items()]


DAY = 86_400

CASES: dict[str, tuple[list[str], list[str]]] = {
    "DejavuDown": ([f"{of('up')} 0x40"], [f"{of('up')} 1x40"]),
    "DejavuWorkerDied": (
        [f"{of('dejavu_worker_deaths_total')} 0x30 1x10"],
        [f"{of('dejavu_worker_deaths_total')} 0 1x40"],  # long ago
    ),
    "DejavuWorkerHung": (
        [f"{of('dejavu_worker_hangs_total', part='compute')} 0x30 1x10"],
        [f"{of('dejavu_worker_hangs_total', part='compute')} 1x40"],
    ),
    "DejavuWorkersCannotStart": (
        [f"{of('dejavu_worker_starts_failed_total')} 0x20 1 2 3 4x20"],
        [f"{of('dejavu_worker_starts_failed_total')} 0x20 1x20"],
    ),
    "DejavuReloadFailed": (
        [f"{of('dejavu_last_reload_failed')} 0x30 1x10"],
        [f"{of('dejavu_last_reload_failed')} 0x10 1x20 0x10"],  # the next one completed
    ),
    "DejavuVersionSkew": (
        [f"{of('dejavu_build_info', instance=name, version=name, revision='r')} 1x160" for name in "ab"],
        [f"{of('dejavu_build_info', instance=name, version='1', revision='r')} 1x160" for name in "ab"],
    ),
    "DejavuFewDescriptors": (
        [f"{of('dejavu_worker_open_fds', worker='0')} 900x40", f"{of('dejavu_worker_max_fds', worker='0')} 1024x40"],
        [f"{of('dejavu_worker_open_fds', worker='0')} 90x40", f"{of('dejavu_worker_max_fds', worker='0')} 1024x40"],
    ),
    "DejavuOverloaded": (
        [
            calls("OK", 97),
            calls("RESOURCE_EXHAUSTED", 3),
            f"{of('dejavu_calls_refused_total', method=METHOD, reason='OVERLOADED')} 0+10x40",
        ],
        [
            calls("OK", 90),
            calls("RESOURCE_EXHAUSTED", 1),
            f"{of('dejavu_calls_refused_total', method=METHOD, reason='OVERLOADED')} 0+1x40",
        ],
    ),
    "DejavuErrors": (
        [calls("OK", 97), calls("INTERNAL", 2), calls("UNAVAILABLE", 1)],
        [
            *(calls("OK", 50), calls("INVALID_ARGUMENT", 40), calls("DEADLINE_EXCEEDED", 10)),
            # A rolling restart ends the streams and the health checks of all clients.
            *(
                f"{of('dejavu_calls_total', method=each, code='UNAVAILABLE')} 0+10x40"
                for each in ("/grpc.health.v1.Health/Watch", "/dejavu.v1.PredictionService/StreamPredictions")
            ),
        ],
    ),
    "DejavuSlow": (
        durations("dejavu_call_seconds_bucket", 90, 10, method=METHOD, code="OK"),
        durations("dejavu_call_seconds_bucket", 90, 10, method="/dejavu.v1.RecordService/GetScorecard", code="OK"),
    ),
    "DejavuSharedCacheFailed": (
        gauges(cache_shared_failed=1),
        [f"{of('dejavu_cache_shared_failed')} 0x20 1x7 0x13"],  # Redis was restarted
    ),
    "DejavuLedgerUnavailable": (gauges(workers_without_ledger=1), gauges(workers_without_ledger=0)),
    "DejavuDiskLow": (
        gauges(ledger_disk_free_bytes=400, ledger_disk_reserve_bytes=256),
        gauges(ledger_disk_free_bytes=4000, ledger_disk_reserve_bytes=256),
    ),
    "DejavuBackupOld": (
        [f"{of('dejavu_backup_timestamp_seconds')} -100000x40"],
        [f"{of('dejavu_backup_timestamp_seconds')} 0x40"],  # time begins at 0 in these tests
    ),
    "DejavuCommitsSlow": (
        durations("dejavu_ledger_commit_seconds_bucket", 90, 10),
        durations("dejavu_ledger_commit_seconds_bucket", 100, 0),
    ),
    "DejavuStreamLag": (
        gauges(stream_lag_seconds=90),
        [f"{of('dejavu_stream_lag_seconds')} 0 3 0 2 0 5 0 70 5 9 0 0 0 0 0 0 0 0 0 0 0 4 0 0 0 64 0 4 0 4 0 40 0 4 0"],
    ),
    "DejavuCheckpointOld": (
        gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=60),
        gauges(checkpoint_age_seconds=500, checkpoint_interval_seconds=3600),
    ),
    "DejavuClockDiffers": (gauges(ledger_clock_ahead_seconds=-12), gauges(ledger_clock_ahead_seconds=9)),
    "DejavuLedgersDiffer": (
        [
            f"{of('dejavu_ledger_epoch', instance=name)} {epoch}x40"
            for name, epoch in (("a", 281474976710655), ("b", 281474976710654))
        ],
        [
            *(f"{of('dejavu_ledger_epoch', instance=name)} 281474976710655x40" for name in "ab"),
            f"{of('dejavu_ledger_epoch', instance='c', job='another')} 5x40",
        ],
    ),
    "DejavuEpochChanged": (
        [f"{of('dejavu_ledger_epoch')} 281474976710655x20 281474976710654x20"],
        [f"{of('dejavu_ledger_epoch')} 7x20 _x10 7x10"],  # the server was restarted
    ),
    "DejavuLearnerLag": (gauges(learner_lag_outcomes=1), gauges(learner_lag_outcomes=0)),
    "DejavuRatingsOutdated": (
        [
            f"{of('dejavu_ratings_age_seconds', model='m')} {31 * DAY}x40",
            *gauges(ratings_max_age_seconds=30 * DAY),
        ],
        [
            f"{of('dejavu_ratings_age_seconds', model='m')} {30 * DAY}x40",
            *gauges(ratings_max_age_seconds=30 * DAY),
        ],
    ),
    "DejavuCoverageOff": (coverage(0.78, 40), coverage(0.78, 39)),
    "DejavuShadowsShed": (
        [f"{of('dejavu_shadows_shed_total')} 0x10 1x30"],
        [f"{of('dejavu_shadows_shed_total')} 3x40", f"{of('dejavu_shadows_total', outcome='recorded')} 0+9x40"],
    ),
    "DejavuShadowsFailed": (
        [f"{of('dejavu_shadows_total', outcome='failed')} 0x10 1x30"],
        [f"{of('dejavu_shadows_total', outcome=each)} 0+9x40" for each in ("recorded", "refused", "unsupported")],
    ),
    "DejavuChampionWorse": (
        [f"{of('dejavu_champion_worse', against='previous')} 1x40"],
        [f"{of('dejavu_champion_worse', against='previous')} 0x40"],
    ),
    "DejavuModelLoadFailed": (
        [f"{of('dejavu_model_load_failures_total')} 0x10 1x30"],
        [f"{of('dejavu_model_load_failures_total')} 3x40"],
    ),
    "DejavuModelsDiverge": (
        [f"{of('dejavu_roster_sequence', worker=name)} {at}x40" for name, at in (("0", 12), ("1", 15))],
        [
            f"{of('dejavu_roster_sequence', worker='0')} 12x20 15x20",
            f"{of('dejavu_roster_sequence', worker='1')} 12x21 15x19",
        ],
    ),
    "DejavuAccessFileOutdated": (
        [f"{of('dejavu_access_file_outdated', file='tls')} 1x40"],
        [f"{of('dejavu_access_file_outdated', file='tls')} 0x40"],
    ),
    "DejavuCredentialExpires": (
        [f"{of('dejavu_access_expires_timestamp_seconds', file='tls')} 1000000x40"],
        [
            f"{of('dejavu_access_expires_timestamp_seconds', file='tls')} 2000000x40",
            f"{of('dejavu_access_expires_timestamp_seconds', file='tokens')} Inf Inf Inf",  # none expires
        ],
    ),
    "DejavuUnauthenticated": (
        [calls("OK", 9), calls("UNAUTHENTICATED", 45)],
        [calls("OK", 9), calls("UNAUTHENTICATED", 15), calls("PERMISSION_DENIED", 90)],
    ),
    "DejavuPollerDown": ([f"{of('up', **POLLER)} 0x40"], [f"{of('up', **POLLER)} 1x40"]),
    "DejavuPollerLeaders": (
        [f"{of('dejavu_poll_leads', **{**POLLER, 'instance': name})} 1x40" for name in "ab"],
        [  # the second takes over
            f"{of('dejavu_poll_leads', **{**POLLER, 'instance': 'a'})} 1x30 0x10",
            f"{of('dejavu_poll_leads', **{**POLLER, 'instance': 'b'})} 0x32 1x8",
        ],
    ),
    "DejavuForecastsMissed": (
        [forecasts("missed", "0+1x40"), forecasts("new", "60x40")],
        [forecasts("missed", "0+1x40"), forecasts("new", "0+1x40")],
    ),
    "DejavuFeedUnread": (
        [f"{of('dejavu_poll_scoreboard_age_seconds', **POLLER)} 0+30x40", f"{of('dejavu_poll_leads', **POLLER)} 1x40"],
        [
            f"{of('dejavu_poll_scoreboard_age_seconds', **POLLER)} 0+30x40",
            f"{of('dejavu_poll_leads', **POLLER)} 0x40",
            f"{of('dejavu_poll_leads', **{**POLLER, 'instance': 'b'})} 1x40",
        ],
    ),
    "DejavuFeedOld": (
        [f"{of('dejavu_poll_game_data_age_seconds', game_id='1', home='BOS', away='LAL', **POLLER)} 2000x40"],
        [f"{of('dejavu_poll_game_data_age_seconds', game_id='1', home='BOS', away='LAL', **POLLER)} 1500x40"],
    ),
    "DejavuDashboardDown": ([f"{of('up', **PAGE)} 0x40"], [f"{of('up', **PAGE)} 1x40"]),
    "DejavuDashboardNotStreaming": (
        [f"{of('dejavu_dashboard_upstream_streaming', **PAGE)} 0x40"],
        [f"{of('dejavu_dashboard_upstream_streaming', **PAGE)} 1x30 0 0 1 1 1 0 1 1 1 1"],  # the server was restarted
    ),
    "DejavuDashboardLate": (
        [
            f"{of('dejavu_dashboard_upstream_lag_seconds_bucket', le=le, **PAGE)} 0+{step}x40"
            for le, step in (("0.1", 80), ("5.0", 80), ("10.0", 100), ("+Inf", 100))
        ],
        [
            f"{of('dejavu_dashboard_upstream_lag_seconds_bucket', le=le, **PAGE)} 0+{step}x40"
            for le, step in (("0.1", 95), ("5.0", 95), ("10.0", 100), ("+Inf", 100))
        ],
    ),
    "DejavuDashboardErrors": (
        [f"{of('dejavu_dashboard_requests_total', endpoint='/api/predict', status='500', **PAGE)} _x30 1x10"],
        [
            f"{of('dejavu_dashboard_requests_total', endpoint='/api/predict', status='503', **PAGE)} 0+9x40",
            f"{of('dejavu_dashboard_requests_total', endpoint='/api/models', status='500', **PAGE)} 1x80",  # long ago
        ],
    ),
    "DejavuDashboardFull": (
        [f"{of('dejavu_dashboard_cut_off_total', reason='crowded', **PAGE)} 0x30 1x10"],
        [f"{of('dejavu_dashboard_cut_off_total', reason='stalled', **PAGE)} 0+1x40"],
    ),
}


MINUTES = {"DejavuVersionSkew": 35, "DejavuCoverageOff": 17}
"""When alerts on what lasts longer are evaluated."""

LATER = MINUTES | {"DejavuDashboardErrors": 17}
"""When alerts that look back further are evaluated in usual operation."""


def test_prometheus_takes_the_rules() -> None:
    run = subprocess.run([promtool(), "check", "rules", str(RULES)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_alert_has_its_case() -> None:
    assert list(CASES) == alert_names()


def test_an_alert_fires_alone_on_what_it_is_for(tmp_path: Path) -> None:
    cases = [(fires, MINUTES.get(name, 9)) for name, (fires, _) in CASES.items()]
    assert dict(zip(CASES, firing_each(tmp_path, cases), strict=True)) == {name: {name} for name in CASES}


@pytest.mark.nightly
def test_no_alert_fires_on_what_is_usual(tmp_path: Path) -> None:
    cases = [(usual, LATER.get(name, 9)) for name, (_, usual) in CASES.items()]
    assert dict(zip(CASES, firing_each(tmp_path, cases), strict=True)) == {name: set() for name in CASES}


def test_further_errors_of_the_page_are_noticed_as_the_first_one_is(tmp_path: Path) -> None:
    series = of("dejavu_dashboard_requests_total", endpoint="/api/models", status="500", **PAGE)
    assert firing(tmp_path, [f"{series} 1x60 2x20"], minutes=17) == {"DejavuDashboardErrors"}


def test_two_short_outages_page_nobody_once_they_are_over(tmp_path: Path) -> None:
    failed = of("dejavu_calls_total", method=METHOD, code="UNAVAILABLE")
    for pause in (2, 4):  # steps of 15 s between outages of 30 s
        series = [calls("OK", 97), f"{failed} 0x20 20 40 40x{pause} 60 80 80x20"]
        cases = [(series, minutes) for minutes in (5.5, 6.0, 6.5, 7.0, 7.5, 8.0, 9.0)]
        assert firing_each(tmp_path, cases) == [set()] * len(cases)


def test_a_lost_ledger_is_told_for_as_long_as_its_refusals_are(tmp_path: Path) -> None:
    """So that it inhibits DejavuErrors until that ends."""
    series = [f"{of('dejavu_workers_without_ledger')} 1x8 0x40", f"{of('dejavu_workers_without_streams')} 0x48"]
    assert firing_each(tmp_path, [(series, 3.0), (series, 8.0), (series, 12.0)]) == [
        {"DejavuLedgerUnavailable"},
        {"DejavuLedgerUnavailable"},
        set(),
    ]
