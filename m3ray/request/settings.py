"""The settings that decide the numbers of tiers, from a job's options."""

from __future__ import annotations

from dataclasses import replace

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.config.presets import TIER_PRESETS
from m3ray.storage.dataset_record import DEMO


def resolve_tier_configs(options: ExtractOptions) -> TierConfigs:
    """Resolve the settings of the tiers: the preset's, with what the options override.

    Args:
        options: Options of the job, with the root's record applied.
    Returns:
        The settings.
    """
    preset = options.preset
    if preset == "auto":
        preset = "demo" if options.dataset == DEMO else "default"
    base = TIER_PRESETS[preset]()
    decode = base.decode if options.fps is None else replace(base.decode, fps=options.fps)
    event = base.event if options.network is None else replace(base.event, network=options.network)
    measure = options.measure or base.similarity.measure
    return replace(
        base,
        decode=decode,
        scene=replace(base.scene, precision=options.precision),
        event=replace(event, precision=options.precision),
        vision=replace(base.vision, precision=options.precision),
        similarity=replace(base.similarity, measure=measure, seed=options.seed),
    )
