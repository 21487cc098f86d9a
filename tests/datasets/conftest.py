import pytest
from drawn import pictures

from m3ray.video.encode import encode_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    path.write_bytes(encode_clip(pictures(3), 10))
    return path
