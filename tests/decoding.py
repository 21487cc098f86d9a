"""Decoding with the settings that a job has by default."""

import pytest

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError

CONFIG, LIMITS = DecodeConfig(), LimitsConfig()


def reason_of(decoder, data):
    """The reason with which the decoder rejects the bytes of a clip."""
    with pytest.raises(DecodeError) as caught:
        list(decoder.windows(data))
    return caught.value.reason
