"""The worker that maps clips: it opens the bundle once, and writes each clip's map as soon as that is there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from m3ray.config import LimitsConfig
from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import DecodeError, FeatureError, M3RayError
from m3ray.pipelines.extraction.device_faults import raise_device_fault
from m3ray.pipelines.extraction.version_checks import check_worker
from m3ray.pipelines.runtime.devices import take_device
from m3ray.pipelines.runtime.failures import as_one_line
from m3ray.pipelines.runtime.worker_entry import enter_worker
from m3ray.scoring.explanations.explained_files import write_explained, write_failure
from m3ray.storage.root import Root
from m3ray.storage.versions import software_versions

if TYPE_CHECKING:
    from m3ray.scoring.explanations import Explanation


@dataclass(frozen=True)
class MapWork:
    """A clip to map.

    Args:
        clip_id: Id of the clip.
        uri: Path or URI of its video.
        stamp: Fingerprint of all that its map is made of.
        tiers: Name of each user-provided tier that the bundle sees to the clip's values, (1,) or (1, width) a column.
    """

    clip_id: str
    uri: str
    stamp: str
    tiers: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class MapSettings:
    """What every worker that maps clips is made with; light, as it travels to them.

    Args:
        bundle: Folder of the bundle, or the name of a pretrained scorer.
        config: How maps are computed.
        folder: Folder that the maps go to.
        source: Fingerprint of the bundle and the catalogue.
        origin: What the files say of how they were made.
        limits: Per-clip resource limits.
        allow_other_weights: Whether a pretrained scorer may have other weights than the published ones.
        gpu: Whether Ray gives the worker a GPU, or a part of one.
        threads: Threads of torch on a CPU.
        software: Versions that the driver has.
    """

    bundle: str
    config: ExplainConfig
    folder: Root
    source: str
    origin: Mapping[str, Any]
    limits: LimitsConfig
    allow_other_weights: bool = False
    gpu: bool = False
    threads: int = 1
    software: Mapping[str, str] = field(default_factory=software_versions)


class MapWorker:
    """Maps clips, one after the other, with a bundle that it opens once.

    Args:
        settings: What it computes with.
    """

    def __init__(self, settings: MapSettings) -> None:
        self.settings = settings
        self.scorer: Any = None

    def open(self) -> None:
        """Open the bundle on the device that Ray gave this process.

        Raises:
            ConfigError: If this node has other software, which changes numbers.
            LostDeviceError: If the promised GPU cannot be computed on.
            M3RayError: If the bundle cannot be opened here.
        """
        enter_worker()
        check_worker(self.settings.software)
        device = take_device(gpu=self.settings.gpu)
        import torch

        from m3ray.scoring.scorer import Scorer

        if device.type == "cpu":
            torch.set_num_threads(self.settings.threads)
        self.scorer = Scorer(
            self.settings.bundle, self.settings.limits, allow_other_weights=self.settings.allow_other_weights
        )

    def compute(self, clip: MapWork) -> dict[str, Any]:
        """Map a clip, and write the map, or why there is none.

        Args:
            clip: The clip.
        Returns:
            The clip's row, columns of `EXPLAINED`.
        Raises:
            DeviceFaultError: If the GPU failed: this process can compute no more.
            M3RayError: If it is not the clip's: the request cannot be carried out, or the storage failed.
        """
        begun = time.perf_counter()
        try:
            explanation = self._explain(clip)
        except (DecodeError, FeatureError) as error:
            return self._write_failure(clip, str(error), begun)
        except M3RayError:
            raise
        except Exception as error:  # one clip's trouble is not the others'
            raise_device_fault(error)
            return self._write_failure(clip, f"{type(error).__name__}: {error}", begun)
        return self._write(clip, explanation, begun)

    def _explain(self, clip: MapWork) -> Explanation:
        from m3ray.scoring.explanations import explain_clip
        from m3ray.scoring.inputs import ClipInput

        return explain_clip(
            self.scorer, ClipInput(clip.clip_id, clip.uri), self.settings.config, tiers=clip.tiers or None
        )

    def _write(self, clip: MapWork, explanation: Explanation, begun: float) -> dict[str, Any]:
        from m3ray.scoring.explanations import cells_table
        from m3ray.scoring.explanations.map_pictures import draw_pictures
        from m3ray.scoring.explanations.overlay import draw_overlay

        cells, shown = cells_table(explanation), draw_pictures(explanation)
        kind: Literal["png", "webp"] = "png" if explanation.is_image else "webp"
        row = {
            **self._begin_row(clip, begun),
            **find_peak(explanation),
            **describe_map(explanation),
            "score": explanation.score,
            "method": explanation.method,
            "evaluations": explanation.evaluations,
            "segments": explanation.segments,
            "rows": explanation.rows,
            "columns": explanation.columns,
            "scale": shown.scale,
            "picture_times": list(shown.times),
            "pictures": list(shown.pictures),
        }
        overlay = (kind, draw_overlay(explanation, kind))
        return write_explained(self.settings.folder, row, cells, overlay, self.settings.origin)

    def _write_failure(self, clip: MapWork, reason: str, begun: float) -> dict[str, Any]:
        text = as_one_line(reason.removeprefix(f"{clip.clip_id}: "))
        row = {**self._begin_row(clip, begun), "reason": text}
        return write_failure(self.settings.folder, row, self.settings.origin)

    def _begin_row(self, clip: MapWork, begun: float) -> dict[str, Any]:
        seconds = time.perf_counter() - begun
        return {
            "clip_id": clip.clip_id,
            "seconds": seconds,
            "source": self.settings.source,
            "stamp": clip.stamp,
        }


def describe_map(explanation: Explanation) -> dict[str, Any]:
    """Say in words how finely was looked, and which parts matter most.

    Args:
        explanation: The map.
    Returns:
        `resolution`, a line; `adds` and `takes`, up to three lines each, the strongest first.
    """
    from m3ray.scoring.explanations.words import choose_parts, describe_effect, describe_part, describe_resolution

    adds, takes = (
        [f"{describe_part(explanation, cell.part)}: {describe_effect(cell)}" for cell in cells]
        for cells in choose_parts(explanation)
    )
    return {"resolution": describe_resolution(explanation), "adds": adds, "takes": takes}


def find_peak(explanation: Explanation) -> dict[str, float]:
    """Find the middle of the part whose effect is the largest for its size.

    Args:
        explanation: The map.
    Returns:
        `peak_t` (seconds), `peak_y`, `peak_x` (fractions of height and width), `peak_effect`.
    """
    peak = explanation.find_peak()
    begin, end = explanation.seconds_of(peak.part)
    return {
        "peak_t": (begin + end) / 2,
        "peak_y": (peak.part.top + peak.part.bottom) / 2,
        "peak_x": (peak.part.left + peak.part.right) / 2,
        "peak_effect": peak.effect,
    }
