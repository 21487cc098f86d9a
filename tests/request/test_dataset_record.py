"""A root holds one data set: jobs take it from there, another one is refused, and nobody's work is replaced."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from m3ray.config import LimitsConfig
from m3ray.config.options import ExtractOptions, ReproduceOptions, TrainOptions, TuneOptions
from m3ray.datasets.catalogue import write_catalogue
from m3ray.datasets.demo import make_demo
from m3ray.errors import ConfigError, DamagedFileError, SchemaError
from m3ray.request.checks import check_request, read_recorded_options
from m3ray.schema import catalogue_table
from m3ray.scoring import score_root as predicting
from m3ray.storage.dataset_record import apply_record, make_record
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.ownership import choose_predictions_path
from m3ray.storage.root import Root
from m3ray.storage.root_record import find_renamed_ids, read_record, write_record

TOP = Path(__file__).parents[2]


def table(folder, *names, file="clips.csv"):
    """A table of clips, made by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    rows = "".join(f"{name},0.{5 + k}\n" for k, name in enumerate(names))
    (folder / file).write_text(f"uri,score\n{rows}")
    return folder / file


def root_of(out, options):
    """A root as a job with these options leaves it before it computes anything."""
    root, asked = Root(str(out)), check_request(options)
    clips = catalogue_table(make_demo(root, options.limit or 4)) if asked.listing is None else asked.listing.table
    write_record(root, make_record(asked.options))
    write_catalogue(root, clips, 0)
    return root


@pytest.fixture
def held(tmp_path):
    """A root that holds the table `data/clips.csv` of four clips, as few as one can train on."""
    source = table(tmp_path / "data", "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    options = ExtractOptions(
        out=str(tmp_path / "out"), dataset="table", root=str(source), fps=7.0, tiers=("raw", "scene"), seed=3
    )
    return root_of(tmp_path / "out", options), source


def test_a_job_without_a_data_set_takes_the_root_s_own(held):
    root, source = held
    found = check_request(TrainOptions(out=root.uri)).options
    assert (found.dataset, found.root, found.fps, found.seed) == ("table", str(source), 7.0, 3)
    assert found.tiers == ("raw", "scene", "similarity"), "a model sees the similarity of what the root has"
    assert check_request(ExtractOptions(out=root.uri)).options.tiers == ("raw", "scene")
    assert check_request(ReproduceOptions(out=root.uri)).options.dataset == "table"


def test_what_is_said_overrides_what_the_root_keeps(held, tmp_path):
    root, _ = held
    limits = LimitsConfig(max_seconds=5)
    found = check_request(ExtractOptions(out=root.uri, fps=2.0, tiers=("event",), limits=limits)).options
    assert (found.fps, found.tiers, found.limits, found.seed) == (2.0, ("event",), limits, 3)
    fresh = check_request(ExtractOptions(out=str(tmp_path / "fresh"))).options
    assert (fresh.dataset, fresh.tiers) == ("demo", ("raw", "scene", "event")), "a fresh root: the demo"


def test_on_a_command_line_a_default_that_is_typed_counts(held, tmp_path, monkeypatch):
    from m3ray import cli

    root, _ = held
    seen = []
    monkeypatch.setattr(sys, "argv", ["extract", "--out", root.uri, "--fps", "None", "--seed", "0"])
    assert cli.main(ExtractOptions, lambda asked: seen.append(asked.options), "") == 0
    assert (seen[0].fps, seen[0].seed, seen[0].tiers) == (None, 0, ("raw", "scene"))
    assert read_recorded_options(ExtractOptions, str(tmp_path / "fresh")) is None


def test_another_data_set_is_refused_in_words_that_name_both(held, tmp_path):
    root, source = held
    other = table(tmp_path / "other", "c.mp4")
    for given, asked in [
        ({"dataset": "table", "root": str(other)}, f"the table {other}"),
        ({"root": str(other)}, f"the table {other}"),
        ({"dataset": "folder", "root": str(source.parent)}, f"the folder {source.parent}"),
        ({"dataset": "demo"}, "the demo of seed 3"),
    ]:
        with pytest.raises(ConfigError) as caught:
            check_request(ExtractOptions(out=root.uri, **given))
        said = str(caught.value)
        assert f"{root.uri} holds the table {source}, 4 clips" in said
        assert asked in said
        assert "another --out" in said
        assert caught.value.exit_status == 2
    assert root.read_table("catalogue.parquet")["clip_id"].to_pylist() == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_a_demo_is_its_seed_s(tmp_path):
    root = root_of(tmp_path / "out", ExtractOptions(out=str(tmp_path / "out"), limit=3))
    with pytest.raises(
        ConfigError, match="holds the demo of seed 0, 3 clips; asked for is another data set, the demo of"
    ):
        check_request(ExtractOptions(out=root.uri, seed=5))
    assert check_request(ExtractOptions(out=root.uri, limit=5)).options.limit == 5, "a larger part of the same demo"


