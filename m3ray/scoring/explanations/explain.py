"""The map of one clip, from a scorer: decode once, then hide parts or take gradients."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from m3ray.config.explain_options import ExplainConfig
from m3ray.errors import ConfigError, DecodeError, FeatureError
from m3ray.scoring.clip_errors import name_clip, reason_of
from m3ray.scoring.explanations.clip_view import ClipView, view_clip
from m3ray.scoring.explanations.evaluator import Evaluator
from m3ray.scoring.explanations.explanation import Cell, Explanation
from m3ray.scoring.explanations.frame_store import FrameStore
from m3ray.scoring.explanations.occlusion import OcclusionSearch, Progress
from m3ray.scoring.explanations.parts import Grid, check_config, choose_fine_grid, choose_grid
from m3ray.scoring.explanations.score_function import ScoreFunction
from m3ray.scoring.inputs import ClipInput, iter_clips
from m3ray.tiers.network_tier import VectorTier

if TYPE_CHECKING:
    from m3ray.scoring.scorer import Scorer

Provided = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Unexplained:
    """A clip without a map.

    Args:
        clip_id: name of the clip.
        reason: why there is none.
        seconds: what it took to find out.
    """

    clip_id: str
    reason: str
    seconds: float


def explain_clip(
    scorer: Scorer,
    clip: Any,
    config: ExplainConfig | None = None,
    *,
    tiers: Provided | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Map which parts of a clip, and when, add to its score.

    Args:
        scorer: opened bundle.
        clip: one clip, as `Scorer.predict` takes it, or a `ClipInput`.
        config: method, budget and grid; None: the default ones.
        tiers: name of each user-provided tier to the name of each column to the clip's values, (1,) or (1, width).
        progress: called with the changed versions that are scored and with the budget; None: nobody looks.
    Returns:
        The map.
    Raises:
        ConfigError: If a setting makes no sense, or nothing can be hidden: the bundle sees user-provided tiers alone.
        DecodeError: If the clip cannot be decoded.
        FeatureError: If a value is not finite, or a user-provided tier that the bundle sees is missing.
    """
    config = config or ExplainConfig()
    check_request(scorer, config)
    found = clip if isinstance(clip, ClipInput) else _take_one(clip)
    return _explain(scorer, found, config, scorer.check_user_columns(tiers or {}, 1), progress)


def explain_clips(
    scorer: Scorer,
    clips: Iterable[ClipInput],
    config: ExplainConfig | None,
    provided: Mapping[str, np.ndarray],
    *,
    raises: bool = False,
    progress: Progress | None = None,
) -> Iterator[Explanation | Unexplained]:
    """Map clips one after the other.

    Args:
        scorer: opened bundle.
        clips: the clips, N in all.
        config: method, budget and grid; None: the default ones.
        provided: `tier/column` to values of user-provided tiers, (N,) or (N, width).
        raises: whether a clip that cannot be mapped raises.
        progress: called with the changed versions that are scored and with the budget; None: nobody looks.
    Yields:
        A map for each clip, or why there is none.
    Raises:
        ConfigError: If nothing can be mapped.
        DecodeError, FeatureError: With `raises`, if a clip cannot be mapped.
    """
    config = config or ExplainConfig()
    check_request(scorer, config)
    for row, clip in enumerate(clips):
        begun, own = time.perf_counter(), {name: values[row : row + 1] for name, values in provided.items()}
        try:
            with name_clip(clip.clip_id):
                found: Explanation | Unexplained = _explain(scorer, clip, config, own, progress)
        except (DecodeError, FeatureError) as error:
            if raises:
                raise
            found = Unexplained(clip.clip_id, reason_of(error, clip.clip_id), time.perf_counter() - begun)
        yield found


def _explain(
    scorer: Scorer,
    clip: ClipInput,
    config: ExplainConfig,
    provided: Mapping[str, np.ndarray],
    progress: Progress | None,
) -> Explanation:
    begun = time.perf_counter()
    with FrameStore() as store:
        view = view_clip(scorer.decode(clip), scorer.tiers, scorer.configs.decode.fps, store)
        score = ScoreFunction(scorer, provided)
        return _map(scorer, view, score, config, progress, (clip.clip_id, begun))


def check_request(scorer: Scorer, config: ExplainConfig) -> None:
    """Check whether clips can be mapped, before any is decoded.

    Args:
        scorer: opened bundle.
        config: method, budget and grid.
    Raises:
        ConfigError: If not.
    """
    check_config(config)
    if config.method == "gradient":
        from m3ray.scoring.explanations.differentiable import check_gradients

        check_gradients(scorer.bundle, scorer.tiers)
    if not scorer.tiers:
        raise ConfigError(
            f"nothing to occlude: {scorer.bundle.name} sees captions or user-provided tiers alone "
            f"({', '.join(scorer.bundle.tiers)}), which no frame changes"
        )


def _map(
    scorer: Scorer,
    view: ClipView,
    score: ScoreFunction,
    config: ExplainConfig,
    progress: Progress | None,
    name_and_begin: tuple[str, float],
) -> Explanation:
    clip_id, begun = name_and_begin
    if config.method == "gradient":
        cells, evaluations, grid = _take_gradients(scorer, view, score, config, progress)
    else:
        evaluator = Evaluator(view, scorer.tiers, score, on_gpu=scorer.device.type == "cuda")
        grid = choose_grid(config, view.frames, view.seen)
        search = OcclusionSearch(view, evaluator, config, progress)
        cells, evaluations = search.run(grid), search.evaluations
    return Explanation(
        clip_id=clip_id,
        score=float(score([view.values]).mean()),
        bundle=scorer.bundle.name,
        method=config.method,
        budget=config.budget,
        evaluations=evaluations,
        seconds=time.perf_counter() - begun,
        frames=view.frames,
        rate=view.rate,
        start_grid=(grid.segments, grid.rows, grid.columns),
        cells=tuple(cells),
        pictures=view.pictures,
        seen=len(view.seen),
        features=score.select([view.values], [clip_id]),
        unit=_name_unit(scorer),
    )


def _take_gradients(
    scorer: Scorer, view: ClipView, score: ScoreFunction, config: ExplainConfig, progress: Progress | None
) -> tuple[list[Cell], int, Grid]:
    """The map's parts, how many passes they took, and the grid that they lie in."""
    from m3ray.scoring.explanations.gradients import GradientMap, gather_cells

    tiers: list[VectorTier] = [tier for tier in scorer.tiers if isinstance(tier, VectorTier)]
    gradients = GradientMap(view, tiers, scorer.bundle, score.provided, scorer.device, progress)
    effects = gradients.run()
    grid = choose_fine_grid(config, view.frames, view.seen)
    return gather_cells(effects, grid.lay_parts(view.seen)), gradients.evaluations, grid


def _take_one(clip: Any) -> ClipInput:
    clips = list(iter_clips(clip))
    if len(clips) != 1:
        raise ConfigError(f"a map is of one clip: got {len(clips)}; call scorer.explain for several")
    return clips[0]


def _name_unit(scorer: Scorer) -> str:
    facts = getattr(scorer.bundle, "facts", None)
    return str(facts.predicts if facts is not None else scorer.bundle.metadata.units.name)
