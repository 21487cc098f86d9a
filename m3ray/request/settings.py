"""The settings that decide the numbers of tiers, from a job's options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from m3ray.config import TierConfigs, TrainConfig
from m3ray.config.options import (
    AblateOptions,
    ConfigOptions,
    ExtractOptions,
    FitOptions,
    ReproduceOptions,
    StudyOptions,
    TrainOptions,
)
from m3ray.config.presets import TIER_PRESETS, authors_training, memento10k_training, train_as_authors, train_as_demo
from m3ray.errors import ConfigError
from m3ray.schema import SIMILARITY
from m3ray.storage.dataset_record import DEMO, apply_record
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.training.config_file import load_training, read_tiers


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
        image=replace(base.image, precision=options.precision, frames=options.image_frames),
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


def check_config(options: ConfigOptions | TrainOptions) -> None:
    """Check the file of training settings that options name, and that nothing else is to decide them.

    Args:
        options: Options of a job.
    Raises:
        ConfigError: If the file cannot be read, or the options also want a selection or a loss.
    """
    if options.config is None:
        return
    load_training(options.config)
    rival = None
    if isinstance(options, FitOptions) and options.fit in ("select", "each"):
        rival = f"--fit {options.fit}"
    elif isinstance(options, StudyOptions | TrainOptions) and options.loss is not None:
        rival = f"--loss {options.loss}"
    if rival is not None:
        raise ConfigError(f"--config {options.config} and {rival}: the file has the settings: leave one of them out")


def take_config_tiers(options: TrainOptions, root: Root) -> TrainOptions:
    """Let a training without tiers of its own see those that the settings of its file were chosen for.

    Args:
        options: Options of the job, checked by `check_config`.
        root: Root of the job.
    Returns:
        The options; as they are where they name tiers, or the file names none.
    """
    tiers = None if options.config is None else read_tiers(options.config)
    unasked = ((), apply_record(TrainOptions(out=options.out), read_record(root)).tiers)
    return options if tiers is None or options.tiers not in unasked else replace(options, tiers=tiers)


def choose_study_tiers(held: Sequence[str], options: AblateOptions | ReproduceOptions) -> list[str]:
    """Choose the tiers that a study on a root sees.

    Args:
        held: Tiers that a study on the root may see.
        options: Options of the job; `reproduce` computes the tiers that it names, and sees all that there are.
    Returns:
        Names of the tiers in the study's order; with similarity its other measures too.
    """
    if not isinstance(options, AblateOptions) or not options.tiers:
        return list(held)
    return [tier for tier in held if tier in options.tiers or (_is_other_measure(tier) and SIMILARITY in options.tiers)]


def _is_other_measure(tier: str) -> bool:
    return tier.startswith(f"{SIMILARITY}:")


def find_row_training(root: Root, preset: str, loss: str | None = None) -> Callable[[TrainConfig], TrainConfig]:
    """Find how a study on a root trains its rows.

    Args:
        root: Root of the study.
        preset: The preset that was asked for; `auto`: the one that the root's record names.
        loss: Loss that was asked for; None: the row's own.
    Returns:
        From a row's settings in the paper's tables to those that it is trained with.
    """
    record = read_record(root)
    if preset == "auto" and record is not None:
        preset = record.settings.get("preset", preset)
    dataset = None if record is None else record.dataset
    if preset == "demo" or (preset == "auto" and dataset == DEMO):
        return lambda training: _with_loss(train_as_demo(training), loss)
    if preset != "authors":
        return partial(_with_loss, loss=loss)
    return lambda training: _with_loss(train_as_authors(training, dataset), loss)


def _with_loss(training: TrainConfig, loss: str | None) -> TrainConfig:
    """The settings with a loss; weighted tails are centred as the preset of training with them has it."""
    if loss is None:
        return training
    centre = memento10k_training().tails_centre if loss == "mse_tails" else training.tails_centre
    return replace(training, loss=loss, tails_centre=centre)  # type: ignore[arg-type]
