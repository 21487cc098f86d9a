"""Clips in worker processes: one that kills its worker is given up after a few, and takes no other with it."""

from collections import Counter

import pytest
import ray.exceptions

from m3ray.errors import M3RayError, WeightsError
from m3ray.pipelines.scoring import worker_pool
from m3ray.pipelines.scoring.worker_pool import RayWorkers, WorkerLostError, _Team, compute_clips


class FakeWorkers:
    """Workers that answer at once, but for clips that kill them and openings that fail."""

    def __init__(self, deadly=(), fails_to_open=0, error=None, large=()):
        self.deadly, self.fails_to_open, self.error = set(deadly), fails_to_open, error
        self.large, self.at_once = set(large), []
        self.started = self.stopped = 0
        self.most_at_once = 0
        self.tries = Counter()

    def start(self):
        self.started += 1
        return self.started

    def submit(self, worker, clip):
        self.tries[clip] += 1
        return (worker, clip, self.tries[clip])

    def wait(self, calls):
        self.most_at_once = max(self.most_at_once, len(calls))
        self.at_once.append(len(calls))
        if any(clip in self.large for _, clip, _ in calls):  # Ray ends several at once
            return calls
        return calls[:1]

    def take(self, worker, call):
        if self.fails_to_open:
            self.fails_to_open -= 1
            raise WorkerLostError("exit code 9", opened=False)
        if self.error is not None:
            raise self.error
        if call[1] in self.deadly:
            raise WorkerLostError("exit code 11", opened=True)
        if self.large and self.most_at_once > 1 and self.at_once[-1] > 1:
            raise WorkerLostError("memory", opened=True, lacks_memory=True)
        return call[1].upper()

    def stop(self, worker):
        self.stopped += 1


def give_up(clip, reason):
    return f"{clip}: {reason}"


def run(workers, clips="abcdef", count=2):
    return sorted(compute_clips(workers, list(clips), count, 3, give_up))


def test_every_clip_has_one_result_and_workers_are_used_again_and_ended():
    workers = FakeWorkers()
    assert run(workers) == ["A", "B", "C", "D", "E", "F"]
    assert (workers.started, workers.stopped, workers.most_at_once) == (2, 2, 2)


def test_a_clip_that_kills_its_worker_is_given_up_after_three_and_no_other_is_lost():
    workers = FakeWorkers(deadly="b")
    assert run(workers) == ["A", "C", "D", "E", "F", "b: its worker died 3 times: exit code 11"]
    assert workers.tries == Counter({"b": 3, **dict.fromkeys("acdef", 1)})
    assert workers.started == 3, "at its later deaths another worker was idle"


def test_many_deadly_clips_end_too():
    assert len(run(FakeWorkers(deadly="abcdef"))) == 6


def test_a_worker_that_dies_as_it_opens_the_bundle_is_not_the_clip_s_fault():
    workers = FakeWorkers(fails_to_open=2)
    assert run(workers) == ["A", "B", "C", "D", "E", "F"]
    with pytest.raises(M3RayError, match="3 workers in a row died as they opened the bundle"):
        run(FakeWorkers(fails_to_open=3))


def test_where_memory_ran_out_fewer_workers_go_on_so_that_clips_have_more_of_it():
    """Two clips too large for each other would die together until both are given up."""
    workers = FakeWorkers(large="ab")
    assert run(workers, "ab") == ["A", "B"]
    assert workers.at_once == [2, 1, 1]
    assert run(FakeWorkers(large="a"), "abcdefgh", count=4) == list("ABCDEFGH")


def test_lack_of_memory_beside_others_is_counted_to_no_clip_and_to_no_bundle(monkeypatch):
    """Eight workers that die one by one, each time another: the last alone has its three tries."""
    for opened in (True, False):
        workers, together = FakeWorkers(), []

        def take(_, call, opened=opened, workers=workers, together=together):
            together.append(workers.at_once[-1])
            if together[-1] > 1:
                raise WorkerLostError("memory", opened=opened, lacks_memory=True)
            return call[1].upper()

        monkeypatch.setattr(workers, "take", take)
        assert run(workers, "abcdefgh", count=8) == list("ABCDEFGH")
        assert together == [8, 7, 6, 5, 4, 3, 2, *[1] * 8]


def test_a_clip_that_memory_does_not_suffice_for_alone_is_given_up(monkeypatch):
    workers = FakeWorkers()

    def take(_, call):
        if call[1] == "a":
            raise WorkerLostError("memory", opened=True, lacks_memory=True)
        return call[1].upper()

    monkeypatch.setattr(workers, "take", take)
    assert run(workers, "abcd", count=2) == ["B", "C", "D", "a: its worker died 3 times: memory"]
    assert workers.tries["a"] == 4, "once beside another"


