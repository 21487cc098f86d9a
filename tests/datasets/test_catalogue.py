import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from published import clips_of

from m3ray.datasets.catalogue import (
    checked,
    learned,
    read_catalogue,
    score_of,
    split_clips,
    with_facts,
    write_catalogue,
)
from m3ray.datasets.demo import SHARES, drawn_clip, make_demo
from m3ray.datasets.folder import list_folder
from m3ray.datasets.registry import list_clips
from m3ray.datasets.table import list_table, read_table
from m3ray.errors import ConfigError, SchemaError, StudyError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root


def clips(count, score=0.5):
    return catalogue_table([Clip(f"c{k}", f"/v/c{k}.mp4", score=score) for k in range(count)])


def test_a_duplicate_id_names_both_rows():
    with pytest.raises(SchemaError, match=r"'a' stands in row 1 \(x.mp4\) and in row 3 \(z.mp4\)"):
        checked(catalogue_table([Clip("a", "x.mp4"), Clip("b", "y.mp4"), Clip("a", "z.mp4")]))


def test_a_video_in_two_splits_names_both_rows():
    rows = [Clip("a", "x", split="train"), Clip("b", "y", split="train"), Clip("c", "x", split="val")]
    with pytest.raises(SchemaError, match=r"x is in train \(row 1, a\) and in val \(row 3, c\): a leak"):
        checked(catalogue_table(rows))
    checked(catalogue_table([Clip("a", "x", split="train"), Clip("b", "x", split="train"), Clip("c", "x")]))


def test_passwords_in_a_uri_are_refused_and_not_repeated():
    rows = catalogue_table([Clip("a", "s3://b/x@y:z.mp4"), Clip("b", "s3://KEY:hush@b/x.mp4")])
    with pytest.raises(SchemaError, match="row 2: the uri carries credentials") as error:
        checked(rows)
    assert "hush" not in str(error.value)
    with pytest.raises(ConfigError, match="carries credentials"):
        Root("s3://KEY:hush@bucket/out")


def test_splits_are_80_20_seeded_and_kept(tmp_path):
    """Each video is drawn by itself: of 2,000, 1,600 are train, give or take five deviations of 17.9."""
    root = Root(str(tmp_path))
    first = write_catalogue(root, clips(2000), seed=0).to_pandas().set_index("clip_id")["split"]
    assert abs((first == "train").sum() - 1600) < 90
    again = write_catalogue(root, clips(2100), seed=7).to_pandas().set_index("clip_id")["split"]
    assert (again[first.index] == first).all(), "clips that were drawn stay where they are"
    assert set(again.drop(first.index)) == {"train", "val"}


def test_another_seed_draws_another_split():
    one, two = (split_clips(clips(50), None, seed)["split"].to_pylist() for seed in (0, 1))
    assert one != two


def test_given_splits_stay():
    given = catalogue_table([Clip("a", "a", split="test"), Clip("b", "b", split="val"), Clip("c", "c")])
    known = pa.table({"clip_id": ["c", "a"], "split": ["val", "train"]})
    assert split_clips(given, known, 0)["split"].to_pylist() == ["test", "val", "val"]
    with pytest.raises(SchemaError, match="split 'dev' is none of train, val, test"):
        checked(catalogue_table([Clip("a", "a", split="dev")]))


def test_the_catalogue_keeps_the_user_s_columns_and_facts(tmp_path):
    root = Root(str(tmp_path))
    table = write_catalogue(
        root, catalogue_table([Clip("a", "a", extra={"alpha": -0.1}), Clip("b", "b", extra={"alpha": None})]), 0
    )
    facts = pa.table({"clip_id": ["b"], "frames": [7]})
    rows = with_facts(with_facts(table, facts), facts).to_pylist()
    assert [(r["clip_id"], r["alpha"], r["frames"]) for r in rows] == [("a", -0.1, None), ("b", None, 7)]
    with pytest.raises(StudyError, match="does not exist"):
        read_catalogue(Root(str(tmp_path / "other")))


