"""Training from frames with Ray Train: what the workers get, how it goes on after a loss, what is kept of it."""

from __future__ import annotations

import json
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
from ray.train.torch import TorchConfig, TorchTrainer
from safetensors.numpy import load_file

from m3ray.config import LimitsConfig
from m3ray.config.finetuning import UnfrozenConfig
from m3ray.config.options import UnfrozenOptions
from m3ray.config.presets import UNFROZEN_PRESETS
from m3ray.console import say
from m3ray.errors import M3RayError
from m3ray.pipelines.finetuning.prepare import prepared_work
from m3ray.pipelines.finetuning.streams import mend_snapshot
from m3ray.pipelines.finetuning.weights import weights_of
from m3ray.pipelines.finetuning.worker import work_loop
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.storage.root import Root
from m3ray.study.finetuned_trial import Outcome, trial_of, write_networks
from m3ray.study.store import part_tensors, write_part
from m3ray.study.study import Study
from m3ray.study.trial import TrialResult
from m3ray.study.variants import Variant, unfrozen_variant
from m3ray.tiers.network import WeightSource
from m3ray.training.finetuning.checkpoint import TENSORS, load_state
from m3ray.training.finetuning.spec import OUTCOME, PROGRESS, REFIT, REFIT_ROWS, REFIT_TEXT, Work

_FAILURES = 5
_OLDER_STATE = "state.pt"


def add_unfrozen(
    study: Study,
    main: Variant,
    options: UnfrozenOptions,
    sources: Mapping[str, WeightSource],
    limits: LimitsConfig,
    on: Resources,
) -> Variant:
    """The full model trained with its networks, unless the study has it; the head starts from the frozen model's.

    Args:
        study: that `main` was trained in.
        main: the full model.
        options: preset and what is set otherwise.
        sources: weights that the job knows.
        limits: what a clip may cost.
        on: the cluster.
    Returns:
        The unfrozen variant.
    """
    variant = unfrozen_variant(main, preset_of(options, on))
    if study.root.exists(*study.part(variant), "trial.json"):
        say(f"unfrozen: {variant.name} is cached")
        return variant
    weights = weights_of(study.root, variant.tiers, sources)
    seeds = study.seeds[: max(1, options.full.runs)]
    say(f"unfrozen: {variant.name}, {len(seeds)} runs; heads start from those of {main.name}")
    result, outcomes = train_unfrozen(study, variant, frozen_heads(study, main, seeds), weights, on, limits)
    write_networks(study.root, study.part(variant), outcomes[0])
    write_part(study, variant, result)
    _clear_checkpoints(study, variant, seeds)
    return variant


def preset_of(options: UnfrozenOptions, on: Resources) -> UnfrozenConfig:
    """The preset asked for, or the one for the GPUs there are, with what is set otherwise."""
    fitting = "small" if not on.gpus else "gpu80" if on.gpus == 1 else "gpu24x8"
    name = fitting if options.unfrozen == "auto" else options.unfrozen
    preset = UNFROZEN_PRESETS[name]()
    if options.unfrozen == "auto" and on.gpus > 1:
        preset = replace(preset, workers=on.gpus)
    say(f"unfrozen: preset {name}")
    return options.full.over(preset)


def frozen_heads(study: Study, main: Variant, seeds: Sequence[int]) -> dict[int, dict[str, np.ndarray]]:
    """Seed to the state of the MLP that the frozen model's run of that seed ended with."""
    tensors = part_tensors(study, main)
    layers = sum(name.startswith("weights.") for name in tensors)
    return {
        seed: {
            f"layers.{k}.{ours}": np.array(tensors[f"{theirs}.{k}"][study.seeds.index(seed)])
            for k in range(layers)
            for ours, theirs in (("weight", "weights"), ("bias", "biases"))
        }
        for seed in seeds
    }


def _clear_checkpoints(study: Study, variant: Variant, seeds: Sequence[int]) -> None:
    """What a finished training needs no more: a checkpoint is three times its networks."""
    for seed in seeds:
        study.root.delete_folder(*study.folder, "unfrozen", run_name(study, variant, seed))


def run_name(study: Study, variant: Variant, seed: int) -> str:
    """Of a run's folder of checkpoints; the same call finds it again."""
    return f"{study.part(variant)[-1]}-{seed}"


