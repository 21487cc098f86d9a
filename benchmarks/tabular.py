"""Small weak tiers: Spearman of the MLP with selected settings against a tuned ridge regression, on the same splits.

Two public data sets that Python packages ship: VADER's lexicon (words and how pleasant people find them; n-grams of
letters as TF-IDF and SVD, 300 numbers, as captions would be; `pip install vaderSentiment`), also with noise added to
its scores until little signal is left, and scikit-learn's diabetes (442 patients, 10 numbers). Ridge is tuned by its
own leave-one-out over the train split, ours by held-out fifths of it (m3ray.training.model_selection); val only judges.

    python benchmarks/tabular.py [--splits 3] [--runs 4]
"""

from __future__ import annotations

import argparse
import platform
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV

from m3ray.config import TrainConfig
from m3ray.features.dataset import StudyData
from m3ray.features.matrix import Block, Features
from m3ray.training.model_selection import best_candidate, make_candidates, score_candidate
from m3ray.training.stacked import train_runs

Table = tuple[np.ndarray, np.ndarray]


def load_diabetes_table() -> Table:
    rows, target = load_diabetes(return_X_y=True)
    return rows, (target - target.min()) / np.ptp(target)


def load_lexicon(noise: float) -> Table:
    """Load the words of VADER's lexicon: 300 numbers each, and the mean rating mapped to [0, 1]."""
    spec = find_spec("vaderSentiment")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("this benchmark needs VADER's lexicon: pip install vaderSentiment")
    lines = (Path(spec.submodule_search_locations[0]) / "vader_lexicon.txt").read_text("utf-8").splitlines()
    entries = [(word, float(mean)) for word, mean, *_ in (line.split("\t") for line in lines) if word.isalpha()]
    # Inflected forms of a word would stand in train and val alike: one a stem of five letters.
    by_stem = {word[:5]: (word, mean) for word, mean in sorted(entries, reverse=True)}
    words, means = zip(*by_stem.values(), strict=True)
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), min_df=3).fit_transform(words)
    rows = TruncatedSVD(min(300, vectors.shape[1] - 1), random_state=0).fit_transform(vectors)
    scores = (np.array(means) + 4) / 8
    return rows, np.clip(scores + np.random.default_rng(0).normal(0, noise, len(scores)), 0, 1)


def split_table(rows: np.ndarray, scores: np.ndarray, seed: int) -> StudyData:
    names = np.where(np.random.default_rng(seed).random(len(rows)) < 0.8, "train", "val")
    width = rows.shape[1]
    # A vector of one kind is scaled as a whole; diabetes' ten numbers are of ten kinds.
    block = Block("own", tuple(f"own_{k}" for k in range(width)), True, (width,) if width > 50 else ())
    features = Features(tuple(map(str, range(len(rows)))), rows.astype(np.float32), (block,))
    return StudyData.make(features, scores, names.tolist())


def evaluate_selected(data: StudyData, runs: int) -> tuple[float, float, str]:
    """Train with selected settings: Spearman on val, mean over runs and of their ensemble, and the settings."""
    columns = np.arange(data.scaled.shape[1])
    trials = {
        name: score_candidate(data, columns, config, 0) for name, config in make_candidates(TrainConfig()).items()
    }
    best = best_candidate(trials)
    parts = [(torch.from_numpy(data.scaled[r]), torch.from_numpy(data.scores[r])) for r in (data.train, data.val)]
    trained = train_runs(parts[0], parts[1], trials[best].best_config, range(runs))
    ensemble = spearmanr(trained.val.mean(axis=0), data.scores[data.val])[0]
    return float(trained.metrics["spearman"][:, -1].mean()), float(ensemble), best


def evaluate_ridge(data: StudyData) -> float:
    model = RidgeCV(np.logspace(-2, 6, 33)).fit(data.scaled[data.train], data.scores[data.train])
    return float(spearmanr(model.predict(data.scaled[data.val]), data.scores[data.val])[0])


def evaluate_default(data: StudyData, runs: int) -> float:
    """Train with the paper's settings: Spearman on val, mean over runs."""
    parts = [(torch.from_numpy(data.scaled[r]), torch.from_numpy(data.scores[r])) for r in (data.train, data.val)]
    return float(train_runs(parts[0], parts[1], TrainConfig(), range(runs)).metrics["spearman"][:, -1].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--runs", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {date.today()}; Spearman on val, mean over {args.splits} splits, {args.runs} runs")
    print("| data | clips x numbers | paper's settings | selected | its ensemble | ridge | ensemble - ridge | chosen |")
    print("|---|---|---|---|---|---|---|---|")
    sets = {"lexicon": load_lexicon(0), "lexicon, noisy": load_lexicon(0.3), "diabetes": load_diabetes_table()}
    for name, (rows, scores) in sets.items():
        start, values, chosen = time.perf_counter(), [], []
        for seed in range(args.splits):
            data = split_table(rows, scores, seed)
            mean, ensemble, best = evaluate_selected(data, args.runs)
            values.append((evaluate_default(data, args.runs), mean, ensemble, evaluate_ridge(data)))
            chosen.append(best)
        default, mean, ensemble, peer = np.mean(values, axis=0)
        print(
            f"| {name} | {len(rows)} x {rows.shape[1]} | {default:.3f} | {mean:.3f} | {ensemble:.3f} | {peer:.3f} "
            f"| {ensemble - peer:+.3f} | {'; '.join(dict.fromkeys(chosen))} |",
            flush=True,
        )
        print(f"<!-- {name}: {time.perf_counter() - start:.0f} s -->", flush=True)


if __name__ == "__main__":
    main()
