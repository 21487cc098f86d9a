"""One thread while networks are set up, and as many as before afterwards, whatever happens."""

import pytest
import torch

from m3ray.scoring.threads import use_one_thread


def fail_within():
    with use_one_thread():
        assert torch.get_num_threads() == 1
        raise ValueError("anything")


def test_there_is_one_thread_within_and_as_many_as_before_afterwards():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ValueError, match="anything"):
            fail_within()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
