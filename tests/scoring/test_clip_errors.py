"""Errors of one clip among several."""

import pytest

from m3ray.errors import DecodeError, FeatureError
from m3ray.scoring.clip_errors import name_clip, reason_of


@pytest.mark.parametrize("error", [DecodeError("damaged", "words\nand more", "demux"), FeatureError("words\nand more")])
def test_the_name_stands_before_the_message_and_not_in_the_reason(error):
    with pytest.raises(type(error), match=r"^a\.mp4: words") as caught, name_clip("a.mp4"):
        raise error
    assert reason_of(caught.value, "a.mp4") == "words and more"
