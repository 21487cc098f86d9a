"""The settings that decide the numbers of tiers, from a job's options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from m3ray.config import TierConfigs, TrainConfig
from m3ray.config.options import ExtractOptions, TrainOptions
from m3ray.config.presets import TIER_PRESETS, authors_training, memento10k_training, train_as_authors
from m3ray.storage.dataset_record import DEMO
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.training.config_file import load_training


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
    raw = replace(base.raw, flow_fps=decode.fps) if options.flow_per == "time" else base.raw
    measure = options.measure or base.similarity.measure
    return replace(
        base,
        decode=decode,
        raw=raw,
        scene=replace(base.scene, precision=options.precision),
        event=replace(event, precision=options.precision),
        vision=replace(base.vision, precision=options.precision),
        similarity=replace(base.similarity, measure=measure, seed=options.seed),
    )


def read_training(options: TrainOptions) -> TrainConfig:
    """Read the settings of one training.

    Args:
        options: Options of the job, with the root's record applied.
    Returns:
        Those of the file that the options name, or else of the preset and the command line.
    Raises:
        ConfigError: If the file cannot be read.
    """
    if options.config is not None:
        return load_training(options.config)
    base = authors_training(options.dataset) if options.preset == "authors" else memento10k_training()
    return replace(base, loss=options.loss or base.loss, epochs=options.epochs)


def find_row_training(root: Root, preset: str) -> Callable[[TrainConfig], TrainConfig]:
    """Find how a study on a root trains its rows.

    Args:
        root: Root of the study.
        preset: The preset that was asked for; `auto`: the one that the root's record names.
    Returns:
        From a row's settings in the paper's tables to those that it is trained with.
    """
    record = read_record(root)
    if preset == "auto" and record is not None:
        preset = record.settings.get("preset", preset)
    if preset != "authors":
        return lambda training: training
    return partial(train_as_authors, dataset=None if record is None else record.dataset)
