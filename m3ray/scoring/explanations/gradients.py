"""Maps by gradients: how the score changes as each pixel goes from the blurred clip to the clip as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from m3ray.scoring.explanations.clip_view import ClipView
from m3ray.scoring.explanations.differentiable import DifferentiableTier, score_columns
from m3ray.scoring.explanations.explanation import Cell
from m3ray.scoring.explanations.hiding import enlarge
from m3ray.scoring.explanations.occlusion import Progress
from m3ray.scoring.explanations.parts import Part
from m3ray.scoring.explanations.units import Unit
from m3ray.scoring.open_bundle import AnyBundle
from m3ray.tiers.network_tier import VectorTier

STEPS = 4
"""Points between the blurred clip and the clip as it is at which gradients are taken."""
_GRAPH_FRAMES = 8  # of images whose activations are kept from one pass to the next; of more they are computed again


class GradientMap:
    """Integrated gradients (Sundararajan et al. 2017) from the blurred clip to the clip as it is, by pixel.

    Args:
        view: the clip.
        tiers: networks that the bundle needs, set up.
        bundle: the bundle.
        provided: `tier/column` to the clip's values of user-provided tiers, (1,) or (1, width).
        device: device to compute on.
        progress: called with the passes that are done and with their number; None: nobody looks.
    """

    def __init__(
        self,
        view: ClipView,
        tiers: list[VectorTier],
        bundle: AnyBundle,
        provided: Mapping[str, np.ndarray],
        device: torch.device,
        progress: Progress | None = None,
    ) -> None:
        self._view, self._bundle, self._device, self._progress = view, bundle, device, progress
        self._tiers = [DifferentiableTier(tier, device) for tier in tiers]
        self._provided = provided
        self._sums: dict[int, np.ndarray] = {}
        self.evaluations = 0

    def run(self) -> dict[int, np.ndarray]:
        """Sum gradients times the change of each pixel.

        Returns:
            Position of each seen frame to the effect of each of its pixels, float32, (H, W): what the score gains with
            it, the blurred clip's score taken as what there is without.
        """
        for step in range(STEPS):
            self._add_step((step + 0.5) / STEPS)
            self.evaluations += 1
            if self._progress is not None:
                self._progress(self.evaluations, STEPS)
        return self._sums

    def _add_step(self, share: float) -> None:
        outputs = [self._compute_outputs(tier, share) for tier in self._tiers]
        slopes = self._slope([values for values, _ in outputs])
        for tier, slope, (_, kept) in zip(self._tiers, slopes, outputs, strict=True):
            for unit, own, graph in zip(self._units(tier), slope, kept, strict=True):
                if own.abs().max() > 0:
                    self._add_unit(tier, unit, share, own, graph)

    def _units(self, tier: DifferentiableTier) -> list[Unit]:
        return list(self._view.units[tier.tier.name])

    def _compute_outputs(
        self, tier: DifferentiableTier, share: float
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor] | None]]:
        """What the network gives for each unit, (U, width), and inputs and outputs where the graph is kept."""
        units = self._units(tier)
        keep = not tier.takes_clips and len(units) <= _GRAPH_FRAMES
        kept: list[tuple[Tensor, Tensor] | None] = []
        outputs = []
        for unit in units:
            with torch.set_grad_enabled(keep):
                frames = self._mix(tier, unit, share)[0].requires_grad_(keep)
                out = tier(frames)
            outputs.append(out.detach())
            kept.append((frames, out) if keep else None)
        return torch.stack(outputs), kept

    def _mix(self, tier: DifferentiableTier, unit: Unit, share: float) -> tuple[Tensor, Tensor]:
        """Frames between blurred and as they are, and how they differ from one to the other, (T, h, w, 3) each."""
        store = self._view.store
        frames = store.read(unit.start, unit.stop)
        blurred = enlarge(store.read_blurred(unit.start, unit.stop), *frames.shape[1:3])
        shown, fill = tier.prepare(frames), tier.prepare(blurred)
        return fill + share * (shown - fill), shown - fill

    def _slope(self, outputs: list[Tensor]) -> list[Tensor]:
        """Change of the score with each number that each network gives for each unit, (U, width) each."""
        with torch.enable_grad():
            leaves = [values.requires_grad_() for values in outputs]
            values = {key: torch.as_tensor(value) for key, value in _split(self._provided).items()}
            for tier, leaf in zip(self._tiers, leaves, strict=True):
                weights = [float(unit.stop - unit.start) for unit in self._units(tier)]
                columns = tier.average(leaf, torch.tensor(weights, device=leaf.device))
                values |= {f"{tier.tier.name}/{name}": x for name, x in _split(columns).items()}
            score = score_columns(self._bundle, values)
            slopes = torch.autograd.grad(score, leaves, allow_unused=True)
        return [torch.zeros_like(leaf) if s is None else s for s, leaf in zip(slopes, leaves, strict=True)]

    def _add_unit(
        self, tier: DifferentiableTier, unit: Unit, share: float, slope: Tensor, graph: tuple[Tensor, Tensor] | None
    ) -> None:
        with torch.enable_grad():
            mixed, change = self._mix(tier, unit, share)
            frames, out = graph if graph is not None else (mixed.requires_grad_(), None)
            out = tier(frames) if out is None else out
            (gradient,) = torch.autograd.grad(out, frames, slope)
        effects = (gradient * change).sum(dim=-1).cpu().numpy() / STEPS
        for position, effect in zip(range(unit.start, unit.stop), effects, strict=True):
            self._sums[position] = self._sums[position] + effect if position in self._sums else effect


def _split(columns: Mapping[str, object]) -> dict[str, Tensor]:
    """Numbers of columns, (), vectors as `name_0`, `name_1` and so on."""
    numbers: dict[str, Tensor] = {}
    for name, column in columns.items():
        values = torch.as_tensor(column)
        values = values[0] if isinstance(column, np.ndarray) else values
        numbers |= {name: values} if values.ndim == 0 else {f"{name}_{k}": values[k] for k in range(len(values))}
    return numbers


def gather_cells(effects: Mapping[int, np.ndarray], parts: list[Part]) -> list[Cell]:
    """Sum effects of pixels over parts.

    Args:
        effects: position of frames to the effect of each pixel, (H, W).
        parts: parts that together are the clip.
    Returns:
        The parts and what each adds; gradients tell neither spread nor noise.
    """
    return [Cell(part, float(sum(_inside(effects, part)))) for part in parts]


def _inside(effects: Mapping[int, np.ndarray], part: Part) -> Iterator[float]:
    for position in range(part.start, part.stop):
        if position in effects:
            height, width = effects[position].shape
            rows = slice(round(part.top * height), round(part.bottom * height))
            yield float(effects[position][rows, round(part.left * width) : round(part.right * width)].sum())
