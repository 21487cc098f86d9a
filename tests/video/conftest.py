import pytest
from decoding import CONFIG, LIMITS

from m3ray.video.sandbox import Decoder


@pytest.fixture(scope="module")
def decoder():
    decoder = Decoder(CONFIG, LIMITS)
    yield decoder
    decoder.close()
