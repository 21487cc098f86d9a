"""Where a finetuning finds the weights that a root's features were made with."""

import pytest

from m3ray.errors import ConfigError
from m3ray.pipelines.finetuning.weights import find_weights
from m3ray.scoring.bundle_metadata import BundleManifest, BundleMetadata
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry, update_tier_index
from m3ray.tiers.network import WeightSource

FILE = {"location": "/weights/h.pth", "sha256": "ab" * 32, "seed": 0}


def make_root(folder, weights):
    root = Root(str(folder))
    update_tier_index(root, {"scene": TierEntry("scene-1", identity={"weights": weights})})
    return root


def add_bundle(root, name, **sources):
    metadata = BundleMetadata(False, sources=sources)
    root.write_json(BundleManifest(name, metadata, (), {}).as_json(), "models", name, "bundle.json")


def test_untrained_weights_are_their_seed(tmp_path):
    root = make_root(tmp_path, {"untrained_seed": 7})
    assert find_weights(root, ("raw", "scene"), {}) == {"scene": WeightSource(seed=7)}
    assert find_weights(root, ("raw",), {}) == {}


def test_a_file_is_the_job_s_or_one_that_a_bundle_names(tmp_path):
    root = make_root(tmp_path, {"sha256": FILE["sha256"]})
    own = WeightSource("/mine.pth", FILE["sha256"])
    assert find_weights(root, ("scene",), {"scene": own}) == {"scene": own}
    add_bundle(root, "a", scene={**FILE, "sha256": "00" * 32}, event=FILE)
    with pytest.raises(ConfigError, match=r"no bundle of .* names the weights .* scene .*\(SHA-256 abababababababab\)"):
        find_weights(root, ("scene",), {"scene": WeightSource("/other.pth", "11" * 32)})
    add_bundle(root, "b", scene=FILE)
    assert find_weights(root, ("scene",), {}) == {"scene": WeightSource(**FILE)}


def test_a_folder_without_a_bundle_is_passed_over(tmp_path):
    root = make_root(tmp_path, {"sha256": FILE["sha256"]})
    root.write_bytes(b"network", "models", "half", "tuned-scene.safetensors")
    add_bundle(root, "b", scene=FILE)
    assert find_weights(root, ("scene",), {}) == {"scene": WeightSource(**FILE)}


def test_a_bundle_that_cannot_be_read_is_passed_over(tmp_path):
    root = make_root(tmp_path, {"sha256": FILE["sha256"]})
    root.write_bytes(b"{", "models", "cut", "bundle.json")
    add_bundle(root, "whole", scene=FILE)
    assert find_weights(root, ("scene",), {}) == {"scene": WeightSource(**FILE)}
