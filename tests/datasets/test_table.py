"""Tables are read as they are written: every expected value stands in the file above it."""

import datetime
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from published import clips_of

from m3ray.datasets import table
from m3ray.datasets.catalogue import add_video_metadata
from m3ray.datasets.table import read_table
from m3ray.errors import SchemaError
from m3ray.schema import Clip, catalogue_table
from m3ray.storage.root import Root


def listed(tmp_path, text, kind="csv"):
    path = tmp_path / f"clips.{kind}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(str(path))


def column(tmp_path, text, name, kind="csv"):
    return listed(tmp_path, text, kind).table[name].to_pylist()


IDS = ["007", "7", "NA", "nan", "None", "null", "1e5", "0x1F", "2024-01-02", "1152921504606846977", "7.0", "TRUE"]


def test_ids_stay_as_written_in_csv(tmp_path):
    text = "clip_id,uri\n" + "".join(f"{name},{name}.mp4\n" for name in IDS)
    found = listed(tmp_path, text).table
    assert found["clip_id"].to_pylist() == IDS
    assert found["uri"].to_pylist() == [f"{tmp_path}/{name}.mp4" for name in IDS]


def test_a_uri_that_looks_like_a_number_stays_text(tmp_path):
    assert column(tmp_path, "uri\n007\nNA\n1e5\n", "clip_id") == ["007", "NA", "1e5"]


def test_the_user_s_columns_of_a_csv_stay_text(tmp_path):
    found = listed(tmp_path, "uri,take,day\na,010,2024-01-02\nb, 1e5 ,NA\nc,,\n").table
    assert found["take"].to_pylist() == ["010", " 1e5 ", None]
    assert found["day"].to_pylist() == ["2024-01-02", "NA", None]


def test_what_viewers_did_is_read_as_numbers_under_our_names(tmp_path):
    found = listed(tmp_path, "uri,Responses,n_hits,take\na,40,30,1\nb,,,2\n").table
    assert found.column_names == ["clip_id", "uri", "split", "score", "labels", "n_hits", "take", "responses", "hits"]
    assert found["responses"].to_pylist() == [40, None], "and not a second time as Responses"
    assert found["hits"].to_pylist() == [30, None]
    assert found["n_hits"].to_pylist() == ["30", None]


def test_decay_rates_are_numbers(tmp_path):
    assert column(tmp_path, "uri,alpha\na,-0.5\nb,\nc,NA\n", "alpha") == [-0.5, None, None]
    with pytest.raises(SchemaError, match=r"clips\.csv: row 2: alpha 'steep' is not a number"):
        listed(tmp_path, "uri,alpha\na,-0.5\nb,steep\n")


def test_ids_stay_as_written_in_json(tmp_path):
    """2^60 + 1 and twenty digits are beyond what a float holds; 7.0 is the 7 of a column that was held as floats."""
    ids = ["12345678901234567891", "1152921504606846977", "1e5", "1.50", "7", "7.0", '"007"', '"7.0"', '"NA"', "null"]
    text = "\n".join(f'{{"uri": "v{k}", "clip_id": {name}}}' for k, name in enumerate(ids))
    assert column(tmp_path, text, "clip_id", "jsonl") == [*ids[:5], "7", "007", "7.0", "NA", "v9"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (pa.int64(), [2**60 + 1, 7], ["1152921504606846977", "7"]),
        (pa.uint64(), [2**64 - 1, 7], ["18446744073709551615", "7"]),
        (pa.float64(), [7.0, None], ["7", "uri 1"]),
        (pa.float64(), [7.0, float("nan")], ["7", "uri 1"]),
        (pa.large_string(), ["007", None], ["007", "uri 1"]),
        (pa.dictionary(pa.int32(), pa.string()), ["NA", "nan"], ["NA", "nan"]),
        (pa.binary(), [b"007", b"x"], ["007", "x"]),
        (pa.date32(), [datetime.date(2024, 1, 2), None], ["2024-01-02", "uri 1"]),
    ],
)
def test_ids_of_a_parquet_file_have_the_type_of_its_schema(tmp_path, kind, values, expected):
    table = pa.table({"uri": ["uri 0", "uri 1"], "clip_id": pa.array(values, kind)})
    pq.write_table(table, tmp_path / "clips.parquet")
    assert read_table(str(tmp_path / "clips.parquet")).table["clip_id"].to_pylist() == expected


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([7.5, 8.0], r"clip_id is a column of floating-point numbers \(7\.5 among them\)"),
        ([2.0**53, 8.0], "clip_id is a column of floating-point numbers"),
        ([True, False], "clip_id is a column of bool, expected text or whole numbers"),
        ([["a"], ["b"]], "clip_id is a column of list"),
    ],
)
def test_ids_that_would_lose_something_are_refused(tmp_path, values, words):
    pq.write_table(pa.table({"uri": ["a", "b"], "clip_id": values}), tmp_path / "clips.parquet")
    with pytest.raises(SchemaError, match=rf"clips\.parquet: {words}"):
        read_table(str(tmp_path / "clips.parquet"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("uri,labels\na,3\nb,\nc,3|7\n", "csv"),
        ('{"uri":"a","labels":3}\n{"uri":"b"}\n{"uri":"c","labels":[3, 7.0]}', "jsonl"),
        ('{"uri":"a","labels":"3"}\n{"uri":"b","labels":[]}\n{"uri":"c","labels":["3", 7, null]}', "jsonl"),
    ],
)
def test_numeric_labels_are_labels(tmp_path, text, kind):
    assert column(tmp_path, text, "labels", kind) == [["3"], [], ["3", "7"]]


