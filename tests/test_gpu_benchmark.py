"""benchmarks/gpu.py: parts that fail, hang or crash take no other along; what was measured is kept; tables and JSON."""

import ast
import importlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import gpu
import gpu_part
import pytest
import torch
from gpu import PARTS, Part, Reporter, choose_parts, judge_exit, read_records, run_parts, share_time
from gpu_part import PartRun, count_operations, measure_seconds, note_failure
from gpu_sampler import parse_samples
from gpu_tables import SMALL, collect_tables, render_cell, render_part, render_table

TOP = Path(__file__).parents[1]
MACHINE = {"device": "a card", "small": False, "torch": "2", "cuda": "13"}

ROW = 'file.write(json.dumps({"part": number, "kind": "row", "table": "T", "row": {"s": 1.0}}) + chr(10)); file.flush()'
SCRIPTS = {
    "fine": ROW,
    "raises": f"{ROW}; print('before'); raise ValueError('wrong number')",
    "crashes": f"{ROW}; os.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": f"{ROW}; time.sleep(600)",
    "skipped": "print('skipped: no Ray'); sys.exit(77)",
    "cut in a line": "file.write('{\"part\": '); file.flush(); os.kill(os.getpid(), signal.SIGKILL)",
}


def make_command(part, seconds, results):
    start = f"import json, os, signal, sys, time; number = {part.number}; file = open({str(results)!r}, 'a')"
    return [sys.executable, "-c", f"{start}; {SCRIPTS[part.title]}"]


def run_scripts(titles, tmp_path, seconds, on_end=lambda *_: None):
    parts = [Part(number, title, "none", 1) for number, title in enumerate(titles, 1)]
    return run_parts(parts, seconds, tmp_path / "results.jsonl", on_end, make_command)


def test_each_part_ends_in_its_own_way_and_the_next_ones_run(tmp_path):
    done = run_scripts(["raises", "crashes", "skipped", "fine"], tmp_path, 60)
    assert [(part["status"], part["reason"]) for part in done] == [
        ("failed", "with exit status 1: ValueError: wrong number"),
        ("failed", "by SIGSEGV"),
        ("skipped", "no Ray"),
        ("done", ""),
    ]
    assert [part["tables"] for part in done] == [{"T": [{"s": 1.0}]}] * 2 + [{}] + [{"T": [{"s": 1.0}]}]


def test_a_part_that_hangs_is_ended_at_its_limit_and_keeps_what_it_measured(tmp_path):
    start = time.monotonic()
    hung, fine = run_scripts(["hangs", "fine"], tmp_path, 8)
    assert time.monotonic() - start < 10
    assert hung["status"] == "cut off"
    assert hung["tables"] == {"T": [{"s": 1.0}]}
    assert fine["status"] == "done"


def test_what_a_part_leaves_goes_to_the_next_ones(tmp_path):
    first, second = run_scripts(["fine", "fine"], tmp_path, 60)
    assert first["limit"] == pytest.approx(30, abs=1)
    assert second["limit"] > 55


def test_a_line_that_was_cut_off_spoils_none_of_the_others(tmp_path):
    (tmp_path / "results.jsonl").write_text("")
    cut, fine = run_scripts(["cut in a line", "fine"], tmp_path, 60)
    assert cut["reason"] == "by SIGKILL"
    assert fine["tables"] == {"T": [{"s": 1.0}]}


def test_time_is_shared_out_by_weight_and_none_is_negative():
    parts = [Part(1, "a", "a", 1), Part(2, "b", "b", 3)]
    assert share_time(parts, 100) == 25
    assert share_time(parts[1:], 80) == 80
    assert share_time(parts, -3) == 0


@pytest.mark.parametrize("session", [False, True], ids=["in its group", "in a session of its own, as Ray's"])
def test_what_a_part_has_started_ends_with_it(tmp_path, session):
    script = (
        "import pathlib, subprocess, sys, time;"
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session={session});"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid)); time.sleep(60)"
    )
    with (tmp_path / "log").open("w+") as log:
        assert gpu.run_process([sys.executable, "-c", script], 2, log)[0] == "cut off"
    state = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    deadline = time.monotonic() + 5
    while state.exists() and state.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().split()[2] == "Z"


def test_the_json_file_holds_all_parts_that_have_ended(tmp_path, capsys):
    file, seen = tmp_path / "folder" / "gpu.json", []
    reporter = Reporter(7.5, file)

    def report(part, machine):
        reporter(part, machine)
        seen.append(json.loads(file.read_text()))

    run_scripts(["fine", "raises"], tmp_path, 60, report)
    assert [[part["number"] for part in content["parts"]] for content in seen] == [[1], [1, 2]]
    assert seen[1]["parts"][0]["tables"] == {"T": [{"s": 1.0}]}
    assert seen[1]["minutes"] == 7.5
    assert "## 2. raises" in capsys.readouterr().out


