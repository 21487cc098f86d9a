"""Part 2 of benchmarks/gpu.py: features against the golden files, in each precision."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from gpu_part import DEVICE, SMALL, PartRun, PartSkippedError, free_memory, note_failure
from torch import Tensor

from m3ray.tiers.backbones import hrnetv2_w48, ip_csn_152, ir_csn_152, prepare_network
from m3ray.tiers.flow import mean_optical_flow
from m3ray.tiers.hog import hog
from m3ray.tiers.precision import float32_precision
from m3ray.tiers.raw import blurriness, brightness, contrast, luma

TABLE = "Largest difference from the golden files"
TESTS = Path(__file__).resolve().parents[1] / "tests"
NETWORKS = {"hrnetv2_w48": hrnetv2_w48, "ip_csn_152": ip_csn_152, "ir_csn_152": ir_csn_152}
# Type, whether TensorFloat-32 is allowed, and the bound that the tests and the README hold; None: none is promised.
PRECISIONS: dict[str, tuple[torch.dtype, bool, float | None]] = {
    "float32": (torch.float32, False, 1e-5),
    "tf32": (torch.float32, True, None),
    "bfloat16": (torch.bfloat16, False, 2e-2),
}


def measure(run: PartRun) -> None:
    """Measure the part."""
    recipes = import_recipes()
    compare_raw(run, recipes)
    for name in ("ip_csn_152",) if SMALL else NETWORKS:
        with note_failure(run, name):
            compare_network(run, name, recipes)
    if SMALL:
        run.note("left out on a CPU: the other networks, which the tests compare; tf32 is float32 there")


def import_recipes() -> ModuleType:
    """The tests' own module that makes the golden files' inputs.

    Raises:
        PartSkippedError: If it or the files are absent.
    """
    if not (TESTS / "recipes.py").exists() or not list((TESTS / "golden").glob("*.npz")):
        raise PartSkippedError(f"no golden files in {TESTS / 'golden'}")
    sys.path.insert(0, str(TESTS))
    return import_module("recipes")


@torch.inference_mode()
def compare_network(run: PartRun, name: str, recipes: ModuleType) -> None:
    """Compare a network's features with the golden ones in each precision."""
    golden = recipes.golden(name)
    network = NETWORKS[name]().eval()
    network.load_state_dict(recipes.fill(network.state_dict()))
    generator = torch.Generator().manual_seed(int(golden["seed"]))
    x = torch.randn(tuple(map(int, golden["shape"])), generator=generator, dtype=torch.float64)
    for precision, (kind, tf32, bound) in PRECISIONS.items():
        if not run.has_time(3, f"{name} in {precision}"):
            return
        prepared = prepare_network(network, DEVICE, kind)
        with float32_precision(tf32=tf32):
            found = prepared(x.to(DEVICE, kind)).double().cpu().numpy()
        add_difference(run, name, precision, found, golden["features"], bound)
        free_memory()


@torch.inference_mode()
def compare_raw(run: PartRun, recipes: ModuleType) -> None:
    """Compare the raw features of each frame with the golden ones, in float32."""
    golden = recipes.golden("raw")
    frames = torch.from_numpy(recipes.frames(int(golden["seed"])))
    rgb = (frames.permute(0, 3, 1, 2)[:, None].float() / 255).to(DEVICE)
    gray = luma(rgb)
    with float32_precision():
        found: dict[str, Tensor] = {
            "brightness": brightness(rgb),
            "contrast": contrast(gray),
            "blurriness": blurriness(gray),
            "hog": hog(rgb[:2, 0]),
            # Each pair of frames is a clip of two.
            "mean_optical_flow": mean_optical_flow(torch.cat([gray[:-1], gray[1:]], dim=1)),
        }
    for name, values in found.items():
        add_difference(run, name, "float32", values.double().cpu().numpy(), golden[name], None)


def add_difference(
    run: PartRun, name: str, precision: str, found: np.ndarray[Any, Any], expected: Any, bound: float | None
) -> None:
    """Add how far features are from the golden ones: as vectors, and the worst number of all."""
    difference = found - expected
    row = {
        "feature": name,
        "precision": precision,
        "norm of the difference / norm": float(np.linalg.norm(difference) / np.linalg.norm(expected)),
        "largest difference / largest number": float(np.abs(difference).max() / np.abs(expected).max()),
        "bound of the norms": bound,
    }
    run.add_row(TABLE, row)
