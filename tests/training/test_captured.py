"""Steps that are recorded and replayed: by a stand-in here, on a GPU in tests/gpu/test_captured.py."""

import pytest
import torch

from m3ray.training.captured import WARM_UP, CapturedStep, capture_step


class Failing:
    def __init__(self):
        self.tried = 0

    def warm_up(self, step):
        step()

    def record(self, step):
        self.tried += 1
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be ...")


def test_a_step_that_cannot_be_captured_runs_as_it_comes():
    done, recorder = [], Failing()
    step = CapturedStep(lambda: done.append(0), recorder)
    for _ in range(WARM_UP):
        step()
    with pytest.warns(RuntimeWarning, match="runs uncaptured, and slower: operation not permitted .* capturing$"):
        step()
    step()
    assert len(done) == WARM_UP + 2, "each call is a step of the training"
    assert recorder.tried == 1


def test_nothing_is_captured_on_a_cpu():
    def step():
        pass

    assert capture_step(step, torch.device("cpu")) is step
