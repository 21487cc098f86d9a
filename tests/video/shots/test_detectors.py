"""Detectors by their names, and what is told before work is spent."""

import pytest

from m3ray.config import SlidingWindowConfig, as_json, fingerprint
from m3ray.errors import ConfigError
from m3ray.video.shots import detectors
from m3ray.video.shots.content import ContentCuts
from m3ray.video.shots.detectors import check_detector, make_detector


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 300}, "expected between 0 and 255"),
        ({"threshold": 2, "detector": "transnet"}, "expected between 0 and 1"),
        ({"shortest": 0}, "shortest shot 0 s: expected above 0"),
        ({"detector": "guess"}, "expected one of content, transnet"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ConfigError, match=words):
        check_detector(SlidingWindowConfig(by="shots", **settings))


def test_a_missing_package_is_told_where_shots_are_asked_for(monkeypatch):
    monkeypatch.setattr(detectors, "find_spec", lambda _: None)
    check_detector(SlidingWindowConfig())
    with pytest.raises(ConfigError, match="pip install scenedetect-headless"):
        check_detector(SlidingWindowConfig(by="shots"))


def test_detectors_by_name():
    detector = make_detector(SlidingWindowConfig(by="shots", threshold=20))
    assert isinstance(detector, ContentCuts)
    assert detector._threshold == 20


def test_settings_of_shots_leave_the_fingerprint_of_windows_as_it_was():
    # The JSON of a window's settings before shots were known.
    assert as_json(SlidingWindowConfig()) == {"window": 3.0, "step": 1.0}
    assert fingerprint(SlidingWindowConfig(by="shots")) != fingerprint(SlidingWindowConfig())
