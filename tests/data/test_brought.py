"""Tiers that a user brings, in each kind of file, good and bad."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.data.brought import bring, brought_tiers, parse_tiers, read_tier
from m3ray.data.rooms import tier_table
from m3ray.data.store import Root
from m3ray.errors import ConfigError, FeatureError, SchemaError

IDS = ["7", "8", "9"]
VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def write(path, kind):
    if kind == "parquet":
        table = pa.table({"clip_id": IDS, "text": pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 2)})
        pq.write_table(table, path)
    elif kind == "lists":
        pq.write_table(pa.table({"clip_id": [7, 8, 9], "text": VECTORS.tolist()}), path)
    elif kind == "csv":
        frame = pd.DataFrame({"clip_id": IDS, "text_0": VECTORS[:, 0], "text_1": VECTORS[:, 1]})
        path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, lineterminator="\r\n").encode())
    else:
        np.savez(path, clip_id=np.array([7, 8, 9]), text=VECTORS)


@pytest.mark.parametrize(
    ("kind", "ending"), [("parquet", "parquet"), ("lists", "parquet"), ("csv", "csv"), ("npz", "npz")]
)
def test_every_kind_of_file_gives_the_same_tier(tmp_path, kind, ending):
    write(tmp_path / f"t.{ending}", kind)
    tier = read_tier("text", str(tmp_path / f"t.{ending}"))
    assert tier.ids == ("7", "8", "9")
    assert list(tier.columns) == ["text"]
    np.testing.assert_array_equal(tier.columns["text"], VECTORS)


def test_scalars_stay_scalars(tmp_path):
    pd.DataFrame({"clip_id": IDS, "loud": [1, 2, 3], "fast": [0.5, 1.5, 2.5], "only_1": [1, 1, 1]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    tier = read_tier("audio", str(tmp_path / "t.csv"))
    assert {name: values.ndim for name, values in tier.columns.items()} == {"loud": 1, "fast": 1, "only_1": 1}


def test_a_tier_is_kept_under_the_root_for_the_catalogue_s_clips(tmp_path):
    write(tmp_path / "t.npz", "npz")
    root = Root(str(tmp_path / "root"))
    said = bring(root, read_tier("text", str(tmp_path / "t.npz")), ["9", "7"])
    assert "2 of 2 clips, 0 missing, 1 not in the catalogue" in said
    assert brought_tiers(root) == ["text"]
    assert tier_table(root, "text").to_pydict() == {"clip_id": ["7", "9"], "text": [[0, 1], [4, 5]]}


def test_other_numbers_are_another_folder(tmp_path):
    root = Root(str(tmp_path / "root"))
    for shift in (0, 1):
        np.savez(tmp_path / "t.npz", clip_id=np.array(IDS), text=VECTORS + shift)
        bring(root, read_tier("text", str(tmp_path / "t.npz")), IDS)
    assert len(root.names("features")) == 2
    assert tier_table(root, "text")["text"].to_pylist()[0] == [1, 2]


def test_missing_clips_stop_a_job_unless_allowed(tmp_path):
    write(tmp_path / "t.npz", "npz")
    tier, root = read_tier("text", str(tmp_path / "t.npz")), Root(str(tmp_path / "root"))
    with pytest.raises(FeatureError, match=r"3 of 4 clips, 1 missing \(x, \.\.\.\).*--allow-missing"):
        bring(root, tier, [*IDS, "x"])
    assert "1 missing" in bring(root, tier, [*IDS, "x"], allow_missing=True)
    with pytest.raises(FeatureError, match=r"no clip_id of it is in the catalogue \(a\.mp4\); it has 7"):
        bring(root, tier, ["a.mp4"], allow_missing=True)


@pytest.mark.parametrize(
    ("columns", "error", "words"),
    [
        ({"clip_id": ["a", "a"], "x": [1, 2]}, SchemaError, "'a' stands in row 1 and in row 2"),
        ({"clip_id": ["a", "b"], "x": [1, np.nan]}, FeatureError, "x of clip b and 0 more is NaN"),
        ({"clip_id": ["a", "b"], "x": [1, np.inf]}, FeatureError, "x of clip b"),
        ({"clip_id": ["a", "b"], "x": ["low", "high"]}, SchemaError, "column x is .*, expected numbers"),
        ({"name": ["a", "b"], "x": [1, 2]}, SchemaError, "has no clip_id; it has name, x"),
        ({"clip_id": ["a", "b"]}, SchemaError, "clip_id alone"),
    ],
)
def test_bad_tiers_name_what_is_wrong(tmp_path, columns, error, words):
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(error, match=words):
        read_tier("text", str(tmp_path / "t.csv"))


def test_vectors_of_different_lengths_and_files_that_are_not(tmp_path):
    pq.write_table(pa.table({"clip_id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"vectors of different lengths \(1, 2"):
        read_tier("text", str(tmp_path / "t.parquet"))
    (tmp_path / "t.npz").write_bytes(b"PK not a zip")
    for name, words in (
        ("t.npz", "cannot be read"),
        ("none.csv", "no such file"),
        ("t.xls", "expected a file ending in"),
    ):
        with pytest.raises(SchemaError, match=words):
            read_tier("text", str(tmp_path / name))
    np.savez(tmp_path / "o.npz", clip_id=np.array(["a"], dtype=object), x=np.ones(1))
    with pytest.raises(SchemaError, match=r"cannot be read.*pickle"):
        read_tier("text", str(tmp_path / "o.npz"))


@pytest.mark.parametrize("option", ["text", "=f.csv", "text=", "raw=f.csv", "a b=f.csv", "torchvision=f.csv"])
def test_tier_options(option):
    with pytest.raises(ConfigError, match="--tier"):
        parse_tiers([option])
    with pytest.raises(ConfigError, match="given twice"):
        parse_tiers(["a=x.csv", "a=y.csv"])
    assert parse_tiers(["a=x=y.csv"]) == {"a": "x=y.csv"}
