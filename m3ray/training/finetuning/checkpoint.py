"""A training's state as safetensors and JSON, so that a checkpoint holds numbers and nothing that could run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS, PLAIN = "state.safetensors", "state.json"


def save_state(state: Mapping[str, Any], folder: str | Path) -> None:
    """Write a training's state to a folder.

    Args:
        state: Dictionaries (keys text or whole numbers), lists, tensors, numbers, text, None, in any depth.
        folder: Folder that exists.
    Raises:
        TypeError: If the state holds anything else.
    """
    tensors: dict[str, Tensor] = {}
    plain = _pack(state, tensors)
    save_file(tensors, Path(folder, TENSORS))
    Path(folder, PLAIN).write_text(json.dumps(plain))


def load_state(folder: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `save_state` wrote.

    Args:
        folder: Folder of the state.
        device: Device that its tensors are put on.
    Returns:
        The state, its tuples turned into lists.
    """
    tensors = load_file(Path(folder, TENSORS), device=str(device))
    return dict(_unpack(json.loads(Path(folder, PLAIN).read_text()), tensors))


# A dictionary is written as pairs, as JSON has no keys that are numbers, and optimisers count their parameters.
def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"pairs": [[_key(key), _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(item, tensors) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a training's state holds a {type(value).__name__}, expected tensors and plain values")


def _key(key: Any) -> str | int:
    if not isinstance(key, str | int):
        raise TypeError(f"a training's state has the key {key!r}, expected text or a whole number")
    return key


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _unpack(item, tensors) for key, item in value["pairs"]}
