"""Which packets show a shot's frames and no others."""

from types import SimpleNamespace

import pytest

from m3ray.video.shots.copying import find_packets
from m3ray.video.shots.span import Span


def table(*packets):
    """Packets as (time, whether a key frame), in decoding order; a time of None: hidden, it shows nothing."""
    return SimpleNamespace(
        pts=[-1 if time is None else time for time, _ in packets],
        keys=[key for _, key in packets],
        shown=[time is not None for time, _ in packets],
    )


def span(*stamps):
    return Span(0, len(stamps), stamps, (0,) * len(stamps), 0.0, 1.0)


@pytest.mark.parametrize(
    ("packets", "stamps", "found"),
    [
        ([(0, True), (1, False), (2, True), (3, False)], (0, 1), range(2)),
        ([(0, True), (1, False), (2, True), (3, False)], (2, 3), range(2, 4)),
        ([(0, True), (2, False), (1, False), (3, True)], (0, 1, 2), range(3)),  # reordered, within the shot
        ([(0, True), (2, False), (1, False), (3, True)], (0, 1), None),  # 1 refers to 2, of the next shot
        ([(0, True), (1, False), (2, False)], (1, 2), None),  # begins between key frames
        ([(0, True), (3, True), (2, False), (4, False)], (3, 4), None),  # 2 is shown before its key frame
        ([(0, True), (None, False), (1, False), (2, True)], (0, 1), range(3)),  # a hidden picture that 1 needs
        ([(0, True), (0, True), (1, False)], (0, 1), None),  # two of one time
        ([(0, True)], (0, 1), None),
    ],
)
def test_packets_of_a_shot(packets, stamps, found):
    assert find_packets(table(*packets), span(*stamps)) == found


def test_frames_without_times_cannot_be_told():
    assert find_packets(table((0, True), (1, False)), span(None, None)) is None
