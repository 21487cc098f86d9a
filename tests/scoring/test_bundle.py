import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from m3ray.errors import BundleError, ConfigError, FeatureError
from m3ray.features.dataset import Scaling
from m3ray.features.matrix import Block, Features
from m3ray.model import StackedMLP
from m3ray.scoring.bundle import Bundle, describe_bundle, describe_software
from m3ray.scoring.bundle_metadata import BundleMetadata
from m3ray.scoring.intervals import IntervalRule
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


def test_an_older_bundle_has_one_half_width_for_all(tmp_path):
    """As it did: the 37th of 40 residuals, ceil(41 x 0.9), either side of the score."""
    small = bundle()
    frame = small.score(clips())
    half = float(small.residuals[36])
    np.testing.assert_allclose(frame["low"], np.clip(frame["score"] - half, 0, 1))
    np.testing.assert_allclose(frame["high"], np.clip(frame["score"] + half, 0, 1))
    assert "90 % intervals of one width, calibrated on val (40 clips)" in describe_bundle(small)


def test_intervals_with_a_rule_follow_it_and_come_back_from_disk(tmp_path):
    rule = IntervalRule(np.array([0.4, 0.6]), np.array([-0.2, -0.1]), np.array([0.1, 0.3]))
    calibration = np.array([[0.5, 0.6], [0.4, 0.7]], np.float32)
    small = replace(bundle(), intervals=rule, calibration=calibration)
    frame = small.score(clips())
    low, high = rule(frame["score"].to_numpy())
    np.testing.assert_array_equal(frame[["low", "high"]].to_numpy().T, [np.clip(low, 0, 1), np.clip(high, 0, 1)])
    small.save(Root(str(tmp_path)), "b")
    again = Bundle.load(str(tmp_path / "b"))
    assert again.score(clips()).equals(frame)
    np.testing.assert_array_equal(again.calibration, calibration)
    assert "intervals.safetensors" not in again.files
    assert "90 % intervals adaptive" in describe_bundle(again)


def test_with_too_few_clips_an_interval_is_all_that_a_score_can_be():
    few = replace(bundle(), residuals=np.array([0.1] * 5, np.float32))
    frame = few.score(clips())
    assert (frame["low"] == 0).all()
    assert (frame["high"] == 1).all()
    assert "intervals undefined: 5 clips to calibrate them on (val), 9 are the fewest" in describe_bundle(few)


def test_other_targets_are_in_their_own_units():
    """A decay rate between -0.004 and 0.002: the score's number mapped, shares with it, and nothing cut off at 0."""
    small = bundle()
    target = {"name": "alpha", "low": -0.004, "high": 0.002}
    mapped = replace(
        small,
        metadata=replace(small.metadata, target=target),
        intervals=IntervalRule(np.zeros(1), np.array([-1.0]), np.array([2.0])),
    )
    plain, frame = small.score(clips()), mapped.score(clips())
    np.testing.assert_allclose(frame["score"], -0.004 + 0.006 * plain["score"])
    np.testing.assert_allclose(frame["spread"], 0.006 * plain["spread"])
    np.testing.assert_allclose(frame["share_text"], 0.006 * plain["share_text"], atol=1e-12)
    np.testing.assert_allclose(mapped.baseline_score(), -0.004 + 0.006 * small.baseline_score())
    np.testing.assert_allclose(frame["low"], frame["score"] - 1)
    np.testing.assert_allclose(frame["high"], frame["score"] + 2)
    assert "predicts alpha" in describe_bundle(mapped)


def test_an_older_bundle_with_a_run_that_diverged_loses_it_and_says_so(tmp_path, caplog):
    small = replace(bundle(), metadata=BundleMetadata(untrained=False, seeds=[5, 6, 7]))
    expected = small.model.extract_run(0), small.model.extract_run(2)
    with torch.no_grad():
        small.model.weights[1][1, 0, 0] = float("nan")
    broken = replace(small, residuals=np.full(40, np.nan, np.float32))
    broken.save(Root(str(tmp_path)), "b")
    loaded = Bundle.load(str(tmp_path / "b"))
    frame = loaded.score(clips())
    scaled = torch.from_numpy(small.scaling(clips().values))
    with torch.no_grad():
        mean = (expected[0](scaled) + expected[1](scaled)) / 2
    np.testing.assert_allclose(frame["score"], mean, atol=1e-6)
    assert (loaded.metadata.seeds, loaded.metadata.dropped_runs) == ([5, 7], [6])
    line = describe_bundle(loaded)
    assert "2 runs; 1 more run diverged and was dropped (seed 6)" in line
    assert "intervals undefined: 0 clips" in line, "its residuals were none"


def test_scores_at_a_delay_follow_the_rates_of_the_features():
    """By hand: a rate of 0.001 a unit of column t less 0.002, 40 videos later."""
    small = bundle()
    decay = {"intercept": 0.01, "slope": -0.02, "predicted_from": "features", "r_line": 0.1, "r_features": 0.5}
    by_line = replace(small, metadata=replace(small.metadata, decay=decay))
    by_features = replace(by_line, decay_weights=np.array([0, 0, 0.001, 0, -0.002], np.float32))
    some = clips()
    line, features = by_line.score(some, (120, 80)), by_features.score(some, (120, 80))
    np.testing.assert_allclose(line["decay"], 0.01 - 0.02 * line["score"])
    np.testing.assert_allclose(features["decay"], 0.001 * some.values[:, 2] - 0.002, atol=1e-8)
    for frame in (line, features):
        np.testing.assert_allclose(frame["score_at_delay"], np.clip(frame["score"] + 40 * frame["decay"], 0, 1))
    assert "decay from the clip's features" in describe_bundle(by_features)
    assert "score_at_delay" not in by_line.score(some)
    with pytest.raises(ConfigError, match="without decay rates"):
        small.score(some, (120, 80))


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
