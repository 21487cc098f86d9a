"""Checks of the machine."""

import subprocess
import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest

from m3ray.commands import machine
from m3ray.tiers.backbones.weights import cache_folder

Usage = namedtuple("Usage", "total used free")


def test_a_python_that_is_too_old_is_missing(monkeypatch):
    (sound,) = machine.check_python()
    assert sound.status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 1))
    (old,) = machine.check_python()
    assert (old.status, old.essential) == ("missing", True)


def test_little_disk_and_little_shared_memory_are_warnings(monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: Usage(9e9, 8.9e9, 1e8))
    found = list(machine.check_disks())
    assert {finding.status for finding in found} == {"warning"}
    assert all(finding.mend for finding in found)


def test_temporary_files_that_cannot_be_written_are_essential(monkeypatch):
    (sound,) = machine.check_temporary_files()
    assert (sound.status, sound.essential) == ("ok", True)

    def refuse():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine.tempfile, "TemporaryFile", refuse)
    (finding,) = machine.check_temporary_files()
    assert (finding.status, finding.essential) == ("missing", True)
    assert "No space left on device" in finding.text
    assert "TMPDIR" in finding.mend


def test_few_open_files_name_the_command(monkeypatch):
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 8192))
    (finding,) = machine.check_limits()
    assert (finding.status, finding.mend) == ("warning", "ulimit -n 8192")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    assert next(machine.check_limits()).mend == "ulimit -n 65536"
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
    (finding,) = machine.check_limits()
    assert (finding.status, finding.mend) == ("warning", "in a container: docker run --ulimit nofile=65536")


def test_processors_and_memory():
    processors, memory = machine.check_processors()
    assert processors.status == "ok"
    assert "GB free" in memory.text


def fake_torch(monkeypatch, *, built, seen):
    properties = SimpleNamespace(name="H100", total_memory=80e9)
    cuda = SimpleNamespace(
        is_available=lambda: seen, device_count=lambda: 1, get_device_properties=lambda index: properties
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda=built)))


@pytest.mark.parametrize(
    ("built", "seen", "driver", "status", "text"),
    [
        ("13.0", True, [("H100", "580.1")], "ok", "H100, 80.0 GB, CUDA 13.0, driver 580.1"),
        (None, False, None, "ok", "none: networks are computed on processors"),
        (None, False, [("H100", "580.1")], "warning", "built for processors alone"),
        ("13.0", False, [("H100", "450.1")], "warning", "does not see it"),
    ],
)
def test_gpus_beside_what_the_driver_shows(monkeypatch, built, seen, driver, status, text):
    fake_torch(monkeypatch, built=built, seen=seen)
    monkeypatch.setattr(machine, "ask_driver", lambda: driver)
    (finding,) = machine.check_gpus()
    assert finding.status == status
    assert text in finding.text
    assert bool(finding.mend) == (status == "warning")


def test_the_driver_is_asked_and_may_fail(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda _: None)
    assert machine.ask_driver() is None
    monkeypatch.setattr(machine.shutil, "which", lambda _: "/bin/nvidia-smi")
    answer = SimpleNamespace(stdout="NVIDIA H100 80GB HBM3, 580.12\n")
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: answer)
    assert machine.ask_driver() == [("NVIDIA H100 80GB HBM3", "580.12")]

    def fail(*_, **__):
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(machine.subprocess, "run", fail)
    assert machine.ask_driver() is None


def test_the_cache_is_where_weights_are_put(monkeypatch, tmp_path):
    assert machine.find_cache() in (cache_folder(), *cache_folder().parents)
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "a" / "b"))
    assert machine.find_cache() in (cache_folder(), *cache_folder().parents)
    assert machine.nearest_folder(tmp_path / "a" / "b") == tmp_path
