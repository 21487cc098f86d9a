"""Who is at fault, GPU or clip: each rule of `device_ledger`, without Ray."""

import pytest

from m3ray.pipelines.extraction.device_ledger import DeviceLedger

REASON = "CUDA error: an illegal memory access was encountered"
A, B = "node-1:0", "node-1:1"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def ledger(clock):
    made = DeviceLedger(10.0, clock=clock)
    made.start_pass(2, 2)
    for gpu in (A, B):
        made.enter(gpu, f"GPU {gpu[-1]} of node 10.0.0.5")
        made.note_ready(gpu)
    return made


def fail(ledger, gpu, *failures):
    return [ledger.note_failure(gpu, clips, REASON) for clips in failures]


def test_three_failures_in_a_row_ban_a_gpu_in_one_line(ledger):
    assert fail(ledger, A, "ab", "a", "b") == [False, False, True]
    assert ledger.is_banned(A)
    assert ledger.count_banned() == 1
    (line,) = [line for line in ledger.news if "not used any more" in line]
    assert line.startswith(f"GPU 0 of node 10.0.0.5 ({REASON}) is not used any more, after 3 failures in a row;")
    assert ledger.read_news(2) == [line]
    assert ledger.enter(A, "") == "banned"


def test_a_ledger_that_forgot_a_gpu_learns_of_it_anew():
    """Its process may die with its node; a job does not end for it."""
    ledger = DeviceLedger()
    ledger.note_ready(A)
    ledger.note_computed(A)
    assert not ledger.is_banned(A)
    assert fail(ledger, B, "ab") == [False]


def test_a_computed_batch_ends_the_row(ledger):
    fail(ledger, A, "ab", "a")
    ledger.note_computed(A)
    assert fail(ledger, A, "c", "d") == [False, False]


def test_a_batch_that_another_gpu_computed_ends_no_row(ledger):
    fail(ledger, A, "ab", "a")
    ledger.note_computed(B)
    assert fail(ledger, A, "b") == [True]


def test_after_a_failure_the_next_process_is_suspect(ledger):
    assert ledger.enter(A, "") == "sound"
    fail(ledger, A, "ab")
    assert ledger.enter(A, "") == "suspect"
    assert ledger.enter(B, "") == "sound"


def test_a_clip_in_hand_each_time_explains_the_failures(ledger):
    assert fail(ledger, A, "ab", "a", "a", "a") == [False] * 4
    assert fail(ledger, A, "b") == [True], "now no clip explains all"


def test_gray_frames_that_fail_ban_a_gpu_whatever_clips_were_there(ledger):
    assert fail(ledger, A, "a", "", "") == [False, False, True]


def test_the_last_gpu_is_banned_by_gray_frames_alone(ledger):
    fail(ledger, A, "", "", "")
    assert fail(ledger, B, "ab", "a", "b", "a", "b") == [False] * 5
    assert ledger.stop_reason() == ""
    assert fail(ledger, B, "") == [True]
    assert ledger.stop_reason().startswith("no GPU is left to compute on, 2 failed again and again: GPU 0 of node")
    assert "\n" not in ledger.stop_reason()
    assert ledger.advise_banned(is_busy=False) == "stop"


def test_a_gpu_that_may_still_come_is_another(clock):
    ledger = DeviceLedger(clock=clock)
    ledger.start_pass(1, 4)
    ledger.enter(A, "")
    assert fail(ledger, A, "", "", "")[-1]
    assert ledger.stop_reason() == ""
    assert ledger.advise_banned(is_busy=False) == "hand back", "the pool has no other GPU: another pass takes more"
    ledger.start_pass(2, 4)
    assert ledger.advise_banned(is_busy=False) == "wait", "the other GPU is to come"


def test_clips_are_handed_back_once_nothing_moves(ledger, clock):
    fail(ledger, A, "", "", "")
    clock.now = 20
    assert ledger.advise_banned(is_busy=False) == "wait", "no GPU has computed anything yet"
    ledger.note_computed(B)
    assert ledger.advise_banned(is_busy=True) == "wait"
    ledger.note_change()
    clock.now = 29.9
    assert ledger.advise_banned(is_busy=False) == "wait"
    clock.now = 30
    assert ledger.advise_banned(is_busy=False) == "hand back"


