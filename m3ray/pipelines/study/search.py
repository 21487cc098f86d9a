"""Search over hyper-parameters: Optuna's TPE under Tune, settings that fall behind stopped early by ASHA."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import torch
from ray import tune
from ray.tune.search import ConcurrencyLimiter

from m3ray.config import TrainConfig, as_json, fingerprint
from m3ray.config.options import TrainOptions, TuneOptions
from m3ray.errors import StudyError
from m3ray.features.load import StudyFeatures
from m3ray.pipelines.runtime.cluster import Resources
from m3ray.pipelines.runtime.devices import take_device
from m3ray.pipelines.runtime.search_state import (
    TrialRecorder,
    make_optimiser,
    make_scheduler,
    resume_search,
    run_to_end,
)
from m3ray.pipelines.runtime.tune import make_reporter, silence_tune, temporary_tune_folder, trial_resources
from m3ray.pipelines.study.model_selection import choose_training
from m3ray.request.settings import read_training
from m3ray.storage.csv_writing import csv_bytes
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.study.search_baselines import DEFAULT, PRESET, Baselines
from m3ray.study.search_choice import COLUMNS, OBJECTIVES, rank_settings, read_report, report_epoch
from m3ray.study.search_commands import BEST_FILE, ablate_command, train_command
from m3ray.study.search_history import DONE, SearchHistory, Setting
from m3ray.study.search_result import (
    NAMES,
    WORDS,
    Contest,
    describe_gain,
    hold_contests,
    holds,
    is_gain_shown,
    show,
)
from m3ray.study.search_space import SPACE, point_from_training
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import Variant

logger = logging.getLogger(__name__)

_DRIVER = torch.device("cpu")  # Ray gives a driver no GPU


def find_baselines(
    root: Root, loaded: StudyFeatures, variant: Variant, options: TuneOptions, resources: Resources
) -> Baselines:
    """Find what a search's user has without it: the preset, and what `jobs/train.py` takes for the same tiers.

    Args:
        root: Root with the features.
        loaded: Joined features and scores.
        variant: Tiers of the search, with the preset's training.
        options: Options of the search.
        resources: CPUs and GPUs of the cluster.
    Returns:
        Both.
    Raises:
        ConfigError: If the root's record cannot be read.
    """
    record = read_record(root)
    preset = options.preset if record is None or options.preset != "auto" else record.settings.get("preset", "auto")
    dataset: Any = None if record is None else record.dataset
    asked = TrainOptions(out=root.uri, preset=preset, dataset=dataset, epochs=options.epochs)
    default = choose_training(root, loaded, replace(variant, training=read_training(asked)), options, resources)
    return Baselines(variant.training, default)


def search_settings(
    study: Study, variant: Variant, baselines: Baselines, options: TuneOptions, resources: Resources
) -> pd.DataFrame:
    """Try settings of a variant's training; the same call goes on where an earlier one was cut.

    Args:
        study: Data, seeds of each setting's runs, and the folder of the search.
        variant: Its tiers are what every setting sees.
        baselines: The settings that are tried first, and that the best one is compared with.
        options: Number of settings to try, the metric that says which is best, and what the commands repeat.
        resources: CPUs and GPUs of the cluster.
    Returns:
        A row a setting, best first.
    Raises:
        ConfigError: If an earlier search of this name was on other data or settings.
        DamagedFileError: If what an earlier search left cannot be read.
        StudyError: If every setting failed.
    """
    silence_tune()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    metric = options.metric
    logger.info(f"search: what is chosen is {OBJECTIVES[metric]}")
    request = _identify_search(study, variant, baselines, options)
    tried = resume_search(study, baselines.space, baselines.first_points()[0], request)
    left = options.trials - len(tried.ended)
    if left > 0:
        with temporary_tune_folder() as folder:
            run_to_end(
                _make_tuner(study, variant, baselines, tried, left, metric, resources, folder), tried, options.trials
            )
    rows = [_make_row(setting, baselines) for setting in tried.ended]
    frame = rank_settings(_add_baselines(pd.DataFrame(rows), study, variant, baselines), metric)
    text = frame.assign(hidden=frame["hidden"].map(str))
    study.root.write_table(pa.Table.from_pandas(text, preserve_index=False), *study.folder, "trials.parquet")
    study.root.write_bytes(csv_bytes(text), *study.folder, "trials.csv")
    if not frame["admissible"].iloc[0]:
        raise StudyError(
            "search: no setting was trained to its last epoch and gave clips different, finite scores; the lines above "
            f"say why, {study.root.display(*study.folder, 'trials.csv')} has what each reached"
        )
    _write_best(study, variant, baselines, frame.iloc[0], options)
    return frame


def _make_tuner(
    study: Study,
    variant: Variant,
    baselines: Baselines,
    tried: SearchHistory,
    left: int,
    metric: str,
    resources: Resources,
    folder: str,
) -> tune.Tuner:
    """Tune on the settings that are left; its own files go to `folder`."""
    optimiser = make_optimiser(tried, baselines.first_points(), COLUMNS[metric], study.seeds[0])
    trainable = tune.with_parameters(
        _run_setting, study=study, variant=variant, baselines=baselines, gpu=bool(resources.gpus)
    )
    return tune.Tuner(
        tune.with_resources(trainable, trial_resources(resources)),
        tune_config=tune.TuneConfig(
            num_samples=left,
            # More at once would be drawn blindly: TPE learns from those that have ended.
            search_alg=ConcurrencyLimiter(optimiser, max_concurrent=max(2, min(left // 4, resources.cpus))),
            scheduler=make_scheduler(tried, COLUMNS[metric], baselines.epochs),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            callbacks=[TrialRecorder(tried)],
            failure_config=tune.FailureConfig(max_failures=1),
            progress_reporter=make_reporter(*SPACE),
            verbose=1,
        ),
    )


def _run_setting(
    config: dict[str, Any], study: Study, variant: Variant, baselines: Baselines, gpu: bool = False
) -> None:
    """One Tune trial: all runs of a setting as one model, so that ASHA sees their mean after each epoch."""
    torch.set_num_threads(1)
    _train_setting(study, variant, baselines.training_of(config), take_device(gpu=gpu), tune.report)


def _train_setting(
    study: Study,
    variant: Variant,
    training: TrainConfig,
    device: torch.device,
    report: Callable[[dict[str, Any]], object],
) -> None:
    """Train all runs of a setting as one model; `report` gets their means after each epoch."""
    data = study.data
    truth, weights = data.scores[data.val], None if data.weights is None else data.weights[data.val]

    def report_means(epoch: int, metrics: Mapping[str, np.ndarray]) -> None:
        report({**report_epoch(metrics, truth, weights), "epoch": epoch + 1})

    tried = replace(variant, training=training)
    run_trial(tried, data, study.seeds, device, on_epoch=report_means, stack=len(study.seeds))


def _make_row(setting: Setting, baselines: Baselines) -> dict[str, Any]:
    """A setting: what it was, what it reached, and whether ASHA let it train all its epochs."""
    epochs = int(setting.last.get("epoch", 0))
    origin = baselines.origin_of(setting.point)
    complete = setting.status == DONE and epochs == baselines.training_of(setting.point).epochs
    reached = {**read_report(setting.last), "spearman_std": setting.last.get("spearman_std", np.nan)}
    return {
        **setting.point,
        **reached,
        "epochs": epochs,
        "origin": origin,
        "status": setting.status,
        "complete": complete,
    }


def _add_baselines(frame: pd.DataFrame, study: Study, variant: Variant, baselines: Baselines) -> pd.DataFrame:
    """The baselines trained to their last epoch even where ASHA stopped them, or where they are no point to try."""
    for name, training in baselines.named():
        itself = frame["origin"] == name
        if frame.loc[itself, "complete"].any():
            continue
        reports: list[dict[str, Any]] = []
        _train_setting(study, variant, training, _DRIVER, reports.append)
        last = Setting(point_from_training(training), (reports[-1],), DONE)
        row = _make_row(last, baselines) | {"origin": name, "complete": True}
        frame = pd.concat([frame[~itself], pd.DataFrame([row])], ignore_index=True)
    return frame


def _write_best(study: Study, variant: Variant, baselines: Baselines, row: pd.Series, options: TuneOptions) -> None:
    """The best setting as a file for `--config`, compared with the baselines on seeds that chose nothing."""
    best = baselines.training_of(row.to_dict(), row["origin"])
    val, test = hold_contests(study, variant, best, baselines, options.metric)
    commands = {
        "train": train_command(study, variant.tiers, options),
        "ablate": ablate_command(study, variant.tiers, options),
    }
    result = {
        "training": as_json(best),
        "tiers": list(variant.tiers),
        "chosen_on": "val",
        "metric": options.metric,
        "objective": OBJECTIVES[options.metric],
        "origin": row["origin"],
        **{f"val_{name}": value for name, value in read_report(row.to_dict()).items()},
        "seeds": list(study.seeds),
        "default": {"training": as_json(baselines.default), "is_preset": baselines.are_alike},
        "preset": {"training": as_json(baselines.preset)},
        "fresh_seeds": val.as_json(),
        "test": None if test is None else test.as_json(),
        "default_holds": holds(val.gains[DEFAULT]),
        "preset_holds": holds(val.gains.get(PRESET, val.gains[DEFAULT])),
        "verdict": describe_gain(val, test, DEFAULT),
        "commands": commands,
        "note": "chosen on val, so optimistic; fresh_seeds had no part in the choice, on the same val; test had none",
    }
    study.root.write_json(result, *study.folder, BEST_FILE)
    _log_best(row, val, test, len(study.seeds))
    logger.info(f"search: a bundle of the best setting: {commands['train']}")
    logger.info(f"search: the study with it: {commands['ablate']}")


def _log_best(row: pd.Series, val: Contest, test: Contest | None, seeds: int) -> None:
    """Say what the search was worth, and warn where it was not shown to be worth anything."""
    itself = f", {NAMES[row['origin']]}" if row["origin"] in NAMES else ""
    logger.info(
        f"search: best setting{itself}: Spearman {show(row['spearman'], 'spearman')}, recalibrated MSE "
        f"{show(row['calibrated_mse'], 'mse')} on val, which chose it, so optimistic"
    )
    logger.info(f"search: {WORDS[val.metric]} of {seeds} fresh seeds on val: {val.describe()}")
    if test is not None:
        logger.info(f"search: on test, which chose nothing: {test.describe()}")
    if PRESET in val.gains:
        logger.info(f"search: {describe_gain(val, test, PRESET)}")
    verdict = describe_gain(val, test, DEFAULT)
    if is_gain_shown(val, test):
        logger.info(f"search: {verdict}")
    else:
        logger.warning(f"search: {verdict}; jobs/train.py without --config may do as well")


def _identify_search(study: Study, variant: Variant, baselines: Baselines, options: TuneOptions) -> dict[str, Any]:
    """What a search that goes on must have in common with what it began as."""
    return {
        "data": fingerprint(study.loaded.key, dict(study.loaded.folders)),
        "variant": as_json(variant),
        "default": as_json(baselines.default),
        "seeds": list(study.seeds),
        "trials": options.trials,
        "metric": options.metric,
        "objective": OBJECTIVES[options.metric],
    }
