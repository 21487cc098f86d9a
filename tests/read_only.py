"""Arrays as they come out of Ray's object store or a file's bytes: nobody may write to them."""

import contextlib
import warnings

import torch


def read_only(array):
    """The array, closed to writing."""
    array = array.copy()
    array.setflags(write=False)
    return array


@contextlib.contextmanager
def torch_warns_of_nothing():
    """Make each warning an error; PyTorch gives some once a process else."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        torch.set_warn_always(always)
