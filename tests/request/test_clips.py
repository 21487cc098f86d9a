"""The clips and tiers that a job computes, read before anything heavy is imported."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from m3ray.config.options import ExtractOptions, TrainOptions
from m3ray.datasets.listing import Listing
from m3ray.errors import ConfigError, FeatureError, SchemaError, StudyError
from m3ray.request.checks import check_request
from m3ray.request.clips import check_videos, drop_video_metadata, read_requested_clips
from m3ray.schema import CATALOGUE_FILE, LEARNED_KEY, Clip, catalogue_table
from m3ray.storage.dry_root import DryRoot
from m3ray.storage.root import Root


def test_what_was_read_is_handed_on(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "t.csv").write_text("uri,score\na.mp4,0.5\n")
    np.savez(tmp_path / "text.npz", clip_id=np.array(["a.mp4"]), text=np.zeros((1, 3)))
    options = ExtractOptions(
        out=str(tmp_path / "o"), dataset="table", root=str(tmp_path / "t.csv"), tier=(f"text={tmp_path / 'text.npz'}",)
    )
    asked = check_request(options)
    assert asked.listing.table["clip_id"].to_pylist() == ["a.mp4"]
    assert [tier.name for tier in asked.user_tiers] == ["text"]
    assert check_request(asked) is asked, "what was checked is not checked again"


def test_a_tier_that_lacks_the_clips_is_told_and_not_brought(tmp_path):
    (tmp_path / "t.csv").write_text("uri,score\n" + "".join(f"{k}.mp4,0.{k}\n" for k in range(30)))
    np.savez(tmp_path / "text.npz", clip_id=np.array([f"{k}.mp4" for k in range(28)]), text=np.zeros((28, 3)))
    options = TrainOptions(
        out=str(tmp_path / "o"),
        dataset="table",
        root=str(tmp_path / "t.csv"),
        tier=(f"text={tmp_path / 'text.npz'}",),
        tiers=("text",),
    )
    with pytest.raises(FeatureError, match="28 of 30 clips, 2 missing"):
        check_request(options)
    assert check_request(dataclasses.replace(options, allow_missing=True)).user_tiers
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("row", ["b.mp4,val,a dog", "b.mp4,train,!!!"])
def test_captions_that_cannot_be_fitted_on_are_told_before_anything_is_computed(tmp_path, row):
    (tmp_path / "t.csv").write_text(f"uri,split,captions\na.mp4,train,\n{row}\n")
    options = {"dataset": "table", "root": str(tmp_path / "t.csv"), "tiers": ("captions",), "dry_run": True}
    with pytest.raises(StudyError, match="captions: no"):
        check_request(ExtractOptions(out=str(tmp_path / "o"), **options))


def test_the_demo_s_clips_are_drawn_later_and_it_has_no_root(tmp_path):
    root = DryRoot(str(tmp_path))
    options, listing, tiers = read_requested_clips(root, ExtractOptions(out=root.uri))
    assert (options.dataset, options.tiers, listing, tiers) == ("demo", ("raw", "scene", "event"), None, ())
    with pytest.raises(ConfigError, match="--root /videos: the demo has none"):
        read_requested_clips(root, ExtractOptions(out=root.uri, dataset="demo", root="/videos"))


def test_a_column_to_group_by_is_looked_for_before_anything_is_computed(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "t.csv").write_text("uri,score,film\na.mp4,0.5,x\n")
    options = ExtractOptions(out=str(tmp_path / "o"), dataset="table", root=str(tmp_path / "t.csv"), group="movie")
    with pytest.raises(ConfigError, match=r"--group movie: expected a column .* clip_id, uri, film"):
        check_request(options)
    assert check_request(dataclasses.replace(options, group="film")).options.group == "film"


def test_a_catalogue_whose_data_set_is_lost_is_grouped_too(tmp_path):
    root = DryRoot(str(tmp_path))
    clips = [Clip("a", "/a", "train", 0.5, extra={"film": "x"}), Clip("b", "/b", "val", 0.5, extra={"film": "x"})]
    Root(str(tmp_path)).write_table(catalogue_table(clips), CATALOGUE_FILE)
    with pytest.raises(ConfigError, match="--group movie: expected a column"):
        read_requested_clips(root, ExtractOptions(out=root.uri, group="movie"))
    with pytest.raises(SchemaError, match="'x' has a in train and b in val"):
        read_requested_clips(root, ExtractOptions(out=root.uri, group="film"))


def test_what_decoding_learned_is_dropped_whatever_its_name():
    marked = pa.field("frames_2", pa.int32(), metadata={LEARNED_KEY: b"frames"})
    schema = pa.schema([("clip_id", pa.string()), ("frames", pa.int32()), marked])
    assert drop_video_metadata(schema.empty_table()).column_names == ["clip_id", "frames"]


def test_an_older_catalogue_s_metadata_are_told_by_their_names():
    older = pa.table({name: [1] for name in ("clip_id", "width", "native_fps", "sampled", "video_bytes", "mood")})
    assert drop_video_metadata(older).column_names == ["clip_id", "mood"]
    own = pa.table({name: [1] for name in ("clip_id", "width", "sampled")})
    assert drop_video_metadata(own).column_names == ["clip_id", "width", "sampled"], "columns of the user's"


def test_tiers_need_a_video_that_is_there():
    table = pa.table({"clip_id": ["a", "b"], "uri": ["a.mp4", "b.jpg"]})
    check_videos(Listing(table, missing=["a"]), ["raw"])
    check_videos(Listing(table, missing=["a", "b"]), [])
    with pytest.raises(ConfigError, match="none of the 2 videos is there, so raw, scene cannot be computed"):
        check_videos(Listing(table, missing=["a", "b"]), ["raw", "scene"])
    with pytest.raises(ConfigError, match="none of the 1 image is there, so raw cannot be computed"):
        check_videos(Listing(table.slice(1), missing=["b"]), ["raw"])
