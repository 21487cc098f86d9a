"""Every sampled frame is the one that a player shows, whichever decoder is chosen: grey ramps of known time."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from ramp_matrix import RAMPS
from ramps import numbers_of, sampled

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video.decord_frames import PROVEN_FORMATS, is_decord_right
from m3ray.video.sandbox import Decoder
from m3ray.video.video_file import VideoFile

FPS = 15
# One of each kind; all others are marked slow.
FAST = [
    "mp4 h264 b", "mp4 h264 open", "mp4 h264 b fragments", "mp4 hevc open", "mp4 h264 b uneven",
    "mp4 h264 b trimmed at start", "mp4 hevc b trimmed at both ends", "mkv hevc open", "mkv 15 fps", "webm vp9 uneven",
    "webm vp8 hidden", "avi h264 b", "avi mpeg4 b", "avi mpeg4 drops", "ts h264 open begun amid", "ts h264 joined",
    "ts mpeg2 b", "mpg mpeg2 open", "flv h264 b", "wmv wmv2", "mxf mpeg2 b", "gif uneven",
]  # fmt: skip
# ffprobe's duration counts packets that cannot be decoded, the first recording of two, or the packets with a time.
NOT_FFPROBES = ("amid", "joined", "mpg", "vob")


def cases(names):
    return [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in names]


@pytest.fixture(scope="module", params=["pyav", "decord"])
def decoder(request):
    decoder = Decoder(DecodeConfig(fps=FPS), LimitsConfig(), request.param)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def parts():
    """A decoder whose windows are so short that the clips are longer than it holds at once."""
    decoder = Decoder(DecodeConfig(fps=FPS, window_frames=5), LimitsConfig(), "pyav")
    yield decoder
    decoder.close()


def expected_decoder(decoder, data):
    """That is decord where it is asked for, installed and proven right: it must then do the work."""
    with VideoFile(data, LimitsConfig()) as video:
        return "decord" if decoder.order[0] == "decord" and is_decord_right(video) else "pyav"


def read(decoder, data):
    windows = list(decoder.windows(data))
    return windows[0][0], numbers_of(np.concatenate([frames for _, frames in windows]))


def assert_shown(numbers, expected):
    """A picture's level is nearest to its own frame's: by less than half a step, and in a ramp none is like another."""
    wrong = [
        (k, number, frames)
        for k, (number, frames) in enumerate(zip(numbers, expected, strict=True))
        if round(number) not in frames
    ]
    assert not wrong, (
        f"{len(wrong)} of {len(expected)}: (sample, the frame it shows, the frame that is due) {wrong[:5]}"
    )


@pytest.mark.parametrize("name", cases(RAMPS))
def test_the_frames_shown_are_sampled(decoder, name):
    ramp = RAMPS[name]()  # type: ignore[operator]
    metadata, numbers = read(decoder, ramp.data)
    assert metadata.decoder == expected_decoder(decoder, ramp.data)
    assert_shown(numbers, sampled(ramp, FPS))
    assert (metadata.frames, metadata.sampled) == (len(ramp.frames), len(numbers))
    # An ASF does not say how long its last frame lasts.
    assert metadata.duration == pytest.approx(float(ramp.seconds), abs=0.002 if metadata.container != "asf" else 0.04)


@pytest.mark.parametrize("name", cases(RAMPS))
def test_windows_are_parts_of_the_same(parts, name):
    ramp = RAMPS[name]()  # type: ignore[operator]
    _, numbers = read(parts, ramp.data)
    assert_shown(numbers, sampled(ramp, FPS))


def test_every_kind_that_decord_serves_is_among_the_ramps():
    """So that the ramps above hold its table: in order, and reordered where the table says so."""
    pytest.importorskip("decord")
    served = set()
    for make in RAMPS.values():
        with VideoFile(make().data, LimitsConfig()) as video:  # type: ignore[operator]
            if is_decord_right(video):
                served.add((video.container, video.codec, video.scan.table.reorders()))
    assert served == {(*kind, order) for kind, reordered in PROVEN_FORMATS.items() for order in {False, reordered}}


@pytest.mark.parametrize("name", cases(name for name in RAMPS if not any(word in name for word in NOT_FFPROBES)))
def test_duration_is_ffprobe_s(decoder, name, tmp_path):
    if not shutil.which("ffprobe"):
        pytest.skip("ffprobe is not installed: durations are held to what was written alone")
    ramp = RAMPS[name]()  # type: ignore[operator]
    (tmp_path / "ramp").write_bytes(ramp.data)
    metadata, _ = read(decoder, ramp.data)
    assert metadata.duration == pytest.approx(probed_seconds(tmp_path / "ramp"), abs=float(max(ramp.durations)))


def probed_seconds(path):
    """The duration of the video stream by ffprobe; where it has none (Matroska, FLV), from first frame to last."""
    entries = "stream=duration:frame=best_effort_timestamp_time"
    command = ["ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_entries", entries, "-of", "json", path]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    if "duration" in found["streams"][0]:
        return float(found["streams"][0]["duration"])
    times = [float(frame["best_effort_timestamp_time"]) for frame in found["frames"]]
    return (times[-1] - times[0]) * len(times) / (len(times) - 1)


def test_an_encoder_leaves_this_process_at_ordinary_priority():
    """SVT-AV1 made all tests after it run at real-time priority, and everything else on the machine wait."""
    before = os.sched_getscheduler(0)
    RAMPS["mp4 av1"]()  # type: ignore[operator]
    assert os.sched_getscheduler(0) == before
