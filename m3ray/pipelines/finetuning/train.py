"""Finetuning with Ray Train: runs start from the frozen model, go on after a lost worker, and leave their outcome."""

from __future__ import annotations

import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import ray.data
import torch
from ray.data import ExecutionOptions
from ray.train import CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from safetensors.numpy import load_file

from m3ray.config import LimitsConfig
from m3ray.config.finetuning import FinetuneConfig
from m3ray.config.options import FinetuneOptions
from m3ray.config.presets import FINETUNE_PRESETS
from m3ray.errors import LostDeviceError, M3RayError
from m3ray.model import StackedMLP
from m3ray.pipelines.finetuning.checkpoints import delete_pickled_run, delete_truncated_index, final_checkpoint
from m3ray.pipelines.finetuning.prepare import prepare_finetuning
from m3ray.pipelines.finetuning.weights import find_weights
from m3ray.pipelines.finetuning.worker import work_loop
from m3ray.pipelines.finetuning.worker_device import WorkerDeviceConfig, find_lost_device
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.root import Root
from m3ray.study.finetuned_trial import FinetuneOutcome, summarise_finetuning, write_networks
from m3ray.study.store import read_trial_tensors, write_trial
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult
from m3ray.study.variants import Variant, make_finetune_variant
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.checkpoint import load_state
from m3ray.training.finetuning.spec import OUTCOME, PROGRESS, REFIT, REFIT_ROWS, REFIT_TEXT, FinetuneSpec

logger = logging.getLogger(__name__)

_FAILURES = 5
# What an 80 GB card reports, less a little: micro-batches of 16 clips fit without recomputation.
_LARGE_GPU_BYTES = 70 << 30


def add_finetuning(
    study: Study,
    main: Variant,
    options: FinetuneOptions,
    sources: Mapping[str, WeightSource],
    limits: LimitsConfig,
    resources: Resources,
) -> Variant:
    """Finetune the full model with its networks, unless the study has that; its head starts from the frozen model's.

    Args:
        study: Study that `main` was trained in.
        main: The full model.
        options: Preset, and the settings that override it.
        sources: Name of each network to where the job knows its weights to be.
        limits: Per-clip resource limits.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The finetuned variant.
    """
    variant = make_finetune_variant(main, choose_preset(options, resources))
    if study.root.exists(*study.trial_folder(variant), "trial.json"):
        logger.info(f"unfrozen: {variant.name} is cached")
        return variant
    weights = find_weights(study.root, variant.tiers, sources)
    seeds = study.seeds[: max(1, options.finetune.runs)]
    logger.info(f"unfrozen: {variant.name}, {len(seeds)} runs; heads start from those of {main.name}")
    result, outcomes = finetune_variant(
        study, variant, read_frozen_heads(study, main, seeds), weights, resources, limits
    )
    write_networks(study.root, study.trial_folder(variant), outcomes[0])
    write_trial(study, variant, result)
    _delete_checkpoints(study, variant, seeds)
    return variant


def choose_preset(options: FinetuneOptions, resources: Resources) -> FinetuneConfig:
    """Choose the preset of the options, for `auto` by the GPUs' memory, and apply what overrides it.

    Args:
        options: Preset, and the settings that override it.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The settings of the finetuning.
    """
    name = _find_fitting_preset(resources) if options.unfrozen == "auto" else options.unfrozen
    preset = FINETUNE_PRESETS[name]()
    if options.unfrozen == "auto":
        preset = replace(preset, workers=None)  # one a GPU
    elif preset.workers and resources.gpus:
        preset = replace(preset, workers=min(preset.workers, resources.gpus))
    logger.info(f"unfrozen: preset {name}")
    return options.finetune.apply_to(preset)


def _find_fitting_preset(resources: Resources) -> str:
    """Preset for the smallest GPU; where its memory is not known, one GPU is taken for a large one, several are not."""
    if not resources.gpus:
        return "small"
    large = resources.gpu_memory >= _LARGE_GPU_BYTES if resources.gpu_memory else resources.gpus == 1
    return "gpu80" if large else "gpu24x8"


def read_frozen_heads(study: Study, main: Variant, seeds: Sequence[int]) -> dict[int, dict[str, np.ndarray]]:
    """Read the MLPs that the frozen model's runs ended with.

    Args:
        study: Study that `main` was trained in.
        main: The frozen model.
        seeds: Seeds of the runs.
    Returns:
        Seed of each run to the state of its MLP.
    """
    tensors = read_trial_tensors(study, main)
    model = StackedMLP.from_state({name: torch.from_numpy(np.array(values)) for name, values in tensors.items()})
    heads = {seed: model.extract_run(study.seeds.index(seed)) for seed in seeds}
    return {seed: {name: value.numpy() for name, value in head.state_dict().items()} for seed, head in heads.items()}


def _delete_checkpoints(study: Study, variant: Variant, seeds: Sequence[int]) -> None:
    """Delete what a finished run needs no more: a checkpoint is three times its networks."""
    for seed in seeds:
        study.root.delete_folder(*study.folder, "unfrozen", run_name(study, variant, seed))


def run_name(study: Study, variant: Variant, seed: int) -> str:
    """Name the folder of a run's checkpoints, by which a job that starts again finds them.

    Args:
        study: The study.
        variant: Variant whose networks are finetuned.
        seed: Seed of the run.
    Returns:
        Name of the folder.
    """
    return f"{study.trial_folder(variant)[-1]}-{seed}"


