"""What several servers did together, and what they tell each other of it."""

from __future__ import annotations

import itertools
import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dejavu_server.api.converters.operations import stats_message
from dejavu_server.observability.counted import CALLS, SECONDS, CountedMetrics, key
from dejavu_server.observability.metrics import LATENCY_BUCKETS, Metrics
from dejavu_server.observability.other_servers import (
    MAX_BYTES,
    KnownServer,
    OtherServers,
    ServerSample,
    UnreadableReport,
    newest_feeds,
)
from dejavu_server.observability.totals import MAX_FEEDS, FeedReport, ServerTotals, TotalsHistory, WorkerTotals

METHOD = "/dejavu.v1.PredictionService/Predict"


def sample(name: str = "a", seconds: float = 100.0, started: float = 0.0, **worker: Any) -> ServerSample:
    """Returns what a server with one worker tells after it has run for some seconds."""
    now = [1000.0]
    past = TotalsHistory(name, started, lambda: now[0], lambda: now[0])
    now[0] += seconds
    totals = past.sum([WorkerTotals(**{"name": "0-1", "started": started, "versions": {}, "counts": {}, **worker})])
    return ServerSample(name=f"{name}:1", configured_workers=1, totals=totals, seconds_ago=0.0)


def known(told: ServerSample, age: float = 1.0) -> KnownServer:
    return KnownServer(told, age)


def calls(durations: Sequence[float]) -> dict[str, float]:
    """Returns what a worker counts of calls with these durations."""
    metrics = Metrics()
    read = CountedMetrics(metrics)
    for duration in durations:
        metrics.calls.labels(METHOD, "OK").inc()
        metrics.seconds.labels(METHOD, "OK").observe(duration)
    return read.read()[0]


DURATIONS = st.lists(st.floats(1e-5, 6.0) | st.sampled_from(LATENCY_BUCKETS), max_size=40)


@given(st.lists(DURATIONS, min_size=1, max_size=4))
def test_quantiles_over_servers_are_those_of_all_their_calls_within_the_bounds_that_they_name(
    servers: Sequence[Sequence[float]],
) -> None:
    told = [known(sample(f"{number}", counts=calls(each))) for number, each in enumerate(servers)]
    stats = stats_message(told[0], OtherServers(tuple(told[1:]), ""), 30)
    every = sorted(itertools.chain.from_iterable(servers))
    assert stats.all_servers.servers == len(stats.servers) == len(servers)
    [method] = stats.all_servers.windows[-1].methods if every else [None]
    if method is None:
        return
    assert method.calls == method.latency.calls == len(every)
    assert method.latency.mean_seconds == pytest.approx(math.fsum(every) / len(every))
    for quantile in method.latency.quantiles:
        true = every[max(1, math.ceil(quantile.share * len(every) - 1e-9)) - 1]
        assert quantile.lower_seconds < true
        assert not quantile.HasField("upper_seconds") or true <= quantile.upper_seconds


def test_a_quantile_over_servers_is_no_mean_of_theirs() -> None:
    fast, slow = known(sample("fast", counts=calls([0.0015] * 99))), known(sample("slow", counts=calls([2.0])))
    stats = stats_message(fast, OtherServers((slow,), ""), 30)
    [method] = stats.all_servers.windows[-1].methods
    assert [quantile.upper_seconds for quantile in method.latency.quantiles] == [0.002, 0.002, 0.002]


def test_servers_whose_histograms_differ_are_merged_at_the_bounds_that_both_have() -> None:
    own = known(sample("a", counts=calls([0.004] * 10)))
    texts = [("+Inf" if math.isinf(bound) else str(bound)) for bound in (0.003, 1.0, math.inf)]
    counts = {key(CALLS, METHOD, "OK"): 10.0} | {key(SECONDS, METHOD, text): 10.0 for text in texts}
    other = known(sample("b", counts=counts).model_copy(update={"bounds": (0.003, 1.0)}))
    stats = stats_message(own, OtherServers((other,), ""), 30)
    quantiles = [stats.windows, stats.servers[1].windows, stats.all_servers.windows]
    [[mine], [its], [together]] = [windows[-1].methods for windows in quantiles]
    assert [
        (each.latency.quantiles[0].lower_seconds, each.latency.quantiles[0].upper_seconds)
        for each in (mine, its, together)
    ] == [(0.002, 0.005), (0.0, 0.003), (0.0, 1.0)]
    assert together.latency.calls == 20


