"""Times that packets promise, and packets that gave no picture, over tables that are written down here."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from m3ray.video.clock import Stamp
from m3ray.video.packet_times import LAST_PICTURES, TINY_BYTES, PacketTable, count_lost_packets, predict_stamps

TICK = Fraction(1, 10)


def packet(pts, dts, *, key=False, size=500, duration=1, discard=False):
    return SimpleNamespace(
        pts=pts, dts=dts, duration=duration, size=size, is_keyframe=key, is_corrupt=False, is_discard=discard
    )


def table_of(*packets, hidden=()):
    table = PacketTable(TICK)
    for number, one in enumerate(packets):
        table.add(one, hidden=number in hidden)
    return table


def in_order(count, **changes):
    """Frames 0, 1, ... shown as they are decoded, the first one a keyframe."""
    return [packet(k, k, key=k == 0, **changes) for k in range(count)]


# I0 P3 B1 B2 P6 B4 B5, decoded in this order.
REORDERED = [packet(pts, dts, key=pts == 0) for dts, pts in enumerate((0, 3, 1, 2, 6, 4, 5))]


def presented(table, *, by_dts=False):
    return [stamp.dts if by_dts else stamp.pts for stamp in predict_stamps(table, by_dts=by_dts)]


def test_bytes_are_summed_and_missing_times_are_nan():
    table = table_of(packet(0, 0, key=True), packet(None, None, size=20, duration=None))
    assert (len(table), table.video_bytes, table.durations) == (2, 520, [1, 0])
    assert np.isnan([table.pts[1], table.dts[1]]).all()


def test_reordering_is_told_by_presentation_times():
    assert table_of(*REORDERED).reorders()
    assert not table_of(*in_order(5)).reorders()
    assert not table_of(packet(0, 0), packet(None, 1), packet(2, 2)).reorders()


def test_frames_are_predicted_in_the_order_in_which_they_are_shown():
    assert presented(table_of(*REORDERED)) == [0, 1, 2, 3, 4, 5, 6]
    assert next(predict_stamps(table_of(*REORDERED), by_dts=False)) == Stamp(0, None, 1)


def test_hidden_and_discarded_packets_are_not_shown():
    packets = in_order(5)
    packets[3].is_discard = True
    assert presented(table_of(*packets, hidden={1})) == [0, 2, 4]
    assert presented(table_of(*packets, hidden={0, 1, 2, 4})) == [0, 1, 2, 3, 4], "nothing would be left: all of them"


def test_where_containers_know_decoding_times_alone_these_are_the_order():
    assert presented(table_of(*REORDERED), by_dts=True) == list(range(7))


def test_streams_that_were_joined_are_each_ordered_by_themselves():
    """Two recordings of three frames: sorted as one, the second would be shuffled into the first."""
    second = [packet(pts, dts, key=dts == 0) for dts, pts in enumerate((0, 2, 1))]
    first = [packet(pts + 100, dts + 100, key=dts == 0) for dts, pts in enumerate((0, 2, 1))]
    assert presented(table_of(*first, *second)) == [100, 101, 102, 0, 1, 2]


def stamps(*values):
    return np.array(values, float)


def test_nothing_is_lost_where_every_packet_gave_a_picture():
    assert count_lost_packets(table_of(*REORDERED), stamps(*range(7))) == 0


@pytest.mark.parametrize(("missing", "expected"), [([10], 1), ([10, 11, 12], 3), ([19], 1)])
def test_pictures_that_are_missing_are_counted(missing, expected):
    shown = [k for k in range(20) if k not in missing]
    assert count_lost_packets(table_of(*in_order(20)), stamps(*shown)) == expected


def test_tiny_and_hidden_packets_lose_nothing():
    packets = in_order(20)
    packets[10].size = TINY_BYTES
    shown = [k for k in range(20) if k not in (10, 12)]
    assert count_lost_packets(table_of(*packets, hidden={12}), stamps(*shown)) == 0


def test_what_comes_before_the_first_keyframe_cannot_be_decoded_and_is_not_lost():
    packets = [packet(k, k, key=k == 5) for k in range(20)]
    assert count_lost_packets(table_of(*packets), stamps(*range(5, 20))) == 0


def test_the_last_pictures_of_a_stream_that_stops_anywhere_are_not_lost():
    shown = stamps(*range(20 - LAST_PICTURES))
    assert count_lost_packets(table_of(*in_order(20)), shown, may_stop=True) == 0
    assert count_lost_packets(table_of(*in_order(20)), shown) == LAST_PICTURES


def test_without_timestamps_the_numbers_are_compared():
    packets = [packet(None, k, key=k == 0) for k in range(10)]
    assert count_lost_packets(table_of(*packets), stamps(*[np.nan] * 7)) == 3
    assert count_lost_packets(table_of(*packets), stamps(*[np.nan] * 12)) == 0, "never below none"
