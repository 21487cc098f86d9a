"""Studies on made-up features with a trained variant, small enough to be trained in a moment."""

from dataclasses import replace

import torch
from made_roots import made_root

from m3ray.config import TrainConfig
from m3ray.features.load import load_data
from m3ray.study.store import write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import full_model


def train_study(folder, seeds=(0, 1), epochs=2, hidden=(8,), rows=40, tiers=("raw", "scene")):
    """A study of raw and scene on made-up clips, its full model on `tiers` in order, and what training that gave."""
    root = made_root(folder, rows=rows)
    training = TrainConfig(hidden=hidden, epochs=epochs)
    variant = replace(full_model(("raw", "scene")), tiers=tuple(tiers), training=training)
    study = Study(root, "small", load_data(root, ("raw", "scene")), tuple(seeds))
    result = run_trial(variant, study.data, study.seeds, torch.device("cpu"))
    write_trial(study, variant, result)
    return study, variant, result
