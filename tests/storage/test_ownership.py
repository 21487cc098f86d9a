"""Which job made what in a root, and what a job may therefore replace."""

import json

import pyarrow as pa
import pytest

from m3ray.errors import ConfigError
from m3ray.schema import CATALOGUE_FILE, catalogue_table
from m3ray.storage.ownership import (
    PREDICTIONS,
    bundle_maker,
    check_bundle,
    check_predictions,
    check_root,
    check_study,
    choose_predictions_path,
    claim_study,
    find_predictions_maker,
    find_study_maker,
    is_root,
    keep_predictions,
    name_neighbours_file,
)
from m3ray.storage.parquet_tables import METADATA_KEY
from m3ray.storage.root import Root


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("artifacts", "tiers.json"), True),
        (("runs", "lock.json"), True),
        (("runs", "locks", "study.json"), True),
        (("runs", "20240102T030405Z-extract-0a1b", "log.txt"), True),
        (("runs", "mine", "log.txt"), False),
        (("models", "m3s", "bundle.json"), True),
        (("models", "m3s", "model.bin"), False),
        (("notes.txt",), False),
    ],
)
def test_a_root_is_known_by_files_that_m3ray_alone_writes(root, path, expected):
    assert not is_root(root)
    root.write_bytes(b"{}", *path)
    assert is_root(root) is expected


def test_a_catalogue_makes_a_root_and_a_table_of_that_name_does_not(root):
    root.write_table(pa.table({"clip_id": ["a"]}), CATALOGUE_FILE)
    assert not is_root(root)
    with pytest.raises(ConfigError, match=r"catalogue\.parquet exists and was not made by m3ray"):
        check_root(root)
    root.write_table(catalogue_table([]), CATALOGUE_FILE)
    assert is_root(root)
    check_root(root)


