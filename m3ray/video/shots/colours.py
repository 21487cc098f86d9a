"""Colours of pictures that are encoded anew: what the file tells of them, and a check that they are the source's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from av.video.reformatter import Colorspace, Interpolation

from m3ray.video.orientation import orient
from m3ray.video.shown_frames import display_matrix

_UNKNOWN = (0, 2)  # of primaries and transfer
_BT709, _SRGB = 1, 13
_LIMITED = 1
# Rounds to the nearest: FFmpeg's fast conversion of halved colours to RGB is darker by up to 2, that of others is not.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_SIDE = 8  # of the small pictures that are compared: noise and halved colours are averaged out
# Of 255, in the mean: small pictures of drawn scenes encoded as they should be differ from the source's by less than
# 1, of RGB noise from pixel to pixel by up to 5, since colours are halved; those of a wrong matrix by 25 and more.
_MOST = 6.0


@dataclass(frozen=True)
class Colours:
    """Format and colours of the pictures in a file that is made, as FFmpeg numbers them.

    Args:
        pixels: format of the pixels.
        colorspace: matrix between RGB and YUV; 0: the pixels are RGB.
        color_primaries: primaries.
        color_trc: transfer.
        color_range: 1: limited levels, 2: full ones, 0: not told.
    """

    pixels: str
    colorspace: int
    color_primaries: int
    color_trc: int
    color_range: int

    @classmethod
    def choose(cls, frame: Any, source: Any, pixels: str) -> Colours:
        """Choose the colours of a file: the source's, but for RGB that becomes YUV, which then is BT.709.

        Args:
            frame: first frame of the source.
            source: codec context of the source.
            pixels: format of the pixels in the file.
        Returns:
            The colours.
        """
        told = (source.colorspace, source.color_primaries, source.color_trc, source.color_range)
        matrix, primaries, transfer, levels = (int(value) for value in told)
        if pixels == frame.format.name:
            return cls(pixels, matrix, primaries, transfer, levels)
        if _is_rgb(frame) and not pixels.startswith("gbr"):
            primaries = _BT709 if primaries in _UNKNOWN else primaries
            transfer = _SRGB if transfer in _UNKNOWN else transfer
            return cls(pixels, _BT709, primaries, transfer, _LIMITED)
        return cls(pixels, matrix, primaries, transfer, int(frame.color_range) or levels or _LIMITED)

    def tell(self, context: Any) -> None:
        """Have an encoder tell them in its stream.

        Args:
            context: codec context of the encoder.
        """
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(context, name, getattr(self, name))

    def convert(self, frame: Any) -> Any:
        """Convert a frame to the format and the colours.

        Args:
            frame: frame of PyAV's.
        Returns:
            The frame itself, where its pixels have the format.
        """
        if frame.format.name == self.pixels:
            return frame
        matrix = Colorspace.ITU709 if _is_rgb(frame) and self.colorspace == _BT709 else None
        return frame.reformat(format=self.pixels, dst_colorspace=matrix, dst_color_range=self.color_range, threads=1)


def _is_rgb(frame: Any) -> bool:
    return frame.format.is_rgb or frame.format.name == "pal8"


def shrink(frame: Any) -> np.ndarray:
    """Make a small upright picture, which can be compared.

    Args:
        frame: frame of PyAV's.
    Returns:
        RGB, uint8, as wide as high, so that a turned one has the same shape.
    """
    picture = frame.reformat(format="rgb24", interpolation=_EXACT, threads=1).to_ndarray()
    small = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(orient(small, display_matrix(frame)))


def differ(first: np.ndarray, second: np.ndarray) -> bool:
    """Tell whether small pictures are of different colours.

    Args:
        first: a small picture.
        second: another one.
    Returns:
        Whether they differ by more than encoding makes them.
    """
    return float(np.abs(first.astype(int) - second).mean()) > _MOST
