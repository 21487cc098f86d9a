"""What containers promise: sound files are whole, files cut anywhere are not."""

import struct
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest
from drawn import pictures

from m3ray.video.completeness import count_avi_entries, describe_missing_bytes
from m3ray.video.containers import detect_container
from m3ray.video.encode import encode_clip


def written(container, codec, options=None, pix_fmt="yuv420p"):
    """As a file, which `faststart` opens a second time."""
    with tempfile.NamedTemporaryFile() as place:
        _write(place.name, container, codec, options, pix_fmt)
        return Path(place.name).read_bytes()


def _write(place, container, codec, options, pix_fmt):
    with av.open(place, mode="w", format=container, options=options or {}) as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 96, 128, pix_fmt
        for frame in pictures(20):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


FILES = {
    "mp4": lambda: written("mp4", "libx264"),
    "faststart": lambda: written("mp4", "libx264", {"movflags": "faststart"}),
    "fragmented": lambda: written("mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    "matroska": lambda: written("matroska", "libx264"),
    "webm": lambda: written("webm", "libvpx"),
    "avi": lambda: written("avi", "mpeg4"),
    "gif": lambda: written("gif", "gif", pix_fmt="rgb8"),
    "flv": lambda: written("flv", "flv"),
    "asf": lambda: written("asf", "wmv2"),
    "mxf": lambda: written("mxf", "mpeg2video"),
}


@pytest.mark.parametrize("name", FILES)
def test_whole_files_are_whole_and_cut_ones_are_not(name):
    data = FILES[name]()
    container = detect_container(data)
    assert describe_missing_bytes(data, container) is None
    # Where the sample table comes first, the decoder asks it sample by sample (test_decode).
    if name != "faststart":
        lengths = (np.linspace(0.05, 0.99, 48) * len(data)).astype(int)
        assert [length for length in lengths if not describe_missing_bytes(data[:length], container)] == []


@pytest.mark.parametrize("container", ["mpegts", "mpeg"])
def test_streams_promise_nothing(container):
    data = written(container, "mpeg2video")
    assert describe_missing_bytes(data[: len(data) // 2], container) is None


def test_unknown_lengths_are_no_promise():
    matroska = written("matroska", "libx264")
    at = matroska.index(b"\x18\x53\x80\x67") + 4
    live = matroska[:at] + b"\x01" + b"\xff" * 7 + matroska[at + 8 :]
    assert describe_missing_bytes(live[:-100], "matroska") is None
    avi = FILES["avi"]()
    for unknown in (0, 0xFFFFFFFF):
        assert describe_missing_bytes(avi[:4] + struct.pack("<I", unknown) + avi[8:-100], "avi") is None


def test_a_mov_box_that_is_too_long_loses_nothing_beside_its_sample_table():
    data = written("mp4", "libx264", {"movflags": "faststart"})
    at = data.index(b"mdat") - 4
    size = struct.unpack_from(">I", data, at)[0]
    assert describe_missing_bytes(data[:at] + struct.pack(">I", size + 999) + data[at + 4 :], "mov") is None


def test_the_header_of_a_clip_is_said_in_words():
    data = encode_clip(pictures(20), 10)
    words = describe_missing_bytes(data[:-10], "mov")
    assert words == f"{len(data) - 10} of {len(data)} bytes are there"


def test_entries_of_an_avi_index_count_empty_ones_too():
    data = FILES["avi"]()
    assert count_avi_entries(data, 0) == 20
    assert count_avi_entries(data, 1) == 0
    at = data.index(b"idx1")
    size = struct.unpack_from("<I", data, at + 4)[0]
    longer = data[:at] + b"idx1" + struct.pack("<I", size + 16) + data[at + 8 : at + 8 + size]
    longer += b"00dc" + struct.pack("<III", 0, 4, 0)
    riff = longer[:4] + struct.pack("<I", len(longer) - 8) + longer[8:]
    assert count_avi_entries(riff, 0) == 21


def test_bytes_behind_the_end_are_no_part_of_it():
    for name, container in (("flv", "flv"), ("mxf", "mxf"), ("fragmented", "mov"), ("matroska", "matroska")):
        data = FILES[name]()
        assert [describe_missing_bytes(data + bytes(count), container) for count in (1, 4, 16, 4096)] == [None] * 4


def page(flags, payload):
    """An Ogg page of one segment."""
    return b"OggS\0" + bytes([flags]) + bytes(20) + bytes([1, len(payload)]) + payload


def test_an_ogg_stream_ends_with_a_page_that_says_so():
    data = page(2, b"begin") + page(0, b"middle") + page(4, b"end")
    assert describe_missing_bytes(data, "ogg") is None
    assert describe_missing_bytes(data[:-1], "ogg")
    assert describe_missing_bytes(page(2, b"begin") + page(0, b"middle"), "ogg")
    assert describe_missing_bytes(page(2, b"begin") + page(0, b"middle") + b"Og", "ogg")


def test_fragments_that_an_index_lists_must_be_there():
    options = {"movflags": "dash+global_sidx+frag_keyframe+empty_moov"}
    data = written("mp4", "libx264", options)
    assert b"sidx" in data
    assert describe_missing_bytes(data, "mov") is None
    assert describe_missing_bytes(data[: data.rindex(b"moof") - 4], "mov")
