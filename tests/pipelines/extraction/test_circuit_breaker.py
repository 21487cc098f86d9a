"""When one clip is given up, when the job is paused, and when it stops: the breaker with a clock of its own."""

import pytest

from m3ray.pipelines.extraction.circuit_breaker import PROBE_SECONDS, CircuitBreaker, Decision

CLIP, OTHER = "s3://b/clip", "s3://b/other"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def fail(breaker, clock, times, max_attempts=2, uri=CLIP):
    """Faults of one clip, a second apart; the last decision."""
    for attempt in range(1, times + 1):
        decision = breaker.record_failure(uri, "403", attempt, max_attempts)
        clock.now += 1
    return decision


def test_a_clip_is_tried_again_before_others_are_looked_at(clock):
    assert fail(CircuitBreaker(300, clock=clock), clock, 4, max_attempts=5) == Decision("retry")


def test_a_clip_that_fails_while_others_are_read_is_given_up(clock):
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.record_success(OTHER, 0.1)  # begun after the first fault
    clock.now += 0.1
    assert breaker.record_failure(CLIP, "403", 2, 2).action == "give up"
    assert breaker.pause_state() is None


def test_what_began_before_the_fault_says_nothing_of_the_time_after_it(clock):
    """Rights are lost while a large clip is on its way: it arrives all the same."""
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.record_success(OTHER, 60.0)
    assert breaker.record_failure(CLIP, "403", 2, 2) == Decision("probe", OTHER), "that it was read once is asked again"


def test_one_clip_that_fails_alone_is_given_up_after_a_probe(clock):
    """A single worker, whose other clips are read: nobody else can say that the storage works."""
    breaker = CircuitBreaker(300, clock=clock)
    breaker.record_success(OTHER, 0.1)
    clock.now += 10
    assert fail(breaker, clock, 2) == Decision("probe", OTHER)
    assert breaker.record_probe(CLIP, None).action == "give up"


def test_where_nothing_is_read_the_job_is_paused_and_one_at_a_time_probes(clock):
    breaker = CircuitBreaker(300, clock=clock)
    breaker.record_success(OTHER, 0.1)
    clock.now += 10
    fail(breaker, clock, 2)
    assert breaker.record_probe(CLIP, "403 of the probe").action == "wait"
    assert breaker.pause_state() == (0.0, "403 of the probe")
    assert breaker.record_failure("s3://b/third", "403", 1, 2).action == "wait", (
        "no clip has attempts of its own meanwhile"
    )
    clock.now += PROBE_SECONDS
    assert [breaker.poll().action for _ in range(3)] == ["probe", "wait", "wait"]
    clock.now += PROBE_SECONDS
    assert breaker.poll() == Decision("probe", OTHER)
    assert breaker.record_probe(CLIP, None) == Decision("retry")
    assert breaker.pause_state() is None
    assert breaker.poll() == Decision("retry"), "all others go on too"


def test_after_a_pause_a_clip_has_all_its_attempts_again(clock):
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 2)
    breaker.record_success(OTHER, 0.0)
    assert breaker.record_failure(CLIP, "503", 1, 5) == Decision("retry")


def test_what_was_on_its_way_ends_no_pause(clock):
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 2)
    breaker.record_success(OTHER, 60.0)
    assert breaker.pause_state() is not None
    breaker.record_success(OTHER, 0.5)
    assert breaker.pause_state() is None


def test_where_nothing_was_ever_read_each_probes_by_its_own(clock):
    breaker = CircuitBreaker(300, clock=clock)
    assert fail(breaker, clock, 2).action == "wait"
    clock.now += PROBE_SECONDS
    assert breaker.poll() == Decision("probe", "")


def test_the_job_stops_after_its_seconds(clock):
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 2)
    began = clock.now
    decisions = []
    while not decisions or decisions[-1].action != "stop":
        clock.now += 1
        decisions.append(breaker.poll())
        if decisions[-1].action == "probe":
            breaker.record_probe(CLIP, "403 AccessDenied on s3://b/clip")
    assert clock.now - began == pytest.approx(300, abs=2)
    assert "Nothing was rejected" in decisions[-1].detail
    assert breaker.stop_reason == decisions[-1].detail
    assert 95 <= sum(decision.action == "probe" for decision in decisions) <= 100, "one every 3 s, whoever waits"


def test_a_writer_is_never_sent_on(clock):
    """Others' shards that were written do not write this one."""
    breaker = CircuitBreaker(300, may_give_up=False, clock=clock)
    fail(breaker, clock, 1)
    breaker.record_success(OTHER, 0.0)
    assert breaker.record_failure(CLIP, "ENOSPC", 2, 2).action == "wait"
    clock.now += PROBE_SECONDS
    assert breaker.poll() == Decision("probe", "")


def test_nothing_is_kept_of_what_went_well(clock):
    breaker = CircuitBreaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.record_success(CLIP, 0.1)
    assert breaker._last_failures == {}
