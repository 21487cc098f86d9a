"""Who a bundle's train and val clips are, as 16 bytes a clip, so that an evaluation sees a clip that it learned from.

A clip's id is no proof, as `1.mp4` is in every data set. Proof is the content of its file, or its features: the row
that the model sees, projected to four numbers that are compared within a tolerance, since other hardware gives other
last bits. A row that several train clips share is no proof; and where features are so coarse that many do, or are one
or two numbers, it takes the same id and the same score too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import scipy
from safetensors.numpy import load, save

from m3ray.datasets.clip_contents import is_content_column
from m3ray.features.dataset import Scaling, StudyData
from m3ray.features.matrix import Block, Features
from m3ray.schema import SIMILARITY
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.filesystems import absolute_uri
from m3ray.storage.root import Root

TRAIN_CLIPS_FILE = "train_clips.safetensors"
_NUMBERS = 4
_QUANTUM = 2.0**-11  # of a standard deviation over the train split; finer than that, hardware decides
# Tolerances in quanta, the first one that tells train clips apart counts: 0.008 standard deviations, or one quantum.
_TOLERANCES = (16, 1)
_MAX_SHARED = 0.01  # share of train clips that may look like another one, as copies of a video do
_ROOTS = np.sqrt([2.0, 3.0, 5.0, 7.0])
_MOST_COPIES = 2  # more clips that look like one of train share what a detector gives where it finds nothing
_FEWEST_COLUMNS = 3  # two clips may well have one or two numbers alike
_MAX_COMPARED = 20_000  # train clips that are compared with all others to see whether features tell clips apart
_UNKNOWN = 0
_CONTENT = re.compile(r"(?s)(?P<size>\d+):(?P<time>-?\d+)(?::(?P<hash>[a-z0-9]+-\S+))?")


@dataclass(frozen=True)
class ClipMarks:
    """What clips are known by.

    Args:
        rows: Quantised projections of their features, (N, 4), int16; (0, 4) where their features are no proof.
        contents: Hash of each clip's content, (N,), int64; 0 where it is unknown.
        claims: Hash of each clip's id and score, (N,), int64; (0,) where the rows suffice.
    """

    rows: np.ndarray
    contents: np.ndarray
    claims: np.ndarray


@dataclass(frozen=True)
class SeenClips:
    """Which clips a bundle has seen.

    Args:
        train: Whether each clip is one that trained it, (N,), bool.
        val: Whether each clip is one that chose its settings or calibrated it, and trained nothing, (N,), bool.
    """

    train: np.ndarray
    val: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """Whether each clip is among either, (N,), bool."""
        return self.train | self.val


def record_clips(root: Root, data: StudyData, columns: np.ndarray, blocks: Sequence[Block]) -> bytes:
    """Record who the train and val clips of a study are.

    Args:
        root: Root of the study, whose catalogue tells the clips' contents.
        data: The study's data.
        columns: Positions of the columns that the model sees, (F,), int64.
        blocks: Those columns, tier by tier.
    Returns:
        Content of `train_clips.safetensors`.
    """
    scale = _measure_scale(_project(data.scaled[data.train][:, columns], blocks))
    parts = {"train": data.train, "val": data.val}
    rows = {name: _quantise(_project(data.scaled[part][:, columns], blocks), scale) for name, part in parts.items()}
    tolerance = _choose_tolerance(rows["train"]) if _count_kept(blocks) >= _FEWEST_COLUMNS else 0
    tensors = {"scale": scale, "tolerance": np.array([tolerance], np.int64)}
    catalogue = read_catalogue(root)
    for name, part in parts.items():
        ids = [data.features.clip_ids[row] for row in part]
        tensors[f"{name}.rows"] = rows[name]
        tensors[f"{name}.contents"] = _hash_all(texts[0] for texts in _content_texts(catalogue, ids))
        tensors[f"{name}.claims"] = np.zeros(0, np.int64) if tolerance else _hash_claims(ids, data.scores[part])
    return save({name: np.ascontiguousarray(values) for name, values in tensors.items()})


def find_seen(
    recorded: bytes, scaling: Scaling, features: Features, catalogue: pa.Table, scores: np.ndarray
) -> SeenClips:
    """Find the clips that a bundle has seen.

    Args:
        recorded: Content of the bundle's `train_clips.safetensors`.
        scaling: The bundle's scaling.
        features: Features of N clips as the bundle sees them.
        catalogue: Clips with `clip_id`, `uri` and the column that tells their contents.
        scores: True scores of these clips, (N,), in the units of the bundle's target.
    Returns:
        Which clips it has seen; one in both train and val counts as train.
    """
    tensors = load(recorded)
    scaled = scaling(features.values).astype(np.float32)
    rows = _quantise(_project(scaled, features.blocks), tensors["scale"])
    contents = [_hash_all(texts) for texts in _content_texts(catalogue, features.clip_ids)]
    claims = _hash_claims(features.clip_ids, scores.astype(np.float32))
    found = {}
    for part in ("train", "val"):
        marks = ClipMarks(*(tensors[f"{part}.{name}"] for name in ("rows", "contents", "claims")))
        by_content = np.array([bool(np.isin(own[own != _UNKNOWN], marks.contents).any()) for own in contents], bool)
        found[part] = by_content | _find_rows(marks, rows, claims, int(tensors["tolerance"][0]))
    return SeenClips(found["train"], found["val"] & ~found["train"])


def _find_rows(marks: ClipMarks, rows: np.ndarray, claims: np.ndarray, tolerance: int) -> np.ndarray:
    """Whether each clip looks like one that is marked, or where looks are no proof like the one of its id and score."""
    if not len(marks.rows) or not len(rows):
        return np.zeros(len(claims), bool)
    if tolerance:
        return _match_rows(_select_distinct(marks.rows, tolerance), rows, tolerance)
    places = {claim: k for k, claim in enumerate(marks.claims.tolist())}
    own = np.array([places.get(claim, -1) for claim in claims.tolist()])
    difference = np.abs(marks.rows[own].astype(np.int64) - rows).max(axis=1)
    return (own >= 0) & (difference <= _TOLERANCES[0])


def _match_rows(known: np.ndarray, rows: np.ndarray, tolerance: int) -> np.ndarray:
    """Whether each row is like a known one; where several are like the same, none is known to be that clip."""
    if not len(known):
        return np.zeros(len(rows), bool)
    distances, places = scipy.spatial.cKDTree(known.astype(np.float64)).query(rows.astype(np.float64), p=np.inf)
    is_like = distances <= tolerance
    counts = np.bincount(places[is_like], minlength=len(known))
    return is_like & (counts[np.minimum(places, len(known) - 1)] <= _MOST_COPIES)


def _select_distinct(rows: np.ndarray, tolerance: int) -> np.ndarray:
    """The rows that no other one is like: many clips share what a detector gives where it finds nothing."""
    return rows[_nearest(rows, rows, 2) > tolerance] if len(rows) > 1 else rows


def _nearest(known: np.ndarray, rows: np.ndarray, neighbour: int) -> np.ndarray:
    """Largest difference of each row to its nearest known one, or to the next, (N,)."""
    tree = scipy.spatial.cKDTree(known.astype(np.float64))
    return tree.query(rows.astype(np.float64), k=[neighbour], p=np.inf)[0][:, 0]


def _choose_tolerance(train: np.ndarray) -> int:
    """The widest tolerance within which train clips differ; 0: there is none, as their features are coarse."""
    if len(train) < 2:
        return 0
    some = train[:: -(-len(train) // _MAX_COMPARED)]
    distances = _nearest(train, some, 2)  # the nearest one is the clip itself
    return next((t for t in _TOLERANCES if (distances <= t).mean() <= _MAX_SHARED), 0)


def _project(scaled: np.ndarray, blocks: Sequence[Block]) -> np.ndarray:
    """Four numbers of each row, (N, 4), float64; (0, 4) where the model sees nothing but similarity.

    Similarity is left out: a train clip's own is without itself, and so another one than as a new clip.
    """
    kept = _select_kept(blocks)
    if not kept.any():
        return np.empty((0, _NUMBERS))
    # Directions that no version of a random generator changes: cosines at multiples of irrational frequencies.
    positions = np.arange(1, kept.sum() + 1)[:, None]
    directions = np.cos(2 * np.pi * ((positions * _ROOTS) % 1))
    return scaled[:, kept].astype(np.float64) @ directions


def _select_kept(blocks: Sequence[Block]) -> np.ndarray:
    """Which columns are compared, bool, (F,)."""
    return np.concatenate([np.full(len(b.names), b.tier.partition(":")[0] != SIMILARITY) for b in blocks])


def _count_kept(blocks: Sequence[Block]) -> int:
    return int(_select_kept(blocks).sum())


def _measure_scale(projected: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each projection over the train split, (2, 4); 0 and 1 where it is constant."""
    if not len(projected):
        return np.stack([np.zeros(_NUMBERS), np.ones(_NUMBERS)])
    deviation = projected.std(axis=0)
    return np.stack([projected.mean(axis=0), np.where(deviation > 0, deviation, 1)])


