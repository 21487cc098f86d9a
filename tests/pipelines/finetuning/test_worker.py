"""A worker's part of a finetuning, without Ray Train: what it reads, evaluates and keeps."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_finetuning import FAST, PretendedDevice, small_model

from m3ray.config import SimilarityConfig, TrainConfig
from m3ray.errors import M3RayError
from m3ray.pipelines.finetuning import worker as module
from m3ray.pipelines.finetuning.frame_stage import FRAMES
from m3ray.pipelines.finetuning.worker import Worker
from m3ray.training.finetuning.feed import DeviceFeed
from m3ray.training.finetuning.sampler import ClipSampler, StepLayout
from m3ray.training.finetuning.spec import RefitSpec, StepClock, TrainingHistory
from m3ray.training.finetuning.trainer import FinetuneTrainer

MATRIX = np.arange(12, dtype=np.float32).reshape(6, 2)


class Trainer:
    """Its only network gives the mean grey of a clip, its score a tenth of that."""

    step_number = 3

    def vectors(self, clips):
        grey = torch.stack([frames.float().mean() for frames in clips.frames])
        return {"scene": grey[:, None]}, grey / 10


@pytest.fixture
def worker(monkeypatch):
    """The one worker of a training on clips 0 to 3, evaluated on clips 4 (val) and 5 (test); clip k is of grey k."""
    made: Any = Worker.__new__(Worker)
    made.spec = SimpleNamespace(
        matrix=MATRIX,
        scores=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32),
        train=np.arange(4),
        evaluated=np.array([4, 5]),
        val=1,
        columns={"scene": np.array([1])},
        sampler=ClipSampler(4, 2),
        layout=StepLayout(workers=1, micro_batch=2, accumulation_steps=1),
        config=SimpleNamespace(checkpoint_minutes=15.0, size=2, epochs=1),
        refit=None,
    )
    made.rank, made.workers, made.device = 0, 1, torch.device("cpu")
    made.feed = DeviceFeed(made.device)
    made.matrix, made.refit, made.trainer, made.history = MATRIX.copy(), {}, Trainer(), TrainingHistory()
    made.streams = {
        "train": [batch([0, 1], first=0), batch([2, 3], first=2)],
        "means": [batch([0, 1], first=0), batch([2, 3, 3], first=2, mask=[True, True, False])],
        "evaluated": [batch([5, 4, 5], first=0, mask=[True, True, False])],
    }
    shard = lambda name: SimpleNamespace(iter_batches=lambda **_: iter(made.streams[name]))  # noqa: E731
    monkeypatch.setattr(module.train, "get_dataset_shard", shard)
    return made


def batch(rows, first, mask=None, empty=()):
    frames = [np.full((2, 2, 2, 3), row, np.uint8) for row in rows]
    columns = {
        "index": list(range(first, first + len(rows))),
        "row": rows,
        "mask": mask or [True] * len(rows),
        "frames": [None if k in empty else f.tobytes() for k, f in enumerate(frames)],
        "shape": [None if k in empty else list(f.shape) for k, f in enumerate(frames)],
    }
    return module.pa.table(columns, schema=FRAMES)


def test_a_micro_batch_has_what_belongs_to_its_clips(worker):
    first, second = map(worker._look_up_rows, worker._read_parts("train"))
    assert first.positions.tolist() == [0, 1]
    assert first.rows.tolist() == MATRIX[:2].tolist()
    np.testing.assert_allclose(second.scores, [0.3, 0.4])
    assert [int(frames[0, 0, 0, 0]) for frames in second.frames] == [2, 3]


def test_what_was_trained_on_is_passed_over_and_a_gap_is_an_error(worker):
    (left,) = worker._read_parts("train", first=2)
    assert left.positions.tolist() == [2, 3]
    del worker.streams["train"][0]
    with pytest.raises(M3RayError, match="the stream goes on at index 2 instead of 0: clips would be left out"):
        next(worker._read_parts("train"))


def test_a_block_out_of_its_turn_is_an_error(worker):
    """Which clips count, and where they are in the loss, rests on the order of the blocks."""
    worker.streams["evaluated"] = [batch([4, 5], first=0), batch([4, 5], first=4)]
    with pytest.raises(M3RayError, match="goes on at index 4 instead of 2"):
        worker._evaluate()


def test_empty_places_are_left_out_and_a_worker_without_a_clip_takes_the_step(worker):
    worker.spec.layout = StepLayout(workers=2, micro_batch=2, accumulation_steps=1)
    worker.rank, worker.workers = 1, 2
    worker.streams["train"] = [
        batch([2, 0], first=2, mask=[True, False], empty=[1]),
        batch([0, 0], first=6, mask=[False, False], empty=[0, 1]),
    ]
    partly, blank = worker._read_parts("train")
    assert (partly.positions.tolist(), partly.mask.tolist()) == ([2], [1.0])
    assert blank.mask.tolist() == [0.0]
    assert [tuple(frames.shape) for frames in blank.frames] == [(1, 2, 2, 3)], "as little as a step can be taken on"
    worker.streams["means"] = worker.streams["train"]
    assert [part.positions.tolist() for part in worker._read_parts("means")] == [[2]]


def test_a_worker_without_a_clip_of_val_evaluates_with_the_others(worker, monkeypatch):
    worker.streams["evaluated"] = [batch([4, 4], first=0, mask=[False, False], empty=[0, 1])]
    others = (np.array([4, 5]), np.array([0.4, 0.5]))
    monkeypatch.setattr(module, "all_gather_objects", lambda own, _: [own, others])
    np.testing.assert_allclose(worker._evaluate()[1], [0.4, 0.5])


def test_rows_are_looked_up_when_a_step_begins(worker, monkeypatch):
    """On a GPU a step's frames are read while the epoch before it ends, which changes the matrix."""
    seen = []

    def send_all_at_once(steps):
        yield from list(steps)

    monkeypatch.setattr(worker.feed, "send", send_all_at_once)
    monkeypatch.setattr(worker, "_step", lambda parts: (seen.append(parts[0].rows.tolist()), worker.matrix.fill(7)))
    monkeypatch.setattr(worker, "_finish", lambda: None)
    worker.clock, worker.trainer.step_number = StepClock(), 0
    worker.run()
    assert seen == [MATRIX[:2].tolist(), [[7.0, 7.0]] * 2]


