"""The record in a root: read, written, inferred from older files, and what is another data set."""

import pyarrow as pa
import pytest

from m3ray.config.options import ExtractOptions
from m3ray.errors import ConfigError
from m3ray.schema import CATALOGUE_FILE, Clip, catalogue_table
from m3ray.storage.dataset_record import DatasetRecord, apply_record, make_record
from m3ray.storage.root import Root
from m3ray.storage.root_record import (
    RECORD_FILE,
    check_same_clips,
    check_source,
    find_renamed_ids,
    group_column,
    is_record,
    read_record,
    write_record,
)

FOLDER = DatasetRecord("folder", "/v", {"seed": 3}, ("raw",), "/v")


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def write_catalogue(root, **uris):
    root.write_table(catalogue_table([Clip(name, uri) for name, uri in uris.items()]), CATALOGUE_FILE)


def clips(**uris):
    return pa.table({"clip_id": list(uris), "uri": list(uris.values())})


def options(source="/v", dataset="folder", **more):
    return ExtractOptions(out="o", dataset=dataset, root=source, **more)


def test_a_record_is_read_as_it_was_written_and_tiers_add_up(root):
    assert read_record(root) is None
    write_record(root, FOLDER)
    assert read_record(root) == FOLDER
    write_record(root, DatasetRecord("folder", "/v", {"seed": 3}, ("scene",), "/v"))
    assert read_record(root).tiers == ("raw", "scene")


def test_the_column_that_clips_are_grouped_by_is_kept(root):
    assert group_column(root) is None
    write_record(root, FOLDER)
    assert group_column(root) is None, "of an older root"
    write_record(root, make_record(options(group="film")))
    assert group_column(root) == "film"
    assert apply_record(options(), read_record(root)).group == "film", "the next job need not say it"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"m3ray": 1, "settings": {}}, True),
        ({"settings": {}}, False),
        ({"m3ray": 1, "settings": []}, False),
        ([], False),
    ],
)
def test_our_records_are_told_from_others(value, expected):
    assert is_record(value) is expected


def test_somebody_else_s_file_is_rejected(root):
    root.write_json({"name": "theirs"}, RECORD_FILE)
    with pytest.raises(ConfigError, match=r"dataset\.json is not m3ray's: move it away"):
        read_record(root)


def note_run(where, name, status, **given):
    where.write_json({"job": "extract", "status": status}, "runs", name, "summary.json")
    where.write_json({"options": given}, "runs", name, "config.json")


def test_an_older_root_is_known_by_its_newest_run_that_succeeded(root):
    write_catalogue(root, a="/v/a.mp4")
    assert read_record(root) == DatasetRecord(None)
    note_run(root, "1", "success", dataset="folder", root="/v", seed=1, tiers=["raw", "similarity"])
    note_run(root, "2", "failed", dataset="folder", root="/w", seed=2)
    note_run(root, "3", "success", dataset="folder", root="/w", seed=3, dry_run=True)
    assert read_record(root) == DatasetRecord("folder", "/v", {"seed": 1}, ("raw",))
    note_run(root, "4", "partial", dataset="folder", root="relative", seed=4)
    assert not read_record(root).certain, "nobody knows from where"


def test_an_older_demo_is_known_by_its_clips(root):
    for kind in ("drifting", "stripes"):  # of an older demo, and of this one
        write_catalogue(root, **{f"{kind}_7_0001.mp4": f"{root.uri}/demo/{kind}_7_0001.mp4"})
        assert read_record(root) == DatasetRecord("demo", settings={"seed": 7})


def test_a_root_that_lost_its_catalogue_is_known_by_its_runs(root):
    note_run(root, "1", "success", dataset="folder", root="/v", seed=1)
    assert read_record(root) is None, "nothing was computed"
    root.write_bytes(b"x", "features", "raw-1", "a.parquet")
    assert read_record(root).source == "/v"


def test_another_data_set_is_rejected_in_words_that_name_both(root):
    check_source(root, None, options())
    check_source(root, FOLDER, options())
    with pytest.raises(
        ConfigError, match=r"holds the folder /v, 0 clips; asked for is another data set, the folder /w"
    ):
        check_source(root, FOLDER, options("/w"))
    check_source(root, FOLDER, options("/w", dataset_moved=True))
    demo = DatasetRecord("demo", settings={"seed": 1})
    with pytest.raises(ConfigError, match=r"give this one another --out$"):
        check_source(root, demo, options(None, "demo", seed=2, dataset_moved=True))


def test_ids_of_files_with_other_names_are_found(root):
    write_catalogue(root, a="/v/a.mp4", b="/v/b.mp4", c="/v/c.mp4")
    now = clips(a="/moved/a.mp4", b="/v/other.mp4", d="/v/d.mp4")
    assert find_renamed_ids(root, now).to_pylist() == ["b"]


def test_clips_that_share_no_id_or_hardly_a_file_are_others(root):
    unsure = DatasetRecord("table", "/t.csv", certain=False)
    check_same_clips(root, unsure, options("/t.csv", "table"), clips(x="/x.mp4"))  # the root is new
    write_catalogue(root, a="/v/a.mp4", b="/v/b.mp4", c="/v/c.mp4")
    check_same_clips(root, unsure, options("/t.csv", "table"), clips(a="/w/a.mp4", d="/w/d.mp4"))
    with pytest.raises(ConfigError, match=r"3 clips; none of them is among the 1 clips of the table /t\.csv"):
        check_same_clips(root, unsure, options("/t.csv", "table"), clips(x="/v/a.mp4"))
    others = clips(a="/w/1.mp4", b="/w/2.mp4", c="/w/c.mp4")
    with pytest.raises(ConfigError, match=r"1 of them are among the 3 clips"):
        check_same_clips(root, unsure, options("/t.csv", "table"), others)
    check_same_clips(root, DatasetRecord("table", "/t.csv"), options("/t.csv", "table"), others)
