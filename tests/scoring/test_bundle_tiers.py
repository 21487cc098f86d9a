"""What a bundle sees of a clip: its columns in the model's order, similarity of new clips, its tiers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_bundles import make_bundle, make_pretrained

from m3ray.config import CaptionsConfig, SimilarityConfig, TierConfigs, TrainConfig
from m3ray.datasets.catalogue import write_catalogue
from m3ray.errors import BundleError, FeatureError, WeightsError
from m3ray.features.captions import update_captions_tier
from m3ray.features.load import load_data
from m3ray.features.matrix import Block
from m3ray.schema import Clip, catalogue_table
from m3ray.scoring.build import make_bundle as make_trained_bundle
from m3ray.scoring.bundle import Bundle
from m3ray.scoring.bundle_tiers import (
    compute_captions,
    compute_similarity,
    load_captions,
    load_similarity,
    make_bundle_tiers,
    select_features,
)
from m3ray.scoring.score_root import score_clips
from m3ray.scoring.scorer import Scorer
from m3ray.similarity.fitted import FittedSimilarity
from m3ray.storage.root import Root
from m3ray.storage.tier_index import read_tier_index
from m3ray.study.store import write_trial
from m3ray.study.study import Study
from m3ray.study.trial import run_trial
from m3ray.study.variants import full_model
from m3ray.tiers import WeightSource
from m3ray.tiers.pretrained.tier import ScorerTier


def test_columns_are_selected_by_tier_and_name_in_the_model_s_order():
    blocks = (Block("raw", ("hog_1", "brightness"), True), Block("text", ("length",), False))
    columns = {
        "raw/brightness": np.array([1.0, 2.0]),
        "raw/hog": np.array([[3.0, 4.0], [5.0, 6.0]]),
        "text/length": np.array([7.0, 8.0]),
        "scene/brightness": np.array([9.0, 9.0]),
    }
    features = select_features(make_bundle(blocks), ["a", "b"], columns)
    assert features.clip_ids == ("a", "b")
    assert features.values.tolist() == [[4, 1, 7], [6, 2, 8]]
    assert features.blocks == blocks


def test_similarity_of_new_clips_is_the_fitted_measure_s():
    rng = np.random.default_rng(0)
    train = {"scene": rng.standard_normal((30, 12))}
    config = SimilarityConfig(measure="cosine_mean", sources=("scene",), components=3)
    fitted = FittedSimilarity.fit(config, train, None, [])
    new = rng.standard_normal((4, 12))
    columns = compute_similarity(fitted, {"scene/scene": new, "raw/brightness": np.zeros(4)})
    expected = fitted.transform({"scene": new})
    assert list(columns) == [f"similarity/{name}" for name in fitted.columns]
    np.testing.assert_array_equal(np.stack(list(columns.values()), axis=1), expected)
    tensors, text = fitted.to_bytes()
    bundle = make_bundle()
    assert load_similarity(bundle) is None
    bundle = Bundle(**{**vars(bundle), "files": {"similarity.safetensors": tensors, "similarity.json": text}})
    np.testing.assert_allclose(load_similarity(bundle).transform({"scene": new}), expected)


def test_a_pretrained_scorer_sees_its_output_and_its_spread():
    bundle = make_pretrained()
    columns = {
        "resmem/resmem_hidden": np.ones((2, 256)),
        "resmem/resmem": np.array([0.5, 0.7]),
        "resmem/resmem_spread": np.array([0.1, 0.0]),
    }
    features = select_features(bundle, ["a", "b"], columns)
    np.testing.assert_allclose(features.values, [[0.5, 0.1], [0.7, 0.0]])
    assert load_similarity(bundle) is None


def find_here(monkeypatch, digest):
    """The package of a pretrained scorer is installed in another place than the bundle's, with weights of this hash."""
    found = WeightSource("/here/model.pt", digest)
    monkeypatch.setattr("m3ray.scoring.bundle_tiers.find_weights", lambda name, *, allow_other: found)


def test_a_pretrained_scorer_s_tier_has_its_weights_wherever_they_are_installed(monkeypatch):
    find_here(monkeypatch, make_pretrained().facts.sha256)
    configs, (tier,) = make_bundle_tiers(make_pretrained())
    assert isinstance(tier, ScorerTier)
    assert tier.source.location == "/here/model.pt"
    assert tier.name == "resmem"
    assert not tier.untrained
    assert tier.identity()["weights"] == {"sha256": make_pretrained().facts.sha256}
    assert configs.decode.size == 256, "size of a frame, docs/design.md"


