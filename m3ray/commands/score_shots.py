"""`m3ray score --by shots`: a row a shot, and the best shots as files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3ray.commands.options import ScoreOptions
from m3ray.commands.rows import Row, escape_control
from m3ray.config import SlidingWindowConfig
from m3ray.errors import ConfigError, DecodeError, FeatureError

if TYPE_CHECKING:
    from m3ray.scoring.inputs import ClipInput
    from m3ray.scoring.scorer import Scorer
    from m3ray.video.shots.timeline import Shots

SHOWN = ("shot", "from", "to", "score")


def wants_shots(options: ScoreOptions) -> bool:
    """Tell whether shots are scored: they are asked for, or to be written as files.

    Args:
        options: options of the command.
    Returns:
        Whether they are.
    """
    return options.by == "shots" or options.export_shots is not None


def make_config(options: ScoreOptions) -> SlidingWindowConfig:
    """Make the settings of shots.

    Args:
        options: options of the command.
    Returns:
        How shots are found.
    """
    return SlidingWindowConfig(by="shots", detector=options.detector)


def check_shot_options(options: ScoreOptions) -> None:
    """Check what shots need, before anything is scored.

    Args:
        options: options of the command.
    Raises:
        ConfigError: If the detector cannot be had, no shot is to be written, or the folder is a file.
        WeightsError: If the detector's weights are other ones than published.
    """
    if not wants_shots(options):
        return
    from m3ray.video.shots.detectors import check_detector

    check_detector(make_config(options))
    if options.export_shots is not None and options.export_shots < 1:
        raise ConfigError(f"--export-shots {options.export_shots}: expected at least 1")
    folder = Path(options.out_folder)
    if options.export_shots is not None and folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out-folder {folder} is a file: give a folder")


def list_columns(scorer: Scorer) -> list[str]:
    """List the columns of CSV and JSON.

    Args:
        scorer: opened bundle.
    Returns:
        Their names.
    """
    shares = [name for name in scorer.columns if name.startswith("share_")]
    return ["clip_id", "shot", "start", "end", "score", "spread", "low", "high", *shares, "reason"]


class ShotScoring:
    """Scores the shots of clips, and remembers them until the best ones are written.

    Args:
        scorer: opened bundle.
        config: how shots are found.
    """

    def __init__(self, scorer: Scorer, config: SlidingWindowConfig) -> None:
        self.scorer, self.config = scorer, config
        self.rows: list[Row] = []
        self.found: dict[str, tuple[str | bytes, Shots]] = {}

    def score(self, clip: ClipInput) -> list[Row]:
        """Score the shots of a clip.

        Args:
            clip: The clip.
        Returns:
            A row a shot; of a clip that cannot be scored one with the reason.
        """
        from m3ray.scoring.shots import iter_shot_rows, score_shots

        blank = dict.fromkeys((*list_columns(self.scorer), "from", "to"), float("nan"))
        try:
            shots, scores = score_shots(self.scorer, clip, self.config)
        except (DecodeError, FeatureError) as error:
            return [{**blank, "clip_id": clip.clip_id, "reason": " ".join(str(error).split())}]
        given = iter_shot_rows(clip.clip_id, shots, scores)
        rows: list[Row] = [{**blank, **row, "from": row["start"], "to": row["end"]} for row in given]
        if isinstance(clip.data, str | bytes):
            self.found[clip.clip_id] = (clip.data, shots)
        self.rows += rows
        return rows

    def export(self, count: int, folder: str) -> list[dict[str, Any]]:
        """Write the best shots as files.

        Args:
            count: how many.
            folder: where; made if it is not there.
        Returns:
            What became of each, as `export_best` tells.
        """
        from m3ray.scoring.export_shots import choose_best, export_best

        home = Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        best = choose_best(self.rows, self.found, count)
        return export_best(self.scorer.decoder, best, set(os.listdir(home)), _make_write(home))


def _make_write(folder: Path) -> Callable[[str, bytes], str]:
    def write(name: str, data: bytes) -> str:
        with open(folder / name, "xb") as file:
            file.write(data)
        return str(folder / name)

    return write


def describe_exported(rows: Sequence[Row]) -> list[str]:
    """Say what became of the shots that were to be written.

    Args:
        rows: As `export_best` gives them.
    Returns:
        A line a shot, printable.
    """
    words = {"copied": "copied", "encoded": "encoded anew", "kept": "was there already, and stays"}
    lines = []
    for row in rows:
        what = f"{row['rank']}. {row['score']:.3f} {row['clip_id']} {row['start']:.2f}-{row['end']:.2f} s"
        become = (
            f"not written: {row['reason']}" if row["reason"] is not None else f"{row['file']} ({words[row['how']]})"
        )
        lines.append(escape_control(f"{what}: {become}"))
    return lines
