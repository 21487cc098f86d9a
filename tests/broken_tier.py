"""A tier that fails as GPUs do, by Ray's GPU or by a clip's pixels, and extraction on GPUs in name alone."""

import gc
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from mean_tier import FOLDERS, METADATA, MeanTier

from m3ray.pipelines.extraction.records import WORK, pack_decoded_clips, unpack_work
from m3ray.pipelines.extraction.tier_stage import TierStage
from m3ray.pipelines.runtime.assigned_gpus import assigned_gpus

# As PyTorch 2.14 words them: CUDA's own text, and below it hints.
ILLEGAL_ACCESS = "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be asynchronously"
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 0 has a total capacity of 22.03 GiB"
POISON = 7  # the brightness of a clip that kills its process


class BrokenTier(MeanTier):
    """The mean colour, and errors of CUDA.

    Args:
        folder: Gets a line for each batch, `GPU windows`.
        broken_gpus: Ids of the GPUs that fail.
        once: Whether they fail once.
        most: Windows that fit into memory at once.
        most_frames: Frames of a window that fit.
        failures: Failures of broken GPUs that the others wait for, so that Ray has no other GPU to give meanwhile.
    """

    def __init__(self, folder, broken_gpus=(), *, once=False, most=99, most_frames=99, failures=0):
        super().__init__()
        self.folder, self.broken_gpus, self.once = Path(folder), tuple(broken_gpus), once
        self.most, self.most_frames, self.failures = most, most_frames, failures

    def compute(self, windows):
        (gpu,) = assigned_gpus() or [""]
        self.note(f"{gpu} {len(windows)}")
        if gpu in self.broken_gpus and not (self.once and self.was_here()):
            raise torch.AcceleratorError(ILLEGAL_ACCESS)
        if any((window.frames == POISON).all() for window in windows):
            raise torch.AcceleratorError(ILLEGAL_ACCESS)
        if len(windows) > self.most or any(len(window.frames) > self.most_frames for window in windows):
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)
        self.wait_for_failures()
        return super().compute(windows)

    def wait_for_failures(self):
        end = time.monotonic() + 60
        while sum(gpu in self.broken_gpus for gpu, _ in self.read_notes()) < self.failures and time.monotonic() < end:
            time.sleep(0.1)

    def note(self, line):
        with (self.folder / f"{os.getpid()}.log").open("a") as file:
            file.write(f"{line}\n")

    def was_here(self):
        try:
            (self.folder / "was-here").touch(exist_ok=False)
        except FileExistsError:
            return True
        return False

    def read_notes(self):
        """GPU and number of windows of each batch, process by process."""
        lines = [line for file in sorted(self.folder.glob("*.log")) for line in file.read_text().splitlines()]
        return [(gpu, int(count)) for gpu, count in (line.split(" ") for line in lines)]


class FakeGpuStage(TierStage):
    """Takes a CPU for the GPU that Ray gave it."""

    def _take_device(self):
        return torch.device("cpu")


def decode_gray(batch):
    """A decoding stage without videos: a clip's URI is `brightness/frames`."""
    for clip in unpack_work(batch):
        brightness, frames = map(int, clip.uri.split("/"))
        pixels = np.full((frames, 8, 8, 3), brightness, np.uint8)
        yield pack_decoded_clips([replace(clip, metadata=METADATA, frames=pixels)])


def decode_windows(batch):
    """As `decode_gray`, two sliding windows of each clip."""
    for clip in unpack_work(batch):
        for start in (0, 1):
            row = replace(clip, clip_id=f"{start}@{clip.clip_id}", source_clip_id=clip.clip_id, window_start=start)
            (table,) = decode_gray(pa.Table.from_pylist([vars(row) | {"tiers": list(row.tiers)}], schema=WORK))
            columns = {"source_clip_id": clip.clip_id, "window_start": start}
            for name, value in columns.items():
                index = table.schema.get_field_index(name)
                table = table.set_column(index, table.schema.field(name), pa.array([value], table.schema.types[index]))
            yield table


@dataclass
class Outcome:
    """What an extraction left.

    Args:
        rows: Clip to the brightness that its features tell.
        rejects: Clip to error and message.
        lines: Log of the driver.
        error: Type and text of what it raised; empty if nothing.
        batches: GPU and number of windows of each batch.
    """

    rows: dict
    rejects: dict
    lines: list
    error: str
    batches: list


def start_ray():
    """Start a Ray of four CPUs and two GPUs in name in this process."""
    here = Path(__file__).parent
    os.environ |= {"RAY_AUTH_MODE": "disabled", "PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    import ray
    import ray.data

    from m3ray.pipelines.extraction import crash_guard, dataflow
    from m3ray.pipelines.runtime.cluster import start_patiently

    options = {"include_dashboard": False, "object_store_memory": 1 << 28, "log_to_driver": False}
    start_patiently(lambda: ray.init(address="local", num_cpus=4, num_gpus=2, **options))
    ray.data.DataContext.get_current().enable_progress_bars = False
    vars(dataflow).update(TierStage=FakeGpuStage)
    crash_guard._IDLE_SECONDS = 2.0


def extract(folder, clips, *, windows=False, gpus=2, batch=2, **tier):
    """Extract a `BrokenTier` of clips.

    Args:
        folder: Gets the root and the tier's notes.
        clips: URI of each clip.
        windows: Whether each clip is cut into two windows.
        gpus: Number of GPUs.
        batch: Clips that an actor computes at once.
        **tier: Arguments of `BrokenTier`.
    """
    from m3ray.config import ComputeConfig, LimitsConfig, TierConfigs
    from m3ray.console import LineKeeper, configure_console
    from m3ray.pipelines.extraction import dataflow
    from m3ray.pipelines.extraction.planning import Plan
    from m3ray.pipelines.runtime.cluster import Resources
    from m3ray.storage.root import Root

    configure_console()
    root, notes = Root(f"{folder}/out"), Path(folder) / "notes"
    notes.mkdir()
    broken = BrokenTier(notes, **tier)
    work = [{"clip_id": f"{k:02d}", "uri": uri, "tiers": ["mean"]} for k, uri in enumerate(clips)]
    table = pa.Table.from_pylist(work, schema=WORK)
    plan = Plan(root, (broken,), FOLDERS, table, {"mean": len(work)}, {"mean": 0}, 0)
    settings = dataflow.Settings(
        TierConfigs(), LimitsConfig(), ComputeConfig(clips_per_batch=batch), Resources(2, gpus, gpus)
    )
    decode, error = decode_windows if windows else decode_gray, ""
    with LineKeeper() as log:
        try:
            dataflow.run(plan, settings, make_decode_stage=lambda _: decode, total=len(work) * (1 + windows))
        except Exception as caught:
            error = f"{type(caught).__name__}: {caught}"
    gc.collect()  # what was raised holds the actors, and they their GPUs
    rows, rejects = root.read_shards(*FOLDERS["mean"]), root.read_shards("rejects")
    return Outcome(
        {} if rows is None else {row["clip_id"]: round(row["mean"][0]) for row in rows.to_pylist()},
        {} if rejects is None else {row["clip_id"]: (row["error"], row["message"]) for row in rejects.to_pylist()},
        log.lines,
        error,
        broken.read_notes(),
    )
