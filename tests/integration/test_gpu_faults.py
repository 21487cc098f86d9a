"""GPUs that fail under a job, in a real Ray that has GPUs in name alone: no clip is lost, none is rejected for them.

The Ray of these tests has a process of its own, beside the one that other tests of this process share.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
from broken_tier import POISON, extract, start_ray

pytestmark = pytest.mark.integration
CLIPS = [f"{20 + k}/3" for k in range(24)]
BRIGHTNESS = {f"{k:02d}": 20 + k for k in range(24)}
BANNED = "is not used any more, after 3 failures in a row"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=start_ray) as pool:
        yield lambda clips, **more: pool.submit(extract, str(tmp_path_factory.mktemp("gpu")), clips, **more).result(600)


def test_a_gpu_that_always_fails_is_left_to_itself(run):
    outcome = run(CLIPS, broken_gpus=("0",), failures=3)
    assert (outcome.error, outcome.rejects, outcome.rows) == ("", {}, BRIGHTNESS)
    (line,) = [line for line in outcome.lines if BANNED in line]
    assert "GPU 0 of node" in line
    assert "(CUDA error: an illegal memory access was encountered)" in line
    assert {gpu for gpu, _ in outcome.batches} == {"0", "1"}
    assert sum(gpu == "0" for gpu, _ in outcome.batches) == 3


def test_a_gpu_that_fails_once_goes_on(run):
    outcome = run(CLIPS, broken_gpus=("0", "1"), once=True)
    assert (outcome.error, outcome.rejects, outcome.rows) == ("", {}, BRIGHTNESS)
    assert not any(BANNED in line for line in outcome.lines)
    assert sum("failed: a new process takes over" in line for line in outcome.lines) == 1


def test_a_clip_that_kills_every_process_is_one_reject(run):
    outcome = run([*CLIPS[:9], f"{POISON}/3", *CLIPS[10:]])
    assert outcome.error == ""
    assert {clip: error for clip, (error, _) in outcome.rejects.items()} == {"09": "worker_crashed"}
    assert "died 3 times, the last times with this clip alone: CUDA error: an illegal" in outcome.rejects["09"][1]
    assert outcome.rows == {clip: value for clip, value in BRIGHTNESS.items() if clip != "09"}
    assert not any(BANNED in line for line in outcome.lines)


def test_where_every_gpu_fails_the_job_ends_in_one_line(run):
    outcome = run(CLIPS, broken_gpus=("0", "1"))
    assert outcome.error.startswith("LostDeviceError: no GPU is left to compute on, 2 failed again and again: GPU ")
    assert "\n" not in outcome.error
    assert "run the same command again" in outcome.error
    assert (outcome.rows, outcome.rejects) == ({}, {})
    assert sum(BANNED in line for line in outcome.lines) == 2


def test_a_job_for_one_gpu_takes_another_where_its_own_fails(run):
    """A few clips: the pool has one actor, and the GPU that Ray gives it first is the broken one."""
    outcome = run(CLIPS[:6], broken_gpus=("0",))
    assert (outcome.error, outcome.rejects) == ("", {})
    assert outcome.rows == {clip: value for clip, value in BRIGHTNESS.items() if int(clip) < 6}


def test_windows_of_a_clip_are_computed_once_each(run):
    outcome = run(CLIPS[:16], windows=True, broken_gpus=("0",), failures=3)
    assert (outcome.error, outcome.rejects) == ("", {})
    assert outcome.rows == {f"{start}@{k:02d}": 20 + k for k in range(16) for start in (0, 1)}
    assert any("GPUs that are not used any more left" in line for line in outcome.lines), "there was a further pass"


def test_memory_that_runs_out_halves_batches_and_rejects_what_does_not_fit_alone(run):
    outcome = run([*CLIPS[:5], "25/9", *CLIPS[6:]], batch=4, most=2, most_frames=5)
    assert outcome.error == ""
    assert {clip: error for clip, (error, _) in outcome.rejects.items()} == {"05": "out_of_memory"}
    assert outcome.rejects["05"][1].startswith("9 x 8 x 8 (frames x height x width) do not fit alone into the ")
    assert outcome.rows == {clip: value for clip, value in BRIGHTNESS.items() if clip != "05"}
    processes = len({gpu for gpu, _ in outcome.batches})
    assert sum(count > 2 for _, count in outcome.batches) <= 2 * processes, "each process learns its limit once"
