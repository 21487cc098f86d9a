"""Errors of one clip among several: they name it, or become the reason in its row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from m3ray.errors import DecodeError, FeatureError


@contextmanager
def name_clip(clip_id: str) -> Iterator[None]:
    """Put a clip's name before the message of an error: of several clips nobody would know which one it is.

    Args:
        clip_id: Name of the clip.
    Yields:
        Nothing.
    Raises:
        DecodeError, FeatureError: What is raised within, with the name.
    """
    try:
        yield
    except DecodeError as error:
        raise DecodeError(error.reason, f"{clip_id}: {error.message}", error.stage) from error
    except FeatureError as error:
        raise FeatureError(f"{clip_id}: {error}") from error


def reason_of(error: DecodeError | FeatureError, clip_id: str) -> str:
    """Give the message of an error without the clip's name, which stands beside it.

    Args:
        error: What `name_clip` raised.
        clip_id: Name of the clip.
    Returns:
        One line.
    """
    return " ".join(str(error).removeprefix(f"{clip_id}: ").split())
