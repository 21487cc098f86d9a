"""What each worker of an unfrozen training does: Ray Train's loop around `training.full_steps`."""

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
from m3ray.training.finetuning.checkpoint import load_state, save_state
from m3ray.training.finetuning.collectives import from_first, gathered, of_all
from m3ray.training.finetuning.model import FullModel
from m3ray.training.finetuning.sampler import in_rounds
from m3ray.training.finetuning.similarity_refit import refit
from m3ray.training.finetuning.spec import OUTCOME, PROGRESS, REFIT, REFIT_ROWS, REFIT_TEXT, Clock, History, Work, built
from m3ray.training.finetuning.trainer import Clips, DivergedError, FullTraining


def work_loop(config: dict[str, Any]) -> None:
    """Trains from the latest checkpoint to the end; rank 0 keeps what came of it."""
    Worker(ray.get(config["work"])).run()


class Worker:
    """One worker and its part of each step."""

    def __init__(self, work: Work) -> None:
        context = train.get_context()
        self.work, self.rank, self.workers = work, context.get_world_rank(), context.get_world_size()
        self.device = get_device()
        if self.device.type == "cpu":
            # Ray gives a worker of one CPU a single thread.
            torch.set_num_threads(max(1, (os.cpu_count() or 1) // context.get_local_world_size()))
        self.training = self._training()
        self.history, self.clock = History(), Clock()
        self.matrix = np.array(self.work.matrix)
        self.refit: dict[str, bytes] = {}
        self.predictions: np.ndarray | None = None
        self._resume()
        self.good = _copied(self.training.judged)

    def _training(self) -> FullTraining:
        work = self.work
        model = built(work).to(self.device)
        place: dict[str, Any] = {"workers": self.workers, "rank": self.rank}
        if self.workers > 1:
            devices = [self.device] if self.device.type == "cuda" else None
            place["wrapped"] = DistributedDataParallel(model, device_ids=devices, forward_sync_buffers=False)
            place["gather"] = gathered
        return FullTraining(model, work.config, work.training, work.steps, **place)

    def _resume(self) -> None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as folder:
            self.training.restore(load_state(folder, self.device))
            self.history = History(**json.loads(Path(folder, PROGRESS).read_text()))
            names = (REFIT, REFIT_TEXT, REFIT_ROWS)
            self._take({n: Path(folder, n).read_bytes() for n in names if Path(folder, n).exists()})

    def run(self) -> None:
        """All steps that are left, an epoch's end after each epoch, and the outcome."""
        clips = self._clips("train", first=self.training.step_number * self.work.order.batch)
        try:
            for rounds in self.clock.waiting(in_rounds(clips, self.work.layout.rounds)):
                self._step(rounds)
        except DivergedError as error:
            self.history.stopped, self.history.running = str(error), []
            self.training.judged.load_state_dict(self.good)
            self.predictions = None
        self._finish()

    def _step(self, rounds: list[Clips]) -> None:
        order, epoch = self.work.order, self.training.step_number // self.work.order.steps
        progress = epoch / max(1, self.work.config.epochs - 1)
        self.history.running.append(self.training.step(rounds, progress))
        done = self.training.step_number
        if done % order.steps == 0:
            self._refit()
            found, self.predictions = self._judged()
            self.history.close_epoch(found)
            self.good = _copied(self.training.judged)
        if done < self.work.steps and (done % order.steps == 0 or self._due()):
            self._keep()

    def _finish(self) -> None:
        """The predictions, and the mean vectors of the train split, with the last checkpoint."""
        if self.predictions is None:
            found, self.predictions = self._judged()
            if not self.history.train_loss:
                self.history.close_epoch(found)
        self.history.waiting = self.clock.share()
        self.history.seconds_a_step = float(np.median(self.clock.laps)) if self.clock.laps else float("nan")
        self._keep({"predictions": self.predictions, **self._means()})

    def _refit(self) -> None:
        """Similarity to what the networks now see, where that was asked for."""
        if self.work.similarity is None:
            return
        vectors = self._vectors()
        files = None
        if self.rank == 0:
            found = refit(self.work.similarity, vectors, self.work.train, self.work.labels)
            tensors, text = found.fitted.to_bytes()
            rows = save({"rows": found.rows, "mean": found.mean, "deviation": found.deviation})
            files = {REFIT: tensors, REFIT_TEXT: text, REFIT_ROWS: rows}
        self._take(from_first(files, self.workers))

    def _take(self, files: dict[str, bytes]) -> None:
        """Puts a refit's rows into the matrix."""
        self.refit = files
        if files:
            self.matrix[:, self.work.similarity_columns] = load(files[REFIT_ROWS])["rows"]

    def _vectors(self) -> dict[str, np.ndarray]:
        """Network to the vectors of all clips, (N, D)."""
        out = {name: np.zeros((len(self.matrix), len(c)), np.float32) for name, c in self.work.columns.items()}
        own: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
        for stream in ("means", "judged"):
            for clips in self._clips(stream):
                vectors, _ = self.training.vectors(clips)
                own.append((clips.positions.numpy(), {name: v.cpu().numpy() for name, v in vectors.items()}))
        for part in of_all(own, self.workers):
            for positions, found in part:
                for name, values in found.items():
                    out[name][positions] = values
        return out

    def _judged(self) -> tuple[dict[str, float], np.ndarray]:
        """Metrics on val, and the predictions of val and test."""
        rows, scores = [], []
        for clips in self._clips("judged"):
            _, predicted = self.training.vectors(clips)
            rows.append(clips.positions[clips.counts > 0].cpu().numpy())
            scores.append(predicted[clips.counts > 0].cpu().numpy())
        known = dict(zip(*self._from_all(rows, scores), strict=True))
        predictions = np.array([known[row] for row in self.work.judged])
        truth = self.work.scores[self.work.judged[: self.work.val]]
        return {n: float(m(predictions[: self.work.val], truth)) for n, m in METRICS.items()}, predictions

    def _means(self) -> dict[str, np.ndarray]:
        """The mean vector of each network over the train split: what an absent tier shows."""
        sums: dict[str, Any] = {}
        for clips in self._clips("means"):
            vectors, _ = self.training.vectors(clips)
            for name, values in vectors.items():
                weighed = (values * clips.counts[:, None]).sum(dim=0).double().cpu().numpy()
                sums[name] = sums.get(name, 0.0) + weighed
        parts = of_all(sums, self.workers)
        return {
            name: (sum(part[name] for part in parts) / len(self.work.train)).astype(np.float32)
            for name in self.work.columns
        }

    def _from_all(self, rows: list[np.ndarray], scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        own = (np.concatenate(rows), np.concatenate(scores).astype(np.float64))
        parts = of_all(own, self.workers)
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _clips(self, name: str, first: int = 0) -> Iterator[Clips]:
        """This worker's micro-batches; places before `first` were trained on already."""
        shard = train.get_dataset_shard(name)
        micro, begun = self.work.layout.micro, False
        for batch in shard.iter_batches(batch_size=micro, batch_format="pyarrow", prefetch_batches=2):
            place = batch["place"][0].as_py()
            if place < first:
                continue
            expected = None if name != "train" else first + self.rank * micro
            if expected is not None and not begun and place != expected:
                raise M3RayError(f"the stream begins at place {place} instead of {expected}: clips would be left out")
            begun = True
            yield self._moved(batch)

    def _moved(self, batch: pa.Table) -> Clips:
        rows, frames = batch["row"].to_numpy(), batch["frames"].combine_chunks()
        shapes = batch["shape"].to_pylist()
        clips = [
            torch.from_numpy(np.frombuffer(frames[k].as_buffer(), np.uint8).reshape(shapes[k]).copy())
            for k in range(len(rows))
        ]
        known = (self.matrix[rows], self.work.scores[rows], batch["counts"].to_numpy())
        matrix, scores, counts = (torch.from_numpy(np.array(v, np.float32)).to(self.device) for v in known)
        moved = [clip.to(self.device, non_blocking=True) for clip in clips]
        return Clips(moved, matrix, scores, counts, torch.from_numpy(rows.copy()))

    def _due(self) -> bool:
        """Whether it is time for a checkpoint within an epoch: rank 0's clock decides for all."""
        late = self.clock.since_kept() > 60 * self.work.config.checkpoint_minutes
        return bool(from_first(late, self.workers))

    def _keep(self, outcome: Mapping[str, np.ndarray] | None = None) -> None:
        """A checkpoint, uploaded while training goes on; the last one with the outcome, and waited for."""
        self.clock.kept()
        checkpoint = None
        if self.rank == 0:
            folder = tempfile.mkdtemp(prefix="m3ray-checkpoint-")
            save_state(self.training.state(), folder)
            Path(folder, PROGRESS).write_text(json.dumps(vars(self.history)))
            for name, data in self.refit.items():
                Path(folder, name).write_bytes(data)
            if outcome is not None:
                save_file({k: np.ascontiguousarray(v) for k, v in outcome.items()}, Path(folder, OUTCOME))
            checkpoint = Checkpoint.from_directory(folder)
        mode = CheckpointUploadMode.ASYNC if outcome is None else CheckpointUploadMode.SYNC
        train.report(
            self._shown(),
            checkpoint=checkpoint,
            checkpoint_dir_name=f"step-{self.training.step_number:08d}{'' if outcome is None else '-end'}",
            checkpoint_upload_mode=mode,
            delete_local_checkpoint_after_upload=True,
        )

    def _shown(self) -> dict[str, float]:
        """What Ray Train's table and its choice of checkpoints see."""
        last = {f"val_{name}": values[-1] if values else float("nan") for name, values in self.history.metrics.items()}
        shown = {name: value if np.isfinite(value) else -1.0 for name, value in last.items()}
        return {**shown, "epoch": len(self.history.train_loss), "step": self.training.step_number}


def _copied(model: FullModel) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
