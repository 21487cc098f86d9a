"""Arrays of a bundle, as files and back."""

import numpy as np
import pytest
import torch
from read_only import read_only, torch_warns_of_nothing

from m3ray.errors import BundleError
from m3ray.model import StackedMLP
from m3ray.model.mixture import Mixture
from m3ray.model.regressors import Linear, Trees
from m3ray.model.regressors.trees import LEAF
from m3ray.scoring import bundle_files
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.scoring.intervals import IntervalRule
from m3ray.storage.root import Root


def manifest(**metadata):
    return BundleManifest("small", BundleMetadata(False, **metadata), (), {})


def test_the_mlp_comes_back_from_its_arrays():
    model = StackedMLP(3, (8,), [0, 1])
    again = bundle_files.build_model(bundle_files.list_weights(model))
    features = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(again(features), model(features))
    assert bundle_files.list_weights(None) == {}
    assert bundle_files.build_model({"mean": np.zeros(3)}) is None


def test_the_mixture_comes_back_and_a_bundle_of_nothing_is_refused(tmp_path):
    root, mixture = Root(str(tmp_path)), Mixture(None, {"ridge": Linear(np.ones(3), 0.5)}, {"ridge": 1.0})
    data, features = bundle_files.save_arrays(mixture.tensors()), np.eye(3, dtype=np.float32) / 10
    again = bundle_files.build_mixture(root, manifest(mixture=mixture.settings()), data, None, np.zeros(3))
    np.testing.assert_array_equal(again(features), mixture(features))
    model = StackedMLP(3, (8,), [0])
    assert bundle_files.build_mixture(root, manifest(), None, model, np.zeros(3)) is None
    with pytest.raises(BundleError, match=r"model\.safetensors holds no model"):
        bundle_files.build_mixture(root, manifest(), None, None, np.zeros(3))
    with pytest.raises(BundleError, match=r"regressors\.safetensors cannot be read"):
        bundle_files.build_mixture(root, manifest(mixture=mixture.settings()), b"damaged", None, np.zeros(3))


def make_trees() -> Trees:
    """One tree that asks whether column 1 is at most 0.5."""
    nodes = ([0], [1, LEAF, LEAF], [0.5, 0.0, 0.0], [1, LEAF, LEAF], [2, LEAF, LEAF], [0.0, 0.1, 0.2])
    kinds = (np.int32, np.int32, float, np.int32, np.int32, float)
    return Trees(0.5, 3, None, None, *(np.array(n, kind) for n, kind in zip(nodes, kinds, strict=True)))


@pytest.mark.parametrize(
    "changes",
    [
        {"trees.feature": np.array([99, LEAF, LEAF], np.int32)},
        {"trees.feature": np.array([-2, LEAF, LEAF], np.int32)},
        {"trees.left": np.array([0, LEAF, LEAF], np.int32)},
        {"trees.right": np.array([1, LEAF, LEAF], np.int32)},
        {"trees.value": np.zeros(1)},
        {"trees.roots": np.zeros(0, np.int32)},
        {"recalibration.knots": np.array([1.0, 0.0]), "recalibration.values": np.array([0.0, 1.0])},
    ],
)
def test_models_that_cannot_be_are_refused_when_a_bundle_is_opened(tmp_path, changes):
    mixture = Mixture(None, {"trees": make_trees()}, {"trees": 1.0})
    arrays = bundle_files.save_arrays({**mixture.tensors(), **changes})
    with pytest.raises(BundleError, match="copy the bundle anew"):
        bundle_files.build_mixture(
            Root(str(tmp_path)), manifest(mixture=mixture.settings()), arrays, None, np.array([0.0, 1.0, 0.0])
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": {"trees": float("nan")}},
        {"weights": {"trees": -1.0}},
        {"weights": {"ridge": 1.0}},
        {"weights": {"mlp": 1.0}},
        {"regressors": []},
        {"regressors": {"trees": {"kind": []}}},
        {"regressors": {"trees": {"kind": "trees", "baseline": "x", "inputs": 3}}},
        {"recalibration": {"slope": None, "intercept": 0.0, "line_share": 0.0}},
    ],
)
def test_so_are_settings(tmp_path, changes):
    mixture = Mixture(None, {"trees": make_trees()}, {"trees": 1.0})
    settings, arrays = mixture.settings() | changes, bundle_files.save_arrays(mixture.tensors())
    with pytest.raises(BundleError):
        bundle_files.build_mixture(Root(str(tmp_path)), manifest(mixture=settings), arrays, None, np.zeros(3))


def test_an_interval_rule_comes_back():
    rule = IntervalRule(np.array([0.1, 0.2]), np.array([-1.0, -2.0]), np.array([1.0, 2.0]))
    for calibration in (None, np.ones((2, 4), np.float32)):
        arrays = bundle_files.load_arrays(Root("."), "i", bundle_files.save_intervals(rule, calibration))
        again = bundle_files.read_rule(arrays)
        for name in ("knots", "low", "high"):
            np.testing.assert_array_equal(getattr(again, name), getattr(rule, name))
        assert ("calibration" in arrays) == (calibration is not None)
    assert bundle_files.read_rule({}) is None


def test_runs_that_an_older_bundle_has_and_that_diverged_are_dropped():
    model = StackedMLP(3, (8,), [0, 1])
    with torch.no_grad():
        model.weights[0][1] = float("nan")
    kept, metadata = bundle_files.drop_diverged(model, np.zeros(3, np.float32), manifest(seeds=[4, 5]))
    assert (len(kept.weights[0]), metadata.seeds, metadata.dropped_runs) == (1, [4], [5])
    assert bundle_files.drop_diverged(None, np.zeros(3, np.float32), manifest())[0] is None


def test_residuals_that_are_no_numbers_are_left_out():
    np.testing.assert_array_equal(bundle_files.keep_finite(np.array([0.1, np.nan, np.inf])), [0.1])


def test_a_changed_file_is_refused(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    root = Root(str(tmp_path))
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # SHA-256 of abc, FIPS 180-2
    assert bundle_files.read_file(root, "f", digest) == b"abc"
    (tmp_path / "f").write_bytes(b"abd")
    with pytest.raises(BundleError, match="was changed since"):
        bundle_files.read_file(root, "f", digest)
    with pytest.raises(BundleError, match="is missing"):
        bundle_files.read_file(root, "g", digest)


def test_arrays_that_nobody_may_write_to_are_read_without_a_warning():
    arrays = bundle_files.list_weights(StackedMLP(3, (8,), [0, 1]))
    with torch_warns_of_nothing():
        model = bundle_files.build_model({name: read_only(array) for name, array in arrays.items()})
    found = bundle_files.list_weights(model)
    assert set(found) == set(arrays)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())