def test_one_path_has_many_spellings(held, tmp_path, monkeypatch):
    root, source = held
    (tmp_path / "link").symlink_to(source.parent)
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    for spelling in (
        "data/clips.csv",
        "./data//clips.csv",
        "other/../data/clips.csv",
        "link/clips.csv",
        f"file://{source}",
    ):
        assert check_request(ExtractOptions(out=root.uri, dataset="table", root=spelling))
    folder = root_of(
        tmp_path / "folder", ExtractOptions(out=str(tmp_path / "folder"), dataset="folder", root="data", tiers=("raw",))
    )
    for spelling in ("data/", str(tmp_path / "link"), f"{tmp_path}/data/."):
        assert check_request(ExtractOptions(out=folder.uri, dataset="folder", root=spelling))


def test_a_data_set_may_grow_and_be_limited(held):
    root, source = held
    table(source.parent, "b.mp4", "c.mp4", "d.mp4")
    assert len(check_request(ExtractOptions(out=root.uri)).listing.table) == 3
    assert len(check_request(ExtractOptions(out=root.uri, limit=1)).listing.table) == 1


def test_a_table_of_which_nothing_is_left_is_another(held):
    root, source = held
    table(source.parent, "x.mp4")
    with pytest.raises(ConfigError, match=r"4 clips; none of them is among the 1 clips of the table .*clips\.csv"):
        check_request(ExtractOptions(out=root.uri))


def test_a_data_set_that_moved_is_said_to_have(held, tmp_path):
    root, source = held
    moved = tmp_path / "moved" / "renamed.csv"
    shutil.copytree(source.parent, moved.parent)
    (moved.parent / source.name).rename(moved)
    source.unlink()
    with pytest.raises(SchemaError, match=r"dataset\.json names it; if it has moved, say --root NEW --dataset-moved"):
        check_request(ExtractOptions(out=root.uri))
    with pytest.raises(ConfigError, match="--dataset-moved if it is that very data set"):
        check_request(ExtractOptions(out=root.uri, root=str(moved)))
    asked = check_request(ExtractOptions(out=root.uri, root=str(moved), dataset_moved=True))
    write_record(root, make_record(asked.options))
    assert check_request(ExtractOptions(out=root.uri)).options.root == str(moved)
    other = table(tmp_path / "other", "x.mp4")
    with pytest.raises(ConfigError, match="none of them is among"):
        check_request(ExtractOptions(out=root.uri, root=str(other), dataset_moved=True))


def test_tiers_add_up(held):
    root, _ = held
    write_record(root, make_record(check_request(ExtractOptions(out=root.uri, tiers=("event",))).options))
    assert read_record(root).tiers == ("raw", "scene", "event")


# Roots from before there were records.


def without_record(root, **options):
    """The root as an earlier m3ray left it: no record, the options of its runs instead."""
    (Path(root.uri) / "dataset.json").unlink()
    for k, (status, given) in enumerate(options.pop("runs", [("success", options)])):
        run = ("runs", f"2026010{k}T000000Z-extract-0000")
        root.write_json({"options": {"dry_run": False, **given}}, *run, "config.json")
        root.write_json({"job": "extract", "status": status}, *run, "summary.json")
        root.write_bytes(b"", *run, "log.txt")


def test_an_older_root_is_known_by_its_newest_run_that_went_through(held, tmp_path):
    root, source = held
    own = {"dataset": "table", "root": str(source), "fps": 4.0, "tiers": ["raw"], "limits": {"strikes": 2}}
    without_record(root, runs=[("success", own), ("failed", {"dataset": "demo", "root": None})])
    found = check_request(ExtractOptions(out=root.uri)).options
    assert (found.dataset, found.root, found.fps, found.tiers) == ("table", str(source), 4.0, ("raw",))
    assert found.limits == LimitsConfig(crash_count=2)
    with pytest.raises(ConfigError, match=f"holds the table {source}, 4 clips"):
        check_request(ExtractOptions(out=root.uri, dataset="demo"))


