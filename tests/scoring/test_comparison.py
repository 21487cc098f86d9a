"""Rankings with probabilities: against simulation, for bundles of all kinds, in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_bundles import make_bundle, make_pretrained

from m3ray.errors import ConfigError
from m3ray.scoring.comparison import compare, describe_pair, describe_probabilities, find_best, fit_truth, format_chance

RNG = np.random.default_rng(0)


def calibrated(clips=400, deviation=0.1, **metadata):
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.3, 0.9, clips)
    truth = np.clip(scores + deviation * rng.standard_normal(clips), 0, 1)
    bundle = make_bundle(**metadata)
    residuals = np.sort(np.abs(scores - truth)).astype(np.float32)
    return replace(bundle, calibration=np.stack([scores, truth]).astype(np.float32), residuals=residuals)


def table(scores, **columns):
    return pd.DataFrame({"clip_id": [f"{k}.mp4" for k in range(len(scores))], "score": scores, **columns})


def test_the_highest_score_is_first_with_its_lead_and_the_odds():
    frame = compare(table([0.5, 0.8, 0.55], spread=[0.01, 0.02, 0.03]), calibrated())
    assert frame["clip_id"].tolist() == ["1.mp4", "2.mp4", "0.mp4"]
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["spread"].tolist() == [0.02, 0.03, 0.01]
    np.testing.assert_allclose(frame["lead"], [0.25, 0.05, np.nan])
    assert frame["p_next"][0] > 0.93
    assert 0.55 < frame["p_next"][1] < 0.7
    assert np.isnan(frame["p_next"][2])
    assert frame["p_best"].sum() == pytest.approx(1)


def test_the_odds_of_being_best_are_those_of_a_simulation():
    """100,000 draws of the same distributions; 3 standard errors of a share are 0.005."""
    model, scores = fit_truth(calibrated()), np.array([0.8, 0.75, 0.74, 0.6, 0.3])
    values = model.draw(scores)
    rng = np.random.default_rng(1)
    drawn = np.stack([rng.choice(row, 100_000) for row in values])
    best = (drawn == drawn.max(axis=0)) / (drawn == drawn.max(axis=0)).sum(axis=0)
    np.testing.assert_allclose(find_best(model, scores), best.mean(axis=1), atol=0.01)


def test_many_clips_are_ranked_and_those_far_down_cannot_be_best():
    frame = compare(table(np.random.default_rng(0).uniform(0.2, 0.9, 3000)), calibrated())
    assert frame["p_best"].sum() == pytest.approx(1)
    assert (frame["p_best"][600:] == 0).all()
    assert frame["p_next"].between(0.3, 0.7).mean() > 0.99, "3,000 clips stand close together"


def test_equal_scores_share_a_rank_and_clips_without_a_score_come_last():
    frame = compare(table([0.5, np.nan, 0.7, 0.7]), calibrated())
    assert frame["clip_id"].tolist() == ["2.mp4", "3.mp4", "0.mp4", "1.mp4"]
    assert frame["rank"].tolist()[:3] == [1, 1, 3]
    assert frame["rank"].isna().tolist() == [False, False, False, True]
    assert frame["p_next"][0] == 0.5
    assert np.isnan(frame[["lead", "p_next"]].iloc[2:]).all(axis=None)
    for scores in ([], [0.5], [np.nan, np.nan]):
        assert len(compare(table(scores), calibrated())) == len(scores)


def test_what_was_compared_is_compared_anew():
    once = compare(table([0.5, 0.8]), calibrated())
    pd.testing.assert_frame_equal(compare(once, calibrated()), once)


def put_in_words(frame, bundle):
    first, second = frame.to_dict("records")
    return describe_pair(first, second, bundle)


def test_a_pretrained_scorer_gives_an_order_without_odds():
    bundle = make_pretrained()
    frame = compare(table([0.5, 0.8]), bundle)
    assert frame["rank"].tolist() == [1, 2]
    assert frame[["p_next", "p_best"]].isna().all(axis=None)
    assert describe_probabilities(bundle).startswith("no probabilities: it was not calibrated here")
    line = put_in_words(frame, bundle)
    assert line == "1.mp4 scores higher than 0.mp4: 0.800 against 0.500, by 0.300"


def test_few_calibration_clips_give_none_or_say_how_few_they_are():
    assert "no probabilities: 8 clips to calibrate them on, 9 are the fewest" in describe_probabilities(calibrated(8))
    assert compare(table([0.5, 0.8]), calibrated(8))["p_next"].isna().all()
    assert "(12 clips); so few of them say little" in describe_probabilities(calibrated(12, calibrated_on="val"))
    assert describe_probabilities(calibrated(400)) == "probabilities calibrated on val (400 clips)"


def test_truths_that_are_all_alike_give_no_odds_and_the_reason():
    bundle = calibrated(50)
    alike = replace(bundle, calibration=np.stack([bundle.calibration[0], np.full(50, 0.5, np.float32)]))
    assert compare(table([0.6, 0.4]), alike)[["p_next", "p_best"]].isna().all(axis=None)
    assert describe_probabilities(alike) == (
        "no probabilities: the true scores of all 50 clips to calibrate them on are alike"
    )
    exact = replace(make_bundle(), residuals=np.zeros(20, np.float32))
    assert describe_probabilities(exact).endswith("all 20 clips to calibrate them on were predicted without an error")


def test_a_clip_with_an_unknown_score_or_spread_harms_no_other():
    model, scores = fit_truth(calibrated()), np.array([0.8, 0.75, 0.6])
    with_unknown = find_best(model, np.array([0.8, np.nan, 0.75, 0.6, np.inf]))
    np.testing.assert_array_equal(with_unknown[[0, 2, 3]], find_best(model, scores))
    assert np.isnan(with_unknown[[1, 4]]).all()
    assert np.isnan(find_best(model, np.full(3, np.nan))).all()
    rng = np.random.default_rng(0)
    bundle = replace(calibrated(), calibration_spread=rng.uniform(0.01, 0.1, 400).astype(np.float32))
    bundle.calibration_spread[0] = np.nan
    frame = compare(table([0.5, 0.8, 0.6], spread=[np.nan, 0.02, 0.03]), bundle)
    assert frame["p_next"].isna().tolist() == [False, False, True]
    assert frame["p_best"].sum() == pytest.approx(1)


def test_an_older_bundle_goes_by_the_size_of_its_errors():
    """Errors of 0 to 0.1, either way: their differences are below 0.2, and have deviation 0.1 / sqrt(3) sqrt(2)."""
    old = make_bundle()
    assert old.calibration is None
    frame = compare(table([0.8, 0.55]), old)
    assert frame["p_next"][0] > 0.99
    close = compare(table([0.8, 0.75]), old)["p_next"][0]
    assert close == pytest.approx(0.5 + (0.05 * 0.2 - 0.05**2 / 2) / 0.2**2, abs=0.03)  # of a triangle's area


def test_words_for_two_clips():
    bundle = calibrated()
    sure = compare(table([0.5, 0.8]), bundle)
    assert put_in_words(sure, bundle).startswith(
        "1.mp4 is more memorable than 0.mp4: 0.800 against 0.500, by 0.300, with"
    )
    close = compare(table([0.50, 0.51]), bundle)
    assert put_in_words(close, bundle).startswith(
        "cannot say which is ahead: that 1.mp4 (0.510) is more memorable than 0"
    )
    same = compare(table([0.5, 0.5]), bundle)
    assert put_in_words(same, bundle) == "cannot say which is ahead: 0.mp4 and 1.mp4 score alike, 0.500"
    other = calibrated(target={"name": "d_prime", "low": 0.0, "high": 4.0})
    assert "1.mp4 has a higher d_prime than 0.mp4" in put_in_words(sure, other)


@pytest.mark.parametrize(
    ("chance", "text"), [(0.834, "83 %"), (0.999, "over 99 %"), (0.001, "under 1 %"), (0.5, "50 %")]
)
def test_no_certainty_is_claimed(chance, text):
    assert format_chance(chance) == text


def test_a_table_without_scores_is_an_error():
    with pytest.raises(ConfigError, match="lacks score: give what predict wrote"):
        compare(pd.DataFrame({"clip_id": ["a"]}), calibrated())
