"""Which clips a bundle has seen: by content, by features within the noise of hardware, never by their ids alone."""

from dataclasses import replace

import numpy as np
import pytest
from made_roots import made_root
from safetensors.numpy import load

from m3ray.datasets.catalogue import write_catalogue
from m3ray.features.dataset import StudyData
from m3ray.features.load import load_data
from m3ray.features.matrix import Block, Features
from m3ray.schema import Clip, catalogue_table
from m3ray.scoring.train_clips import find_seen, record_clips
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.storage.root import Root


def study_of(folder, values, scores, splits, blocks=None, files=()):
    """A root of clips `0`, `1`, ... whose files are `files`, and the study data of these features."""
    ids = [str(k) for k in range(len(values))]
    uris = [str(file) for file in files] or [""] * len(ids)
    clips = [Clip(*row) for row in zip(ids, uris, splits, map(float, scores), strict=True)]
    root = Root(str(folder))
    write_catalogue(root, catalogue_table(clips), 0)
    blocks = blocks or (Block("text", tuple(f"text_{k}" for k in range(values.shape[1])), True),)
    return root, StudyData.make(Features(tuple(ids), values.astype(np.float32), blocks), np.asarray(scores), splits)


def record(root, data):
    return record_clips(root, data, np.arange(data.scaled.shape[1]), data.features.blocks)


def seen(recorded, data, features, root, scores):
    return find_seen(recorded, data.scaling, features, read_catalogue(root), np.asarray(scores))


@pytest.fixture
def wide(tmp_path):
    rng = np.random.default_rng(0)
    splits = ["train"] * 400 + ["val"] * 60 + ["test"] * 140
    values, scores = rng.standard_normal((600, 30)), rng.random(600)
    return *study_of(tmp_path / "a", values, scores, splits), scores


