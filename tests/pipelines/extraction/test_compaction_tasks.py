"""Where compaction's calls run. No Ray runs here; `tests/integration/test_compaction.py` has a task that is killed."""

import os

import pytest

from m3ray.pipelines.extraction import compaction_tasks
from m3ray.pipelines.extraction.compaction_tasks import count_slots, run_in_tasks

GIB = 1 << 30


def node(cpus, memory, *, alive=True):
    return {"Alive": alive, "Resources": {"CPU": cpus, "memory": memory * GIB, "GPU": 1.0}}


@pytest.mark.parametrize(
    ("nodes", "slots"),
    [
        ([node(2.0, 16.0)], 2),
        ([node(16.0, 5.0)], 2),
        ([node(0.5, 16.0), node(4.0, 1.9)], 0),
        ([node(4.0, 16.0), node(4.0, 16.0, alive=False)], 4),
        ([{"Alive": True, "Resources": {}}], 0),
    ],
    ids=["a CPU each", "2 GiB each", "none has both", "one is gone", "a head without CPUs"],
)
def test_tasks_at_once_are_what_living_nodes_hold(nodes, slots):
    assert count_slots(nodes) == slots


def ids_of_processes(count):
    return set(run_in_tasks(lambda _: os.getpid(), list(range(count))))


def test_everything_runs_here_where_there_is_no_ray(monkeypatch):
    monkeypatch.setattr(compaction_tasks.ray, "is_initialized", lambda: False)
    assert ids_of_processes(100) == {os.getpid()}
    assert ids_of_processes(0) == set()


@pytest.mark.parametrize(("items", "cpus", "tasks"), [(2, 8.0, 0), (3, 8.0, 3), (3, 1.0, 0)])
def test_few_merges_and_small_clusters_pay_for_no_task(monkeypatch, items, cpus, tasks):
    """Two seconds of a task's start are more than the driver takes for five shards."""
    started = []
    monkeypatch.setattr(compaction_tasks.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(compaction_tasks.ray, "nodes", lambda: [node(cpus, 64.0)])
    monkeypatch.setattr(compaction_tasks, "_run_tasks", lambda _, items, slots: started.extend(items) or [])
    list(run_in_tasks(str, list(range(items))))
    assert len(started) == tasks