def finetune_variant(
    study: Study,
    variant: Variant,
    heads: Mapping[int, Mapping[str, np.ndarray]],
    sources: Mapping[str, WeightSource],
    resources: Resources,
    limits: LimitsConfig,
) -> tuple[TrialResult, list[FinetuneOutcome]]:
    """Train each run of a finetuned variant, one after the other.

    Args:
        study: Data, seeds, and the folder for checkpoints.
        variant: Variant with `finetuning` set.
        heads: Seed of each run to the state of the MLP that it starts from.
        sources: Name of each network to where its weights are.
        resources: CPUs and GPUs of the cluster.
        limits: Per-clip resource limits.
    Returns:
        The trial's result, and the outcome of each run.
    Raises:
        ConfigError: If a batch or a number of workers is below 1.
        M3RayError: If training failed for good; the error says what to lower or to mend.
    """
    outcomes = []
    for seed, head in heads.items():
        name = run_name(study, variant, seed)
        spec, datasets = prepare_finetuning(study, variant, head, sources, seed, resources, limits, name)
        outcomes.append(train_run(study.root.subroot(*study.folder, "unfrozen"), name, spec, datasets, resources))
        _report_outcome(variant, seed, outcomes[-1])
    return summarise_finetuning(study, variant, tuple(heads), outcomes), outcomes


def train_run(
    folder: Root,
    name: str,
    spec: FinetuneSpec,
    datasets: Mapping[str, Callable[[], ray.data.Dataset]],
    resources: Resources,
) -> FinetuneOutcome:
    """Train one run to its end, from its latest checkpoint if it has one.

    Args:
        folder: Folder of all runs' checkpoints.
        name: Name of the run's folder below it.
        spec: What the workers are given.
        datasets: Name of each stream of frames to what makes it.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The run's outcome.
    Raises:
        LostDeviceError: If a worker cannot compute on the GPU that it was promised.
        M3RayError: If the workers failed again and again; the last reason is named.
    """
    run = folder.subroot(name)
    delete_pickled_run(run)
    delete_truncated_index(run)
    try:
        with _keep_interrupts():
            result = _make_trainer(folder, name, spec, datasets, resources).fit()
    except Exception as error:
        lost = find_lost_device(error)
        if lost:
            raise LostDeviceError(f"unfrozen: {lost}") from error
        raise M3RayError(
            f"unfrozen: training failed {_FAILURES} times, the last time so: {_last_line(error)}"
        ) from error
    return _read_outcome(run, result, spec)


def _make_trainer(
    folder: Root,
    name: str,
    spec: FinetuneSpec,
    datasets: Mapping[str, Callable[[], ray.data.Dataset]],
    resources: Resources,
) -> TorchTrainer:
    """Make Ray Train's trainer of a run, which goes on from the checkpoints in `folder/name`."""
    workers, gpu, shared = spec.layout.workers, bool(resources.gpus), ray.put(spec)
    spare = (resources.cpus - 1) / workers  # a CPU at least is left for decoding
    return TorchTrainer(
        work_loop,
        train_loop_config={"spec": shared, "gpu": gpu},
        torch_config=WorkerDeviceConfig(gpu=gpu),
        datasets=dict(datasets),
        dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": 1, "GPU": 1} if gpu else {"CPU": max(0.1, min(1.0, spare))},
        ),
        run_config=RunConfig(
            name=name,
            storage_path=folder.uri,
            failure_config=FailureConfig(max_failures=_FAILURES),
            checkpoint_config=CheckpointConfig(
                num_to_keep=spec.config.keep,
                checkpoint_score_attribute="val_spearman",
                checkpoint_score_order="max",
            ),
        ),
    )


@contextmanager
def _keep_interrupts() -> Iterator[None]:
    """Restore the handler of Ctrl-C after a training: Ray Train keeps its own, and the job could not be stopped."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if error.code:
            raise
        raise KeyboardInterrupt from error  # Ray Train ends an interrupted process as if it had succeeded
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGINT, before)


def _last_line(error: BaseException) -> str:
    failures = getattr(error, "worker_failures", None) or {0: error}
    text = str(next(iter(failures.values())))
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:600] if lines else type(error).__name__


def _read_outcome(run: Root, result: Any, spec: FinetuneSpec) -> FinetuneOutcome:
    final = final_checkpoint(run.list_names())
    checkpoint = result.checkpoint if final is None else ray.train.Checkpoint(run.path(final), run.fs)
    with checkpoint.as_directory() as folder:
        state = load_state(folder)
        history = json.loads(Path(folder, PROGRESS).read_text())
        arrays = load_file(str(Path(folder, OUTCOME)))
        names = (REFIT, REFIT_TEXT, REFIT_ROWS)
        refit = {name: Path(folder, name).read_bytes() for name in names if Path(folder, name).exists()}
    weights = state["model"] if state["average"] is None else _unwrap_average(state["average"])
    tensors = {key: value.numpy() for key, value in weights.items()}
    return FinetuneOutcome(
        {n: _select_prefix(tensors, f"networks.{n}.") for n in spec.columns},
        _select_prefix(tensors, "head."),
        np.array(history["train_loss"]),
        {key: np.array(values) for key, values in history["metrics"].items()},
        arrays["predictions"],
        {n: arrays[n] for n in spec.columns},
        history["stopped"],
        history["waiting"],
        history["seconds_a_step"],
        refit,
    )


def _unwrap_average(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("module."): value for key, value in state.items() if key.startswith("module.")}


def _select_prefix(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _report_outcome(variant: Variant, seed: int, outcome: FinetuneOutcome) -> None:
    curve = ", ".join(f"{value:.4f}" for value in outcome.metrics["spearman"])
    logger.info(
        f"unfrozen: {variant.name}, seed {seed}: val Spearman by epoch {curve}; "
        f"{outcome.waiting:.0%} waiting for frames"
    )
    if outcome.stopped:
        logger.info(f"unfrozen: stopped early, the last good epoch is kept: {outcome.stopped}")
