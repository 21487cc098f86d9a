"""Data sets of images in the layouts that they are published in, with made-up rows: no published value is in here.

docs/datasets.md names the public page of each layout.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from published import write_csv
from scipy.io import savemat

LAMEM_SPLITS = (("train", 12), ("val", 4), ("test", 4))
MEMCAT_HEAD = [
    "", "image_file", "category", "subcategory", "current_height", "current_width", "source", "searched_label",
    "resize_factor", "H", "FA", "n_resp", "memorability_wo_fa_correction", "memorability_w_fa_correction",
]  # fmt: skip
FIGRIM_HEAD = [
    "image number", "filename", "scene category", "hits", "misses", "false_alarms", "correct_rejections",
]  # fmt: skip
THINGS_HEAD = ["image_nr", "image_name", "file_path", "cr"]


def write_images(folder: Path, paths: list[str], seed: int = 0) -> None:
    """Tiny pictures, each another one."""
    rng = np.random.default_rng(seed)
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)).save(folder / path)


def lamem(folder: Path, *, images: bool = True) -> dict[str, float]:
    """`splits/train_1.txt` to `test_5.txt`, each of the same images in another order; image to its score."""
    count = sum(n for _, n in LAMEM_SPLITS)
    rng = np.random.default_rng(0)
    scores = {f"{k + 1:08d}.jpg": round(float(score), 6) for k, score in enumerate(rng.uniform(0.3, 1.0, count))}
    (folder / "splits").mkdir(parents=True, exist_ok=True)
    for number in range(1, 6):
        names = [str(name) for name in rng.permutation(list(scores))]
        for split, n in LAMEM_SPLITS:
            lines = [f"{name} {scores[name]:.6f}\n" for name in names[:n]]
            (folder / "splits" / f"{split}_{number}.txt").write_text("".join(lines))
            names = names[n:]
    if images:
        write_images(folder / "images", list(scores))
    return scores


def memcat(folder: Path, *, images: bool = True) -> list[list]:
    """`MemCat_data/memcat_image_data.csv` and `MemCat_images/MemCat/CATEGORY/SUBCATEGORY/`; the rows."""
    rows, rng = [], np.random.default_rng(0)
    for k in range(20):
        category, subcategory = (("animal", "bear"), ("food", "apple"), ("sports", "ski"), ("animal", "cat"))[k % 4]
        viewers, hits = 80 + k, int(rng.integers(40, 80))
        alarms = int(rng.integers(0, 12))
        row = [k + 1, f"{k:012d}.jpg", category, subcategory, 427, 640, "coco", f"{subcategory}, a word", 1]
        rows.append([*row, hits, alarms, viewers, hits / viewers, (hits - alarms) / viewers])
    (folder / "MemCat_data").mkdir(parents=True, exist_ok=True)
    write_csv(folder / "MemCat_data" / "memcat_image_data.csv", MEMCAT_HEAD, rows)
    if images:
        write_images(folder / "MemCat_images" / "MemCat", [f"{row[2]}/{row[3]}/{row[1]}" for row in rows])
    return rows


def figrim_entries(count: int = 20) -> list[dict]:
    """Structures of `allImages`, with the fields that its page names and those of eye movements, which are large."""
    rng = np.random.default_rng(0)
    entries = []
    for k in range(count):
        category = ("airport_terminal", "highway")[k % 2]
        told = {"hits": 40 + k, "misses": 20, "false_alarms": 3, "correct_rejections": 57}
        seen = {"enc": rng.uniform(0, 1000, (5, 2)), "rec": np.empty((0, 0)), "rec2": np.empty((0, 0))}
        name = f"sun_{'abcdefghijklmnopqrst'[k]}jfarengi.jpg"
        entries.append(
            {
                "filename": name,
                "category": category,
                "impath": f"Targets/{category}/{name}",
                "userdata": np.array([{"trial": 1, "fixations": seen, "SDT": [4, 1, 1]}] * 3, dtype=object),
                "AMT_comb": told,
            }
        )
    return entries


def figrim(folder: Path, *, images: bool = True, compressed: bool = True) -> list[dict]:
    """`targetData/allImages_release.mat` and `Targets/CATEGORY/`; the structures."""
    entries = figrim_entries()
    (folder / "targetData").mkdir(parents=True, exist_ok=True)
    save_structs(folder / "targetData" / "allImages_release.mat", entries, compressed=compressed)
    if images:
        write_images(folder, [entry["impath"] for entry in entries])
    return entries


def save_structs(path: Path, entries: list[dict], *, compressed: bool = True, name: str = "allImages") -> None:
    structs = np.zeros((1, len(entries)), dtype=[(field, object) for field in entries[0]])
    for k, entry in enumerate(entries):
        structs[0, k] = tuple(entry.values())
    savemat(path, {name: structs}, do_compression=compressed)


def figrim_table(folder: Path, name: str = "across_category.csv") -> list[list]:
    """The form of counts: `across_category.csv` or `within_category.csv`; the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[k + 1, f"sun_{k}.jpg", ("badlands", "bridge")[k % 2], 50 + k, 30, 4, 76] for k in range(20)]
    write_csv(folder / name, FIGRIM_HEAD, rows)
    return rows


def things(folder: Path, *, images: bool = True) -> list[list]:
    """`THINGS_Memorability_Scores.csv` and `object_images/CONCEPT/`; the rows, the second with a negative score."""
    rows = []
    for k in range(20):
        concept = ("aardvark", "air_conditioner", "zucchini", "abacus")[k % 4]
        name = f"{concept}_{k // 4 + 1:02d}s.jpg"
        rows.append([k + 1, name, f"images/{concept}/{name}", 0.5 + 0.02 * k])
    rows[1][3], rows[2][3] = -0.05, ""
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "THINGS_Memorability_Scores.csv", THINGS_HEAD, rows)
    if images:
        write_images(folder, [str(row[2]).replace("images/", "object_images/", 1) for row in rows])
    return rows
