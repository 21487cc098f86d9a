"""Sets of clips for benchmarks/real_data.py: listed by m3ray, split as a root would, and seen by tiers of features."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from m3ray.config import ReadConfig
from m3ray.config.tiers import CaptionsConfig
from m3ray.datasets.captions import read_captions
from m3ray.datasets.catalogue import make_catalogue
from m3ray.datasets.clip_checks import check_clips
from m3ray.datasets.registry import list_clips
from m3ray.errors import ConfigError
from m3ray.features.dataset import StudyData
from m3ray.features.load import list_study_tiers, load_data
from m3ray.features.matrix import Block, Features
from m3ray.features.target import SCORE
from m3ray.features.target_columns import read_responses
from m3ray.schema import CAPTIONS
from m3ray.storage.catalogue_file import has_catalogue, read_catalogue
from m3ray.storage.root import Root
from m3ray.study.ceiling import measure_clips
from m3ray.tiers.captions import fit_caption_model

# What was published of each set, on its authors' own splits, and where: no figure is compared that was not.
PUBLISHED: Mapping[str, tuple[str, ...]] = {
    "memento": (
        "M3-S, networks frozen, 0.6349 on val; unfrozen 0.6699 (its supplement, Tables 2 and 3)",
        "SemanticMemNet, with captions: see Newman et al., ECCV 2020 (arXiv 2009.02568)",
    ),
    "videomem": ("0.494 short-term, 0.256 long-term on test (Cohendet et al., ICCV 2019, abstract)",),
    "lamem": ("MemNet 0.64, two halves of the viewers 0.68 (Khosla et al., ICCV 2015, abstract)",),
    "memcat": ("ResMem 0.64 on held-out images of LaMem and MemCat together (its authors' release note)",),
    "figrim": ("none that is known here: see Bylinskii et al., Vision Research 2015",),
    "things": ("none that is known here: see Kramer et al., Science Advances 2023",),
}
_DATASETS = {"memento": "memento10k", **{name: name for name in PUBLISHED if name != "memento"}}


@dataclass(frozen=True)
class SetOfClips:
    """A set that was asked for.

    Args:
        name: Its name in the tables.
        dataset: The lister that reads it.
        source: Its folder or file.
        root: Root with tiers of its clips; None: captions or labels alone.
        read: How it is read.
        has_own_split: Whether the set says which clip is train and which val.
    """

    name: str
    dataset: str
    source: str
    root: str | None = None
    read: ReadConfig = field(default_factory=ReadConfig)
    has_own_split: bool = False


@dataclass(frozen=True)
class LoadedSet:
    """Numbers of a set's clips, and what is known of its scores.

    Args:
        data: Matrix, scores and splits.
        seen: What the models see, in words.
        ceiling: The ceiling of val in words.
    """

    data: StudyData
    seen: str
    ceiling: str

    def describe(self) -> str:
        """Size of the set in words."""
        data = self.data
        return f"{len(data.train)} train + {len(data.val)} val clips, {self.seen}, {data.scaled.shape[1]} numbers"


def list_wanted(args: argparse.Namespace, texts: Mapping[str, str]) -> list[SetOfClips]:
    """List the sets that a command line asks for.

    Args:
        args: The parsed command line.
        texts: Name of each further table to its file.
    Returns:
        The sets, at least one.
    Raises:
        ConfigError: If a path is missing, or nothing is asked for.
    """
    roots = dict(_split_pair("--features", pair) for pair in args.features)
    tables = {**texts, **dict(_split_pair("--table", pair) for pair in args.table)}
    wanted = {name: getattr(args, name) for name in _DATASETS if getattr(args, name)}
    unknown = [name for name in roots if name not in {*wanted, *tables}]
    if unknown:
        raise ConfigError(f"--features {unknown[0]}=...: no --{unknown[0]} and no --table {unknown[0]}=FILE is given")
    for option, path in ((f"--{name}", path) for name, path in wanted.items()):
        _check_path(option, path)
    for name, path in [*tables.items(), *roots.items()]:
        _check_path(f"{name}=", path)
    if not {*wanted, *tables}:
        raise ConfigError("nothing to read: give at least one of --" + ", --".join([*_DATASETS, "table", "texts"]))
    sets = [_make_set(name, path, roots.get(name), args) for name, path in wanted.items()]
    # Sentences of one review or article stay together.
    reads = {name: ReadConfig(group="source" if name in texts else None) for name in tables}
    return sets + [SetOfClips(name, "table", path, roots.get(name), reads[name]) for name, path in tables.items()]


def _split_pair(option: str, pair: str) -> tuple[str, str]:
    name, separator, path = pair.partition("=")
    if not (name and separator and path):
        raise ConfigError(f"{option} {pair!r}: expected NAME=PATH")
    return name, path


def _check_path(option: str, path: str) -> None:
    if "://" not in path and not os.path.exists(path):
        raise ConfigError(f"{option} {path}: no such folder or file; docs/real-data.md says where each set comes from")


def _make_set(name: str, path: str, root: str | None, args: argparse.Namespace) -> SetOfClips:
    splits = args.videomem_splits if name == "videomem" else None
    own = name in ("memento", "lamem") or splits is not None
    return SetOfClips(name, _DATASETS[name], path, root, ReadConfig(splits=splits), own)


def load_set(wanted: SetOfClips, seed: int) -> LoadedSet:
    """Read a set, split it, and compute what the models see.

    Args:
        wanted: The set.
        seed: Seed of the split, where the set has none.
    Returns:
        The set's numbers.
    Raises:
        UserError: If the set cannot be read.
        ConfigError: If it has neither captions nor labels, and no root is given.
    """
    with tempfile.TemporaryDirectory() as folder:
        clips = list_clips(Root(folder), wanted.dataset, wanted.source, limit=None, seed=seed, read=wanted.read).table
        check_clips(clips)
        clips = make_catalogue(Root(folder), clips, seed, group=wanted.read.group)
    data, seen = _see_text(wanted, clips) if wanted.root is None else _see_root(wanted, clips)
    ids = [data.features.clip_ids[row] for row in data.val]
    ceiling = measure_clips(clips, ids, SCORE, data.scores[data.val])
    known = f"{ceiling.spearman:.3f}" if ceiling.spearman is not None else f"unknown, {ceiling.reason}"
    return LoadedSet(data, seen, known)


def _see_text(wanted: SetOfClips, clips: pa.Table) -> tuple[StudyData, str]:
    """The captions tier, fitted on train; over labels where there are no captions."""
    captions, seen = read_captions(clips), "captions"
    if not any(captions):
        captions, seen = [tuple(labels or ()) for labels in clips["labels"].to_pylist()], "labels"
    if not any(captions):
        raise ConfigError(f"it has neither captions nor labels: give --features {wanted.name}=ROOT, a root with tiers")
    train = [own for own, split in zip(captions, clips["split"].to_pylist(), strict=True) if split == "train"]
    columns = fit_caption_model(train, CaptionsConfig()).transform(captions)
    names = [f"{name}_{k}" for name, c in columns.items() for k in range(1 if c.ndim == 1 else c.shape[1])]
    matrix = np.concatenate([values.reshape(len(captions), -1) for values in columns.values()], axis=1)
    widths = tuple(1 if values.ndim == 1 else values.shape[1] for values in columns.values())
    block = Block(CAPTIONS, tuple(names), scaled=True, vectors=widths)
    return _make_data(Features(tuple(clips["clip_id"].to_pylist()), matrix, (block,)), clips, wanted), seen


def _see_root(wanted: SetOfClips, clips: pa.Table) -> tuple[StudyData, str]:
    """All tiers of a root, in the split that was drawn here."""
    assert wanted.root is not None
    root = Root(wanted.root)
    tiers = list_study_tiers(root)
    if not has_catalogue(root) or not tiers:
        raise ConfigError(f"--features {wanted.name}={wanted.root}: no root with tiers: make it with jobs/extract.py")
    features = load_data(root, tiers).data.features
    listed = set(clips["clip_id"].to_pylist())
    own = read_catalogue(root) if wanted.has_own_split else clips
    rows = [k for k, name in enumerate(features.clip_ids) if name in listed]
    kept = Features(tuple(features.clip_ids[k] for k in rows), features.values[rows], features.blocks)
    return _make_data(kept, own, wanted), " ".join(tiers)


def _make_data(features: Features, clips: pa.Table, wanted: SetOfClips) -> StudyData:
    place = {name: k for k, name in enumerate(clips["clip_id"].to_pylist())}
    rows = clips.take([place[name] for name in features.clip_ids])
    scores = rows[SCORE].to_numpy().astype(float)
    responses = read_responses(rows, features.clip_ids, SCORE)
    sources = None if wanted.read.group is None else rows[wanted.read.group].to_pylist()
    groups = None if sources is None else np.unique(sources, return_inverse=True)[1]
    return StudyData.make(features, scores, rows["split"].to_pylist(), SCORE, responses, groups)
