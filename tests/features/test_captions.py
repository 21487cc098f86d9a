"""The captions tier of a root: what it is fitted on, what is kept, and what of val and test it does not see."""

import json

import numpy as np
import pyarrow as pa
import pytest

from m3ray.config.tiers import CaptionsConfig
from m3ray.errors import DamagedFileError, StudyError
from m3ray.features.captions import (
    check_captions_fit,
    count_captions,
    name_artifacts,
    read_caption_model,
    store_captions,
    update_captions_tier,
)
from m3ray.features.load import list_study_tiers, load_data
from m3ray.schema import CAPTIONS, Clip, catalogue_table
from m3ray.storage.catalogue_file import CATALOGUE_FILE
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index, read_tier_table
from m3ray.tiers.captions import fit_caption_model

WORDS = ("dog", "cat", "boat", "park", "night", "rain", "runs", "sleeps")
CONFIG = CaptionsConfig(components=4)


def draw(seed=0, count=40, change=None):
    """Clips of three words each, three quarters train; `change` puts other words into those of a split."""
    rng = np.random.default_rng(seed)
    clips = []
    for k in range(count):
        split = ("train", "train", "train", "val")[k % 4] if k < count - 4 else "test"
        words = [str(word) for word in rng.choice(WORDS, 3)]
        captions = ["zebra quilt", "zebra quilt"] if split == change else [" ".join(words)]
        clips.append(Clip(f"c{k:02d}", "", split, float(rng.random()), extra={"captions": captions}))
    return catalogue_table(clips)


def made(folder, table, config=CONFIG):
    root = Root(str(folder))
    root.write_table(table, CATALOGUE_FILE)
    update_captions_tier(root, table, config)
    return root


def splits(captions, *names):
    return pa.table({"clip_id": [f"c{k}" for k in range(len(names))], "split": pa.array(names), "captions": captions})


@pytest.mark.parametrize(
    ("captions", "names", "reason"),
    [
        (["!!!", "?", None], ("train", "train", "val"), r"no word of two letters .* of 2 clips \('!!!'\)"),
        ([None, None, "a dog"], ("train", "train", "val"), "none of the 2 clips of the train split has a caption"),
        (["!!!", None, "a dog"], ("train", "train", "val"), "no word of two letters"),
        (["!!!", "?", "a"], ("val", "val", "test"), "no word of two letters"),
    ],
)
def test_a_fit_that_must_fail_is_told_with_the_fit_s_own_words(tmp_path, captions, names, reason):
    clips = splits(captions, *names)
    with pytest.raises(StudyError, match=reason) as early:
        check_captions_fit(clips, ["captions"])
    with pytest.raises(StudyError) as late:
        update_captions_tier(Root(str(tmp_path)), clips, CONFIG)
    assert str(early.value) == str(late.value)
    check_captions_fit(clips, ["raw"])


@pytest.mark.parametrize(
    ("captions", "names"),
    [
        (["a dog", None, None], ("train", "train", "val")),
        ([None, None, "a dog"], ("val", "test", "val")),  # no clip is train: fitted on all
        ([None, None, "a dog"], ("train", "val", None)),  # may be drawn into train
    ],
)
def test_a_fit_that_may_work_passes(captions, names):
    check_captions_fit(splits(captions, *names), ["captions"])


def test_captions_are_counted_with_those_that_a_fit_sees():
    clips = splits(["a dog", None, "a cat", ""], "train", "train", "val", "val")
    assert count_captions(clips) == "captions: 2 of 4 clips have a caption, 1 of 2 in the train split"


def read_fit(root):
    entry = read_tier_index(root)["captions"]
    return [root.read_bytes(*path) for path in name_artifacts(entry).values()]


def test_a_root_has_the_tier_of_every_clip(tmp_path, caplog):
    caplog.set_level("INFO")
    root = made(tmp_path, draw())
    table = read_tier_table(root, "captions")
    assert table["clip_id"].to_pylist() == [f"c{k:02d}" for k in range(40)]
    assert table["captions"].type == pa.list_(pa.float32(), 4)
    assert "SVD to 4 numbers, fitted on the captions of 27 clips of the train split" in caplog.text
    assert "captions: 40 of 40 clips have a caption" in caplog.text
    assert list_study_tiers(root) == ["captions"]
    block = load_data(root, ["captions"]).data.features.blocks[0]
    assert (block.tier, block.scaled, block.vectors) == ("captions", True, (4,))


