"""Cuts planted in drawn films and found again, at the times that a player shows."""

import numpy as np
import pytest
from drawn_films import draw_film, encode_film

from m3ray.config import DecodeConfig, LimitsConfig, SlidingWindowConfig
from m3ray.errors import DecodeError
from m3ray.video.sandbox import Decoder
from m3ray.video.shots import find
from m3ray.video.shots.every_frame import UNCERTAIN
from m3ray.video.shots.find import find_shots, find_shots_of_frames

CONFIG = SlidingWindowConfig(by="shots")


@pytest.fixture(scope="module")
def decoder():
    child = Decoder(DecodeConfig(size=32, window_frames=16), LimitsConfig())
    yield child
    child.close()


def test_planted_cuts_of_thirty_films_are_found_within_a_frame(decoder):
    hits = false = missed = 0
    for seed in range(30):
        rng, fps = np.random.default_rng(seed), (25, 30, 24, 12, 50)[seed % 5]
        lengths = np.maximum(rng.integers(10, 50, rng.integers(2, 6)), int(0.6 * fps))
        planted = np.cumsum(lengths)[:-1]
        found = find_shots(decoder, encode_film(draw_film(seed, lengths), fps), CONFIG)
        near = np.abs(found.frames[1:, None] - planted).min(axis=1, initial=99) <= 1
        hits, false = hits + near.sum(), false + (~near).sum()
        missed += sum(np.abs(found.frames - cut).min() > 1 for cut in planted)
        np.testing.assert_allclose(found.starts, found.frames / fps, atol=1e-3)
    assert hits + missed > 60
    assert hits / (hits + missed) >= 0.95, "recall"
    assert hits / (hits + false) >= 0.95, "precision"


def test_frames_of_changing_length_are_timed_by_their_own_clock(decoder):
    times = np.concatenate([np.arange(30) * 40, 1200 + np.arange(30) * 80])  # 40 ms each, then 80
    shots = find_shots(decoder, encode_film(draw_film(1, [30, 30]), times=times), CONFIG)
    assert shots.starts.tolist() == [0, 1.2]


def test_a_still_film_a_single_frame_and_an_image_are_one_shot(decoder):
    still = np.full((40, 48, 64, 3), 90, np.uint8)
    assert len(find_shots(decoder, encode_film(still), CONFIG)) == 1
    one = find_shots(decoder, encode_film(still[:1]), CONFIG)
    assert (len(one), one.shown) == (1, 1)
    # The smallest BMP: a header, and a picture of 16 x 16 white pixels.
    header = b"BM" + (54 + 768).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    header += (40).to_bytes(4, "little") + (16).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24)
    image = find_shots(decoder, header + b"\xff" * 768, CONFIG)
    assert (len(image), image.duration) == (1, 0.0)


def test_a_flash_is_no_cut_and_a_cut_near_the_end_joins_its_shot(decoder):
    film = draw_film(3, [80])
    film[40:42] = np.minimum(film[40:42].astype(int) + 170, 255)
    assert len(find_shots(decoder, encode_film(film), CONFIG)) == 1
    late = encode_film(draw_film(4, [60, 1]))
    assert len(find_shots(decoder, late, CONFIG)) == 1, "one frame is shorter than half a second"
    short = SlidingWindowConfig(by="shots", shortest=0.02)
    assert find_shots(decoder, late, short).frames.tolist() == [0, 60], "a cut at the last frame"


def test_slides_of_a_few_frames_a_second_are_told_apart(decoder):
    slides = encode_film(draw_film(5, [1] * 6), fps=1)
    assert find_shots(decoder, slides, CONFIG).starts.tolist() == [0, 1, 2, 3, 4, 5]


def test_frames_in_memory_have_the_shots_of_their_file(decoder):
    film = draw_film(6, [30, 45])
    assert find_shots_of_frames(film, 15.0, CONFIG).frames.tolist() == [0, 30]
    assert find_shots(decoder, encode_film(film, 15), CONFIG).frames.tolist() == [0, 30]


def test_what_cannot_be_decoded_is_told_and_the_next_clip_decoded(decoder):
    with pytest.raises(DecodeError) as error:
        find_shots(decoder, b"no video", CONFIG)
    assert error.value.reason == "not_a_video"
    assert len(find_shots(decoder, encode_film(draw_film(7, [20])), CONFIG)) == 1


def test_where_threads_hide_what_is_damaged_one_thread_tells(decoder, monkeypatch):
    asked = []

    def show(_decoder, _data, _detector, threads):
        asked.append(threads)
        raise DecodeError(UNCERTAIN if threads > 1 else "damaged", "words")

    monkeypatch.setattr(find, "_show", show)
    monkeypatch.setattr(decoder, "threads", 4)
    with pytest.raises(DecodeError, match="words") as error:
        find_shots(decoder, b"", CONFIG)
    assert (asked, error.value.reason) == ([4, 1], "damaged")
