"""Checks of a job's request before Ray, torch and scikit-learn are imported, so that a mistake is told in a second.

What is read on the way (the listing, user-provided tiers) is handed on, not read again. Nothing is written here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    RecordedLimitsOptions,
    ReportOptions,
    ReproduceOptions,
    RootOptions,
    TrainOptions,
    TuneOptions,
    WorkOptions,
)
from m3ray.config.unlock_options import UnlockOptions
from m3ray.costs import parse_prices
from m3ray.datasets.listing import Listing
from m3ray.errors import ConfigError, StudyError
from m3ray.features.target_columns import choose_target
from m3ray.request.baselines import check_baselines, settle_baselines
from m3ray.request.bundles import check_evaluated_root, check_named_bundle, read_prediction_inputs
from m3ray.request.clips import read_requested_clips
from m3ray.request.limits import apply_recorded_limits
from m3ray.request.names import check_name, check_vectors
from m3ray.request.ranges import check_numbers, parse_max_rejects
from m3ray.request.scores import check_enough_scores, check_has_scores, check_labels, check_listed_scores
from m3ray.request.settings import check_config, take_config_tiers
from m3ray.request.storage import check_secrets, use_storage
from m3ray.request.targets import check_targets
from m3ray.schema import METADATA_TABLE
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.dataset_record import apply_record
from m3ray.storage.disk import is_full, nearest_existing
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.object_store import check_bucket
from m3ray.storage.ownership import STUDY, check_bundle, check_predictions, check_root, check_study
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.storage.scored_files import has_new_scores
from m3ray.storage.tier_index import read_tier_index
from m3ray.tiers.user import UserTier

T = TypeVar("T", bound=RootOptions)
T_co = TypeVar("T_co", bound=RootOptions, covariant=True)


@dataclass(frozen=True)
class Request(Generic[T_co]):
    """A job's checked options, and what was read to check them.

    Args:
        options: The options, with the root's record in the place of defaults.
        listing: The clips; None where they are not listed yet, as the demo's are drawn first.
        user_tiers: The user-provided tiers that the job was given.
    """

    options: T_co
    listing: Listing | None = None
    user_tiers: tuple[UserTier, ...] = ()


def check_request(options: T | Request[T]) -> Request[T]:
    """Check all of a job's options that can be checked without a cluster.

    Args:
        options: Options of a job; a request that was checked already is passed on.
    Returns:
        The request.
    Raises:
        UserError, BundleError: If the request cannot be carried out; nothing was written.
    """
    if isinstance(options, Request):
        return options
    check_secrets(options)
    check_numbers(options)
    if isinstance(options, WorkOptions):
        parse_max_rejects(options.max_rejects, clips=0)
    _check_out(options.out, dry=options.dry_run)
    check_root(DryRoot(options.out))
    use_storage(options)
    check: Callable[[Any], Request[T]] = _CHECKS[type(options)]
    return check(options)


def _check_out(out: str, *, dry: bool) -> None:
    """Raise ConfigError where `--out` is no folder, or cannot be written though that is meant."""
    if not out.strip():
        raise ConfigError("--out is empty: give a folder or an s3:// URI")
    if not is_local(out):
        if not out.partition("://")[2].strip("/"):
            raise ConfigError(f"--out {out}: names no bucket: give s3://bucket/prefix")
        if out.startswith("s3://"):
            check_bucket(out, "--out")
        return
    folder = nearest_existing(Path(local_path(out)))
    if not folder.is_dir():
        raise ConfigError(f"--out {out}: {folder} is no folder: give another --out, or move that away")
    if dry:
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: no right to write in {folder}: give another --out, or mend its mode")
    if is_full(folder):
        raise ConfigError(f"--out {out}: the disk of {folder} is full: free some space, or give another --out")


def needs_ray(options: RootOptions) -> bool:
    """Tell whether a job starts Ray, or asks a cluster what it has.

    Args:
        options: Options of the job.
    Returns:
        Whether it does.
    """
    plans_alone = options.dry_run and isinstance(options, AblateOptions | TuneOptions | EvaluateOptions)
    return not plans_alone and not isinstance(options, ReportOptions | UnlockOptions)


def read_recorded_options(kind: type[T], out: str) -> T | None:
    """Make options of a job out of what a root has recorded, which the command line then overrides.

    Args:
        kind: Class of the options.
        out: Address of the root.
    Returns:
        The options; None where the job takes none from the root, or the root has recorded none.
    """
    if issubclass(kind, RecordedLimitsOptions):
        return apply_recorded_limits(kind(out=out), DryRoot(out))
    if not issubclass(kind, ExtractOptions):
        return None
    record = read_record(DryRoot(out))
    return None if record is None else apply_record(kind(out=out), record)


def _check_extract(options: ExtractOptions) -> Request[ExtractOptions]:
    return Request(*read_requested_clips(DryRoot(options.out), options))


def _check_train(options: TrainOptions) -> Request[TrainOptions]:
    root = DryRoot(options.out)
    check_name(options.name, reserved=(STUDY,))
    check_bundle(root, options.name, "train")
    check_study(root, options.name, "train")
    check_model(options.model, options.unfrozen)
    check_config(options)
    request = Request(*read_requested_clips(root, take_config_tiers(options, root)))
    check_vectors(request.options.tiers, options.unfrozen)
    check_has_scores(request.listing)
    check_targets(root, request.listing and request.listing.table, request.options)
    check_labels(request.listing, request.options.measure, request.options.tiers)
    _check_listed(root, request)
    return request


def _check_listed(root: Root, request: Request[Any]) -> None:
    """Raise StudyError where the listed clips lack the scores that a training needs."""
    target = choose_target(root, request.options.target)
    check_listed_scores(root, request.listing, request.options, request.user_tiers, target)


def _check_reproduce(options: ReproduceOptions) -> Request[ReproduceOptions]:
    root = DryRoot(options.out)
    parse_prices(options.price)
    check_tables(options.tables)
    check_predictions(root)
    check_model(options.model, options.unfrozen)
    check_config(options)
    for name in ("m3s", "m3s-unfrozen") if options.unfrozen != "none" else ("m3s",):
        check_bundle(root, name, "reproduce")
    request = Request(*read_requested_clips(root, options))
    request = replace(request, options=settle_baselines(root, request.options))
    check_vectors(request.options.tiers, options.unfrozen)
    check_targets(root, request.listing and request.listing.table, request.options)
    _check_listed(root, request)
    return request


def check_tables(tables: Sequence[int]) -> None:
    """Check the numbers of the tables that a study is to make.

    Args:
        tables: Numbers of the paper's tables.
    Raises:
        ConfigError: If one is none of 1 to 4, nor 6, nor 7.
    """
    unknown = [number for number in tables if number not in (1, 2, 3, 4, 6, 7)]
    if unknown:
        raise ConfigError(f"--tables {unknown[0]}: choose from 1, 2, 3, 4, 6, 7")


def check_model(model: str, unfrozen: str) -> None:
    """Check that what a bundle is to hold goes with how it is trained.

    Args:
        model: What it is to hold.
        unfrozen: Preset of the finetuning; `none`: networks stay as they are.
    Raises:
        ConfigError: If another model than the MLP is to be finetuned.
    """
    if unfrozen != "none" and model not in ("auto", "mlp"):
        raise ConfigError(
            f"--model {model} --unfrozen {unfrozen}: networks are trained with an MLP alone: take --model mlp, or "
            "leave --unfrozen out"
        )


def _check_ablate(options: AblateOptions) -> Request[AblateOptions]:
    parse_prices(options.price)
    check_tables(options.tables)
    root = DryRoot(options.out)
    _check_features(root)
    check_config(options)
    _check_tiers(root, options.tiers)
    _check_study(root, options, options.tiers or [*read_tier_index(root)])
    check_baselines(root, options)
    return Request(apply_recorded_limits(options, root))


def _check_tiers(root: Root, tiers: Sequence[str]) -> None:
    """Raise StudyError where a study names tiers that the root lacks."""
    index = read_tier_index(root)
    missing = [tier for tier in tiers if tier not in index]
    if missing:
        held = ", ".join(tier for tier in index if tier != METADATA_TABLE)
        raise StudyError(f"{root.uri} holds no features of tier {', '.join(missing)}; it has {held}")


def _check_study(root: Root, options: AblateOptions | TuneOptions, tiers: Sequence[str]) -> None:
    """Raise ConfigError or StudyError where a root's clips or tiers do not suffice for a study."""
    catalogue = read_catalogue(root)
    check_targets(root, catalogue, options)
    check_vectors([tier for tier in tiers if tier != METADATA_TABLE], options.unfrozen)
    check_enough_scores(catalogue, choose_target(root, options.target))


