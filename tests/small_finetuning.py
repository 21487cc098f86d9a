"""A finetuning small enough to be computed in a moment."""

import numpy as np
import torch
from torch import nn

from m3ray.config.finetuning import FinetuneConfig
from m3ray.model import MLP
from m3ray.training.finetuning.model import FinetuneModel
from m3ray.training.finetuning.trainer import MicroBatch

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
