"""The record of a data set: what options ask for, and what an earlier record fills in."""

import pytest

from m3ray.config import LimitsConfig, StorageConfig
from m3ray.config.options import ExtractOptions, TrainOptions
from m3ray.storage.dataset_record import (
    DatasetRecord,
    absolute_path,
    apply_record,
    default_tiers,
    limits_from_record,
    make_record,
    real_path,
    setting_as_json,
)


def test_a_record_is_of_absolute_paths_and_computed_tiers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ExtractOptions(out="o", dataset="folder", root="v/../v/", tiers=("raw", "similarity:kde"), seed=3)
    record = make_record(options)
    assert (record.dataset, record.source, record.tiers) == ("folder", f"{tmp_path}/v", ("raw",))
    assert record.settings["seed"] == 3
    assert make_record(ExtractOptions(out="o", dataset="demo")).source is None


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (DatasetRecord(None), "a catalogue of its own"),
        (DatasetRecord("demo", settings={"seed": 4}), "the demo of seed 4"),
        (DatasetRecord("folder", "/v"), "the folder /v"),
    ],
)
def test_a_data_set_in_words(record, words):
    assert record.describe() == words


def test_two_records_are_of_one_data_set_however_it_is_spelled(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    record = DatasetRecord("folder", str(real))
    assert record.is_of(DatasetRecord("folder", str(link)))
    assert not record.is_of(DatasetRecord("table", str(real)))
    assert not record.is_of(DatasetRecord("folder", str(tmp_path)))
    assert DatasetRecord("folder", "/gone", real=str(real)).is_of(record), "as its link led when it was recorded"
    assert DatasetRecord("demo").is_of(DatasetRecord("demo", settings={"seed": 0}))
    assert not DatasetRecord("demo").is_of(DatasetRecord("demo", settings={"seed": 1}))


def test_one_spelling_of_a_path(tmp_path):
    assert absolute_path(f"{tmp_path}//a/../b/") == f"{tmp_path}/b"
    assert absolute_path("s3://b/v/") == real_path("s3://b/v/") == "s3://b/v"
    assert absolute_path(None) is absolute_path("") is real_path(None) is None


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("identity", "path", "fast"),
        ("identity", "content", "hash"),
        ("identity", "hash", "hash"),
        ("weights", "published", "published"),
        ("weights", "/w/../w.json", "/w.json"),
        ("splits", "/s/", "/s"),
        ("splits", "3", "3"),
        ("splits", None, None),
        ("fps", 7.0, 7.0),
    ],
)
def test_settings_as_json(name, value, expected):
    assert setting_as_json(name, value) == expected


RECORD = DatasetRecord(
    "folder", "/v", {"fps": 7.0, "seed": 3, "storage": {"anonymous": ["b"], "requester_pays": []}}, ("raw", "scene")
)


def test_defaults_are_filled_in_and_what_is_given_stays():
    options = apply_record(ExtractOptions(out="o", fps=5.0), RECORD)
    assert (options.dataset, options.root, options.fps, options.seed) == ("folder", "/v", 5.0, 3)
    assert options.storage == StorageConfig(anonymous=("b",))
    assert options.tiers == ("raw", "scene")
    assert apply_record(options, None) == options, "once is enough"


def test_another_kind_of_data_set_takes_no_path_of_the_record():
    options = apply_record(ExtractOptions(out="o", dataset="table", root="/t.csv"), RECORD)
    assert (options.dataset, options.root) == ("table", "/t.csv")


def test_a_new_root_begins_with_the_demo():
    options = apply_record(ExtractOptions(out="o"), None)
    assert (options.dataset, options.tiers) == ("demo", ("raw", "scene", "event"))


def test_a_model_sees_similarity_if_a_tier_is_a_vector():
    model = TrainOptions(out="o")
    assert default_tiers(model, RECORD) == ("raw", "scene", "similarity")
    assert default_tiers(model, DatasetRecord("folder", tiers=("raw",))) == ("raw",)
    assert default_tiers(ExtractOptions(out="o"), RECORD) == ("raw", "scene")


def test_limits_are_those_that_the_clips_were_extracted_under():
    assert limits_from_record(None) == limits_from_record(RECORD) == LimitsConfig()
    raised = DatasetRecord("folder", settings={"limits": {"max_seconds": 9.0, "a_limit_of_another_version": 1}})
    assert limits_from_record(raised) == LimitsConfig(max_seconds=9.0)


def test_a_folder_of_a_time_when_images_were_no_clips_goes_on_with_its_videos():
    older = DatasetRecord("folder", "/v")
    assert apply_record(ExtractOptions(out="o"), older).media == "videos"
    assert apply_record(ExtractOptions(out="o"), DatasetRecord("table", "/v.csv")).media == "all"
    kept = make_record(ExtractOptions(out="o", dataset="folder", root="/v"))
    assert apply_record(ExtractOptions(out="o"), kept).media == "all"
    assert apply_record(ExtractOptions(out="o", media="images"), kept).media == "images"
