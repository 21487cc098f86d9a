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
        rows, mask, epochs, empty = sampler.samples(np.arange(epoch * length, (epoch + 1) * length))
        assert sorted(rows[mask]) == list(range(clips))
        assert set(epochs) == {epoch}
        assert not empty.any()
    counted = [sampler.samples(np.arange(s * batch, (s + 1) * batch)).mask.sum() for s in range(sampler.steps)]
    assert counted == [sampler.count_clips(step) for step in range(sampler.steps)]


def test_epochs_are_shuffled_and_a_stream_begins_anywhere():
    sampler = ClipSampler(20, 4, seed=1)
    rows = sampler.samples(np.arange(40)).clips
    assert list(rows[:20]) != list(rows[20:])
    np.testing.assert_array_equal(sampler.samples(np.arange(13, 29)).clips, rows[13:29])
    assert list(ClipSampler(20, 4).samples(np.arange(20)).clips) == list(range(20)), "without a seed in their own order"


def test_the_order_of_clips_is_that_of_trials_that_are_cached():
    """NumPy's permutation by seed and epoch, as it always was; the last step filled up with the epoch's first clips."""
    orders = [np.random.default_rng([7, epoch]).permutation(10) for epoch in range(2)]
    expected = np.concatenate([part for order in orders for part in (order, order[:2])])
    np.testing.assert_array_equal(ClipSampler(10, 4, 7).samples(np.arange(24)).clips, expected)


@pytest.mark.parametrize("workers", [1, 3, 5, 7, 12, 24, 64])
@pytest.mark.parametrize("micro", [1, 4, 16])
def test_a_step_is_the_same_clips_for_any_number_of_workers(workers, micro):
    batch, clips = 32, 100
    layout = plan_step(batch, workers, micro)
    sampler, alone = ClipSampler(clips, batch, 0, layout.capacity), ClipSampler(clips, batch, 0)
    for step in range(8):  # two epochs, whose last step has 4 clips
        shares = [read_share(sampler, layout, step, rank) for rank in range(workers)]
        assert {len(rows) for rows, _ in shares} == {layout.share}
        gathered, mask = (np.concatenate(arrays) for arrays in zip(*shares, strict=True))
        expected = alone.samples(np.arange(step * batch, (step + 1) * batch))
        np.testing.assert_array_equal(sorted(gathered[mask]), sorted(expected.clips[expected.mask]))
        # Put together they are the batch in its own order, so that no loss depends on the workers.
        counted = layout.gathered_rows(sampler.count_clips(step))
        np.testing.assert_array_equal(gathered[counted], expected.clips[expected.mask])


def read_share(sampler, layout, step, rank):
    """A worker's clips in a step, as Ray hands out the stream's blocks: in turns."""
    firsts = [layout.expect_index(step * layout.capacity, rank, turn) for turn in range(layout.accumulation_steps)]
    indices = np.concatenate([np.arange(first, first + layout.micro_batch) for first in firsts])
    samples = sampler.samples(indices)
    return samples.clips, samples.mask


def test_a_place_without_a_clip_is_empty_and_a_filled_up_step_is_not():
    """Five clips in batches of 4 for 3 workers: 6 places a step; the second step has one clip and three fillers."""
    sampler = ClipSampler(5, 4, capacity=plan_step(4, 3, 4).capacity)
    samples = sampler.samples(np.arange(12))
    assert samples.empty.tolist() == [False] * 4 + [True] * 2 + [False] * 4 + [True] * 2
    assert samples.mask.tolist() == [True] * 4 + [False] * 2 + [True] + [False] * 5
    assert samples.clips[~samples.empty].tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 20))
def test_shares_are_even_but_for_a_micro_batch(batch, workers, micro):
    layout = plan_step(batch, workers, micro)
    assert layout.micro_batch <= micro
    assert layout.capacity >= batch
    blocks = np.arange(layout.capacity).reshape(-1, workers, layout.micro_batch) < batch
    counts = blocks.sum(axis=(0, 2))
    assert counts.sum() == batch
    assert counts.max() - counts.min() <= layout.micro_batch
    # steps x ceil(share / steps) is what a worker computes at most, share = batch / workers
    assert counts.max() <= np.ceil(batch / workers) + layout.accumulation_steps - 1
    assert blocks[-1].any(), "no worker waits for a micro-batch that all leave empty"


@pytest.mark.parametrize(
    ("batch", "workers", "micro", "expected"),
    [(32, 1, 16, (16, 2)), (32, 8, 4, (4, 1)), (32, 12, 4, (3, 1)), (32, 3, 16, (11, 1)), (32, 64, 4, (1, 1))],
)
def test_a_step_has_as_few_micro_batches_as_fit(batch, workers, micro, expected):
    layout = plan_step(batch, workers, micro)
    assert (layout.micro_batch, layout.accumulation_steps) == expected


@pytest.mark.parametrize(
    ("arguments", "name"), [((0, 1, 1), "batch"), ((1, 0, 1), "workers"), ((1, 1, 0), "micro-batch")]
)
def test_what_is_no_number_of_clips_says_so(arguments, name):
    with pytest.raises(ConfigError, match=f"--finetune.{name} is 0: give 1 or more"):
        plan_step(*arguments)


def test_micro_batches_make_steps_and_the_last_may_be_short():
    assert list(group_micro_batches(iter(range(5)), 2)) == [[0, 1], [2, 3], [4]]
    assert list(group_micro_batches([], 2)) == []