def test_an_older_demo_is_known_by_its_clips(tmp_path):
    root = root_of(tmp_path / "out", ExtractOptions(out=str(tmp_path / "out"), limit=3))
    without_record(root, runs=[])
    assert check_request(ExtractOptions(out=root.uri)).options.dataset == "demo"
    with pytest.raises(ConfigError, match="holds the demo of seed 0"):
        check_request(ExtractOptions(out=root.uri, dataset="table", root=str(table(tmp_path / "t", "a.mp4"))))


def test_an_older_root_of_which_nothing_is_known_keeps_its_clips(held, tmp_path):
    root, source = held
    without_record(root, runs=[])
    asked = check_request(TrainOptions(out=root.uri, tiers=("raw",)))
    assert asked.options.dataset is None
    assert asked.listing.table["clip_id"].to_pylist() == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert check_request(ExtractOptions(out=root.uri, dataset="table", root=str(source))), "it shares clips"
    with pytest.raises(ConfigError, match="holds a catalogue of its own, 4 clips; none of them is among"):
        check_request(
            ExtractOptions(out=root.uri, dataset="table", root=str(table(tmp_path / "other", "x.mp4", "y.mp4")))
        )
    with pytest.raises(ConfigError, match="asked for is another data set, the demo"):
        check_request(ExtractOptions(out=root.uri, dataset="demo"))


def test_a_root_that_lost_its_catalogue_and_its_record_asks_for_its_data_set(held):
    root, source = held
    (Path(root.uri) / "dataset.json").unlink()
    (Path(root.uri) / "catalogue.parquet").unlink()
    root.write_json({}, "artifacts", "tiers.json")
    root.write_bytes(b"x", "features", "raw-1", "part.parquet")
    with pytest.raises(ConfigError, match="has lost its catalogue, and nothing tells its data set: say --dataset"):
        check_request(ExtractOptions(out=root.uri))
    assert check_request(ExtractOptions(out=root.uri, dataset="table", root=str(source)))


def test_a_damaged_record_is_named(held):
    root, _ = held
    record = Path(root.uri) / "dataset.json"
    record.write_text(record.read_text()[:30])
    with pytest.raises(DamagedFileError, match=r"dataset\.json is damaged or cut short .*: delete it"):
        check_request(ExtractOptions(out=root.uri))
    record.write_text('{"features": ["a"]}')
    with pytest.raises(ConfigError, match=r"dataset\.json is not m3ray's: move it away"):
        check_request(ExtractOptions(out=root.uri))


# What a job did not make.


@pytest.mark.parametrize("name", ["catalogue.parquet", "predictions.parquet", "dataset.json"])
def test_somebody_s_files_of_our_names_are_refused(tmp_path, name):
    if name.endswith("parquet"):
        pq.write_table(pa.table({"price": [1.0]}), tmp_path / name)
    else:
        (tmp_path / name).write_text('{"rows": 3}')
    with pytest.raises(ConfigError, match=f"{name} exists and was not made by m3ray"):
        check_request(ExtractOptions(out=str(tmp_path)))


@pytest.mark.parametrize("name", ["models", "runs", "report", "features"])
def test_somebody_s_folders_of_our_names_are_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "theirs.txt").write_text("x")
    with pytest.raises(ConfigError, match=f"/{name} exists and was not made by m3ray"):
        check_request(ExtractOptions(out=str(tmp_path)))


def test_a_folder_with_other_files_may_become_a_root(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "models").mkdir()
    assert check_request(ExtractOptions(out=str(tmp_path), limit=1)), "an empty folder is nobody's"


def test_a_root_of_which_no_more_than_a_run_was_begun_is_one(tmp_path):
    """What a first job leaves that found the disk full, or was killed: the same command must go on from there."""
    (tmp_path / "full" / "runs" / "20261125T164941Z-extract-d5b5").mkdir(parents=True)
    (tmp_path / "killed" / "runs").mkdir(parents=True)
    (tmp_path / "killed" / "runs" / "lock.json").write_text("{")
    for name in ("full", "killed"):
        assert check_request(ExtractOptions(out=str(tmp_path / name), limit=1))


