"""Small bundles that nothing was trained for: of user-provided tiers, and of a pretrained scorer; its made-up tier."""

from typing import ClassVar

import numpy as np
import pyarrow as pa

from m3ray.config import TierConfigs
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.pretrained_bundle import PretrainedBundle
from m3ray.storage.tier_index import TierEntry
from m3ray.tiers import WeightedValue
from m3ray.tiers.factory import resolve_precision
from m3ray.tiers.pretrained.facts import find_scorer

TEXT = TierEntry("text-1", identity={"columns": {"text": 3, "length": 1}}, user_provided=True)
NAMES = ("text_0", "text_1", "text_2", "length")
BLOCKS = (Block("text", NAMES, False),)


def make_bundle(blocks=BLOCKS, **metadata):
    width = sum(len(block.names) for block in blocks)
    zeros = np.zeros(width, np.float32)
    return Bundle(
        name="small",
        model=StackedMLP(width, (4,), [0, 1]).eval(),
        blocks=blocks,
        scaling=Scaling(zeros, zeros + 1),
        baseline=zeros,
        residuals=np.linspace(0, 0.1, 20, dtype=np.float32),
        metadata=BundleMetadata(False, **metadata),
        files={},
    )


def make_pretrained(name="resmem"):
    facts = find_scorer(name)
    source = {"location": "/weights/model.pt", "sha256": facts.sha256, "seed": 0}
    configs = resolve_precision(TierConfigs(), bfloat16=False)
    metadata = BundleMetadata(False, configs=configs, sources={name: source}, target={"name": facts.predicts})
    return PretrainedBundle(facts, metadata)


class BrightnessScorer:
    """The columns of a pretrained scorer's tier; its score is the mean brightness of the frames, over 255."""

    whole_clip, untrained = True, False
    schema: ClassVar[pa.Schema] = pa.schema(
        [("clip_id", pa.string()), ("resmem", pa.float32()), ("resmem_spread", pa.float32())]
    )

    def __init__(self, name="resmem"):
        self.name = name

    def identity(self):
        return {"tier": self.name}

    def setup(self, device):
        self.device = device

    def compute(self, windows):
        values = []
        for window in windows:
            frames = window.frames.mean(axis=(1, 2, 3)) / 255
            count = len(frames)
            spread = WeightedValue(np.array(frames.std()), count)
            values.append({self.name: WeightedValue(np.array(frames.mean()), count), f"{self.name}_spread": spread})
        return values
