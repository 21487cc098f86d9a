"""Checks of what a study is to predict and what its clips are to weigh, from the clips' table."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from m3ray.errors import ConfigError
from m3ray.features.target_columns import check_columns, choose_target, list_crossed_targets
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record

_VIDEOMEM = "videomem"


class _Options(Protocol):
    @property
    def target(self) -> str | None: ...

    @property
    def weigh(self) -> str: ...

    @property
    def unfrozen(self) -> str: ...


def check_targets(root: Root, clips: pa.Table | None, options: _Options) -> None:
    """Check that clips have the columns that a study is to predict and to weigh them by.

    Args:
        root: Root of the study.
        clips: The clips' table; None: the demo's, which is drawn later.
        options: Options of the job.
    Raises:
        ConfigError: If no table is asked for, a column is missing or empty, another score than the root's of VideoMem,
            weights where networks are trained, or Table 6 of clips with one target.
    """
    if not getattr(options, "tables", True):
        raise ConfigError(
            "--tables: expected at least one number of 1, 2, 3, 4, 6, 7: leave --tables out for all of the paper's"
        )
    if options.weigh != "none" and options.unfrozen != "none":
        raise ConfigError(
            f"--weigh {options.weigh} --unfrozen {options.unfrozen}: the networks' own training weighs all clips "
            "alike: leave one of them out"
        )
    if clips is not None:
        _check_term(root, options)
        target = choose_target(root, options.target)
        check_columns(clips, target, options.weigh, root.uri)
        list_crossed_targets(clips, target, getattr(options, "tables", ()), root.uri)


def _check_term(root: Root, options: _Options) -> None:
    """Raise ConfigError where VideoMem's long-term or short-term score is asked for, and the clips have another."""
    if options.target not in ("short", "long"):
        return
    record = read_record(root)
    dataset = getattr(options, "dataset", None) or (record.dataset if record else None)
    if options.target == "long" and dataset != _VIDEOMEM:
        raise ConfigError(
            f"--target long: {root.uri} is no VideoMem, which alone has a long-term score: leave --target out for the "
            "score that it has"
        )
    held = record.settings.get("target", "short") if record and record.dataset == _VIDEOMEM else options.target
    if "long" in (held, options.target) and held != options.target:
        raise ConfigError(
            f"--target {options.target}: {root.uri} was made with --target {held}, and its score is that one: give "
            "another --out"
        )