def test_weights_of_another_hash_than_the_bundle_s_are_an_error(monkeypatch):
    find_here(monkeypatch, "a" * 64)
    with pytest.raises(WeightsError, match=r"model.pt has SHA-256 a{64}, and the bundle was made with .*resmem 1"):
        make_bundle_tiers(make_pretrained())


def test_a_baseline_that_an_older_bundle_names_need_not_be_installed(monkeypatch):
    """Its weights were recorded with those of the study's other tiers, and the bundle does not see it."""

    def find(name, *, allow_other):
        raise WeightsError(f"{name} is not installed")

    monkeypatch.setattr("m3ray.scoring.bundle_tiers.find_weights", find)
    sources = {
        "resmem": {"location": "model.pt", "sha256": "b" * 64, "seed": 0},
        "scene": {"location": None, "sha256": None, "seed": 3},
    }
    _, (tier,) = make_bundle_tiers(make_bundle((Block("scene", ("scene_0",), False),), sources=sources))
    assert (tier.name, vars(tier)["source"]) == ("scene", WeightSource(seed=3))


WORDS = ("dog", "cat", "boat", "park", "night", "rain", "runs", "sleeps")


def made_captions_root(folder, marked=False):
    """A root whose clips have captions of three words, and scores by their words; `marked`: a train clip has none."""
    rng = np.random.default_rng(0)
    weights, clips = dict(zip(WORDS, rng.normal(0, 0.1, len(WORDS)), strict=True)), []
    for k in range(60):
        words = [str(word) for word in rng.choice(WORDS, 3)]
        score = float(np.clip(0.6 + sum(weights[word] for word in words), 0, 1))
        own = [] if marked and k == 1 else [" ".join(words)]
        clips.append(Clip(f"c{k:02d}", "", "train" if k % 4 else "val", score, extra={"captions": own}))
    clips.append(Clip("new", "", "test", None, extra={"captions": ["a dog runs", "at night"]}))
    root, table = Root(str(folder)), catalogue_table(clips)
    write_catalogue(root, table, 0)
    update_captions_tier(root, table, CaptionsConfig(components=5))
    return root


def train_captions(root):
    study = Study(root, "small", load_data(root, ["captions"]), (0, 1))
    variant = replace(full_model(["captions"]), training=TrainConfig(hidden=(8,), epochs=2))
    write_trial(study, variant, run_trial(variant, study.data, study.seeds, torch.device("cpu")))
    return make_trained_bundle(study, variant, TierConfigs(), {}, "small", "train")


@pytest.mark.parametrize("marked", [False, True])
def test_a_new_clip_with_captions_scores_as_its_row_in_the_root(tmp_path, marked):
    """The bundle, saved and opened anew, computes captions as the root did: to the last bit."""
    root = made_captions_root(tmp_path / "root", marked)
    train_captions(root).save(root, "models", "small")
    with Scorer(str(tmp_path / "root/models/small")) as scorer:
        captions = [["a dog runs", "at night"], "the cat sleeps", None]
        rows = scorer.predict(["new.mp4", "b.mp4", "c.mp4"], tiers={"captions": captions})
        again = score_clips(scorer.bundle, root).set_index("clip_id")
    assert rows["score"][0] == again.loc["new", "score"]
    assert rows["score"].notna().all()
    assert rows["score"].nunique() == 3
    assert ("has_caption" in scorer.bundle.blocks[0].names) is marked


def test_captions_that_do_not_suit_are_told(tmp_path):
    root = made_captions_root(tmp_path / "root")
    bundle = train_captions(root)
    assert load_captions(bundle).sha256 == read_tier_index(root)["captions"].identity["fit"]
    for given, got in ((None, "nothing"), ("a dog", "one text"), (["a", "b"], "2 entries")):
        with pytest.raises(FeatureError, match=rf"small sees captions: give predict.* with 3, .*got {got}"):
            compute_captions(bundle, given, 3)
    assert compute_captions(make_bundle(), ["a"], 1) == {}


def test_captions_of_another_fit_are_refused(tmp_path):
    bundle = train_captions(made_captions_root(tmp_path / "a"))
    with pytest.raises(BundleError, match="small was trained on another captions than this: fit: "):
        score_clips(bundle, made_captions_root(tmp_path / "b", marked=True))
