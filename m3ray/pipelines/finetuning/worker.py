"""A worker of a finetuning under Ray Train: steps, evaluation after each epoch, checkpoints."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from ray import train
from ray.train import Checkpoint, CheckpointUploadMode
from safetensors.numpy import load, save, save_file
from torch.nn.parallel import DistributedDataParallel

from m3ray.errors import M3RayError
from m3ray.model.metrics import METRICS
from m3ray.pipelines.finetuning.checkpoints import checkpoint_name
from m3ray.pipelines.finetuning.worker_device import claim_device
from m3ray.training.finetuning.checkpoint import load_state, save_state
from m3ray.training.finetuning.collectives import all_gather, all_gather_objects, broadcast_object
from m3ray.training.finetuning.feed import DeviceFeed, MicroBatch
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
from m3ray.training.finetuning.trainer import DivergedError, FinetuneTrainer


def work_loop(config: dict[str, Any]) -> None:
    """Train from the latest checkpoint to the end; rank 0 keeps the outcome.

    Args:
        config: `spec`: reference to the `FinetuneSpec` in the object store; `gpu`: whether each worker was promised a
            GPU.
    Raises:
        LostDeviceError: If a GPU was promised and cannot be computed on.
    """
    Worker(ray.get(config["spec"]), claim_device(gpu=config["gpu"])).run()


class Worker:
    """One worker, which computes its part of each step.

    Args:
        spec: What every worker is given.
        device: This worker's device.
    """

    def __init__(self, spec: FinetuneSpec, device: torch.device) -> None:
        context = train.get_context()
        self.spec, self.rank, self.workers = spec, context.get_world_rank(), context.get_world_size()
        self.device, self.feed = device, DeviceFeed(device)
        if self.device.type == "cpu":
            # Ray gives a worker of one CPU a single thread.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        self.trainer = self._make_trainer()
        self.trainer.score_mean = float(spec.scores[spec.train].mean())
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
        distributed_model = DistributedDataParallel(
            model,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            forward_sync_buffers=False,
            gradient_as_bucket_view=True,
        )
        return FinetuneTrainer(
            model,
            spec.config,
            spec.training,
            spec.steps,
            distributed_model=distributed_model,
            gather=all_gather,
            layout=spec.layout,
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
        parts = self._read_parts("train", first=self.trainer.step_number * self.spec.layout.capacity)
        steps = self.feed.send(group_micro_batches(parts, self.spec.layout.accumulation_steps))
        try:
            for micro_batches in self.clock.time_steps(steps):
                self._step([self._look_up_rows(part) for part in micro_batches])
        except DivergedError as error:
            self.history.stopped, self.history.running = str(error), []
            self.trainer.ema_model.load_state_dict(self.last_good_state)
            self.predictions = None
        self._finish()

    def _step(self, micro_batches: list[MicroBatch]) -> None:
        sampler, epoch = self.spec.sampler, self.trainer.step_number // self.spec.sampler.steps
        progress = epoch / max(1, self.spec.config.epochs - 1)
        clips = sampler.count_clips(self.trainer.step_number)
        self.history.running.append(self.trainer.step(micro_batches, progress, clips))
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
            positions, vectors = [], []
            for part in self._send_parts(stream):
                positions.append(part.positions.numpy())
                vectors.append(self.trainer.vectors(part)[0])
            if positions:
                fetched = {n: torch.cat([v[n] for v in vectors]).cpu().numpy() for n in self.spec.columns}
                own.append((np.concatenate(positions), fetched))
        for parts in all_gather_objects(own, self.workers):
            for rows, computed in parts:
                for name, values in computed.items():
                    out[name][rows] = values
        return out

    def _evaluate(self) -> tuple[dict[str, float], np.ndarray]:
        """Metrics on val, and the predictions of val and test; the host waits for the device once, at the end."""
        rows, scores = [np.zeros(0, np.int64)], [torch.zeros(0, device=self.device)]
        masks = [torch.zeros(0)]
        for part in self._send_parts("evaluated"):
            rows.append(part.positions.numpy())
            masks.append(part.mask)
            scores.append(self.trainer.vectors(part)[1])
        counted = torch.cat(masks).numpy() > 0
        own = (np.concatenate(rows)[counted], torch.cat(scores).cpu().numpy()[counted].astype(np.float64))
        parts = all_gather_objects(own, self.workers)
        score_of = {row: score for found in parts for row, score in zip(*found, strict=True)}
        predictions = np.array([score_of[row] for row in self.spec.evaluated])
        truth = self.spec.scores[self.spec.evaluated[: self.spec.val]]
        return {n: float(m(predictions[: self.spec.val], truth)) for n, m in METRICS.items()}, predictions

    def _mean_vectors(self) -> dict[str, np.ndarray]:
        """Mean vector of each network over the train split, which stands for an absent tier."""
        sums = {n: torch.zeros(len(c), dtype=torch.float64, device=self.device) for n, c in self.spec.columns.items()}
        for part in self._send_parts("means"):
            vectors, _ = self.trainer.vectors(part)
            mask = part.mask.to(self.device, non_blocking=True)
            sums = {n: sums[n] + (values * mask[:, None]).sum(dim=0).double() for n, values in vectors.items()}
        parts = all_gather_objects({name: values.cpu().numpy() for name, values in sums.items()}, self.workers)
        return {n: (sum(part[n] for part in parts) / len(self.spec.train)).astype(np.float32) for n in sums}

    def _send_parts(self, name: str) -> Iterator[MicroBatch]:
        """This worker's micro-batches of a stream that is read once, on the device."""
        for (part,) in self.feed.send([part] for part in self._read_parts(name)):
            yield self._look_up_rows(part)

    def _look_up_rows(self, part: MicroBatch) -> MicroBatch:
        """The micro-batch with its rows of the matrix as it is now: it may have been read before a fit changed them."""
        rows = self.feed.make_host_tensor(self.matrix[part.positions.numpy()])
        return replace(part, rows=rows.to(self.device, non_blocking=True))

    def _read_parts(self, name: str, first: int = 0) -> Iterator[MicroBatch]:
        """This worker's micro-batches, on the host and without rows; those before `first` were trained on already."""
        shard, size = train.get_dataset_shard(name), self.spec.layout.micro_batch
        batches = shard.iter_batches(batch_size=size, batch_format="pyarrow", prefetch_batches=2)
        parts = (self._make_part(batch, name) for batch in self._check_order(batches, first))
        return (part for part in parts if part is not None)

    def _check_order(self, batches: Iterable[pa.Table], first: int) -> Iterator[pa.Table]:
        """Pass on what begins at `first`; which clips a worker has, and so what a loss is of, rests on the order."""
        count = 0
        for batch in batches:
            index = batch["index"][0].as_py()
            if index < first:
                continue
            expected = self.spec.layout.expect_index(first, self.rank, count)
            if index != expected:
                raise M3RayError(f"the stream goes on at index {index} instead of {expected}: clips would be left out")
            count += 1
            yield batch

    def _make_part(self, batch: pa.Table, name: str) -> MicroBatch | None:
        """A micro-batch without the places that are empty; None where all are, unless workers take steps together."""
        shown = batch.filter(batch["frames"].is_valid()) if batch["frames"].null_count else batch
        if not shown.num_rows:
            return self._make_blank_part() if name == "train" else None
        rows, frames, shapes = shown["row"].to_numpy(), shown["frames"].combine_chunks(), shown["shape"].to_pylist()
        clips = [np.frombuffer(frames[k].as_buffer(), np.uint8).reshape(shapes[k]) for k in range(len(rows))]
        return self._make_host_part(clips, self.spec.scores[rows], shown["mask"].to_numpy(), rows)

    def _make_blank_part(self) -> MicroBatch:
        """A black frame that does not count, for a worker that a step has no clip for."""
        blank, nothing = np.zeros((1, self.spec.config.size, self.spec.config.size, 3), np.uint8), np.zeros(1)
        return self._make_host_part([blank], nothing, nothing, self.spec.train[:1])

    def _make_host_part(
        self, clips: list[np.ndarray], scores: np.ndarray, mask: np.ndarray, rows: np.ndarray
    ) -> MicroBatch:
        make = self.feed.make_host_tensor
        on_host = {"scores": make(scores.astype(np.float32)), "mask": make(mask.astype(np.float32))}
        return MicroBatch([make(clip) for clip in clips], torch.empty(len(rows), 0), positions=make(rows), **on_host)

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
