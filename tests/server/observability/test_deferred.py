"""What is summed in memory reads as if it had been written to the metrics at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dejavu_server.observability.deferred import DeferredMetrics
from dejavu_server.observability.metrics import LATENCY_BUCKETS, Metrics

SECONDS = st.one_of(st.sampled_from(LATENCY_BUCKETS), st.floats(0, 10, width=16))


@given(st.lists(st.lists(SECONDS)))
def test_a_histogram_has_what_it_would_have_observed(groups: list[list[float]]) -> None:
    deferred_registry, registry = CollectorRegistry(), CollectorRegistry()
    deferred = DeferredMetrics(deferred_registry)
    of_calls = Histogram("seconds", "Seconds.", ["code"], buckets=LATENCY_BUCKETS, registry=deferred_registry)
    expected = Histogram("seconds", "Seconds.", ["code"], buckets=LATENCY_BUCKETS, registry=registry).labels("OK")
    observations = deferred.observations(of_calls.labels("OK"))
    for group in groups:
        for value in group:
            observations.observe(value)
            expected.observe(value)
        for sample in ("seconds_count", "seconds_bucket"):
            for bound in (*map(str, LATENCY_BUCKETS), "+Inf"):
                labels = {"code": "OK"} | ({"le": bound} if sample == "seconds_bucket" else {})
                read = deferred_registry.get_sample_value(sample, labels)
                assert read == registry.get_sample_value(sample, labels)
        total = deferred_registry.get_sample_value("seconds_sum", {"code": "OK"})
        assert total is not None
        assert abs(total - sum(map(sum, groups[: groups.index(group) + 1]))) < 1e-6 or groups.count(group) > 1


def test_sums_and_levels_are_written_before_the_registry_is_read() -> None:
    registry = CollectorRegistry()
    deferred = DeferredMetrics(registry)
    calls = deferred.sum(Counter("calls", "Calls.", registry=registry))
    in_flight = deferred.sum(Gauge("in_flight", "Calls in progress.", registry=registry))
    size = deferred.level(Gauge("size", "Size.", registry=registry))
    for _ in range(3):
        calls.inc()
        in_flight.inc()
    in_flight.inc(-1)
    size.set(7)
    size.set(5)
    assert registry.get_sample_value("calls_total") == 3
    assert registry.get_sample_value("in_flight") == 2
    assert b"size 5.0" in generate_latest(registry)
    in_flight.inc(-2)
    assert registry.get_sample_value("in_flight") == 0
    assert registry.get_sample_value("calls_total") == 3, "what was written once is not written again"


def test_no_count_of_any_thread_is_lost() -> None:
    metrics = Metrics()
    calls = metrics.deferred.sum(metrics.calls.labels("method", "OK"))
    seconds = metrics.deferred.observations(metrics.queue_seconds)
    threads, each = 4, 5_000

    def count(_: int) -> None:
        for number in range(each):
            calls.inc()
            seconds.observe(0.001)
            if number % 100 == 0:
                metrics.deferred.flush()

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, range(threads)))
    labels = {"method": "method", "code": "OK"}
    assert metrics.registry.get_sample_value("dejavu_calls_total", labels) == threads * each
    assert metrics.registry.get_sample_value("dejavu_queue_seconds_count") == threads * each