DECODED = pa.table({"clip_id": ["b"], "duration": [3.0], "frames": [90], "decoder": ["pyav"]})


def test_the_user_s_own_columns_stand_beside_what_decoding_learned(tmp_path):
    mine = {"duration": "long", "frames": 4, "decoder": "me", "decoded_frames": "mine too"}
    table = catalogue_table([Clip("a", "a", extra=mine), Clip("b", "b", extra=mine)])
    for _ in range(2):
        table = with_facts(table, DECODED)
        assert table.column_names[5:] == [
            *mine, "decoded_duration", "decoded_decoded_frames", "decoded_decoder",
        ]  # fmt: skip
        assert [{name: row[name] for name in mine} for row in table.to_pylist()] == [mine, mine]
        assert learned(table, "frames").to_pylist() == [None, 90]
        assert learned(table, "duration").to_pylist() == [None, 3.0]
    root = Root(str(tmp_path))
    root.write_table(table, "catalogue.parquet")
    assert learned(read_catalogue(root), "decoder").to_pylist() == [None, "pyav"]


def test_what_decoding_learned_keeps_its_names_where_nobody_else_has_them():
    table = with_facts(clips(3), DECODED)
    assert table.column_names[5:] == ["duration", "frames", "decoder"]
    assert learned(table, "sampled") is None
    assert learned(clips(3), "frames") is None


def test_a_catalogue_of_before_columns_were_marked_is_read_by_its_names():
    table = clips(1)
    for name in ("native_fps", "sampled", "video_bytes", "decoder"):
        table = table.append_column(name, pa.array([7]))
    assert learned(table, "sampled").to_pylist() == [7]
    assert learned(table, "frames") is None


def test_a_catalogue_given_as_a_table_keeps_the_user_s_columns_alone(tmp_path):
    """The clips are decoded anew; what was learned of them elsewhere is no column of the user's."""
    table = with_facts(catalogue_table([Clip("a", "/v/a", "val", 0.5, ("x",), {"frames": "mine"})]), DECODED)
    Root(str(tmp_path)).write_table(table, "catalogue.parquet")
    found = read_table(str(tmp_path / "catalogue.parquet"))
    assert clips_of(found.table) == [Clip("a", "/v/a", "val", 0.5, ("x",), {"frames": "mine"})]
    assert found.notes == (
        "table: what an earlier job's decoding learned (duration, decoded_frames, decoder) left out",
    )


@pytest.mark.parametrize("word", ["nan", "NaN", "NA", "n/a", "null", "None", " "])
def test_words_for_no_score(word):
    assert score_of(word, 1) is None


@pytest.mark.parametrize(
    ("value", "expected"), [("0.5", 0.5), ("", None), (None, None), (float("nan"), None), (1, 1.0)]
)
def test_scores(value, expected):
    assert score_of(value, 1) == expected


@pytest.mark.parametrize("value", ["high", "1.2", -0.1, "80%", "0,5", "0_5", "inf"])
def test_impossible_scores_name_the_row(value):
    with pytest.raises(SchemaError, match="row 4: score"):
        score_of(value, 4)


ROWS = [
    {"uri": "a/x.mp4", "clip_id": "007", "score": 0.5, "labels": "run|jump", "camera": "left"},
    {"uri": "b/x.mp4", "clip_id": "8", "score": None, "labels": None, "camera": None},
]


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_tables(tmp_path, kind):
    path = tmp_path / f"clips.{kind}"
    frame = pd.DataFrame(ROWS)
    if kind == "csv":
        path.write_bytes(b"\xef\xbb\xbf" + frame.to_csv(index=False, lineterminator="\r\n").encode())
    elif kind == "parquet":
        frame.to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    first, second = clips_of(list_table(str(path)))
    assert first == Clip("007", f"{tmp_path}/a/x.mp4", None, 0.5, ("run", "jump"), {"camera": "left"})
    assert (second.clip_id, second.score, second.labels) == ("8", None, ())