def test_states_of_servers_are_summed_or_the_largest() -> None:
    levels = {key("in_flight", METHOD): 2.0, "without_ledger": 1.0}
    first = known(sample("a", levels=levels, peaks={"stream_lag": 3.0}), 0.5)
    second = known(sample("b", seconds=700.0, levels=levels, peaks={"stream_lag": 7.0}), 12.0)
    stats = stats_message(first, OtherServers((second,), ""), 30)
    together = stats.all_servers
    assert (together.calls_in_flight, together.ledger_lag.workers_without, together.ledger_lag.entries) == (4, 2, 7)
    assert together.oldest_sample_seconds_ago == 12
    assert [window.covered_seconds for window in together.windows] == [700, 700, 700, 700]
    assert (stats.calls_in_flight, stats.ledger_lag.entries) == (2, 3)
    assert [(each.server.name, each.sampled_seconds_ago) for each in stats.servers] == [("a:1", 0.5), ("b:1", 12)]


def test_the_newest_report_about_a_feed_counts_whichever_server_got_it() -> None:
    def told(name: str, feeds: dict[str, float], age: float) -> KnownServer:
        reports = {feed: FeedReport(reported=1100.0 - ago, read_age=ago) for feed, ago in feeds.items()}
        return known(sample(name, feeds=reports), age)

    own, other = told("a", {"nba": 40.0}, 1.0), told("b", {"nba": 2.0, "wnba": 5.0}, 10.0)
    feeds = {name: (report.read_age, age) for name, (report, age) in newest_feeds([own, other]).items()}
    assert feeds == {"nba": (2.0, 12.0), "wnba": (5.0, 15.0)}
    stats = stats_message(own, OtherServers((other,), ""), 30)
    assert [(each.feed, each.read_age_seconds) for each in stats.feeds] == [("nba", 81.0)]
    assert [(each.feed, each.read_age_seconds) for each in stats.all_servers.feeds] == [("nba", 14.0), ("wnba", 20.0)]
    many = [told(f"{n}", {f"feed-{n}-{m}": 1.0 + n for m in range(MAX_FEEDS)}, 1.0) for n in range(3)]
    assert sorted(newest_feeds(many)) == [f"feed-0-{m}" for m in range(MAX_FEEDS)]


def test_a_sample_is_read_back_also_with_what_a_later_release_adds() -> None:
    told = sample("a", counts=calls([0.1, 2.0]), levels={"open": 1.0})
    assert ServerSample.decode(told.encode()) == told
    later = told.model_dump(mode="json") | {"mood": "good"}
    later["totals"]["windows"][0]["counts"]["new|thing"] = 3.0
    read = ServerSample.decode(zlib.compress(json.dumps(later).encode()))
    assert read.totals.windows[0].counts["new|thing"] == 3


@pytest.mark.parametrize(
    "state",
    [b"", b"no zlib", zlib.compress(b"{}"), zlib.compress(b"[" * 100), sample().encode()[:-9]],
    ids=["empty", "not compressed", "lacks fields", "no json", "cut off"],
)
def test_a_report_that_cannot_be_read_says_so(state: bytes) -> None:
    with pytest.raises(UnreadableReport):
        ServerSample.decode(state)


def test_a_report_that_unpacks_to_more_than_it_may_is_not_unpacked() -> None:
    with pytest.raises(UnreadableReport, match=f"{MAX_BYTES:,}"):
        ServerSample.decode(zlib.compress(b" " * (MAX_BYTES + 1)))


def test_a_report_of_a_server_in_use_is_short() -> None:
    methods = [f"/dejavu.v1.SomeLongServiceName/SomeMethod{number:02d}" for number in range(18)]
    metrics = Metrics()
    read = CountedMetrics(metrics)
    for number, method in enumerate(methods):
        for duration in (*LATENCY_BUCKETS, 5.0):
            metrics.calls.labels(method, "OK").inc(number + 1)
            metrics.seconds.labels(method, "OK").observe(duration)
    told = sample(counts=read.read()[0])
    assert len(told.model_dump_json()) < MAX_BYTES / 10
    assert len(told.encode()) < 10_000
    assert isinstance(ServerSample.decode(told.encode()).totals, ServerTotals)
