"""Windows while a clip is decoded, and several threads: the same as in two passes and with one, or an error."""

from dataclasses import replace

import numpy as np
import pytest
from decoding import CONFIG, LIMITS
from ramp_matrix import RAMPS, B, steady

from m3ray.errors import DecodeError
from m3ray.video import decode as decoding
from m3ray.video.decode import decode
from m3ray.video.sampling import UNFORESEEN_TIMES
from m3ray.video.sandbox import Decoder

SHORT = replace(CONFIG, size=32, window_frames=2)  # so that every ramp is longer than what is held whole
FAST = [
    "mp4 h264 b", "mp4 hevc open", "mp4 h264 b uneven", "mp4 hevc b trimmed at both ends", "mkv h264 open",
    "webm vp8 hidden", "webm vp9", "avi h264 b", "avi mpeg4 b", "avi mpeg4 drops", "ts h264 joined", "mpg mpeg2 open",
    "flv h264 b", "wmv wmv2", "gif uneven",
]  # fmt: skip
# Their first packets cannot be decoded, so that frames are shown earlier than foretold.
MISLED = [name for name in RAMPS if "begun amid" in name]


def read(data, config=SHORT, **options):
    """What was yielded, comparable by ==, and the reason of the error that ended it."""
    found = []
    try:
        for metadata, frames in decode(data, config, LIMITS, **options):
            found.append((metadata, frames.tobytes()))
    except DecodeError as error:
        return found, error.reason
    return found, None


def cases(names):
    return [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in names]


@pytest.mark.parametrize("name", cases(name for name in RAMPS if name not in MISLED))
def test_one_pass_gives_what_two_give(name):
    data = RAMPS[name]().data  # type: ignore[operator]
    assert read(data, extent="in_one_pass") == read(data)


@pytest.mark.parametrize("name", MISLED)
def test_what_the_packets_do_not_foretell_ends_it_before_the_last_window(name):
    data = RAMPS[name]().data  # type: ignore[operator]
    windows, reason = read(data, extent="in_one_pass")
    assert reason == UNFORESEEN_TIMES
    assert len(windows) < len(read(data)[0])


def test_a_long_clip_is_decoded_once(monkeypatch):
    """Frames decoded: 60 in one pass; in two, all of them twice but the one after the last that is due."""
    data, counts = RAMPS["mp4 h264 b"]().data, {}  # type: ignore[operator]
    shown = decoding.decode_shown_frames

    def counted(video):
        for frame in shown(video):
            counts[extent] = counts.get(extent, 0) + 1
            yield frame

    monkeypatch.setattr(decoding, "decode_shown_frames", counted)
    for extent in ("in_one_pass", "all"):
        assert len(read(data, extent=extent)[0]) == 15
    assert counts == {"in_one_pass": 60, "all": 60 + 60}


def damaged(data, seed):
    """Some bytes of the second half overwritten, where the pictures are."""
    rng, found = np.random.default_rng(seed), bytearray(data)
    for at in rng.integers(len(data) // 4, len(data) * 3 // 4, 1 + seed % 4):
        found[at : at + 8] = rng.bytes(8)
    return bytes(found)


DAMAGED = {
    "h264": steady("mp4", "libx264", **B), "hevc": steady("matroska", "libx265", **B),
    "vp9": steady("webm", "libvpx-vp9"), "mpeg4": steady("avi", "mpeg4", **B),
    "mpeg2": steady("mpegts", "mpeg2video", **B),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_has_the_same_verdict_in_one_pass_and_with_threads(name):
    data = DAMAGED[name]().data
    reasons = set()
    for seed in range(8):
        broken = damaged(data, seed)
        windows, reason = read(broken)
        reasons.add(reason)
        once, once_reason = read(broken, extent="in_one_pass")
        assert once_reason in (reason, UNFORESEEN_TIMES)
        assert once_reason is not None or once == windows
        assert read(broken, threads=3) == (windows, reason)
    assert reasons - {None}, "none of them was damaged enough to tell anything"


@pytest.mark.parametrize("name", ["mp4 h264 b", "mp4 hevc b", "webm vp9", "avi mpeg4 b", "ts h264 open begun amid"])
@pytest.mark.parametrize("extent", ["all", "in_one_pass", "first_window", "first_frame"])
def test_threads_change_nothing(name, extent):
    data = RAMPS[name]().data  # type: ignore[operator]
    assert read(data, extent=extent, threads=3) == read(data, extent=extent)


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def child(request):
    decoder = Decoder(SHORT, LIMITS, threads=request.param)
    yield decoder
    decoder.close()


def test_the_child_gives_them_as_attempt_0(child):
    data = RAMPS["mp4 h264 b"]().data  # type: ignore[operator]
    found = [(attempt, metadata, frames.tobytes()) for attempt, metadata, frames in child.windows_in_one_pass(data)]
    assert found == [(0, *window) for window in read(data)[0]]


def test_attempt_1_begins_anew_where_the_packets_mislead(child):
    data = RAMPS["ts h264 begun amid"]().data  # type: ignore[operator]
    found = list(child.windows_in_one_pass(data))
    assert [(metadata, frames.tobytes()) for attempt, metadata, frames in found if attempt == 1] == read(data)[0]


def test_a_clip_that_is_none_is_rejected_at_once(child):
    with pytest.raises(DecodeError) as error:
        list(child.windows_in_one_pass(b"no video at all"))
    assert error.value.reason == "not_a_video"


def test_a_child_that_dies_amid_a_clip_is_followed_by_another(monkeypatch):
    """In two passes it would have died before the first window, and been asked again."""
    data, decoder = RAMPS["mp4 h264 b"]().data, Decoder(SHORT, LIMITS)  # type: ignore[operator]
    windows = decoder.windows_in_one_pass(data)
    assert next(windows)[0] == 0
    decoder._child.kill()
    rest = list(windows)
    begin = [attempt for attempt, *_ in rest].index(1)
    assert [(metadata, frames.tobytes()) for _, metadata, frames in rest[begin:]] == read(data)[0]
    decoder.close()


def test_decord_is_attempt_0():
    pytest.importorskip("decord")
    decoder = Decoder(SHORT, LIMITS, "decord")
    data = RAMPS["mp4 h264 b"]().data  # type: ignore[operator]
    found = list(decoder.windows_in_one_pass(data))
    assert {(attempt, metadata.decoder) for attempt, metadata, _ in found} == {(0, "decord")}
    assert len(found) == 15
    decoder.close()
