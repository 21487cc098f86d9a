"""Who made what lies in a root: no job replaces what it did not make."""

from __future__ import annotations

import re
from typing import Any

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.schema import CATALOGUE as COLUMNS
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.root import Root
from m3ray.storage.root_record import NAME as RECORD
from m3ray.storage.root_record import is_record

PREDICTIONS = "predictions.parquet"
PREDICT_ROOM = "predict"
STUDY = "ablation"
FILES = (CATALOGUE_FILE, PREDICTIONS, RECORD)
FOLDERS = ("features", "rejects", "artifacts", "study", "models", "report", "runs", "demo", "evaluation", PREDICT_ROOM)
# Jobs that make the same things count as one.
_SAME = {"reproduce": "ablate"}
_OWNER = "made_by.json"
# What a bundle has before its last file, bundle.json, is written.
_OF_BUNDLE = re.compile(r"(model|hog_pca|similarity|tuned-\w+)\.(safetensors|json)")
_RUN = re.compile(r"\d{8}T\d{6}Z-[a-z]+-[0-9a-f]{4}")
_OF_REPRODUCE = ("M3-S", "M3")


def check_root(root: Root) -> None:
    """Raises ConfigError where a folder holds what is named like m3ray's and is not m3ray's."""
    there = set(root.names())
    ours = [name for name in FILES if name in there] + [name for name in FOLDERS if name in there and root.names(name)]
    if ours and not is_root(root):
        raise ConfigError(
            f"{root.display(ours[0])} is there and was not made by m3ray: give a folder of its own with --out"
        )
    if CATALOGUE_FILE in there and not _is_catalogue(root.read_schema(CATALOGUE_FILE)):
        raise ConfigError(
            f"{root.display(CATALOGUE_FILE)} is no catalogue of m3ray's: move it away, or give another --out"
        )


def is_root(root: Root) -> bool:
    """Whether a folder was made by m3ray, be it cut short."""
    if root.exists("artifacts", "tiers.json") or root.exists("runs", "lock.json") or root.names("runs", "locks"):
        return True
    # A run that found the disk full leaves no more than its folder.
    runs = (_RUN.fullmatch(run) for run in root.names("runs"))
    bundles = (root.exists("models", name, "bundle.json") for name in root.names("models"))
    return any(runs) or any(bundles) or _has_record(root) or _has_catalogue(root)


def _has_record(root: Root) -> bool:
    try:
        return root.exists(RECORD) and is_record(root.read_json(RECORD))
    except DamagedFileError:
        return False


def _has_catalogue(root: Root) -> bool:
    try:
        return root.exists(CATALOGUE_FILE) and _is_catalogue(root.read_schema(CATALOGUE_FILE))
    except DamagedFileError:
        return False


def _is_catalogue(schema: Any) -> bool:
    return set(COLUMNS.names) <= set(schema.names)


def check_bundle(root: Root, name: str, job: str) -> None:
    """Raises ConfigError where `models/<name>` is not this job's to replace; a job's own model may be trained anew."""
    there = root.names("models", name)
    if not there:
        return
    place = root.display("models", name)
    if "bundle.json" not in there:
        if all(_OF_BUNDLE.fullmatch(file) for file in there):
            return  # a job was cut short while it wrote it
        raise ConfigError(f"{place} is there and is no bundle: give another --name, or move it away")
    maker = bundle_maker(root.read_json("models", name, "bundle.json"))
    if maker != job:
        way_out = "give this one another --name" if job == "train" else "rename that folder, or give another --out"
        raise ConfigError(f"{place} was made by jobs/{maker}.py, and jobs/{job}.py would replace it: {way_out}")


def bundle_maker(facts: dict[str, Any]) -> str:
    """The job that made a bundle; of one from before that was noted, by the name of its variant."""
    variant = str(facts.get("variant", {}).get("name", "")).partition(",")[0]
    return str(facts.get("made_by") or ("reproduce" if variant in _OF_REPRODUCE else "train"))


def check_study(root: Root, name: str, job: str) -> None:
    """Raises ConfigError where `study/<name>` is another job's."""
    maker = study_maker(root, name)
    if maker not in (None, _SAME.get(job, job)):
        raise ConfigError(
            f"{root.display('study', name)} is for what jobs/{maker}.py makes, and jobs/{job}.py would write into it: "
            "give another --name"
        )


def claim_study(root: Root, name: str, job: str) -> None:
    """Notes whose `study/<name>` is."""
    check_study(root, name, job)
    root.write_json({"job": _SAME.get(job, job)}, "study", name, _OWNER)


def study_maker(root: Root, name: str) -> str | None:
    """The job whose `study/<name>` is; None where there is none yet."""
    if name == STUDY:
        return "ablate"
    there = root.names("study", name)
    if _OWNER in there:
        return str(root.read_json("study", name, _OWNER).get("job"))
    if {"search.json", "unfrozen.json"} & set(there):
        return "tune"
    return "train" if "config.json" in there else None


def check_predictions(root: Root) -> None:
    """Raises ConfigError where the study's predictions would replace what m3ray did not make."""
    if predictions_maker(root) == "nobody":
        raise ConfigError(f"{root.display(PREDICTIONS)} was not made by m3ray: move it away, or give another --out")


def keep_predictions(root: Root) -> str:
    """Copies what predict wrote where the study's scores go to its own folder; where to, empty: there was nothing."""
    if predictions_maker(root) != "predict":
        return ""
    root.write_bytes(root.read_bytes(PREDICTIONS), PREDICT_ROOM, PREDICTIONS)
    return root.display(PREDICT_ROOM, PREDICTIONS)


def predictions_place(root: Root) -> tuple[str, ...]:
    """Where predict writes its scores: it leaves those that another job wrote."""
    return (PREDICTIONS,) if predictions_maker(root) in (None, "predict") else (PREDICT_ROOM, PREDICTIONS)


def predictions_maker(root: Root) -> str | None:
    """`reproduce`, `predict`, or `nobody` of m3ray's; None where there are no predictions.

    In a root from before this was noted they are the study's, if it has one.
    """
    if not root.exists(PREDICTIONS):
        return None
    try:
        noted = root.metadata(PREDICTIONS)
    except DamagedFileError:
        return "nobody"
    if "bundle" not in noted:
        return "nobody"
    has_study = bool(root.names("models") or root.names("study"))
    return str(noted.get("job") or ("reproduce" if has_study else "predict"))
