"""The probe: what a task on each kind of node finds, and what follows from it. Ray's answers are given here; real Ray
with GPUs in name is in tests/cluster/test_fake_gpus.py.
"""

import pytest
import ray
from ray.exceptions import RayTaskError

from m3ray.console import LineKeeper
from m3ray.errors import DeviceError
from m3ray.pipelines.runtime import device_probe
from m3ray.pipelines.runtime.device_probe import (
    DeviceFacts,
    DeviceReport,
    combine_reports,
    inspect_device,
    probe_cpus,
    probe_gpus,
)
from m3ray.pipelines.runtime.node_kinds import Node

GIB = 1 << 30
L4 = DeviceReport(True, "NVIDIA L4", 22 * GIB, "8.9", "580.65", "13.0", True)
T4 = DeviceReport(False, "Tesla T4", 15 * GIB, "7.5", "580.65", "13.0", True)
A, B = Node("a", "10.0.0.1", "spot: 16 CPUs, 1 GPUs L4, 62 GiB"), Node("b", "10.0.0.2", "8 CPUs, 1 GPUs T4, 30 GiB")


def test_a_mixed_cluster_computes_in_what_all_its_kinds_have():
    assert combine_reports({"a": L4}) == DeviceFacts(True, 22 * GIB, True)
    assert combine_reports({"a": L4, "b": T4}) == DeviceFacts(False, 15 * GIB, True)
    assert not combine_reports({"a": L4, "b": DeviceReport(True, "NVIDIA L4", 22 * GIB)}).has_compiler


def test_a_report_is_one_line_of_all_that_decides():
    assert str(L4) == "NVIDIA L4, 22.0 GiB, compute capability 8.9, driver 580.65, CUDA 13.0, bfloat16"
    assert str(T4).endswith("CUDA 13.0, no bfloat16")


def test_the_driver_s_version_is_the_kernel_module_s(tmp_path):
    # Both forms that NVIDIA's modules print in /proc/driver/nvidia/version.
    for text, expected in {
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024": "550.54.15",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build": "580.65.06",
        "something else": "",
    }.items():
        (tmp_path / "version").write_text(text)
        assert device_probe._read_driver_version(tmp_path / "version") == expected
    assert device_probe._read_driver_version(tmp_path / "none") == ""


def test_a_cpu_is_inspected_without_a_look_at_gpus(monkeypatch):
    monkeypatch.setattr(device_probe, "find_gpu_problem", lambda: pytest.fail("looked for a GPU"))
    assert inspect_device(gpu=False).name == ""


def test_a_gpu_that_does_not_work_is_a_problem_and_no_report_of_a_cpu(monkeypatch):
    monkeypatch.setattr(device_probe, "find_gpu_problem", lambda: "and PyTorch cannot compute on it (no): mend it")
    assert inspect_device(gpu=True) == DeviceReport(False, problem="and PyTorch cannot compute on it (no): mend it")


def start(nodes, gpu):
    return {node.id: str(node) for node in nodes} or {"late": device_probe._ANY_NODE}


@pytest.fixture
def answers(monkeypatch):
    """`ray.wait` and `ray.get` that answer for tasks named after their nodes; a node in `late` never answers."""

    def give(reports, late=()):
        def wait(refs, num_returns, timeout):
            ready = [ref for ref in refs if ref not in late]
            return ready, [ref for ref in refs if ref in late]

        def get(ref):
            if isinstance(reports[ref], Exception):
                raise reports[ref]
            return ref, reports[ref]

        monkeypatch.setattr(device_probe.ray, "wait", wait)
        monkeypatch.setattr(device_probe.ray, "get", get)
        monkeypatch.setattr(device_probe.ray, "nodes", list)
        monkeypatch.setattr(device_probe.ray, "available_resources", dict)
        monkeypatch.setattr(device_probe.ray, "cancel", lambda *_, **__: None)
        monkeypatch.setattr(device_probe, "_start_probes", start)

    return give


def test_every_kind_is_asked_and_the_facts_say_what_they_are(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A, B])
    answers({"a": L4, "b": T4})
    facts = probe_gpus()
    assert facts == DeviceFacts(False, 15 * GIB, True)
    assert facts.description == f"{L4} on {A}; {T4} on {B}"


def test_a_gpu_without_cuda_ends_the_job_before_it_begins(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A, B])
    answers({"a": L4, "b": DeviceReport(False, problem="and PyTorch cannot compute on it (no): mend it")})
    with pytest.raises(DeviceError, match=r"Ray has a GPU on 10\.0\.0\.2 .* \(no\): mend it") as error:
        probe_gpus()
    assert error.value.exit_status == 2


