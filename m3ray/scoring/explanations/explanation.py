"""A map: how much each part of a clip adds to its score, as Python and Arrow have it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from m3ray.features.matrix import Features
from m3ray.scoring.explanations.clip_view import Pictures
from m3ray.scoring.explanations.parts import Part
from m3ray.storage.parquet_tables import METADATA_KEY

COLUMNS = ("t", "y", "x", "duration", "height", "width", "effect", "spread", "noise")
SCHEMA = pa.schema(
    [("clip_id", pa.string()), *((name, pa.float64()) for name in COLUMNS), ("level", pa.int32())],
)


@dataclass(frozen=True)
class Cell:
    """A part and what it adds.

    Args:
        part: the part.
        effect: score as it is less the score with the part hidden, in the target's units: above 0, it adds.
        spread: standard deviation of the effect over the model's runs; NaN: a pretrained scorer, which has no runs.
        noise: standard deviation of the effect over seeds; NaN: it was hidden once.
    """

    part: Part
    effect: float
    spread: float = float("nan")
    noise: float = float("nan")

    @property
    def sure_effect(self) -> float:
        """The effect; 0 where what differs between seeds is as large."""
        return 0.0 if abs(self.effect) <= self.noise else self.effect

    @property
    def doubt(self) -> float:
        """How far the effect may be off: spread and noise together."""
        return float(np.sqrt(np.nansum([self.spread**2, self.noise**2])))


@dataclass(frozen=True)
class Explanation:
    """The map of one clip.

    Args:
        clip_id: name of the clip.
        score: its score.
        bundle: name of the bundle.
        method: occlusion or gradient.
        budget: changed versions that could have been scored.
        evaluations: changed versions that were.
        seconds: what it took.
        frames: sampled frames of the clip.
        rate: sampled frames a second.
        start_grid: segments, rows and columns of the parts that it began with.
        cells: parts, which together are the clip, and what each adds.
        pictures: small pictures, for drawing.
        seen: how many of the frames some tier looks at.
        unit: name of what the score is, `score` say.
        features: what the bundle's model sees of the clip as it is, (1, F); None: nobody kept it.
    """

    clip_id: str
    score: float
    bundle: str
    method: str
    budget: int
    evaluations: int
    seconds: float
    frames: int
    rate: float
    start_grid: tuple[int, int, int]
    cells: tuple[Cell, ...]
    pictures: Pictures = field(repr=False)
    seen: int
    unit: str = "score"
    features: Features | None = field(default=None, repr=False)
    finest: tuple[int, int, int] = field(init=False)
    """Segments, rows and columns that the smallest parts would make."""

    def __post_init__(self) -> None:
        parts = [cell.part for cell in self.cells]
        sides = [min(getattr(p, b) - getattr(p, a) for p in parts) for a, b in (("top", "bottom"), ("left", "right"))]
        shortest = min(part.stop - part.start for part in parts)
        segments = round(self.frames / shortest) if len({p.start for p in parts}) > 1 else 1
        object.__setattr__(self, "finest", (segments, *(round(1 / side) for side in sides)))

    @property
    def segments(self) -> int:
        """Segments of time that the shortest parts would make."""
        return self.finest[0]

    @property
    def rows(self) -> int:
        """Rows that the lowest parts would make."""
        return self.finest[1]

    @property
    def columns(self) -> int:
        """Columns that the narrowest parts would make."""
        return self.finest[2]

    @property
    def is_image(self) -> bool:
        """Whether it is of one frame: its map says where, and not when."""
        return self.frames == 1

    @property
    def duration(self) -> float:
        """Length of the clip, seconds; 0 for one frame."""
        return 0.0 if self.is_image else self.frames / self.rate

    def seconds_of(self, part: Part) -> tuple[float, float]:
        """When a part begins and ends, seconds; 0 and 0 in a clip of one frame.

        Args:
            part: the part.
        """
        return (0.0, 0.0) if self.is_image else (part.start / self.rate, part.stop / self.rate)

    def heat(self, cell: Cell) -> float:
        """Effect for each hundredth of the clip that the part takes up: parts of all sizes compare.

        Args:
            cell: a part of the clip.
        """
        part = cell.part
        return cell.effect / (100 * part.area * (part.stop - part.start) / self.frames)

    def find_peak(self) -> Cell:
        """Find the part whose place and time matter most for their size; of a map without effects the first."""
        return max(self.cells, key=lambda cell: abs(self.heat(cell)))

    def sort_cells(self) -> list[Cell]:
        """Sort the parts, the one that adds most first and the one that takes most last; the doubtful ones between."""
        return sorted(self.cells, key=lambda cell: -cell.sure_effect)


def cells_table(explanation: Explanation) -> pa.Table:
    """Make the table of a map.

    Args:
        explanation: the map.
    Returns:
        A row a part: `clip_id`; `t` (middle, seconds; 0 for one frame), `y`, `x` (middle, shares of height and width);
        `duration`, `height`, `width` (extent, in the same units); `effect`, `spread`, `noise` (as `Cell` has them);
        `level` (how often a part was cut to make it). The metadata has bundle, method, budget, evaluations, score and
        resolution.
    """
    rows = []
    for cell in explanation.cells:
        part = cell.part
        begin, end = explanation.seconds_of(part)
        middle = ((begin + end) / 2, (part.top + part.bottom) / 2, (part.left + part.right) / 2)
        extent = (end - begin, part.bottom - part.top, part.right - part.left)
        rows.append((*middle, *extent, cell.effect, cell.spread, cell.noise))
    numbers = np.array(rows, np.float64).reshape(-1, len(COLUMNS))
    columns = {name: numbers[:, k] for k, name in enumerate(COLUMNS)}
    ids, levels = [explanation.clip_id] * len(rows), [cell.part.level for cell in explanation.cells]
    table = pa.table({"clip_id": ids, **columns, "level": levels}, SCHEMA)
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(describe(explanation))})


def describe(explanation: Explanation) -> dict[str, object]:
    """What a map was made with, as JSON values.

    Args:
        explanation: the map.
    """
    names = ("bundle", "method", "budget", "evaluations", "score", "unit", "start_grid", "finest")
    return {name: getattr(explanation, name) for name in names}
