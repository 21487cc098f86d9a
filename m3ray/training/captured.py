"""A training step that a GPU records once and replays: one launch instead of a hundred and more."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

Step = Callable[[], None]

# Steps that run as they come, before one is recorded: libraries and the optimiser set up what they keep.
WARM_UP = 3


class Recorder:
    """Records what a function launches on a GPU as a CUDA graph."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, step: Step) -> None:
        """Run a step on the stream that the recording will be made on.

        Args:
            step: Step of the training.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            step()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, step: Step) -> Step:
        """Record a step without running it.

        Args:
            step: Step of the training; it must neither upload, nor download, nor depend on numbers of the host.
        Returns:
            A function that runs it from the recording.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self._stream):
            step()
        return graph.replay


class CapturedStep:
    """A step that is recorded after a few calls, and replayed from then on; where it can't be, it runs as it comes.

    Every call trains one step: those before the recording are steps of the training too.

    Args:
        step: Step of the training; all that changes from call to call lies on the device.
        recorder: What records it; another one in tests.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self._step = step
        self._recorder = recorder
        self._calls = 0
        self._replay: Step | None = None

    def __call__(self) -> None:
        """Train one step."""
        self._calls += 1
        if self._replay is None and self._calls <= WARM_UP:
            self._recorder.warm_up(self._step)
            return
        if self._replay is None:
            self._replay = self._record()
        self._replay()

    def _record(self) -> Step:
        try:
            return self._recorder.record(self._step)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"the training step runs uncaptured, and slower: {reason}", RuntimeWarning, stacklevel=3)
            return self._step


def capture_step(step: Step, device: torch.device) -> Step:
    """Capture a step where its device can do so.

    Args:
        step: Step of the training.
        device: Device that it computes on.
    Returns:
        A function that trains one step.
    """
    return CapturedStep(step, Recorder()) if device.type == "cuda" else step