def test_a_process_that_loads_its_networks_is_waited_for_but_not_for_ever(ledger, clock):
    fail(ledger, A, "", "", "")
    ledger.note_computed(B)
    ledger.enter(B, "")
    clock.now = 599
    assert ledger.advise_banned(is_busy=False) == "wait"
    clock.now = 601
    assert ledger.advise_banned(is_busy=False) == "hand back"


def test_a_further_pass_waits_for_its_own_first_batch(ledger, clock):
    fail(ledger, A, "", "", "")
    ledger.note_computed(B)
    ledger.start_pass(2, 2)
    clock.now = 100
    assert ledger.advise_banned(is_busy=False) == "wait"


def test_a_second_process_on_a_banned_gpu_bans_nothing_twice(ledger):
    fail(ledger, A, "", "", "")
    assert fail(ledger, A, "c") == [True]
    assert sum("not used any more" in line for line in ledger.news) == 1


def test_gpus_of_earlier_passes_are_not_waited_for(ledger):
    """A further pass has one sound GPU beside a banned one; where that is banned too, yet another pass helps."""
    ledger.start_pass(4, 4)
    for gpu in ("third", "fourth"):
        ledger.enter(gpu, "")
        ledger.note_computed(gpu)
    fail(ledger, A, "", "", "")
    ledger.start_pass(2, 4)
    for gpu in (A, B):
        ledger.enter(gpu, "")
    assert ledger.advise_banned(is_busy=False) == "wait", "the other one may compute"
    fail(ledger, B, "", "", "")
    assert ledger.advise_banned(is_busy=False) == "hand back"


def test_a_ledger_without_gpus_stops_nothing():
    """So it is on CPUs, where all GPUs that there are, none, are banned."""
    ledger = DeviceLedger()
    ledger.start_pass(0, 0)
    assert ledger.stop_reason() == ""


def test_a_gpu_of_another_name_is_another_gpu_however_many_the_cluster_was_said_to_have(clock):
    """A node that went and one that came in its place: at any time there is one GPU, and two were seen."""
    ledger = DeviceLedger(clock=clock)
    ledger.start_pass(1, 1)
    ledger.enter(A, "")
    assert fail(ledger, A, "ab", "a", "b") == [False] * 3, "the last GPU is not banned for clips"
    ledger.enter(B, "")
    assert fail(ledger, A, "c") == [True], "now there is another"
    assert ledger.stop_reason() == ""
    assert fail(ledger, B, "ab", "a", "b") == [False] * 3


def test_a_process_that_died_while_it_loaded_its_networks_counts_and_is_not_waited_for(ledger, clock):
    fail(ledger, A, "", "", "")
    ledger.note_computed(B)
    ledger.enter(B, "")
    assert ledger.advise_banned(is_busy=False) == "wait"
    assert fail(ledger, B, "") == [False]
    assert ledger.enter(B, "") == "suspect"
    fail(ledger, B, "")
    clock.now = 10
    assert ledger.advise_banned(is_busy=False) == "hand back", "no process loads networks any more"


def test_a_failure_and_loaded_networks_are_movement(ledger, clock):
    fail(ledger, A, "", "", "")
    ledger.note_computed(B)
    clock.now = 9
    fail(ledger, B, "x")
    clock.now = 18
    assert ledger.advise_banned(is_busy=False) == "wait", "9 s after the failure"
    ledger.enter(B, "")
    ledger.note_ready(B)
    clock.now = 27
    assert ledger.advise_banned(is_busy=False) == "wait", "9 s after the networks were loaded"
    clock.now = 28
    assert ledger.advise_banned(is_busy=False) == "hand back"


def test_a_sound_gpu_that_gets_no_work_is_not_waited_for(ledger, monkeypatch):
    """A small job's few tasks may all have been sent to the GPU that was banned: nothing was ever computed."""
    now = [0.0]
    monkeypatch.setattr(ledger, "clock", lambda: now[0])
    ledger.start_pass(2, 2)
    for gpu in (A, B):
        ledger.enter(gpu, "")
        ledger.note_ready(gpu)
    fail(ledger, A, "", "", "")
    now[0] += ledger.idle_seconds
    assert ledger.advise_banned(is_busy=False) == "wait", "its first clips may be on their way"
    now[0] += 5 * ledger.idle_seconds
    assert ledger.advise_banned(is_busy=False) == "hand back"
