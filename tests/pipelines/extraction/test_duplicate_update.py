"""The end of an extraction: near duplicates are told, and put on one side where that is asked for. No cluster."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from made_roots import write

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.datasets.listing import Listing
from m3ray.pipelines.extraction.catalogue_update import update_catalogue
from m3ray.pipelines.extraction.duplicate_update import settle_duplicates
from m3ray.request.checks import Request
from m3ray.schema import RAW, Clip, catalogue_table
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root

CLIPS = 40


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "out"))


def extract(root, tmp_path, group=None, splits=(None,) * CLIPS, copies=CLIPS // 2):
    """What an extraction does but for computing: the first clips 2k + 1 are clip 2k once more, encoded anew."""
    table = catalogue_table([Clip(f"c{k:02d}", f"/v/{k}.mp4", split, score=0.5) for k, split in enumerate(splits)])
    options = ExtractOptions(out=root.uri, dataset="folder", root=str(tmp_path), tiers=("raw",), group=group)
    request = Request(options, Listing(table))
    catalogue, _ = update_catalogue(root, request, TierConfigs())
    values = np.repeat(np.random.default_rng(0).standard_normal((CLIPS // 2, 14)), 2, axis=0)
    values[1::2] += 1e-3
    values[2 * copies :] = np.random.default_rng(1).standard_normal((CLIPS - 2 * copies, 14))
    columns = {
        name: list(values[:, 4:]) if name == "hog" else values[:, min(k, 3)] for k, name in enumerate(RAW.names[1:])
    }
    write(root, "raw", pa.table({"clip_id": table["clip_id"], **columns}, schema=RAW))
    return settle_duplicates(root, catalogue, request)["split"].to_pylist()


def test_a_copy_on_the_other_side_of_the_split_is_told(root, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        splits = extract(root, tmp_path)
    divided = sum(one != other for one, other in zip(splits[::2], splits[1::2], strict=True))
    assert divided > 1
    line = caplog.messages[-1]
    assert line.startswith(f"duplicates: 40 clips in 20 groups, the largest of 2; {divided} groups stand on two sides")
    assert line.endswith("--group duplicates keeps drawn splits apart")


def test_asked_for_the_splits_are_drawn_by_them_and_a_second_job_changes_nothing(root, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        splits = extract(root, tmp_path, "duplicates")
    assert splits[::2] == splits[1::2]
    assert 30 <= splits.count("train") <= 34
    assert read_catalogue(root)["split"].to_pylist() == splits
    assert caplog.messages[-1].endswith("each on one side of the split")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert extract(root, tmp_path, "duplicates") == splits
    assert not any("drawn anew" in line for line in caplog.messages)


def test_a_root_of_plain_splits_moves_as_few_clips_as_it_must(root, tmp_path):
    copies = 6
    before = extract(root, tmp_path, copies=copies)
    after = extract(root, tmp_path, "duplicates", copies=copies)
    pairs = slice(0, 2 * copies, 2), slice(1, 2 * copies, 2)
    assert after[pairs[0]] == after[pairs[1]]
    assert all(now == "train" for was, now in zip(before, after, strict=True) if was == "train")
    moved = sum(was != now for was, now in zip(before, after, strict=True))
    assert moved == sum(one != other for one, other in zip(before[pairs[0]], before[pairs[1]], strict=True)) > 0


def test_given_splits_stay_and_it_is_said(root, tmp_path, caplog):
    given = ("train", "val") * (CLIPS // 2)
    with caplog.at_level(logging.INFO):
        assert extract(root, tmp_path, "duplicates", given) == list(given)
    assert caplog.messages[-1].endswith(
        "20 val clips have one in train; the data set gives these splits, and they stay"
    )