def test_where_fewer_workers_go_on_the_idle_ones_end_and_free_their_memory():
    workers = FakeWorkers()
    team = _Team(workers)
    busy, idle = team.hire(), team.hire()
    team.idle.append(idle)
    team.shrink(1)
    assert (team.alive, team.idle, workers.stopped) == ([busy], [], 1)
    team.shrink(0)
    assert team.alive == [busy], "who works is not ended"


def test_an_error_that_is_not_of_a_clip_ends_the_work_and_the_workers():
    workers = FakeWorkers(error=WeightsError("no weights"))
    with pytest.raises(WeightsError, match="no weights"):
        run(workers)
    assert workers.stopped == 2


def test_nothing_to_do_starts_nothing():
    workers = FakeWorkers()
    assert run(workers, clips="") == []
    assert workers.started == 0


class FakeRay:
    """`ray.get` of what is at hand: a value, or an exception to raise."""

    def __init__(self):
        self.killed = []

    def get(self, value):
        if isinstance(value, Exception):
            raise value
        return value

    def kill(self, worker):
        self.killed.append(worker)


@pytest.fixture
def ray_workers(monkeypatch):
    fake = FakeRay()
    monkeypatch.setattr(worker_pool.ray, "get", fake.get)
    monkeypatch.setattr(worker_pool.ray, "kill", fake.kill)
    workers = RayWorkers.__new__(RayWorkers)
    workers._opening = {"w": None}
    return workers, fake


def test_ray_s_errors_say_whether_the_bundle_was_open(ray_workers):
    workers, fake = ray_workers
    assert workers.take("w", 5) == 5
    died = ray.exceptions.RayActorError(error_msg="The actor died.\nWorker exits with code 11.")
    with pytest.raises(WorkerLostError, match=r"^Worker exits with code 11$") as caught:
        workers.take("w", died)
    assert caught.value.opened
    workers._opening = {"w": died}
    with pytest.raises(WorkerLostError) as caught:
        workers.take("w", 5)
    assert not caught.value.opened
    assert fake.killed == ["w", "w"], "where one only does not answer"


_LACK = (
    "Task was killed due to the node running low on memory.\n"
    "Memory on the node (IP: 192.0.2.2, ID: 4cf9) where the lease (W.__init__) was running was 3.1GB / 4.0GB (0.97).\n"
    "To disable worker killing, set the environment variable `RAY_memory_monitor_refresh_ms` to zero."
)


@pytest.mark.parametrize(
    ("error", "text", "lacks_memory"),
    [
        (ray.exceptions.OutOfMemoryError(_LACK), "the machine ran low on memory, and Ray ended it", True),
        (ray.exceptions.NodeDiedError("The node is dead."), "its machine was lost (NodeDiedError)", False),
        (ray.exceptions.WorkerCrashedError(), "no more is known", False),
        (ray.exceptions.ObjectLostError("0a", None, ""), "its machine was lost (ObjectLostError)", False),
        (ray.exceptions.ActorUnavailableError("Worker exits.", None), "Worker exits", False),
    ],
)
def test_whatever_ray_says_of_a_lost_worker_ends_no_other_clip(ray_workers, error, text, lacks_memory):
    workers, fake = ray_workers
    with pytest.raises(WorkerLostError) as caught:
        workers.take("w", error)
    assert text in str(caught.value)
    assert (caught.value.opened, caught.value.lacks_memory, fake.killed) == (True, lacks_memory, ["w"])
    workers._opening = {"w": error}
    with pytest.raises(WorkerLostError) as caught:
        workers.take("w", 5)
    assert not caught.value.opened


def test_a_clip_that_runs_out_of_memory_is_given_up_and_told(ray_workers, monkeypatch):
    workers, _ = ray_workers
    monkeypatch.setattr(workers, "start", lambda: "w")
    monkeypatch.setattr(
        workers, "submit", lambda _, clip: ray.exceptions.OutOfMemoryError(_LACK) if clip == "b" else clip.upper()
    )
    monkeypatch.setattr(workers, "wait", lambda calls: calls[:1])
    assert run(workers, "abc", count=1) == [
        "A",
        "C",
        "b: its worker died 3 times: the machine ran low on memory, and Ray ended it",
    ]


def test_a_worker_that_no_machine_can_hold_ends_the_work(ray_workers):
    workers, _ = ray_workers
    with pytest.raises(ray.exceptions.ActorUnschedulableError):
        workers.take("w", ray.exceptions.ActorUnschedulableError("no node"))
