"""Frames turned upright and their pixels' format, before they are encoded anew."""

from fractions import Fraction

import av
import numpy as np
import pytest

from m3ray.video.orientation import orient
from m3ray.video.shots.encoding import _TURNS, _choose_format, _find_turn

_MATRICES = [
    (1.0, 0.0, 0.0, 1.0),
    (0.0, 1.0, -1.0, 0.0),
    (-1.0, 0.0, 0.0, -1.0),
    (0.0, -1.0, 1.0, 0.0),
    (-1.0, 0.0, 0.0, 1.0),
    (1.0, 0.0, 0.0, -1.0),
    (0.0, 1.0, 1.0, 0.0),
    (0.0, -1.0, -1.0, 0.0),
]


@pytest.mark.parametrize("matrix", _MATRICES)
def test_filters_turn_a_picture_as_players_do(matrix):
    """FFmpeg's filters against the orientation that tiers see."""
    filters = _find_turn(matrix)
    picture = np.random.default_rng(0).integers(0, 256, (6, 8), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format="gray")
    if filters:
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        graph = av.filter.Graph()
        nodes = [graph.add_buffer(width=8, height=6, format="gray", time_base=Fraction(1, 25))]
        nodes += [graph.add(name, value) for name, value in filters]
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        graph.vpush(frame)
        frame = graph.vpull()
    np.testing.assert_array_equal(frame.to_ndarray(), orient(picture, matrix))


def test_the_eight_turns_are_all_different():
    probe = np.arange(6).reshape(2, 3)
    assert len({(turn(probe).shape, turn(probe).tobytes()) for _, turn in _TURNS}) == 8


@pytest.mark.parametrize(
    ("source", "odd", "chosen"),
    [
        ("yuv420p", False, "yuv420p"),
        ("yuv420p", True, "yuv444p"),
        ("yuv420p10le", False, "yuv420p10le"),
        ("yuv422p10be", False, "yuv420p10le"),
        ("pal8", False, "yuv420p"),
        ("yuv444p", True, "yuv444p"),
        ("gray", False, "yuv420p"),
        ("gray", True, "yuv444p"),
        ("gray10le", False, "yuv420p10le"),
    ],
)
def test_the_format_of_pixels_stays_where_the_codec_has_it(source, odd, chosen):
    assert _choose_format(source, av.Codec("libx264", "w"), odd=odd) == chosen
