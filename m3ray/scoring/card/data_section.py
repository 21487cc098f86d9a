"""The sections of a model card on the data: what it was trained on, and how reliable its scores are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3ray.config import from_json
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.card.markdown import format_number, join_paragraphs, make_table
from m3ray.storage.dataset_record import DEMO, TITLES
from m3ray.study.ceiling import StudyCeilings, describe_ceiling
from m3ray.study.reliability import Ceiling

_OLDER = "not recorded: an earlier m3ray made this bundle"
_DATA_SETS = {
    DEMO: "the demo: clips that m3ray draws, and scores that it makes up",
    "folder": "a folder of videos",
    "table": "a table of videos and scores",
    **TITLES,
    "brought": "features of a user's own",
}
_TARGETS = {
    "score": "the score: the share of viewers who recognise a clip when they see it again, 0 to 1",
    "hit_rate": "the hit rate: the share of viewers who recognise a clip when they see it again, 0 to 1",
    "false_alarm_rate": "the false alarm rate: the share of viewers who take a clip that is new for seen, 0 to 1",
    "corrected": "the corrected score: hit rate less false alarm rate, -1 to 1",
    "d_prime": "d', of signal detection: how well viewers tell a clip that they saw from one that is new",
    "alpha": "the decay rate: the change of the score a video shown since",
}


def name_dataset(bundle: Bundle) -> str | None:
    """Name a bundle's data set.

    Args:
        bundle: the bundle.
    Returns:
        Its kind, such as `memento10k`; None: it is not recorded.
    """
    dataset = (bundle.metadata.data or {}).get("dataset")
    return None if dataset is None else str(dataset)


def is_demo(bundle: Bundle) -> bool:
    """Tell whether a bundle was trained on the demo's clips, whose scores are made up.

    Args:
        bundle: the bundle.
    Returns:
        Whether that is known.
    """
    return name_dataset(bundle) == DEMO


def define_target(name: str) -> str:
    """Define what a bundle predicts.

    Args:
        name: column of the catalogue.
    Returns:
        Part of a sentence.
    """
    return _TARGETS.get(name, f"`{name}`, a column of the data set")


def describe_data(bundle: Bundle) -> str:
    """Describe what a bundle was trained on.

    Args:
        bundle: the bundle.
    Returns:
        A table and a paragraph on what of these data is in the bundle.
    """
    data, trained = bundle.metadata.data or {}, bundle.metadata.trained_on or {}
    dataset = name_dataset(bundle)
    rows = {
        "data set": _DATA_SETS.get(dataset, dataset) if dataset else _OLDER if not data else "unknown",
        "target": define_target(bundle.metadata.units.name),
        "clips with a score": _count_clips(data, trained),
        "how they were split": _describe_split(data) if data else _OLDER,
        "target in train": _describe_range(trained),
        "viewers a clip": _describe_viewers(data) if data else _OLDER,
        "near duplicates": (data.get("near_duplicates") or "nobody looked for them") if data else _OLDER,
    }
    return join_paragraphs([make_table(("what", "is"), rows.items()), _describe_kept(bundle)])


def _count_clips(data: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    counts = {name: data.get(name, trained.get(f"{name}_clips")) for name in ("train", "val", "test")}
    known = [f"{int(count):,} {name}" for name, count in counts.items() if count is not None]
    return ", ".join(known) or "unknown"


def _describe_split(data: Mapping[str, Any]) -> str:
    split = data.get("split")
    if split is None:
        return "unknown"
    given = f"as {split['file']} gives them" if "file" in split else "as the data set gives them"
    seed = f", seed {split['seed']}" if "seed" in split else ""
    group = f"; clips with the same `{split['group']}` are kept together" if "group" in split else ""
    return f"{given}; clips without a given split are drawn by a hash of their path, 80/20{seed}{group}"


def _describe_range(trained: Mapping[str, Any]) -> str:
    numbers = [trained.get(f"{name}_score") for name in ("mean", "lowest", "highest")]
    if None in numbers:
        return "unknown"
    mean, lowest, highest = map(format_number, numbers)
    return f"mean {mean}, from {lowest} to {highest}"


def _describe_viewers(data: Mapping[str, Any]) -> str:
    counts = data.get("responses")
    if not counts:
        return "unknown: the data set does not tell"
    return f"median {counts['median']:,.0f}, from {counts['fewest']:,.0f} to {counts['most']:,.0f}"


def _describe_kept(bundle: Bundle) -> str:
    if bundle.reference is None:
        return ""
    return (
        "The bundle holds no frame of these clips, but their ids, scores and compressed features "
        "(`train_reference.safetensors`), from which it names the nearest train clips of a new one."
    )


def describe_reliability(bundle: Bundle) -> str:
    """Say how reliable the scores are, and so how well any model could do.

    Args:
        bundle: the bundle.
    Returns:
        Sentences.
    """
    data = bundle.metadata.data
    if not data or not data.get("ceiling"):
        return "How well a perfect model could do (the ceiling) is not recorded."
    sets = {name: from_json(Ceiling, values) for name, values in data["ceiling"].items()}
    ceilings = StudyCeilings(bundle.metadata.units.name, sets, data.get("ceiling_basis") or "score")
    return "\n".join(describe_ceiling(ceilings, name) for name in reversed(sets))
