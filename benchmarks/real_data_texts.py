"""Real sentences under scores that are no memorability, for trying benchmarks/real_data.py without a public set.

The sentences are those of VADER's source package (Hutto and Gilbert 2014, MIT licence):

    pip download --no-deps --no-binary :all: vaderSentiment==3.3.2

`rated` has the ratings that twenty people gave each sentence, of how pleasant it is; `drawn` has shares of drawn
viewers, whose chance is a sum over words: noise and ceiling are those of a memory game of 90 viewers a clip.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from tabular_shipped import read_ratings

from m3ray.tiers.captions import iter_terms

KINDS = {"tweets": "tweets", "reviews": "amazonReviewSnippets"}
VIEWERS = 90


def write_texts(archive: Path, folder: Path) -> dict[str, str]:
    """Write the sentences as tables of clips.

    Args:
        archive: VADER's source package.
        folder: Folder for the tables.
    Returns:
        Name of each table to its file.
    """
    files = {}
    for name, source in KINDS.items():
        lines = [line.split("\t", 2) for line in read_ratings(archive, source) if line.count("\t") >= 2]
        texts = [text for _, _, text in lines]
        rated = (np.array([float(mean) for _, mean, _ in lines]) + 4) / 8
        scores, viewers = draw_scores(texts)
        files[f"{name}, rated"] = _write(folder / f"{name}-rated.jsonl", lines, rated)
        files[f"{name}, drawn"] = _write(folder / f"{name}-drawn.jsonl", lines, scores, viewers)
    return files


def _write(file: Path, lines: list[list[str]], scores: np.ndarray, viewers: int | None = None) -> str:
    # Sentences of one review or article, 7_1 and 7_2, are one source.
    rows = [
        {"uri": f"{key}.mp4", "clip_id": key, "score": float(score), "captions": [text], "source": key.split("_")[0]}
        | ({} if viewers is None else {"responses": viewers})
        for (key, _, text), score in zip(lines, scores, strict=True)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def draw_scores(texts: list[str], seed: int = 0) -> tuple[np.ndarray, int]:
    """Draw the share of viewers who recognise each text.

    Args:
        texts: N texts.
        seed: Seed of the words' weights and of the viewers.
    Returns:
        The shares, (N,), and the number of viewers of each.
    """
    rng = np.random.default_rng(seed)
    words = [sorted({term for term in iter_terms([text]) if " " not in term}) for text in texts]
    weights = {word: rng.normal() for word in sorted({word for own in words for word in own})}
    sums = np.array([sum(weights[word] for word in own) / max(1, len(own)) ** 0.5 for own in words])
    chance = np.clip(0.75 + 0.1 * sums / sums.std(), 0.02, 0.98)
    return rng.binomial(VIEWERS, chance) / VIEWERS, VIEWERS
