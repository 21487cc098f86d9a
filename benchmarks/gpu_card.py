"""Part 1 of benchmarks/gpu.py: the card, and the peaks that the other parts are measured against."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import Any, Literal

import torch
from gpu_part import DEVICE, SMALL, PartRun, free_memory, measure_seconds, note_failure

from m3ray.tiers.precision import float32_precision

# What networks compute in here, as the tiers choose it; on a CPU always float32, as emulated bfloat16 takes too long.
# Only torch is imported for it, so that this part and the next but one run where there is nothing else.
KIND = torch.bfloat16 if not SMALL and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
PRECISION: Literal["float32", "bfloat16"] = "float32" if KIND is torch.float32 else "bfloat16"
PEAKS = "Matrix products, best of several sizes"
COPIES = "Copies"
SIZES = (256, 512) if SMALL else (2048, 4096, 8192)
COPIED_BYTES = (32 if SMALL else 1024) * 1024**2
# Name, type, and whether TensorFloat-32 is allowed.
PRECISIONS = (("bfloat16", torch.bfloat16, False), ("tf32", torch.float32, True), ("float32", torch.float32, False))


def measure(run: PartRun) -> None:
    """Measure the part."""
    run.add_row("Card", describe_card())
    measure_products(run)
    measure_copies(run)


def describe_card() -> dict[str, Any]:
    """What is known of the device without measuring."""
    versions = {"torch": torch.__version__, "CUDA of torch": torch.version.cuda}
    if DEVICE.type == "cpu":
        return {"device": "CPU", "threads": torch.get_num_threads(), **versions}
    properties = torch.cuda.get_device_properties(0)
    return {
        "device": properties.name,
        "memory, GiB": properties.total_memory / 2**30,
        "compute capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "L2 cache, MiB": properties.L2_cache_size / 2**20,
        "driver": ask_driver("driver_version"),
        "power limit, W": ask_driver("power.limit"),
        **versions,
        "cuDNN": torch.backends.cudnn.version(),
    }


def ask_driver(field: str) -> str | None:
    """Ask nvidia-smi for a field; None where it does not answer."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else None


def measure_products(run: PartRun) -> None:
    """Measure the best square matrix product in each precision, on random numbers."""
    for name, kind, tf32 in PRECISIONS:
        rates = {}
        for size in SIZES:
            with float32_precision(tf32=tf32), note_failure(run, f"{name} product of {size}"):
                a, b, out = (torch.randn(size, size, device=DEVICE, dtype=kind) for _ in range(3))
                rates[size] = 2 * size**3 / measure_seconds(partial(torch.mm, a, b, out=out)) / 1e12
        if rates:
            best = max(rates, key=lambda size: rates[size])
            run.add_row(PEAKS, {"precision": name, "size": best, "TFLOP/s": rates[best]})
    free_memory()


def measure_copies(run: PartRun) -> None:
    """Measure copies on the device, and between it and pinned and pageable memory of the host."""
    on_device = torch.randint(0, 256, (COPIED_BYTES,), dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(on_device)
    seconds = measure_seconds(lambda: target.copy_(on_device))
    add_copy(run, "on the device, bytes read and written", 2 * COPIED_BYTES / seconds)
    if DEVICE.type == "cpu":
        run.note("transfers: skipped: no GPU")
        return
    for kind, pinned in (("pinned", True), ("pageable", False)):
        with note_failure(run, f"{kind} transfers"):
            host = torch.empty(COPIED_BYTES, dtype=torch.uint8, pin_memory=pinned).fill_(1)
            up = measure_seconds(lambda host=host: on_device.copy_(host, non_blocking=True))  # type: ignore[misc]
            down = measure_seconds(lambda host=host: host.copy_(on_device, non_blocking=True))  # type: ignore[misc]
            add_copy(run, f"host to device, {kind}", COPIED_BYTES / up)
            add_copy(run, f"device to host, {kind}", COPIED_BYTES / down)


def add_copy(run: PartRun, way: str, rate: float) -> None:
    """Add the rate of a copy, bytes a second."""
    run.add_row(COPIES, {"copy": way, "MiB": COPIED_BYTES // 2**20, "GB/s": rate / 1e9})


def find_peaks(run: PartRun) -> tuple[dict[str, float], float]:
    """Peaks that part 1 measured, or are measured now where it was left out.

    Args:
        run: the part that asks.
    Returns:
        FLOP a second by precision, and bytes a second of a copy on the device.
    """
    if not run.rows(PEAKS) or not run.rows(COPIES):
        measure_products(run)
        measure_copies(run)
    rates = {row["precision"]: row["TFLOP/s"] * 1e12 for row in run.rows(PEAKS)}
    return rates, run.rows(COPIES)[0]["GB/s"] * 1e9
