"""Which clip each index of the stream of all epochs holds, and how a step is shared out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3ray.errors import ConfigError
from m3ray.training.finetuning.sampler import ClipSampler, group_micro_batches, plan_step


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 3))
def test_each_epoch_has_each_clip_once(clips, batch, seed):
    sampler = ClipSampler(clips, batch, seed)
    length = sampler.steps * batch
    for epoch in range(2):
        rows, mask, epochs = sampler.samples(np.arange(epoch * length, (epoch + 1) * length))
        assert sorted(rows[mask]) == list(range(clips))
        assert set(epochs) == {epoch}
    counted = [sampler.samples(np.arange(s * batch, (s + 1) * batch))[1].sum() for s in range(sampler.steps)]
    assert counted == [sampler.count_clips(step) for step in range(sampler.steps)]


def test_epochs_are_shuffled_and_a_stream_begins_anywhere():
    sampler = ClipSampler(20, 4, seed=1)
    rows = sampler.samples(np.arange(40))[0]
    assert list(rows[:20]) != list(rows[20:])
    np.testing.assert_array_equal(sampler.samples(np.arange(13, 29))[0], rows[13:29])
    assert list(ClipSampler(20, 4).samples(np.arange(20))[0]) == list(range(20)), "without a seed in their own order"


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 9), st.sampled_from([8, 16, 32]))
def test_a_step_is_the_same_clips_for_any_number_of_workers(workers, micro, batch):
    layout = plan_step(batch, workers, micro, clips=100)
    assert layout.batch == batch
    assert layout.micro_batch <= micro
    sampler, blocks = ClipSampler(100, batch, 0), batch // layout.micro_batch
    for step in (0, 3):
        # Block b of the stream goes to worker b modulo their number.
        taken = np.concatenate([np.arange(blocks)[worker::workers] for worker in range(workers)])
        indices = (taken[:, None] * layout.micro_batch + np.arange(layout.micro_batch)).ravel()
        found = sorted(sampler.samples(indices + step * batch)[0])
        assert found == sorted(sampler.samples(np.arange(step * batch, (step + 1) * batch))[0])


def test_what_cannot_be_shared_out_says_so():
    with pytest.raises(ConfigError, match="3 train clips for 8 workers"):
        plan_step(8, 8, 1, clips=3)
    with pytest.raises(ConfigError, match="a batch of 10 clips cannot be shared evenly by 4 workers"):
        plan_step(10, 4, 1, clips=100)


def test_micro_batches_make_steps_and_the_last_may_be_short():
    assert list(group_micro_batches(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(group_micro_batches([], 2)) == []
