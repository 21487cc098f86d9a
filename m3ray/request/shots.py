"""Checks of a request for scores by shots, before work is spent."""

from __future__ import annotations

from m3ray.config.options import PredictOptions
from m3ray.errors import ConfigError
from m3ray.video.shots.detectors import check_detector


def check_shots(options: PredictOptions) -> None:
    """Check that shots can be found, and that options of shots are given together.

    Args:
        options: Options of the job predict.
    Raises:
        ConfigError: If an option lacks another one, or the detector cannot be had.
        WeightsError: If the detector's weights are other ones than published.
    """
    by_shots = options.sliding_windows.by == "shots"
    if options.export_shots is not None and not (options.over_time and by_shots):
        raise ConfigError(
            f"--export-shots {options.export_shots}: shots are found with --over-time --sliding-windows.by shots: give "
            "these too"
        )
    if by_shots and not options.over_time:
        raise ConfigError("--sliding-windows.by shots: give --over-time too, which scores them")
    check_detector(options.sliding_windows)
