"""The study under Tune: a trial a variant, its runs stacked; a variant that was trained before is not trained again."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from ray import tune

from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import take_device
from m3ray.pipelines.runtime.tune import make_reporter, silence_tune, temporary_tune_folder
from m3ray.pipelines.study.layout import lay_out_study
from m3ray.study.store import collect_trials, write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant
from m3ray.training.tails import describe_tails

logger = logging.getLogger(__name__)

_Work = tuple[Study, Variant]  # a trial: a variant on a study's data


def run_study(study: Study, variants: Sequence[Variant], resources: Resources) -> pd.DataFrame:
    """Train the variants that were not trained before, and write the study's tables.

    Args:
        study: Data, seeds and folder of the study.
        variants: The variants; of two of one name the later one counts.
        resources: CPUs and GPUs of the cluster.
    Returns:
        `trials.parquet`: a row a variant.
    """
    return collect_trials(study, train_missing([study], variants, resources))


def train_missing(studies: Sequence[Study], variants: Sequence[Variant], resources: Resources) -> list[Variant]:
    """Train the variants that were not trained before, on the data of each study; all trials share their workers.

    Args:
        studies: Studies of one root, the same features with different targets: data, seeds and folder of each.
        variants: The variants; of two of one name the later one counts.
        resources: CPUs and GPUs of the cluster.
    Returns:
        The variants, each once.
    """
    unique = list({variant.name: variant for variant in variants}.values())
    work: dict[str, _Work] = {}
    for study in studies:
        _log_tails(study, unique)
        missing = [variant for variant in unique if not study.root.exists(*study.trial_folder(variant), "trial.json")]
        name = study.data.target.name
        target, cached = "" if name == "score" else f" on {name}", len(unique) - len(missing)
        logger.info(f"study: {len(unique)} variants x {len(study.seeds)} runs{target}; {cached} cached")
        labels = [variant.name if len(studies) == 1 else f"{variant.name}, {name}" for variant in missing]
        work |= {label: (study, variant) for label, variant in zip(labels, missing, strict=True)}
    if work:
        _run_trials(work, resources)
    return unique


def _log_tails(study: Study, variants: Sequence[Variant]) -> None:
    data, rows = study.data, study.data.train
    weights = None if data.weights is None else data.weights[rows]
    for sentence in {describe_tails(data.scores[rows], variant.training, weights) for variant in variants}:
        if sentence is not None:
            logger.info(f"study: {sentence}")


def _run_trials(work: Mapping[str, _Work], resources: Resources) -> None:
    silence_tune()
    layout = _lay_out(work, resources)
    cores = {label: int(share["cpu"]) for label, share in layout.items()}
    # The matrix goes to the object store once, whatever is predicted from it; trials on a node share it.
    trainable = tune.with_parameters(_trial, work=dict(work), gpu=bool(resources.gpus), cores=cores)
    with temporary_tune_folder() as folder:
        tuner = tune.Tuner(
            tune.with_resources(trainable, lambda config: _as_placement(layout[config["variant"]])),
            param_space={"variant": tune.grid_search(list(layout))},
            tune_config=tune.TuneConfig(metric="spearman", mode="max", reuse_actors=True),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=2),
                progress_reporter=make_reporter("variant"),
                verbose=1,
            ),
        )
        for error in tuner.fit().errors:
            logger.warning(f"study: a trial failed, the table marks it: {str(error).splitlines()[-1][:300]}")


def _lay_out(work: Mapping[str, _Work], resources: Resources) -> dict[str, dict[str, float]]:
    """Resources of each trial, in the order to start them in."""
    study = next(iter(work.values()))[0]
    named = [replace(variant, name=label) for label, (_, variant) in work.items()]
    return lay_out_study(study.data, named, len(study.seeds), resources)


def _as_placement(resources: Mapping[str, float]) -> tune.PlacementGroupFactory:
    """Resources of one trial, as Tune takes them from a function."""
    return tune.PlacementGroupFactory([{name.upper(): number for name, number in resources.items()}])


def _trial(
    config: dict[str, Any], work: Mapping[str, _Work], gpu: bool = False, cores: Mapping[str, int] | None = None
) -> None:
    """One Tune trial: all runs of a variant on its cores; its tables go to the root, its means to Tune."""
    torch.set_num_threads(1)
    device = take_device(gpu=gpu)
    study, variant = work[config["variant"]]
    start = time.perf_counter()
    own = (cores or {}).get(config["variant"], 1)
    result = run_trial(variant, study.data, study.seeds, device, cores=own)
    result.summary["seconds"] = time.perf_counter() - start
    write_trial(study, variant, result)
    shown = ("features", "parameters", "runs", "spearman", "mse", "best_epoch", "best_spearman")
    # Tune rejects a report without its metric: a trial whose every run is constant has no correlation, and reports
    # the lowest. Tables are written from the trial itself, which holds None.
    tune.report({name: -1.0 if result.summary[name] is None else result.summary[name] for name in shown})
