"""What the decoding child does with a clip for the sake of shots, and how it answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from m3ray.config import LimitsConfig
from m3ray.video.shots.every_frame import decode_every_frame
from m3ray.video.shots.export import export_shots
from m3ray.video.shots.timeline import Timeline


def run_task(data: bytes, request: dict[str, Any], exchange: Any) -> None:
    """Do what a request asks for.

    Args:
        data: bytes of the clip.
        request: its `task`, `every_frame` or `export`, and what that takes.
        exchange: what answers are sent through, `decode_process._Exchange`.
    Raises:
        DecodeError: If the clip cannot be decoded.
    """
    _TASKS[request["task"]](data, request, exchange)


def _send_every_frame(data: bytes, request: dict[str, Any], exchange: Any) -> None:
    limits, shape = LimitsConfig(**request["limits"]), (request["height"], request["width"])
    for part in decode_every_frame(data, limits, *shape, request["threads"]):
        if isinstance(part, Timeline):
            times = np.ascontiguousarray(part.times, np.float64)
            exchange.send({"duration": part.duration, "rounding": part.rounding}, times.data)
        else:
            exchange.send({"shape": part.shape}, part.data)


def _send_exported(data: bytes, request: dict[str, Any], exchange: Any) -> None:
    ranges = [(int(first), int(end)) for first, end in request["ranges"]]
    for number, file in export_shots(data, LimitsConfig(**request["limits"]), ranges, exchange.pulse):
        if isinstance(file, str):
            exchange.send({"number": number, "failure": file})
        else:
            about = {"suffix": file.suffix, "how": file.how, "sound": file.sound}
            exchange.send({"number": number, **about}, file.data)


_TASKS = {"every_frame": _send_every_frame, "export": _send_exported}
