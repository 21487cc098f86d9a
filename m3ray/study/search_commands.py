"""The commands that go on from a search: a bundle of its best setting, and a study with it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from m3ray.config.options import AblateOptions, TrainOptions, TuneOptions
from m3ray.study.study import Study

BEST_FILE = "best.json"


def train_command(study: Study, tiers: Sequence[str], options: TuneOptions) -> str:
    """Command that makes a bundle of a search's best setting.

    Args:
        study: The search.
        tiers: Tiers that it searched on.
        options: Options of the search.
    Returns:
        The command, as a shell takes it.
    """
    runs = _number("--runs", options.runs, TrainOptions.runs)
    # A second search's bundle does not take the place of the first one's.
    name = "tuned" if study.name == TuneOptions.name else f"tuned-{study.name}"
    return _join("train", [*_common_arguments(study, tiers, options), *runs, "--name", name])


def ablate_command(study: Study, tiers: Sequence[str], options: TuneOptions) -> str:
    """Command that makes the study's tables with a search's best setting.

    Args:
        study: The search.
        tiers: Tiers that it searched on.
        options: Options of the search.
    Returns:
        The command, as a shell takes it.
    """
    runs = _number("--runs", options.runs, AblateOptions.runs)
    seed = _number("--seed", options.seed, AblateOptions.seed)
    return _join("ablate", [*_common_arguments(study, tiers, options), *runs, *seed])


def _common_arguments(study: Study, tiers: Sequence[str], options: TuneOptions) -> list[str]:
    """Root, settings, tiers, target and weights that were searched; the groups are the root's own."""
    arguments = ["--out", study.root.uri, "--config", study.root.display(*study.folder, BEST_FILE), "--tiers", *tiers]
    if study.data.target.name != "score":
        arguments += ["--target", study.data.target.name]
    if study.data.weights is not None:
        arguments += ["--weigh", "responses"]
    return [*arguments, "--allow-missing"] if options.allow_missing else arguments


def _number(name: str, value: int, default: int) -> list[str]:
    return [] if value == default else [name, str(value)]


def _join(job: str, arguments: Sequence[str]) -> str:
    return shlex.join(["python", f"jobs/{job}.py", *arguments])
