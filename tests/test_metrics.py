"""Prometheus' text format."""

from whisper_apr.server.metrics import Histogram, Metrics


def test_counters_have_a_line_for_each_combination_of_labels():
    metrics = Metrics()
    metrics.requests.add(path="/a", status="200")
    metrics.requests.add(path="/a", status="200")
    metrics.requests.add(path="/b", status="404")
    metrics.audio_seconds.add(12345678.25)
    lines = metrics.text().splitlines()
    assert "# TYPE whisper_apr_requests_total counter" in lines
    assert 'whisper_apr_requests_total{path="/a",status="200"} 2' in lines
    assert 'whisper_apr_requests_total{path="/b",status="404"} 1' in lines
    assert "whisper_apr_audio_seconds_total 12345678.25" in lines
    assert "whisper_apr_cancelled_total 0" in lines  # counters begin at 0


def test_gauges_are_asked_when_they_are_reported():
    metrics, values = Metrics(), iter([1, 2])
    metrics.add_gauge("size", "The size.", lambda: next(values))
    assert metrics.text().endswith("# HELP size The size.\n# TYPE size gauge\nsize 1\n")
    assert metrics.text().endswith("size 2\n")


def test_the_buckets_of_a_histogram_are_cumulative():
    histogram = Histogram("seconds", "Durations.", (1.0, 2.5))
    assert histogram.mean == 0
    for value in (0.5, 1.0, 2.0, 10.0):
        histogram.observe(value)
    assert list(histogram.lines()) == [
        'seconds_bucket{le="1.0"} 2',
        'seconds_bucket{le="2.5"} 3',
        'seconds_bucket{le="+Inf"} 4',
        "seconds_sum 13.5",
        "seconds_count 4",
    ]
    assert histogram.mean == 3.375
