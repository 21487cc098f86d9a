"""Which job made what in a root: no job replaces what another one made."""

from __future__ import annotations

import re
from typing import Any

from m3ray.errors import ConfigError, DamagedFileError
from m3ray.schema import CATALOGUE as COLUMNS
from m3ray.schema import CATALOGUE_FILE
from m3ray.storage.beside_predictions import NEIGHBOURS, SHOTS, move_beside
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue_schema
from m3ray.storage.root import Root
from m3ray.storage.root_record import RECORD_FILE as RECORD
from m3ray.storage.root_record import is_record

PREDICTIONS = "predictions.parquet"
PREDICT_FOLDER = "predict"
STUDY = "ablation"
FILES = (CATALOGUE_FILE, PREDICTIONS, NEIGHBOURS, SHOTS, RECORD)
FOLDERS = (
    "features",
    "rejects",
    "artifacts",
    "study",
    "models",
    "report",
    "runs",
    "demo",
    "evaluation",
    "explanations",
    PREDICT_FOLDER,
)
# Jobs that make the same things count as one.
_SAME_AS = {"reproduce": "ablate"}
_MAKER_FILE = "made_by.json"
# The files of a bundle that are written before its last one, bundle.json.
_BUNDLE_FILE = re.compile(
    r"(model|hog_pca|similarity|intervals|train_clips|train_reference|regressors|tuned-\w+)\.(safetensors|json)"
)
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]")
_RUN = re.compile(r"\d{8}T\d{6}Z-[a-z]+-[0-9a-f]{4}")
_VARIANTS_OF_REPRODUCE = ("M3-S", "M3")


def check_root(root: Root) -> None:
    """Check that a folder holds nothing of somebody else's under a name that m3ray would write to.

    Args:
        root: folder that a job is to write to.
    Raises:
        ConfigError: If it does.
    """
    names = set(root.list_names())
    ours = [name for name in FILES if name in names]
    ours += [name for name in FOLDERS if name in names and root.list_names(name)]
    if ours and not is_root(root):
        raise ConfigError(
            f"{root.display(ours[0])} exists and was not made by m3ray: give a folder of its own with --out"
        )
    if CATALOGUE_FILE in names and not _is_catalogue(read_catalogue_schema(root)):
        raise ConfigError(
            f"{root.display(CATALOGUE_FILE)} is no catalogue of m3ray's: move it away, or give another --out"
        )


def is_root(root: Root) -> bool:
    """Tell whether m3ray made a folder, even if the job that did was cut short.

    Args:
        root: folder to look at.
    Returns:
        Whether it holds a file that m3ray alone writes.
    """
    if root.exists("artifacts", "tiers.json") or root.exists("runs", "lock.json") or root.list_names("runs", "locks"):
        return True
    # A run that finds the disk full leaves no more than its folder.
    runs = (_RUN.fullmatch(run) for run in root.list_names("runs"))
    bundles = (root.exists("models", name, "bundle.json") for name in root.list_names("models"))
    return any(runs) or any(bundles) or _has_record(root) or _has_catalogue(root)


def _has_record(root: Root) -> bool:
    try:
        return root.exists(RECORD) and is_record(root.read_json(RECORD))
    except DamagedFileError:
        return False


def _has_catalogue(root: Root) -> bool:
    try:
        return has_catalogue(root) and _is_catalogue(read_catalogue_schema(root))
    except DamagedFileError:
        return False


def _is_catalogue(schema: Any) -> bool:
    return set(COLUMNS.names) <= set(schema.names)


def check_bundle(root: Root, name: str, job: str) -> None:
    """Check that a job may replace the bundle `models/<name>`: it must have made that itself.

    Args:
        root: root of the job.
        name: name of the bundle.
        job: name of the job.
    Raises:
        ConfigError: If another job made it, or it is no bundle.
    """
    files = root.list_names("models", name)
    if not files:
        return
    folder = root.display("models", name)
    if "bundle.json" not in files:
        if all(_BUNDLE_FILE.fullmatch(file) for file in files):
            return  # a job was cut short while it wrote the bundle
        raise ConfigError(f"{folder} exists and is no bundle: give another --name, or move it away")
    maker = bundle_maker(root.read_json("models", name, "bundle.json"))
    if maker != job:
        way_out = "give this one another --name" if job == "train" else "rename that folder, or give another --out"
        raise ConfigError(f"{folder} was made by jobs/{maker}.py, and jobs/{job}.py would replace it: {way_out}")


def bundle_maker(metadata: dict[str, Any]) -> str:
    """Name of the job that made a bundle; of an older one as its variant's name suggests.

    Args:
        metadata: what `bundle.json` holds.
    Returns:
        Name of the job.
    """
    variant = str(metadata.get("variant", {}).get("name", "")).partition(",")[0]
    return str(metadata.get("made_by") or ("reproduce" if variant in _VARIANTS_OF_REPRODUCE else "train"))


def check_study(root: Root, name: str, job: str) -> None:
    """Check that a job may write into `study/<name>`.

    Args:
        root: root of the job.
        name: name of the study.
        job: name of the job.
    Raises:
        ConfigError: If another job made that study.
    """
    maker = find_study_maker(root, name)
    if maker not in (None, _SAME_AS.get(job, job)):
        raise ConfigError(
            f"{root.display('study', name)} is for what jobs/{maker}.py makes, and jobs/{job}.py would write into it: "
            "give another --name"
        )


