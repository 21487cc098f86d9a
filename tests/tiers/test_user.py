"""Tiers that a user brings, in each kind of file, good and bad."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.errors import ConfigError, FeatureError, SchemaError
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_table
from m3ray.tiers.user import parse_tier_options, read_user_tier, store_user_tier, user_tiers

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
    tier = read_user_tier("text", str(tmp_path / f"t.{ending}"))
    assert tier.ids == ("7", "8", "9")
    assert list(tier.columns) == ["text"]
    np.testing.assert_array_equal(tier.columns["text"], VECTORS)


def test_scalars_stay_scalars(tmp_path):
    pd.DataFrame({"clip_id": IDS, "loud": [1, 2, 3], "fast": [0.5, 1.5, 2.5], "only_1": [1, 1, 1]}).to_csv(
        tmp_path / "t.csv", index=False
    )
    tier = read_user_tier("audio", str(tmp_path / "t.csv"))
    assert {name: values.ndim for name, values in tier.columns.items()} == {"loud": 1, "fast": 1, "only_1": 1}


def test_a_tier_is_kept_under_the_root_for_the_catalogue_s_clips(tmp_path):
    write(tmp_path / "t.npz", "npz")
    root = Root(str(tmp_path / "root"))
    said = store_user_tier(root, read_user_tier("text", str(tmp_path / "t.npz")), ["9", "7"])
    assert "2 of 2 clips, 0 missing, 1 not in the catalogue" in said
    assert user_tiers(root) == ["text"]
    assert read_tier_table(root, "text").to_pydict() == {"clip_id": ["7", "9"], "text": [[0, 1], [4, 5]]}


def test_other_numbers_are_another_folder(tmp_path):
    root = Root(str(tmp_path / "root"))
    for shift in (0, 1):
        np.savez(tmp_path / "t.npz", clip_id=np.array(IDS), text=VECTORS + shift)
        store_user_tier(root, read_user_tier("text", str(tmp_path / "t.npz")), IDS)
    assert len(root.list_names("features")) == 2
    assert read_tier_table(root, "text")["text"].to_pylist()[0] == [1, 2]


def test_missing_clips_stop_a_job_unless_allowed(tmp_path):
    write(tmp_path / "t.npz", "npz")
    tier, root = read_user_tier("text", str(tmp_path / "t.npz")), Root(str(tmp_path / "root"))
    with pytest.raises(FeatureError, match=r"3 of 4 clips, 1 missing \(x, \.\.\.\).*--allow-missing"):
        store_user_tier(root, tier, [*IDS, "x"])
    assert "1 missing" in store_user_tier(root, tier, [*IDS, "x"], allow_missing=True)
    with pytest.raises(FeatureError, match=r"no clip_id of it is in the catalogue \(a\.mp4\); it has 7"):
        store_user_tier(root, tier, ["a.mp4"], allow_missing=True)


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
        read_user_tier("text", str(tmp_path / "t.csv"))


def test_vectors_of_different_lengths_and_files_that_are_not(tmp_path):
    pq.write_table(pa.table({"clip_id": ["a", "b"], "x": [[1.0], [1.0, 2.0]]}), tmp_path / "t.parquet")
    with pytest.raises(SchemaError, match=r"vectors of different lengths \(1, 2"):
        read_user_tier("text", str(tmp_path / "t.parquet"))
    (tmp_path / "t.npz").write_bytes(b"PK not a zip")
    for name, words in (
        ("t.npz", "cannot be read"),
        ("none.csv", "no such file"),
        ("t.xls", "expected a file ending in"),
    ):
        with pytest.raises(SchemaError, match=words):
            read_user_tier("text", str(tmp_path / name))
    np.savez(tmp_path / "o.npz", clip_id=np.array(["a"], dtype=object), x=np.ones(1))
    with pytest.raises(SchemaError, match=r"cannot be read.*pickle"):
        read_user_tier("text", str(tmp_path / "o.npz"))


@pytest.mark.parametrize("option", ["text", "=f.csv", "text=", "raw=f.csv", "a b=f.csv", "torchvision=f.csv"])
def test_tier_options(option):
    with pytest.raises(ConfigError, match="--tier"):
        parse_tier_options([option])
    with pytest.raises(ConfigError, match="given twice"):
        parse_tier_options(["a=x.csv", "a=y.csv"])
    assert parse_tier_options(["a=x=y.csv"]) == {"a": "x=y.csv"}


NAMES = ["007", "7", "NA", "nan", "1e5", "2024-01-02", "1152921504606846977"]


def test_ids_stay_as_written_in_csv_and_npz(tmp_path):
    (tmp_path / "t.csv").write_text("clip_id,x\n" + "".join(f"{name},{k}\n" for k, name in enumerate(NAMES)))
    np.savez(tmp_path / "t.npz", clip_id=np.array(NAMES), x=np.arange(7))
    np.savez(tmp_path / "b.npz", clip_id=np.array([name.encode() for name in NAMES]), x=np.arange(7))
    for name in ("t.csv", "t.npz", "b.npz"):
        assert read_user_tier("text", str(tmp_path / name)).ids == tuple(NAMES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([2**60 + 1, 7]), ("1152921504606846977", "7")),
        (np.array([2**64 - 1, 7], np.uint64), ("18446744073709551615", "7")),
        (np.array([7.0, 8.0]), ("7", "8")),
        (np.array(["2024-01-02", "2024-01-03"], "datetime64[D]"), ("2024-01-02", "2024-01-03")),
    ],
)
def test_ids_that_are_numbers_keep_all_their_digits(tmp_path, values, expected):
    np.savez(tmp_path / "t.npz", clip_id=values, x=np.zeros(2))
    pq.write_table(pa.table({"clip_id": values, "x": [0.0, 1.0]}), tmp_path / "t.parquet")
    for name in ("t.npz", "t.parquet"):
        assert read_user_tier("text", str(tmp_path / name)).ids == expected


@pytest.mark.parametrize("values", [[7.5, 8.0], [2.0**60, 8.0], [True, False]])
def test_ids_that_would_lose_something_are_refused(tmp_path, values):
    np.savez(tmp_path / "t.npz", clip_id=np.array(values), x=np.zeros(2))
    with pytest.raises(SchemaError, match=r"t\.npz: clip_id is a column of"):
        read_user_tier("text", str(tmp_path / "t.npz"))


def test_the_index_that_pandas_carries_along_is_no_feature(tmp_path):
    """It was a row number that the model saw."""
    frame = pd.DataFrame({"clip_id": [*"abc"], "x": [1.0, 2.0, 3.0]})
    root = Root(str(tmp_path / "root"))
    for index, name in ((pd.Index([4, 9, 5]), "__index_level_0__"), (pd.Index([3, 1, 2], name="row"), "row")):
        frame.set_index(index).to_parquet(tmp_path / "t.parquet")
        tier = read_user_tier("text", str(tmp_path / "t.parquet"))
        assert list(tier.columns) == ["x"]
        assert store_user_tier(root, tier, [*"abc"]).endswith(f"t.parquet; pandas' index ({name}) left out")
    frame.to_csv(tmp_path / "t.csv")
    tier = read_user_tier("text", str(tmp_path / "t.csv"))
    assert list(tier.columns) == ["x"]
    assert tier.notes == ("column 1 has no name and is left out",)


def test_an_index_of_ids_is_the_ids(tmp_path):
    pd.DataFrame({"x": [1, 2, 3]}, index=pd.Index([*"abc"], name="clip_id")).to_parquet(tmp_path / "t.parquet")
    assert read_user_tier("text", str(tmp_path / "t.parquet")).ids == (*"abc",)


def test_rows_of_a_csv_that_end_in_a_comma_are_what_they_mean(tmp_path):
    (tmp_path / "t.csv").write_text("clip_id,x,y\na,1,2,\nb,3,4,\n")
    tier = read_user_tier("text", str(tmp_path / "t.csv"))
    assert tier.ids == ("a", "b")
    assert {name: values.tolist() for name, values in tier.columns.items()} == {"x": [1, 3], "y": [2, 4]}


def test_true_and_false_are_numbers(tmp_path):
    pd.DataFrame({"clip_id": ["a", "b"], "x": [True, False]}).to_csv(tmp_path / "t.csv", index=False)
    assert read_user_tier("text", str(tmp_path / "t.csv")).columns["x"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Clip_ID,x\na,1\n", "has a column 'Clip_ID'; the name that is read is 'clip_id'"),
        ("clip_id,x,x\na,1,2\n", "names column 'x' twice"),
        ("clip_id,x\na,1,2\n", r"row 1 \(line 2\) has 3 cells"),
        ("clip_id,x\n,1\n", "row 1: clip_id is empty"),
        ('clip_id,x\na,"0,5"\n', r"column x is text \('0,5' in row 1\), expected numbers"),
        ("clip_id;x\na;1\n", "separated by semicolons"),
        ("clip_id,x\n", "has no row"),
        ("", "cannot be read: it is empty"),
    ],
)
def test_bad_csv_tiers_name_file_and_row(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SchemaError, match=rf"t\.csv.*{words}"):
        read_user_tier("text", str(tmp_path / "t.csv"))


def test_damaged_archives_are_one_line(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", clip_id=np.array(IDS), text=VECTORS)
    whole = (tmp_path / "t.npz").read_bytes()
    for cut in (10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "t.npz").write_bytes(whole[:cut])
        with pytest.raises(SchemaError, match=r"t\.npz cannot be read") as error:
            read_user_tier("text", str(tmp_path / "t.npz"))
        assert "\n" not in str(error.value)
    (tmp_path / "t.npz").write_bytes(whole[:90] + bytes(20) + whole[110:])
    with pytest.raises(SchemaError, match=r"t\.npz"):
        read_user_tier("text", str(tmp_path / "t.npz"))


def test_columns_of_other_lengths_than_the_ids_are_refused(tmp_path):
    np.savez(tmp_path / "t.npz", clip_id=np.array(IDS), x=np.zeros(2))
    with pytest.raises(SchemaError, match="x has 2 rows, clip_id has 3"):
        read_user_tier("text", str(tmp_path / "t.npz"))
