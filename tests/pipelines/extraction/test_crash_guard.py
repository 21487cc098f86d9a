"""Clips that kill the process that computes them. The ledger is called as an actor would be, without Ray."""

from dataclasses import dataclass

import pytest
from ledgers import Handle

from m3ray.pipelines.extraction import crash_guard
from m3ray.pipelines.extraction.crash_guard import CrashGuard, Ledger
from m3ray.pipelines.extraction.device_faults import DeviceFaultError

HERE, GONE = "node-1", "node-2"


@dataclass(frozen=True)
class Item:
    row_id: str


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
    guarded = CrashGuard(
        Handle(ledger), "tier", 3, lambda clip, record: f"{clip.row_id} given up after {record.deaths}"
    )
    return guarded, ledger, context


def deadly(poison, log):
    def compute(items):
        log.append([item.row_id for item in items])
        if poison in log[-1]:
            raise Died
        return [item.row_id.upper() for item in items]

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


# GPUs that fail: the process says so before it dies.


FIRST, SECOND = "node-1:0", "node-1:1"


@pytest.fixture
def on_gpu(guard):
    """From a GPU to a guard of a process on it."""
    guarded, ledger, _ = guard
    ledger.devices.start_pass(2, 2)
    for gpu in (FIRST, SECOND):
        ledger.devices.enter(gpu, gpu)
    return lambda gpu: CrashGuard(guarded.ledger, "tier", 3, guarded.reject, gpu), ledger


def failing(ledger, log, gpu, fails):
    def compute(items):
        names = [item.row_id for item in items]
        log.append(names)
        if fails(names):
            raise DeviceFaultError("CUDA error: misaligned address")
        ledger.devices.note_computed(gpu)
        return [name.upper() for name in names]

    return compute


def run_until_done(guard, ledger, gpu, items, fails, log):
    """As Ray: in new processes until the task returns, or the GPU is banned."""
    for _ in range(20):
        try:
            return guard(gpu).run(items, failing(ledger, log, gpu, fails))
        except DeviceFaultError:
            if ledger.devices.is_banned(gpu):
                return None
    raise AssertionError("never ended")


ITEMS = [Item(name) for name in "abcd"]


def test_a_gpu_that_failed_once_costs_nothing_but_time(on_gpu):
    guard, ledger = on_gpu
    log = []
    assert run_until_done(guard, ledger, FIRST, ITEMS, lambda _: len(log) == 1, log) == list("ABCD")
    assert log == [list("abcd"), ["a"], ["b"], ["c"], ["d"]]
    assert (ledger.in_progress, ledger.devices.count_banned()) == ({}, 0)
    assert all(record.deaths == 0 for record in ledger.suspects.values()), "it is no crash of the clips"


def test_a_gpu_that_always_fails_is_banned_and_its_clips_are_free(on_gpu):
    guard, ledger = on_gpu
    log = []
    assert run_until_done(guard, ledger, FIRST, ITEMS, lambda _: True, log) is None
    assert log == [list("abcd"), ["a"], ["b"]], "the one with the fewest deaths comes first"
    assert all(record.deaths == 0 for record in ledger.suspects.values())
    assert run_until_done(guard, ledger, SECOND, ITEMS, lambda _: False, []) == list("ABCD")


def test_a_clip_that_kills_a_sound_gpu_s_process_is_given_up_and_no_gpu_is_banned(on_gpu):
    guard, ledger = on_gpu
    log = []
    results = run_until_done(guard, ledger, FIRST, ITEMS, lambda names: "a" in names, log)
    assert results == ["a given up after 3", "B", "C", "D"]
    assert log.count(["a"]) == 3, "alone each time; the batch is not counted"
    assert [log.count([name]) for name in "bcd"] == [1, 1, 1]
    assert ledger.devices.count_banned() == 0