def train_unfrozen(
    study: Study,
    variant: Variant,
    heads: Mapping[int, Mapping[str, np.ndarray]],
    sources: Mapping[str, WeightSource],
    on: Resources,
    limits: LimitsConfig,
) -> tuple[TrialResult, list[Outcome]]:
    """Trains each run of an unfrozen variant, one after the other.

    Args:
        study: data, seeds, where checkpoints go.
        variant: with `unfrozen` set.
        heads: seed to the state of the MLP that its run starts from, the frozen model's.
        sources: of the networks' weights.
        on: the cluster.
        limits: what a clip may cost.
    Returns:
        What a trial leaves, and each run.
    Raises:
        ConfigError: more workers than clips, a batch that cannot be shared out.
        M3RayError: training failed for good; what to lower or to mend is said.
    """
    outcomes = []
    for seed, head in heads.items():
        name = run_name(study, variant, seed)
        work, datasets = prepared_work(study, variant, head, sources, seed, on, limits, name)
        outcomes.append(fit(study.root.below(*study.folder, "unfrozen"), name, work, datasets, on))
        _say_outcome(variant, seed, outcomes[-1])
    return trial_of(study, variant, tuple(heads), outcomes), outcomes


def fit(
    folder: Root, name: str, work: Work, datasets: Mapping[str, Callable[[], ray.data.Dataset]], on: Resources
) -> Outcome:
    """Runs the workers until they are done, from the run's latest checkpoint if it has one.

    Raises:
        M3RayError: they failed again and again; the last reason is named.
    """
    run = folder.below(name)
    leave_older(run)
    mend_snapshot(run)
    workers, shared = work.layout.workers, ray.put(work)
    spare = (on.cpus - 1) / workers  # a CPU at least is left for decoding
    trainer = TorchTrainer(
        work_loop,
        train_loop_config={"work": shared},
        torch_config=TorchConfig(backend="nccl" if on.gpus else "gloo"),
        datasets=dict(datasets),
        dataset_config=DataConfig(execution_options=ExecutionOptions(preserve_order=True)),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=bool(on.gpus),
            resources_per_worker={"CPU": 1 if on.gpus else max(0.1, min(1.0, spare))} | ({"GPU": 1} if on.gpus else {}),
        ),
        run_config=RunConfig(
            name=name,
            storage_path=folder.uri,
            failure_config=FailureConfig(max_failures=_FAILURES),
            checkpoint_config=CheckpointConfig(
                num_to_keep=work.config.keep,
                checkpoint_score_attribute="val_spearman",
                checkpoint_score_order="max",
            ),
        ),
    )
    try:
        with _own_interrupts():
            result = trainer.fit()
    except Exception as error:
        raise M3RayError(f"unfrozen: training failed {_FAILURES} times, the last time so: {_reason(error)}") from error
    return _outcome(run, result, work)


@contextmanager
def _own_interrupts() -> Iterator[None]:
    """Ray Train takes Ctrl-C for a training and never gives it back: later stages of the job could not be stopped."""
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


def leave_older(run: Root) -> None:
    """Deletes a run whose checkpoints an older m3ray wrote: they are pickles, and none is read out of a root."""
    steps = [folder for folder in run.names() if folder.startswith("step-")]
    if any(run.exists(folder, _OLDER_STATE) and not run.exists(folder, TENSORS) for folder in steps):
        say(f"unfrozen: the checkpoints in {run.uri} are an older m3ray's, of a kind that may run code: it begins anew")
        run.delete_folder()


def _reason(error: BaseException) -> str:
    failures = getattr(error, "worker_failures", None) or {0: error}
    text = str(next(iter(failures.values())))
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:600] if lines else type(error).__name__


def _outcome(run: Root, result: Any, work: Work) -> Outcome:
    ended = [folder for folder in run.names() if folder.endswith("-end")]
    checkpoint = result.checkpoint if not ended else ray.train.Checkpoint(run.path(ended[-1]), run.fs)
    with checkpoint.as_directory() as folder:
        state = load_state(folder)
        history = json.loads(Path(folder, PROGRESS).read_text())
        found = load_file(str(Path(folder, OUTCOME)))
        names = (REFIT, REFIT_TEXT, REFIT_ROWS)
        refit = {name: Path(folder, name).read_bytes() for name in names if Path(folder, name).exists()}
    weights = state["model"] if state["average"] is None else _averaged(state["average"])
    tensors = {key: value.numpy() for key, value in weights.items()}
    return Outcome(
        {n: _below(tensors, f"networks.{n}.") for n in work.columns},
        _below(tensors, "head."),
        np.array(history["train_loss"]),
        {key: np.array(values) for key, values in history["metrics"].items()},
        found["predictions"],
        {n: found[n] for n in work.columns},
        history["stopped"],
        history["waiting"],
        history["seconds_a_step"],
        refit,
    )


def _averaged(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("module."): value for key, value in state.items() if key.startswith("module.")}


def _below(tensors: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _say_outcome(variant: Variant, seed: int, found: Outcome) -> None:
    rho = found.metrics["spearman"]
    curve = ", ".join(f"{value:.4f}" for value in rho)
    say(f"unfrozen: {variant.name}, seed {seed}: val Spearman by epoch {curve}; {found.waiting:.0%} waiting for frames")
    if found.stopped:
        say(f"unfrozen: stopped early, the last good epoch is kept: {found.stopped}")
