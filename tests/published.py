"""Data sets in the layouts that they are published in, with made-up rows: no published value is in here."""

import csv
import json
from pathlib import Path

import numpy as np

from m3ray.schema import Clip

CAPTIONS = 5
ACTIONS = ("playing music", "running", "cooking", "diving")
MEMENTO_VIEWERS = (90, 7)
VIDEOMEM_VIEWERS = (34, 5)


def rows(count: int, seed: int = 0, viewers: tuple[int, int] = MEMENTO_VIEWERS) -> list[dict]:
    """Clips that viewers recognise with a `chance` that follows three hidden numbers; the score is the share who did.

    Clip k has viewers[0] + k modulo viewers[1] of them. The chance's deviation is 0.13, and about it a score's 0.046
    with the viewers of Memento10k and 0.074 with those of VideoMem: nobody can predict a score better than with a
    correlation of 0.13 / sqrt(0.13^2 + 0.046^2) = 0.94, and 0.87.
    """
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((count, 3))
    chance = np.clip(0.7 + 0.1 * hidden @ [1.0, -0.7, 0.4] + rng.normal(0, 0.02, count), 0.02, 0.98)
    responses = viewers[0] + np.arange(count) % viewers[1]
    hits = rng.binomial(responses, chance)
    score = hits / responses
    return [
        {
            "hidden": hidden[k],
            "chance": float(chance[k]),
            "responses": int(responses[k]),
            "hits": int(hits[k]),
            "score": float(score[k]),
            "action": ACTIONS[k % 4],
            "alpha": -2e-4 - 1e-3 * (1 - score[k]),
        }
        for k in range(count)
    ]


def memento_json(folder: Path, counts=(("train", 60), ("val", 30), ("test", 10))) -> dict[str, dict]:
    """The authors' form. Returns clip id to its row."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {}
    for number, (split, count) in enumerate(counts):
        entries = []
        for k, row in enumerate(rows(count, number)):
            name = f"Video {split} {k}+a.mp4"
            known[name] = row
            entries.append(
                {
                    "filename": name,
                    "url": f"http://example.org/{row['action'].replace(' ', '+')}/{name}",
                    "mem_score": row["score"],
                    "alpha": row["alpha"],
                    "action_labels": [row["action"], "moving"],
                    "captions": [f"{row['action']} in a park", "another caption"],
                }
            )
        (folder / f"memento_{split}_data.json").write_text(json.dumps(entries))
    return known


def memento_csv(folder: Path, train=80, dev=40) -> dict[str, dict]:
    """MediaEval 2021's form: BOM and CRLF, numeric ids, five captions a video beside each other."""
    known = {}
    for number, (directory, prefix, count) in enumerate((("training_set", "train", train), ("dev_set", "dev", dev))):
        (folder / directory).mkdir(parents=True, exist_ok=True)
        scores, captions = [], []
        for k, row in enumerate(rows(count, number)):
            name = str(1000 * number + k)
            known[name] = row
            url = f"https://example.org/videos/{row['action'].replace(' ', '+')}/clip-{name}.mp4"
            scores.append([name, url, row["responses"], max(0.0, row["score"] - 0.05), row["score"], row["alpha"]])
            captions.append([name, url, *(f"{row['action']}, number {n}" for n in range(CAPTIONS))])
        head = ["video_id", "video_url", "annotations_short_term", "scores_raw_short_term"]
        write_csv(
            folder / directory / f"{prefix}_scores.csv", [*head, "scores_normalized_short_term", "decay_alpha"], scores
        )
        head = ["video_id", "video_url", *(f"description_{n}" for n in range(CAPTIONS))]
        write_csv(folder / directory / f"{prefix}_text_descriptions.csv", head, captions)
    return known


def videomem_csv(folder: Path, count=100, seed=0) -> dict[str, dict]:
    folder.mkdir(parents=True, exist_ok=True)
    known = {f"video{k}.webm": row for k, row in enumerate(rows(count, seed, VIDEOMEM_VIEWERS))}
    head = ["video", "short-term_memorability", "nb_short-term_annotations", "long-term_memorability"]
    lines = [[name, r["score"], r["responses"], max(0.0, r["score"] - 0.1), 12] for name, r in known.items()]
    write_csv(folder / "ground-truth_dev-set.csv", [*head, "nb_long-term_annotations"], lines)
    return known


def write_csv(path: Path, head: list[str], lines: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(head)
        writer.writerows(lines)


def text_tier(path: Path, known: dict[str, dict]) -> Path:
    """A tier with the hidden numbers of each clip, as NPZ."""
    np.savez(path, clip_id=np.array(list(known)), text=np.stack([row["hidden"] for row in known.values()]))
    return path


def clips_of(table):
    """The rows of a catalogue's columns as `Clip`s."""
    ours = {"clip_id", "uri", "split", "score", "labels"}
    return [
        Clip(
            row["clip_id"],
            row["uri"],
            row["split"],
            row["score"],
            tuple(row["labels"]),
            {name: value for name, value in row.items() if name not in ours},
        )
        for row in table.to_pylist()
    ]
