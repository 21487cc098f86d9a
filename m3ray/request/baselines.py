"""Pretrained scorers that stand beside a study's model: which ones a job computes and shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from m3ray.config.options import AblateOptions, ReproduceOptions
from m3ray.errors import ConfigError, StudyError
from m3ray.features.pretrained import list_pretrained, suits_target
from m3ray.features.target_columns import choose_target
from m3ray.storage.dataset_record import DEMO
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.storage.tier_index import read_tier_index
from m3ray.tiers.pretrained.facts import SCORERS, find_scorer

NONE = "none"


def is_installed(scorer: str) -> bool:
    """Tell whether the package of a pretrained scorer is installed; nothing of it is imported.

    Args:
        scorer: Name of the scorer.
    Returns:
        Whether all is there that it needs; weights that are in no package are downloaded when they are needed.
    """
    facts = find_scorer(scorer)
    packages = [name for name in (facts.package, facts.needs) if name is not None]
    return all(find_spec(name) is not None for name in packages)


def settle_baselines(root: Root, options: ReproduceOptions) -> ReproduceOptions:
    """Choose the pretrained scorers that a job computes where its options name none, and check those that they name.

    Args:
        root: Root of the job.
        options: Options of the job, with the root's record applied.
    Returns:
        The options with the scorers' names: the root's own that suit the target, in the demo those that are installed.
    Raises:
        ConfigError: If there is none of a name, it predicts something else than the study, or is not installed.
    """
    target = choose_target(root, options.target)
    if options.baselines:
        _check_names(options.baselines, target)
        _check_installed(options.baselines)
        return options
    record = read_record(root)
    index = read_tier_index(root)
    own = [*(record.tiers if record else ()), *(name for name, entry in index.items() if not entry.user_provided)]
    # What would be downloaded first is computed where it is asked for.
    drawn = [n for n in SCORERS if is_installed(n) and find_scorer(n).url is None] if options.dataset == DEMO else []
    return replace(options, baselines=tuple(list_pretrained([*own, *drawn], target)))


def check_baselines(root: Root, options: AblateOptions) -> None:
    """Check the pretrained scorers that a study on a root names.

    Args:
        root: Root of the study.
        options: Options of the job.
    Raises:
        ConfigError: If there is none of a name, or it predicts something else than the study.
        StudyError: If the root lacks its tier.
    """
    _check_names(options.baselines, choose_target(root, options.target))
    index = read_tier_index(root)
    for name in options.baselines:
        if name not in (NONE, *index):
            raise StudyError(
                f"--baselines {name}: {root.uri} holds no tier {name}: run jobs/extract.py --out {root.uri} --tiers "
                f"{name} first"
            )


def _check_names(names: Sequence[str], target: str) -> None:
    if NONE in names and len(names) > 1:
        raise ConfigError(f"--baselines {' '.join(names)}: none goes with no other name: leave it, or the others, out")
    for name in names:
        if name == NONE:
            continue
        if name not in SCORERS:
            raise ConfigError(f"--baselines {name}: choose from {', '.join(SCORERS)}, or none")
        if not suits_target(name, target):
            raise ConfigError(
                f"--baselines {name}: it predicts {find_scorer(name).predicts}, and this study {target}: leave it out, "
                "or choose another --target"
            )


def _check_installed(names: Sequence[str]) -> None:
    for scorer in (find_scorer(name) for name in names if name != NONE):
        if not is_installed(scorer.name):
            missing = scorer.package or scorer.needs
            raise ConfigError(
                f"--baselines {scorer.name}: the package {missing} is not installed: {scorer.install_command}, "
                "or leave it out"
            )


def list_computed(options: ReproduceOptions) -> tuple[str, ...]:
    """List the tiers that a job computes: the model's, and the pretrained scorers that stand beside it.

    Args:
        options: Options of the job, settled.
    Returns:
        Names of the tiers; a scorer that is not installed here is left as the root has it.
    """
    more = (name for name in options.baselines if name != NONE and is_installed(name))
    return tuple(dict.fromkeys((*options.tiers, *more)))


def choose_pretrained(root: Root, options: AblateOptions | ReproduceOptions) -> list[str]:
    """Choose the pretrained scorers that are rows of a study.

    Args:
        root: Root that holds the features.
        options: Options of the job, checked.
    Returns:
        Names of those that the root has: the ones that were asked for, or all that suit the target.
    """
    computed = [name for name, entry in read_tier_index(root).items() if not entry.user_provided]
    held = list_pretrained(computed, choose_target(root, options.target))
    return [name for name in held if not options.baselines or name in options.baselines]
