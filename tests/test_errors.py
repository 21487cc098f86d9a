"""The exception tree, as its docstring draws it."""

import inspect
import re

import pytest

from m3ray import errors
from m3ray.errors import DecodeError, LostLockError, M3RayError, RootBusyError, UserError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, M3RayError)]


def read_tree():
    """Name of each class in the docstring to the one that it is drawn under."""
    parents, path = {}, {0: "M3RayError"}
    for line in errors.__doc__.splitlines():
        branch = re.match(r"([│ ]*)[├└]── (\w+)", line)
        if branch:
            depth = len(branch[1]) // 4 + 1
            path[depth] = branch[2]
            parents[branch[2]] = path[depth - 1]
    return parents


def test_the_docstring_draws_every_class_under_its_own_parent():
    expected = {cls.__name__: cls.__mro__[1].__name__ for cls in CLASSES if cls is not M3RayError}
    assert read_tree() == expected


@pytest.mark.parametrize("cls", CLASSES)
def test_errors_of_the_request_end_with_status_2_and_others_with_1(cls):
    expected = 2 if issubclass(cls, UserError) and cls is not LostLockError else 1
    assert cls.exit_status == expected


def test_a_lost_lock_counts_as_a_busy_root():
    assert issubclass(LostLockError, RootBusyError)


def test_a_decode_error_carries_reason_message_and_stage():
    error = DecodeError("empty_file", "0 bytes, expected a video", stage="read")
    assert (error.reason, error.message, error.stage) == ("empty_file", "0 bytes, expected a video", "read")
    assert str(error) == "0 bytes, expected a video"
    assert DecodeError("damaged", "x").stage == "decode"
