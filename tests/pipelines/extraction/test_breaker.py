"""When one clip is given up, when the job is paused, and when it stops: the breaker with a clock of its own."""

import pytest

from m3ray.pipelines.extraction.breaker import PROBE_SECONDS, Breaker, Order

CLIP, OTHER = "s3://b/clip", "s3://b/other"


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def fail(breaker, clock, times, most=2, uri=CLIP):
    """Faults of one clip, a second apart; the last order."""
    for attempt in range(1, times + 1):
        order = breaker.failed(uri, "403", attempt, most)
        clock.now += 1
    return order


def test_a_clip_is_tried_again_before_others_are_looked_at(clock):
    assert fail(Breaker(300, clock=clock), clock, 4, most=5) == Order("again")


def test_a_clip_that_fails_while_others_are_read_is_given_up(clock):
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.worked(OTHER, 0.1)  # begun after the first fault
    clock.now += 0.1
    assert breaker.failed(CLIP, "403", 2, 2).deed == "give up"
    assert breaker.state() is None


def test_what_began_before_the_fault_says_nothing_of_the_time_after_it(clock):
    """Rights are lost while a large clip is on its way: it arrives all the same."""
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.worked(OTHER, 60.0)
    assert breaker.failed(CLIP, "403", 2, 2) == Order("probe", OTHER), "that it was read once is asked again"


def test_one_clip_that_fails_alone_is_given_up_after_a_probe(clock):
    """A single worker, whose other clips are read: nobody else can say that the storage works."""
    breaker = Breaker(300, clock=clock)
    breaker.worked(OTHER, 0.1)
    clock.now += 10
    assert fail(breaker, clock, 2) == Order("probe", OTHER)
    assert breaker.probed(CLIP, None).deed == "give up"


def test_where_nothing_is_read_the_job_is_paused_and_one_at_a_time_probes(clock):
    breaker = Breaker(300, clock=clock)
    breaker.worked(OTHER, 0.1)
    clock.now += 10
    fail(breaker, clock, 2)
    assert breaker.probed(CLIP, "403 of the probe").deed == "wait"
    assert breaker.state() == (0.0, "403 of the probe")
    assert breaker.failed("s3://b/third", "403", 1, 2).deed == "wait", "no clip has attempts of its own meanwhile"
    clock.now += PROBE_SECONDS
    assert [breaker.waiting().deed for _ in range(3)] == ["probe", "wait", "wait"]
    clock.now += PROBE_SECONDS
    assert breaker.waiting() == Order("probe", OTHER)
    assert breaker.probed(CLIP, None) == Order("again")
    assert breaker.state() is None
    assert breaker.waiting() == Order("again"), "all others go on too"


def test_after_a_pause_a_clip_has_all_its_attempts_again(clock):
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 2)
    breaker.worked(OTHER, 0.0)
    assert breaker.failed(CLIP, "503", 1, 5) == Order("again")


def test_what_was_on_its_way_ends_no_pause(clock):
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 2)
    breaker.worked(OTHER, 60.0)
    assert breaker.state() is not None
    breaker.worked(OTHER, 0.5)
    assert breaker.state() is None


def test_where_nothing_was_ever_read_each_probes_by_its_own(clock):
    breaker = Breaker(300, clock=clock)
    assert fail(breaker, clock, 2).deed == "wait"
    clock.now += PROBE_SECONDS
    assert breaker.waiting() == Order("probe", "")


def test_the_job_stops_after_its_seconds(clock):
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 2)
    began = clock.now
    deeds = []
    while not deeds or deeds[-1].deed != "stop":
        clock.now += 1
        deeds.append(breaker.waiting())
        if deeds[-1].deed == "probe":
            breaker.probed(CLIP, "403 AccessDenied on s3://b/clip")
    assert clock.now - began == pytest.approx(300, abs=2)
    assert "Nothing was rejected" in deeds[-1].text
    assert breaker.stopped == deeds[-1].text
    assert 95 <= sum(order.deed == "probe" for order in deeds) <= 100, "one every 3 s, whoever waits"


def test_a_writer_is_never_sent_on(clock):
    """Others' shards that were written do not write this one."""
    breaker = Breaker(300, spares=False, clock=clock)
    fail(breaker, clock, 1)
    breaker.worked(OTHER, 0.0)
    assert breaker.failed(CLIP, "ENOSPC", 2, 2).deed == "wait"
    clock.now += PROBE_SECONDS
    assert breaker.waiting() == Order("probe", "")


def test_nothing_is_kept_of_what_went_well(clock):
    breaker = Breaker(300, clock=clock)
    fail(breaker, clock, 1)
    breaker.worked(CLIP, 0.1)
    assert breaker._before == {}
