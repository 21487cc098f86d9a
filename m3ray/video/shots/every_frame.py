"""Every frame that a video shows, small, and when each is shown: what cuts are found in. Runs in the decoding child."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.errors import DecodeError
from m3ray.video.decode import ShownTimes
from m3ray.video.image_formats import detect_image
from m3ray.video.images import decode_image
from m3ray.video.sampling import resize_to, timestamp_rounding
from m3ray.video.shots.timeline import Timeline
from m3ray.video.shown_frames import Converter, UncertainDamageError, decode_shown_frames
from m3ray.video.video_file import VideoFile

UNCERTAIN = "uncertain_damage"
"""Reason of the error after which a video is to be decoded anew by one thread, which tells whether it is damaged."""
BATCH = 64
"""Frames that are handed on together."""
_IMAGE_SIDE = 128


def decode_every_frame(
    data: bytes, limits: LimitsConfig, height: int, width: int, threads: int = 1
) -> Iterator[np.ndarray | Timeline]:
    """Decode every frame that a video shows, once.

    Args:
        data: bytes of the file.
        limits: per-clip limits of pixels and seconds.
        height: height of the frames, pixels; the aspect ratio is not kept.
        width: width of the frames, pixels.
        threads: threads that decode.
    Yields:
        Frames, uint8, (T, height, width, 3), RGB, 1 <= T <= 64; last the timeline of all of them.
    Raises:
        DecodeError: If it is not a video, is over a limit, truncated or damaged; `uncertain_damage` where one thread
            has to tell.
    """
    image = detect_image(data)
    if image is not None:
        _, frames = decode_image(data, image, DecodeConfig(size=_IMAGE_SIDE), limits)
        yield resize_to(frames[0], height, width)[None]
        yield Timeline(np.zeros(1), 0.0)
        return
    with VideoFile(data, limits, threads) as video:
        times, batch, converter = ShownTimes(video), [], Converter()
        try:
            for frame in decode_shown_frames(video):
                times.add(frame)
                batch.append(resize_to(converter.convert(frame), height, width))
                if len(batch) == BATCH:
                    yield np.stack(batch)
                    batch = []
        except UncertainDamageError as error:
            raise DecodeError(UNCERTAIN, "something does not decode: one thread tells what") from error
        if batch:
            yield np.stack(batch)
        yield conclude_timeline(video, times)


def conclude_timeline(video: VideoFile, times: ShownTimes) -> Timeline:
    """Conclude when each frame is shown, as `decode` does for the tiers.

    Args:
        video: the video, all of it decoded.
        times: what its frames said.
    Returns:
        The timeline.
    Raises:
        DecodeError: If no packet gave a picture, too many gave none, or the video is longer than allowed.
    """
    if not times.stamps:
        count = len(video.scan.table)
        raise DecodeError("damaged", f"none of {count} packets gives a picture: the file is damaged, copy it again")
    shown, duration = video.timeline_of(times.end())
    video.check_seconds(duration)
    return Timeline(shown, duration, timestamp_rounding(video.container))
