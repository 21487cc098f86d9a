"""The catalogue of a job: listed, recorded and written. No cluster."""

from collections import Counter

import pyarrow as pa
import pytest

from m3ray.config import TierConfigs
from m3ray.config.options import ExtractOptions
from m3ray.console import LineKeeper
from m3ray.datasets.listing import Listing
from m3ray.datasets.registry import list_clips
from m3ray.errors import ConfigError
from m3ray.pipelines.extraction.catalogue_update import report_listing, update_catalogue
from m3ray.request.checks import Request, check_request
from m3ray.schema import REJECTS, Clip, catalogue_table
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.rejects import read_rejected_ids
from m3ray.storage.root import Root
from m3ray.storage.root_record import group_column, read_record


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path / "out"))


@pytest.fixture
def videos(tmp_path):
    (tmp_path / "v").mkdir()
    for name in "abcde":
        (tmp_path / "v" / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path / "v"


def update(root, source, **more):
    options = ExtractOptions(out=root.uri, dataset="folder", root=str(source), tiers=("raw",), **more)
    listing = list_clips(root, "folder", str(source), limit=None, seed=0)
    with LineKeeper() as log:
        catalogue, sources = update_catalogue(root, Request(options, listing), TierConfigs())
    return catalogue, sources, [line.partition(" ")[2] for line in log.lines]


def test_the_catalogue_is_written_with_the_record_of_its_data_set(root, videos):
    catalogue, sources, lines = update(root, videos)
    assert sources == {}, "the raw tier has no network"
    assert catalogue["clip_id"].to_pylist() == [f"{name}.mp4" for name in "abcde"]
    assert read_catalogue(root).equals(catalogue)
    assert (read_record(root).dataset, read_record(root).source) == ("folder", str(videos))
    splits = Counter(catalogue["split"].to_pylist())
    assert set(splits) == {"train", "val"}
    assert lines[-1] == f"catalogue: 5 clips ({splits['train']} train, {splits['val']} val), 0 with a score"


def test_splits_stay_when_clips_come(root, videos):
    before, _, _ = update(root, videos)
    (videos / "f.mp4").write_bytes(b"f")
    after, _, _ = update(root, videos)
    pairs = dict(zip(after["clip_id"].to_pylist(), after["split"].to_pylist(), strict=True))
    assert len(pairs) == 6
    assert all(pairs[clip] == split for clip, split in zip(*before.select([0, 2]).to_pydict().values(), strict=True))


def test_clips_are_split_by_the_group_of_the_options(root, tmp_path):
    films = [f"film{k // 4}" for k in range(40)]
    lines = [f"v{k}.mp4,0.5,{film}" for k, film in enumerate(films)]
    (tmp_path / "t.csv").write_text("\n".join(["uri,score,film", *lines]))
    options = ExtractOptions(out=root.uri, dataset="table", root=str(tmp_path / "t.csv"), tiers=("raw",), group="film")
    catalogue, _ = update_catalogue(root, check_request(options), TierConfigs())
    sides = set(zip(films, catalogue["split"].to_pylist(), strict=True))
    assert len(sides) == 10, "one side each"
    assert {split for _, split in sides} == {"train", "val"}
    assert group_column(root) == "film"


def test_the_demo_has_no_column_to_group_by(root):
    options = ExtractOptions(out=root.uri, dataset="demo", tiers=("raw",), limit=2, group="film")
    with pytest.raises(ConfigError, match=r"--group film: expected a column .* drawn_motion"):
        update_catalogue(root, Request(options), TierConfigs())


def test_a_moved_data_set_is_known_by_its_old_place(root, videos, tmp_path):
    before, _, _ = update(root, videos)
    moved = videos.rename(tmp_path / "w")
    after, _, _ = update(root, moved, dataset_moved=True)
    assert after["split"].to_pylist() == before["split"].to_pylist()
    assert read_record(root).source == str(moved)
    assert after["uri"].to_pylist()[0] == str(moved / "a.mp4")


def test_what_a_reader_noted_is_logged_and_kept_whole(root):
    row = {"clip_id": "out", "uri": "/elsewhere", "stage": "list", "error": "outside", "message": "a link out"}
    listing = Listing(
        catalogue_table([Clip("a", "/a")]),
        ("two are missing",),
        ("x.mp4", "y.mp4"),
        pa.Table.from_pylist([row], REJECTS),
    )
    with LineKeeper() as log:
        report_listing(root, listing, dry=False)
    assert log.lines[0].endswith(" two are missing")
    assert "missing_videos.txt" in log.lines[1]
    assert root.read_bytes("artifacts", "missing_videos.txt") == b"x.mp4\ny.mp4\n"
    assert read_rejected_ids(root).to_pylist() == ["out"]
    with LineKeeper() as log:
        report_listing(root, Listing(listing.table), dry=False)
    assert log.lines == []
    assert read_rejected_ids(root).to_pylist() == [], "what may be read now is rejected no more"


def test_a_dry_run_names_no_file(root):
    with LineKeeper() as log:
        report_listing(root, Listing(catalogue_table([Clip("a", "/a")]), missing=("x.mp4",)), dry=True)
    assert log.lines == []
