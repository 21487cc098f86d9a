"""Checks of what a study is to predict and what its clips are to weigh, from the clips' table."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa

from m3ray.errors import ConfigError
from m3ray.features.target_columns import check_columns, choose_target, list_crossed_targets
from m3ray.storage.root import Root


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
        ConfigError: If a column is missing or empty, weights are asked for where networks are trained, or Table 6 of
            clips with one target.
    """
    if options.weigh != "none" and options.unfrozen != "none":
        raise ConfigError(
            f"--weigh {options.weigh} --unfrozen {options.unfrozen}: the networks' own training weighs all clips "
            "alike: leave one of them out"
        )
    if clips is not None:
        target = choose_target(root, options.target)
        check_columns(clips, target, options.weigh, root.uri)
        list_crossed_targets(clips, target, getattr(options, "tables", ()), root.uri)
