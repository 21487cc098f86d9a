"""The train reference where it lies: read when it is asked for, compared with its hash, absent from older bundles."""

from dataclasses import replace

import numpy as np
import pytest
from made_references import draw_features, make_compared_bundle

from m3ray.errors import BundleError
from m3ray.scoring import bundle as bundle_module
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.reference import reference_file
from m3ray.scoring.reference.neighbours import measure_inside
from m3ray.scoring.reference.train_reference import REFERENCE_FILE
from m3ray.storage.root import Root


@pytest.fixture
def saved(tmp_path):
    bundle = make_compared_bundle(draw_features(60, 0))
    bundle.save(Root(str(tmp_path)), "b")
    return bundle, tmp_path / "b"


def test_a_bundle_is_opened_without_reading_it(saved, monkeypatch):
    bundle, folder = saved
    read = []

    def note(root, name, digest):
        read.append(name)
        return bundle_module_read(root, name, digest)

    bundle_module_read = bundle_module.read_file
    for module in (bundle_module, reference_file):
        monkeypatch.setattr(module, "read_file", note)
    loaded = Bundle.load(str(folder))
    assert REFERENCE_FILE not in read
    clips = draw_features(20, 1)
    np.testing.assert_array_equal(measure_inside(loaded, clips), measure_inside(bundle, clips))
    measure_inside(loaded, clips)
    assert read.count(REFERENCE_FILE) == 1


def test_a_bundle_that_is_saved_again_keeps_it(saved, tmp_path):
    bundle, folder = saved
    Bundle.load(str(folder)).save(Root(str(tmp_path)), "again")
    assert (tmp_path / "again" / REFERENCE_FILE).read_bytes() == bundle.reference.read()


def test_a_changed_or_missing_file_is_told_when_it_is_asked_for(saved):
    _, folder = saved
    loaded = Bundle.load(str(folder))
    data = (folder / REFERENCE_FILE).read_bytes()
    (folder / REFERENCE_FILE).write_bytes(data[:-1] + b"x")
    with pytest.raises(BundleError, match=r"train_reference\.safetensors was changed since the bundle was written"):
        loaded.reference.load()
    (folder / REFERENCE_FILE).unlink()
    with pytest.raises(BundleError, match=r"train_reference\.safetensors is missing"):
        Bundle.load(str(folder)).reference.load()


def test_an_older_bundle_has_none_and_an_older_m3ray_takes_the_file_for_one_of_many(saved, tmp_path):
    bundle, folder = saved
    replace(bundle, reference=None).save(Root(str(tmp_path)), "old")
    assert Bundle.load(str(tmp_path / "old")).reference is None
    manifest = Root(str(folder)).read_json("bundle.json")
    assert manifest["format"] == 1, "the number by which an older m3ray refuses a bundle stays"
    assert REFERENCE_FILE in manifest["files"]
