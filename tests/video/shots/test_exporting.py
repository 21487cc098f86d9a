"""Files of shots as they come out of the decoding child."""

import numpy as np
import pytest
from drawn_films import decode_film, draw_film, encode_film

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.sandbox import Decoder
from m3ray.video.shots.exporting import write_shots


def test_shots_in_any_order_come_under_their_own_numbers():
    data = encode_film(draw_film(1, [20, 20]), g="10", sc_threshold="0", bf="0")
    decoder = Decoder(DecodeConfig(), LimitsConfig())
    try:
        files = dict(write_shots(decoder, data, [(20, 40), (0, 20)]))
        whole = decode_film(data)
        np.testing.assert_array_equal(decode_film(files[0].data), whole[20:])
        np.testing.assert_array_equal(decode_film(files[1].data), whole[:20])
        with pytest.raises(DecodeError) as error:
            list(write_shots(decoder, b"no video", [(0, 1)]))
        assert error.value.reason == "not_a_video"
    finally:
        decoder.close()


def test_a_child_that_answers_with_another_kind_of_file_is_not_trusted():
    class Broken:
        limits = LimitsConfig()

        def ask(self, *_, **__):
            yield {"number": 0, "suffix": "/../x.sh", "how": "copied", "sound": False}, bytearray(b"x")

    with pytest.raises(DecodeError, match="answers with a file"):
        list(write_shots(Broken(), b"", [(0, 1)]))
