"""Which clip stands where in the stream of all epochs, and how a step is shared out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3ray.errors import ConfigError
from m3ray.training.finetuning.sampler import Order, lay_out


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 3))
def test_each_epoch_has_each_clip_once(clips, batch, seed):
    order = Order(clips, batch, seed)
    length = order.steps * batch
    for epoch in range(2):
        rows, counts, epochs = order.at(np.arange(epoch * length, (epoch + 1) * length))
        assert sorted(rows[counts]) == list(range(clips))
        assert set(epochs) == {epoch}
    counted = [order.at(np.arange(s * batch, (s + 1) * batch))[1].sum() for s in range(order.steps)]
    assert counted == [order.counting(step) for step in range(order.steps)]


def test_epochs_are_shuffled_and_a_stream_begins_anywhere():
    order = Order(20, 4, seed=1)
    rows = order.at(np.arange(40))[0]
    assert list(rows[:20]) != list(rows[20:])
    np.testing.assert_array_equal(order.at(np.arange(13, 29))[0], rows[13:29])
    assert list(Order(20, 4).at(np.arange(20))[0]) == list(range(20)), "without a seed in their own order"


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 9), st.sampled_from([8, 16, 32]))
def test_a_step_is_the_same_clips_for_any_number_of_workers(workers, micro, batch):
    layout = lay_out(batch, workers, micro, clips=100)
    assert layout.batch == batch
    assert layout.micro <= micro
    order, blocks = Order(100, batch, 0), batch // layout.micro
    for step in (0, 3):
        # Block b of the stream goes to worker b modulo their number.
        taken = np.concatenate([np.arange(blocks)[worker::workers] for worker in range(workers)])
        places = (taken[:, None] * layout.micro + np.arange(layout.micro)).ravel()
        found = sorted(order.at(places + step * batch)[0])
        assert found == sorted(order.at(np.arange(step * batch, (step + 1) * batch))[0])


def test_what_cannot_be_shared_out_says_so():
    with pytest.raises(ConfigError, match="3 train clips for 8 workers"):
        lay_out(8, 8, 1, clips=3)
    with pytest.raises(ConfigError, match="a batch of 10 clips cannot be shared evenly by 4 workers"):
        lay_out(10, 4, 1, clips=100)
