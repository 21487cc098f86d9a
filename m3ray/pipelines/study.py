"""The study through Tune: a trial a variant, its runs stacked; variants trained before are not trained again."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from ray import tune
from safetensors.numpy import load, save

from m3ray.config import as_json, fingerprint
from m3ray.data.catalogue import read_catalogue
from m3ray.data.rooms import current_tiers, tier_table
from m3ray.data.store import Root
from m3ray.errors import FeatureError
from m3ray.pipelines.cluster import Resources
from m3ray.pipelines.progress import say
from m3ray.study.results import with_differences
from m3ray.study.trial import TrialResult, run_trial
from m3ray.study.variants import Variant
from m3ray.training.features import MOST_DROPPED, StudyData, joined, tier_block

CODE_VERSION = 1


@dataclass(frozen=True)
class Study:
    """A study on a root.

    Args:
        root: holds the features, gets the results.
        name: under `study/`.
        data: the joined features and scores.
        key: changes when the data do.
        seeds: one a run.
    """

    root: Root
    name: str
    data: StudyData
    key: str
    seeds: tuple[int, ...]

    @property
    def folder(self) -> tuple[str, str]:
        return ("study", self.name)

    def part(self, variant: Variant) -> tuple[str, ...]:
        """Where a variant's results are kept; its name tells all that they depend on."""
        slug = re.sub(r"[^a-z0-9]+", "-", variant.name.lower()).strip("-")
        return (*self.folder, "parts", f"{slug}-{fingerprint(CODE_VERSION, variant, self.seeds, self.key)}")


def load_data(root: Root, tiers: Sequence[str]) -> tuple[StudyData, str]:
    """The joined matrix of the root's current tiers, and a key that changes with it.

    Raises:
        StudyError: too few scored clips, or a tier that the root lacks.
        FeatureError: more than 5 % of the scored clips lack a tier.
    """
    catalogue = read_catalogue(root)
    frame = catalogue.select(["clip_id", "split", "score"]).to_pandas()
    current = current_tiers(root)
    tables = {tier: _tier(root, tier, current) for tier in tiers}
    features, _dropped = joined(tables, frame["clip_id"].tolist())
    scored = set(frame.loc[frame["score"].notna(), "clip_id"])
    _report_dropped(len(scored), len(scored - set(features.clip_ids)))
    rows = frame.set_index("clip_id").loc[list(features.clip_ids)]
    data = StudyData.make(features, rows["score"].to_numpy(float), rows["split"].tolist())
    key = fingerprint({tier: current[tier]["folder"] for tier in tiers}, rows.reset_index().values.tolist())
    return data, key


def _tier(root: Root, tier: str, current: Mapping[str, Any]) -> tuple[Any, np.ndarray, list[str]]:
    table = tier_table(root, tier)
    metadata = root.shard_metadata("features", current[tier]["folder"])
    block, values = tier_block(tier, table, one_hot=metadata.get("one_hot", False), names=metadata.get("columns"))
    return block, values, table["clip_id"].to_pylist()


def _report_dropped(scored: int, dropped: int) -> None:
    if dropped:
        say(f"study: {dropped} of {scored} scored clips lack a tier (rejected, or not extracted) and are left out")
    if scored and dropped > MOST_DROPPED * scored:
        # Said loudly, not fatal: a folder of damaged clips is the user's finding, not a reason to lose the rest.
        say(f"study: warning: that is {dropped / scored:.0%}, more than {MOST_DROPPED:.0%}: look at rejects/")


def run_study(study: Study, variants: Sequence[Variant], on: Resources) -> pd.DataFrame:
    """Trains what was not trained before and writes the study's tables.

    Returns:
        `trials.parquet`: a row a variant.
    """
    unique = list({variant.name: variant for variant in variants}.values())
    missing = [variant for variant in unique if not study.root.exists(*study.part(variant), "trial.json")]
    say(f"study: {len(unique)} variants x {len(study.seeds)} runs; {len(unique) - len(missing)} cached")
    if missing:
        _tune(study, missing, on)
    return _collect(study, unique)