def _check_tune(options: TuneOptions) -> Request[TuneOptions]:
    root = DryRoot(options.out)
    check_name(options.name, reserved=(STUDY,))
    check_study(root, options.name, "tune")
    _check_features(root)
    check_config(options)
    _check_study(root, options, options.tiers or [*read_tier_index(root)])
    _check_tiers(root, options.tiers)
    return Request(apply_recorded_limits(options, root))


def _check_features(root: Root) -> None:
    """Raise StudyError where there is nothing to train on."""
    if not read_tier_index(root):
        raise StudyError(f"{root.uri} holds no features: run jobs/extract.py --out {root.uri} first")
    scores = read_catalogue(root)["score"]
    if scores.null_count == len(scores):
        raise StudyError(
            f"{root.uri}: no clip has a score, and a study needs some: give a table with columns uri and score "
            "(--dataset table --root clips.csv)"
        )


def _check_predict(options: PredictOptions) -> Request[PredictOptions]:
    return Request(options, *read_prediction_inputs(DryRoot(options.out), options))


def _check_evaluate(options: EvaluateOptions) -> Request[EvaluateOptions]:
    if not options.bundles or not options.roots:
        raise ConfigError("--bundles and --roots: expected at least one of each")
    for uri in options.bundles:
        manifest = check_named_bundle(uri)
        for root in options.roots:
            tiers = [block.tier for block in manifest.blocks]
            check_evaluated_root(manifest.name, manifest.metadata, tiers, DryRoot(root))
    return Request(options)


