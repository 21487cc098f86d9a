"""Every frame of a video, small, upright, with the times that a player shows."""

import numpy as np
import pytest
from drawn_films import decode_film, draw_film, encode_film

from m3ray.config import LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.shots.every_frame import BATCH, decode_every_frame


def test_all_frames_come_in_order_with_their_times():
    film = draw_film(1, [80], height=48, width=64)
    data = encode_film(film, times=np.arange(80) * 40 + np.arange(80) // 40 * 10, bf="3")
    *batches, timeline = decode_every_frame(data, LimitsConfig(), 48, 64)
    assert [len(batch) for batch in batches] == [BATCH, 80 - BATCH]
    np.testing.assert_array_equal(np.concatenate(batches), decode_film(data))
    assert len(timeline.times) == 80
    assert timeline.times[[0, 1, 40]].tolist() == pytest.approx([0, 0.04, 1.61])
    assert timeline.duration == pytest.approx(3.21, abs=0.011)


def test_limits_hold():
    data = encode_film(draw_film(2, [50]))
    with pytest.raises(DecodeError) as error:
        list(decode_every_frame(data, LimitsConfig(max_seconds=1.0), 27, 48))
    assert error.value.reason == "too_long"
