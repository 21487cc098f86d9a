"""What a job is asked for, checked before Ray, torch and scikit-learn are imported: a mistake is told in a second.

What is read on the way (the listing, the tiers brought) is handed on, not read again. Nothing is written here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from m3ray.config.options import (
    AblateOptions,
    EvaluateOptions,
    ExtractOptions,
    PredictOptions,
    ReportOptions,
    ReproduceOptions,
    RootOptions,
    TrainOptions,
    TuneOptions,
    WorkOptions,
)
from m3ray.config.unlock_options import UnlockOptions
from m3ray.costs import parse_prices
from m3ray.datasets.catalogue import read_catalogue
from m3ray.datasets.listing import Listing
from m3ray.errors import ConfigError, StudyError
from m3ray.request.bundles import asked_predictions, bundle_facts, judged_split
from m3ray.request.clips import asked_clips
from m3ray.request.names import check_name, check_vectors
from m3ray.request.ranges import check_numbers, most_rejects
from m3ray.request.scores import check_scored
from m3ray.request.storage import check_secrets, use_storage
from m3ray.storage.dataset_record import settled
from m3ray.storage.disk import existing, is_full
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.filesystems import is_local, local_path
from m3ray.storage.object_store import check_bucket
from m3ray.storage.ownership import STUDY, check_bundle, check_predictions, check_root, check_study
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.storage.tier_index import current_tiers
from m3ray.tiers.user import Brought
from m3ray.training.config_file import load_training

T = TypeVar("T", bound=RootOptions)
T_co = TypeVar("T_co", bound=RootOptions, covariant=True)


@dataclass(frozen=True)
class Request(Generic[T_co]):
    """A job's options, sound, and what was read while that was found out.

    Args:
        options: with what the root keeps in the place of defaults.
        listed: the clips; None: they are not listed yet (the demo is drawn first).
        brought: tiers of the user's.
    """

    options: T_co
    listed: Listing | None = None
    brought: tuple[Brought, ...] = ()


def prepared(options: T | Request[T]) -> Request[T]:
    """Checks all of a job's options that can be checked without a cluster.

    Args:
        options: a job's; what was prepared already is passed on.
    Raises:
        UserError, BundleError: the request cannot be carried out; nothing was written.
    """
    if isinstance(options, Request):
        return options
    check_secrets(options)
    check_numbers(options)
    if isinstance(options, WorkOptions):
        most_rejects(options.max_rejects, clips=0)
    _check_place(options.out, dry=options.dry_run)
    check_root(DryRoot(options.out))
    use_storage(options)
    prepare: Callable[[Any], Request[T]] = _PREPARE[type(options)]
    return prepare(options)


def _check_place(out: str, *, dry: bool) -> None:
    """Raises ConfigError where `--out` is no folder, or none that can be written where that is meant."""
    if not out.strip():
        raise ConfigError("--out is empty: give a folder or an s3:// URI")
    if not is_local(out):
        if not out.partition("://")[2].strip("/"):
            raise ConfigError(f"--out {out}: names no bucket: give s3://bucket/prefix")
        if out.startswith("s3://"):
            check_bucket(out, "--out")
        return
    there = existing(Path(local_path(out)))
    if not there.is_dir():
        raise ConfigError(f"--out {out}: {there} is no folder: give another --out, or move that away")
    if dry:
        return
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: no right to write in {there}: give another --out, or mend its mode")
    if is_full(there):
        raise ConfigError(f"--out {out}: the disk of {there} is full: free some space, or give another --out")


def needs_ray(options: RootOptions) -> bool:
    """Whether a job starts Ray, or asks a cluster what it has."""
    plans_alone = options.dry_run and isinstance(options, AblateOptions | TuneOptions | EvaluateOptions)
    return not plans_alone and not isinstance(options, ReportOptions | UnlockOptions)


def options_of(kind: type[T], out: str) -> T | None:
    """The options of a job with what the root `out` keeps, for a command line to be read over; None: it keeps none."""
    if not issubclass(kind, ExtractOptions):
        return None
    record = read_record(DryRoot(out))
    return None if record is None else settled(kind(out=out), record)  # type: ignore[return-value]


def _extract(options: ExtractOptions) -> Request[ExtractOptions]:
    return Request(*asked_clips(DryRoot(options.out), options))


def _train(options: TrainOptions) -> Request[TrainOptions]:
    root = DryRoot(options.out)
    check_name(options.name, taken=(STUDY,))
    check_bundle(root, options.name, "train")
    check_study(root, options.name, "train")
    if options.config is not None:
        load_training(options.config)
    found = Request(*asked_clips(root, options))
    check_vectors(found.options.tiers, options.unfrozen)
    check_scored(found.listed)
    return found


def _reproduce(options: ReproduceOptions) -> Request[ReproduceOptions]:
    root = DryRoot(options.out)
    parse_prices(options.price)
    check_tables(options.tables)
    check_predictions(root)
    for name in ("m3s", "m3s-unfrozen") if options.unfrozen != "none" else ("m3s",):
        check_bundle(root, name, "reproduce")
    found = Request(*asked_clips(root, options))
    check_vectors(found.options.tiers, options.unfrozen)
    return found


def check_tables(tables: Sequence[int]) -> None:
    """Raises ConfigError for a table that there is none of."""
    unknown = [number for number in tables if number not in (1, 2, 3, 4)]
    if unknown:
        raise ConfigError(f"--tables {unknown[0]}: choose from 1, 2, 3, 4")


def _ablate(options: AblateOptions) -> Request[AblateOptions]:
    parse_prices(options.price)
    check_tables(options.tables)
    _check_features(DryRoot(options.out))
    return Request(options)


def _tune(options: TuneOptions) -> Request[TuneOptions]:
    root = DryRoot(options.out)
    check_name(options.name, taken=(STUDY,))
    check_study(root, options.name, "tune")
    _check_features(root)
    current = current_tiers(root)
    lacking = [tier for tier in options.tiers if tier not in current]
    if lacking:
        known = ", ".join(tier for tier in current if tier != "facts")
        raise StudyError(f"{root.uri} holds no features of tier {', '.join(lacking)}; it has {known}")
    return Request(options)


def _check_features(root: Root) -> None:
    """Raises StudyError where there is nothing to train on."""
    if not current_tiers(root):
        raise StudyError(f"{root.uri} holds no features: run jobs/extract.py --out {root.uri} first")
    scores = read_catalogue(root)["score"]
    if scores.null_count == len(scores):
        raise StudyError(
            f"{root.uri}: no clip has a score, and a study needs some: give a table with columns uri and score "
            "(--dataset table --root clips.csv)"
        )


def _predict(options: PredictOptions) -> Request[PredictOptions]:
    return Request(options, *asked_predictions(DryRoot(options.out), options))


def _evaluate(options: EvaluateOptions) -> Request[EvaluateOptions]:
    if not options.bundles or not options.roots:
        raise ConfigError("--bundles and --roots: expected at least one of each")
    for uri in options.bundles:
        bundle_facts(uri)
    for uri in options.roots:
        judged_split(read_catalogue(DryRoot(uri)), uri)
    return Request(options)


def _report(options: ReportOptions) -> Request[ReportOptions]:
    parse_prices(options.price)
    read_catalogue(DryRoot(options.out))
    return Request(options)


def _unlock(options: UnlockOptions) -> Request[UnlockOptions]:
    if is_local(options.out) and not Path(local_path(options.out)).is_dir():
        raise ConfigError(f"--out {options.out}: there is no such folder: give the root whose lock it is")
    return Request(options)


_PREPARE: dict[type, Callable[[Any], Request[Any]]] = {
    ExtractOptions: _extract,
    TrainOptions: _train,
    ReproduceOptions: _reproduce,
    AblateOptions: _ablate,
    TuneOptions: _tune,
    PredictOptions: _predict,
    EvaluateOptions: _evaluate,
    ReportOptions: _report,
    UnlockOptions: _unlock,
}
