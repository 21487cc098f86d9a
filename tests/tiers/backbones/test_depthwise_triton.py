"""The depthwise convolution in Triton against the plain one, by Triton's interpreter, which computes it on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def compare():
    """Run in a process of its own, as Triton reads its environment when it is imported."""
    import torch
    from convolution_works import KINDS, make_work

    from m3ray.tiers.backbones.convolution_ways import compute_plainly
    from m3ray.tiers.backbones.depthwise_triton import convolve

    for kind in KINDS:
        work = make_work(**kind)
        how = {"shortcut": work.shortcut, "has_relu": work.has_relu}
        found = convolve(work.x, work.weight, work.settings.stride[0], work.bias, **how)
        torch.testing.assert_close(found, compute_plainly(work), rtol=1e-4, atol=1e-5)


@pytest.mark.integration  # the interpreter is slow
def test_its_numbers_are_the_plain_one_s():
    pytest.importorskip("triton")
    tests = Path(__file__).parents[2]
    paths = os.pathsep.join(str(folder) for folder in (Path(__file__).parent, tests, tests.parent))
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-c", "import test_depthwise_triton; test_depthwise_triton.compare()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