def test_labels_may_be_lists(tmp_path):
    pd.DataFrame({"uri": ["s3://b/x.mp4"], "labels": [["a", "b"]]}).to_parquet(tmp_path / "t.parquet")
    (clip,) = clips_of(list_table(str(tmp_path / "t.parquet")))
    assert clip.labels == ("a", "b")
    assert clip.uri == clip.clip_id == "s3://b/x.mp4"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,score\na,1\n", "no column uri; it has path, score"),
        ("uri,score\na,2\n", "row 1: score 2"),
        ("uri\n,\n", "uri is empty"),
        ("", "cannot be read"),
    ],
)
def test_bad_tables(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(SchemaError, match=words):
        list_table(str(tmp_path / "t.csv"))


def test_missing_tables_and_unknown_kinds(tmp_path):
    with pytest.raises(SchemaError, match="no table at"):
        list_table(str(tmp_path / "none.csv"))
    (tmp_path / "t.xls").write_text("")
    with pytest.raises(SchemaError, match="expected a name ending in"):
        list_table(str(tmp_path / "t.xls"))


def test_folders(tmp_path):
    for name in ("a/x.mp4", "b/x.mp4", "b/Y.MOV", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    listed, refused = list_folder(str(tmp_path))
    assert listed["clip_id"].to_pylist() == ["a/x.mp4", "b/Y.MOV", "b/x.mp4"]
    assert listed == list_folder(str(tmp_path) + "/")[0], "stable under re-listing"
    assert refused.num_rows == 0
    with pytest.raises(SchemaError, match="no folder at"):
        list_folder(str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match="no file named like a video"):
        list_folder(str(tmp_path / "empty"))


def test_the_demo_says_that_it_is_one(tmp_path):
    """A mistyped --out starts it, and its first lines spoke of a catalogue alone."""
    found = list_clips(Root(str(tmp_path)), "demo", None, limit=2, seed=0, write=False)
    assert found.notes == (
        "demo: 2 clips that m3ray draws, with scores that it makes up; for videos of yours: --dataset, --root",
    )


def test_the_demo_is_the_same_from_the_same_seed(tmp_path):
    one, two = (make_demo(Root(str(tmp_path / name)), 3, seed=5) for name in "ab")
    for a, b in zip(one, two, strict=True):
        assert (a.clip_id, a.score, a.labels) == (b.clip_id, b.score, b.labels)
        assert Path(a.uri).read_bytes() == Path(b.uri).read_bytes()
    assert make_demo(Root(str(tmp_path / "a")), 2, seed=5) == one[:2], "a smaller demo is the start of a larger one"
    assert make_demo(Root(str(tmp_path / "a")), 3, seed=6)[0].score != one[0].score


def test_the_demo_s_scores_follow_the_published_function():
    drawn = [drawn_clip(k, 0)[0] for k in range(400)]
    for clip in drawn:
        rarity = 1 - SHARES[clip.action] / 0.36
        expected = 0.45 + 0.22 * rarity + 0.16 * clip.motion + 0.12 * clip.brightness
        assert abs(clip.score - expected) < 6 * 0.02
    common = sum(clip.action == "drifting" for clip in drawn) / 400
    assert abs(common - SHARES["drifting"]) < 0.08


def test_data_sets_that_cannot_be(tmp_path):
    root = Root(str(tmp_path))
    with pytest.raises(ConfigError, match="needs --root"):
        list_clips(root, "folder", None, limit=None, seed=0)
    with pytest.raises(ConfigError, match="expected at least 1"):
        list_clips(root, "demo", None, limit=0, seed=0)
    with pytest.raises(ConfigError, match="unknown data set"):
        list_clips(root, "youtube", None, limit=None, seed=0)
