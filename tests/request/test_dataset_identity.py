"""Features that were made otherwise than a bundle's are refused with words."""

from types import SimpleNamespace

import pytest

from m3ray.errors import BundleError
from m3ray.scoring.score_root import check_identity

THEN = {"tier": "scene", "code": 1, "config": {"precision": "float32"}, "weights": "abc"}
BUNDLE = SimpleNamespace(name="m3s", facts={"tiers": {"scene": {"identity": THEN}}})


def test_the_same_features_pass():
    check_identity(BUNDLE, "scene", dict(THEN))
    check_identity(BUNDLE, "event", {"tier": "event"})  # one that only similarity looks at, from its own fit


@pytest.mark.parametrize("change", [{"weights": "def"}, {"config": {"precision": "bfloat16"}}, {"code": 2}])
def test_others_are_refused_and_the_difference_named(change):
    (key, value), *_ = change.items()
    with pytest.raises(BundleError, match=rf"m3s was trained on another scene than this: {key}: .* then, ") as caught:
        check_identity(BUNDLE, "scene", THEN | change)
    assert repr(value) in str(caught.value)