@pytest.mark.parametrize("split", ["val", "test"])
def test_nothing_of_val_and_test_leaks_into_the_fit(tmp_path, split):
    """Other captions there change no byte of the fit, and no number of a train clip."""
    plain, changed = made(tmp_path / "a", draw()), made(tmp_path / "b", draw(change=split))
    assert read_fit(plain) == read_fit(changed)
    assert "zebra" not in json.loads(read_fit(changed)[1])["vocabulary"]
    tables = [read_tier_table(root, "captions").to_pandas().set_index("clip_id") for root in (plain, changed)]
    train = [f"c{k:02d}" for k in range(36) if k % 4 < 3]
    for name in train:
        np.testing.assert_array_equal(*(table.loc[name, "captions"] for table in tables))


def test_another_train_split_is_fitted_anew_and_the_same_one_is_not(tmp_path, caplog):
    root = made(tmp_path, draw())
    first = read_fit(root)
    caplog.set_level("INFO")
    caplog.clear()
    update_captions_tier(root, draw(), CONFIG)
    assert "fitted on" not in caplog.text
    update_captions_tier(root, draw(change="train"), CONFIG)
    assert "fitted on" in caplog.text
    assert read_fit(root) != first
    update_captions_tier(root, draw(), CaptionsConfig(components=2))
    assert read_tier_table(root, "captions")["captions"].type.list_size == 2


def test_the_fit_s_hash_is_in_the_tier_s_fingerprint(tmp_path):
    one, other = made(tmp_path / "a", draw()), made(tmp_path / "b", draw(seed=1))
    entries = [read_tier_index(root)["captions"] for root in (one, other)]
    fits = [json.loads(read_fit(root)[1])["sha256"] for root in (one, other)]
    assert [entry.identity["fit"] for entry in entries] == fits
    assert entries[0].folder != entries[1].folder


def test_clips_without_captions_stay(tmp_path):
    table = draw().to_pylist()
    clips = [Clip(r["clip_id"], "", r["split"], r["score"], extra={"captions": r["captions"]}) for r in table]
    clips[0] = Clip("c00", "", "train", 0.5, extra={"captions": []})
    root = made(tmp_path, catalogue_table(clips))
    rows = read_tier_table(root, "captions").to_pandas().set_index("clip_id")
    assert rows["has_caption"].tolist() == [0.0] + [1.0] * 39
    assert not np.any(rows.loc["c00", "captions"])
    assert load_data(root, ["captions"]).data.features.clip_ids[0] == "c00"


def test_the_fit_is_applied_to_other_clips_as_it_is(tmp_path):
    root = made(tmp_path / "root", draw())
    tensors, metadata = read_fit(root)
    workspace, model = Root(str(tmp_path / "new")), read_caption_model(tensors, metadata, "here")
    assert store_captions(workspace, draw(), model) == "captions: 40 of 40 clips have a caption"
    assert read_tier_table(workspace, "captions").equals(read_tier_table(root, "captions"))
    assert read_tier_index(workspace)["captions"].identity == read_tier_index(root)["captions"].identity


def test_what_is_damaged_or_empty_is_told(tmp_path):
    root = made(tmp_path / "a", draw())
    tensors, _ = read_fit(root)
    with pytest.raises(DamagedFileError, match=r"captions\.json"):
        read_caption_model(tensors, b"{}", "captions.json")
    with pytest.raises(StudyError, match="none of the 27 clips of the train split has a caption"):
        made(tmp_path / "b", draw().drop_columns("captions"))


def test_which_clip_has_which_caption_is_in_the_fingerprint_and_the_order_of_the_list_is_not(tmp_path):
    """Two clips whose captions were swapped kept each other's vectors, as the lists of both were alike."""

    def vectors(folder, *rows):
        ids, texts = zip(*rows, strict=True)
        catalogue = pa.table({"clip_id": ids, "captions": pa.array([[text] for text in texts], pa.list_(pa.string()))})
        root = Root(str(folder))
        store_captions(root, catalogue, model)
        found = read_tier_table(root, CAPTIONS).to_pylist()
        return {row["clip_id"]: row for row in found}, read_tier_index(root)[CAPTIONS].folder

    model = fit_caption_model([["dog park runs"], ["cat boat sleeps"], ["dog sleeps"], ["cat runs"]], CONFIG)
    first, folder = vectors(tmp_path / "a", ("v1", "dog park runs"), ("v2", "cat boat sleeps"))
    swapped, other = vectors(tmp_path / "a", ("v2", "dog park runs"), ("v1", "cat boat sleeps"))
    again, same = vectors(tmp_path / "a", ("v2", "cat boat sleeps"), ("v1", "dog park runs"))
    assert other != folder
    assert {**swapped["v1"], "clip_id": "v2"} == first["v2"]
    assert (again, same) == (first, folder)
