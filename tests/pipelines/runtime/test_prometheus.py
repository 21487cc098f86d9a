"""Metrics of clips, and the log lines of rejected ones."""

import io
import json
import logging
from collections import Counter

import pyarrow as pa
import pytest

from m3ray.pipelines.runtime import prometheus
from m3ray.pipelines.runtime.prometheus import count_clips, count_seconds, log_rejects


class Metric:
    """A counter of Ray's, of which every increase is kept."""

    def __init__(self):
        self.values = Counter()

    def inc(self, value, tags):
        assert value > 0, "Ray refuses to add nothing"
        self.values[tuple(sorted(tags.items()))] += value


@pytest.fixture
def metric(monkeypatch):
    metric = Metric()
    monkeypatch.setattr(prometheus, "_clip_counter", lambda: metric)
    monkeypatch.setattr(prometheus, "_seconds_counter", lambda: metric)
    return metric


def test_clips_are_counted_by_outcome_and_reason(metric):
    count_clips(3, ["not_a_video", "too_long", "not_a_video"])
    count_clips(0, [])
    count_clips(2, [])
    assert metric.values == {
        (("outcome", "done"), ("reason", "")): 5,
        (("outcome", "rejected"), ("reason", "not_a_video")): 2,
        (("outcome", "rejected"), ("reason", "too_long")): 1,
    }


def test_seconds_are_counted_by_stage(metric):
    count_seconds({"decode": 1.5, "scene": 0.0})
    count_seconds({"decode": 0.5})
    assert metric.values == {(("stage", "decode"),): 2.0}


def test_a_reject_is_a_line_of_json_in_the_worker_s_log_and_none_on_the_console(monkeypatch, capsys):
    stream = io.StringIO()
    (handler,) = [one for one in logging.getLogger("m3ray.clips").handlers if type(one) is logging.StreamHandler]
    monkeypatch.setattr(handler, "stream", stream)
    log_rejects(pa.table({"clip_id": ["a", "b"], "reason": ["too_long", "not_a_video"]}))
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "clip_rejected", "clip_id": "a", "reason": "too_long"},
        {"event": "clip_rejected", "clip_id": "b", "reason": "not_a_video"},
    ]
    assert capsys.readouterr().out == ""
