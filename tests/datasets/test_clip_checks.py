"""What a list of clips must be to become a catalogue."""

import pytest
from spellings import SPELLINGS, write_spelled_folder

from m3ray.datasets import identity
from m3ray.datasets.clip_checks import check_clips, parse_score
from m3ray.datasets.identity import video_keys
from m3ray.errors import ConfigError, SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root


def test_a_duplicate_id_names_both_rows():
    with pytest.raises(SchemaError, match=r"'a' stands in row 1 \(x.mp4\) and in row 3 \(z.mp4\)"):
        check_clips(catalogue_table([Clip("a", "x.mp4"), Clip("b", "y.mp4"), Clip("a", "z.mp4")]))


def test_a_video_in_two_splits_names_both_rows():
    rows = [Clip("a", "x", split="train"), Clip("b", "y", split="train"), Clip("c", "x", split="val")]
    with pytest.raises(SchemaError, match=r"x is in train \(row 1, a\) and in val \(row 3, c\): a leak"):
        check_clips(catalogue_table(rows))
    check_clips(catalogue_table([Clip("a", "x", split="train"), Clip("b", "x", split="train"), Clip("c", "x")]))


def test_passwords_in_a_uri_are_refused_and_not_repeated():
    rows = catalogue_table([Clip("a", "s3://b/x@y:z.mp4"), Clip("b", "s3://KEY:hush@b/x.mp4")])
    with pytest.raises(SchemaError, match="row 2: the uri carries credentials") as error:
        check_clips(rows)
    assert "hush" not in str(error.value)
    with pytest.raises(ConfigError, match="carries credentials"):
        Root("s3://KEY:hush@bucket/out")


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "n/a", "null", "None", " "])
def test_words_for_no_score(word):
    assert parse_score(word, 1) is None


@pytest.mark.parametrize(
    ("value", "expected"), [("0.5", 0.5), ("", None), (None, None), (float("nan"), None), (1, 1.0)]
)
def test_scores(value, expected):
    assert parse_score(value, 1) == expected


@pytest.mark.parametrize("value", ["high", "1.2", -0.1, "80%", "0,5", "0_5", "inf"])
def test_impossible_scores_name_the_row(value):
    with pytest.raises(SchemaError, match="row 4: score"):
        parse_score(value, 4)


@pytest.fixture(params=[20_000, 0], ids=["each file", "each folder"])
def folder(tmp_path, monkeypatch, request):
    """A video under several names; looked at file by file, as small catalogues are, and folder by folder."""
    monkeypatch.setattr(identity, "EACH", request.param)
    return write_spelled_folder(tmp_path)


def rows(*splits, uris):
    return catalogue_table(
        [Clip(f"c{k}", uri, split=split) for k, (split, uri) in enumerate(zip(splits, uris, strict=True))]
    )


@pytest.mark.parametrize("spelling", SPELLINGS[1:])
def test_a_given_split_that_puts_one_video_on_two_sides_names_both_rows(folder, monkeypatch, spelling):
    monkeypatch.chdir(folder)
    one, two = (text.format(top=folder) for text in (SPELLINGS[0], spelling))
    table = rows("train", "val", "val", uris=[one, f"{folder}/v/other.mp4", two])
    words = f"{one} is in train (row 1, c0) and, as {two}, in val (row 3, c2): a leak; keep it in one split"
    with pytest.raises(SchemaError) as error:
        check_clips(table)
    assert str(error.value) == words
    check_clips(rows("train", "val", "train", uris=[one, f"{folder}/v/other.mp4", two]))


def test_equal_content_in_two_splits_is_refused_where_asked(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(b"one")
    table = rows("train", "test", uris=[f"{tmp_path}/a", f"{tmp_path}/b"])
    check_clips(table)
    with pytest.raises(SchemaError, match="a leak"):
        check_clips(table, video_keys(table["uri"], "hash"))
