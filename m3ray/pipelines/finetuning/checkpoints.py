"""Checkpoints of a run under Ray Train: how their folders are named, and what Ray itself keeps beside them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from m3ray.storage.root import Root
from m3ray.training.finetuning.checkpoint import TENSORS

logger = logging.getLogger(__name__)

# Ray Train's own index of a run's checkpoints.
INDEX = "checkpoint_manager_snapshot.json"
_NAME = re.compile(r"step-(\d+)(-end)?")
_PICKLED_STATE = "state.pt"


def checkpoint_name(step: int, *, final: bool) -> str:
    """Name the folder of a checkpoint.

    Args:
        step: Number of steps that were trained.
        final: Whether training ended with it, so that it holds the outcome.
    Returns:
        The name, `step-00000012` or `step-00000012-end`.
    """
    return f"step-{step:08d}{'-end' if final else ''}"


def parse_step(name: str) -> int | None:
    """Read the number of steps out of a checkpoint's name.

    Args:
        name: Name of a folder.
    Returns:
        Number of steps; None where the folder is no checkpoint.
    """
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def final_checkpoint(names: Iterable[str]) -> str | None:
    """Pick the checkpoint that training ended with.

    Args:
        names: Names of a run's folders.
    Returns:
        The latest final checkpoint; None while training has not ended.
    """
    final = [name for name in names if (match := _NAME.fullmatch(name)) and match[2]]
    return max(final, default=None)


def delete_pickled_run(run: Root) -> None:
    """Delete a run whose checkpoints an older m3ray wrote as pickles; nothing is unpickled out of a root.

    Args:
        run: The run's folder, which may not exist.
    """
    steps = [name for name in run.list_names() if parse_step(name) is not None]
    if any(run.exists(name, _PICKLED_STATE) and not run.exists(name, TENSORS) for name in steps):
        logger.warning(
            f"unfrozen: the checkpoints in {run.uri} are an older m3ray's, of a kind that may run code: it begins anew"
        )
        run.delete_folder()


def delete_truncated_index(run: Root) -> None:
    """Delete Ray Train's checkpoint index if a killed driver left it truncated; a run cannot start from invalid JSON.

    Args:
        run: The run's folder, which may not exist.
    """
    if not run.exists(INDEX):
        return
    try:
        run.read_json(INDEX)
    except ValueError:
        logger.warning(f"unfrozen: {run.display(INDEX)} is truncated: this run begins anew")
        run.delete(INDEX)


def read_completed_steps(run: Root) -> int:
    """Read how far a run's latest checkpoint is, as Ray Train's index says.

    Too few is safe: workers skip what they were trained on already, and reject a stream that begins too late.

    Args:
        run: The run's folder, which may not exist.
    Returns:
        Number of steps; 0 where it is not known.
    """
    if not run.exists(INDEX):
        return 0
    latest = run.read_json(INDEX).get("latest_checkpoint_result") or {}
    return parse_step(latest.get("checkpoint_dir_name", "")) or 0