def _quantise(projected: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Projections in quanta, (N, 4), int16: even near the mean, coarser far out, where arcsinh compresses."""
    quanta = np.rint(np.arcsinh((projected - scale[0]) / scale[1]) / _QUANTUM)
    return np.clip(np.nan_to_num(quanta), -(2**15), 2**15 - 1).astype(np.int16)


def _content_texts(catalogue: pa.Table, ids: Sequence[str]) -> list[list[str]]:
    """What each clip's content can be known by, the surest first: its bytes; else its address, size and time of change.

    A file of which nothing is known has an empty text, unless an address on the web or in a bucket names it.
    """
    content = next((column.name for column in catalogue.schema if is_content_column(column)), None)
    contents = [None] * catalogue.num_rows if content is None else catalogue[content].to_pylist()
    names = map(_name_content, contents, catalogue["uri"].to_pylist())
    texts = dict(zip(catalogue["clip_id"].to_pylist(), names, strict=True))
    return [texts.get(name, [""]) for name in ids]


def _name_content(content: str | None, uri: str | None) -> list[str]:
    match = _CONTENT.fullmatch(content or "")
    address = absolute_uri(uri) if uri else ""
    if match is None:
        return [address if "://" in address else ""]
    by_address = f"{address} {match['size']}:{match['time']}"
    return [f"{match['size']}:{match['hash']}", by_address] if match["hash"] else [by_address]


def _hash_claims(ids: Sequence[str], scores: np.ndarray) -> np.ndarray:
    return _hash_all(f"{name} {score:.6g}" for name, score in zip(ids, scores, strict=True))


def _hash_all(texts: Iterable[str]) -> np.ndarray:
    """64 bits of each text's hash, (N,), int64; 0 of an empty text."""
    return np.array([_hash(text) if text else _UNKNOWN for text in texts], np.int64)


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
