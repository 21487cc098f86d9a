"""Clips that kill the process that computes them. The ledger is called as an actor would be, without Ray."""

from dataclasses import dataclass

import pytest
from ledgers import Handle

from m3ray.pipelines.extraction import crash_guard
from m3ray.pipelines.extraction.crash_guard import Guard, Ledger

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
    made = Guard(Handle(ledger), "tier", 3, lambda clip, count: f"{clip.clip_id} given up after {count}")
    return made, ledger, context


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
            return guard.results(items, compute), attempt
        except Died:
            continue
    raise AssertionError("never ended")


def test_without_deaths_nothing_is_kept(guard):
    made, ledger, _ = guard
    log = []
    assert made.results([Item("a"), Item("b")], deadly(None, log)) == ["A", "B"]
    assert (ledger.running, ledger.suspects, log) == ({}, {}, [["a", "b"]])


def test_poison_is_given_up_and_its_neighbours_are_computed_once_more(guard):
    made, ledger, _ = guard
    log = []
    results, taken = attempts(made, [Item(name) for name in "abcd"], deadly("c", log))
    assert results == ["A", "B", "c given up after 3", "D"]
    assert taken == 4, "three deaths, then the answer"
    assert log[0] == ["a", "b", "c", "d"]
    assert all(len(group) == 1 for group in log[1:]), "suspects are computed alone"
    for name in "abd":
        assert log[1:].count([name]) == 1, "a neighbour's result is kept when the next suspect kills the task"
    assert log.count(["c"]) == 2
    assert ledger.running == {}


def test_a_lost_node_is_no_strike(guard):
    made, ledger, context = guard
    log = []
    for _ in range(5):
        context.node = GONE
        with pytest.raises(Died):
            made.results([Item("a")], deadly("a", log))
    context.node = HERE
    assert made.results([Item("a")], deadly(None, log)) == ["A"]
    assert ledger.suspects == {}


def test_one_chance_death_leaves_the_clip_its_result(guard):
    made, _, _ = guard
    log = []
    with pytest.raises(Died):
        made.results([Item("a")], deadly("a", log))
    assert made.results([Item("a")], deadly(None, log)) == ["A"]


def test_stages_are_told_apart(guard):
    made, ledger, _ = guard
    with pytest.raises(Died):
        made.results([Item("a")], deadly("a", []))
    other = Guard(made.ledger, "decode", 3, lambda *_: "given up")
    assert other.results([Item("a")], deadly(None, [])) == ["A"]
    assert set(ledger.running) == {"tier:a"}
