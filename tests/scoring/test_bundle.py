import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from m3ray.errors import BundleError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle, conformal_half_width, describe_bundle, describe_software
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.storage.root import Root
from m3ray.storage.tier_index import TierEntry
from m3ray.storage.versions import software_versions

BLOCKS = (Block("raw", ("a", "b"), True), Block("text", ("t",), False), Block("noise", ("n",), False))


def bundle(runs=3, planted=False):
    rng = np.random.default_rng(0)
    model = StackedMLP(4, (8,), list(range(runs)))
    if planted:  # only column t matters
        with torch.no_grad():
            model.weights[0][:, :, [0, 1, 3]] = 0
    scaling = Scaling(np.array([1, 2, 0, 0], np.float32), np.array([2, 4, 1, 1], np.float32))
    return Bundle(
        name="small",
        model=model,
        blocks=BLOCKS,
        scaling=scaling,
        baseline=np.array([0, 0, 0.5, -0.5], np.float32),
        residuals=np.sort(rng.random(40)).astype(np.float32),
        metadata=BundleMetadata(untrained=True),
        files={"hog_pca.json": b"{}"},
    )


def clips(count=20, seed=1):
    values = np.random.default_rng(seed).standard_normal((count, 4)).astype(np.float32)
    return Features(tuple(f"c{k}" for k in range(count)), values, BLOCKS)


def test_the_score_is_the_mean_of_the_runs():
    small, some = bundle(), clips()
    scaled = torch.from_numpy((some.values - small.scaling.mean) / small.scaling.deviation)
    with torch.no_grad():
        runs = torch.stack([small.model.extract_run(k)(scaled) for k in range(3)]).double().numpy()
    frame = small.score(some)
    np.testing.assert_allclose(frame["score"], runs.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(frame["spread"], runs.std(axis=0, ddof=1), atol=1e-6)


def test_shares_sum_to_score_minus_baseline():
    small = bundle()
    frame = small.score(clips())
    shares = frame[["share_raw", "share_text", "share_noise"]].sum(axis=1)
    np.testing.assert_allclose(shares, frame["score"] - small.baseline_score(), atol=1e-5)


def test_a_planted_tier_gets_the_largest_share():
    frame = bundle(planted=True).score(clips())
    assert frame["share_text"].abs().min() > 0
    assert frame[["share_raw", "share_noise"]].abs().max().max() < 1e-6


def test_bundles_survive_a_round_trip(tmp_path):
    small = bundle()
    small.save(Root(str(tmp_path)), "models", "small")
    again = Bundle.load(str(tmp_path / "models" / "small"))
    assert again.score(clips()).equals(small.score(clips()))
    assert again.files == {"hog_pca.json": b"{}"}
    assert again.untrained


def test_damaged_bundles_are_refused(tmp_path):
    small = bundle()
    small.save(Root(str(tmp_path)), "b")
    path = tmp_path / "b" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="was changed since"):
        Bundle.load(str(tmp_path / "b"))
    path.unlink()
    with pytest.raises(BundleError, match="is missing"):
        Bundle.load(str(tmp_path / "b"))
    facts = json.loads((tmp_path / "b" / "bundle.json").read_text())
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(BundleError, match="upgrade m3ray"):
        Bundle.load(str(tmp_path / "b"))
    with pytest.raises(BundleError, match="no bundle at"):
        Bundle.load(str(tmp_path / "none"))


def test_other_features_are_refused():
    other = Features(("c",), np.zeros((1, 2), np.float32), BLOCKS[:1])
    with pytest.raises(FeatureError, match=r"sees raw \(2\), text \(1\), noise \(1\); got raw \(2\)"):
        bundle().score(other)


def test_conformal_intervals_cover_what_they_say():
    """2,000 rows, 1,000 to calibrate; coverage is an expectation over draws, so 20 of them: 90 % +- 2."""
    covered = []
    for seed in range(20):
        errors = np.abs(np.random.default_rng(seed).standard_normal(2000))
        covered.append(np.mean(errors[1000:] <= conformal_half_width(np.sort(errors[:1000]))))
    assert abs(np.mean(covered) - 0.9) < 0.02


def test_too_few_residuals_give_the_widest_interval():
    assert conformal_half_width(np.array([0.1] * 5)) == 1.0


def made_with(environments, **metadata):
    tiers = {"raw": TierEntry("raw-1"), "text": TierEntry("text-1", user_provided=True)}
    return replace(bundle(), metadata=BundleMetadata(False, tiers, environments=environments, **metadata))


def test_a_bundle_of_other_software_says_so_in_a_line_and_scores():
    now = software_versions()
    other = made_with({"raw": [{**now, "torch": "2.0.1"}, {**now, "opencv": "3.4.0"}]})
    line = describe_bundle(other)
    assert f"PyTorch 2.0.1 then and {now['torch']} now" in line
    assert line.count("PyTorch 2.0.1 then") == line.count("OpenCV 3.4.0 then") == 1
    assert "\n" not in line
    assert len(other.score(clips())) == 20


def test_a_bundle_of_the_same_software_or_of_none_noted_says_nothing():
    now = software_versions()
    for noted in (
        {"raw": [now]},
        {"raw": [None]},
        {},
        {"raw": [{**now, "numpy": "1.0.0"}]},
        {"text": [{"torch": "1"}]},
    ):
        assert describe_software(made_with(noted)) is None
    assert describe_software(bundle()) is None


def test_older_bundles_name_the_software_that_trained_them():
    older = made_with({}, versions={"python": "3.9.1", "torch": "2.0.1", "av": software_versions()["av"]})
    assert "PyTorch 2.0.1 then" in describe_software(older)


def test_what_a_bundle_was_made_with_survives_a_round_trip(tmp_path):
    made_with({"raw": [{"torch": "2.0.1"}]}).save(Root(str(tmp_path)), "b")
    assert "PyTorch 2.0.1 then" in describe_bundle(Bundle.load(str(tmp_path / "b")))
