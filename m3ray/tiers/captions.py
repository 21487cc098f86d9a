"""The captions tier: TF-IDF of a clip's captions, projected by a truncated SVD; both are fitted on the train split."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from safetensors.numpy import load, save

from m3ray.config.tiers import CaptionsConfig
from m3ray.errors import StudyError
from m3ray.schema import CAPTIONS

CODE_VERSION = 1
HAS_CAPTION = "has_caption"
MAX_FIT_CLIPS = 50_000
_WORD = re.compile(r"\b\w\w+\b")
_SEED = 0
_CHUNK = 4096  # clips whose terms are in memory at once


@dataclass(frozen=True)
class CaptionModel:
    """TF-IDF and SVD as they were fitted on the train split's captions.

    Args:
        vocabulary: The V terms, words and pairs of neighbouring words, in the order of the columns.
        idf: Inverse document frequency of each term, (V,), float32.
        components: Right singular vectors, (K, V), float32.
        mean: Mean projection of the train clips that have captions, (K,), float32.
        clips: Number of clips that it was fitted on.
        fitted_on: `train`, or `all` where no clip is marked as train.
        marks_missing: Whether some of those clips had no caption: a further number then tells the two apart.
        key: What it was fitted on, as a hash: another one asks for another fit.
    """

    vocabulary: tuple[str, ...]
    idf: np.ndarray
    components: np.ndarray
    mean: np.ndarray
    clips: int
    fitted_on: str = "train"
    marks_missing: bool = False
    key: str = ""

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.vocabulary)}

    def transform(self, captions: Sequence[Sequence[str]]) -> dict[str, np.ndarray]:
        """Compute the tier's columns of clips.

        Args:
            captions: The captions of each of N clips; none where it has none.
        Returns:
            `captions`, float32, (N, K): 0, the train split's mean, for a clip without a caption, or of whose captions
            no term is known. `has_caption`, float32, (N,), 1 or 0, where the fit marks clips without captions.
        """
        parts = [self._project(captions[k : k + _CHUNK]) for k in range(0, len(captions), _CHUNK)]
        empty = np.empty((0, len(self.mean)), np.float32)
        columns = {CAPTIONS: np.concatenate([empty, *parts])}
        if self.marks_missing:
            columns[HAS_CAPTION] = np.array([bool(own) for own in captions], np.float32)
        return columns

    def _project(self, captions: Sequence[Sequence[str]]) -> np.ndarray:
        """Project some clips; each row is computed by itself, so that no other clip changes it."""
        projected = np.zeros((len(captions), len(self.mean)), np.float32)
        for row, own in enumerate(captions):
            columns, weights = self._weigh(own)
            if len(columns):
                # z = V^T x - mean, x the unit vector of (1 + ln tf) idf
                values = self.components[:, columns].astype(np.float64) @ (weights / np.linalg.norm(weights))
                projected[row] = values - self.mean
        return projected

    def _weigh(self, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Columns of a clip's known terms, ascending, and their weights before they are put to length 1."""
        counts = Counter(term for term in iter_terms(captions) if term in self._columns)
        known = sorted((self._columns[term], count) for term, count in counts.items())
        columns = np.array([column for column, _ in known], np.int64)
        frequency = np.array([1 + math.log(count) for _, count in known], np.float64)
        return columns, frequency * self.idf[columns]

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of all that changes its numbers, hexadecimal: its part of the tier's fingerprint."""
        digest = hashlib.sha256("\n".join(self.vocabulary).encode())
        for values in (self.idf, self.components, self.mean):
            digest.update(np.ascontiguousarray(values, np.float32).tobytes())
        digest.update(bytes([self.marks_missing]))
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """All that changes the tier's numbers, as JSON values."""
        return {"tier": CAPTIONS, "code": CODE_VERSION, "fit": self.sha256}

    def to_artifact(self) -> tuple[bytes, dict[str, Any]]:
        """The content of its two files: tensors as safetensors, and the metadata for JSON."""
        tensors = {"idf": self.idf, "components": np.ascontiguousarray(self.components), "mean": self.mean}
        metadata = {
            "vocabulary": list(self.vocabulary),
            "clips": self.clips,
            "fitted_on": self.fitted_on,
            "marks_missing": self.marks_missing,
            "key": self.key,
            "sha256": self.sha256,
        }
        return save(tensors), metadata

    @classmethod
    def from_artifact(cls, tensors: bytes, metadata: Mapping[str, Any]) -> Self:
        """The model that `to_artifact` wrote.

        Args:
            tensors: Content of the safetensors file.
            metadata: Content of the JSON file.
        Raises:
            SafetensorError: If the safetensors file is damaged.
            KeyError, TypeError: If the metadata are another file's.
        """
        arrays = load(tensors)
        return cls(
            tuple(metadata["vocabulary"]),
            arrays["idf"],
            arrays["components"],
            arrays["mean"],
            metadata["clips"],
            metadata["fitted_on"],
            bool(metadata["marks_missing"]),
            metadata["key"],
        )


