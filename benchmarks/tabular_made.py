"""Tables made by a formula with known signal, for benchmarks/tabular.py: scores as memorability has them.

Each score is 0.75 + 0.09 (sqrt(s) signal + sqrt(1 - s) noise), cut to [0, 1]: signal and noise have variance 1, and s
is the share of the variance that the columns could explain at best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfTransformer
from tabular_table import Table, make_columns, make_vector

from m3ray.features.matrix import Block

MEAN, DEVIATION = 0.75, 0.09  # of Memento10k's scores
_VAL = 1000  # clips to judge on beside a tiny train split: fewer would judge the draw


def make_scores(signal: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """Scores with so much of their variance from the signal, cut to [0, 1]."""
    signal = (signal - signal.mean()) / max(float(signal.std()), 1e-12)
    values = np.sqrt(share) * signal + np.sqrt(1 - share) * random.normal(size=len(signal))
    return np.clip(MEAN + DEVIATION * values, 0, 1)


def make_linear() -> Table:
    random = np.random.default_rng(1)
    rows = random.normal(size=(2000, 30))
    signal = rows @ random.normal(size=30)
    return Table(rows, make_scores(signal, 0.5, random), make_columns(30), "sum of 30 weighted columns, s = 0.5")


def make_smooth() -> Table:
    random = np.random.default_rng(2)
    x = random.normal(size=(2000, 10))
    signal = np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] ** 2 + np.tanh(2 * x[:, 2]) + 0.5 * x[:, 3]
    return Table(
        x, make_scores(signal, 0.6, random), make_columns(10), "sin, square, tanh and line of 4 of 10, s = 0.6"
    )


def make_interactions() -> Table:
    random = np.random.default_rng(3)
    x = random.normal(size=(2000, 20))
    signal = x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3] + (x[:, 4] > 0) * x[:, 5]
    return Table(x, make_scores(signal, 0.6, random), make_columns(20), "three products of 6 of 20 columns, s = 0.6")


def make_many_weak() -> Table:
    random = np.random.default_rng(4)
    rows = random.normal(size=(2500, 3000))
    signal = rows @ random.normal(size=3000)
    source = "sum of 3,000 weighted columns, s = 0.7; 2,000 train clips"
    return Table(rows, make_scores(signal, 0.7, random), make_vector(3000), source, train=2000)


def make_sparse() -> Table:
    random = np.random.default_rng(5)
    rows = random.normal(size=(800, 300))
    signal = rows[:, :5] @ np.array([1, 1, 0.7, 0.7, 0.5])
    return Table(rows, make_scores(signal, 0.6, random), make_columns(300), "5 of 300 columns, s = 0.6")


def make_tiny() -> Table:
    random = np.random.default_rng(6)
    rows = random.normal(size=(60 + _VAL, 10))
    signal = rows @ random.normal(size=10)
    source = "sum of 10 weighted columns, s = 0.5; 60 train clips"
    return Table(rows, make_scores(signal, 0.5, random), make_columns(10), source, train=60)


def make_ties() -> Table:
    random = np.random.default_rng(7)
    x = random.normal(size=(1500, 20))
    signal = x[:, :5].sum(axis=1) + np.sin(2 * x[:, 5])
    scores = np.clip(np.round(make_scores(signal, 0.6, random) * 10) / 10, 0.6, 1.0)
    return Table(x, scores, make_columns(20), "line and sine of 6 of 20, s = 0.6; scores of five values")


def make_skewed() -> Table:
    random = np.random.default_rng(8)
    x = random.normal(size=(2000, 20))
    signal = x @ random.normal(size=20)
    hidden = (make_scores(signal, 0.6, random) - MEAN) / DEVIATION
    return Table(x, 1 - 0.06 * np.exp(hidden).clip(0, 16), make_columns(20), "1 - 0.06 exp(line of 20), s = 0.6")


def make_outliers() -> Table:
    random = np.random.default_rng(9)
    x = random.normal(size=(1500, 20))
    x[random.random(x.shape) < 0.005] *= 30
    signal = np.tanh(x) @ random.normal(size=20)
    return Table(
        x, make_scores(signal, 0.6, random), make_columns(20), "tanh of 20, of which 0.5 % are 30 times too large"
    )


def make_noise() -> Table:
    random = np.random.default_rng(10)
    rows = random.normal(size=(1000, 50))
    return Table(rows, make_scores(np.zeros(1000), 0.0, random), make_columns(50), "nothing to find, s = 0")


def make_captions() -> Table:
    """Texts of about 12 words out of 3,000, of 50 topics, as TF-IDF and SVD to 300 numbers."""
    random, clips, words, topics = np.random.default_rng(11), 8500, 3000, 50
    popularity = 1 / np.arange(1, words + 1)
    topic_words = popularity * random.gamma(0.1, 10, size=(topics, words))
    topic_words /= topic_words.sum(axis=1, keepdims=True)
    mixture = random.dirichlet(np.full(topics, 0.1), size=clips)
    counts = random.poisson(12 * mixture @ topic_words)
    word_effects = counts.clip(0, 1) @ (random.normal(size=words) * (popularity < 0.02))
    topic_effects = mixture @ random.normal(size=topics)
    signal = word_effects / word_effects.std() + topic_effects / topic_effects.std()
    vectors = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    rows = TruncatedSVD(300, random_state=0).fit_transform(vectors)
    scores = make_scores(signal, 0.7, random)
    return Table(rows, scores, make_vector(300), "made texts, TF-IDF and SVD, s = 0.7; 7,000 train clips", train=7000)


def make_wide() -> Table:
    """Four tiers as the paper's: 15 numbers, 720 and 2,048 pooled outputs of networks, 852 clusters."""
    random, clips, hidden = np.random.default_rng(12), 8500, 40
    state = random.normal(size=(clips, hidden)) * np.linspace(1.5, 0.3, hidden)
    raw = state @ random.normal(size=(hidden, 15)) / np.sqrt(hidden) + random.normal(size=(clips, 15))
    pooled = [_pool(state, width, random) for width in (720, 2048)]
    centres = state[random.choice(clips, 852, replace=False)]
    nearest = ((centres**2).sum(axis=1) - 2 * state @ centres.T).argmin(axis=1)
    rows = np.concatenate([raw, *pooled, np.eye(852)[nearest]], axis=1)
    line, bend = state @ random.normal(size=hidden), np.tanh(state @ random.normal(size=(hidden, 12))).sum(axis=1)
    scores = make_scores(line / line.std() + bend / bend.std(), 0.6, random)
    blocks = (
        *make_columns(15, "raw"),
        *(_unscaled(t, w) for t, w in (("scene", 720), ("event", 2048), ("clusters", 852))),
    )
    return Table(rows, scores, blocks, "four tiers of one hidden state of 40, s = 0.6; 7,000 train clips", train=7000)


def _pool(state: np.ndarray, width: int, random: np.random.Generator) -> np.ndarray:
    """What a network's last layer gives, averaged over places: not negative, skewed, of a few tenths."""
    values = state @ random.normal(size=(state.shape[1], width)) / np.sqrt(state.shape[1])
    noise = random.normal(0, 0.5, size=values.shape)
    return 0.4 * np.log1p(np.exp(2 * (values + noise) - random.uniform(0, 2, size=width)))


def _unscaled(tier: str, width: int) -> Block:
    return Block(tier, tuple(f"{tier}_{k}" for k in range(width)), scaled=False)


MADE: dict[str, Callable[[], Table]] = {
    "linear": make_linear,
    "smooth": make_smooth,
    "interactions": make_interactions,
    "many weak": make_many_weak,
    "sparse": make_sparse,
    "tiny": make_tiny,
    "ties": make_ties,
    "skewed": make_skewed,
    "outliers": make_outliers,
    "noise": make_noise,
    "captions": make_captions,
    "wide": make_wide,
}
