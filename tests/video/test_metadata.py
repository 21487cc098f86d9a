"""What is known of a clip survives the pipe between the decoding child and its parent."""

import dataclasses
import json

import pytest

from m3ray.schema import VIDEO_METADATA
from m3ray.video.metadata import VideoMetadata

METADATA = VideoMetadata(320, 240, 29.97, 3.5, 105, 53, 123_456_789_012, "mov", "pyav")


def test_it_is_plain_json_and_comes_back_the_same():
    assert VideoMetadata(**json.loads(json.dumps(METADATA.as_dict()))) == METADATA


def test_its_fields_are_the_columns_of_the_table_on_disk():
    assert [field.name for field in dataclasses.fields(VideoMetadata)] == VIDEO_METADATA.names[1:]


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        METADATA.frames = 1  # type: ignore[misc]
