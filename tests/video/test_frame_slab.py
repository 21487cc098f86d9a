"""Memory of a fixed size that frames go through from the decoding child to its parent."""

import os

import numpy as np
import pytest

from m3ray.video.frame_slab import open_slab, read_slab, write_slab

FRAMES = np.arange(4 * 6 * 6 * 3, dtype=np.uint8).reshape(4, 6, 6, 3)


@pytest.fixture
def slab():
    found = open_slab(FRAMES.nbytes)
    if found is None:
        pytest.skip("only Linux has such memory: elsewhere frames go through the pipe")
    yield found
    os.close(found)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="only Linux has such memory")
def test_where_it_is_forbidden_frames_go_through_the_pipe(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert open_slab(100) is None


@pytest.mark.parametrize("count", [4, 2, 0])
def test_what_was_written_is_read(slab, count):
    write_slab(slab, FRAMES[:count])
    np.testing.assert_array_equal(read_slab(slab, (count, 6, 6, 3)), FRAMES[:count])


def test_what_is_written_later_does_not_reach_frames_that_were_read(slab):
    write_slab(slab, FRAMES)
    read = read_slab(slab, FRAMES.shape)
    write_slab(slab, FRAMES + 1)
    np.testing.assert_array_equal(read, FRAMES)


def test_nobody_changes_its_size(slab):
    for size in (FRAMES.nbytes - 1, FRAMES.nbytes + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(slab, size)


def test_more_than_it_holds_is_an_error_and_not_read_beyond_it(slab):
    with pytest.raises(OSError, match="not permitted"):
        write_slab(slab, np.concatenate([FRAMES, FRAMES]))
    with pytest.raises(EOFError, match=f"{FRAMES.nbytes} of {2 * FRAMES.nbytes} bytes"):
        read_slab(slab, (8, 6, 6, 3))
