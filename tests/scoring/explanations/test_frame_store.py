"""The store: frames come back as they were, from memory or from a file that goes with it."""

import numpy as np
import pytest
from small_maps import draw_noise

from m3ray.scoring.explanations.frame_store import FrameStore
from m3ray.scoring.explanations.hiding import blur_frames


@pytest.mark.parametrize("max_bytes", [1 << 20, 10_000])
def test_frames_come_back(max_bytes):
    frames = draw_noise(20)  # 3,072 bytes each
    with FrameStore(max_bytes) as store:
        for position, frame in enumerate(frames):
            store.add(position, frame)
        assert store.is_in_memory == (max_bytes == 1 << 20)
        np.testing.assert_array_equal(store.read(3, 9), frames[3:9])
        np.testing.assert_array_equal(store.read(19, 20), frames[19:])
        np.testing.assert_array_equal(store.read_blurred(3, 9), blur_frames(frames[3:9]))
        assert len(store) == 20


def test_no_more_than_the_limit_is_held(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with FrameStore(10_000) as store:
        for position, frame in enumerate(draw_noise(50)):
            store.add(position, frame)
        assert sum(frame.nbytes for frame in store._frames) == 0
    assert list(tmp_path.iterdir()) == [], "the file goes with the store"


def test_frames_that_nothing_looks_at_are_not_there():
    frames = draw_noise(3)
    with FrameStore() as store:
        store.add(7, frames[0])
        store.add(22, frames[1])
        np.testing.assert_array_equal(store.read(22, 23)[0], frames[1])
        with pytest.raises(KeyError):
            store.read(7, 9)


def test_what_was_added_may_change_afterwards():
    frame = draw_noise(1)[0]
    with FrameStore() as store:
        store.add(0, frame)
        before = frame.copy()
        frame[:] = 0
        np.testing.assert_array_equal(store.read(0, 1)[0], before)
