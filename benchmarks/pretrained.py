"""Pretrained scorers: ours beside the package's own module, on the same images. Prints a table with ratios.

    python benchmarks/pretrained.py [IMAGES]

Needs `pip install 'm3ray[resmem]'`. Images are drawn; the package is given them one by one, as its documentation shows,
with its own transforms, and ours as clips of one frame, eight at once.
"""

from __future__ import annotations

import sys
import time
import warnings
from importlib.util import find_spec

import numpy as np
import torch
from PIL import Image

from m3ray.config import ImageNetworkConfig
from m3ray.config.compute import Precision
from m3ray.tiers import Window
from m3ray.tiers.backbones.prepare import fastest_precision
from m3ray.tiers.pretrained.tier import ScorerTier
from m3ray.tiers.pretrained.weights import find_weights

CPU = torch.device("cpu")
BATCH = 8


def draw_images(count: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((256, 256), Image.Resampling.BICUBIC)) for c in coarse])


def score_with_package(images: np.ndarray) -> tuple[np.ndarray, float]:
    from resmem import ResMem, transformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it calls torchvision by old names
        module = ResMem(pretrained=True).eval()
    with torch.no_grad():
        module(torch.zeros(1, 3, 227, 227))
        start = time.perf_counter()
        scores = [module(transformer(Image.fromarray(image)).view(-1, 3, 227, 227)).item() for image in images]
    return np.array(scores), time.perf_counter() - start


def score_with_ours(images: np.ndarray, precision: Precision) -> tuple[np.ndarray, float]:
    tier = ScorerTier(ImageNetworkConfig(precision), find_weights("resmem"), "resmem")
    tier.setup(CPU)
    tier.compute([Window(image[None]) for image in images[:BATCH]])
    start, scores = time.perf_counter(), []
    for first in range(0, len(images), BATCH):
        found = tier.compute([Window(image[None]) for image in images[first : first + BATCH]])
        scores += [float(values["resmem"].value) for values in found]
    return np.array(scores), time.perf_counter() - start


def main() -> None:
    if find_spec("resmem") is None:
        print("resmem is not installed: pip install 'm3ray[resmem]'")
        return
    images = draw_images(int(sys.argv[1]) if len(sys.argv) > 1 else 32)
    expected, theirs = score_with_package(images)
    print(f"ResMem, {len(images)} images, {torch.get_num_threads()} threads, {time.strftime('%Y-%m-%d')}")
    print(f"{'':12} {'images/s':>9} {'ratio':>6} {'largest difference':>19}")
    print(f"{'its package':12} {len(images) / theirs:9.2f} {1:6.2f}")
    kinds: list[Precision] = ["float32"]
    if fastest_precision(CPU) is torch.bfloat16:
        kinds.append("bfloat16")
    for precision in kinds:
        found, ours = score_with_ours(images, precision)
        difference = np.abs(found - expected).max()
        print(f"{precision:12} {len(images) / ours:9.2f} {theirs / ours:6.2f} {difference:19.6f}")


if __name__ == "__main__":
    main()
