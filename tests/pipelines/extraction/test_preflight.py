"""Preflight checks of the workers, with answers that are given: no cluster."""

from dataclasses import replace

import pyarrow as pa
import pytest

from m3ray.config import ComputeConfig
from m3ray.console import LineKeeper
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction import preflight
from m3ray.pipelines.extraction.worker_checks import (
    CheckResult,
    WorkerCheck,
)
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.device_probe import DeviceFacts
from m3ray.pipelines.runtime.node_kinds import Node
from m3ray.video.access import AccessFailure, ReadProbe

NODE = Node("n", "10.0.0.7", "16 CPUs, 1 GPUs L4, 62 GiB")


DENIED = AccessFailure("read", "s3://clips/a.mp4", "AccessDenied", "Access Denied")


def answer_with(monkeypatch, own, results, node=NODE):
    """`check_workers` with answers that are given."""
    monkeypatch.setattr(preflight, "_start_checks", lambda _: {})
    monkeypatch.setattr(preflight, "_collect_results", lambda *_: results)
    monkeypatch.setattr(WorkerCheck, "probe_reads", lambda _: own)


def test_a_driver_without_rights_is_a_line(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    answer_with(monkeypatch, (ReadProbe(failure=DENIED),), {NODE: CheckResult((ReadProbe("s3://clips/a.mp4"),))})
    with LineKeeper() as log:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    (line,) = log.lines
    assert "preflight: the driver cannot read s3://clips/a.mp4: 403 AccessDenied" in line
    assert "though the workers can: the job goes on" in line
    assert "give the driver's role s3:GetObject on arn:aws:s3:::clips/*" in line


def test_a_node_that_answers_late_finds_what_the_driver_wrote(monkeypatch, tmp_path):
    """The file that the first nodes looked for is gone when it is asked at its first clip."""
    from m3ray.storage.root import Root

    root, sent = Root(str(tmp_path)), []
    root.write_bytes(b"rows", "catalogue.parquet")
    answer_with(monkeypatch, (ReadProbe("s3://clips/a.mp4"),), {})
    monkeypatch.setattr(preflight, "send_check", sent.append)
    preflight.check_workers(root, pa.chunked_array([["s3://clips/a.mp4"]]))
    monkeypatch.undo()
    assert replace(sent[0].check, locations=()).run().is_shared
    assert not replace(sent[0].check, locations=(), root=str(tmp_path / "elsewhere")).run().is_shared


def test_kinds_that_refuse_are_counted(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    other = Node("m", "10.0.0.8", "8 CPUs, 30 GiB")
    result = CheckResult((ReadProbe(failure=DENIED),))
    answer_with(monkeypatch, (ReadProbe("s3://clips/a.mp4"),), {NODE: result, other: result})
    with pytest.raises(ConfigError, match=r"of 10\.0\.0\.7 .*; 1 more kinds of nodes likewise$") as error:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    assert error.value.exit_status == 2
    assert list((tmp_path / "runs").iterdir()) == [], "the driver's own file is deleted"


def test_a_child_that_can_reach_the_network_is_said(monkeypatch, tmp_path):
    from m3ray.storage.root import Root

    exposed = CheckResult(
        (ReadProbe("s3://clips/a.mp4"),), isolation_obstacle="EPERM: set sysctl user.max_user_namespaces to 10000"
    )
    answer_with(monkeypatch, (ReadProbe("s3://clips/a.mp4"),), {NODE: exposed})
    with LineKeeper() as log:
        preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([["s3://clips/a.mp4"]]))
    (line,) = log.lines
    assert (
        "preflight: on 10.0.0.7 (16 CPUs, 1 GPUs L4, 62 GiB) the decoding child can reach the network: unshare is "
        "refused there (EPERM: set sysctl user.max_user_namespaces to 10000)" in line
    )


def test_where_nothing_is_to_be_read_nothing_is_asked(monkeypatch, tmp_path):
    """A finished root goes on though its videos are gone."""
    from m3ray.storage.root import Root

    answer_with(monkeypatch, None, None)
    assert preflight.check_workers(Root(str(tmp_path)), pa.chunked_array([[]], pa.string())) == {}


GIB = 1 << 30


@pytest.mark.parametrize(
    ("resources", "compute", "precision", "message"),
    [
        (Resources(4, 0), ComputeConfig(compile=True), "auto", "compile is for GPUs, and the cluster has none"),
        (Resources(4, 0), ComputeConfig(raw_device="cuda"), "auto", "the cluster has no GPU"),
        (Resources(4, 0), ComputeConfig(), "tf32", "tf32 is for GPUs, and the cluster has none"),
        (Resources(4, 2, 2), ComputeConfig(actors=3), "auto", "2 GPUs take 2: ask for no more"),
        (Resources(4, 2, 2, DeviceFacts(True, 80 * GIB)), ComputeConfig(actors=5), "auto", "2 GPUs take 4"),
        (Resources(4, 2, 2, DeviceFacts(True, GIB)), ComputeConfig(compile=True), "auto", "no C compiler or no Triton"),
    ],
)
def test_an_option_that_the_devices_cannot_carry_out_is_rejected(resources, compute, precision, message):
    with pytest.raises(ConfigError, match=message):
        preflight.check_devices(resources, compute, precision)


@pytest.mark.parametrize(
    ("resources", "compute", "precision", "line"),
    [
        (Resources(4, 0), ComputeConfig(), "bfloat16", "preflight: 4 CPUs, no GPU: tiers run on the CPU"),
        (Resources(4, 8, 2), ComputeConfig(), "tf32", "8 GPUs (2 now, the others as the cluster grows)"),
        (Resources(4, 2, 2, DeviceFacts(True, GIB, True)), ComputeConfig(compile=True), "auto", "4 CPUs, 2 GPUs"),
        (Resources(4, 2, 0), ComputeConfig(actors=9), "auto", "2 GPUs (0 now"),
    ],
)
def test_where_tiers_run_is_a_line(resources, compute, precision, line):
    with LineKeeper() as log:
        preflight.check_devices(resources, compute, precision)
    assert line in log.lines[0]
