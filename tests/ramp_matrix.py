"""Container x codec x order of frames x rate x trim: ramps by name, each written when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from ramp_edits import begin_amid, begin_late, hide, join, keep, trim_start
from ramps import SECOND, Ramp, Recipe, write_ramp

H264, H265, MPEG2, MPEG4 = "libx264", "libx265", "mpeg2video", "mpeg4"
VP8, VP9, AV1 = "libvpx", "libvpx-vp9", "libsvtav1"
B: dict[str, Any] = {"b_frames": 2}
OPEN: dict[str, Any] = {"b_frames": 2, "open_gop": True}
FRAGMENTS = {"muxer": {"movflags": "frag_keyframe+empty_moov+default_base_moof"}}
JPEG = {"pixels": "yuvj420p"}


def steady(
    container: str, codec: str, tick: Fraction = SECOND / 30, frames: int = 60, **fields: Any
) -> Callable[[], Ramp]:
    """All frames last one tick."""
    return partial(write_ramp, Recipe(container, codec, tick=tick, **fields), (tick,) * frames)


def timed(container: str, codec: str, durations: Sequence[Fraction], **fields: Any) -> Callable[[], Ramp]:
    """Frames with durations of their own, in milliseconds, or hundredths of a second in a GIF."""
    tick = SECOND / (100 if container == "gif" else 1000)
    return partial(write_ramp, Recipe(container, codec, tick=tick, **fields), durations)


def _times(*milliseconds: int, repeat: int = 1) -> tuple[Fraction, ...]:
    return tuple(Fraction(duration, 1000) for duration in milliseconds * repeat)


# Each ends with the median of its durations: so long a last frame lasts where the container does not say.
UNEVEN = _times(20, 120, 40, 60, 40, repeat=12)
SLOW = _times(100, 300, 80, 200, 200, repeat=6)  # no frame shorter than 1/15 s: each is taken once
STILL = _times(2000) + _times(20, repeat=50)
BURST = _times(20, repeat=50) + _times(400, repeat=6) + _times(20)
DROPS = tuple(Fraction(3 if frame % 5 == 3 else 1, 30) for frame in range(50))

STEADY = {
    "mp4 h264": steady("mp4", H264),
    "mp4 h264 b": steady("mp4", H264, **B),
    "mp4 h264 open": steady("mp4", H264, **OPEN),
    "mp4 h264 intra": steady("mp4", H264, gop=1),
    "mp4 h264 one key": steady("mp4", H264, gop=600, **B),
    "mp4 h264 b fast start": steady("mp4", H264, muxer={"movflags": "faststart"}, **B),
    "mp4 h264 fragments": steady("mp4", H264, **FRAGMENTS),
    "mp4 h264 b fragments": steady("mp4", H264, **FRAGMENTS, **B),
    "mp4 hevc": steady("mp4", H265),
    "mp4 hevc b": steady("mp4", H265, **B),
    "mp4 hevc open": steady("mp4", H265, **OPEN),
    "mp4 hevc open fragments": steady("mp4", H265, **FRAGMENTS, **OPEN),
    "mp4 mpeg4": steady("mp4", MPEG4),
    "mp4 mpeg4 b": steady("mp4", MPEG4, **B),
    "mp4 vp9": steady("mp4", VP9),
    "mp4 av1": steady("mp4", AV1),
    "mov h264 b": steady("mov", H264, **B),
    "mov mpeg2 b": steady("mov", MPEG2, **B),
    "mov mjpeg": steady("mov", "mjpeg", **JPEG),
    "mov prores": steady("mov", "prores_ks", pixels="yuv444p10le", encoder={"profile": "4444", "bits_per_mb": "8000"}),
    "mov png": steady("mov", "png", pixels="rgb24"),
    "mov raw": steady("mov", "rawvideo", pixels="rgb24"),
    "3gp h263": steady("3gp", "h263", size=(176, 144)),
    "mkv h264": steady("matroska", H264),
    "mkv h264 b": steady("matroska", H264, **B),
    "mkv h264 open": steady("matroska", H264, **OPEN),
    "mkv hevc": steady("matroska", H265),
    "mkv hevc b": steady("matroska", H265, **B),
    "mkv hevc open": steady("matroska", H265, **OPEN),
    "mkv mpeg4 b": steady("matroska", MPEG4, **B),
    "mkv mpeg2 open": steady("matroska", MPEG2, **OPEN),
    "mkv mpeg1 b": steady("matroska", "mpeg1video", **B),
    "mkv mjpeg": steady("matroska", "mjpeg", **JPEG),
    "mkv ffv1": steady("matroska", "ffv1"),
    "webm vp8": steady("webm", VP8),
    "webm vp9": steady("webm", VP9),
    "webm vp9 alt-ref": steady("webm", VP9, gop=60, encoder={"auto-alt-ref": "1", "lag-in-frames": "25"}),
    "webm av1": steady("webm", AV1),
    "avi h264": steady("avi", H264),
    "avi h264 b": steady("avi", H264, **B),
    "avi h264 open": steady("avi", H264, **OPEN),
    "avi mpeg4": steady("avi", MPEG4),
    "avi mpeg4 b": steady("avi", MPEG4, **B),
    "avi mpeg2 b": steady("avi", MPEG2, **B),
    "avi msmpeg4": steady("avi", "msmpeg4"),
    "avi mjpeg": steady("avi", "mjpeg", **JPEG),
    "avi huffyuv": steady("avi", "huffyuv", pixels="yuv422p"),
    "avi ffv1": steady("avi", "ffv1"),
    "avi raw": steady("avi", "rawvideo", pixels="bgr24"),
    "ts h264": steady("mpegts", H264),
    "ts h264 b": steady("mpegts", H264, **B),
    "ts h264 open": steady("mpegts", H264, **OPEN),
    "ts hevc b": steady("mpegts", H265, **B),
    "ts hevc open": steady("mpegts", H265, **OPEN),
    "ts mpeg2": steady("mpegts", MPEG2),
    "ts mpeg2 b": steady("mpegts", MPEG2, **B),
    "ts mpeg4 b": steady("mpegts", MPEG4, **B),
    "mpg mpeg1": steady("mpeg", "mpeg1video"),
    "mpg mpeg1 b": steady("mpeg", "mpeg1video", **B),
    "mpg mpeg2 open": steady("mpeg", MPEG2, **OPEN),
    "vob mpeg2 b": steady("vob", MPEG2, **B),
    "flv flv1": steady("flv", "flv"),
    "flv h264 b": steady("flv", H264, **B),
    "wmv wmv2": steady("asf", "wmv2"),
    "wmv msmpeg4": steady("asf", "msmpeg4"),
    "mxf mpeg2": steady("mxf", MPEG2, SECOND / 25),
    "mxf mpeg2 b": steady("mxf", MPEG2, SECOND / 25, **B),
    "gif": steady("gif", "gif", SECOND / 25, pixels="gray"),
}
RATES = {
    "mp4 8 fps": steady("mp4", H264, SECOND / 8, **B),
    "mp4 15 fps": steady("mp4", H264, SECOND / 15, **B),
    "mp4 29.97 fps": steady("mp4", H264, SECOND * 1001 / 30000, **B),
    "mp4 60 fps": steady("mp4", H264, SECOND / 60, **B),
    "mkv 15 fps": steady("matroska", H264, SECOND / 15, **B),
    "mkv 29.97 fps": steady("matroska", H264, SECOND * 1001 / 30000, **B),
    "flv 15 fps": steady("flv", H264, SECOND / 15),
    "avi 8 fps": steady("avi", MPEG4, SECOND / 8),
    "ts 50 fps": steady("mpegts", H264, SECOND / 50, **B),
    "mp4 one frame": steady("mp4", H264, frames=1),
    "mp4 two frames": steady("mp4", H265, frames=2, **B),
    "mp4 h264 uneven": timed("mp4", H264, UNEVEN),
    "mp4 h264 b uneven": timed("mp4", H264, UNEVEN, **B),
    "mp4 hevc open uneven": timed("mp4", H265, UNEVEN, **OPEN),
    "mp4 h264 b slow": timed("mp4", H264, SLOW, **B),
    "mp4 h264 still": timed("mp4", H264, STILL),
    "mp4 h264 b burst": timed("mp4", H264, BURST, **B),
    "mp4 h264 uneven fragments": timed("mp4", H264, UNEVEN, **FRAGMENTS),
    "mov png uneven": timed("mov", "png", UNEVEN, pixels="rgb24"),
    "mkv h264 b uneven": timed("matroska", H264, UNEVEN, **B),
    "mkv hevc open burst": timed("matroska", H265, BURST, **OPEN),
    "mkv mpeg4 slow": timed("matroska", MPEG4, SLOW),
    "webm vp9 uneven": timed("webm", VP9, UNEVEN),
    "webm vp8 still": timed("webm", VP8, STILL),
    "ts h264 b uneven": timed("mpegts", H264, UNEVEN, **B),
    "flv h264 b uneven": timed("flv", H264, UNEVEN, **B),
    "wmv wmv2 uneven": timed("asf", "wmv2", UNEVEN),
    "gif uneven": timed("gif", "gif", UNEVEN, pixels="gray"),
    "gif slow": timed("gif", "gif", SLOW, pixels="gray"),
    "avi mpeg4 drops": partial(write_ramp, Recipe("avi", MPEG4), DROPS),
    "avi h264 drops": partial(write_ramp, Recipe("avi", H264), DROPS),
    "avi mjpeg drops": partial(write_ramp, Recipe("avi", "mjpeg", **JPEG), DROPS),
}


def _film(codec: str, **fields: Any) -> Ramp:
    return steady("mp4", codec, SECOND / 25, **fields)()


TRIMS: dict[str, Callable[[], Ramp]] = {
    "mp4 h264 b trimmed at start": lambda: trim_start(_film(H264, **B), 20),
    "mp4 h264 open trimmed at start": lambda: trim_start(_film(H264, **OPEN), 21),
    "mp4 hevc open trimmed at start": lambda: trim_start(_film(H265, **OPEN), 17),
    "mp4 mpeg4 trimmed at start": lambda: trim_start(_film(MPEG4), 23),
    "mp4 h264 b trimmed at end": lambda: keep(_film(H264, **B), (0, 31)),
    "mp4 h264 trimmed at both ends": lambda: keep(_film(H264), (15, 40)),
    "mp4 hevc b trimmed at both ends": lambda: keep(_film(H265, **B), (16, 41)),
    "mp4 h264 b middle taken out": lambda: keep(_film(H264, **B), (4, 20), (40, 55)),
    "mp4 h264 uneven trimmed at both ends": lambda: keep(RATES["mp4 h264 uneven"](), (7, 50)),  # type: ignore[operator]
    "mp4 late": lambda: begin_late(_film(H264, **B), "mp4", SECOND * 3 / 2),
    "mkv late": lambda: begin_late(STEADY["mkv h264"](), "matroska", SECOND * 3 / 2),
    "ts late": lambda: begin_late(STEADY["ts h264 b"](), "mpegts", SECOND * 1000),
    "ts h264 begun amid": lambda: begin_amid(STEADY["ts h264 b"](), "mpegts", 5),
    "ts h264 open begun amid": lambda: begin_amid(STEADY["ts h264 open"](), "mpegts", 5),
    "ts hevc b begun amid": lambda: begin_amid(STEADY["ts hevc b"](), "mpegts", 5),
    "ts hevc open begun amid": lambda: begin_amid(STEADY["ts hevc open"](), "mpegts", 5),
    "ts mpeg2 begun amid": lambda: begin_amid(STEADY["ts mpeg2 b"](), "mpegts", 5),
    "mpg mpeg2 open begun amid": lambda: begin_amid(STEADY["mpg mpeg2 open"](), "mpeg", 5),
    "ts h264 joined": lambda: join(steady("mpegts", H264, frames=36, **B)(), _later("mpegts", H264)),
    "ts mpeg2 joined": lambda: join(steady("mpegts", MPEG2, frames=36, **B)(), _later("mpegts", MPEG2)),
    "ts hevc joined": lambda: join(steady("mpegts", H265, frames=36, **OPEN)(), _later("mpegts", H265)),
    "webm vp8 hidden": lambda: hide(STEADY["webm vp8"](), "webm", 5),
}


def _later(container: str, codec: str) -> Ramp:
    """Of other levels than a first part has."""
    recipe = Recipe(container, codec, **B)
    return write_ramp(recipe, (recipe.tick,) * 24, first=37)


RAMPS = {**STEADY, **RATES, **TRIMS}