def test_parts_are_picked_by_number():
    assert [part.number for part in choose_parts("3,1")] == [1, 3]
    assert choose_parts("") == list(PARTS)
    with pytest.raises(SystemExit, match="there is no part 12"):
        choose_parts("3,12")


def test_exit_statuses_in_words():
    assert judge_exit(0, "any") == ("done", "")
    assert judge_exit(-9, "") == ("failed", "by SIGKILL")
    assert judge_exit(1, "a\nb") == ("failed", "with exit status 1: b")


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.module)
def test_each_part_has_its_module(part):
    tree = ast.parse((TOP / "benchmarks" / f"{part.module}.py").read_text())
    assert "measure" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert part.number == PARTS.index(part) + 1


# Records and time within a part.


def test_a_part_reads_its_own_rows_and_those_of_the_parts_before_it(tmp_path):
    file = tmp_path / "results.jsonl"
    PartRun(1, file, 10).add("Peaks", **{"GB/s": 3.0})
    later = PartRun(2, file, 10, read_records(file))
    later.add("Peaks", **{"GB/s": 4.0})
    assert later.rows("Peaks") == [{"GB/s": 3.0}, {"GB/s": 4.0}]
    assert collect_tables(read_records(file)) == {"Peaks": [{"GB/s": 3.0}, {"GB/s": 4.0}]}


def test_what_there_is_no_time_for_is_noted(tmp_path):
    run = PartRun(1, tmp_path / "results.jsonl", 5)
    assert run.has_time(1, "short")
    assert not run.has_time(60, "long")
    assert [record["text"] for record in read_records(run.file)] == ["left out for want of time: long"]


def test_a_measurement_that_fails_is_noted_and_counted(tmp_path):
    run = PartRun(1, tmp_path / "results.jsonl", 5)
    with note_failure(run, "conv"):
        raise ValueError("no such\nshape")
    with note_failure(run, "batch 16"):
        raise torch.OutOfMemoryError("memory")
    assert run.failures == 1
    assert [record["text"] for record in read_records(run.file)] == [
        "conv failed: ValueError: no such shape",
        "batch 16 does not fit the device's memory: OutOfMemoryError: memory",
    ]
    with pytest.raises(ModuleNotFoundError), note_failure(run, "import"):
        raise ModuleNotFoundError("no ray", name="ray")


def test_views_are_no_operations():
    x = torch.zeros(4, 4)
    assert count_operations(lambda: (x + 1).flatten()[2:].mul_(2)) == 2


def test_the_median_of_calls_is_measured(monkeypatch):
    monkeypatch.setattr(gpu_part, "SMALL", False)
    monkeypatch.setattr(gpu_part, "DEVICE", torch.device("cpu"))
    naps = iter([0, 0, 0.01, 0.01, 0.2, 0.01, 0.01])
    assert measure_seconds(lambda: time.sleep(next(naps)), least=0, fewest=5) == pytest.approx(0.01, abs=0.008)


def test_samples_of_nvidia_smi():
    assert parse_samples("0, 1024\n100, 2048\n50, 512\n[N/A], 3\n7") == (0.5, 2.0)
    assert parse_samples("") == (None, None)


def test_the_stage_whose_workers_are_busiest_limits(monkeypatch):
    extraction = importlib.import_module("gpu_extraction")
    monkeypatch.setattr(extraction, "CORES", 4)
    monkeypatch.setattr(extraction, "ACTORS", 2)
    assert extraction.share_of_workers({"decode": 20.0, "raw": 4.0, "event": 8.0}, 10.0) == {
        "decode": 0.5,
        "tiers": 0.6,
    }


# Tables.


def test_a_table_has_all_columns_in_order_and_dashes_where_a_row_has_none():
    assert render_table([{"way": "a", "ms": 1.5}, {"way": "b|c", "GB/s": 1234.5}]) == [
        "| way | ms | GB/s |",
        "| --- | --- | --- |",
        "| a | 1.50 | - |",
        "| b\\|c | - | 1,234 |",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (12345, "12,345"),
        (0.0, "0"),
        (0.01234, "0.012"),
        (3.14159, "3.14"),
        (31.4159, "31.4"),
        (2.6e-4, "2.6e-04"),
        (3.2e9, "3.2e+09"),
        (math.nan, "not a number"),
    ],
)
def test_numbers_have_three_digits(value, shown):
    assert render_cell(value) == shown