def claim_study(root: Root, name: str, job: str) -> None:
    """Keep that a job makes `study/<name>`.

    Args:
        root: root of the job.
        name: name of the study.
        job: name of the job.
    Raises:
        ConfigError: If another job made that study.
    """
    check_study(root, name, job)
    root.write_json({"job": _SAME_AS.get(job, job)}, "study", name, _MAKER_FILE)


def find_study_maker(root: Root, name: str) -> str | None:
    """Find which job made `study/<name>`.

    Args:
        root: root that may hold the study.
        name: name of the study.
    Returns:
        Name of the job; None if there is no such study yet.
    """
    if name == STUDY:
        return "ablate"
    files = root.list_names("study", name)
    if _MAKER_FILE in files:
        return str(root.read_json("study", name, _MAKER_FILE).get("job"))
    if {"search.json", "unfrozen.json"} & set(files):
        return "tune"
    return "train" if "config.json" in files else None


def check_predictions(root: Root) -> None:
    """Check that the study's predictions would not replace a file that m3ray did not make.

    Args:
        root: root of the job.
    Raises:
        ConfigError: If they would.
    """
    if find_predictions_maker(root) == "nobody":
        raise ConfigError(f"{root.display(PREDICTIONS)} was not made by m3ray: move it away, or give another --out")


def keep_predictions(root: Root) -> str | None:
    """Copy what the job predict wrote, where the study's scores are to go, to the folder of its data set.

    What stands beside these scores moves with them: beside the study's it would be of other scores.

    Args:
        root: root of the job.
    Returns:
        Path or URI of the copy; None if there was nothing to copy.
    """
    if find_predictions_maker(root) != "predict":
        return None
    made = root.read_metadata(PREDICTIONS)
    workspace, bundle = str(made.get("catalogue") or PREDICT_FOLDER), str(made["bundle"])
    path = _choose_path(root, _predictions_paths(workspace, bundle)[1:], workspace, bundle)
    root.write_bytes(root.read_bytes(PREDICTIONS), *path)
    move_beside(root, (PREDICTIONS,), path)
    return root.display(*path)


def name_neighbours_file(predictions: tuple[str, ...]) -> tuple[str, ...]:
    """Name the file of neighbours that belongs to a file of scores.

    Args:
        predictions: path parts of the scores: `predictions.parquet`, or `predictions-<bundle>.parquet`.
    Returns:
        Path parts of `neighbours.parquet`, or `neighbours-<bundle>.parquet`, beside it.
    """
    return (*predictions[:-1], predictions[-1].replace("predictions", "neighbours", 1))


def choose_predictions_path(root: Root, workspace: str = PREDICT_FOLDER, bundle: str | None = None) -> tuple[str, ...]:
    """Choose where the job predict writes its scores: they replace those of the same clips by the same bundle alone.

    Args:
        root: root of the job.
        workspace: folder below the root that holds the scored clips' catalogue; each data set has its own.
        bundle: name of the bundle that scores; None: any.
    Returns:
        Path parts of the file below the root: `predictions.parquet`, or where that holds the scores of another job,
        data set or bundle, a file in the workspace.
    Raises:
        ConfigError: If all that are left are files that m3ray did not make.
    """
    return _choose_path(root, _predictions_paths(workspace, bundle), workspace, bundle)


def _predictions_paths(workspace: str, bundle: str | None) -> list[tuple[str, ...]]:
    """Where scores of a data set by a bundle may stand, the first choice first."""
    paths: list[tuple[str, ...]] = [(PREDICTIONS,), (workspace, PREDICTIONS)]
    return paths if bundle is None else [*paths, (workspace, f"predictions-{_NOT_PLAIN.sub('_', bundle)}.parquet")]


def _choose_path(root: Root, paths: list[tuple[str, ...]], workspace: str, bundle: str | None) -> tuple[str, ...]:
    path = next((path for path in paths if _may_replace(root, path, workspace, bundle)), None)
    if path is None:
        raise ConfigError(f"{root.display(*paths[-1])} was not made by m3ray: move it away, or give another --out")
    return path


def _may_replace(root: Root, path: tuple[str, ...], workspace: str, bundle: str | None) -> bool:
    """Whether a file is not there, or holds scores of the same clips by the same bundle, as it says itself."""
    if not root.exists(*path):
        return True
    try:
        made = root.read_metadata(*path)
    except DamagedFileError:
        return False
    same_clips = made.get("job") == "predict" and (made.get("catalogue") or PREDICT_FOLDER) == workspace
    return same_clips and bundle in (None, made.get("bundle"))


def find_predictions_maker(root: Root) -> str | None:
    """Find which job made `predictions.parquet`.

    In an older root, which does not say so, they are the study's if it has one.

    Args:
        root: root that may hold predictions.
    Returns:
        'reproduce' or 'predict'; 'nobody' if m3ray did not write the file; None if there is none.
    """
    if not root.exists(PREDICTIONS):
        return None
    try:
        metadata = root.read_metadata(PREDICTIONS)
    except DamagedFileError:
        return "nobody"
    if "bundle" not in metadata:
        return "nobody"
    has_study = bool(root.list_names("models") or root.list_names("study"))
    return str(metadata.get("job") or ("reproduce" if has_study else "predict"))