def test_somebody_s_folder_of_our_name_is_rejected_unless_it_is_empty(root, tmp_path):
    (tmp_path / "models").mkdir()
    check_root(root)
    (tmp_path / "models" / "resnet.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match="models exists and was not made by m3ray: give a folder of its own"):
        check_root(root)


@pytest.mark.parametrize(
    ("metadata", "maker"),
    [
        ({"made_by": "train"}, "train"),
        ({"variant": {"name": "M3-S, unfrozen"}}, "reproduce"),
        ({"variant": {"name": "mine"}}, "train"),
        ({}, "train"),
    ],
)
def test_the_maker_of_a_bundle(metadata, maker):
    assert bundle_maker(metadata) == maker


def test_a_job_replaces_its_own_bundles_alone(root):
    check_bundle(root, "m3s", "train")
    root.write_bytes(b"x", "models", "m3s", "model.safetensors")
    check_bundle(root, "m3s", "train")  # cut short before its last file
    root.write_json({"made_by": "reproduce"}, "models", "m3s", "bundle.json")
    check_bundle(root, "m3s", "reproduce")
    with pytest.raises(
        ConfigError, match=r"made by jobs/reproduce\.py, and jobs/train\.py would replace it: give this"
    ):
        check_bundle(root, "m3s", "train")
    root.write_bytes(b"x", "models", "other", "weights.bin")
    with pytest.raises(ConfigError, match="models/other exists and is no bundle"):
        check_bundle(root, "other", "train")


def test_a_study_belongs_to_the_job_that_made_it(root):
    assert find_study_maker(root, "mine") is None
    claim_study(root, "mine", "tune")
    assert find_study_maker(root, "mine") == "tune"
    check_study(root, "mine", "tune")
    with pytest.raises(ConfigError, match=r"for what jobs/tune\.py makes, and jobs/train\.py would write into it"):
        claim_study(root, "mine", "train")
    check_study(root, "ablation", "ablate")
    check_study(root, "ablation", "reproduce")  # both make the same


@pytest.mark.parametrize(
    ("file", "maker"), [("search.json", "tune"), ("unfrozen.json", "tune"), ("config.json", "train")]
)
def test_older_studies_are_known_by_their_files(root, file, maker):
    root.write_json({}, "study", "old", file)
    assert find_study_maker(root, "old") == maker


def write_predictions(root, metadata):
    table = pa.table({"clip_id": ["a"]}).replace_schema_metadata({METADATA_KEY: metadata} if metadata else None)
    root.write_table(table, PREDICTIONS)


@pytest.mark.parametrize(
    ("metadata", "maker"),
    [
        (b'{"bundle": "m3s", "job": "reproduce"}', "reproduce"),
        (b'{"bundle": "m3s", "job": "predict"}', "predict"),
        (b'{"bundle": "m3s"}', "predict"),
        (None, "nobody"),
    ],
)
def test_the_maker_of_predictions(root, metadata, maker):
    assert find_predictions_maker(root) is None
    write_predictions(root, metadata)
    assert find_predictions_maker(root) == maker


def test_older_predictions_are_the_study_s_if_there_is_one(root):
    write_predictions(root, b'{"bundle": "m3s"}')
    root.write_json({}, "study", "ablation", "config.json")
    assert find_predictions_maker(root) == "reproduce"


def test_predict_leaves_scores_of_other_jobs(root):
    assert choose_predictions_path(root) == ("predictions.parquet",)
    write_predictions(root, b'{"bundle": "m3s", "job": "reproduce"}')
    assert choose_predictions_path(root) == ("predict", "predictions.parquet")
    assert keep_predictions(root) is None


def test_scores_of_predict_are_kept_when_the_study_s_come(root):
    write_predictions(root, b'{"bundle": "m3s", "job": "predict"}')
    assert keep_predictions(root) == root.display("predict", "predictions.parquet")
    assert root.read_table("predict", "predictions.parquet")["clip_id"].to_pylist() == ["a"]


def test_their_neighbours_are_kept_beside_them(root):
    write_predictions(root, b'{"bundle": "m3s", "job": "predict"}')
    root.write_bytes(b"near", "neighbours.parquet")
    keep_predictions(root)
    assert root.read_bytes("predict", "neighbours.parquet") == b"near"
    assert name_neighbours_file(("p", "predictions-b.parquet")) == ("p", "neighbours-b.parquet")


def test_their_shots_and_maps_go_with_them_and_replace_those_of_before(root):
    """The study's scores come where they stood: what is beside these must not be of others."""
    write_predictions(root, b'{"bundle": "m3s", "job": "predict"}')
    maps = ("explanations", "clips", "a-0.parquet")
    for path in (("shots.parquet",), maps, ("shots", "a.mp4")):
        root.write_bytes(b"new", *path)
    for path in (("neighbours.parquet",), ("explanations", "maps", "gone.parquet")):
        root.write_bytes(b"old", "predict", *path)
    keep_predictions(root)
    assert root.read_bytes("predict", "shots.parquet") == b"new"
    assert root.read_bytes("predict", *maps) == b"new"
    left = ("neighbours.parquet", "shots.parquet", "explanations")
    assert [name for name in left if root.exists(name)] == []
    assert not root.exists("predict", "neighbours.parquet"), "the kept scores have none"
    assert root.list_names("predict", "explanations", "maps") == []
    assert root.read_bytes("shots", "a.mp4") == b"new", "films that were asked for stay where they were put"


def test_a_file_that_m3ray_did_not_make_is_not_replaced(root):
    check_predictions(root)
    root.write_bytes(b"mine", PREDICTIONS)
    with pytest.raises(ConfigError, match=r"predictions\.parquet was not made by m3ray: move it away"):
        check_predictions(root)


def write_scores(root, *path, **noted):
    table = pa.table({"clip_id": ["a"]}).replace_schema_metadata({METADATA_KEY: json.dumps(noted)})
    root.write_table(table, *path)


def test_scores_of_another_data_set_are_not_replaced(root):
    """The second folder of videos that was scored under a root once replaced the first one's scores."""
    write_scores(root, PREDICTIONS, bundle="m3s", job="predict", catalogue="predict")
    assert choose_predictions_path(root, "predict", "m3s") == (PREDICTIONS,), "its own are made anew"
    other = ("predict-12ab", PREDICTIONS)
    assert choose_predictions_path(root, "predict-12ab", "m3s") == other
    write_scores(root, PREDICTIONS, bundle="m3s", job="reproduce", catalogue="")
    write_scores(root, "predict", PREDICTIONS, bundle="m3s", job="predict", catalogue="predict")
    assert choose_predictions_path(root, "predict", "m3s") == ("predict", PREDICTIONS)
    assert choose_predictions_path(root, "predict-12ab", "m3s") == other


def test_scores_of_another_bundle_are_not_replaced(root):
    write_scores(root, PREDICTIONS, bundle="m3s", job="predict", catalogue="predict")
    second = choose_predictions_path(root, "predict", "ridge")
    assert second == ("predict", PREDICTIONS)
    write_scores(root, *second, bundle="ridge", job="predict", catalogue="predict")
    third = choose_predictions_path(root, "predict", "svr")
    assert third == ("predict", "predictions-svr.parquet")
    write_scores(root, *third, bundle="svr", job="predict", catalogue="predict")
    paths = [choose_predictions_path(root, "predict", name) for name in ("m3s", "ridge", "svr")]
    assert paths == [(PREDICTIONS,), second, third], "each bundle's own are made anew"


def test_scores_whose_job_is_unknown_are_not_replaced(root):
    """An older reproduce did not note its name; with the study gone nothing tells that they are its own."""
    write_scores(root, PREDICTIONS, bundle="m3s")
    assert choose_predictions_path(root, "predict", "m3s") == ("predict", PREDICTIONS)


def test_a_file_of_somebody_else_s_in_the_last_place_is_told(root):
    for path in ((PREDICTIONS,), ("predict", PREDICTIONS), ("predict", "predictions-m3s.parquet")):
        root.write_bytes(b"mine", *path)
    with pytest.raises(ConfigError, match=r"predict/predictions-m3s\.parquet was not made by m3ray: move it away"):
        choose_predictions_path(root, "predict", "m3s")


def test_what_is_kept_of_predict_replaces_no_other_scores(root):
    write_scores(root, "predict", PREDICTIONS, bundle="m3s", job="predict", catalogue="predict")
    write_scores(root, PREDICTIONS, bundle="m3s", job="predict", catalogue="predict-12ab")
    assert keep_predictions(root) == root.display("predict-12ab", PREDICTIONS)
    assert root.read_metadata("predict", PREDICTIONS)["catalogue"] == "predict"
    assert root.read_metadata("predict-12ab", PREDICTIONS)["catalogue"] == "predict-12ab"
