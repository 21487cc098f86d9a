"""A worker's part of a finetuning, without Ray Train: what it reads, evaluates and keeps."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from m3ray.errors import M3RayError
from m3ray.pipelines.finetuning import worker as module
from m3ray.pipelines.finetuning.frame_stage import FRAMES
from m3ray.pipelines.finetuning.worker import Worker
from m3ray.training.finetuning.sampler import ClipSampler
from m3ray.training.finetuning.spec import RefitSpec, TrainingHistory

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
        layout=SimpleNamespace(micro_batch=2),
        config=SimpleNamespace(checkpoint_minutes=15.0),
        refit=None,
    )
    made.rank, made.workers, made.device = 0, 1, torch.device("cpu")
    made.matrix, made.refit, made.trainer, made.history = MATRIX.copy(), {}, Trainer(), TrainingHistory()
    made.streams = {
        "train": [batch([0, 1], first=0), batch([2, 3], first=2)],
        "means": [batch([0, 1], first=0), batch([2, 3, 3], first=2, mask=[True, True, False])],
        "evaluated": [batch([5, 4, 5], first=0, mask=[True, True, False])],
    }
    shard = lambda name: SimpleNamespace(iter_batches=lambda **_: iter(made.streams[name]))  # noqa: E731
    monkeypatch.setattr(module.train, "get_dataset_shard", shard)
    return made


def batch(rows, first, mask=None):
    frames = [np.full((2, 2, 2, 3), row, np.uint8) for row in rows]
    columns = {
        "index": list(range(first, first + len(rows))),
        "row": rows,
        "mask": mask or [True] * len(rows),
        "frames": [f.tobytes() for f in frames],
        "shape": [list(f.shape) for f in frames],
    }
    return module.pa.table(columns, schema=FRAMES)


def test_a_micro_batch_has_the_rows_of_its_clips(worker):
    first, second = worker._iterate_clips("train")
    assert first.positions.tolist() == [0, 1]
    assert first.rows.tolist() == MATRIX[:2].tolist()
    np.testing.assert_allclose(second.scores, [0.3, 0.4])
    assert [int(frames[0, 0, 0, 0]) for frames in second.frames] == [2, 3]


def test_what_was_trained_on_is_passed_over_and_a_gap_is_an_error(worker):
    (left,) = worker._iterate_clips("train", first=2)
    assert left.positions.tolist() == [2, 3]
    del worker.streams["train"][0]
    with pytest.raises(M3RayError, match="the stream begins at index 2 instead of 0: clips would be left out"):
        next(worker._iterate_clips("train"))


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