def test_a_dry_run_starts_no_gpu_node(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", list)
    answers({})
    assert probe_gpus(wait=False) is None


def test_without_a_gpu_node_the_probe_waits_as_a_demand_and_says_so(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", list)
    monkeypatch.setattr(device_probe, "_REPORT_SECONDS", 0.0)
    late = {"late"}
    answers({"late": L4}, late)
    times = iter([0.0, 5.0, 10.0])

    def clock():
        now = next(times, 20.0)
        late.difference_update({"late"} if now >= 10 else ())
        return now

    monkeypatch.setattr(device_probe.time, "monotonic", clock)
    with LineKeeper() as log:
        assert probe_gpus() == DeviceFacts(True, 22 * GIB, True)
    assert "waiting for a GPU node: the cluster has none yet, and its autoscaler sees the demand" in log.lines[0]


def test_a_kind_whose_gpus_are_all_taken_is_not_waited_for_where_another_answered(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A, B])
    monkeypatch.setattr(device_probe, "_PATIENCE_SECONDS", 0.0)
    answers({"a": L4}, late={"b"})
    with LineKeeper() as log:
        assert probe_gpus() == DeviceFacts(True, 22 * GIB, True)
    assert f"{B} not asked, its devices are taken" in log.lines[0]


def test_where_m3ray_does_not_run_it_is_the_node_s_error(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A])
    answers({"a": RayTaskError("f", "ModuleNotFoundError: No module named 'm3ray'", ModuleNotFoundError("m3ray"))})
    with pytest.raises(DeviceError, match=r"does not run on 10\.0\.0\.1 .* install the same m3ray there"):
        probe_gpus()


def test_a_node_that_goes_is_a_line_and_another_is_waited_for(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A])
    answers({"a": ray.exceptions.NodeDiedError("gone"), "late": L4})
    with LineKeeper() as log:
        assert probe_gpus() == DeviceFacts(True, 22 * GIB, True)
    assert f"{A} did not answer" in log.lines[0]
    assert "every GPU node that was asked went" in log.lines[1]


def test_a_probe_whose_process_dies_each_time_is_an_error_and_no_endless_loop(answers, monkeypatch):
    """So it is where CUDA's library aborts; the node stays."""
    monkeypatch.setattr(device_probe, "_list_gpu_nodes", lambda: [A])
    waits = []
    monkeypatch.setattr(device_probe.time, "sleep", waits.append)
    died = ray.exceptions.WorkerCrashedError()
    answers({"a": died, "late": died})
    with pytest.raises(DeviceError, match=r"the process that tries a GPU died 6 times"):
        probe_gpus()
    assert len(waits) == 5


def test_while_its_process_starts_no_other_job_is_blamed(monkeypatch):
    monkeypatch.setattr(device_probe.ray, "available_resources", lambda: {"GPU": 1.0})
    assert device_probe._describe_wait(str(A)) == f"the process that tries the GPU on {A} to start"
    monkeypatch.setattr(device_probe.ray, "available_resources", lambda: {"GPU": 0.5})
    monkeypatch.setattr(device_probe.ray, "nodes", lambda: [{"Alive": True, "Resources": {"GPU": 1.0}}])
    assert "all are taken, by other jobs" in device_probe._describe_wait(str(A))


def test_cpus_of_all_kinds_decide_too(answers, monkeypatch):
    monkeypatch.setattr(device_probe, "list_usable_nodes", lambda _: [A, B])
    monkeypatch.setattr(device_probe.ray, "get_runtime_context", type("C", (), {"get_node_id": lambda _: "z"}))
    answers({"a": DeviceReport(True), "b": DeviceReport(False)})
    facts = probe_cpus()
    assert not facts.bfloat16
    assert facts.description == f"CPU without bfloat16 units on {B}; CPU with bfloat16 units on {A}"


def test_gpus_are_looked_for_on_nodes_that_live_and_have_one_one_node_a_kind(monkeypatch):
    def entry(node, alive=True, **resources):
        return {"NodeID": node, "NodeManagerAddress": f"10.0.0.{node}", "Alive": alive, "Resources": resources}

    entries = [
        entry("1", CPU=8.0),
        entry("2", alive=False, CPU=8.0, GPU=2.0),
        entry("3", CPU=8.0, GPU=1.0),
        entry("4", CPU=8.0, GPU=1.0),
        entry("5", GPU=4.0),
        entry("6", CPU=8.0, GPU=0.0),
    ]
    monkeypatch.setattr(device_probe.ray, "nodes", lambda: entries)
    assert [node.id for node in device_probe._list_gpu_nodes()] == ["5", "3"], "sorted by kind: 0 CPUs, 8 CPUs"


def test_cpus_that_are_all_taken_are_not_waited_for_and_the_driver_s_decide(answers, monkeypatch):
    """A limit holds though nobody answered; without one, as for GPUs, the first answer is waited for."""
    cancelled = []
    monkeypatch.setattr(device_probe, "list_usable_nodes", lambda _: [A, B])
    monkeypatch.setattr(device_probe, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(device_probe.ray, "get_runtime_context", type("C", (), {"get_node_id": lambda _: "z"}))
    monkeypatch.setattr(device_probe, "inspect_device", lambda gpu: DeviceReport(True))
    answers({}, late={"a", "b"})
    monkeypatch.setattr(device_probe.ray, "cancel", lambda ref, force: cancelled.append(ref))
    times = iter(range(1, 5))  # a clock that fails where it is looked at again and again
    monkeypatch.setattr(device_probe.time, "monotonic", lambda: next(times))
    with LineKeeper() as log:
        facts = probe_cpus()
    assert facts.description == "CPU with bfloat16 units on the driver's machine"
    assert sorted(cancelled) == ["a", "b"]
    assert "not asked, its devices are taken" in log.lines[0]
