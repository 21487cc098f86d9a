"""Clips that kill the process that computes them. The ledger is called as an actor would be, without Ray."""

from dataclasses import dataclass

import pytest
from ledgers import Handle

from m3ray.pipelines.extraction import crash_guard
from m3ray.pipelines.extraction.crash_guard import CrashGuard, Ledger

HERE, GONE = "node-1", "node-2"


@dataclass(frozen=True)
class Item:
    clip_id: str


class Died(BaseException):
    """Stands for a process that dies: nothing catches it, and nothing after it runs."""


@pytest.fixture
def guard(monkeypatch):
    monkeypatch.setattr(crash_guard.ray, "get", lambda value: value)
    monkeypatch.setattr(
        crash_guard.ray, "nodes", lambda: [{"NodeID": HERE, "Alive": True}, {"NodeID": GONE, "Alive": False}]
    )

    class Context:
        node = HERE

        def get_node_id(self):
            return self.node

    context = Context()
    monkeypatch.setattr(crash_guard.ray, "get_runtime_context", lambda: context)
    ledger = Ledger()
    guarded = CrashGuard(Handle(ledger), "tier", 3, lambda clip, count: f"{clip.clip_id} given up after {count}")
    return guarded, ledger, context


def deadly(poison, log):
    def compute(items):
        log.append([item.clip_id for item in items])
        if poison in log[-1]:
            raise Died
        return [item.clip_id.upper() for item in items]

    return compute


def attempts(guard, items, compute, most=10):
    """As Ray: again and again until the task returns."""
    for attempt in range(1, most + 1):
        try:
            return guard.run(items, compute), attempt
        except Died:
            continue
    raise AssertionError("never ended")


def test_without_deaths_nothing_is_kept(guard):
    guarded, ledger, _ = guard
    log = []
    assert guarded.run([Item("a"), Item("b")], deadly(None, log)) == ["A", "B"]
    assert (ledger.in_progress, ledger.suspects, log) == ({}, {}, [["a", "b"]])


def test_poison_is_given_up_and_its_neighbours_are_computed_once_more(guard):
    guarded, ledger, _ = guard
    log = []
    results, taken = attempts(guarded, [Item(name) for name in "abcd"], deadly("c", log))
    assert results == ["A", "B", "c given up after 3", "D"]
    assert taken == 4, "three deaths, then the answer"
    assert log[0] == ["a", "b", "c", "d"]
    assert all(len(group) == 1 for group in log[1:]), "suspects are computed alone"
    for name in "abd":
        assert log[1:].count([name]) == 1, "a neighbour's result is kept when the next suspect kills the task"
    assert log.count(["c"]) == 2
    assert ledger.in_progress == {}


def test_a_lost_node_is_no_strike(guard):
    guarded, ledger, context = guard
    log = []
    for _ in range(5):
        context.node = GONE
        with pytest.raises(Died):
            guarded.run([Item("a")], deadly("a", log))
    context.node = HERE
    assert guarded.run([Item("a")], deadly(None, log)) == ["A"]
    assert ledger.suspects == {}


def test_one_chance_death_leaves_the_clip_its_result(guard):
    guarded, _, _ = guard
    log = []
    with pytest.raises(Died):
        guarded.run([Item("a")], deadly("a", log))
    assert guarded.run([Item("a")], deadly(None, log)) == ["A"]


def test_stages_are_told_apart(guard):
    guarded, ledger, _ = guard
    with pytest.raises(Died):
        guarded.run([Item("a")], deadly("a", []))
    other = CrashGuard(guarded.ledger, "decode", 3, lambda *_: "given up")
    assert other.run([Item("a")], deadly(None, [])) == ["A"]
    assert set(ledger.in_progress) == {"tier:a"}
