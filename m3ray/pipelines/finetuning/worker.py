"""A worker of a finetuning under Ray Train: steps, evaluation after each epoch, checkpoints."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray import train
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.torch import get_device
from safetensors.numpy import load, save, save_file
from torch.nn.parallel import DistributedDataParallel

from m3ray.errors import M3RayError
from m3ray.model.metrics import METRICS
from m3ray.pipelines.finetuning.checkpoints import checkpoint_name
from m3ray.training.finetuning.checkpoint import load_state, save_state
from m3ray.training.finetuning.collectives import all_gather, all_gather_objects, broadcast_object
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.sampler import group_micro_batches
from m3ray.training.finetuning.similarity_refit import refit_similarity
from m3ray.training.finetuning.spec import (
    OUTCOME,
    PROGRESS,
    REFIT,
    REFIT_ROWS,
    REFIT_TEXT,
    FinetuneSpec,
    StepClock,
    TrainingHistory,
    build_model,
)
from m3ray.training.finetuning.trainer import DivergedError, FinetuneTrainer, MicroBatch


def work_loop(config: dict[str, Any]) -> None:
    """Train from the latest checkpoint to the end; rank 0 keeps the outcome.

    Args:
        config: `spec`: reference to the `FinetuneSpec` in the object store.
    """
    Worker(ray.get(config["spec"])).run()


class Worker:
    """One worker, which computes its part of each step.

    Args:
        spec: What every worker is given.
    """

    def __init__(self, spec: FinetuneSpec) -> None:
        context = train.get_context()
        self.spec, self.rank, self.workers = spec, context.get_world_rank(), context.get_world_size()
        self.device = get_device()
        if self.device.type == "cpu":
            # Ray gives a worker of one CPU a single thread.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        self.trainer = self._make_trainer()
        self.history, self.clock = TrainingHistory(), StepClock()
        self.matrix = np.array(self.spec.matrix)
        self.refit: dict[str, bytes] = {}
        self.predictions: np.ndarray | None = None
        self._resume()
        self.last_good_state = _copy_state(self.trainer.ema_model)

    def _make_trainer(self) -> FinetuneTrainer:
        spec = self.spec
        model = build_model(spec).to(self.device)
        if self.workers == 1:
            return FinetuneTrainer(model, spec.config, spec.training, spec.steps)
        devices = [self.device] if self.device.type == "cuda" else None
        distributed_model = DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)
        return FinetuneTrainer(
            model,
            spec.config,
            spec.training,
            spec.steps,
            distributed_model=distributed_model,
            gather=all_gather,
            workers=self.workers,
            rank=self.rank,
        )

    def _resume(self) -> None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            self.trainer.restore(load_state(folder, self.device))
            self.history = TrainingHistory(**json.loads(Path(folder, PROGRESS).read_text()))
            names = (REFIT, REFIT_TEXT, REFIT_ROWS)
            self._apply_refit({n: Path(folder, n).read_bytes() for n in names if Path(folder, n).exists()})

    def run(self) -> None:
        """Train all steps that are left, and keep the outcome with the last checkpoint."""
        clips = self._iterate_clips("train", first=self.trainer.step_number * self.spec.sampler.batch)
        try:
            for micro_batches in self.clock.time_steps(group_micro_batches(clips, self.spec.layout.accumulation_steps)):
                self._step(micro_batches)
        except DivergedError as error:
            self.history.stopped, self.history.running = str(error), []
            self.trainer.ema_model.load_state_dict(self.last_good_state)
            self.predictions = None
        self._finish()

    def _step(self, micro_batches: list[MicroBatch]) -> None:
        sampler, epoch = self.spec.sampler, self.trainer.step_number // self.spec.sampler.steps
        progress = epoch / max(1, self.spec.config.epochs - 1)
        self.history.running.append(self.trainer.step(micro_batches, progress))
        done = self.trainer.step_number
        if done % sampler.steps == 0:
            self._refit()
            metrics, self.predictions = self._evaluate()
            self.history.close_epoch(metrics)
            self.last_good_state = _copy_state(self.trainer.ema_model)
        if done < self.spec.steps and (done % sampler.steps == 0 or self._is_checkpoint_due()):
            self._save_checkpoint()

    def _finish(self) -> None:
        """Keep the predictions, and the mean vectors of the train split, with the last checkpoint."""
        if self.predictions is None:
            metrics, self.predictions = self._evaluate()
            if not self.history.train_loss:
                self.history.close_epoch(metrics)
        self.history.waiting = self.clock.waiting_share()
        self.history.seconds_a_step = (
            float(np.median(self.clock.step_seconds)) if self.clock.step_seconds else float("nan")
        )
        self._save_checkpoint({"predictions": self.predictions, **self._mean_vectors()})

    def _refit(self) -> None:
        """Fit similarity anew on what the networks now see, if the settings say so."""
        spec = self.spec.refit
        if spec is None:
            return
        vectors = self._compute_vectors()
        files = None
        if self.rank == 0:
            refit = refit_similarity(spec.config, vectors, self.spec.train, spec.labels)
            tensors, text = refit.fitted.to_bytes()
            rows = save({"rows": refit.rows, "mean": refit.mean, "deviation": refit.deviation})
            files = {REFIT: tensors, REFIT_TEXT: text, REFIT_ROWS: rows}
        self._apply_refit(broadcast_object(files, self.workers))

    def _apply_refit(self, files: dict[str, bytes]) -> None:
        """Put the rows of a refit into the matrix."""
        self.refit = files
        if files and self.spec.refit is not None:
            self.matrix[:, self.spec.refit.columns] = load(files[REFIT_ROWS])["rows"]

    def _compute_vectors(self) -> dict[str, np.ndarray]:
        """Name of each network to the vectors of all clips, (N, D)."""
        out = {name: np.zeros((len(self.matrix), len(c)), np.float32) for name, c in self.spec.columns.items()}
        own: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        for stream in ("means", "evaluated"):
            for clips in self._iterate_clips(stream):
                vectors, _ = self.trainer.vectors(clips)
                own.append((clips.positions.numpy(), {name: v.cpu().numpy() for name, v in vectors.items()}))
        for part in all_gather_objects(own, self.workers):
            for positions, computed in part:
                for name, values in computed.items():
                    out[name][positions] = values
        return out

    def _evaluate(self) -> tuple[dict[str, float], np.ndarray]:
        """Metrics on val, and the predictions of val and test."""
        rows, scores = [], []
        for clips in self._iterate_clips("evaluated"):
            _, predicted = self.trainer.vectors(clips)
            rows.append(clips.positions[clips.mask > 0].cpu().numpy())
            scores.append(predicted[clips.mask > 0].cpu().numpy())
        score_of = dict(zip(*self._gather_scores(rows, scores), strict=True))
        predictions = np.array([score_of[row] for row in self.spec.evaluated])
        truth = self.spec.scores[self.spec.evaluated[: self.spec.val]]
        return {n: float(m(predictions[: self.spec.val], truth)) for n, m in METRICS.items()}, predictions

    def _mean_vectors(self) -> dict[str, np.ndarray]:
        """Mean vector of each network over the train split, which stands for an absent tier."""
        sums: dict[str, Any] = {}
        for clips in self._iterate_clips("means"):
            vectors, _ = self.trainer.vectors(clips)
            for name, values in vectors.items():
                masked = (values * clips.mask[:, None]).sum(dim=0).double().cpu().numpy()
                sums[name] = sums.get(name, 0.0) + masked
        parts = all_gather_objects(sums, self.workers)
        return {
            name: (sum(part[name] for part in parts) / len(self.spec.train)).astype(np.float32)
            for name in self.spec.columns
        }

    def _gather_scores(self, rows: list[np.ndarray], scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        own = (np.concatenate(rows), np.concatenate(scores).astype(np.float64))
        parts = all_gather_objects(own, self.workers)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _iterate_clips(self, name: str, first: int = 0) -> Iterator[MicroBatch]:
        """This worker's micro-batches; samples before `first` were trained on already."""
        shard = train.get_dataset_shard(name)
        micro, begun = self.spec.layout.micro_batch, False
        for batch in shard.iter_batches(batch_size=micro, batch_format="pyarrow", prefetch_batches=2):
            index = batch["index"][0].as_py()
            if index < first:
                continue
            expected = None if name != "train" else first + self.rank * micro
            if expected is not None and not begun and index != expected:
                raise M3RayError(f"the stream begins at index {index} instead of {expected}: clips would be left out")
            begun = True
            yield self._to_device(batch)

    def _to_device(self, batch: pa.Table) -> MicroBatch:
        rows, frames = batch["row"].to_numpy(), batch["frames"].combine_chunks()
        shapes = batch["shape"].to_pylist()
        clips = [
            torch.from_numpy(np.frombuffer(frames[k].as_buffer(), np.uint8).reshape(shapes[k]).copy())
            for k in range(len(rows))
        ]
        arrays = (self.matrix[rows], self.spec.scores[rows], batch["mask"].to_numpy())
        matrix, scores, mask = (torch.from_numpy(np.array(v, np.float32)).to(self.device) for v in arrays)
        frames_on_device = [clip.to(self.device, non_blocking=True) for clip in clips]
        return MicroBatch(frames_on_device, matrix, scores, mask, torch.from_numpy(rows.copy()))

    def _is_checkpoint_due(self) -> bool:
        """Whether a checkpoint within the epoch is due: rank 0's clock decides for all."""
        late = self.clock.seconds_since_checkpoint() > 60 * self.spec.config.checkpoint_minutes
        return bool(broadcast_object(late, self.workers))

    def _save_checkpoint(self, outcome: Mapping[str, np.ndarray] | None = None) -> None:
        """Save a checkpoint; the last one has the outcome, and training ends when it is uploaded."""
        self.clock.mark_checkpoint()
        checkpoint = None
        if self.rank == 0:
            folder = tempfile.mkdtemp(prefix="m3ray-checkpoint-")
            save_state(self.trainer.state(), folder)
            Path(folder, PROGRESS).write_text(json.dumps(vars(self.history)))
            for name, data in self.refit.items():
                Path(folder, name).write_bytes(data)
            if outcome is not None:
                save_file({k: np.ascontiguousarray(v) for k, v in outcome.items()}, Path(folder, OUTCOME))
            checkpoint = Checkpoint.from_directory(folder)
        mode = CheckpointUploadMode.ASYNC if outcome is None else CheckpointUploadMode.SYNC
        train.report(
            self._tune_metrics(),
            checkpoint=checkpoint,
            checkpoint_dir_name=checkpoint_name(self.trainer.step_number, final=outcome is not None),
            checkpoint_upload_mode=mode,
            delete_local_checkpoint_after_upload=True,
        )

    def _tune_metrics(self) -> dict[str, float]:
        """Metrics for Ray Train's table and for its choice of the checkpoints to keep; -1 where one is not finite."""
        last = {f"val_{name}": values[-1] if values else float("nan") for name, values in self.history.metrics.items()}
        finite = {name: value if np.isfinite(value) else -1.0 for name, value in last.items()}
        return {**finite, "epoch": len(self.history.train_loss), "step": self.trainer.step_number}


def _copy_state(model: FinetuneModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