def test_every_table_says_which_card_and_which_day_or_that_it_is_of_no_gpu():
    part = {"number": 1, "title": "Card", "status": "done", "reason": "", "seconds": 1.0, "limit": 2.0, "notes": ["so"]}
    part["tables"] = {"A": [{"s": 1.0}], "B": [{"s": 2.0}]}
    text = render_part(part, MACHINE, "2026-11-26")
    assert text.count("(a card, torch 2, 2026-11-26)") == 2
    assert "- so" in text
    assert render_part(part, MACHINE | {"small": True}, "2026-11-26").count(SMALL) == 2


# The ways to compute a depthwise convolution, against PyTorch's own.


def make_depthwise(shape, stride, dtype=torch.float32):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype).to(memory_format=torch.channels_last_3d)
    w = torch.randn(shape[1], 1, 3, 3, 3, dtype=dtype, requires_grad=True)
    out = torch.nn.functional.conv3d(x, w, stride=stride, padding=1, groups=shape[1])
    slope = torch.randn(out.shape, dtype=dtype).to(memory_format=torch.channels_last_3d)
    return x, w.detach(), slope, out.detach(), torch.autograd.grad(out, w, slope)[0]


@pytest.mark.parametrize(("shape", "stride"), [((2, 3, 5, 6, 7), 1), ((1, 4, 5, 7, 8), 2)])
def test_three_planes_are_a_depthwise_convolution(shape, stride):
    x, w, _, out, _ = make_depthwise(shape, stride)
    found = importlib.import_module("gpu_depthwise").convolve_planes(x, w, stride)
    torch.testing.assert_close(found, out, rtol=1e-4, atol=1e-5)


COMPARE = """
import gpu_triton, torch
from test_gpu_benchmark import make_depthwise
gpu_triton.STEPS = 2
for shape, stride in (((2, 3, 2, 5, 4), 1), ((1, 65, 3, 4, 5), 2)):
    x, w, slope, out, gradient = make_depthwise(shape, stride)
    torch.testing.assert_close(gpu_triton.convolve(x, w, stride), out, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gpu_triton.weight_gradient(x, slope, stride), gradient, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.integration  # Triton's interpreter, which computes kernels on the CPU, is slow
def test_triton_s_kernels_are_a_depthwise_convolution():
    pytest.importorskip("triton")
    paths = os.pathsep.join(str(TOP / folder) for folder in ("tests", "benchmarks", "."))
    # Triton reads the variable when it is imported, so it takes a process of its own.
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", COMPARE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_csn_s_shapes_are_those_of_the_network():
    """Reference: the depthwise convolutions of CSN-152 itself, on the meta device."""
    from m3ray.tiers.backbones import ip_csn_152

    depthwise = importlib.import_module("gpu_depthwise")
    found = []
    with torch.device("meta"), torch.no_grad():
        network = ip_csn_152().eval()
        for module in network.modules():
            if isinstance(module, torch.nn.Conv3d) and module.groups > 1:
                module.register_forward_hook(lambda m, x, _: found.append((tuple(x[0].shape), m.stride[0])))
        network(torch.empty(depthwise.BATCH, 3, depthwise.FRAMES, depthwise.SIZE, depthwise.SIZE))
    listed = [(layer.shape, layer.stride) for layer in depthwise.list_layers() for _ in range(layer.layers)]
    assert listed == found


# As a user starts it.


@pytest.mark.integration
def test_without_ray_the_parts_that_need_it_are_skipped_and_say_so(tmp_path, monkeypatch):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise ModuleNotFoundError('no ray here', name='ray')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, str(TOP / "benchmarks" / "gpu.py"), "--only", "6,7,8,9", "--minutes", "3"]
    done = subprocess.run([*command, "--json", str(tmp_path / "o.json")], check=False, cwd=tmp_path)
    parts = json.loads((tmp_path / "o.json").read_text())["parts"]
    assert [(part["status"], part["reason"]) for part in parts] == [("skipped", "no Ray")] * 4
    assert done.returncode == 0


@pytest.mark.integration
@pytest.mark.skipif(torch.cuda.is_available(), reason="here it would measure the GPU")
def test_a_part_runs_on_the_cpu_and_says_that_it_is_small(tmp_path):
    command = [sys.executable, str(TOP / "benchmarks" / "gpu.py"), "--only", "1", "--minutes", "1"]
    done = subprocess.run([*command, "--json", str(tmp_path / "o.json")], capture_output=True, text=True, check=True)
    assert done.stdout.count(f"({SMALL}; ") == 3
    content = json.loads((tmp_path / "o.json").read_text())
    assert content["machine"]["small"]
    assert content["parts"][0]["tables"]["Copies"][0]["GB/s"] > 0
