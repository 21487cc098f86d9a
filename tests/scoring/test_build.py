"""A bundle made of a trained variant."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from trained_studies import train_study

from m3ray.config import TierConfigs, as_json
from m3ray.features.matrix import Block, Features
from m3ray.scoring.build import _read_artefacts, list_versions, make_bundle, select_blocks
from m3ray.scoring.bundle import Bundle
from m3ray.storage.catalogue_file import read_catalogue
from m3ray.study.variants import Variant
from m3ray.tiers.network import WeightSource

BLOCKS = (Block("raw", ("a", "b"), True), Block("scene", ("s0", "s1"), False), Block("text", ("t",), False))


@pytest.fixture
def trained(tmp_path):
    study, variant, result = train_study(tmp_path)
    for name in ("hog_pca.safetensors", "hog_pca.json"):
        study.root.write_bytes(name.encode(), "artifacts", name)
    return study, variant, result


def bundle_of(study, variant):
    return make_bundle(study, variant, TierConfigs(), {"scene": WeightSource(seed=3)}, "small", "train")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([0, 1, 2, 3, 4], BLOCKS),
        ([1, 4], (Block("raw", ("b",), True), Block("text", ("t",), False))),
        ([3], (Block("scene", ("s1",), False),)),
    ],
)
def test_blocks_are_those_of_the_columns_that_are_seen(columns, expected):
    features = Features(("c",), np.zeros((1, 5), np.float32), BLOCKS)
    assert select_blocks(features, np.array(columns)) == expected


def test_a_bundle_scores_as_the_runs_that_were_trained(trained):
    study, variant, result = trained
    bundle = bundle_of(study, variant)
    frame = bundle.score(study.data.features).set_index("clip_id")
    val = [study.data.features.clip_ids[row] for row in study.data.val]
    np.testing.assert_allclose(frame.loc[val, "score"], result.trained.val.mean(axis=0), atol=1e-6)
    errors = np.abs(result.trained.val.mean(axis=0) - study.data.scores[study.data.val])
    np.testing.assert_allclose(bundle.residuals, np.sort(errors), atol=1e-6)
    np.testing.assert_allclose(bundle.baseline, study.data.scaled[study.data.train].mean(axis=0), atol=1e-6)


def test_a_bundle_says_what_it_was_made_with(trained):
    study, variant, _ = trained
    metadata = bundle_of(study, variant).metadata
    assert (metadata.seeds, metadata.made_by, metadata.untrained) == ([0, 1], "train", True)
    assert metadata.variant == as_json(variant)
    assert metadata.sources == {"scene": {"location": None, "sha256": None, "seed": 3}}
    assert list(metadata.tiers) == ["raw", "scene"]
    assert metadata.environments == {"raw": [None], "scene": [None]}, "made-up shards do not say"
    train = study.data.scores[study.data.train]
    assert metadata.trained_on == {
        "train_clips": 30,
        "val_clips": 10,
        "mean_score": float(train.mean()),
        "lowest_score": float(train.min()),
        "highest_score": float(train.max()),
    }
    assert metadata.versions == list_versions()
    assert {"torch", "ray", "pyarrow", "libavcodec"} <= set(metadata.versions)


def test_a_bundle_takes_the_pca_of_its_raw_tier_alone(trained):
    study, variant, _ = trained
    assert bundle_of(study, variant).files["hog_pca.json"] == b"hog_pca.json"
    scene = Variant("scene", ("scene",), training=variant.training)
    assert _read_artefacts(study.root, scene) == {}


def test_a_decay_rate_is_a_line_in_the_score(trained):
    """Rates drawn by hand as 0.5 - 0.3 score; of clips outside the train split none counts."""
    study, variant, _ = trained
    assert bundle_of(study, variant).metadata.decay is None, "the catalogue has no rates"
    catalogue = read_catalogue(study.root)
    is_train = [split == "train" for split in catalogue["split"].to_pylist()]
    rates = [0.5 - 0.3 * s if t else 9.0 for s, t in zip(catalogue["score"].to_pylist(), is_train, strict=True)]
    study.root.write_table(catalogue.append_column("alpha", pa.array(rates)), "catalogue.parquet")
    decay = bundle_of(study, variant).metadata.decay
    assert (decay["intercept"], decay["slope"], decay["r"]) == pytest.approx((0.5, -0.3, -1.0), abs=1e-5)
    assert decay["clips"] == 30
    few = [rate if k < 12 else None for k, rate in enumerate(rates)]  # nine of them train
    study.root.write_table(catalogue.append_column("alpha", pa.array(few, pa.float64())), "catalogue.parquet")
    assert bundle_of(study, variant).metadata.decay is None


def test_a_bundle_says_the_same_before_it_is_saved_and_after_it_is_loaded(trained):
    study, variant, _ = trained
    bundle = bundle_of(study, variant)
    bundle.save(study.root, "models", "small")
    loaded = Bundle.load(study.root.display("models", "small"))
    assert loaded.metadata == bundle.metadata
    assert (loaded.blocks, loaded.files, loaded.networks) == (bundle.blocks, bundle.files, bundle.networks)
    pd.testing.assert_frame_equal(loaded.score(study.data.features), bundle.score(study.data.features))