def _check_report(options: ReportOptions) -> Request[ReportOptions]:
    parse_prices(options.price)
    for out in options.others:
        _check_out(out, dry=True)  # it is read alone
    roots = (options.out, *options.others)
    given = [os.path.realpath(local_path(out)) if is_local(out) else Root(out).uri for out in roots]
    twice = next((uri for uri in given if given.count(uri) > 1), None)
    if twice is not None:
        raise ConfigError(f"--out {twice}: given twice: give each root once")
    for out in roots:
        root = DryRoot(out)
        if options.others or not has_new_scores(root):  # scores of new clips have a page of their own
            read_catalogue(root)
    return Request(options)


def _check_unlock(options: UnlockOptions) -> Request[UnlockOptions]:
    if is_local(options.out) and not Path(local_path(options.out)).is_dir():
        raise ConfigError(f"--out {options.out}: there is no such folder: give the root whose lock it is")
    return Request(options)


_CHECKS: dict[type, Callable[[Any], Request[Any]]] = {
    ExtractOptions: _check_extract,
    TrainOptions: _check_train,
    ReproduceOptions: _check_reproduce,
    AblateOptions: _check_ablate,
    TuneOptions: _check_tune,
    PredictOptions: _check_predict,
    EvaluateOptions: _check_evaluate,
    ReportOptions: _check_report,
    UnlockOptions: _check_unlock,
}
