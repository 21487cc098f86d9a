"""Which kind of file a shot goes to, and the sound that goes along."""

import pytest
from drawn_films import draw_film, encode_film

from m3ray.config import LimitsConfig
from m3ray.video.shots.written import MATROSKA, MOV, MP4, WEBM, choose_sound, cut_sound, list_containers
from m3ray.video.video_file import VideoFile

FILM = draw_film(1, [25])


@pytest.mark.parametrize(
    ("container", "codec", "kinds"),
    [
        ("mp4", "libx264", (MP4, MOV, MATROSKA)),
        ("webm", "libvpx", (WEBM, MATROSKA)),
        ("matroska", "libx264", (MATROSKA,)),
        ("mpegts", "libx264", (MATROSKA,)),
    ],
)
def test_kinds_of_files(container, codec, kinds):
    data = encode_film(FILM, codec=codec, container=container)
    with VideoFile(data, LimitsConfig()) as video:
        assert list_containers(video, data) == kinds


def test_sound_that_begins_within_the_shot_counts_from_its_start():
    with VideoFile(encode_film(FILM, sound="aac"), LimitsConfig()) as video, video.reopen() as file:
        packets = cut_sound(choose_sound(file), 0.4, 0.8)
        times = [float(packet.pts * packet.time_base) for packet in packets]
    assert 0 <= times[0] < 1024 / 48000, "AAC's packets have 1,024 samples"
    assert 0.4 - 1024 / 48000 <= times[-1] < 0.4
    assert cut_sound(None, 0, 1) == []
