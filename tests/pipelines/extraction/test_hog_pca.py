"""The root's PCA of HOG: stored, read again, fitted from descriptors; Ray's tasks are called as functions."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from drawn import pictures
from mean_tier import METADATA

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.console import LineKeeper
from m3ray.errors import DamagedFileError, M3RayError
from m3ray.pipelines.extraction import hog_pca
from m3ray.pipelines.extraction.hog_pca import (
    has_projection,
    load_or_fit_projection,
    read_projection,
    write_projection,
)
from m3ray.pipelines.extraction.records import DecodedClip, Failure, pack_decoded_clips
from m3ray.storage.root import Root
from m3ray.tiers.hog import hog_of_bytes
from m3ray.tiers.hog_pca import HogProjection

FIT = hog_pca._fit_task._function


@pytest.fixture
def root(tmp_path):
    return Root(str(tmp_path))


def make_projection(directions=10):
    rng = np.random.default_rng(0)
    components = rng.random((10, 40)).astype(np.float32)
    components[directions:] = 0
    return HogProjection(rng.random(40).astype(np.float32), components, 12)


def test_a_projection_is_read_as_it_was_written(root):
    assert not has_projection(root)
    write_projection(root, make_projection(), "artifacts")
    assert has_projection(root)
    projection = read_projection(root, "artifacts")
    assert projection.sha256 == make_projection().sha256
    assert (projection.frames, projection.fitted_on) == (12, "train")


def test_tensors_alone_are_no_projection(root, monkeypatch):
    """A job killed between the two files leaves none."""
    monkeypatch.setattr(Root, "write_json", lambda *_: pytest.fail("killed"))
    with pytest.raises(pytest.fail.Exception):
        write_projection(root, make_projection(), "artifacts")
    assert not has_projection(root)


def test_damaged_tensors_are_named(root):
    write_projection(root, make_projection(), "artifacts")
    root.write_bytes(b"no tensors", "artifacts", "hog_pca.safetensors")
    with pytest.raises(DamagedFileError, match=r"hog_pca\.safetensors"):
        read_projection(root, "artifacts")


def test_a_stored_projection_is_kept_and_its_rank_deficit_told(root):
    write_projection(root, make_projection(directions=7), "artifacts")
    catalogue = pa.table({"clip_id": ["a"], "uri": ["/nowhere/a"]})
    with LineKeeper() as log:
        projection = load_or_fit_projection(root, catalogue, DecodeConfig(), LimitsConfig(), refit=False)
    assert projection.sha256 == make_projection(directions=7).sha256
    (line,) = log.lines
    assert "hog: 3 of its 10 numbers are 0 for every clip, as the 12 first frames" in line
    assert "--refit-hog fits it on the 1 clips there are now" in line


def describe(*clips):
    table = hog_pca._describe_batch(pack_decoded_clips(clips))
    torch.set_num_threads(2)
    return table


def test_a_descriptor_is_the_first_frame_s_and_a_failed_clip_has_its_reason():
    frames = np.stack(pictures(2))
    frames = np.stack([np.resize(frame, (256, 256, 3)) for frame in frames]).astype(np.uint8)
    good = DecodedClip("a", "/a", (), METADATA, frames)
    bad = DecodedClip("b", "/b", (), failure=Failure("decode", "damaged", "cut short"))
    table = describe(bad, good)
    assert table["clip_id"].to_pylist() == ["b", "a"]
    assert table["reason"].to_pylist() == ["b: cut short", None]
    assert table["descriptor"][0].as_py() is None
    expected = hog_of_bytes(torch.from_numpy(frames[:1].transpose(0, 3, 1, 2).copy())).numpy()[0]
    np.testing.assert_array_equal(np.frombuffer(table["descriptor"][1].as_py(), np.float32), expected)


def block(**descriptors):
    rows = [
        {"clip_id": name, "descriptor": None if value is None else value.tobytes(), "reason": f"{name}: why"}
        for name, value in descriptors.items()
    ]
    return pa.Table.from_pylist(rows, schema=hog_pca._DESCRIPTOR)


def test_the_fit_does_not_depend_on_the_order_in_which_blocks_end(monkeypatch):
    monkeypatch.setattr(hog_pca.ray, "get", lambda blocks: blocks)
    rows = np.random.default_rng(0).random((4, 400)).astype(np.float32)
    first, second = block(a=rows[0], c=rows[2], x=None), block(b=rows[1], d=rows[3])
    one, reason = FIT([first, second], "train")
    two, _ = FIT([second, first], "train")
    assert reason is None
    assert one.sha256 == two.sha256
    assert (one.frames, one.directions) == (4, 3)


def test_where_nothing_can_be_decoded_the_first_clip_s_reason_is_told(monkeypatch):
    monkeypatch.setattr(hog_pca.ray, "get", lambda blocks: blocks)
    assert FIT([block(z=None), block(b=None)], "train") == (None, "b: why")
    assert FIT([], "train") == (None, None)
    monkeypatch.setattr(hog_pca, "_compute_descriptors", lambda *_: [])
    monkeypatch.setattr(hog_pca._fit_task, "remote", lambda *_: (None, "b: cut short"))
    with (
        LineKeeper(),
        pytest.raises(M3RayError, match=r"none of the 2 clips of the whole catalogue .*\(b: cut short\)"),
    ):
        hog_pca._fit_projection(pa.table({"clip_id": ["a", "b"]}), "all", None)
