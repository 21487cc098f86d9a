"""The JSON file of --weights."""

import json

import pytest

from m3ray.errors import ConfigError
from m3ray.storage.weights_file import read_weights_file


def test_entries_are_paths_or_objects(tmp_path):
    file = tmp_path / "w.json"
    entries = {"scene": "scene.pth", "event": {"path": "s3://b/event.pth", "sha256": "ab"}}
    file.write_text(json.dumps(entries))
    assert read_weights_file(str(file)) == (file, entries)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "holds list; expected an object"),
        ('{"scene": "https://h/w.pth?token=hush1"}', "the file of scene carries credentials"),
        ('{"event": {"url": "https://me:hush1@h/w.pth"}}', "the file of event carries credentials"),
    ],
)
def test_what_is_no_list_of_weights_is_rejected(tmp_path, text, message):
    file = tmp_path / "w.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_weights_file(str(file))
    assert "hush" not in str(caught.value)


def test_a_file_that_is_missing_names_the_choices(tmp_path):
    with pytest.raises(ConfigError, match=r"expected published, untrained, auto, or a JSON file \(No such file"):
        read_weights_file(str(tmp_path / "none.json"))