@pytest.mark.parametrize("values", [[3, np.nan], pd.array([3, None], "Int64"), ["3", None], [[3], None], [[3.0], []]])
def test_numeric_labels_of_a_parquet_file_are_labels(tmp_path, values):
    pd.DataFrame({"uri": ["a", "b"], "labels": values}).to_parquet(tmp_path / "clips.parquet")
    assert read_table(str(tmp_path / "clips.parquet")).table["labels"].to_pylist() == [["3"], []]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.string()), pa.list_(pa.int64(), 2)])
def test_labels_are_lists_of_any_kind(tmp_path, kind):
    values = [["3", "7"] if "string" in str(kind) else [3, 7]]
    pq.write_table(pa.table({"uri": ["a"], "labels": pa.array(values, kind)}), tmp_path / "clips.parquet")
    assert read_table(str(tmp_path / "clips.parquet")).table["labels"].to_pylist() == [["3", "7"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"uri":"a"}\n{"uri":"b","labels":{"x":1}}', r'row 2: labels is \{"x": 1\}, expected text or a number'),
        ('{"uri":"a","labels":[["x"]]}', r'row 1: a label is \["x"\], expected text or a number'),
        ('{"uri":"a","score":true}', "row 1: score is true, expected text or a number"),
        ('{"uri":["a"]}', r'row 1: uri is \["a"\], expected text or a number'),
        ('{"uri":"a"', "row 1 is no JSON"),
        ('{"uri":"a"}\n["b"]', "row 2 is .*; expected one object a line"),
        ('{"uri":"a","uri":"b"}', "row 1 is no JSON: one of uri, uri occurs twice"),
        ('{"uri":' + "[" * 100_000, "row 1 is no JSON"),
        (b'{"uri":"\xe9"}', "no UTF-8 text"),
        ("\n", "uri is empty in every row"),
    ],
)
def test_bad_json_lines_name_the_row(tmp_path, text, words):
    with pytest.raises(SchemaError, match=rf"clips\.jsonl.*{words}"):
        listed(tmp_path, text, "jsonl")


def test_columns_of_json_have_the_types_of_their_values(tmp_path):
    rows = [{"uri": "a", "n": 1, "x": 0.5, "mixed": 1, "big": 2**70}, {"uri": "b", "x": 1, "mixed": "one", "late": [1]}]
    found = listed(tmp_path, "\n".join(map(json.dumps, rows)), "jsonl").table
    assert [found[name].to_pylist() for name in ("n", "x", "mixed", "late")] == [
        [1, None],
        [0.5, 1.0],
        ["1", "one"],
        [None, [1]],
    ]
    assert found["big"].to_pylist() == [str(2**70), None]


