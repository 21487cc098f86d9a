"""Options of maps over space and time: which parts of a clip add to its score, and which take from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ExplainConfig:
    """How a clip's map is computed."""

    method: Literal["occlusion", "gradient"] = "occlusion"
    """occlusion: parts are blurred, and the score computed anew, for any bundle; gradient: four passes back through the
    networks, faster and finer, where every tier is a network and the model an MLP; it tells no spread and no noise."""
    budget: int = 64
    """How many changed versions of a clip are scored at most: more give a finer map."""
    grid: int = 4
    """Rows and columns that a frame is first cut into; parts that matter are cut further while the budget lasts."""
    segments: int = 4
    """Segments of time that a clip is first cut into; fewer where it has fewer frames."""
    seeds: int = 3
    """How often a part that matters is hidden in all, its borders elsewhere each time after the first, which a quarter
    of the budget is kept for; 1: all of the budget goes into a finer map."""


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Maps of some of the clips that are scored."""

    explain: bool = False
    """Also map which parts of a clip, and when, add to its score: of the eight most and the eight least memorable
    clips, or of --explain-clips."""
    explain_clips: tuple[str, ...] = ()
    """Ids of the clips that --explain maps, instead of those at both ends; `all` for every one."""
    explanations: ExplainConfig = field(default_factory=ExplainConfig)
    """How maps are computed."""