def test_a_lone_clip_that_kills_its_process_is_given_up_where_nothing_else_is_to_compute(on_gpu):
    guard, ledger = on_gpu
    assert run_until_done(guard, ledger, FIRST, ITEMS[:1], lambda _: True, []) == ["a given up after 3"]
    assert ledger.devices.count_banned() == 0


def test_two_such_clips_and_nothing_else_cost_one_gpu_at_most(on_gpu):
    """The first GPU is suspected; the last one is not banned for what clips do that gray frames do not."""
    guard, ledger = on_gpu
    pair = ITEMS[:2]
    assert run_until_done(guard, ledger, FIRST, pair, lambda _: True, []) is None
    results = run_until_done(guard, ledger, SECOND, pair, lambda _: True, [])
    assert results == ["a given up after 3", "b given up after 3"]
    assert ledger.devices.count_banned() == 1


@pytest.mark.parametrize(("stage", "seconds"), [("tier", 600), ("decode", 60)])
def test_what_is_in_hand_keeps_nobody_waiting_for_ever(monkeypatch, stage, seconds):
    """A dead process's clips lie with the banned GPU's own, which waits; decoded frames wait for a tier actor."""
    now, ledger = [0.0], Ledger()
    monkeypatch.setattr(crash_guard.time, "monotonic", lambda: now[0])
    asked = []
    monkeypatch.setattr(ledger.devices, "advise_banned", lambda *, is_busy: asked.append(is_busy))
    ledger.begin([f"{stage}:a"], "n")
    for now[0] in (seconds - 1.0, seconds + 1.0):
        ledger.advise_banned()
    assert asked == [True, False]


def stream(guarded, items, dies):
    """A decoding task: each clip has two results; None if its process died."""

    def compute(item):
        if dies(item.row_id):
            raise Died
        yield from (item.row_id + "1", item.row_id + "2")

    try:
        return list(guarded.stream(items, compute))
    except Died:
        return None


def test_a_decoding_task_tells_the_ledger_twice_however_many_clips_it_has(guard, monkeypatch):
    guarded, ledger, _ = guard
    calls = []
    for name in ("begin", "end", "begin_alone"):
        method = getattr(ledger, name)
        monkeypatch.setattr(ledger, name, lambda *args, method=method, name=name: calls.append(name) or method(*args))
    results = stream(guarded, [Item(name) for name in "abcdefgh"], lambda _: False)
    assert results == [f"{name}{k}" for name in "abcdefgh" for k in (1, 2)]
    assert calls == ["begin", "end"]
    assert (ledger.in_progress, ledger.count_completed()) == ({}, 8)


def test_a_clip_that_kills_its_decoding_process_is_given_up_and_the_others_have_their_results(guard):
    guarded, ledger, _ = guard
    items, tries = [Item(name) for name in "apz"], 0
    while (results := stream(guarded, items, lambda name: name == "p")) is None:
        tries += 1
    assert tries == 3
    assert sorted(results) == ["a1", "a2", "p given up after 3", "z1", "z2"]
    assert ledger.in_progress == {}
    assert all(record.result is None for record in ledger.suspects.values()), "frames are not kept"


def test_results_keep_their_places_whichever_clip_the_process_dies_of_next(guard):
    """Ray takes from a repeated task what comes after as many results as it has already."""
    guarded, _, _ = guard
    items, taken = [Item(name) for name in "abcd"], []
    for deadly_clip in ("c", "a", "b", ""):

        def compute(item, deadly_clip=deadly_clip):
            if item.row_id == deadly_clip:
                raise Died
            yield from (item.row_id + "1", item.row_id + "2")

        try:
            for place, result in enumerate(guarded.stream(items, compute)):
                taken[place : place + 1] = [result] if place >= len(taken) else [taken[place]]
        except Died:
            continue
    assert taken == ["a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2"]


def test_without_a_ledger_clips_are_decoded_one_after_the_other():
    guard = CrashGuard(None, "decode", 3, lambda clip, record: "")
    assert list(guard.stream([Item("a"), Item("b")], lambda item: iter([item.row_id] * 2))) == ["a", "a", "b", "b"]
