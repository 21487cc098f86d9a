"""Options of shots that belong together."""

import pytest

from m3ray.config import SlidingWindowConfig
from m3ray.config.options import PredictOptions
from m3ray.config.shot_options import ShotOptions
from m3ray.errors import ConfigError
from m3ray.request.shots import check_shots

SHOTS = SlidingWindowConfig(by="shots")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"export_shots": 3}, "--export-shots 3: shots are found with --over-time"),
        ({"export_shots": 3, "over_time": True}, "give these too"),
        ({"sliding_windows": SHOTS}, "give --over-time too"),
        ({"sliding_windows": SlidingWindowConfig(by="shots", threshold=256), "over_time": True}, "between 0 and 255"),
    ],
)
def test_what_lacks_another_option(options, words):
    with pytest.raises(ConfigError, match=words):
        check_shots(PredictOptions(out="r", **options))


def test_what_is_sound_passes():
    assert ShotOptions().export_shots is None
    check_shots(PredictOptions(out="r"))
    check_shots(PredictOptions(out="r", over_time=True, sliding_windows=SHOTS, export_shots=1))
