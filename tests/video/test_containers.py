"""Which container a file is, by its content."""

import pytest
from decoding import reason_of
from drawn import pictures
from hostile import encoded

from m3ray.video.containers import detect_container


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("matroska", "libx264", "matroska"),
        ("avi", "mpeg4", "avi"),
        ("mpegts", "libx264", "mpegts"),
        ("mpeg", "mpeg2video", "mpeg"),
        ("gif", "gif", "gif"),
        ("webm", "libvpx", "matroska"),
    ],
)
def test_every_allowed_container(decoder, container, codec, name):
    data = encoded(pictures(20), container, codec, 25 if container == "mpeg" else 10)
    assert detect_container(data) == name
    metadata, frames = next(decoder.windows(data))
    assert metadata.frames == 20
    assert frames[-1].mean() > frames[0].mean() + 50


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"hello, I am a text named clip.mp4\n" * 9, "not_a_video"),
        (b"#EXTM3U\n#EXTINF:2,\n/etc/passwd\n", "not_a_video"),
        (b"ffconcat version 1.0\nfile other.mp4\n", "not_a_video"),
        (b"\x00\x00\x00\x20ftypisom" + b"\x00" * 200, "unreadable"),
        (b"\x1a\x45\xdf\xa3" + b"\xff" * 300, "unreadable"),
        (b"GIF89a" + b"\x00" * 50, "unreadable"),
    ],
)
def test_what_is_not_a_video_is_rejected_with_a_reason(decoder, data, reason):
    assert reason_of(decoder, data) == reason