@pytest.fixture
def pretended(worker, monkeypatch):
    """The same worker with real networks, small ones, on a pretended device: 11 columns, similarity two of them."""
    mode = PretendedDevice()
    spec = worker.spec
    spec.columns = {"scene": np.arange(1, 5), "event": np.arange(5, 9)}
    spec.refit = RefitSpec(SimilarityConfig(measure="fractional_mean"), np.array([9, 10]), [[]] * 4)
    spec.steps = 4
    worker.matrix = np.zeros((6, 11), np.float32)
    worker.device, worker.feed = mode.device, DeviceFeed(mode.device)
    worker.trainer = FinetuneTrainer(
        small_model().to(mode.device), FAST, TrainConfig(), 2, layout=spec.layout, gather=lambda values: values
    )
    rows = {"rows": np.ones((6, 2), np.float32)}
    fitted = SimpleNamespace(fitted=SimpleNamespace(to_bytes=lambda: (b"", b"")), rows=rows["rows"])
    fitted.mean = fitted.deviation = np.ones(2, np.float32)
    monkeypatch.setattr(module, "refit_similarity", lambda *_: fitted)
    monkeypatch.setattr(worker, "_save_checkpoint", lambda *_: None)
    monkeypatch.setattr(module, "METRICS", {"mae": lambda predicted, truth: np.abs(predicted - truth).mean()})
    monkeypatch.setattr(module, "_copy_state", lambda _: {})
    worker.history.metrics = {"mae": []}
    worker.clock, worker.last_good_state = StepClock(), {}
    return worker, mode


def test_an_epoch_mixes_no_devices(pretended):
    """Steps, evaluation, vectors for a refit and mean vectors; A3 of issue 20 crashed after the first epoch."""
    worker, mode = pretended
    with mode:
        worker.run()
    assert worker.trainer.step_number == 2
    assert len(worker.history.metrics["mae"]) == 1
    assert worker.matrix[:, 9:].tolist() == [[1.0, 1.0]] * 6
    # A wait a step, one a network and stream of the refit, one for the evaluation, one a network for its mean.
    assert mode.crossings["waits"] == 2 + 2 * 2 + 1 + 2


def test_each_evaluated_clip_counts_once_in_the_order_of_the_spec(worker, monkeypatch):
    monkeypatch.setattr(module, "METRICS", {"mae": lambda predicted, truth: np.abs(predicted - truth).mean()})
    metrics, predictions = worker._evaluate()
    np.testing.assert_allclose(predictions, [0.4, 0.5], atol=1e-6)
    assert metrics["mae"] == pytest.approx(0.1), "of the val clip alone: 0.4 for 0.5"


def test_a_mean_vector_leaves_out_what_fills_a_step(worker):
    np.testing.assert_allclose(worker._mean_vectors()["scene"], [1.5])


def test_vectors_of_all_clips_stand_in_their_rows(worker):
    np.testing.assert_allclose(worker._compute_vectors()["scene"].ravel(), [0, 1, 2, 3, 4, 5])


def test_similarity_that_is_fitted_anew_replaces_its_columns(worker, monkeypatch):
    worker._refit()
    assert worker.refit == {}, "it stays as it was fitted"
    worker.spec.refit = RefitSpec("config", np.array([0]), [[]] * 4)
    rows = np.full((6, 1), 9.0, np.float32)
    fitted = SimpleNamespace(to_bytes=lambda: (b"tensors", b"text"))
    result = SimpleNamespace(fitted=fitted, rows=rows, mean=np.zeros(1, np.float32), deviation=np.ones(1, np.float32))
    monkeypatch.setattr(module, "refit_similarity", lambda *_: result)
    worker._refit()
    assert worker.matrix[:, 0].tolist() == [9.0] * 6
    assert worker.matrix[:, 1].tolist() == MATRIX[:, 1].tolist()
    assert set(worker.refit) == {module.REFIT, module.REFIT_TEXT, module.REFIT_ROWS}


def test_ray_sees_numbers_of_an_epoch_without_any(worker):
    worker.history.metrics = {"spearman": [0.3, float("nan")], "mse": []}
    assert worker._tune_metrics() == {"val_spearman": -1.0, "val_mse": -1.0, "epoch": 0, "step": 3}


@pytest.mark.parametrize(("minutes", "due"), [(14.9, False), (15.1, True)])
def test_a_checkpoint_is_due_after_the_minutes_of_the_settings(worker, minutes, due):
    worker.clock = SimpleNamespace(seconds_since_checkpoint=lambda: 60 * minutes)
    assert worker._is_checkpoint_due() is due