def iter_terms(captions: Sequence[str]) -> Iterator[str]:
    """Iterate over the terms of a clip's captions: words of two letters or more, small, and pairs of neighbours.

    Args:
        captions: The captions; no pair goes from one to the next.
    Yields:
        Each term as often as it stands there.
    """
    for caption in captions:
        words = _WORD.findall(caption.lower())
        yield from words
        yield from (f"{first} {second}" for first, second in itertools.pairwise(words))


def fit_caption_model(
    captions: Sequence[Sequence[str]], config: CaptionsConfig, fitted_on: str = "train", key: str = ""
) -> CaptionModel:
    """Fit TF-IDF and SVD on the captions of train clips.

    Args:
        captions: The captions of each clip; clips without one only say that there are such clips.
        config: Numbers of terms and of components, at most.
        fitted_on: `train`, or `all` where no clip is marked as train; for the record.
        key: What the fit is known by.
    Returns:
        The model, with fewer components where clips or terms are fewer.
    Raises:
        StudyError: If no clip has a caption, or no caption a word.
    """
    from sklearn.decomposition import TruncatedSVD  # a second to import, which a fitted model does without

    check_words(captions, fitted_on)
    known = [own for own in captions if own]
    vectorizer, matrix = _fit_tfidf(known, config.terms)
    components = max(1, min(config.components, len(known) - 1, matrix.shape[1] - 1))
    svd = TruncatedSVD(components, n_iter=7, random_state=_SEED)
    # scikit-learn refuses a single column, which is its own direction.
    with np.errstate(divide="ignore", invalid="ignore"):  # of equal captions, the share of variance is 0 / 0; unused
        directions = svd.fit(matrix).components_ if matrix.shape[1] > 1 else np.ones((1, 1))
    model = CaptionModel(
        tuple(vectorizer.get_feature_names_out().tolist()),
        vectorizer.idf_.astype(np.float32),
        directions.astype(np.float32),
        np.zeros(components, np.float32),
        len(known),
        fitted_on,
        marks_missing=len(known) < len(captions),
        key=key,
    )
    return replace(model, mean=model.transform(known)[CAPTIONS].mean(axis=0, dtype=np.float64).astype(np.float32))


def check_words(captions: Sequence[Sequence[str]], fitted_on: str = "train") -> None:
    """Check that there are words to fit on.

    Args:
        captions: The captions of each clip.
        fitted_on: `train`, or `all` where no clip is marked as train; for the message.
    Raises:
        StudyError: If no clip has a caption, or no caption a word.
    """
    known = [own for own in captions if own]
    if not known:
        raise StudyError(
            f"captions: none of the {len(captions)} clips of the {'train split' if fitted_on == 'train' else 'root'} "
            "has a caption: give some, or leave captions out of --tiers"
        )
    if not any(True for own in known for _ in iter_terms(own)):
        raise StudyError(
            f"captions: no word of two letters stands in the captions of {len(known)} clips ({known[0][0]!r}): "
            "expected text in words, apart by spaces"
        )


def _fit_tfidf(captions: Sequence[Sequence[str]], most: int) -> tuple[Any, Any]:
    """The fitted vectorizer, and its matrix; terms of two clips or more, of one where there are no others."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings = {"analyzer": iter_terms, "max_features": most, "sublinear_tf": True}
    vectorizer = TfidfVectorizer(min_df=2, **settings)
    try:
        return vectorizer, vectorizer.fit_transform(captions)
    except ValueError:  # scikit-learn's word for an empty vocabulary
        vectorizer = TfidfVectorizer(min_df=1, **settings)
        return vectorizer, vectorizer.fit_transform(captions)
