"""A finetuning small enough to be computed in a moment, a device that is pretended, and workers that are threads."""

import threading
from collections import Counter

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.tiers.precision import float32_precision
from m3ray.training.finetuning.feed import MicroBatch
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.trainer import FinetuneTrainer

FAST = FinetuneConfig(precision="float32", checkpointing=False, backbone_learning_rate=1e-3, head_learning_rate=1e-2)


class Pooled(nn.Module):
    """A convolution and a batch norm, pooled to four numbers."""

    def __init__(self, kind, norm):
        super().__init__()
        self.first, self.norm = kind(3, 4, 3, padding=1), norm(4)

    def forward(self, x):
        return torch.tanh(self.norm(self.first(x))).flatten(2).mean(dim=2)


def small_model(config=FAST, seed=0):
    torch.manual_seed(seed)
    networks = {"scene": Pooled(nn.Conv2d, nn.BatchNorm2d), "event": Pooled(nn.Conv3d, nn.BatchNorm3d)}
    return FinetuneModel(networks, MLP(11, (8,)), {"scene": np.arange(1, 5), "event": np.arange(5, 9)}, config)


def some_clips(count=8, seed=0, columns=11, size=12, length=8):
    g = torch.Generator().manual_seed(seed)
    lengths = [length + (k % 2) for k in range(count)]
    frames = [torch.randint(0, 256, (n, size, size, 3), generator=g, dtype=torch.uint8) for n in lengths]
    rows, scores = torch.randn(count, columns, generator=g), torch.rand(count, generator=g)
    return MicroBatch(frames, rows, scores, torch.ones(count), torch.arange(count))


def part(clips, rows):
    picked = [clips.frames[k] for k in rows]
    return MicroBatch(picked, *(getattr(clips, n)[list(rows)] for n in ("rows", "scores", "mask", "positions")))


def parameters(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


class PretendedDevice(TorchDispatchMode):
    """Takes `meta` for a device, and counts what crosses to and from it; whatever mixes devices fails.

    What comes back is zeros. `meta` has no numbers, so whatever would have to wait for one to go on, such as an index
    made of a mask, fails, too.
    """

    device = torch.device("meta")

    def __init__(self):
        super().__init__()
        self.crossings = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            self.crossings["waits"] += 1
            return 0.0
        if func is torch.ops.aten._to_copy.default and kwargs.get("device") is not None:
            source, target = args[0].device.type, torch.device(kwargs["device"]).type
            if (source, target) == ("meta", "cpu"):
                self.crossings["waits"] += 1
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
            if (source, target) == ("cpu", "meta"):
                self.crossings["copies"] += 1
        return func(*args, **kwargs)


class Workers:
    """Trainers in threads: what they gather and the mean of their gradients, as PyTorch's own workers make them."""

    def __init__(self, layout, training, config=FAST, steps=5):
        self.layout, self.barrier = layout, threading.Barrier(layout.workers)
        self.slots = [None] * layout.workers
        self.trainers = [self._make_trainer(rank, training, config, steps) for rank in range(layout.workers)]

    def _make_trainer(self, rank, training, config, steps):
        model = small_model(config)
        gather = lambda values: torch.cat(self._exchange(rank, values))  # noqa: E731
        trainer = FinetuneTrainer(model, config, training, steps, gather=gather, layout=self.layout, rank=rank)
        compute = trainer.compute_gradients

        def compute_and_average(*arguments):
            loss = compute(*arguments)
            shared = self._exchange(rank, [parameter.grad for parameter in model.parameters()])
            for parameter, *gradients in zip(model.parameters(), *shared, strict=True):
                parameter.grad = torch.stack(gradients).mean(dim=0)
            return loss

        trainer.compute_gradients = compute_and_average
        return trainer

    def _exchange(self, rank, value):
        self.slots[rank] = value
        self.barrier.wait()
        values = list(self.slots)
        self.barrier.wait()
        return values

    def step(self, parts_of, progress, clips):
        """One step of all workers; `parts_of` gives a rank's micro-batches."""
        losses = [None] * self.layout.workers

        def run(rank):
            losses[rank] = self.trainers[rank].step(parts_of(rank), progress, clips)

        threads = [threading.Thread(target=run, args=(rank,)) for rank in range(self.layout.workers)]
        with float32_precision():  # a setting of the whole process, which threads would restore out of turn
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return losses


def share_out(clips, layout, count):
    """Micro-batches of a rank as a worker reads them: `count` clips in order, a blank where it has none."""

    def parts_of(rank):
        firsts = [layout.expect_index(0, rank, turn) for turn in range(layout.accumulation_steps)]
        return [make_part(range(first, min(first + layout.micro_batch, count))) for first in firsts]

    def make_part(rows):
        if rows:
            return part(clips, rows)
        blank = torch.zeros(1, *clips.frames[0].shape[1:], dtype=torch.uint8)
        return MicroBatch([blank], clips.rows[:1], torch.zeros(1), torch.zeros(1), torch.zeros(1, dtype=torch.int64))

    return parts_of