def _tune(study: Study, variants: Sequence[Variant], on: Resources) -> None:
    _quiet_tune()
    by_name = {variant.name: variant for variant in variants}
    trainable = tune.with_parameters(_trial, data=study.data, variants=by_name, study=_Light.of(study))
    # Several trials share a GPU: these models fill a small part of one.
    resources = {"cpu": 1, "gpu": 0.25} if on.gpus else {"cpu": 1}
    tuner = tune.Tuner(
        tune.with_resources(trainable, resources),
        param_space={"variant": tune.grid_search(list(by_name))},
        tune_config=tune.TuneConfig(metric="spearman", mode="max", reuse_actors=True),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=study.root.display(*study.folder),
            failure_config=tune.FailureConfig(max_failures=2),
            verbose=1,
        ),
    )
    results = tuner.fit()
    for error in results.errors:
        say(f"study: a trial failed: {str(error).splitlines()[-1][:300]}")


def _quiet_tune() -> None:
    """Tune's table, not its advice."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "1")
    logging.getLogger("ray.tune").setLevel(logging.ERROR)


@dataclass(frozen=True)
class _Light:
    """What a trial needs of the study, without the data."""

    root: Root
    name: str
    key: str
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, study: Study) -> _Light:
        return cls(study.root, study.name, study.key, study.seeds)


def _trial(config: dict[str, Any], data: StudyData, variants: Mapping[str, Variant], study: _Light) -> None:
    """One Tune trial: all runs of a variant; its tables go to the root, its means to Tune."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    variant = variants[config["variant"]]
    result = run_trial(variant, data, study.seeds, device)
    whole = Study(study.root, study.name, data, study.key, study.seeds)
    _write_part(whole, variant, result)
    shown = ("features", "parameters", "runs", "spearman", "mse", "best_epoch", "best_spearman")
    # Tune's table wants numbers: a trial whose every run is constant reports no correlation as -1.
    tune.report({name: -1.0 if result.summary[name] is None else result.summary[name] for name in shown})


def _write_part(study: Study, variant: Variant, result: TrialResult) -> None:
    """The variant's tables; `trial.json` last, so that what has one is complete."""
    part = study.part(variant)
    study.root.write_table(pa.Table.from_pandas(result.runs, preserve_index=False), *part, "runs.parquet")
    study.root.write_table(pa.Table.from_pandas(result.predictions, preserve_index=False), *part, "predictions.parquet")
    model = result.trained.model
    tensors = {name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in model.state_dict().items()}
    study.root.write_bytes(save({**tensors, "columns": result.columns}), *part, "model.safetensors")
    study.root.write_json(result.summary, *part, "trial.json")


def part_tensors(study: Study, variant: Variant) -> dict[str, np.ndarray]:
    """The trained runs of a variant, and the columns that they see."""
    return load(study.root.read_bytes(*study.part(variant), "model.safetensors"))


def _collect(study: Study, variants: Sequence[Variant]) -> pd.DataFrame:
    root = study.root
    done = [v for v in variants if root.exists(*study.part(v), "trial.json")]
    if not done:
        raise FeatureError("study: every trial failed; the lines above say why")
    runs = pd.concat([root.read_table(*study.part(v), "runs.parquet").to_pandas() for v in done], ignore_index=True)
    summaries = {v.name: root.read_json(*study.part(v), "trial.json") for v in done}
    rows = [summaries.get(v.name) or {"variant": v.name, "full": v.full, "status": "failed"} for v in variants]
    trials = with_differences(_trials_frame(rows), runs)
    predictions = [
        root.read_table(*study.part(v), "predictions.parquet").to_pandas().assign(variant=v.name) for v in done
    ]
    root.write_table(pa.Table.from_pandas(runs, preserve_index=False), *study.folder, "runs.parquet")
    root.write_table(pa.Table.from_pandas(trials, preserve_index=False), *study.folder, "trials.parquet")
    together = pd.concat(predictions, ignore_index=True)
    root.write_table(pa.Table.from_pandas(together, preserve_index=False), *study.folder, "predictions.parquet")
    config = {"seeds": study.seeds, "key": study.key, "variants": [as_json(v) for v in variants]}
    root.write_json(config | {"tiers": _tier_facts(root, study)}, *study.folder, "config.json")
    return trials


def _trials_frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    for name in ("features", "parameters", "runs", "best_epoch"):
        frame[name] = frame[name].astype("Int64")
    return frame


def _tier_facts(root: Root, study: Study) -> dict[str, Any]:
    current = current_tiers(root)
    return {tier: current[tier] for tier in study.data.features.tiers if tier in current}
