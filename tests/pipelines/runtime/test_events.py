"""What a run's events.jsonl holds: a line of JSON for each change of the job's state."""

import json
import re

import pytest

from m3ray.config.options import ExtractOptions
from m3ray.pipelines.extraction import storage_pauses as pauses
from m3ray.pipelines.runtime.events import Event, iso_time
from m3ray.pipelines.runtime.job import run_job
from m3ray.pipelines.runtime.progress import Progress


def options(folder, **others):
    return ExtractOptions(out=str(folder / "o"), **others)


def events_of(folder):
    (file,) = (folder / "o" / "runs").glob("*/events.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_time_is_utc_in_iso_8601():
    assert iso_time(0.0125) == "1970-01-01T00:00:00.012Z"
    assert iso_time(1_800_000_000) == "2027-01-15T08:00:00.000Z", "date -u -d @1800000000"


def test_an_event_carries_what_is_known_and_its_words_last():
    event = Event("paused", "storage answers 403", {"gives_up_after_seconds": 300}, at=0.0)
    assert list(event.as_dict({"job": "extract"}).items()) == [
        ("time", "1970-01-01T00:00:00.000Z"), ("event", "paused"), ("job", "extract"),
        ("gives_up_after_seconds", 300), ("words", "storage answers 403"),
    ]  # fmt: skip


def test_a_job_s_states_in_their_order(tmp_path):
    with (
        run_job("extract", options(tmp_path)) as job,
        job.stage("extract"),
        Progress("extract", 10, "CPUs") as progress,
    ):
        progress.add(3, 1, {})
        watcher = pauses.PauseReporter(300, progress)
        for state in ((1.0, "403 AccessDenied"), (4.0, "403 AccessDenied"), None, None):
            watcher.update(state)
    events = events_of(tmp_path)
    assert [event["event"] for event in events] == ["started", "stage", "paused", "resumed", "stage", "done"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)
    (run,) = {event["run"] for event in events}
    assert (tmp_path / "o" / "runs" / run / "log.txt").exists()
    paused, resumed = events[2:4]
    assert (paused["stage"], paused["clips_done"], paused["clips_rejected"], paused["clips_total"]) == (
        "extract", 3, 1, 10,
    )  # fmt: skip
    assert paused["words"] == "storage answers 403 AccessDenied"
    assert paused["gives_up_after_seconds"] == 300
    assert resumed["paused_seconds"] == 4
    assert (events[1]["words"], events[4]["words"]) == ("extract begins", "extract ends")
    assert events[4]["seconds"] >= 0
    assert (events[5]["status"], events[5]["words"]) == ("success", "extract: result: success: done")


@pytest.mark.parametrize(
    ("error", "last", "words"),
    [
        (KeyError("x"), "failed", "KeyError: 'x'"),
        (KeyboardInterrupt(), "stopped", "the same command goes on"),
        (SystemExit(15), "stopped", "the same command goes on"),
    ],
)
def test_how_a_job_ended(tmp_path, error, last, words):
    with pytest.raises(BaseException), run_job("extract", options(tmp_path)):  # noqa: B017
        raise error
    event = events_of(tmp_path)[-1]
    assert (event["event"], event["status"]) == (last, last)
    assert words in event["words"]


def test_rejects_are_a_part_of_being_done(tmp_path):
    with run_job("extract", options(tmp_path)) as job:
        job.set_outcome(10, 2)
    event = events_of(tmp_path)[-1]
    assert (event["event"], event["status"], event["clips"], event["rejected"]) == ("done", "partial", 10, 2)