def test_a_catalogue_that_is_none_is_refused_in_a_root_too(held):
    root, _ = held
    root.write_json({}, "artifacts", "tiers.json")
    pq.write_table(pa.table({"price": [1.0]}), Path(root.uri) / "catalogue.parquet")
    with pytest.raises(ConfigError, match=r"catalogue\.parquet is no catalogue of m3ray's"):
        check_request(ExtractOptions(out=root.uri))
    (Path(root.uri) / "catalogue.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DamagedFileError, match=r"catalogue\.parquet is damaged or cut short"):
        check_request(ExtractOptions(out=root.uri))


def bundle(root, name, **facts):
    root.write_json({"variant": {"name": "M3-S"}, **facts}, "models", name, "bundle.json")


def test_a_bundle_of_another_job_stays(held):
    root, _ = held
    bundle(root, "m3s", made_by="reproduce")
    with pytest.raises(ConfigError, match=r"models/m3s was made by jobs/reproduce\.py.*give this one another --name"):
        check_request(TrainOptions(out=root.uri))
    assert check_request(TrainOptions(out=root.uri, name="mine"))
    assert check_request(ReproduceOptions(out=root.uri)), "a job may make its own anew"
    bundle(root, "mine", made_by="train", variant={"name": "mine"})
    assert check_request(TrainOptions(out=root.uri, name="mine"))
    bundle(root, "m3s", made_by="train")
    with pytest.raises(ConfigError, match=r"models/m3s was made by jobs/train\.py.*rename that folder"):
        check_request(ReproduceOptions(out=root.uri))


def test_bundles_from_before_makers_were_noted_are_told_by_their_variant(held):
    root, _ = held
    bundle(root, "m3s", variant={"name": "M3-S, unfrozen"})
    with pytest.raises(ConfigError, match=r"made by jobs/reproduce\.py"):
        check_request(TrainOptions(out=root.uri))
    bundle(root, "own", variant={"name": "own"})
    assert check_request(TrainOptions(out=root.uri, name="own"))


def test_a_folder_under_models_that_is_no_bundle_stays(held):
    root, _ = held
    root.write_bytes(b"x", "models", "mine", "model.safetensors")
    assert check_request(TrainOptions(out=root.uri, name="mine")), "a job was cut short while it wrote it"
    root.write_bytes(b"x", "models", "mine", "weights.pth")
    with pytest.raises(ConfigError, match="models/mine exists and is no bundle"):
        check_request(TrainOptions(out=root.uri, name="mine"))


def test_the_study_s_folder_and_a_search_s_are_their_own(held):
    root, _ = held
    root.write_json({"artifacts": 1}, "artifacts", "tiers.json")
    root.write_json({}, "study", "search", "search.json")
    with pytest.raises(ConfigError, match=r"study/search is for what jobs/tune\.py makes"):
        check_request(TrainOptions(out=root.uri, name="search"))
    root.write_json({"job": "train"}, "study", "m3s", "made_by.json")
    with pytest.raises(ConfigError, match=r"study/m3s is for what jobs/train\.py makes"):
        check_request(TuneOptions(out=root.uri, name="m3s"))


def predictions(root, **noted):
    table = pa.table({"clip_id": ["a"], "score": [0.5]}).replace_schema_metadata(
        {b"m3ray": json.dumps(noted)} if noted else None
    )
    root.write_table(table, "predictions.parquet")


def test_predict_leaves_what_the_study_wrote(held):
    root, _ = held
    beside = ("predict", "predictions.parquet")
    assert choose_predictions_path(root) == ("predictions.parquet",)
    predictions(root, bundle="m3s", job="predict")
    assert choose_predictions_path(root) == ("predictions.parquet",), "its own may be made anew"
    predictions(root, bundle="m3s", job="reproduce")
    assert choose_predictions_path(root) == beside
    predictions(root)
    assert choose_predictions_path(root) == beside, "somebody else's"
    predictions(root, bundle="m3s")  # from before the job was noted: a study's that is gone, for all that is known
    assert choose_predictions_path(root) == beside
    root.write_json({}, "models", "m3s", "bundle.json")
    assert choose_predictions_path(root) == beside


def test_reproduce_keeps_what_predict_wrote(held, monkeypatch, capsys):
    root, _ = held
    predictions(root, bundle="m3s", job="predict")
    check_request(ReproduceOptions(out=root.uri))
    frame = pd.DataFrame({"clip_id": ["a"], "score": [0.7]})
    monkeypatch.setattr(predicting, "score_clips", lambda *_: frame)
    monkeypatch.setattr(predicting, "identify_source", lambda *_: "0a")
    bundle = SimpleNamespace(name="m3s", untrained=False)
    for _ in range(2):  # its own are replaced, predict's stay
        predicting.score_root(bundle, root, root, job="reproduce")
        assert root.read_metadata("predictions.parquet") == {
            "bundle": "m3s", "untrained": False, "job": "reproduce", "catalogue": "", "source": "0a",
        }  # fmt: skip
        assert root.read_metadata("predict", "predictions.parquet")["job"] == "predict"
    assert f"are kept in {root.uri}/predict/predictions.parquet" in capsys.readouterr().out


def test_reproduce_leaves_predictions_that_m3ray_did_not_make(held):
    root, _ = held
    predictions(root)
    with pytest.raises(ConfigError, match=r"predictions\.parquet was not made by m3ray: move it away"):
        check_request(ReproduceOptions(out=root.uri))


def test_a_dry_root_reads_and_writes_nothing(held):
    root, _ = held
    before = {p: p.stat().st_mtime_ns for p in Path(root.uri).rglob("*")}
    dry = DryRoot(root.uri)
    dry.write_json({}, "new", "file.json")
    dry.write_table(pa.table({"a": [1]}), "catalogue.parquet")
    dry.delete("catalogue.parquet")
    dry.delete_folder("runs")
    dry.subroot("deeper").write_bytes(b"x", "file")
    assert {p: p.stat().st_mtime_ns for p in Path(root.uri).rglob("*")} == before
    assert dry.read_table("catalogue.parquet").num_rows == 4


@pytest.mark.parametrize(("earlier", "now"), [("path", "fast"), ("content", "hash"), ("hash", "hash")])
def test_an_earlier_word_for_identity_is_understood(held, earlier, now):
    root, _ = held
    record = root.read_json("dataset.json")
    root.write_json({**record, "settings": {**record["settings"], "identity": earlier}}, "dataset.json")
    assert apply_record(ExtractOptions(out=root.uri), read_record(root)).identity == now


def test_settled_options_stay_as_they_are(held):
    root, _ = held
    once = apply_record(ExtractOptions(out=root.uri), read_record(root))
    assert apply_record(replace(once, fps=None), read_record(root)).fps is None


def test_a_cut_listing_of_rows_never_becomes_a_root(tmp_path):
    """The whole way by the command line: refused with status 2, and every byte stays."""
    source, other = table(tmp_path / "data", "a.mp4", "b.mp4"), table(tmp_path / "other", "c.mp4")
    options = ExtractOptions(out=str(tmp_path / "out"), dataset="table", root=str(source))
    root_of(tmp_path / "out", options)
    kept = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (tmp_path / "out").rglob("*")}
    command = [sys.executable, "jobs/train.py", "--out", str(tmp_path / "out"), "--dataset", "table"]
    done = subprocess.run([*command, "--root", str(other)], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"holds the table {source}, 2 clips" in done.stderr
    assert f"the table {other}" in done.stderr
    assert {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in (tmp_path / "out").rglob("*")} == kept
    assert len(pd.read_parquet(tmp_path / "out" / "catalogue.parquet")) == 2


def test_a_root_whose_catalogue_was_deleted_keeps_its_data_set(tmp_path):
    out, clips = tmp_path / "o", table(tmp_path / "one", "a.mp4", "b.mp4")
    root = Root(str(out))
    options = ExtractOptions(out=str(out), dataset="table", root=str(clips))
    write_record(root, make_record(options))
    (out / "features").mkdir()
    assert check_request(ExtractOptions(out=str(out))).options.root == str(clips)
    other = table(tmp_path / "two", "c.mp4")
    with pytest.raises(ConfigError, match="another data set"):
        check_request(ExtractOptions(out=str(out), dataset="table", root=str(other)))


def test_ids_that_name_other_files_are_found(tmp_path):
    known = pa.table({"clip_id": ["1", "2", "3"], "uri": ["/v/a.mp4", "/v/b.mp4", ""]})
    Root(str(tmp_path)).write_table(known, "catalogue.parquet")
    now = pa.table({"clip_id": ["3", "2", "1", "9"], "uri": ["", "/elsewhere/b.mp4", "/v/c.mp4", "/v/a.mp4"]})
    assert find_renamed_ids(Root(str(tmp_path)), now).to_pylist() == ["1"]


def test_clips_that_share_ids_and_no_file_are_another_data_set(tmp_path):
    out = tmp_path / "o"
    (tmp_path / "v").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        (tmp_path / "v" / name).write_bytes(b"x")
    (tmp_path / "v" / "one.csv").write_text("clip_id,uri,score\n1,a.mp4,0.5\n2,b.mp4,0.6\n")
    (tmp_path / "v" / "two.csv").write_text("clip_id,uri,score\n1,c.mp4,0.5\n2,d.mp4,0.6\n")
    asked = ExtractOptions(out=str(out), dataset="table", root=str(tmp_path / "v" / "one.csv"))
    write_catalogue(Root(str(out)), check_request(asked).listing.table, 0)
    write_record(Root(str(out)), make_record(asked))
    moved = replace(asked, root=str(tmp_path / "v" / "two.csv"), dataset_moved=True)
    with pytest.raises(ConfigError, match="0 of them are among the 2 clips"):
        check_request(moved)