def test_rows_that_end_in_commas_are_what_they_mean(tmp_path):
    for text in (
        "uri,score\na,0.5,\nb,0.6,,\n",
        "uri,score,\na,0.5,\nb,0.6\n",
        "uri,score,,\r\na,0.5,,\r\nb,0.6,,\r\n",
    ):
        found = listed(tmp_path, text).table
        assert (found["clip_id"].to_pylist(), found["score"].to_pylist()) == (["a", "b"], [0.5, 0.6])
        assert found.column_names == ["clip_id", "uri", "split", "score", "labels"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("uri,score\na,0.5\nb,0.6,0.7\n", r"row 2 \(line 3\) has 3 cells, the header has 2 \(uri, score\)"),
        ("uri,score\na,0,5\n", r"row 1 \(line 2\) has 3 cells"),
        ('uri,score\n"a\nb",0.5\n\nc\n', r"row 3 \(line 5\) has 1 cells"),
        ("uri,score,\na,0.5,lost\n", r"row 1 \(line 2\) has 3 cells, the header has 2"),
        ('uri,score\n"a,0.5\nb,0.6\n', r"cannot be read as CSV: unexpected end of data"),
        ("uri;score\na;0,5\n", "separated by semicolons .*expected commas"),
        ("uri\tscore\na\t0.5\n", "separated by tabs"),
        (b"uri\ncaf\xe9.mp4\n", "no UTF-8 text"),
        ("uri,score,score\na,1,1\n", "names column 'score' twice"),
        ("uri,score\n,0.5\n", "row 1: uri is empty"),
        ("uri,score\na,0.5\n\n ,\nb,7\n", "row 4: score 7 lies outside"),
        ('uri,score\na,"0,5"\n', r"row 1: score '0,5' is not a number.*with a point"),
        ("uri,score\na,inf\n", "row 1: score inf lies outside"),
        ("uri,score\na,0_5\n", "row 1: score '0_5' is not a number"),
        ("uri,score\n", "holds no clip: there is no row beneath its header"),
        ("uri,score\n,\n\n", "holds no clip: uri is empty in every row"),
        ("\n\n", "cannot be read: it is empty"),
    ],
)
def test_bad_rows_name_file_and_row(tmp_path, text, words):
    with pytest.raises(SchemaError, match=rf"clips\.csv.*{words}") as error:
        listed(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Score", "score"), ("SCORE", "score"), ("URI", "uri"), ("clip id", "clip_id"), ("Clip-ID", "clip_id"),
     ("clipid", "clip_id"), ("label", "labels"), ("scores", "score"), ("Split", "split")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_name_that_was_meant_to_be_ours_is_refused(tmp_path, name, meant, kind):
    row = {"uri": "a", name: "0.5"} if meant != "uri" else {name: "0.5"}
    data = io.BytesIO()
    if kind == "csv":
        data.write(f"{','.join(row)}\n{','.join(row.values())}\n".encode())
    elif kind == "jsonl":
        data.write(json.dumps(row).encode())
    else:
        pd.DataFrame([row]).to_parquet(data)
    with pytest.raises(SchemaError, match=f"has a column '{name}'; the name that is read is '{meant}'"):
        listed(tmp_path, data.getvalue(), kind)


def test_names_are_trimmed_and_others_are_the_user_s(tmp_path):
    found = listed(tmp_path, "\ufeff uri , score ,labels,label,core\na,0.5,x,y,z\n").table
    assert found.column_names == ["clip_id", "uri", "split", "score", "labels", "label", "core"]
    assert found["score"].to_pylist() == [0.5]


def test_text_is_read_in_either_unicode_and_with_quotes(tmp_path):
    text = 'uri,note\r\n"a, b.mp4","two\nlines"\r\ncafé.mp4,"a ""quote"""\r\n'
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        found = listed(tmp_path, text.encode(encoding)).table
        assert found["clip_id"].to_pylist() == ["a, b.mp4", "café.mp4"]
        assert found["note"].to_pylist() == ["two\nlines", 'a "quote"']


def test_what_is_passed_over_is_said(tmp_path):
    text = ",uri,score,note\n0,a,0.5,\n\n1,b,NA,x\n,,,\n2,c,nan,\n0,a,0.5,\n"
    found = listed(tmp_path, text)
    assert found.table["clip_id"].to_pylist() == ["a", "b", "c"]
    assert found.table["score"].to_pylist() == [0.5, None, None]
    assert found.notes == (
        "table: 2 empty rows passed over, the first is row 2",
        "table: column 1 has no name and is left out",
        "table: 2 scores are NA, nan or the like, and taken for none",
        "table: 1 repeated rows left out",
    )


def test_rows_with_one_id_and_other_content_stay_for_the_catalogue_to_refuse(tmp_path):
    assert column(tmp_path, "uri,score\na,0.5\na,0.6\na,0.5\n", "score") == [0.5, 0.6]


def test_the_index_that_pandas_carries_along_is_no_column(tmp_path):
    frame = pd.DataFrame({"uri": ["a", "b", "c"], "score": [0.5, 0.6, 0.7]})
    for index, name in ((pd.Index([4, 9, 5]), "__index_level_0__"), (pd.Index([*"xyz"], name="place"), "place")):
        frame.set_index(index).to_parquet(tmp_path / "clips.parquet")
        found = read_table(str(tmp_path / "clips.parquet"))
        assert found.table.column_names == ["clip_id", "uri", "split", "score", "labels"]
        assert found.notes == (f"table: pandas' index ({name}) left out",)


def test_an_index_of_ids_is_the_ids(tmp_path):
    pd.DataFrame({"uri": ["a", "b"]}, index=pd.Index([7, 8], name="clip_id")).to_parquet(tmp_path / "clips.parquet")
    assert read_table(str(tmp_path / "clips.parquet")).table["clip_id"].to_pylist() == ["7", "8"]


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl", "clips.parquet"])
def test_any_bytes_give_one_line_that_names_the_file(tmp_path, name):
    """Or a table, where the bytes happen to be one."""
    rng, said = np.random.default_rng(0), []
    for size in (1, 10, 1000):
        for head in (b"", b"PAR1", b"uri,score\n", b'{"uri": '):
            (tmp_path / name).write_bytes(head + rng.bytes(size))
            try:
                read_table(str(tmp_path / name))
            except SchemaError as error:
                said.append(str(error))
    assert len(said) >= 10
    assert all(name in line and "\n" not in line for line in said)


def test_dots_lead_somewhere_beneath_a_bucket():
    """Beside a table in S3; keys with dots of their own cannot be asked for."""
    sheet = table.read_csv_text(b"uri\n./a.mp4\nx/../b.mp4\n../c.mp4\ns3://o/./d.mp4\n/v/e.mp4\n", "t.csv")
    found = table._as_catalogue(sheet, "s3://bkt/t/clips.csv")[0]["uri"].to_pylist()
    assert found == ["s3://bkt/t/a.mp4", "s3://bkt/t/b.mp4", "s3://bkt/c.mp4", "s3://o/./d.mp4", "/v/e.mp4"]
    with pytest.raises(SchemaError, match=r"row 1: uri .* climbs out of its bucket"):
        table._as_catalogue(table.read_csv_text(b"uri\n../../a.mp4\n", "t.csv"), "s3://bkt/t/clips.csv")


def test_a_table_by_file_uri_names_its_neighbours_as_they_are(tmp_path):
    (tmp_path / "clips.csv").write_text("uri\n50%25.mp4\nfile:/v/a.mp4\n")
    for uri in (f"file://{tmp_path}/clips.csv", f"file:{tmp_path}/clips.csv", f"file://localhost{tmp_path}/clips.csv"):
        assert read_table(uri).table["uri"].to_pylist() == [f"{tmp_path}/50%25.mp4", "file:/v/a.mp4"]


DECODED = pa.table({"clip_id": ["b"], "duration": [3.0], "frames": [90], "decoder": ["pyav"]})


def test_a_catalogue_given_as_a_table_keeps_the_user_s_columns_alone(tmp_path):
    """The clips are decoded anew; what was learned of them elsewhere is no column of the user's."""
    table = add_video_metadata(catalogue_table([Clip("a", "/v/a", "val", 0.5, ("x",), {"frames": "mine"})]), DECODED)
    Root(str(tmp_path)).write_table(table, "catalogue.parquet")
    found = read_table(str(tmp_path / "catalogue.parquet"))
    assert clips_of(found.table) == [Clip("a", "/v/a", "val", 0.5, ("x",), {"frames": "mine"})]
    assert found.notes == (
        "table: what an earlier job's decoding learned (duration, decoded_frames, decoder) left out",
    )


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
    first, second = clips_of(read_table(str(path)).table)
    assert first == Clip("007", f"{tmp_path}/a/x.mp4", None, 0.5, ("run", "jump"), {"camera": "left"})
    assert (second.clip_id, second.score, second.labels) == ("8", None, ())


def test_labels_may_be_lists(tmp_path):
    pd.DataFrame({"uri": ["s3://b/x.mp4"], "labels": [["a", "b"]]}).to_parquet(tmp_path / "t.parquet")
    (clip,) = clips_of(read_table(str(tmp_path / "t.parquet")).table)
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
        read_table(str(tmp_path / "t.csv"))


def test_missing_tables_and_unknown_kinds(tmp_path):
    with pytest.raises(SchemaError, match="no table at"):
        read_table(str(tmp_path / "none.csv"))
    (tmp_path / "t.xls").write_text("")
    with pytest.raises(SchemaError, match="expected a name ending in"):
        read_table(str(tmp_path / "t.xls"))