def other_root(folder, data, rows, noise=0.0):
    """These clips as another data set has them: other ids, other scores, features computed on other hardware."""
    rng = np.random.default_rng(1)
    values = data.features.values[rows] * (1 + noise * rng.standard_normal((len(rows), data.scaled.shape[1])))
    root, other = study_of(folder, values, rng.random(len(rows)), ["train", "val"] * (len(rows) // 2))
    return root, replace(other.features, blocks=data.features.blocks), rng.random(len(rows))


def test_train_and_val_clips_are_recognised_by_their_features(wide, tmp_path):
    root, data, _ = wide
    rows = np.concatenate([data.train[:50], data.val[:30], data.test[:120]])
    # float32 keeps 24 bits: 1e-6 is what the order of a sum changes; networks on other hardware differ by 1e-4.
    for noise in (0, 1e-6, 1e-4):
        other, features, scores = other_root(tmp_path / f"b{noise}", data, rows, noise)
        found = seen(record(root, data), data, features, other, scores)
        np.testing.assert_array_equal(found.train, np.arange(200) < 50)
        np.testing.assert_array_equal(found.val, (np.arange(200) >= 50) & (np.arange(200) < 80))
        np.testing.assert_array_equal(found.any, np.arange(200) < 80)


def test_clips_of_the_same_names_and_scores_are_others(wide, tmp_path):
    """`1.mp4` is in every data set."""
    root, data, scores = wide
    values = np.random.default_rng(5).standard_normal((600, 30))
    other, found_data = study_of(tmp_path / "b", values, scores, ["train", "val"] * 300)
    assert not seen(record(root, data), data, found_data.features, other, scores).any.any()


def test_features_that_clips_share_need_the_same_id_and_score(tmp_path):
    """Three yes-or-no columns: every clip looks like a tenth of the others."""
    rng = np.random.default_rng(0)
    values, scores = rng.integers(0, 2, (200, 3)), rng.random(200).astype(np.float32)
    root, data = study_of(tmp_path / "a", values, scores, ["train"] * 150 + ["val"] * 50)
    recorded = record(root, data)
    np.testing.assert_array_equal(seen(recorded, data, data.features, root, scores).train, np.arange(200) < 150)
    assert not seen(recorded, data, data.features, root, scores + 0.01).any.any()
    renamed = replace(data.features, clip_ids=tuple(f"x{k}" for k in range(200)))
    assert not seen(recorded, data, renamed, root, scores).any.any()
    flipped = replace(data.features, values=1 - data.features.values)
    assert not seen(recorded, data, flipped, root, scores).any.any()


def test_a_row_that_many_clips_have_is_no_proof(tmp_path):
    """A detector that finds nothing gives zeros, in this data set as in another one."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((600, 5))
    values[:4] = 0  # fewer than one train clip in a hundred
    root, data = study_of(tmp_path / "a", values, rng.random(600), ["train"] * 500 + ["val"] * 100)
    rows = np.array([*range(4), *range(10, 16)])
    other, features, scores = other_root(tmp_path / "b", data, rows)
    found = seen(record(root, data), data, features, other, scores)
    np.testing.assert_array_equal(found.train, rows >= 10)


def test_two_numbers_are_no_proof_without_id_and_score(tmp_path):
    rng = np.random.default_rng(4)
    root, data = study_of(
        tmp_path / "a", rng.standard_normal((300, 2)), rng.random(300), ["train"] * 250 + ["val"] * 50
    )
    other, features, scores = other_root(tmp_path / "b", data, np.arange(20))
    assert not seen(record(root, data), data, features, other, scores).any.any()
    assert seen(record(root, data), data, data.features, root, data.scores).train.sum() == 250


def test_the_same_file_is_recognised_whatever_its_features_are(wide, tmp_path):
    """By its address, size and time; a file of equal name, or one that was replaced since, is another."""
    _, data, scores = wide
    folder = tmp_path / "videos"
    folder.mkdir()
    files = [folder / f"{k}.mp4" for k in range(600)]
    for k, file in enumerate(files):
        file.write_bytes(str(k).encode())
    splits = ["train"] * 400 + ["val"] * 60 + ["test"] * 140
    root, known = study_of(tmp_path / "a", data.features.values, scores, splits, files=files)
    recorded = record(root, known)
    values = np.random.default_rng(7).standard_normal((600, 30))
    other, new = study_of(tmp_path / "b", values, scores, splits, files=files)
    found = seen(recorded, known, new.features, other, scores)
    assert (found.train.sum(), found.val.sum()) == (400, 60)
    for file in files[:10]:
        file.write_bytes(b"another film")
    other, new = study_of(tmp_path / "c", values, scores, splits, files=files)
    np.testing.assert_array_equal(
        np.flatnonzero(seen(recorded, known, new.features, other, scores).train), range(10, 400)
    )


def test_copies_are_recognised_where_contents_are_hashed(wide, tmp_path):
    """Files below a root are hashed: a copy of another root's has their bytes, and another address and time."""
    _, data, scores = wide
    rows = np.arange(8)
    values, splits = data.features.values[:8], ["train"] * 4 + ["val"] * 4
    roots = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        files = [tmp_path / name / f"{k}.mp4" for k in rows]
        for k, file in enumerate(files):
            file.write_bytes(f"film {k}".encode())
        roots.append(study_of(tmp_path / name, values, scores[:8], splits, files=files))
    (root, known), (other, _) = roots
    features = replace(known.features, values=np.random.default_rng(3).standard_normal((8, 30)).astype(np.float32))
    found = seen(record(root, known), known, features, other, np.zeros(8))
    np.testing.assert_array_equal(found.train, rows < 4)
    np.testing.assert_array_equal(found.val, rows >= 4)


def test_similarity_is_left_out_as_a_train_clip_s_own_leaves_it_out(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((80, 12))
    blocks = (
        Block("scene", tuple(f"scene_{k}" for k in range(10)), False),
        Block("similarity", ("scene_mean", "event_mean"), True),
    )
    scores = rng.random(80)
    root, data = study_of(tmp_path / "a", values, scores, ["train"] * 60 + ["val"] * 20, blocks)
    new = data.features.values.copy()
    new[:, 10:] += 1
    found = seen(record(root, data), data, replace(data.features, values=new), root, scores)
    assert (found.train.sum(), found.val.sum()) == (60, 20)
    alone = (blocks[1],)
    root, data = study_of(tmp_path / "b", values[:, 10:], scores, ["train"] * 60 + ["val"] * 20, alone)
    assert not seen(record(root, data), data, data.features, root, scores).any.any(), "nothing is proof"


def test_far_out_and_undefined_numbers_do_not_meet(tmp_path):
    values = np.random.default_rng(0).standard_normal((100, 5))
    scores = np.random.default_rng(1).random(100)
    root, data = study_of(tmp_path / "a", values, scores, ["train"] * 80 + ["val"] * 20)
    far = data.features.values * 1e6
    assert not seen(record(root, data), data, replace(data.features, values=far), root, scores).any.any()


def test_sixteen_bytes_a_clip(tmp_path):
    """10,000 clips: 160 kB and safetensors' header."""
    values, scores = np.random.default_rng(0).standard_normal((10_000, 20)), np.linspace(0, 1, 10_000)
    root, data = study_of(tmp_path / "a", values, scores, ["train"] * 8_000 + ["val"] * 2_000)
    recorded = record(root, data)
    assert len(recorded) < 10_000 * 16 + 2_000
    assert load(recorded)["train.rows"].shape == (8_000, 4)
    new = replace(data.features, values=np.random.default_rng(1).standard_normal((10_000, 20)).astype(np.float32))
    assert not seen(recorded, data, new, root, scores).any.any(), "none of 1e8 pairs is taken for one clip"


def test_a_catalogue_of_an_older_version_tells_no_contents(tmp_path):
    root = made_root(tmp_path, rows=40)
    data = load_data(root, ("raw", "scene")).data
    recorded = record(root, data)
    bare = read_catalogue(root).select(["clip_id", "uri", "split", "score"])
    scores = data.scores
    assert find_seen(recorded, data.scaling, data.features, bare, scores).train.sum() == len(data.train)
